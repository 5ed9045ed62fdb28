//! `degraded.csv`, `skipped.csv`, `decisions.csv`: what did not count, was not measured, or was stopped, and why.

use serde::{Deserialize, Serialize};

use crate::record::given_up;
use crate::record::plan::{Cell, Plan};
use crate::record::{CallRecord, Decision, Rule};
use crate::store::Recording;
use crate::terms::{Degraded, Dtype, Procedure, Status};

/// How many calls of the run, or of one cell, are degraded. Calls of every role count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DegradedRow {
    /// The plan's cell. `None`, here and in the seven below: the whole run.
    pub cell_id: Option<String>,
    /// Backend name.
    pub backend: Option<String>,
    /// Model name.
    pub model: Option<String>,
    /// Element type asked for.
    pub dtype: Option<Dtype>,
    /// Scenario name.
    pub scenario: Option<String>,
    /// Rows decoded together.
    pub batch: Option<u32>,
    /// Timed decode steps.
    pub gen_tokens: Option<u32>,
    /// What a call makes the engine do.
    pub procedure: Option<Procedure>,
    /// The kind counted. `None`: all kinds together.
    pub kind: Option<Degraded>,
    /// Calls made.
    pub calls: usize,
    /// Of these, degraded (of this kind).
    pub degraded: usize,
    /// `degraded` ÷ `calls`. `None`: no calls.
    pub rate: Option<f64>,
    /// What the first of them says of itself. `None`: nothing, or there is none.
    pub first_detail: Option<String>,
}

/// A cell that is not measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SkippedRow {
    /// What would have been the plan's cell.
    pub cell_id: String,
    /// Backend name.
    pub backend: String,
    /// Model name.
    pub model: String,
    /// Element type asked for.
    pub dtype: Dtype,
    /// Scenario name.
    pub scenario: String,
    /// Rows decoded together.
    pub batch: u32,
    /// Timed decode steps.
    pub gen_tokens: u32,
    /// What a call would have made the engine do.
    pub procedure: Procedure,
    /// The rule by name.
    pub rule: String,
    /// Its reason.
    pub reason: String,
}

/// Why a cell took no further calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionRow {
    /// The plan's cell.
    pub cell_id: String,
    /// Backend name.
    pub backend: String,
    /// Model name.
    pub model: String,
    /// Scenario name.
    pub scenario: String,
    /// Rows decoded together.
    pub batch: u32,
    /// Timed decode steps.
    pub gen_tokens: u32,
    /// What a call makes the engine do.
    pub procedure: Procedure,
    /// The rule that stopped it.
    pub rule: Rule,
    /// Timed calls that counted by then.
    pub calls_ok: u32,
    /// Widest relative half-width of a timed mode's interval by then. `None`: too few calls.
    pub relative_ci: Option<f64>,
    /// In words.
    pub why: String,
}

/// The run, then each cell in the plan's order; of each first all kinds together, then every kind that occurred.
pub(super) fn derive(recording: &Recording, plan: &Plan) -> Vec<DegradedRow> {
    let all: Vec<&CallRecord> = recording.calls().collect();
    let mut rows = kinds(None, &all);
    for cell in &plan.cells {
        let own: Vec<&CallRecord> = all.iter().copied().filter(|call| call.cell_id == cell.id).collect();
        rows.extend(kinds(Some(cell), &own));
    }
    rows
}

fn kinds(cell: Option<&Cell>, calls: &[&CallRecord]) -> Vec<DegradedRow> {
    let occurred = |kind: &Degraded| calls.iter().any(|call| call.status == Status::Degraded(*kind));
    let kinds = Degraded::ALL.iter().copied().filter(occurred).map(Some);
    std::iter::once(None).chain(kinds).map(|kind| count(cell, kind, calls)).collect()
}

fn count(cell: Option<&Cell>, kind: Option<Degraded>, calls: &[&CallRecord]) -> DegradedRow {
    let counts = |call: &&&CallRecord| match call.status {
        Status::Ok => false,
        Status::Degraded(found) => kind.is_none_or(|kind| kind == found),
    };
    let degraded = calls.iter().filter(counts).count();
    DegradedRow {
        cell_id: cell.map(|cell| cell.id.0.clone()),
        backend: cell.map(|cell| cell.session.backend.clone()),
        model: cell.map(|cell| cell.session.model.clone()),
        dtype: cell.map(|cell| cell.dtype),
        scenario: cell.map(|cell| cell.scenario.clone()),
        batch: cell.map(|cell| cell.batch),
        gen_tokens: cell.map(|cell| cell.gen_tokens),
        procedure: cell.map(|cell| cell.procedure),
        kind,
        calls: calls.len(),
        degraded,
        rate: (!calls.is_empty()).then(|| degraded as f64 / calls.len() as f64),
        first_detail: calls.iter().find(counts).and_then(|call| call.detail.clone()),
    }
}

/// The plan's skipped cells.
pub(super) fn skipped(plan: &Plan) -> Vec<SkippedRow> {
    let rows = plan.skipped.iter().map(|skipped| SkippedRow {
        cell_id: skipped.cell.id.0.clone(),
        backend: skipped.cell.session.backend.clone(),
        model: skipped.cell.session.model.clone(),
        dtype: skipped.cell.dtype,
        scenario: skipped.cell.scenario.clone(),
        batch: skipped.cell.batch,
        gen_tokens: skipped.cell.gen_tokens,
        procedure: skipped.cell.procedure,
        rule: skipped.rule.clone(),
        reason: skipped.reason.clone(),
    });
    rows.collect()
}

/// Every decision about a cell of the plan that stands, in the plan's order.
pub(super) fn decisions(recording: &Recording, plan: &Plan) -> Vec<DecisionRow> {
    let of_cell = |cell: &Cell| {
        let own = given_up::standing(&recording.lines, plan).filter(|decision| decision.cell_id == cell.id);
        own.map(|decision| decision_row(cell, decision)).collect::<Vec<_>>()
    };
    plan.cells.iter().flat_map(of_cell).collect()
}

fn decision_row(cell: &Cell, decision: &Decision) -> DecisionRow {
    DecisionRow {
        cell_id: cell.id.0.clone(),
        backend: cell.session.backend.clone(),
        model: cell.session.model.clone(),
        scenario: cell.scenario.clone(),
        batch: cell.batch,
        gen_tokens: cell.gen_tokens,
        procedure: cell.procedure,
        rule: decision.rule,
        calls_ok: decision.calls_ok,
        relative_ci: decision.relative_ci,
        why: decision.why.clone(),
    }
}
