//! The library as programs meet it: opened by the loader under the driver's name, and asked through `nvml-wrapper`.
//!
//! Settings and the open library belong to a whole process, so every test runs its body in a process of its own: it
//! starts this program again for that test alone, with the environment that the body needs.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use nvml_wrapper::bitmasks::InitFlags;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, PerformancePolicy, PerformanceState, Sampling, TemperatureSensor};
use nvml_wrapper::enums::device::{DeviceArchitecture, SampleValue, UsedGpuMemory};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::FieldValueSample;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::{Device, FieldIdScheme, Nvml};

/// Set in a process that runs the body of a test.
const BODY: &str = "FAKE_NVML_TEST_BODY";

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// The built library.
fn library() -> PathBuf {
    let program = env::current_exe().unwrap();
    let folders = program.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join("libfake_nvml.so")).find(|file| file.exists());
    found.unwrap_or_else(|| PathBuf::from("libfake_nvml.so is not beside the test program"))
}

/// Runs the body of the test `name` with these settings. `None`: this is its own process, and the body has run.
fn with(name: &str, settings: &str, body: impl FnOnce()) -> Option<Output> {
    if env::var_os(BODY).is_some() {
        body();
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("board.txt");
    fs::write(&file, settings).unwrap();
    fs::write(folder.path().join("load.txt"), "0 100\n0.2 300\n").unwrap();
    symlink(library(), folder.path().join("libnvidia-ml.so.1")).unwrap();
    let others = env::var("LD_LIBRARY_PATH").unwrap_or_default();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(BODY, name)
        .env("FAKE_NVML", &file)
        .env("LD_LIBRARY_PATH", format!("{}:{others}", folder.path().display()))
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
    Some(output)
}

/// The same for a body that needs the open library; `Instant`s are from just before and just after opening.
fn open_with(name: &str, settings: &str, body: impl FnOnce(&Nvml, (Instant, Instant))) {
    with(name, settings, || {
        let before = Instant::now();
        let nvml = Nvml::init().unwrap();
        body(&nvml, (before, Instant::now()));
    });
}

fn board(nvml: &Nvml) -> Device<'_> {
    nvml.device_by_index(0).unwrap()
}

fn field(device: &Device<'_>, id: u32) -> Result<SampleValue, NvmlError> {
    let mut values: Vec<Result<FieldValueSample, NvmlError>> = device.field_values_for(&[FieldId(id)]).unwrap();
    assert_eq!(values.len(), 1);
    values.remove(0).unwrap().value
}

fn is_unsupported<T>(result: &Result<T, NvmlError>) -> bool {
    matches!(result, Err(NvmlError::NotSupported))
}

/// Asks until there is an answer.
fn wait_for<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE, "it never came");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn everything_says_that_it_is_simulated() {
    open_with("everything_says_that_it_is_simulated", "limit_w = 123.4", |nvml, _| {
        assert_eq!(nvml.sys_driver_version().unwrap(), "simulated-1.0");
        assert_eq!(nvml.sys_nvml_version().unwrap(), "simulated-1.0");
        assert_eq!(nvml.sys_cuda_driver_version().unwrap(), 0);
        assert_eq!(nvml.field_id_scheme(), FieldIdScheme::V12);
        assert_eq!(nvml.device_count().unwrap(), 1);
        assert!(matches!(nvml.device_by_index(1), Err(NvmlError::InvalidArg)));
        let device = board(nvml);
        assert_eq!(device.name().unwrap(), "phasebench simulated GPU");
        assert_eq!(device.uuid().unwrap(), "GPU-SIMULATED-0000");
        assert_eq!(device.architecture().unwrap(), DeviceArchitecture::Hopper);
        assert_eq!(device.enforced_power_limit().unwrap(), 123_400);
    });
}

