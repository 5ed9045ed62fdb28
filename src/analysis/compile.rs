//! What a compiler was asked for, what it did, and whether it paid.
//!
//! - `compile_steps.csv`: every shape compiled before the first call.
//! - `compile_audit.csv`: every cell and phase that asked for a compiler: proof, time, tails, break-even.
//! - `compile_graphs.csv`: shapes against graphs per session and phase.
//! - `compile_outcome.csv`: per backend and phase, whether to compile.
//!
//! A phase belongs here if a call's evidence says that a compiler was asked for; the reference it is judged against is
//! the same cell on a backend whose evidence says `eager`. No engine is known by name.

mod audit;
mod graphs;
mod outcome;
mod steps;

use std::collections::BTreeMap;

use crate::plan::Plan;
use crate::record::CallRecord;
use crate::store::Recording;
use crate::terms::CompileEvidence;

use super::groups::{Group, groups};
use super::metrics::MetricRow;

pub use audit::{CacheState, CompileAuditRow};
pub use graphs::CompileGraphsRow;
pub use outcome::{CompileOutcomeRow, Verdict};
pub use steps::CompileStepRow;

pub(super) use outcome::derive as outcome;
pub(super) use steps::derive as steps;

/// A cell's rows in one mode with what the compiler did in each.
struct Audited<'a> {
    group: Group<'a>,
    calls: Vec<(&'a MetricRow, &'a CallRecord, &'a CompileEvidence)>,
}

impl Audited<'_> {
    /// What was asked for.
    fn requested(&self) -> &str {
        self.calls.first().map_or(CompileEvidence::EAGER, |(.., evidence)| &evidence.backend_requested)
    }

    /// Whether a compiler was asked for.
    fn compiles(&self) -> bool {
        self.calls.first().is_some_and(|(.., evidence)| evidence.compiles())
    }
}

/// Every cell and mode whose calls carry evidence of a compiler, or of there being none; in the plan's order.
fn audited<'a>(recording: &'a Recording, plan: &'a Plan, metrics: &'a [MetricRow]) -> Vec<Audited<'a>> {
    let calls: BTreeMap<&str, &CallRecord> = recording.calls().map(|call| (call.call_id.as_str(), call)).collect();
    let all = groups(plan, metrics).into_iter().map(|group| {
        let evident = group.rows.iter().filter_map(|&row| {
            let call = *calls.get(row.call_id.as_str())?;
            let evidence = call.compile.iter().find(|evidence| evidence.phase.mode() == row.mode)?;
            Some((row, call, evidence))
        });
        let calls = evident.collect();
        Audited { group, calls }
    });
    all.filter(|audited| !audited.calls.is_empty()).collect()
}

/// `compile_audit.csv` and `compile_graphs.csv`.
pub(super) fn derive(
    recording: &Recording,
    plan: &Plan,
    metrics: &[MetricRow],
) -> (Vec<CompileAuditRow>, Vec<CompileGraphsRow>) {
    let audited = audited(recording, plan, metrics);
    let compiled: Vec<&Audited<'_>> = audited.iter().filter(|cell| cell.compiles()).collect();
    let audit = compiled.iter().map(|cell| audit::row(cell, reference(cell, &audited), recording)).collect();
    (audit, graphs::derive(recording, &compiled))
}

/// The same cell where nothing was compiled; the first backend in the plan's order that has it.
fn reference<'a, 'b>(cell: &Audited<'_>, all: &'b [Audited<'a>]) -> Option<&'b Audited<'a>> {
    let (own, group) = (cell.group.cell, &cell.group);
    all.iter().find(|other| {
        let theirs = other.group.cell;
        !other.compiles()
            && other
                .calls
                .iter()
                .all(|(.., evidence)| evidence.backend_actual.as_deref() == Some(CompileEvidence::EAGER))
            && (theirs.session.model == own.session.model && theirs.scenario == own.scenario)
            && (theirs.batch, theirs.gen_tokens, theirs.procedure) == (own.batch, own.gen_tokens, own.procedure)
            && (other.group.mode, other.group.dtype) == (group.mode, group.dtype)
            && other.group.weights_id == group.weights_id
    })
}
