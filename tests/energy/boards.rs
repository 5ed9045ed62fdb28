//! Several boards, programs of others on them, and what their clocks do.

use phasebench::analysis::EnergyEventRow;
use phasebench::terms::energy::Grade;
use phasebench::terms::{Flag, Role};

use crate::fixture::{BOARD, Fixture};

const TELEMETRY: &str = "{ period: 8ms, idle: 0s, looped: 0s, calibrate: false, sensors: [nvml] }";

/// `None`: the machine did not let it.
fn with(telemetry: &str, settings: &str) -> Option<(Fixture, Vec<EnergyEventRow>)> {
    let fixture = Fixture::new(telemetry);
    if !fixture.run_undisturbed(fixture.with_driver(&format!("{BOARD}{settings}\n"))) {
        return None;
    }
    fixture.report();
    // A busy machine makes pauses between calls, and those make rewarm calls, which are short.
    let events: Vec<_> = fixture.events().into_iter().filter(|event| event.role != Some(Role::Rewarm)).collect();
    assert_eq!(events.len(), 8, "{events:?}");
    Some((fixture, events))
}

#[test]
fn of_several_boards_the_one_that_we_compute_on_is_charged() {
    let Some((fixture, events)) = with(TELEMETRY, "boards = 2\nprocesses = self\nprocesses_on = 1") else { return };
    let sensors = &fixture.manifest()["epochs"][0]["power"]["found"]["sensors"];
    assert_eq!(sensors.as_array().map(Vec::len), Some(2));
    for event in &events {
        assert_eq!(event.sensor.as_deref(), Some("simulated-nvml:1"), "{event:?}");
        assert!(event.energy_j.is_some(), "{event:?}");
    }
    let mut metrics = csv::Reader::from_path(fixture.run_folder().join("metrics.csv")).unwrap();
    let columns = metrics.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = metrics.records().map(Result::unwrap).collect();
    for (name, value) in [
        ("gpu_temperature_c", "45.0"),
        ("gpu_memory_temperature_c", "50.0"),
        ("gpu_sm_mhz", "1500.0"),
        ("gpu_memory_mhz", "2600.0"),
        ("gpu_performance_state", "0.0"),
    ] {
        let column = columns.iter().position(|column| column == name).unwrap();
        assert!(rows.iter().all(|row| &row[column] == value), "{name}: {:?}", &rows[0][column]);
    }
}

#[test]
fn of_several_boards_none_is_charged_without_proof() {
    let Some((_, events)) = with(TELEMETRY, "boards = 2") else { return };
    for event in &events {
        assert_eq!(event.reason.map(|reason| reason.as_str()), Some("unattributed"), "{event:?}");
        assert_eq!((event.sensor.as_deref(), event.energy_j), (None, None));
    }
}

#[test]
fn programs_of_others_count_on_the_board_they_are_on() {
    let Some((_, of_others)) = with(TELEMETRY, "processes = 1") else { return };
    assert!(of_others.iter().all(|event| event.grade.is_none_or(|grade| grade == Grade::D)), "{of_others:?}");
    let Some((_, ours)) = with(TELEMETRY, "processes = self") else { return };
    assert!(ours.iter().any(|event| event.grade.is_some_and(|grade| grade <= Grade::C)), "{ours:?}");
}

#[test]
fn a_board_that_changes_its_performance_state_in_a_call_is_throttled() {
    for (settings, throttled) in [("states_change_ms = 150", true), ("", false)] {
        let Some((_, events)) = with(TELEMETRY, settings) else { return };
        assert!(
            events.iter().all(|event| event.flags.contains(Flag::Throttled) == throttled),
            "{settings}: {events:?}"
        );
    }
}

/// 100 W until `change`, then 140 W.
fn steps(fixture: &Fixture, change: f64) {
    std::fs::write(fixture.path().join("load"), format!("0 100\n{change} 140\n")).unwrap();
}

#[test]
fn idle_power_is_compared_only_where_a_context_was_held_both_times_or_neither() {
    for (settings, drifts) in [("", true), ("processes = self\nprocesses_from_s = 2\n", false)] {
        let fixture = Fixture::new("{ period: 8ms, idle: 600ms, looped: 0s, calibrate: false, sensors: [nvml] }");
        let command = fixture.with_driver(&format!("{BOARD}{settings}"));
        steps(&fixture, 2.0);
        if !fixture.run_undisturbed(command) {
            return;
        }
        fixture.report();
        let flagged = fixture.events().iter().any(|event| event.flags.contains(Flag::IdleDrift));
        assert_eq!(flagged, drifts, "{settings}: {:?}", fixture.events());
    }
}
