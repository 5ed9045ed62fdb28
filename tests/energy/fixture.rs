//! A scenario on the scripted engine at real pace, and the program with a driver library of our own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use phasebench::analysis::{self, EnergyEventRow, EnergySummaryRow, Tables};
use phasebench::run_folder::RunFolder;
use phasebench::schedule;
use phasebench::store::{self, TraceRow, read_trace};
use phasebench::terms::Role;
use phasebench::units::Nanos;
use serde_json::Value;
use tempfile::TempDir;

use crate::not_run::not_run;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_phasebench");

/// A board that updates every 20 ms and counts all energy, under a load that changes every 70 ms. No two power readings of
/// a real one are the same.
pub const BOARD: &str = "period_ms = 20\nphase_ms = 3\nwindow_ms = 20\naverage_window_ms = 100\ncounter = of_energy\n\
                         quantum_mj = 1\nnoise_w = 0.5\nload = file\n";

/// Watts of a board's load, 70 ms each in turn, that tell one phase from another.
const VARIED_W: [u32; 5] = [240, 300, 265, 330, 220];

/// The same, at rest as at work, and steady enough to be called idle wherever a stretch begins.
pub const STEADY_W: [u32; 5] = [266, 275, 268, 277, 269];

/// Power of [`STEADY_W`] over whole turns.
pub const STEADY_MEAN_W: f64 = 271.0;

/// Time between two readings, or two calls, from which on a run was held up: more than an update of [`BOARD`].
const LONGEST_HOLD_UP: Nanos = Nanos(30_000_000);

/// Arguments of the program for a run of the scenario.
const RUN: [&str; 4] = ["run", "scenario.yaml", "--out", "run"];

/// So many runs are made before a test is given up.
const MOST_RUNS: u32 = 8;

pub struct Fixture {
    folder: TempDir,
}

impl Fixture {
    /// `telemetry` is that key's value in the scenario file.
    pub fn new(telemetry: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let scenario = format!(
            "version: 1\nname: power\nseed: 7\nwarmups: 0\nrepetitions: {{ fixed: 3 }}\ngen_tokens: [40]\n\
             telemetry: {telemetry}\n\
             scenarios: [{{ name: p, prompt: {{ tokens: 20 }} }}]\n\
             models: [{{ name: m, synthetic: {{ family: gpt2, n_layer: 1, n_embd: 64, n_head: 1 }} }}]\n\
             backends:\n  - name: scripted\n    simulated:\n      pace: real\n      noise: 0\n      cold_factor: 1\n\
             \x20     cold_shape_factor: 1\n\
             \x20     load: {{ base: 5ms, exponent: 0 }}\n      prefill_per_token: {{ base: 15ms, exponent: 0 }}\n\
             \x20     decode_per_step: {{ base: 10ms, exponent: 0 }}\n"
        );
        fs::write(folder.path().join("scenario.yaml"), scenario).unwrap();
        Self { folder }
    }

    /// The same, with phases as short as those of small models: 20 and 40 ms.
    pub fn with_short_phases(self) -> Self {
        let path = self.path().join("scenario.yaml");
        let scenario = fs::read_to_string(&path).unwrap();
        let shorter = scenario.replace("base: 15ms", "base: 1ms").replace("base: 10ms", "base: 1ms");
        assert_ne!(scenario, shorter);
        fs::write(path, shorter).unwrap();
        self
    }

