//! A cell in one mode with what its calls prove of a compiler.

use std::collections::BTreeMap;

use crate::analysis::groups::{Group, groups};
use crate::analysis::key::CellKey;
use crate::analysis::metrics::MetricRow;
use crate::record::CallRecord;
use crate::record::plan::{Plan, SessionKey};
use crate::store::Recording;
use crate::terms::{CompileEvidence, Phase};

/// The weights of a cell that no call was made of.
const NO_WEIGHTS: &str = "";

/// A cell's rows in one mode with what the compiler did in each.
pub(super) struct Audited<'a> {
    pub(super) group: Group<'a>,
    pub(super) calls: Vec<(&'a MetricRow, &'a CallRecord, &'a CompileEvidence)>,
    /// The compiler that its session's load asked for. `None`: none, or no load says.
    pub(super) asked: Option<&'a str>,
}

impl Audited<'_> {
    /// What was asked for.
    pub(super) fn requested(&self) -> &str {
        let asked = self.asked.unwrap_or(CompileEvidence::EAGER);
        self.calls.first().map_or(asked, |(.., evidence)| &evidence.backend_requested)
    }

    /// Whether a compiler was asked for.
    pub(super) fn compiles(&self) -> bool {
        self.requested() != CompileEvidence::EAGER
    }
}

/// Every cell and mode whose calls carry evidence of a compiler, or of there being none, and every one that was to be
/// compiled; in the plan's order.
pub(super) fn audited<'a>(recording: &'a Recording, plan: &'a Plan, metrics: &'a [MetricRow]) -> Vec<Audited<'a>> {
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
            let key = CellKey::of(cell, NO_WEIGHTS, cell.dtype);
            let group = Group { cell, key, mode, rows: Vec::new() };
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

/// The same cell where nothing was compiled; the first backend in the plan's order that has it.
pub(super) fn reference<'a, 'b>(cell: &Audited<'_>, all: &'b [Audited<'a>]) -> Option<&'b Audited<'a>> {
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
            && (other.group.mode, other.group.key.dtype) == (group.mode, group.key.dtype)
            && other.group.key.weights_id == group.key.weights_id
    })
}