#[test]
fn states_are_told() {
    let settings = "mig = enabled\nreasons = 0x24\nprocesses = 7, 4000000000";
    open_with("states_are_told", settings, |nvml, (before, _)| {
        let device = board(nvml);
        assert_eq!(device.temperature(TemperatureSensor::Gpu).unwrap(), 45);
        assert_eq!(device.clock_info(Clock::Graphics).unwrap(), 1500);
        assert_eq!(device.clock_info(Clock::SM).unwrap(), 1500);
        assert_eq!(device.clock_info(Clock::Memory).unwrap(), 2600);
        assert!(is_unsupported(&device.clock_info(Clock::Video)));
        assert_eq!(device.performance_state().unwrap(), PerformanceState::Zero);
        assert!(device.is_in_persistent_mode().unwrap());
        let mode = device.mig_mode().unwrap();
        assert_eq!((mode.current, mode.pending), (1, 1));
        let reasons = ThrottleReasons::SW_POWER_CAP | ThrottleReasons::SW_THERMAL_SLOWDOWN;
        assert_eq!(device.current_throttle_reasons_strict().unwrap(), reasons);
        for policy in [PerformancePolicy::Power, PerformancePolicy::Thermal] {
            let violation = device.violation_status(policy).unwrap();
            assert!(violation.violation_time > 0 && u128::from(violation.violation_time) < before.elapsed().as_nanos());
            assert!(violation.reference_time > 0);
        }
        let processes = device.running_compute_processes().unwrap();
        assert_eq!(processes.iter().map(|process| process.pid).collect::<Vec<_>>(), [7, 4_000_000_000]);
        assert_eq!(device.running_compute_processes_count().unwrap(), 2);
        assert!(processes.iter().all(|process| matches!(process.used_gpu_memory, UsedGpuMemory::Unavailable)));
        assert!(processes.iter().all(|process| process.gpu_instance_id.is_none()));
        let memory = device.memory_info().unwrap();
        assert_eq!((memory.total, memory.used, memory.free), (16 << 30, 1 << 30, 15 << 30));
        assert!(is_unsupported(&device.samples(Sampling::Power, None)));
    });
}

#[test]
fn several_boards_differ_in_their_names_and_processes() {
    let settings = "boards = 2\nprocesses_on = 1\nprocesses = self\nstates_change_ms = 1\nperiod_ms = 1";
    open_with("several_boards_differ_in_their_names_and_processes", settings, |nvml, _| {
        assert_eq!(nvml.device_count().unwrap(), 2);
        assert!(matches!(nvml.device_by_index(2), Err(NvmlError::InvalidArg)));
        let boards = [0, 1].map(|number| nvml.device_by_index(number).unwrap());
        let uuids = boards.each_ref().map(|board| board.uuid().unwrap());
        assert_eq!(uuids, ["GPU-SIMULATED-0000", "GPU-SIMULATED-0001"]);
        let pids = boards.each_ref().map(|board| {
            board.running_compute_processes().unwrap().iter().map(|process| process.pid).collect::<Vec<_>>()
        });
        assert_eq!(pids, [vec![], vec![std::process::id()]]);
        for state in [PerformanceState::Zero, PerformanceState::Two] {
            wait_for(|| (boards[1].performance_state().unwrap() == state).then_some(()));
        }
    });
}

#[test]
fn a_scripted_load_is_in_the_registers() {
    let settings = "load = file\nload_file = load.txt\nperiod_ms = 20\nwindow_ms = 20";
    open_with("a_scripted_load_is_in_the_registers", settings, |nvml, (before, after)| {
        let device = board(nvml);
        // 100 W, then 300 W from 0.2 s on; updates every 20 ms.
        let joules = |ms: u128| if ms < 200 { ms * 100 } else { 20_000 + (ms - 200) * 300 };
        let mut seen = 0;
        while before.elapsed() < Duration::from_millis(500) {
            let earliest = after.elapsed();
            let counter = u128::from(device.total_energy_consumption().unwrap());
            let latest = before.elapsed();
            let updates = [earliest, latest].map(|time| joules(time.as_millis() / 20 * 20));
            assert!((updates[0]..=updates[1]).contains(&counter), "{counter} mJ, not {updates:?}");
            assert_eq!(counter % 2000, 0, "an update adds 2 J or 6 J");
            assert!(counter >= seen, "it goes back");
            seen = counter;
            thread::sleep(Duration::from_millis(1));
        }
        assert!(seen > 100_000);
        // Long after the step, and averaged over the second before.
        assert_eq!(field(&device, 186).unwrap(), SampleValue::U32(300_000));
        let average = device.power_usage().unwrap();
        assert!((150_000..=300_000).contains(&average), "{average} mW");
    });
}

