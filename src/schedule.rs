//! What comes next: a pure function of the plan and of what is recorded, so that a resumed run, a replay and a
//! dry run are the same code.
//!
//! No random generator is carried along. Every choice is the smallest of seeded hashes of the things chosen
//! from, which gives a seeded random permutation that does not depend on how far the run has come.
//!
//! The three orders differ only in the *key* that ranks a cell's next timed call, and in which sessions are
//! *resident* for it; loads, warmups and rewarm calls follow from these two. Where cells are measured in several sessions,
//! what is loaded has the number of the session it serves: a call of the next one finds it of no use, and has it loaded afresh.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::plan::Work;
use crate::record::LoopBelow;
use crate::record::plan::Plan;
use crate::terms::{Order, Role};
use crate::units::Nanos;

mod enough;
mod event;
mod looping;
pub mod order;
mod passes;
pub mod recorded;
mod references;
mod task;
mod turns;
mod verdict;

pub use event::Event;
pub use order::Ordering;
pub use recorded::Recorded;
pub use task::{CallTask, LONGEST_GAP, LoadTask, LoopTask, ReferenceTask, Task};
pub use turns::Turns;

/// The next task, or `None` when everything is measured or given up.
///
/// `idle` is the time since the previous call ended, which is the one thing a record cannot tell.
#[must_use]
pub fn next(plan: &Plan, ordering: &Ordering, recorded: &Recorded, idle: Nanos) -> Option<Task> {
    next_in_turn(plan, ordering, recorded, &mut Turns::new(plan, ordering, recorded), idle)
}

/// As [`next()`], for whoever asks again and again: `turns` is told of every event.
#[must_use]
pub fn next_in_turn(
    plan: &Plan,
    ordering: &Ordering,
    recorded: &Recorded,
    turns: &mut Turns,
    idle: Nanos,
) -> Option<Task> {
    let task = of_engines(plan, ordering, recorded, turns, idle);
    let reference = references::before(plan, recorded.references(), task.as_ref());
    reference.map(Task::Reference).or(task)
}

/// The next task of an engine.
fn of_engines(plan: &Plan, ordering: &Ordering, recorded: &Recorded, turns: &mut Turns, idle: Nanos) -> Option<Task> {
    turns.look_again(plan, ordering, recorded);
    if let Some(decision) = turns.stopped(plan, ordering, recorded) {
        return Some(Task::Stop(decision));
    }
    let Some(target) = turns.target(plan, ordering, recorded) else {
        return looping::left(plan, ordering, recorded);
    };
    let wanted: BTreeSet<usize> = ordering.resident_for(target);
    let round = recorded.cell(target).timed;
    let session_index = ordering.session_index(round);
    let due = Due { plan, ordering, recorded, session_index };
    let unfinished = |session: &usize| turns.of_session(*session).iter().any(|&cell| due.holds(cell));

    let missing = wanted.iter().copied().filter(|s| !recorded.is_session(*s, session_index) && unfinished(s));
    if let Some(session) = missing.min_by_key(|&s| ordering.session_rank(s, session_index as usize)) {
        let stays = |s: &usize| wanted.contains(s) && recorded.is_session(*s, session_index);
        let evict: Vec<usize> = recorded.resident().filter(|s| !stays(s)).collect();
        if let Some(task) = looping::on(plan, ordering, recorded, evict.iter().copied()) {
            return Some(task);
        }
        let changes = recorded.resident().next().is_none() || !evict.is_empty();
        return Some(Task::Load(LoadTask {
            session,
            session_index,
            load_index: recorded.loads(),
            residency_id: recorded.next_residency(changes),
            evict,
            round,
        }));
    }
    let warming = match plan.order {
        Order::Shuffled => Some(target).filter(|&cell| due.is_owed_warmup(cell)),
        Order::Blocked | Order::Interleaved => warming(&due, turns, &wanted),
    };
    Some(Task::Call(next_call(plan, ordering, recorded, warming, target, idle)))
}

/// What is due in the sessions that are now open, or come next.
struct Due<'a> {
    plan: &'a Plan,
    ordering: &'a Ordering,
    recorded: &'a Recorded,
    /// Number of these sessions.
    session_index: u32,
}

impl Due<'_> {
    /// Whether a cell has calls in them.
    fn holds(&self, cell: usize) -> bool {
        self.recorded.is_open(self.plan, cell)
            && self.ordering.session_index(self.recorded.cell(cell).timed) == self.session_index
    }

    /// Whether it has, and is to be warmed up before.
    fn is_owed_warmup(&self, cell: usize) -> bool {
        let session = self.ordering.session_of(cell);
        let planned = self.plan.sessions[session].warmups;
        let first = self.recorded.session_calls(session) == 0;
        self.holds(cell) && self.recorded.warmups(cell) < planned.max(u32::from(first))
    }
}

