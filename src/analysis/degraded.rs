//! `degraded.csv`, `skipped.csv`, `decisions.csv`: what did not count, was not measured, or was stopped, and why.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::record::given_up;
use crate::record::plan::{Cell, CellId};
use crate::record::{CallRecord, Decision, ImportedCall, Rule};
use crate::terms::{Degraded, Status};

use super::columns::columns;
use super::key::PlannedKey;
use super::table::{Sources, Table};

columns! {
    /// How many calls of the run, or of one cell, are degraded. Calls of every role count.
    pub struct DegradedRow {
        ..key: Option<Arc<PlannedKey>>,
        /// The kind counted. `None`: all kinds together.
        kind: Option<Degraded>,
        /// Calls made.
        calls: usize,
        /// Of these, degraded (of this kind).
        degraded: usize,
        /// `degraded` ÷ `calls`. `None`: no calls.
        /// Unit: fraction.
        rate: Option<f64>,
        /// What the first of them says of itself. `None`: nothing, or there is none.
        first_detail: Option<String>,
    }
}

columns! {
    /// A cell that is not measured.
    pub struct SkippedRow {
        ..key: Arc<PlannedKey>,
        /// The rule by name.
        rule: String,
        /// Its reason.
        reason: String,
    }
}

columns! {
    /// Why a cell took no further calls.
    pub struct DecisionRow {
        ..key: Arc<PlannedKey> { cell_id, backend, model, scenario, batch, gen_tokens, procedure },
        /// The rule that stopped it.
        rule: Rule,
        /// Timed calls that counted by then.
        calls_ok: u32,
        /// Widest relative half-width of a timed mode's interval by then. `None`: too few calls.
        /// Unit: fraction.
        relative_ci: Option<f64>,
        /// In words.
        why: String,
    }
}

/// `analysis/degraded.csv`.
pub struct DegradedCalls;

impl Table for DegradedCalls {
    type Row = DegradedRow;
    const FILE: &'static str = "analysis/degraded.csv";
    const ABOUT: &'static str =
        "The run, then each cell in the plan's order; of each first all kinds together, then every kind that occurred.";

    fn derive(from: &Sources<'_>) -> Vec<DegradedRow> {
        let imported = from.recording.imported().map(Outcome::from);
        let all: Vec<Outcome<'_>> = from.recording.calls().map(Outcome::from).chain(imported).collect();
        let mut of_cells: HashMap<&CellId, Vec<Outcome<'_>>> = HashMap::new();
        for call in &all {
            of_cells.entry(call.cell_id).or_default().push(*call);
        }
        let mut rows = kinds(None, &all);
        for cell in &from.plan.cells {
            rows.extend(kinds(Some(cell), of_cells.get(&cell.id).map_or(&[], Vec::as_slice)));
        }
        rows
    }
}

/// What came of a call, ours or another tool's.
#[derive(Clone, Copy)]
struct Outcome<'a> {
    cell_id: &'a CellId,
    status: Status,
    detail: Option<&'a String>,
}

impl<'a> From<&'a CallRecord> for Outcome<'a> {
    fn from(call: &'a CallRecord) -> Self {
        Self { cell_id: &call.cell_id, status: call.status, detail: call.detail.as_ref() }
    }
}

impl<'a> From<&'a ImportedCall> for Outcome<'a> {
    fn from(call: &'a ImportedCall) -> Self {
        Self { cell_id: &call.cell_id, status: call.status, detail: call.detail.as_ref() }
    }
}

fn kinds(cell: Option<&Cell>, calls: &[Outcome<'_>]) -> Vec<DegradedRow> {
    let occurred: BTreeSet<Degraded> = calls.iter().filter_map(|call| call.status.degraded()).collect();
    let kinds = Degraded::ALL.iter().copied().filter(|kind| occurred.contains(kind)).map(Some);
    std::iter::once(None).chain(kinds).map(|kind| count(cell, kind, calls)).collect()
}

fn count(cell: Option<&Cell>, kind: Option<Degraded>, calls: &[Outcome<'_>]) -> DegradedRow {
    let counts = |call: &&Outcome<'_>| match call.status {
        Status::Ok => false,
        Status::Degraded(found) => kind.is_none_or(|kind| kind == found),
    };
    let degraded = calls.iter().filter(counts).count();
    DegradedRow {
        key: cell.map(PlannedKey::of),
        kind,
        calls: calls.len(),
        degraded,
        rate: (!calls.is_empty()).then(|| degraded as f64 / calls.len() as f64),
        first_detail: calls.iter().find(counts).and_then(|call| call.detail.cloned()),
    }
}

/// `analysis/skipped.csv`.
pub struct SkippedCells;

impl Table for SkippedCells {
    type Row = SkippedRow;
    const FILE: &'static str = "analysis/skipped.csv";
    const ABOUT: &'static str = "Cells that a rule left out.";

    fn derive(from: &Sources<'_>) -> Vec<SkippedRow> {
        let rows = from.plan.skipped.iter().map(|skipped| SkippedRow {
            key: PlannedKey::of(&skipped.cell),
            rule: skipped.rule.clone(),
            reason: skipped.reason.clone(),
        });
        rows.collect()
    }
}

/// `analysis/decisions.csv`.
pub struct Decisions;

impl Table for Decisions {
    type Row = DecisionRow;
    const FILE: &'static str = "analysis/decisions.csv";
    const ABOUT: &'static str = "Why cells took no further calls, in the plan's order; decisions that stand.";

    fn derive(from: &Sources<'_>) -> Vec<DecisionRow> {
        let standing = given_up::standing_by_cell(&from.recording.lines);
        let of_cell = |cell: &Cell| {
            let own = standing.get(&cell.id).into_iter().flatten();
            own.map(|decision| decision_row(cell, decision)).collect::<Vec<_>>()
        };
        from.plan.cells.iter().flat_map(of_cell).collect()
    }
}

fn decision_row(cell: &Cell, decision: &Decision) -> DecisionRow {
    DecisionRow {
        key: PlannedKey::of(cell),
        rule: decision.rule,
        calls_ok: decision.calls_ok,
        relative_ci: decision.relative_ci,
        why: decision.why.clone(),
    }
}
