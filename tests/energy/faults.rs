//! A board that fails while a run goes on.

use phasebench::analysis::EnergyEventRow;
use phasebench::terms::Role;

use crate::fixture::{BOARD, Fixture, succeeded};

const TELEMETRY: &str = "{ period: 8ms, idle: 0s, looped: 0s, calibrate: false, sensors: [nvml] }";

/// Runs with one more setting of the board. `None`: the machine did not let it.
fn with(setting: &str) -> Option<(Fixture, Vec<EnergyEventRow>)> {
    let fixture = Fixture::new(TELEMETRY);
    let ran = fixture.run_undisturbed(fixture.with_driver(&format!("{BOARD}{setting}\n")));
    ran.then(|| {
        let events = whole(&fixture);
        (fixture, events)
    })
}

/// The phases of a run, which must be whole.
fn whole(fixture: &Fixture) -> Vec<EnergyEventRow> {
    fixture.report();
    // A driver that answers slowly makes pauses between calls, and those make rewarm calls.
    let events: Vec<_> = fixture.events().into_iter().filter(|event| event.role != Some(Role::Rewarm)).collect();
    assert_eq!(events.len(), 8, "the run went on");
    assert!(events.iter().all(|event| event.energy_j.is_some() != event.reason.is_some()), "a figure or a reason");
    events
}

fn reasons(events: &[EnergyEventRow]) -> Vec<&str> {
    let mut found: Vec<&str> = events.iter().filter_map(|event| event.reason).map(|reason| reason.as_str()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn faults(fixture: &Fixture) -> Vec<String> {
    let mut found: Vec<String> = fixture.trace().into_iter().filter_map(|row| row.fault).collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[test]
fn a_counter_that_starts_again_costs_the_phase_it_does_so_in() {
    let Some((_, events)) = with("counter_reset_s = 1.3\ninstant = not_supported\naverage = not_supported") else {
        return;
    };
    assert_eq!(reasons(&events), ["counter_reset"]);
    assert!(events.iter().filter(|event| event.reason.is_some()).count() <= 2, "{events:?}");
    assert!(events.iter().all(|event| event.energy_j.is_none_or(|energy| energy > 0.0)));
}

#[test]
fn a_board_without_a_counter_is_read_by_its_power() {
    let Some((fixture, events)) = with("counter = not_supported") else { return };
    let missing = &fixture.manifest()["epochs"][0]["power"]["found"]["sensors"][0]["missing"];
    assert!(missing["counter"].is_string(), "{missing}");
    assert!(events.iter().all(|event| event.method.is_none_or(|method| method.as_str() == "instant_inside")));
    assert!(events.iter().any(|event| event.energy_j.is_some()), "{events:?}");
}

#[test]
fn a_counter_that_goes_away_is_noted_and_power_takes_over() {
    let Some((fixture, events)) = with("not_supported_from_s = 1.5") else { return };
    assert_eq!(faults(&fixture), ["not_supported"]);
    let methods: Vec<&str> = events.iter().filter_map(|event| event.method).map(|method| method.as_str()).collect();
    assert!(methods.contains(&"inner_edge") && methods.contains(&"instant_inside"), "{methods:?}");
}

#[test]
fn registers_that_stand_still_give_no_figure() {
    for missing in ["", "counter = not_supported", "instant = not_supported\naverage = not_supported"] {
        let Some((_, events)) = with(&format!("stale_from_s = 1.0\n{missing}")) else { return };
        assert_eq!(reasons(&events), ["stale"], "no update, no figure: {missing}: {events:?}");
        assert!(events.iter().any(|event| event.energy_j.is_some()) && events[7].energy_j.is_none(), "{events:?}");
    }
}

#[test]
fn a_board_that_vanishes_is_noted() {
    let Some((fixture, events)) = with("lost_from_s = 1.5") else { return };
    assert_eq!(faults(&fixture), ["lost"]);
    assert_eq!(reasons(&events), ["poll_gap"]);
    assert!(events.iter().any(|event| event.energy_j.is_some()));
}

#[test]
fn a_slow_board_is_read_less_often_and_never_holds_up_a_call() {
    let fixture = Fixture::new(TELEMETRY);
    succeeded(&fixture.run(fixture.with_driver(&format!("{BOARD}slow_ms = 50\n"))));
    let events = whole(&fixture);
    let continuity = &fixture.manifest()["epochs"][0]["power"]["continuity"];
    let (due, taken) = (continuity["ticks_due"].as_u64().unwrap(), continuity["ticks_taken"].as_u64().unwrap());
    assert!(taken * 10 < due, "{continuity}");
    // Whatever figure there is says that readings are missing.
    assert!(
        events.iter().all(|event| event.grade.is_none_or(|grade| grade >= phasebench::terms::energy::Grade::C)),
        "{events:?}"
    );
}