/// The cell that is warmed up next, session by session. `None`: all are warm.
fn warming(due: &Due<'_>, turns: &mut Turns, wanted: &BTreeSet<usize>) -> Option<usize> {
    let mut sessions: Vec<usize> = wanted.iter().copied().collect();
    let pass = due.session_index as usize;
    sessions.sort_by_key(|&session| due.ordering.session_rank(session, pass));
    sessions.into_iter().find_map(|session| {
        let load = due.recorded.load_of(session);
        turns.warming(session, pass, load, |cell| due.is_owed_warmup(cell))
    })
}

/// The warmup still owed, a rewarm, or the timed call itself.
fn next_call(
    plan: &Plan,
    ordering: &Ordering,
    recorded: &Recorded,
    warming: Option<usize>,
    target: usize,
    idle: Nanos,
) -> CallTask {
    let (cell, role) = match warming {
        Some(cell) if recorded.session_calls(ordering.session_of(cell)) == 0 => (cell, Role::Cold),
        Some(cell) => (cell, Role::Warmup),
        None => (target, if recorded.needs_rewarm(target, ordering, idle) { Role::Rewarm } else { Role::Timed }),
    };
    let session = ordering.session_of(cell);
    CallTask {
        cell,
        role,
        index: match role {
            Role::Timed => recorded.cell(cell).timed,
            Role::Cold | Role::Warmup => recorded.warmups(cell),
            Role::Rewarm => 0,
        },
        attempt: if role == Role::Timed { recorded.cell(cell).tries } else { 0 },
        in_vain: recorded.in_vain(cell).filter(|_| role == Role::Timed),
        regime: recorded.regime(cell, &plan.sessions[session].key.backend, session),
        task_idx: recorded.task_idx(cell),
        call_idx: recorded.calls(),
        round: recorded.cell(cell).timed,
        residency_id: recorded.residency(),
        load_index: recorded.load_of(session),
        session_index: recorded.session_index_of(session),
    }
}

/// A dry run: the tasks a plan leads to if every call succeeds, in order. An adaptive cell is shown with its fewest calls.
#[must_use]
pub fn preview(plan: &Plan) -> Vec<Task> {
    dry_run(plan, plan.division().fewest_calls())
}

/// The tasks that so many timed calls of every cell lead to.
fn dry_run(plan: &Plan, repetitions: u32) -> Vec<Task> {
    let mut plan = plan.clone();
    let fixed = plan.division().fixed(repetitions);
    (plan.repetitions, plan.session_count) = (fixed.repetitions, fixed.sessions);
    let ordering = Ordering::new(&plan);
    let mut recorded = Recorded::new(&plan);
    recorded.push(&Event::Opened { loop_below: LoopBelow::default() });
    let mut tasks = Vec::new();
    let mut turns = Turns::new(&plan, &ordering, &recorded);
    while let Some(task) = next_in_turn(&plan, &ordering, &recorded, &mut turns, Duration::ZERO.into()) {
        let event = Event::expected(&task);
        turns.note(&event, &recorded);
        recorded.push(&event);
        tasks.push(task);
    }
    tasks
}

/// Timed calls of a dry run that only counts; the rest of a longer one is drawn from it.
const COUNTED_CALLS: u32 = 20_000;

/// What a plan leads to if every call succeeds, with the fewest and with the most timed calls: counted from the same dry
/// run as [`preview`], so that models loaded again in every round, their warmups and rewarms are in it.
#[must_use]
pub fn work(plan: &Plan) -> (Work, Work) {
    let (fewest, most) = (plan.division().fewest_calls(), plan.division().most_calls());
    let least = counted(plan, &dry_run(plan, fewest));
    if most == fewest {
        return (least.clone(), least);
    }
    // Further rounds repeat what the ones before did.
    let cells = u32::try_from(plan.cells.len()).unwrap_or(u32::MAX).max(1);
    let upto = most.min((COUNTED_CALLS / cells).max(fewest + 2));
    let longer = counted(plan, &dry_run(plan, upto));
    let greatest = longer.extended(&least, u64::from(upto - fewest), u64::from(most - upto));
    (least, greatest)
}

fn counted(plan: &Plan, tasks: &[Task]) -> Work {
    let mut work = Work::new(plan);
    for task in tasks {
        match task {
            Task::Load(load) => work.loads[load.session] += 1,
            Task::Call(call) => match call.role {
                Role::Cold | Role::Warmup => work.warmups[call.cell] += 1,
                Role::Rewarm => work.rewarms[call.cell] += 1,
                Role::Timed => work.timed[call.cell] += 1,
            },
            Task::Loop(_) | Task::Reference(_) | Task::Stop(_) => {}
        }
    }
    work
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
