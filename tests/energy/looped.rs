//! Phases that are too short for the sensor, repeated for it.

use std::fs;

use phasebench::analysis::EnergyEventRow;
use phasebench::analysis::energy::Scope;
use phasebench::energy::{Grade, Method, Reason};
use phasebench::record::{Line, LoopRecord};
use phasebench::store;
use phasebench::terms::{Phase, Procedure, Role};

use crate::fixture::{BOARD, Fixture, succeeded};

const TELEMETRY: &str = "{ period: 8ms, idle: 600ms, looped: 500ms, calibrate: false, sensors: [nvml] }";

/// Power of the board's load file over whole turns of its five steps.
const MEAN_W: f64 = 271.0;

#[test]
fn short_phases_are_repeated_and_kept_apart_from_calls() {
    let fixture = Fixture::new(TELEMETRY).with_short_phases();
    succeeded(&fixture.run(fixture.with_driver(BOARD)));
    let report = fixture.report();
    let recording = store::read(&fixture.run_folder()).unwrap();
    let last_call = recording.lines.iter().rposition(|line| matches!(line, Line::Call(_))).unwrap();
    let loops: Vec<usize> =
        (0..recording.lines.len()).filter(|&i| matches!(recording.lines[i], Line::Loop(_))).collect();
    assert!(loops.len() == 2 && loops[0] > last_call, "after the calls: {loops:?}, the last call is line {last_call}");
    let procedures: Vec<Procedure> = recording.loops().map(|record| record.procedure).collect();
    assert_eq!(procedures, [Procedure::Prefill, Procedure::PrefillDecode]);

    let events = fixture.events();
    let (looped, natural): (Vec<EnergyEventRow>, Vec<EnergyEventRow>) =
        events.into_iter().partition(|event| event.scope == Scope::Looped);
    // Nothing of a call is filled in from a loop: phases of 20 and 40 ms have no figure on this board, unless the machine
    // stalls in one.
    assert!(natural.iter().filter(|event| event.role == Some(Role::Timed)).count() == 6, "{natural:?}");
    assert!(
        natural.iter().all(|event| event.method != Some(Method::SteadySlope) && event.role.is_some()),
        "{natural:?}"
    );
    assert!(natural.iter().any(|event| event.reason == Some(Reason::TooShort)), "{natural:?}");
    let metrics = fs::read_to_string(fixture.run_folder().join("metrics.csv")).unwrap();
    assert!(!metrics.contains("steady_slope"));

    assert_eq!(looped.iter().map(|event| event.phase).collect::<Vec<_>>(), [Phase::Prefill, Phase::KvDecode]);
    // A machine that is busy lets the scripted engine sleep longer than it says.
    let repetition: Vec<f64> = recording.loops().map(seconds).collect();
    for (event, seconds) in looped.iter().zip([repetition[0], repetition[1] - repetition[0]]) {
        assert_eq!((event.method, event.role), (Some(Method::SteadySlope), None), "{event:?}");
        // Nobody has measured this board's sensor, so nothing better than C is claimed.
        assert!(event.grade.is_some_and(|grade| (Grade::C..=Grade::D).contains(&grade)), "{event:?}");
        assert!(event.repeats >= 40 && event.busy.is_some_and(|busy| (0.5..=1.0).contains(&busy)), "{event:?}");
        let (energy, u) = (event.energy_j.unwrap(), event.u_stat.unwrap());
        let truth = MEAN_W * seconds;
        assert!((energy - truth).abs() < 3.0 * u * energy + 0.1 * truth, "{energy} J, not {truth}: {event:?}");
    }
    assert!(report.contains("| looped "), "{report}");
    let output = fixture.program().args(["validate", "run"]).output().unwrap();
    succeeded(&output);
}

/// Seconds of one repetition, pauses left out.
fn seconds(record: &LoopRecord) -> f64 {
    let windows = || record.windows.iter();
    let working: f64 = windows().map(|w| w.end_ns.since(w.begin_ns).since(w.pauses_ns).as_secs()).sum();
    working / f64::from(windows().map(|w| w.repeats).sum::<u32>())
}

#[test]
fn nothing_is_repeated_where_the_scenario_says_never() {
    let fixture =
        Fixture::new("{ period: 8ms, idle: 0s, looped: 0s, calibrate: false, sensors: [nvml] }").with_short_phases();
    succeeded(&fixture.run(fixture.with_driver(BOARD)));
    assert_eq!(store::read(&fixture.run_folder()).unwrap().loops().count(), 0);
}

/// Both counters are slower than the pace of reading, so both want loops of the same length; and nothing proves on which
/// of their devices the scripted engine works.
#[test]
fn a_run_whose_cells_are_charged_to_nothing_comes_to_its_end() {
    let fixture = Fixture::new("{ period: 100ms, idle: 0s, looped: 500ms, calibrate: false }").with_short_phases();
    fixture.with_package("5000000");
    succeeded(&fixture.run(fixture.with_driver(BOARD)));
    let recording = store::read(&fixture.run_folder()).unwrap();
    assert_eq!(recording.loops().count(), 0, "a loop would be charged to nothing either");
    assert!(matches!(recording.lines.last(), Some(Line::Finished(_))));
    fixture.report();
    assert!(fixture.events().iter().all(|event| event.reason == Some(Reason::Unattributed)));
}
