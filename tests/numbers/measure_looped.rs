//! Repetitions of an engine that is nothing but its answers: what is recorded of them, and what ends them.

use std::path::Path;
use std::time::Duration;

use phasebench::backend::{
    BackendError, Call, CancelToken, Deadline, Failure, LoadReport, Outcome, Reply, Session, Span, SpanClock,
};
use phasebench::clock::{Clock, VirtualClock};
use phasebench::measure::{LoopRule, LoopSetting, given_up, looped};
use phasebench::model;
use phasebench::plan::{self, ModelFacts, Only};
use phasebench::record::LoopRecord;
use phasebench::record::calibration::{Calibration, Coverage};
use phasebench::record::plan::Plan;
use phasebench::scenario;
use phasebench::schedule::LoopTask;
use phasebench::terms::{Degraded, Dtype, Finish, Phase, Procedure, Status};
use phasebench::units::{Bytes, Nanos};

const STEPS: u32 = 16;
const MS: u64 = 1_000_000;

/// 10 ms of prefill, 1 ms for each step; an inspection takes 7 ms and tells the device.
struct Scripted<'a> {
    clock: &'a VirtualClock,
    report: LoadReport,
    /// Steps that the repetition of a number makes.
    steps: fn(u32) -> u32,
    calls: u32,
    /// Calls made before each inspection, and its time.
    inspections: Vec<(u32, Nanos)>,
    /// Number of the inspection, from 1, that finds fault.
    fails_at: usize,
    /// Calls made before each time that it was made ready.
    readied: Vec<u32>,
}

impl Session for Scripted<'_> {
    fn loaded(&self) -> &LoadReport {
        &self.report
    }

    fn ready(&mut self) {
        self.readied.push(self.calls);
    }

    fn call(&mut self, call: &Call, _: Deadline, _: &CancelToken) -> Outcome {
        let steps = (self.steps)(call.index);
        let mut spans = Vec::new();
        for (phase, ms) in [(Phase::Prefill, 10), (Phase::KvDecode, u64::from(steps))] {
            let begin = self.clock.now();
            self.clock.pass(Duration::from_millis(ms));
            let (end, clock, uncertainty) = (self.clock.now(), SpanClock::Exact, Nanos(0));
            spans.push(Span { phase, begin, end, clock, uncertainty, mean_power_w: None, device: None });
        }
        self.calls += 1;
        let reply = Reply {
            steps_timed: steps,
            tokens: vec![vec![2; steps as usize + 1]],
            finish: Some(if steps < STEPS { Finish::Stop } else { Finish::Length }),
            spans,
            ..Reply::default()
        };
        Outcome { reply: Some(reply), failure: None, session_usable: true }
    }

    fn inspect(&mut self, outcome: &mut Outcome) {
        self.inspections.push((self.calls, self.clock.now()));
        self.clock.pass(Duration::from_millis(7));
        if let Some(reply) = &mut outcome.reply {
            reply.attribution.actual = Some("cpu".to_owned());
        }
        if self.inspections.len() == self.fails_at {
            outcome.failure = Some(Failure::new(Degraded::Reloaded, "the server unloaded it"));
            outcome.session_usable = false;
        }
    }

    fn engine_pids(&self) -> Vec<u32> {
        Vec::new()
    }

    fn close(self: Box<Self>) -> Result<(), BackendError> {
        Ok(())
    }
}

fn planned() -> Plan {
    let scenario = "version: 1\nname: looped\ngen_tokens: [16]\nscenarios: [{ name: s, prompt: { tokens: 5 } }]\n\
                    models: [{ name: m, synthetic: { family: gpt2, n_layer: 2, n_embd: 32, n_head: 2, vocab: 300 } }]\n\
                    backends: [{ name: b, simulated: {} }]\n";
    let spec = scenario::parse(scenario, Path::new("scenario.yaml"), Path::new("")).unwrap();
    let facts: Vec<ModelFacts> =
        spec.models.iter().map(|m| ModelFacts::new(&m.name, &model::architecture(&m.form).unwrap())).collect();
    plan::expand(&spec, &facts, Bytes(1 << 34), &Only::default()).unwrap()
}

