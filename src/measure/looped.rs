//! A procedure repeated without pause, for a power sensor that is slow.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::backend::{Call, CancelToken, Deadline, Outcome, Reply, Session};
use crate::clock::Clock;
use crate::record::calibration::Calibration;
use crate::record::plan::Plan;
use crate::record::{LoopRecord, WindowRecord};
use crate::schedule::LoopTask;
use crate::telemetry::{Beside, Watcher};
use crate::terms::{Attribution, Degraded, Dtype, Finish, Flag, Phase, Procedure, Status};
use crate::units::Nanos;

/// A pause between two windows up to this long shows in no sensor.
const SHORT_PAUSE: Nanos = Nanos(1_000_000);

/// How long and in what pattern to repeat.
#[derive(Debug, Clone, PartialEq)]
pub struct LoopRule {
    /// Repeated before the first window, until clocks, power and sensor have settled.
    pub settle: Duration,
    /// Length of a window, pauses left out.
    pub window: Duration,
    /// Windows.
    pub windows: u32,
    /// Groups that pauses divide a window into, so that a sensor that sees only part of the time sees every part of a
    /// repetition; 1: no pause.
    pub groups: u32,
    /// The sensor whose updates the pauses are fitted to.
    pub sensor: Calibration,
}

/// What is repeated and on what.
pub struct LoopSetting<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// What the schedule wants.
    pub task: &'a LoopTask,
    /// One repetition, but for its number and seed.
    pub call: Call,
    /// Seed of the repetition of this number: no two prompts are the same where an engine might remember one.
    pub seed: &'a dyn Fn(u32) -> u64,
    /// Hash of the session's weights.
    pub weights_id: &'a str,
    /// Element type of the session.
    pub dtype: Dtype,
    /// Process, see [`crate::record::Opened::epoch`].
    pub epoch: u32,
    /// Sessions of ours that are resident beside this one.
    pub co_resident: u32,
}

/// Repeats and records.
///
/// A repetition that is not what was asked for ends it; but one that ended early at a stop token is one more repetition
/// of fewer decode steps, which are counted. Between windows, outside their time, the session is asked what it can prove.
#[must_use]
pub fn looped(
    session: &mut dyn Session,
    setting: &LoopSetting<'_>,
    rule: &LoopRule,
    clock: &dyn Clock,
    mut watcher: Option<&mut Watcher>,
    cancel: &CancelToken,
) -> LoopRecord {
    session.ready();
    let mark = watcher.as_mut().map(|w| w.start());
    let begin = clock.now();
    let mut work = Repeating {
        call: setting.call.clone(),
        made: 0,
        counted: Counted::default(),
        last: None,
        broken: None,
        session_lost: false,
        by: Deadline(setting.plan.timeout_ns.duration()),
        session,
        clock,
        cancel,
    };
    let windows = work.every_window(setting, rule);
    let end = clock.now();
    let Repeating { last, broken, session_lost, session, .. } = work;
    let beside = match (watcher, mark) {
        (Some(watcher), Some(mark)) => watcher.finish(mark, || super::engine_pids(session)),
        _ => Beside::default(),
    };
    let broken = broken.or_else(|| too_few_steps(setting, &windows));
    let mut record = record(setting, broken, &beside, begin);
    let reply = last.and_then(|outcome| outcome.reply);
    if let Some(reply) = reply {
        record.prompt_evaluated = reply.prompt_evaluated().or(record.prompt_evaluated);
        record.attribution = reply.attribution;
    }
    LoopRecord { end_ns: end, windows, session_lost, ..record }
}

/// A loop that cannot be made, with the reason: it is not asked for again.
#[must_use]
pub fn given_up(setting: &LoopSetting<'_>, why: &str, clock: &dyn Clock) -> LoopRecord {
    record(setting, Some((Degraded::Error, why.to_owned())), &Beside::default(), clock.now())
}