    /// The same, with prefills of 1.6 s.
    pub fn with_long_prefills(self) -> Self {
        let path = self.path().join("scenario.yaml");
        let scenario = fs::read_to_string(&path).unwrap();
        let longer = scenario.replace("base: 15ms", "base: 80ms");
        assert_ne!(scenario, longer);
        fs::write(path, longer).unwrap();
        self
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn run_folder(&self) -> PathBuf {
        self.path().join("run")
    }

    /// The program with nothing of this machine's sensors.
    pub fn program(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        let sysfs = self.path().join("sysfs");
        fs::create_dir_all(&sysfs).unwrap();
        command.current_dir(self.path()).env("PHASEBENCH_SYSFS_ROOT", sysfs).env_remove("FAKE_NVML");
        // Found before a real driver's library, and not one.
        let none = self.path().join("no-driver");
        fs::create_dir_all(&none).unwrap();
        for name in ["libnvidia-ml.so", "libnvidia-ml.so.1"] {
            fs::write(none.join(name), "").unwrap();
        }
        command.env("LD_LIBRARY_PATH", none);
        command
    }

    /// A processor package in the folder that looks like the kernel's.
    pub fn with_package(&self, microjoules: &str) {
        let zone = self.path().join("sysfs/sys/class/powercap/intel-rapl:0");
        fs::create_dir_all(&zone).unwrap();
        for (file, text) in [("name", "package-0"), ("energy_uj", microjoules), ("max_energy_range_uj", "262143328850")]
        {
            fs::write(zone.join(file), format!("{text}\n")).unwrap();
        }
    }

    /// The same as a user who may read only what everybody may.
    pub fn unprivileged(&self) -> Command {
        let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        open(self.path(), 0o777);
        open(&self.path().join("scenario.yaml"), 0o644);
        let program = self.path().join("phasebench");
        fs::copy(PROGRAM, &program).unwrap();
        let mut command = Command::new(program);
        for (name, value) in self.program().get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command.current_dir(self.path()).env("PHASEBENCH_CACHE", self.path().join("cache"));
        // SAFETY: reads the caller's own id.
        if unsafe { libc::geteuid() } == 0 {
            command.uid(65_534).gid(65_534);
        }
        command
    }

    /// The program with the scripted driver; `settings` are those of its board.
    pub fn with_driver(&self, settings: &str) -> Command {
        let library = self.path().join("driver");
        fs::create_dir_all(&library).unwrap();
        for name in ["libnvidia-ml.so", "libnvidia-ml.so.1"] {
            let link = library.join(name);
            if !link.exists() {
                std::os::unix::fs::symlink(driver_library(), &link).unwrap();
            }
        }
        let load = self.load(&VARIED_W);
        let file = self.path().join("board");
        fs::write(&file, format!("{settings}load_file = {}\n", load.display())).unwrap();
        let mut command = self.program();
        command.env("LD_LIBRARY_PATH", library).env("FAKE_NVML", file);
        command
    }

    /// What the board draws from the start of the program on; returns the file that says so.
    pub fn load(&self, watts: &[u32]) -> PathBuf {
        let path = self.path().join("load");
        let pieces = (0..2000).map(|i| format!("{} {}\n", f64::from(i) * 0.07, watts[i as usize % watts.len()]));
        fs::write(&path, pieces.collect::<String>()).unwrap();
        path
    }

    pub fn run(&self, mut program: Command) -> Output {
        program.args(RUN).output().unwrap()
    }

    /// The same where the machine lets the program work. A run that it holds up is rightly left without some figures, and is
    /// made again. `false`: every one was, and the test is listed as not run.
    #[must_use]
    pub fn run_undisturbed(&self, mut program: Command) -> bool {
        program.args(RUN);
        let mut longest = Nanos(0);
        for _ in 0..MOST_RUNS {
            succeeded(&program.output().unwrap());
            longest = self.held_up();
            if longest <= LONGEST_HOLD_UP {
                return true;
            }
            fs::remove_dir_all(self.run_folder()).unwrap();
        }
        let test = std::thread::current().name().unwrap_or("energy").to_owned();
        not_run(&test, &format!("the machine held up each of {MOST_RUNS} runs, the last by {:.0} ms", longest.as_ms()));
        false
    }

    /// The longest time between two readings of the sensors, or between a session's calls where that made a call rewarm.
    fn held_up(&self) -> Nanos {
        let continuity = &self.manifest()["epochs"][0]["power"]["continuity"];
        let readings = Nanos(continuity["largest_gap_ns"].as_u64().unwrap());
        let recording = store::read(&self.run_folder()).unwrap();
        let rewarmed = recording.calls().any(|call| call.role == Role::Rewarm);
        if rewarmed { readings.max(schedule::LONGEST_GAP) } else { readings }
    }

    pub fn report(&self) -> String {
        let output = self.program().args(["report", "run"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read_to_string(self.run_folder().join("report.md")).unwrap()
    }

    /// Every table of the run, as `report` has written them.
    pub fn tables(&self) -> Tables {
        let run = RunFolder::open(&self.run_folder()).unwrap();
        analysis::derive(&run.recording, &run.plan, &run.manifest, &run.trace().unwrap())
    }

    pub fn events(&self) -> Vec<EnergyEventRow> {
        self.tables().energy_events
    }

    pub fn summary(&self) -> Vec<EnergySummaryRow> {
        self.tables().energy_summary
    }

    pub fn trace(&self) -> Vec<TraceRow> {
        read_trace(&self.run_folder()).unwrap()
    }

    pub fn manifest(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.run_folder().join("manifest.json")).unwrap()).unwrap()
    }
}

/// Cargo builds the library beside the tests, because they depend on it.
fn driver_library() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let folder = tests.parent().unwrap();
    let found =
        ["libfake_nvml.so", "deps/libfake_nvml.so"].map(|name| folder.join(name)).into_iter().find(|p| p.exists());
    found.unwrap_or_else(|| panic!("no libfake_nvml.so in {}", folder.display()))
}

pub fn succeeded(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
