//! The loop: asks the schedule what comes next, does it, records it, until nothing is left.
//!
//! It knows engines by their contract, the order by [`crate::schedule`], and nothing of reports.

use std::collections::{BTreeMap, BTreeSet};

use crate::backend::{Backend, BackendError, CancelToken, Deadline, Prepared};
use crate::clock::SharedClock;
use crate::hash::seeded;
use crate::measure::{Setting, measure};
use crate::record::plan::{Plan, SessionKey};
use crate::record::{Finished, IdleRecord, IdleWhen, Line, LoadRecord, Opened, WaitRecord};
use crate::schedule::{self, CallTask, LoadTask, Ordering, Recorded, ReferenceTask, Task, Turns};
use crate::store::{StoreError, Writer};
use crate::telemetry::Watcher;
use crate::terms::{Regime, Role, Status};
use crate::units::Nanos;

mod beside;
pub mod compile;
pub mod power;
pub mod prompts;
mod quiet;
mod reference;
mod repeat;
mod sessions;

pub use beside::{PowerBeside, Rested};
pub use power::{Power, PowerError};
pub use prompts::Prompts;

use quiet::{Machine, Quiet};
use sessions::OpenSessions;

/// A rewarm call makes at most so many decode steps: enough to wake threads and caches, too few to cost much.
const REWARM_STEPS: u32 = 4;

/// So often everything is left alone at most, where a try is not usable.
pub const IDLE_TRIES: u32 = 2;

/// Engines with what they load made ready.
pub struct Engines {
    /// Backends by name.
    pub backends: BTreeMap<String, Box<dyn Backend>>,
    /// What each session loads.
    pub prepared: BTreeMap<SessionKey, Prepared>,
}

/// Everything that a run needs, begun or resumed; nothing more is looked up once it goes on.
pub struct Job {
    /// What to do.
    pub plan: Plan,
    /// What is recorded of it already.
    pub recorded: Recorded,
    /// What does it.
    pub engines: Engines,
    /// What is asked.
    pub prompts: Prompts,
    /// Where it is recorded.
    pub writer: Writer,
    /// The clock that every time of the record is on.
    pub clock: SharedClock,
    /// Ends it early; it can be resumed.
    pub cancel: CancelToken,
    /// SHA-256 of the stack that it runs on.
    pub stack_sha256: String,
}

/// Why a run ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The record could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An engine could not free a session.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// Plan and engines do not belong together.
    #[error("session {backend} × {model} was never prepared")]
    Unprepared {
        /// Backend name.
        backend: String,
        /// Model name.
        model: String,
    },
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// Every cell is measured or given up.
    Complete(Finished),
    /// Someone cancelled; the call in flight is not recorded and will be made again.
    Interrupted,
}

/// Watches a run go by.
pub trait Observer {
    /// A task is about to be done.
    fn begins(&mut self, plan: &Plan, recorded: &Recorded, task: &Task);
    /// A line was recorded.
    fn recorded(&mut self, plan: &Plan, recorded: &Recorded, line: &Line);
}

/// A run under way.
pub struct Run<'a> {
    plan: &'a Plan,
    engines: &'a mut Engines,
    prompts: &'a Prompts,
    writer: &'a mut Writer,
    clock: &'a SharedClock,
    cancel: &'a CancelToken,
    stack_sha256: &'a str,
    power: &'a mut PowerBeside,
    ordering: Ordering,
    recorded: &'a mut Recorded,
    turns: Turns,
    /// `None` on a virtual clock, beside which nothing happens.
    watcher: Option<Watcher>,
    open: OpenSessions,
    started_backends: BTreeSet<String>,
    last_end: Option<Nanos>,
    quiet: Quiet,
    /// A wait before the call that comes next.
    waited: Option<WaitRecord>,
    /// Whether something disturbed the last call.
    disturbed: bool,
    epoch: u32,
}

impl<'a> Run<'a> {
    /// Takes up a job where its record ends.
    #[must_use]
    pub fn new(job: &'a mut Job, power: &'a mut PowerBeside) -> Self {
        let Job { plan, recorded, engines, prompts, writer, clock, cancel, stack_sha256 } = job;
        let prolonging = cancel.clone();
        let watch = || Watcher::new(move |unusable| prolonging.prolong(unusable.duration()));
        let watcher = (!clock.is_virtual()).then(watch);
        let ordering = Ordering::new(plan);
        Self {
            turns: Turns::new(plan, &ordering, recorded),
            ordering,
            epoch: recorded.epochs(),
            plan,
            engines,
            prompts,
            writer,
            clock,
            cancel,
            stack_sha256,
            power,
            recorded,
            watcher,
            open: OpenSessions::default(),
            started_backends: BTreeSet::new(),
            last_end: None,
            quiet: Quiet::new(plan.disturbed),
            waited: None,
            disturbed: false,
        }
    }