#[test]
fn fields_are_told_together_and_one_by_one_refused() {
    let settings = "load = file\nload_file = load.txt\nstale_from_s = 0.1";
    open_with("fields_are_told_together_and_one_by_one_refused", settings, |nvml, (_, after)| {
        let device = board(nvml);
        wait_for(|| (after.elapsed() > Duration::from_millis(300)).then_some(()));
        let ids = [83, 191, 185, 1, 186, 82];
        let values = device.field_values_for(&ids.map(FieldId)).unwrap();
        let told: Vec<_> = values.into_iter().map(|value| value.unwrap()).collect();
        assert_eq!(told.iter().map(|value| value.field.0).collect::<Vec<_>>(), ids);
        // Microseconds since 2020.
        assert!(told.iter().all(|value| value.timestamp > 1_577_836_800_000_000));
        let told: Vec<_> = told.into_iter().map(|value| value.value).collect();
        for (place, expected) in [
            (0, SampleValue::U64(10_000)),
            (1, SampleValue::U64(10_000)),
            (2, SampleValue::U32(100_000)),
            (4, SampleValue::U32(100_000)),
            (5, SampleValue::U32(50)),
        ] {
            assert_eq!(*told[place].as_ref().unwrap(), expected);
        }
        assert!(is_unsupported(&told[3]));
        assert_eq!(device.total_energy_consumption().unwrap(), 10_000);
    });
}

#[test]
fn registers_can_be_missing() {
    let settings = "counter = not_supported\naverage = not_supported";
    open_with("registers_can_be_missing", settings, |nvml, _| {
        let device = board(nvml);
        assert!(is_unsupported(&device.total_energy_consumption()));
        assert!([83, 191, 185].iter().all(|&id| is_unsupported(&field(&device, id))));
        // Without an average it is a board on which plain power is the instantaneous one.
        assert_eq!(device.architecture().unwrap(), DeviceArchitecture::Volta);
        let power = device.power_usage().unwrap();
        assert!((70_000..=300_000).contains(&power), "{power} mW");
    });
}

#[test]
fn a_counter_can_begin_again() {
    let settings = "load = file\nload_file = load.txt\nperiod_ms = 20\ncounter_reset_s = 0.3";
    open_with("a_counter_can_begin_again", settings, |nvml, (before, after)| {
        let device = board(nvml);
        wait_for(|| (after.elapsed() > Duration::from_millis(320)).then_some(()));
        let counter = device.total_energy_consumption().unwrap();
        // 300 W, and an update every 20 ms, since 0.3 s; without a new begin it would be 50 J more.
        let most = (before.elapsed().as_millis() - 300) * 300;
        assert!(u128::from(counter) <= most, "{counter} mJ, at most {most}");
        assert_eq!(counter % 6_000, 0);
        let later = wait_for(|| device.total_energy_consumption().ok().filter(|&now| now > counter));
        assert_eq!(later % 6_000, 0);
    });
}

#[test]
fn a_counter_can_cease_to_be_supported() {
    let settings = "not_supported_from_s = 0.2";
    open_with("a_counter_can_cease_to_be_supported", settings, |nvml, (before, _)| {
        let device = board(nvml);
        wait_for(|| is_unsupported(&device.total_energy_consumption()).then_some(()));
        assert!(before.elapsed() > Duration::from_millis(200));
        assert!(is_unsupported(&field(&device, 83)));
        assert!(device.power_usage().is_ok());
    });
}

#[test]
fn a_lost_board_says_nothing() {
    open_with("a_lost_board_says_nothing", "lost_from_s = 0.2", |nvml, (before, _)| {
        let device = board(nvml);
        wait_for(|| matches!(device.power_usage(), Err(NvmlError::GpuLost)).then_some(()));
        assert!(before.elapsed() > Duration::from_millis(200));
        assert!(matches!(device.total_energy_consumption(), Err(NvmlError::GpuLost)));
        assert!(matches!(device.field_values_for(&[FieldId(83)]), Err(NvmlError::GpuLost)));
        assert!(matches!(device.running_compute_processes(), Err(NvmlError::GpuLost)));
        assert!(matches!(nvml.device_by_index(0), Err(NvmlError::GpuLost)));
        assert_eq!(nvml.sys_driver_version().unwrap(), "simulated-1.0");
    });
}