fn with_setting<T>(act: impl FnOnce(&LoopSetting<'_>) -> T) -> T {
    let plan = planned();
    let task =
        LoopTask { cell: 0, procedure: Procedure::PrefillDecode, residency_id: 0, load_index: 0, session_index: 0 };
    let call = Call {
        procedure: Procedure::PrefillDecode,
        scenario: "s".to_owned(),
        padded_to: 5,
        prompts: vec![vec![1; 5]],
        texts: None,
        steps: STEPS,
        index: 0,
        attempt: 0,
        seed: 1,
    };
    act(&LoopSetting {
        plan: &plan,
        task: &task,
        call,
        seed: &|number| u64::from(number),
        weights_id: "w",
        dtype: Dtype::F32,
        epoch: 0,
        co_resident: 0,
    })
}

/// Three windows of 100 ms, without pauses.
fn made(steps: fn(u32) -> u32, fails_at: usize) -> (LoopRecord, Vec<(u32, Nanos)>) {
    let (record, inspections, _) = made_ready(steps, fails_at);
    (record, inspections)
}

/// As [`made`], with how many calls came before each time that the session was made ready.
fn made_ready(steps: fn(u32) -> u32, fails_at: usize) -> (LoopRecord, Vec<(u32, Nanos)>, Vec<u32>) {
    let clock = VirtualClock::default();
    let (report, inspections, readied) = (LoadReport::default(), Vec::new(), Vec::new());
    let mut session = Scripted { clock: &clock, report, steps, calls: 0, inspections, fails_at, readied };
    let rule = LoopRule {
        settle: Duration::from_millis(50),
        window: Duration::from_millis(100),
        windows: 3,
        groups: 1,
        sensor: Calibration { coverage: Coverage::Full, ..Calibration::assumed() },
    };
    let record = with_setting(|setting| looped(&mut session, setting, &rule, &clock, None, &CancelToken::default()));
    (record, session.inspections, session.readied)
}

#[test]
fn the_clock_is_read_before_the_first_repetition_and_before_each_further_window() {
    let (record, inspections, readied) = made_ready(|_| STEPS, 0);
    assert_eq!(record.windows.len(), 3);
    let between: Vec<u32> = inspections[..2].iter().map(|(calls, _)| *calls).collect();
    assert_eq!(readied, [&[0][..], &between].concat(), "and none after the last");
}

#[test]
fn the_engine_is_asked_between_windows_what_it_can_prove() {
    let (record, inspections) = made(|_| STEPS, 0);
    assert_eq!((record.status, record.attribution.actual.as_deref()), (Status::Ok, Some("cpu")));
    assert_eq!((record.windows.len(), inspections.len()), (3, 3));
    for (window, (_, at)) in record.windows.iter().zip(&inspections) {
        assert_eq!(window.end_ns, *at, "right after a window, outside its time");
        assert_eq!((window.repeats, window.end_ns.since(window.begin_ns)), (4, Nanos(4 * 26 * MS)));
    }
    // What the sensor saw of the 7 ms is over before the next window begins.
    for (pair, inspection) in record.windows.windows(2).zip(&inspections) {
        let between = pair[1].begin_ns.since(inspection.1 + Nanos(7 * MS));
        assert!(between >= Nanos(50 * MS), "{between}");
    }
    assert!((record.mean_steps() - 16.0).abs() < 1e-9);
}

#[test]
fn an_inspection_that_finds_fault_ends_it() {
    let (record, inspections) = made(|_| STEPS, 2);
    assert_eq!(record.status, Status::Degraded(Degraded::Reloaded));
    assert_eq!(record.detail.as_deref(), Some("the server unloaded it"));
    assert!(record.session_lost && inspections.len() == 2 && record.windows.len() == 2, "{record:?}");
}

#[test]
fn one_that_ends_early_is_counted_with_the_steps_it_made() {
    // Two repetitions settle; windows begin with numbers 2, 8 and 14.
    let (record, _) = made(|number| if number == 3 { 8 } else { STEPS }, 0);
    assert_eq!((record.status, record.detail.as_deref(), record.windows.len()), (Status::Ok, None, 3));
    let first = &record.windows[0];
    let steps = u64::from(STEPS * first.repeats - 8);
    assert_eq!((first.early_stops, first.steps_timed), (1, Some(steps)), "{first:?}");
    assert_eq!(record.windows[1].early_stops, 0);
    let repeats: u32 = record.windows.iter().map(|window| window.repeats).sum();
    assert!((record.mean_steps() - (16.0 - 8.0 / f64::from(repeats))).abs() < 1e-9, "{}", record.mean_steps());
}

#[test]
fn when_most_end_early_the_mean_one_does_not_stand_for_what_was_asked() {
    let (record, _) = made(|_| 3, 0);
    assert_eq!(record.status, Status::Degraded(Degraded::TooShort));
    assert!(record.detail.unwrap().contains("repetitions ended early; 3 of 16 steps"));
    assert_eq!(record.windows.len(), 3, "known only at the end");
}

#[test]
fn one_that_cannot_be_made_says_why() {
    let record = with_setting(|setting| given_up(setting, "no sensor", &VirtualClock::default()));
    assert_eq!((record.status, record.detail.as_deref()), (Status::Degraded(Degraded::Error), Some("no sensor")));
    assert!(record.windows.is_empty() && !record.session_lost && record.loop_id.ends_with("-loop-prefill_decode"));
}
