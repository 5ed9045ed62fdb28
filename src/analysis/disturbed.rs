//! `disturbed.csv`: what disturbed timed calls from outside, and what that cost.

use std::collections::BTreeSet;

use crate::record::CallRecord;
use crate::record::plan::Plan;
use crate::terms::{Disturbance, Role};

use super::columns::columns;
use super::table::{Sources, Table};

columns! {
    /// Timed calls of one backend, or of all, and what disturbed them.
    pub struct DisturbedRow {
        /// Backend. `None`: all together.
        backend: Option<String>,
        /// What disturbed. `None`: anything.
        disturbance: Option<Disturbance>,
        /// Timed calls made, every try of one by itself.
        calls: usize,
        /// Of these, disturbed (by this).
        disturbed: usize,
        /// Of these, made again.
        made_again: usize,
        /// Time that those took which were made again.
        made_again_ms: f64,
        /// Calls that count although every try was disturbed: `disturbed` less `made_again`.
        kept: usize,
        /// Of these, not made again although the plan has tries left: at least four timed calls in a row before them, of the
        /// cell or of all, were disturbed in every try.
        made_once: usize,
        /// Cells with a call that counts although it was disturbed.
        cells_kept: usize,
        /// How often a quiet machine was waited for, whatever would have disturbed. `None`: the row is of one disturbance.
        waits: Option<usize>,
        /// Of these, those after which it was not quiet. `None`: as above.
        waits_in_vain: Option<usize>,
        /// Time that all of them took. `None`: as above.
        waited_ms: Option<f64>,
    }
}

/// `analysis/disturbed.csv`.
pub struct DisturbedCalls;

impl Table for DisturbedCalls {
    type Row = DisturbedRow;
    const FILE: &'static str = "analysis/disturbed.csv";
    const ABOUT: &'static str = "All backends, then each that has calls; of each first all disturbances together, then every \
                                 one that occurred. No rows where the plan has no rule for them.";

    fn derive(from: &Sources<'_>) -> Vec<DisturbedRow> {
        if from.plan.disturbed.is_never() {
            return Vec::new();
        }
        let all: Vec<&CallRecord> = from.recording.calls().collect();
        let backends: BTreeSet<&str> = all.iter().map(|call| call.session.backend.as_str()).collect();
        let mut rows = of_backend(from.plan, None, &all);
        for backend in backends {
            let own: Vec<&CallRecord> = all.iter().copied().filter(|call| call.session.backend == backend).collect();
            rows.extend(of_backend(from.plan, Some(backend), &own));
        }
        rows
    }
}

fn of_backend(plan: &Plan, backend: Option<&str>, calls: &[&CallRecord]) -> Vec<DisturbedRow> {
    let occurred = |kind: &Disturbance| calls.iter().any(|call| is_disturbed(plan, call, Some(*kind)));
    let kinds = Disturbance::ALL.iter().copied().filter(occurred).map(Some);
    std::iter::once(None).chain(kinds).map(|kind| row(plan, backend, kind, calls)).collect()
}

/// Whether something disturbed a timed call; this, if it is named.
fn is_disturbed(plan: &Plan, call: &CallRecord, kind: Option<Disturbance>) -> bool {
    let found = || call.disturbances(plan.disturbed);
    call.role == Role::Timed && kind.map_or_else(|| !found().is_empty(), |kind| found().contains(&kind))
}

/// Whether a disturbed call was not made again since that had not helped before.
fn is_made_once(plan: &Plan, call: &CallRecord) -> bool {
    call.in_vain.is_some() && call.attempt < plan.disturbed.retry && call.was_disturbed(plan.disturbed) == Some(true)
}

fn row(plan: &Plan, backend: Option<&str>, kind: Option<Disturbance>, calls: &[&CallRecord]) -> DisturbedRow {
    let disturbed = calls.iter().filter(|call| is_disturbed(plan, call, kind));
    let (again, kept): (Vec<&CallRecord>, Vec<&CallRecord>) =
        disturbed.copied().partition(|call| call.is_made_again(plan.retries()));
    let waits = || calls.iter().filter_map(|call| call.waited).filter(|_| kind.is_none());
    DisturbedRow {
        backend: backend.map(str::to_owned),
        disturbance: kind,
        calls: calls.iter().filter(|call| call.role == Role::Timed).count(),
        disturbed: again.len() + kept.len(),
        made_again: again.len(),
        made_again_ms: again.iter().map(|call| call.total_wall_ns.as_ms()).sum(),
        kept: kept.len(),
        made_once: kept.iter().filter(|call| is_made_once(plan, call)).count(),
        cells_kept: kept.iter().map(|call| &call.cell_id).collect::<BTreeSet<_>>().len(),
        waits: kind.is_none().then(|| waits().count()),
        waits_in_vain: kind.is_none().then(|| waits().filter(|wait| !wait.quiet).count()),
        waited_ms: kind.is_none().then(|| waits().map(|wait| wait.duration_ns.as_ms()).sum()),
    }
}
