//! Phases that are too short for the sensor, repeated for it.

use std::fs;

use phasebench::analysis::energy::EnergyScope;
use phasebench::analysis::{self, EnergyEventRow};
use phasebench::record::manifest::Manifest;
use phasebench::record::plan::Plan;
use phasebench::record::{IdleRecord, Line, LoopRecord};
use phasebench::store::{self, Recording, TraceRow};
use phasebench::terms::energy::{Grade, Method, NoFigure};
use phasebench::terms::{Flag, Phase, Procedure, Role};

use crate::fixture::{BOARD, Fixture, STEADY_MEAN_W, STEADY_W, succeeded};

const TELEMETRY: &str = "{ period: 8ms, idle: 600ms, looped: 500ms, calibrate: false, sensors: [nvml] }";

#[test]
fn short_phases_are_repeated_and_kept_apart_from_calls() {
    let fixture = Fixture::new(TELEMETRY).with_short_phases();
    let program = fixture.with_driver(BOARD);
    fixture.load(&STEADY_W);
    if !fixture.run_undisturbed(program) {
        return;
    }
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
        events.into_iter().partition(|event| event.scope == EnergyScope::Looped);
    // Nothing of a call is filled in from a loop: phases of 20 and 40 ms have no figure on this board, unless the machine
    // stalls in one.
    assert!(natural.iter().filter(|event| event.role == Some(Role::Timed)).count() == 6, "{natural:?}");
    assert!(
        natural.iter().all(|event| event.method != Some(Method::SteadySlope) && event.role.is_some()),
        "{natural:?}"
    );
    assert!(natural.iter().any(|event| event.reason == Some(NoFigure::TooShort)), "{natural:?}");
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
        let truth = STEADY_MEAN_W * seconds;
        assert!((energy - truth).abs() < 3.0 * u * energy + 0.1 * truth, "{energy} J, not {truth}: {event:?}");
    }
    assert!(report.contains("| looped "), "{report}");
    let output = fixture.program().args(["validate", "run"]).output().unwrap();
    succeeded(&output);
    what_limits_the_prefills_loop_limits_decode(&fixture);
    a_run_resumed_between_two_loops_has_decode_all_the_same(&fixture);
}

/// A run's files, to be joined again.
struct Files {
    recording: Recording,
    plan: Plan,
    manifest: Manifest,
    trace: Vec<TraceRow>,
}

impl Files {
    fn read(fixture: &Fixture) -> Self {
        let text = |name: &str| fs::read_to_string(fixture.run_folder().join(name)).unwrap();
        Self {
            recording: store::read(&fixture.run_folder()).unwrap(),
            plan: serde_json::from_str(&text("plan.json")).unwrap(),
            manifest: serde_json::from_str(&text("manifest.json")).unwrap(),
            trace: fixture.trace(),
        }
    }

    fn loops(&mut self) -> impl Iterator<Item = &mut LoopRecord> {
        self.recording.lines.iter_mut().filter_map(|line| match line {
            Line::Loop(record) => Some(&mut **record),
            _ => None,
        })
    }

    /// Decode by its loop.
    fn decode(&self) -> EnergyEventRow {
        let tables = analysis::derive(&self.recording, &self.plan, &self.manifest, &self.trace);
        let mut looped = tables.energy_events.into_iter().filter(|event| event.scope == EnergyScope::Looped);
        looped.find(|event| event.phase == Phase::KvDecode).unwrap()
    }
}

/// Decode's figure is a difference, so whatever is wrong with the loop taken off is wrong with it.
fn what_limits_the_prefills_loop_limits_decode(fixture: &Fixture) {
    let mut files = Files::read(fixture);
    let before = files.decode();
    assert!(!before.flags.contains(Flag::Throttled));
    let prefill = files.loops().find(|record| record.procedure == Procedure::Prefill).unwrap();
    prefill.beside.foreign_gpu_processes = Some(1);
    prefill.beside.boards.iter_mut().for_each(|board| board.foreign = Some(1));
    prefill.flags.push(Flag::Throttled);
    let after = files.decode();
    assert_eq!((after.grade, after.energy_j), (Some(Grade::D), before.energy_j), "{after:?}");
    assert!(after.flags.contains(Flag::Throttled), "{after:?}");
    let prefill = files.loops().find(|record| record.procedure == Procedure::Prefill).unwrap();
    prefill.attribution.actual = None;
    // Sensors that the scenario file names are charged whatever proves where a call ran.
    assert_eq!(files.decode().energy_j, before.energy_j);
    for entry in files.manifest.epochs.iter_mut().filter_map(|epoch| epoch.power.as_mut()) {
        entry.charged = None;
    }
    for record in files.loops().filter(|record| record.procedure == Procedure::PrefillDecode) {
        record.attribution.actual = Some("cuda:0".to_owned());
    }
    assert_eq!(files.decode().reason, Some(NoFigure::Unattributed));
}

fn a_run_resumed_between_two_loops_has_decode_all_the_same(fixture: &Fixture) {
    let mut files = Files::read(fixture);
    let before = files.decode();
    files.manifest.epochs.push(files.manifest.epochs[0].clone());
    let again: Vec<TraceRow> = files.trace.iter().map(|row| TraceRow { epoch: 1, ..row.clone() }).collect();
    files.trace.extend(again);
    let idles: Vec<Line> =
        files.recording.idles().map(|idle| Line::Idle(IdleRecord { epoch: 1, ..idle.clone() }.into())).collect();
    files.recording.lines.extend(idles);
    files.loops().filter(|record| record.procedure == Procedure::PrefillDecode).for_each(|record| record.epoch = 1);
    let after = files.decode();
    assert_eq!((after.epoch, after.energy_j, after.grade), (1, before.energy_j, before.grade), "{after:?}");
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
    assert!(fixture.events().iter().all(|event| event.reason == Some(NoFigure::Unattributed)));
}
