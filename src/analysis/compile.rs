//! What a compiler was asked for, what it did, and whether it paid.
//!
//! - `compile_steps.csv`: every shape compiled before the first call.
//! - `compile_audit.csv`: every cell and phase that asked for a compiler: proof, time, tails, break-even.
//! - `compile_graphs.csv`: shapes against graphs per session and phase.
//! - `compile_outcome.csv`: per backend and phase, whether to compile.
//!
//! A phase belongs here if a call's evidence says that a compiler was asked for, or the load of its session does: a cell
//! that never got so far is one that is not proven. The reference it is judged against is the same cell on a backend whose
//! evidence says `eager`. No engine is known by name.

mod audit;
mod audited;
mod graphs;
mod outcome;
mod steps;

use std::collections::BTreeMap;

use crate::record::CallRecord;
use crate::record::plan::{Plan, SessionKey};
use crate::store::Recording;
use crate::terms::{CompileEvidence, Phase};

use super::groups::{Group, groups};
use super::metrics::MetricRow;

pub use audit::{CacheState, CompileAuditRow, GraphUse};
pub use graphs::CompileGraphsRow;
pub use outcome::{CompileOutcomeRow, Verdict};
pub use steps::CompileStepRow;

use audited::Audited;
pub(super) use outcome::derive as outcome;
pub(super) use steps::derive as steps;

/// Every cell and mode whose calls carry evidence of a compiler, or of there being none, and every one that was to be
/// compiled; in the plan's order.
fn audited<'a>(recording: &'a Recording, plan: &'a Plan, metrics: &'a [MetricRow]) -> Vec<Audited<'a>> {
    let calls: BTreeMap<&str, &CallRecord> = recording.calls().map(|call| (call.call_id.as_str(), call)).collect();
    let asked = asked(recording);
    let asked = |session: &SessionKey, mode| {
        let found = asked.get(session)?.iter().find(|(phase, _)| phase.mode() == mode)?;
        Some(found.1.as_str())
    };
    let all = groups(plan, metrics).into_iter().map(|group| {
        let evident = group.rows.iter().filter_map(|&row| {
            let call = *calls.get(row.call_id.as_str())?;
            let evidence = call.compile.iter().find(|evidence| evidence.phase.mode() == row.mode)?;
            Some((row, call, evidence))
        });
        let calls = evident.collect();
        let asked = asked(&group.cell.session, group.mode);
        Audited { group, calls, asked }
    });
    let mut all: Vec<Audited<'_>> = all.filter(|cell| !cell.calls.is_empty() || cell.asked.is_some()).collect();
    for cell in &plan.cells {
        for &mode in cell.procedure.modes() {
            let Some(wanted) = asked(&cell.session, mode) else { continue };
            if all.iter().any(|known| known.group.cell.id == cell.id && known.group.mode == mode) {
                continue;
            }
            let group = Group { cell, weights_id: "", dtype: cell.dtype, mode, rows: Vec::new() };
            all.push(Audited { group, calls: Vec::new(), asked: Some(wanted) });
        }
    }
    let place: BTreeMap<&str, usize> = plan.cells.iter().enumerate().map(|(i, cell)| (cell.id.0.as_str(), i)).collect();
    all.sort_by_key(|audited| place.get(audited.group.cell.id.0.as_str()).copied());
    all
}

/// What a compiler was asked for per session, as its loads say.
fn asked(recording: &Recording) -> BTreeMap<&SessionKey, &BTreeMap<Phase, String>> {
    let told = recording.loads().filter(|load| !load.compilers.is_empty());
    told.map(|load| (&load.session, &load.compilers)).collect()
}

/// `compile_audit.csv` and `compile_graphs.csv`.
pub(super) fn derive(
    recording: &Recording,
    plan: &Plan,
    metrics: &[MetricRow],
) -> (Vec<CompileAuditRow>, Vec<CompileGraphsRow>) {
    let audited = audited(recording, plan, metrics);
    let compiled: Vec<&Audited<'_>> = audited.iter().filter(|cell| cell.compiles()).collect();
    let mut audit: Vec<CompileAuditRow> =
        compiled.iter().map(|cell| audit::row(cell, reference(cell, &audited), recording)).collect();
    audit::charge(&mut audit);
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
