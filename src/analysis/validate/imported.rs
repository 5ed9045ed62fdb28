//! Whether imported figures refer to what is there: the checks of our own calls say nothing of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::ImportedCall;
use crate::record::manifest::{Imported, Manifest};
use crate::record::plan::{Cell, Plan};
use crate::store::Recording;
use crate::terms::Mode;

use super::check::Check;

/// Why checks of our own calls are not made.
pub(super) const NOT_OURS: &str = "imported: another tool made the calls";

/// What is checked of imported figures.
const NAME: &str = "imported figures refer to files and cells";

/// Whether every imported call and stated figure belongs to a cell and a file, is numbered, and has times that can be.
pub(super) fn check(recording: &Recording, plan: &Plan, imported: &Imported) -> Check {
    let cells: BTreeMap<&str, &Cell> = plan.cells.iter().map(|cell| (cell.id.0.as_str(), cell)).collect();
    let mut seen = BTreeSet::new();
    let mut next: BTreeMap<&str, u32> = BTreeMap::new();
    let mut problems = Vec::new();
    for call in recording.imported() {
        let id = &call.call_id;
        if !seen.insert(id.as_str()) {
            problems.push(format!("{id} is recorded twice"));
        }
        let expected = next.entry(call.cell_id.0.as_str()).or_default();
        if call.index != *expected {
            problems.push(format!("{id}: index {}, expected {expected}", call.index));
        }
        *expected = call.index.saturating_add(1);
        problems.extend(stray(&cells, imported, &call.cell_id.0, call.file).map(|why| format!("{id}: {why}")));
        problems.extend(impossible(call).map(|why| format!("{id}: {why}")));
    }
    for figure in recording.stated() {
        let at = &figure.place;
        problems.extend(stray(&cells, imported, &figure.cell_id.0, figure.file).map(|why| format!("{at}: {why}")));
        if !(figure.value_ms.is_finite() && figure.value_ms > 0.0) {
            problems.push(format!("{at}: a stated time of {} ms", figure.value_ms));
        }
    }
    let (calls, stated) = (seen.len(), recording.stated().count());
    Check::of(NAME, &problems, format!("{calls} calls, {stated} stated figures"))
}

/// Why a line belongs to nothing.
fn stray(cells: &BTreeMap<&str, &Cell>, imported: &Imported, cell: &str, file: u32) -> Option<String> {
    if !cells.contains_key(cell) {
        return Some(format!("cell {cell} is not in the plan"));
    }
    (file as usize >= imported.files.len())
        .then(|| format!("file {file}, and the manifest has {}", imported.files.len()))
}

/// Times that no call has.
fn impossible(call: &ImportedCall) -> Option<String> {
    let times: BTreeSet<Mode> = call.times.iter().map(|time| time.mode).collect();
    if times.len() != call.times.len() {
        return Some("times the same twice".to_owned());
    }
    if call.status.is_ok() == call.times.is_empty() {
        return Some(if call.status.is_ok() { "counts without a time" } else { "failed, and has a time" }.to_owned());
    }
    call.times.iter().find(|time| time.duration_ns.0 == 0).map(|time| format!("{} took no time", time.mode))
}

/// As [`check`], of a run that has imported figures. `None`: it has none.
pub(super) fn of(recording: &Recording, plan: &Plan, manifest: &Manifest) -> Option<Check> {
    manifest.imported.as_ref().map(|imported| check(recording, plan, imported))
}
