//! A processor's counters in a folder that looks like the kernel's, moving while the program runs.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use phasebench::terms::energy::Grade;

use crate::fixture::{Fixture, succeeded};

/// What a zone draws, in watts.
const PACKAGE_W: f64 = 50.0;
/// The whole machine's zone; its energy holds the package's.
const PLATFORM_W: f64 = 90.0;
/// Where the counters begin again: several times in a run of some seconds.
const RANGE_J: f64 = 40.0;

fn zone(root: &Path, folder: &str, name: &str) -> File {
    let zone = root.join("sys/class/powercap").join(folder);
    fs::create_dir_all(&zone).unwrap();
    fs::write(zone.join("name"), format!("{name}\n")).unwrap();
    fs::write(zone.join("max_energy_range_uj"), format!("{:.0}\n", RANGE_J * 1e6)).unwrap();
    let counter = zone.join("energy_uj");
    fs::write(&counter, "00000000\n").unwrap();
    OpenOptions::new().write(true).open(counter).unwrap()
}

/// Ends the thread that moves the counters, also where the run fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn packages_are_charged_through_wraps_and_the_platform_is_not_added() {
    let fixture = Fixture::new("{ period: 5ms, idle: 0s, calibrate: false, sensors: [rapl] }");
    let program = fixture.program();
    let root = fixture.path().join("sysfs");
    let counters =
        [(zone(&root, "intel-rapl:0", "package-0"), PACKAGE_W), (zone(&root, "intel-rapl:1", "psys"), PLATFORM_W)];
    let done = AtomicBool::new(false);
    let ran = std::thread::scope(|scope| {
        scope.spawn(|| {
            let start = Instant::now();
            while !done.load(Ordering::Relaxed) {
                for (file, watts) in &counters {
                    let joules = (start.elapsed().as_secs_f64() * watts) % RANGE_J;
                    // Always as many digits: a reader never sees half of an old value behind a new one.
                    file.write_all_at(format!("{:08.0}\n", joules * 1e6).as_bytes(), 0).unwrap();
                }
                std::thread::sleep(Duration::from_micros(500));
            }
        });
        let _end = End(&done);
        fixture.run_undisturbed(program)
    });
    if !ran {
        return;
    }
    fixture.report();
    let events = fixture.events();
    assert_eq!(events.len(), 8);
    for event in &events {
        // The folder is not the kernel's, and nothing of it may be taken for a measurement.
        assert_eq!((event.sensor.as_deref(), event.simulated), (Some("simulated-rapl"), Some(true)));
        assert!(event.grade.is_none_or(|grade| grade > Grade::A), "nobody has measured that it sees all: {event:?}");
        let watts = event.power_w.unwrap_or_else(|| panic!("no figure: {event:?}"));
        assert!((watts - PACKAGE_W).abs() < 0.04 * PACKAGE_W, "{watts} W: {event:?}");
    }
    assert!(fixture.report().contains("SIMULATED power"));
    let trace = fixture.trace();
    let falls = |register: &str| {
        let values: Vec<f64> = trace.iter().filter(|r| r.register == register).filter_map(|r| r.value).collect();
        values.windows(2).filter(|pair| pair[1] < pair[0]).count()
    };
    assert!(falls("package-0") >= 2, "the raw counter wrapped {} times", falls("package-0"));
}

#[test]
fn counters_that_this_user_may_not_read_are_refused_and_not_called_absent() {
    let fixture = Fixture::new("{ period: 5ms, idle: 0s, calibrate: false, sensors: [rapl] }");
    let program = fixture.unprivileged();
    let root = fixture.path().join("sysfs");
    let counter = root.join("sys/class/powercap/intel-rapl:0/energy_uj");
    drop(zone(&root, "intel-rapl:0", "package-0"));
    fs::set_permissions(&counter, fs::Permissions::from_mode(0o000)).unwrap();
    let output = fixture.run(program);
    succeeded(&output);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("energy_uj may not be read: only root may"), "{errors}");
    assert!(fixture.report().contains("with the reason `permission`"));
    for event in fixture.events() {
        assert_eq!(
            (event.reason.map(|reason| reason.as_str()), event.energy_j),
            (Some("permission"), None),
            "{event:?}"
        );
    }
}

#[test]
fn a_package_that_this_user_may_not_read_is_missed() {
    let fixture = Fixture::new("{ period: 5ms, idle: 0s, looped: 0s, calibrate: false, sensors: [rapl] }");
    let program = fixture.unprivileged();
    let root = fixture.path().join("sysfs");
    for (folder, name) in [("intel-rapl:0", "package-0"), ("intel-rapl:1", "package-1")] {
        drop(zone(&root, folder, name));
    }
    let counter = root.join("sys/class/powercap/intel-rapl:1/energy_uj");
    fs::set_permissions(&counter, fs::Permissions::from_mode(0o000)).unwrap();
    let output = fixture.run(program);
    succeeded(&output);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("simulated-rapl: energy is without package-1, which cannot be read"), "{errors}");
}
