//! A procedure repeated without pause, for a power sensor that is slow.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::backend::{Call, CancelToken, Deadline, Reply, Session};
use crate::clock::Clock;
use crate::energy::Calibration;
use crate::plan::Plan;
use crate::record::{LoopRecord, WindowRecord};
use crate::schedule::LoopTask;
use crate::spec::Dtype;
use crate::telemetry::{Beside, Watcher};
use crate::terms::{Attribution, Degraded, Finish, Flag, Phase, Status};
use crate::units::Nanos;

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

/// Repeats and records. A repetition that is not what was asked for ends it.
#[must_use]
pub fn looped(
    session: &mut dyn Session,
    setting: LoopSetting<'_>,
    rule: &LoopRule,
    clock: &dyn Clock,
    mut watcher: Option<&mut Watcher>,
    cancel: &CancelToken,
) -> LoopRecord {
    let mark = watcher.as_mut().map(|w| w.start());
    let begin = clock.now();
    let LoopSetting { plan, task, call, .. } = &setting;
    let mut work = Repeating {
        call: call.clone(),
        made: 0,
        last: None,
        broken: None,
        session_lost: false,
        session,
        clock,
        cancel,
    };
    let by = Deadline(plan.timeout_ns.duration());
    let windows = work.all(&setting, rule, by);
    let end = clock.now();
    let Repeating { last, broken, session_lost, session, .. } = work;
    let beside = match (watcher, mark) {
        (Some(watcher), Some(mark)) => watcher.finish(mark, || session.engine_pids()),
        _ => Beside::default(),
    };
    let cell = &plan.cells[task.cell];
    let mut flags = crate::telemetry::flags(&beside);
    if setting.co_resident > 0 {
        flags.push(Flag::CoResident);
    }
    flags.sort_unstable();
    let (attribution, told) = last.map_or((Attribution::default(), None), |reply| {
        (reply.attribution, reply.prompt_tokens.map(|rows| rows.iter().sum()))
    });
    let sent = || call.prompts.iter().map(|ids| u32::try_from(ids.len()).unwrap_or(u32::MAX)).sum();
    let known = call.prompts.iter().all(|ids| !ids.is_empty());
    LoopRecord {
        loop_id: task.loop_id(plan),
        cell_id: cell.id.clone(),
        procedure: task.procedure,
        residency_id: task.residency_id,
        load_index: task.load_index,
        epoch: setting.epoch,
        session: cell.session.clone(),
        weights_id: setting.weights_id.to_owned(),
        dtype: setting.dtype,
        scenario: cell.scenario.clone(),
        batch: cell.batch,
        status: broken.as_ref().map_or(Status::Ok, |(kind, _)| Status::Degraded(*kind)),
        detail: broken.map(|(_, why)| why),
        flags,
        attribution,
        prompt_evaluated: told.or_else(|| known.then(sent)),
        decode_steps: call.steps,
        begin_ns: begin,
        end_ns: end,
        windows,
        beside: super::beside_record(&beside, setting.co_resident),
        session_lost,
    }
}

struct Repeating<'a> {
    call: Call,
    made: u32,
    last: Option<Reply>,
    /// What ended it before its time.
    broken: Option<(Degraded, String)>,
    session_lost: bool,
    session: &'a mut dyn Session,
    clock: &'a dyn Clock,
    cancel: &'a CancelToken,
}

impl Repeating<'_> {
    /// Every window that came to its end.
    fn all(&mut self, setting: &LoopSetting<'_>, rule: &LoopRule, by: Deadline) -> Vec<WindowRecord> {
        let mut windows = Vec::new();
        if self.group(setting, rule.settle, by, &mut BTreeMap::new()).is_none() {
            return windows;
        }
        for _ in 0..rule.windows {
            let Some(window) = self.window(setting, rule, by) else { break };
            windows.push(window);
        }
        windows
    }

    fn window(&mut self, setting: &LoopSetting<'_>, rule: &LoopRule, by: Deadline) -> Option<WindowRecord> {
        let groups = rule.groups.max(1);
        let begin = self.clock.now();
        let (mut repeats, mut pauses, mut phases) = (0, Nanos(0), BTreeMap::new());
        for group in 0..groups {
            let from = self.clock.now();
            repeats += self.group(setting, rule.window / groups, by, &mut phases)?;
            if group + 1 < groups {
                let done = self.clock.now();
                let pause = rule.sensor.sweep_pause(done.since(from), groups);
                self.cancel.wait(Deadline(pause.duration()), || false);
                pauses = pauses + self.clock.now().since(done);
            }
        }
        let end = self.clock.now();
        Some(WindowRecord { begin_ns: begin, end_ns: end, repeats, groups, pauses_ns: pauses, phases_ns: phases })
    }

    /// Repeats for so long and to the end of the repetition under way. How often; `None`: it broke.
    fn group(
        &mut self,
        setting: &LoopSetting<'_>,
        length: Duration,
        by: Deadline,
        phases: &mut BTreeMap<Phase, Nanos>,
    ) -> Option<u32> {
        let begin = self.clock.now();
        let mut repeats = 0;
        while repeats == 0 || self.clock.now().since(begin).duration() < length {
            self.once(setting, by, phases)?;
            repeats += 1;
        }
        Some(repeats)
    }

    fn once(&mut self, setting: &LoopSetting<'_>, by: Deadline, phases: &mut BTreeMap<Phase, Nanos>) -> Option<()> {
        self.call.index = self.made;
        self.call.seed = (setting.seed)(self.made);
        self.made += 1;
        let begin = self.clock.now();
        let outcome = self.session.call(&self.call, by, self.cancel);
        let end = self.clock.now();
        self.session_lost = !outcome.session_usable;
        let reply = outcome.reply.unwrap_or_default();
        self.broken = match outcome.failure {
            Some(failure) => Some((failure.kind, failure.message)),
            None => wrong(&self.call, &reply, begin, end, self.session.in_process()),
        };
        for span in &reply.spans {
            let sum = phases.entry(span.phase).or_default();
            *sum = *sum + span.end.since(span.begin);
        }
        self.last = Some(reply);
        if self.broken.is_some() || self.session_lost { None } else { Some(()) }
    }
}

/// How a reply is not what was asked for.
fn wrong(call: &Call, reply: &Reply, begin: Nanos, end: Nanos, in_process: bool) -> Option<(Degraded, String)> {
    if let Some(why) = super::contradiction(call, reply, begin, end, in_process) {
        return Some((Degraded::Invariant, why));
    }
    (reply.steps_timed < call.steps).then(|| {
        let kind = if reply.finish == Some(Finish::Stop) { Degraded::EarlyStop } else { Degraded::Incomplete };
        (kind, format!("{} of {} decode steps were made", reply.steps_timed, call.steps))
    })
}