    /// Does everything that is left to do. `unix_ns` is the calendar time at which the run's clock stood at 0.
    ///
    /// # Errors
    /// Only what makes going on pointless: a record that cannot be written. Failed calls and loads are recorded.
    pub fn execute(mut self, unix_ns: u64, observer: &mut dyn Observer) -> Result<RunEnd, RunError> {
        if self.recorded.finished() {
            return Ok(RunEnd::Complete(self.tally()));
        }
        let (epoch, stack_sha256) = (self.epoch, self.stack_sha256.to_owned());
        let opened = Opened { epoch, unix_ns, stack_sha256, loop_below: self.power.loop_below() };
        self.append(Line::Opened(opened.into()), observer)?;
        self.leave_alone(IdleWhen::Before, None, observer)?;
        let ended = self.work(observer);
        self.open.close()?;
        if ended? {
            self.leave_alone(IdleWhen::After, None, observer)?;
            let finished = self.tally();
            self.append(Line::Finished(finished), observer)?;
            return Ok(RunEnd::Complete(finished));
        }
        Ok(RunEnd::Interrupted)
    }

    /// Leaves everything alone, where power is recorded and the scenario asks for it; once more where this program was
    /// held meanwhile.
    fn leave_alone(
        &mut self,
        when: IdleWhen,
        load_index: Option<u32>,
        observer: &mut dyn Observer,
    ) -> Result<(), RunError> {
        for _ in 0..IDLE_TRIES {
            let begun = self.watcher.as_ref().map(Watcher::begin_idle);
            let Some(stretch) = self.power.leave_alone(when, self.clock, self.cancel)? else { return Ok(()) };
            let held = self.watcher.as_ref().zip(begun).map(|(watcher, begun)| watcher.held_since(begun));
            let frozen_ns = stretch.frozen_ns.or(held.filter(|&held| held > Nanos(0)));
            let own_boards = self.watcher.as_ref().and_then(Watcher::own_boards);
            let contexts = if stretch.untouched { own_boards.map(|_| Vec::new()) } else { own_boards };
            let (begin_ns, end_ns) = (stretch.begin, stretch.end);
            let idle = IdleRecord { when, epoch: self.epoch, load_index, begin_ns, end_ns, contexts, frozen_ns };
            self.append(Line::Idle(idle.into()), observer)?;
            if frozen_ns.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Works until nothing is left to do. False: someone cancelled.
    fn work(&mut self, observer: &mut dyn Observer) -> Result<bool, RunError> {
        loop {
            if self.cancel.is_cancelled() {
                return Ok(false);
            }
            let Some(mut task) = self.next() else { return Ok(true) };
            if self.has_waited_for(&task) {
                // After a wait the engine may have rested for too long, so that another call comes first.
                let Some(after) = self.next() else { return Ok(true) };
                task = after;
            }
            observer.begins(self.plan, self.recorded, &task);
            let line = match &task {
                Task::Load(load) => self.load(load)?,
                Task::Call(call) => self.call(call)?,
                Task::Loop(task) => self.repeat(task)?,
                Task::Reference(task) => self.reference(*task),
                Task::Stop(decision) => Some(Line::Decision(decision.clone().into())),
            };
            let Some(line) = line else { return Ok(false) };
            let loaded = matches!(&line, Line::Load(load) if load.status.is_ok());
            self.append(line, observer)?;
            if let Task::Load(load) = &task
                && loaded
            {
                self.leave_alone(IdleWhen::Loaded, Some(load.load_index), observer)?;
            }
        }
    }

    fn next(&mut self) -> Option<Task> {
        let idle = self.last_end.map_or(Nanos(0), |end| self.clock.now().since(end));
        schedule::next_in_turn(self.plan, &self.ordering, self.recorded, &mut self.turns, idle)
    }

    /// Waits for a quiet machine where a timed call comes next, or the one that prepares it. False: there was no need.
    fn has_waited_for(&mut self, task: &Task) -> bool {
        let Task::Call(call) = task else { return false };
        let Some(watcher) = self.watcher.as_mut() else { return false };
        if !matches!(call.role, Role::Timed | Role::Rewarm) {
            return false;
        }
        let state = self.recorded.cell(call.cell);
        let timed = (call.cell, state.timed, state.tries);
        let limit = self.plan.disturbed.foreign_cpu;
        let mut machine = Machine { watcher, clock: self.clock, cancel: self.cancel, limit };
        let waited = self.quiet.wait(timed, self.disturbed, &mut machine);
        self.waited = waited.or(self.waited);
        waited.is_some()
    }

    fn tally(&self) -> Finished {
        let recorded = &self.recorded;
        Finished { calls: recorded.calls(), degraded: recorded.degraded(), made_again: recorded.made_again() }
    }

    /// Writes a line down, and takes it into account.
    fn append(&mut self, line: Line, observer: &mut dyn Observer) -> Result<(), RunError> {
        self.writer.append(&line)?;
        if let Some(event) = self.recorded.event(&line) {
            self.turns.note(&event, self.recorded);
        }
        self.recorded.take(&line);
        observer.recorded(self.plan, self.recorded, &line);
        Ok(())
    }

    /// Measures the machine itself. `None`: the plan does not ask for it.
    fn reference(&self, task: ReferenceTask) -> Option<Line> {
        let rule = self.plan.reference.as_ref()?;
        let record = reference::measure(self.plan, rule, task, self.epoch, &**self.clock);
        Some(Line::Reference(Box::new(record)))
    }

    /// Loads a session. `None`: cancelled.
    fn load(&mut self, task: &LoadTask) -> Result<Option<Line>, RunError> {
        self.open.evict(&task.evict)?;
        let key = &self.plan.sessions[task.session].key;
        let backend = self.engines.backends.get_mut(&key.backend).ok_or_else(|| unprepared(key))?;
        let prepared = self.engines.prepared.get(key).ok_or_else(|| unprepared(key))?;
        let by = Deadline(self.plan.timeout_ns.duration());
        let shapes = compile::shapes(self.plan, self.prompts, key);
        let begin = self.clock.now();
        let mut loaded = backend.load(prepared, &shapes, by, self.cancel);
        let end = self.clock.now();
        let compilers = loaded.as_ref().map(|session| session.compilers()).unwrap_or_default();
        let compiled = loaded
            .as_mut()
            .map(|session| compile::compile(session.as_mut(), &shapes, by, &**self.clock, self.cancel))
            .unwrap_or_default();
        if self.cancel.is_cancelled() {
            if let Ok(session) = loaded {
                session.close()?;
            }
            return Ok(None);
        }
        if let Some(failure) = compiled.lost {
            // What cannot be compiled for cannot be called: to the schedule it is a load that failed.
            if let Ok(session) = std::mem::replace(&mut loaded, Err(failure)) {
                drop(session.close());
            }
        }
        let (status, detail, report) = match &loaded {
            Ok(session) => (Status::Ok, None, session.loaded().clone()),
            Err(failure) => (Status::Degraded(failure.kind), Some(failure.message.clone()), Default::default()),
        };
        let is_first = self.started_backends.insert(key.backend.clone());
        let regime = if is_first || backend.starts_a_process() { Regime::ColdProcess } else { Regime::ColdModel };
        if let Ok(session) = loaded {
            self.open.insert(task.session, session, self.clock.now());
        }
        Ok(Some(Line::Load(Box::new(LoadRecord {
            load_index: task.load_index,
            session_index: task.session_index,
            session: key.clone(),
            evicted: task.evict.iter().map(|&s| self.plan.sessions[s].key.clone()).collect(),
            residency_id: task.residency_id,
            round: task.round,
            status,
            detail,
            begin_ns: begin,
            duration_ns: end.since(begin + report.apart()),
            parts_ns: report.parts,
            regime,
            attribution: report.attribution,
            weights_id: Some(prepared.weights_id.clone()),
            host_rss_before_bytes: report.host_rss_before,
            host_rss_after_bytes: report.host_rss_after,
            device_bytes: report.device_bytes,
            planned_resident_bytes: self.open.planned_memory(self.plan),
            compilers,
            compiled: compiled.records,
        }))))
    }

    /// Makes a call. `None`: cancelled.
    fn call(&mut self, task: &CallTask) -> Result<Option<Line>, RunError> {
        let cell = &self.plan.cells[task.cell];
        let session = self.ordering.session_of(task.cell);
        let key = &self.plan.sessions[session].key;
        let prepared = self.engines.prepared.get(key).ok_or_else(|| unprepared(key))?;
        let co_resident = self.open.others();
        let slowdown = self.slowdown(task);
        let open = self.open.get_mut(session).ok_or_else(|| unprepared(key))?;
        let mut call = self.prompts.call(cell);
        call.index = task.index;
        call.attempt = task.attempt;
        call.seed = seeded(self.plan.seed, &["call", &task.call_id(self.plan)]);
        if task.role == Role::Rewarm {
            call.steps = call.steps.min(REWARM_STEPS);
        }
        let setting = Setting {
            plan: self.plan,
            task,
            call: &call,
            weights_id: &prepared.weights_id,
            dtype: prepared.dtype,
            epoch: self.epoch,
            loaded_at: open.loaded_at,
            last_end: self.last_end,
            co_resident,
            waited: self.waited,
            slowdown,
        };
        let mut record = measure(open.session.as_mut(), &setting, &**self.clock, self.watcher.as_mut(), self.cancel);
        self.power.write_and_flag(&mut record.flags, record.begin_ns, &record.attribution, &record.beside.boards)?;
        self.last_end = Some(record.begin_ns + record.total_wall_ns);
        if self.cancel.is_cancelled() && !record.status.is_ok() {
            return Ok(None);
        }
        self.waited = None;
        self.disturbed = !record.disturbances(self.plan.disturbed).is_empty();
        if record.session_lost {
            self.open.lose(session);
        }
        Ok(Some(Line::Call(record.into())))
    }

    /// How many times longer a call is made to take on purpose. `None`: it is left alone.
    fn slowdown(&self, task: &CallTask) -> Option<f64> {
        let cell = &self.plan.cells[task.cell].id;
        self.plan.slowdown_of(cell, task.session_index).filter(|_| task.role == Role::Timed)
    }
}

fn unprepared(key: &SessionKey) -> RunError {
    RunError::Unprepared { backend: key.backend.clone(), model: key.model.clone() }
}
