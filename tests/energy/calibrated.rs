//! A scripted board whose power follows this process's work: its timing is measured, and figures rest on it.

use std::fs;

use phasebench::record::IdleWhen;
use phasebench::record::calibration::{Calibration, Measured};
use phasebench::store;
use phasebench::terms::energy::Grade;

use crate::fixture::{Fixture, succeeded};
use crate::labels;

/// Updates every 40 ms, from the mean of the last 40 ms, all energy counted.
const BOARD: &str = "period_ms = 40\nphase_ms = 3\nwindow_ms = 40\naverage_window_ms = 200\ncounter = of_energy\n\
                     quantum_mj = 1\nload = cpu\nidle_w = 70\nbusy_w = 300\n";

fn near(found: f64, truth: f64, tolerance: f64) -> bool {
    (found - truth).abs() <= tolerance
}

/// What any machine, busy as it may be, finds of the board: how often it updates, and its step.
fn check(measured: &Measured) {
    let found = &measured.calibration;
    assert!(near(found.counter_period_ns.as_ms(), 40.0, 2.0), "{found:?}");
    assert!(near(found.power_period_ns.as_ms(), 40.0, 2.0), "{found:?}");
    assert!(near(found.resolution_j, 1e-3, 1e-9), "{found:?}");
    assert!(measured.simulated && found.id.is_some() && measured.load.is_some());
    assert_eq!(measured.paces.len(), 4);
    assert!(measured.phases.len() >= 7 && measured.response.is_some(), "{measured:?}");
    // A fit that a busy machine spoilt is not used; one that holds finds how late the board is, 20 ms in the mean.
    let assumed = Calibration::assumed();
    for (response, window, delay) in [
        (measured.response, Some(found.window_ns), Some(found.delay_ns)),
        (measured.counter_response, found.counter_window_ns, found.counter_delay_ns),
    ] {
        let response = response.unwrap_or_else(|| panic!("{measured:?}"));
        if response.holds() {
            assert_eq!((window, delay), (Some(response.window_ns), Some(response.delay_ns)));
            // Beside other programs a window of 40 ms and a short one that comes 20 ms late look alike: both are as late in
            // the mean.
            let lateness = response.delay_ns.as_ms() + response.window_ns.as_ms() / 2.0;
            assert!((5.0..60.0).contains(&lateness) && response.window_ns.as_ms() < 70.0, "{response:?}");
        } else {
            assert!(window.is_none_or(|window| window == assumed.window_ns), "{measured:?}");
        }
    }
    assert!(found.safe_poll_ns.is_none_or(|safe| measured.paces.iter().any(|pace| pace.poll_ns == safe)), "{found:?}");
    assert!(measured.phases.iter().all(|phase| (0.1..0.95).contains(&phase.share)), "{:?}", measured.phases);
}

#[test]
fn calibrate_measures_a_board_and_shows_it() {
    let fixture = Fixture::new("{}");
    let output = fixture.with_driver(BOARD).args(["calibrate", "--sensor", "nvml"]).output().unwrap();
    succeeded(&output);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.starts_with("simulated-nvml:0 (SIMULATED)"), "{printed}");
    let folder = fixture.path().join("calibration");
    let measured: Vec<Measured> = serde_json::from_slice(&fs::read(folder.join("calibration.json")).unwrap()).unwrap();
    assert_eq!(measured.len(), 1);
    check(&measured[0]);
    let labelled = labels::check(&folder);
    for file in ["calibration.json", "report.md", "report.html", "plots/calibration_simulated_nvml_0.svg"] {
        assert!(labelled.contains(file), "{file} is not among {labelled:?}");
    }
}

#[test]
fn a_run_measures_first_and_its_figures_name_the_measurement() {
    let fixture = Fixture::new("{ period: 8ms, idle: 600ms, looped: 0s, sensors: [nvml] }");
    let output = fixture.run(fixture.with_driver(BOARD));
    succeeded(&output);
    assert!(String::from_utf8_lossy(&output.stderr).contains("measuring the sensor's timing"));
    let report = fixture.report();
    let archived = fs::read(fixture.run_folder().join("calibration.json")).unwrap();
    let measured: Vec<Measured> = serde_json::from_slice(&archived).unwrap();
    check(&measured[0]);
    let recording = store::read(&fixture.run_folder()).unwrap();
    let before = recording.idles().find(|idle| idle.when == IdleWhen::Before).unwrap();
    assert!(before.end_ns < measured[0].steps_ns[0].0, "idle before the load of the calibration: {before:?}");
    assert!(recording.idles().filter(|idle| idle.when == IdleWhen::Before).count() == 1);
    let labelled = labels::check(&fixture.run_folder());
    for file in ["calibration.json", "plots/calibration_simulated_nvml_0.svg"] {
        assert!(labelled.contains(file), "{file} is not among {labelled:?}");
    }
    let id = measured[0].calibration.id.clone();
    assert!(report.contains(id.as_deref().unwrap()), "{report}");
    for event in fixture.events() {
        assert_eq!(event.calibration_id, id, "{event:?}");
        assert!(event.energy_j.is_some() != event.reason.is_some() && event.grade != Some(Grade::A), "{event:?}");
    }
}

#[test]
fn a_sensor_that_cannot_be_measured_is_told_of_and_assumed() {
    let fixture = Fixture::new("{ period: 8ms, idle: 0s, looped: 0s, sensors: [nvml] }");
    let output = fixture.run(fixture.with_driver(&format!("{BOARD}stale_from_s = 0\n")));
    succeeded(&output);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("is not calibrated, its timing is assumed"), "{errors}");
    fixture.report();
    assert!(fixture.events().iter().all(|event| event.calibration_id.is_none()));
}