/// The record of a loop that has no windows yet and ended when it began.
fn record(setting: &LoopSetting<'_>, broken: Option<(Degraded, String)>, beside: &Beside, begin: Nanos) -> LoopRecord {
    let LoopSetting { plan, task, call, .. } = setting;
    let cell = &plan.cells[task.cell];
    let mut flags = crate::telemetry::flags(beside);
    if setting.co_resident > 0 {
        flags.push(Flag::CoResident);
    }
    flags.sort_unstable();
    let sent = || call.prompts.iter().map(|ids| u32::try_from(ids.len()).unwrap_or(u32::MAX)).sum();
    let known = call.prompts.iter().all(|ids| !ids.is_empty());
    LoopRecord {
        loop_id: task.loop_id(plan),
        cell_id: cell.id.clone(),
        procedure: task.procedure,
        residency_id: task.residency_id,
        load_index: task.load_index,
        session_index: task.session_index,
        epoch: setting.epoch,
        session: cell.session.clone(),
        weights_id: setting.weights_id.to_owned(),
        dtype: setting.dtype,
        scenario: cell.scenario.clone(),
        batch: cell.batch,
        status: broken.as_ref().map_or(Status::Ok, |(kind, _)| Status::Degraded(*kind)),
        detail: broken.map(|(_, why)| why),
        flags,
        attribution: Attribution::default(),
        prompt_evaluated: known.then(sent),
        decode_steps: call.steps,
        begin_ns: begin,
        end_ns: begin,
        windows: Vec::new(),
        beside: super::beside_record(beside, setting.co_resident),
        session_lost: false,
    }
}

/// Whether repetitions that ended early made the mean one too short to stand for what was asked.
fn too_few_steps(setting: &LoopSetting<'_>, windows: &[WindowRecord]) -> Option<(Degraded, String)> {
    let early: u32 = windows.iter().map(|window| window.early_stops).sum();
    if early == 0 {
        return None;
    }
    let repeats: u32 = windows.iter().map(|window| window.repeats).sum();
    let all: u64 = windows.iter().map(|window| window.steps_timed.unwrap_or_default()).sum();
    let steps = (all + u64::from(repeats) / 2) / u64::from(repeats);
    let rule = setting.plan.early_stop;
    let counts = rule.scale && setting.call.procedure == Procedure::PrefillDecode;
    let why =
        format!("{early} of {repeats} repetitions ended early; {steps} of {} steps in the mean", setting.call.steps);
    if steps < u64::from(rule.min_steps.min(setting.call.steps)) {
        Some((Degraded::TooShort, why))
    } else {
        (!counts).then_some((Degraded::EarlyStop, why))
    }
}

/// What repetitions of a window add up to.
#[derive(Debug, Default)]
struct Counted {
    phases: BTreeMap<Phase, Nanos>,
    early_stops: u32,
    steps: u64,
}

struct Repeating<'a> {
    call: Call,
    made: u32,
    /// Since the window began.
    counted: Counted,
    last: Option<Outcome>,
    /// What ended it before its time.
    broken: Option<(Degraded, String)>,
    session_lost: bool,
    by: Deadline,
    session: &'a mut dyn Session,
    clock: &'a dyn Clock,
    cancel: &'a CancelToken,
}

