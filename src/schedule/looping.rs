//! Which cells are repeated for the power sensor, and when: after their calls, while their session is still loaded.
//!
//! Length is the criterion, not the grade of the calls' own figures: grades follow from the power trace, which is joined
//! with the calls later, while the schedule must give the same answer again from the recorded lines alone, also where a run
//! is resumed. A phase as long as [`Calibration::long_enough`] holds the updates that grade B asks for; one that is longer
//! and still graded worse (its power varies, readings are missing) would be no better in a loop of the same length.
//! Sensors without a counter are not looped for: a figure of a loop is a counter's slope.
//!
//! [`Calibration::long_enough`]: crate::record::calibration::Calibration::long_enough

use std::collections::BTreeSet;

use super::order::Ordering;
use super::recorded::Recorded;
use super::task::{LoadTask, LoopTask, MOST_LOAD_FAILURES, Task};
use crate::record::plan::Plan;
use crate::stats::summary::median;
use crate::terms::{Mode, Procedure};

/// The next loop on one of these sessions. `None`: none is owed there.
pub(super) fn on(
    plan: &Plan,
    ordering: &Ordering,
    recorded: &Recorded,
    sessions: impl IntoIterator<Item = usize>,
) -> Option<Task> {
    let sessions: BTreeSet<usize> = sessions.into_iter().collect();
    let (cell, procedure) = first(plan, ordering, recorded, |session| sessions.contains(&session))?;
    let session = ordering.session_of(cell);
    Some(Task::Loop(LoopTask {
        cell,
        procedure,
        residency_id: recorded.residency(),
        load_index: recorded.load_of(session),
        session_index: recorded.session_index_of(session),
    }))
}

/// The next loop or the load it needs, once every call is made.
pub(super) fn left(plan: &Plan, ordering: &Ordering, recorded: &Recorded) -> Option<Task> {
    if let Some(task) = on(plan, ordering, recorded, recorded.resident()) {
        return Some(task);
    }
    let (cell, _) = first(plan, ordering, recorded, |_| true)?;
    let wanted = ordering.resident_for(cell);
    let evict: Vec<usize> = recorded.resident().filter(|session| !wanted.contains(session)).collect();
    let changes = recorded.resident().next().is_none() || !evict.is_empty();
    Some(Task::Load(LoadTask {
        session: ordering.session_of(cell),
        session_index: ordering.session_index(recorded.cell(cell).timed),
        load_index: recorded.loads(),
        residency_id: recorded.next_residency(changes),
        evict,
        round: recorded.cell(cell).timed,
    }))
}

fn first(
    plan: &Plan,
    ordering: &Ordering,
    recorded: &Recorded,
    among: impl Fn(usize) -> bool,
) -> Option<(usize, Procedure)> {
    let rank = |cell: usize| (ordering.session_rank(ordering.session_of(cell), 0), ordering.warmup_rank(cell, 0));
    (0..plan.cells.len())
        .filter(|&cell| among(ordering.session_of(cell)) && !recorded.is_open(plan, cell))
        .filter(|&cell| recorded.load_failures(ordering.session_of(cell)) < MOST_LOAD_FAILURES)
        .filter_map(|cell| Some((cell, owed(plan, recorded, cell)?)))
        .min_by_key(|&(cell, _)| rank(cell))
}

/// What of a cell is still to be repeated: what has a phase that is too short for the sensors.
///
/// Decode cannot be repeated without its prefill, whose energy is therefore measured too, to be taken off.
fn owed(plan: &Plan, recorded: &Recorded, cell: usize) -> Option<Procedure> {
    let state = recorded.cell(cell);
    let below = recorded.loop_below().of(state.on_board)?;
    let short =
        |mode| state.series.get(&mode).and_then(|series| median(series)).is_some_and(|latency| latency < below.as_ms());
    let wanted: &[Procedure] = match plan.cells[cell].procedure {
        Procedure::Uncached if short(Mode::GenerateUncached) => &[Procedure::Uncached],
        _ if short(Mode::KvDecode) => &[Procedure::Prefill, Procedure::PrefillDecode],
        _ if short(Mode::Prefill) => &[Procedure::Prefill],
        _ => &[],
    };
    wanted.iter().copied().find(|procedure| !state.looped.contains(procedure))
}