#[test]
fn a_slow_board_waits_first() {
    open_with("a_slow_board_waits_first", "slow_ms = 20", |nvml, _| {
        let (device, begin) = (board(nvml), Instant::now());
        device.power_usage().unwrap();
        device.field_values_for(&[83, 186, 185].map(FieldId)).unwrap();
        assert!(begin.elapsed() >= Duration::from_millis(40));
    });
}

#[test]
fn a_bad_file_keeps_the_library_shut() {
    let settings = "idle_w = 5\nperiod = 100\nmig = maybe\n";
    let output = with("a_bad_file_keeps_the_library_shut", settings, || {
        assert!(matches!(Nvml::init(), Err(NvmlError::Unknown)));
    });
    let Some(output) = output else { return };
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("board.txt:2: unknown key `period`\n  allowed: period_ms, "), "{told}");
    assert!(told.contains("board.txt:3: mig: `maybe`\n  allowed: enabled, disabled\n"), "{told}");
}

#[test]
fn a_missing_load_keeps_the_library_shut() {
    let output = with("a_missing_load_keeps_the_library_shut", "load = file\nload_file = none.txt", || {
        assert!(matches!(Nvml::init_with_flags(InitFlags::NO_GPUS), Err(NvmlError::Unknown)));
    });
    let Some(output) = output else { return };
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("none.txt: it cannot be read: "), "{told}");
}

/// Processor time of this thread, which does all the work there is; in seconds.
fn used() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) }, 0);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap()).as_secs_f64()
}

#[test]
fn power_follows_the_work_of_this_process() {
    let settings = "idle_w = 100\nbusy_w = 500\ncores = 2\nperiod_ms = 5\nwindow_ms = 5";
    open_with("power_follows_the_work_of_this_process", settings, |nvml, _| {
        let device = board(nvml);
        // The counter between two looks at the clock, which a busy machine may hold far apart.
        let counter = || {
            let before = Instant::now();
            let joules = Duration::from_millis(device.total_energy_consumption().unwrap()).as_secs_f64();
            (before, joules, Instant::now())
        };
        let (first, work) = (counter(), used());
        while used() - work < 0.5 {
            std::hint::black_box(0);
        }
        thread::sleep(Duration::from_millis(50));
        let work = used() - work;
        let last = counter();
        let growth = last.1 - first.1;
        let expected = [last.0 - first.2, last.2 - first.0].map(|time| 100.0 * time.as_secs_f64() + 200.0 * work);
        // Each end is off by an update at most.
        let off = 2.0 * 0.005 * 500.0 + 0.01 * expected[1];
        assert!(expected[0] - off < growth && growth < expected[1] + off, "{growth} J, not {expected:?} J");
    });
}

#[test]
fn two_openings_are_of_one_board() {
    open_with("two_openings_are_of_one_board", "period_ms = 5", |nvml, _| {
        let second = Nvml::init_with_flags(InitFlags::NO_ATTACH).unwrap();
        wait_for(|| (board(nvml).total_energy_consumption().unwrap() > 0).then_some(()));
        assert!(board(&second).total_energy_consumption().unwrap() > 0);
        second.shutdown().unwrap();
        assert!(board(nvml).total_energy_consumption().unwrap() > 0);
    });
}

/// Names of this process's threads.
fn threads() -> Vec<String> {
    let folders = fs::read_dir("/proc/self/task").unwrap();
    folders.filter_map(|folder| fs::read_to_string(folder.unwrap().path().join("comm")).ok()).collect()
}

#[test]
fn closing_ends_its_thread() {
    with("closing_ends_its_thread", "", || {
        let ours = || threads().iter().filter(|name| name.trim() == "fake-nvml").count();
        for _ in 0..50 {
            // What a thread opens another may close.
            let nvml = thread::spawn(|| Nvml::init().unwrap()).join().unwrap();
            assert!(board(&nvml).power_usage().unwrap() >= 70_000);
            wait_for(|| (ours() == 1).then_some(()));
            drop(nvml);
            wait_for(|| (ours() == 0).then_some(()));
        }
    });
}