impl Repeating<'_> {
    /// Every window that came to its end.
    fn every_window(&mut self, setting: &LoopSetting<'_>, rule: &LoopRule) -> Vec<WindowRecord> {
        let mut windows = Vec::new();
        if self.group(setting, rule.settle).is_none() {
            return windows;
        }
        for number in 0..rule.windows {
            let Some(window) = self.window(setting, rule) else { break };
            windows.push(window);
            let another = number + 1 < rule.windows;
            let Some(paused) = self.inspect(another) else { break };
            // The sensor has seen a pause: what it says next is still partly of that.
            let again = another && paused > SHORT_PAUSE;
            if again && self.group(setting, rule.sensor.settling().duration().min(rule.settle)).is_none() {
                break;
            }
        }
        windows
    }

    fn window(&mut self, setting: &LoopSetting<'_>, rule: &LoopRule) -> Option<WindowRecord> {
        let groups = rule.groups.max(1);
        self.counted = Counted::default();
        let begin = self.clock.now();
        let (mut repeats, mut pauses) = (0, Nanos(0));
        for group in 0..groups {
            let from = self.clock.now();
            repeats += self.group(setting, rule.window / groups)?;
            if group + 1 < groups {
                let done = self.clock.now();
                let pause = rule.sensor.sweep_pause(done.since(from), groups);
                self.cancel.wait(Deadline(pause.duration()), || false);
                pauses = pauses + self.clock.now().since(done);
            }
        }
        let end = self.clock.now();
        let Counted { phases, early_stops, steps } = std::mem::take(&mut self.counted);
        Some(WindowRecord {
            begin_ns: begin,
            end_ns: end,
            repeats,
            groups,
            pauses_ns: pauses,
            phases_ns: phases,
            early_stops,
            steps_timed: Some(steps),
        })
    }

    /// Repeats for so long and to the end of the repetition under way. How often; `None`: it broke.
    fn group(&mut self, setting: &LoopSetting<'_>, length: Duration) -> Option<u32> {
        let begin = self.clock.now();
        let mut repeats = 0;
        while repeats == 0 || self.clock.now().since(begin).duration() < length {
            self.once(setting)?;
            repeats += 1;
        }
        Some(repeats)
    }

    fn once(&mut self, setting: &LoopSetting<'_>) -> Option<()> {
        self.call.index = self.made;
        self.call.seed = (setting.seed)(self.made);
        self.made += 1;
        let begin = self.clock.now();
        let outcome = self.session.call(&self.call, self.by, self.cancel);
        let end = self.clock.now();
        let empty = Reply::default();
        let reply = outcome.reply.as_ref().unwrap_or(&empty);
        if outcome.failure.is_none() {
            self.broken = wrong(&self.call, reply, begin, end, self.session.in_process());
        }
        for span in &reply.spans {
            let sum = self.counted.phases.entry(span.phase).or_default();
            *sum = *sum + span.end.since(span.begin);
        }
        self.counted.steps += u64::from(reply.steps_timed);
        self.counted.early_stops += u32::from(reply.steps_timed < self.call.steps);
        self.take_outcome(outcome)
    }

    /// Asks what the last repetition can be proven to have done, and makes ready for `another` window. How long that took;
    /// `None`: it broke.
    fn inspect(&mut self, another: bool) -> Option<Nanos> {
        let begin = self.clock.now();
        let mut outcome = self.last.take()?;
        self.session.inspect(&mut outcome);
        self.take_outcome(outcome)?;
        if another {
            self.session.ready();
        }
        Some(self.clock.now().since(begin))
    }

    /// Keeps what the last repetition gave. `None`: it broke.
    fn take_outcome(&mut self, outcome: Outcome) -> Option<()> {
        if let Some(failure) = &outcome.failure {
            self.broken = Some((failure.kind, failure.message.clone()));
        }
        self.session_lost = !outcome.session_usable;
        self.last = Some(outcome);
        if self.broken.is_some() || self.session_lost { None } else { Some(()) }
    }
}

/// How a reply is not what was asked for, but for a stop token that came early.
fn wrong(call: &Call, reply: &Reply, begin: Nanos, end: Nanos, in_process: bool) -> Option<(Degraded, String)> {
    if let Some(why) = super::contradiction(call, reply, begin, end, in_process) {
        return Some((Degraded::Invariant, why));
    }
    (reply.steps_timed < call.steps && reply.finish != Some(Finish::Stop))
        .then(|| (Degraded::Incomplete, format!("{} of {} decode steps were made", reply.steps_timed, call.steps)))
}
