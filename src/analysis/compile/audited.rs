//! A cell in one mode with what its calls prove of a compiler.

use std::collections::BTreeMap;

use crate::analysis::groups::{Group, by_cell};
use crate::analysis::key::CellKey;
use crate::analysis::metrics::MetricRow;
use crate::analysis::table::Sources;
use crate::record::CallRecord;
use crate::record::plan::SessionKey;
use crate::store::Recording;
use crate::terms::{CompileEvidence, Mode, Phase, Role};

use super::tally::Tally;

/// The weights of a cell that no call was made of.
const NO_WEIGHTS: &str = "";

/// A cell's rows in one mode with what the compiler did in each.
pub(super) struct Audited<'a> {
    pub(super) group: Group<'a>,
    pub(super) calls: Vec<AuditedCall<'a>>,
    /// The compiler that its session's load asked for. `None`: none, or no load says.
    pub(super) asked: Option<&'a str>,
}

/// A call in one mode with what the compiler did in it.
#[derive(Clone, Copy)]
pub(super) struct AuditedCall<'a> {
    pub(super) row: &'a MetricRow,
    pub(super) call: &'a CallRecord,
    pub(super) evidence: &'a CompileEvidence,
}

impl AuditedCall<'_> {
    /// Whether it is one that figures are made of, unless it is degraded.
    pub(super) fn is_timed(&self) -> bool {
        self.row.role == Role::Timed
    }

    /// What the compiler did in it.
    pub(super) fn tally(&self) -> Tally {
        self.evidence.into()
    }
}

impl Audited<'_> {
    /// What was asked for.
    pub(super) fn requested(&self) -> &str {
        let asked = self.asked.unwrap_or(CompileEvidence::EAGER);
        self.calls.first().map_or(asked, |first| &first.evidence.backend_requested)
    }

    /// Whether a compiler was asked for.
    pub(super) fn compiles(&self) -> bool {
        self.requested() != CompileEvidence::EAGER
    }
}

/// Every cell and mode whose calls carry evidence of a compiler, or of there being none, and every one that was to be
/// compiled; in the plan's order.
pub(super) fn audited<'a>(from: &'a Sources<'_>, metrics: &'a [MetricRow]) -> Vec<Audited<'a>> {
    let (recording, plan) = (from.recording, from.plan);
    let calls = recording.calls().filter(|call| !call.compile.is_empty());
    let calls: BTreeMap<&str, &CallRecord> = calls.map(|call| (call.call_id.as_str(), call)).collect();
    let compilers = Compilers::of(recording);
    let mut all: Vec<Audited<'_>> = Vec::new();
    for group in by_cell(from, metrics, |_| true) {
        let with_evidence = group.rows.iter().filter_map(|&row| {
            let call = *calls.get(row.call_id.as_str())?;
            let evidence = call.compile.iter().find(|evidence| evidence.phase.mode() == row.mode)?;
            Some(AuditedCall { row, call, evidence })
        });
        let calls: Vec<AuditedCall<'_>> = with_evidence.collect();
        let asked = compilers.asked(&group.cell.session, group.mode);
        if !calls.is_empty() || asked.is_some() {
            all.push(Audited { group, calls, asked });
        }
    }
    for cell in &plan.cells {
        for &mode in cell.procedure.modes() {
            let Some(wanted) = compilers.asked(&cell.session, mode) else { continue };
            if all.iter().any(|known| known.group.cell.id == cell.id && known.group.mode == mode) {
                continue;
            }
            let key = CellKey::of(cell, NO_WEIGHTS, cell.dtype);
            let group = Group { cell, key, mode, rows: Vec::new() };
            all.push(Audited { group, calls: Vec::new(), asked: Some(wanted) });
        }
    }
    let place: BTreeMap<&str, usize> = plan.cells.iter().enumerate().map(|(i, cell)| (cell.id.0.as_str(), i)).collect();
    all.sort_by_key(|audited| place.get(audited.group.cell.id.0.as_str()).copied());
    all
}

/// The compiler that each phase of a session was to be compiled with, as its loads say.
struct Compilers<'a>(BTreeMap<&'a SessionKey, &'a BTreeMap<Phase, String>>);

impl<'a> Compilers<'a> {
    fn of(recording: &'a Recording) -> Self {
        let told = recording.loads().filter(|load| !load.compilers.is_empty());
        Self(told.map(|load| (&load.session, &load.compilers)).collect())
    }

    /// The one for a mode. `None`: none, or no load says.
    fn asked(&self, session: &SessionKey, mode: Mode) -> Option<&'a str> {
        let (_, compiler) = self.0.get(session)?.iter().find(|(phase, _)| phase.mode() == mode)?;
        Some(compiler)
    }
}

/// The same cell where nothing was compiled; the first backend in the plan's order that has it.
pub(super) fn reference<'a, 'b>(cell: &Audited<'_>, all: &'b [Audited<'a>]) -> Option<&'b Audited<'a>> {
    all.iter().find(|other| !other.compiles() && other.ran_eagerly() && other.is_same_work(cell))
}

impl Audited<'_> {
    /// Whether every call proves that nothing was compiled.
    fn ran_eagerly(&self) -> bool {
        let mut ran = self.calls.iter().map(|call| call.evidence.backend_actual.as_deref());
        ran.all(|actual| actual == Some(CompileEvidence::EAGER))
    }

    /// Whether another cell does the same with the same weights, on whatever backend.
    fn is_same_work(&self, other: &Self) -> bool {
        let (own, theirs) = (&self.group, &other.group);
        own.cell.session.model == theirs.cell.session.model
            && own.cell.scenario == theirs.cell.scenario
            && own.cell.batch == theirs.cell.batch
            && own.cell.gen_tokens == theirs.cell.gen_tokens
            && own.cell.procedure == theirs.cell.procedure
            && own.mode == theirs.mode
            && own.key.dtype == theirs.key.dtype
            && own.key.weights_id == theirs.key.weights_id
    }
}
