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
use crate::record::plan::Plan;
use crate::record::{Decision, LoopBelow, Rule};
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

use enough::Stop;
pub use event::Event;
pub use order::Ordering;
use recorded::CellState;
pub use recorded::Recorded;
use task::MOST_LOAD_FAILURES;
pub use task::{CallTask, LONGEST_GAP, LoadTask, LoopTask, ReferenceTask, Task};

/// So often a session that a cell's calls have ended is started again for it; after that the cell is given up.
const MOST_RESTARTS: u32 = 1;

/// The next task, or `None` when everything is measured or given up.
///
/// `idle` is the time since the previous call ended, which is the one thing a record cannot tell.
#[must_use]
pub fn next(plan: &Plan, ordering: &Ordering, recorded: &Recorded, idle: Nanos) -> Option<Task> {
    let task = of_engines(plan, ordering, recorded, idle);
    let reference = references::before(plan, recorded.references(), task.as_ref());
    reference.map(Task::Reference).or(task)
}

/// The next task of an engine.
fn of_engines(plan: &Plan, ordering: &Ordering, recorded: &Recorded, idle: Nanos) -> Option<Task> {
    let open: Vec<usize> = (0..plan.cells.len()).filter(|&c| recorded.is_open(plan, c)).collect();
    if let Some(decision) = open.iter().find_map(|&c| verdict(plan, ordering, recorded, c)) {
        return Some(Task::Stop(decision));
    }
    let Some(&target) = open.iter().min_by_key(|&&c| (ordering.key(c, recorded.cell(c).timed), c)) else {
        return looping::left(plan, ordering, recorded);
    };
    let wanted: BTreeSet<usize> = ordering.resident_for(target);
    let round = recorded.cell(target).timed;
    let session_index = ordering.session_index(round);
    // Cells with calls in the sessions that are now open, or come next.
    let due: Vec<usize> = open
        .iter()
        .copied()
        .filter(|&c| ordering.session_index(recorded.cell(c).timed) == session_index)
        .filter(|&c| wanted.contains(&ordering.session_of(c)))
        .collect();
    let unfinished = |session: &usize| due.iter().any(|&c| ordering.session_of(c) == *session);

    let missing = wanted.iter().copied().filter(|s| unfinished(s) && !recorded.is_session(*s, session_index));
    if let Some(session) = missing.min_by_key(|&s| ordering.session_rank(s)) {
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
    let call = next_call(plan, ordering, recorded, &due, target, idle);
    Some(Task::Call(call))
}

/// The warmup still owed, a rewarm, or the timed call itself.
fn next_call(
    plan: &Plan,
    ordering: &Ordering,
    recorded: &Recorded,
    due: &[usize],
    target: usize,
    idle: Nanos,
) -> CallTask {
    let owed = |c: &usize| {
        let session = ordering.session_of(*c);
        let planned = plan.sessions[session].warmups;
        let first = recorded.session_calls(session) == 0;
        recorded.warmups(*c) < planned.max(u32::from(first))
    };
    let warming = due
        .iter()
        .copied()
        .filter(|c| plan.order != Order::Shuffled || *c == target)
        .filter(owed)
        .min_by_key(|&c| (ordering.session_rank(ordering.session_of(c)), ordering.warmup_rank(c)));
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

/// Whether a cell is to take no further calls, and by which rule.
fn verdict(plan: &Plan, ordering: &Ordering, recorded: &Recorded, cell: usize) -> Option<Decision> {
    let state = recorded.cell(cell);
    let load_failures = recorded.load_failures(ordering.session_of(cell));
    let enough = || match plan.division() {
        division if division.sessions.is_several() => enough::by_sessions(division, state),
        _ => enough::by_calls(plan.repetitions, state),
    };
    let stop = broken(state, load_failures).or_else(enough)?;
    let cell_id = plan.cells[cell].id.clone();
    Some(Decision { cell_id, rule: stop.rule, calls_ok: state.good, relative_ci: stop.relative_ci, why: stop.why })
}

/// A cell whose session cannot be loaded, or does not survive its calls.
fn broken(state: &CellState, load_failures: u32) -> Option<Stop> {
    if load_failures >= MOST_LOAD_FAILURES {
        let why = format!("its session failed to load {load_failures} times in a row");
        return Some(Stop { rule: Rule::LoadFailed, relative_ci: None, why });
    }
    if state.losses > MOST_RESTARTS {
        let why = format!("its calls ended the session {} times", state.losses);
        return Some(Stop { rule: Rule::SessionLost, relative_ci: None, why });
    }
    None
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
    while let Some(task) = next(&plan, &ordering, &recorded, Duration::ZERO.into()) {
        recorded.push(&Event::expected(&task));
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
