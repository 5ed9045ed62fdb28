//! One engine's part of a comparison: the calls of a cell that may be compared, or why there are none.

use std::collections::BTreeSet;

use crate::analysis::compile::CompileAuditRow;
use crate::analysis::groups::{Group, by_cell, latencies};
use crate::analysis::metrics::MetricRow;
use crate::analysis::table::Sources;
use crate::record::manifest::{BackendEntry, Manifest};
use crate::record::plan::Cell;
use crate::terms::{Dtype, Mode, Procedure};

/// Calls below which a side has no interval.
pub const FEWEST_CALLS: usize = 3;

/// The modes that are compared.
pub const MODES: [Mode; 3] = [Mode::Prefill, Mode::KvDecode, Mode::GenerateUncached];

/// A cell in one mode with the calls that may be compared: those that count, prove where they ran, and made every step
/// asked for.
#[derive(Debug, Clone)]
pub struct Side<'a> {
    /// The cell.
    pub cell: &'a Cell,
    /// What is timed.
    pub mode: Mode,
    /// Hash of the weights, and the element type. `None`: no call counts, or either changed during the run.
    pub measured_as: Option<(&'a str, Dtype)>,
    /// In the record's order.
    pub calls: Vec<&'a MetricRow>,
    /// Why the calls may not be compared. `None`: they may.
    pub reason: Option<String>,
}

/// What is asked for, whoever is asked: model, scenario, rows, decode steps, what a call does, and what is timed.
pub(super) type Question<'a> = (&'a str, &'a str, u32, u32, Procedure, Mode);

impl<'a> Side<'a> {
    /// What the cell asks for.
    pub(super) fn question(&self) -> Question<'a> {
        let Cell { session, scenario, batch, gen_tokens, procedure, .. } = self.cell;
        (&session.model, scenario, *batch, *gen_tokens, *procedure, self.mode)
    }
}

impl Side<'_> {
    /// Their latencies.
    pub(super) fn latencies_ms(&self) -> Vec<f64> {
        latencies(&self.calls)
    }

    /// The device or provider that all of them ran on. `None`: not the same for all.
    #[must_use]
    pub(super) fn actual(&self) -> Option<String> {
        let first = self.calls.first()?.actual()?;
        self.calls.iter().all(|call| call.actual() == Some(first)).then(|| first.to_owned())
    }

    /// Why two sides that ask for the same cannot be compared. `None`: they can.
    pub(super) fn differs_from(&self, other: &Side<'_>, manifest: &Manifest) -> Option<String> {
        if let Some(reason) = self.reason.as_ref().or(other.reason.as_ref()) {
            return Some(reason.clone());
        }
        let ((own_weights, own_type), (their_weights, their_type)) = self.measured_as.zip(other.measured_as)?;
        if own_type != their_type {
            return Some(format!("element types differ: {} and {}", own_type.as_str(), their_type.as_str()));
        }
        if own_weights != their_weights {
            return Some("weights differ".to_owned());
        }
        let (own_prompt, their_prompt) = (self.prompt_tokens(), other.prompt_tokens());
        if own_prompt != their_prompt {
            let told = |tokens: Option<f64>| tokens.map_or_else(|| "not told".to_owned(), |tokens| tokens.to_string());
            return Some(format!("prompt tokens differ: {} and {}", told(own_prompt), told(their_prompt)));
        }
        let scripted = |side: &Side<'_>| {
            let entry = manifest.stack.backends.get(&side.cell.session.backend);
            entry.is_some_and(BackendEntry::is_scripted)
        };
        let one_scripted = scripted(self) != scripted(other);
        one_scripted.then(|| "the time of one of them is scripted, not measured".to_owned())
    }

    /// Prompt tokens of a row. `None`: no call, or not told.
    #[must_use]
    fn prompt_tokens(&self) -> Option<f64> {
        self.calls.first()?.prompt_tokens()
    }
}

/// Every cell of the plan in every mode that is compared, in the plan's order.
#[must_use]
pub fn sides<'a>(from: &'a Sources<'_>, metrics: &'a [MetricRow], audit: &[CompileAuditRow]) -> Vec<Side<'a>> {
    let measured = by_cell(from, metrics, |row| MODES.contains(&row.mode));
    let unproven = |row: &&CompileAuditRow| row.backend_actual.is_none();
    let not_compiled: BTreeSet<(&str, Mode)> =
        audit.iter().filter(unproven).map(|row| (row.key.cell_id.as_str(), row.mode)).collect();
    let mut groups = measured.iter().peekable();
    let mut sides = Vec::new();
    for cell in &from.plan.cells {
        let mut of_cell: Vec<&Group<'a>> = Vec::new();
        while let Some(group) = groups.next_if(|group| group.cell.id == cell.id) {
            of_cell.push(group);
        }
        for &mode in cell.procedure.modes().iter().filter(|mode| MODES.contains(mode)) {
            let of_mode: Vec<&Group<'a>> = of_cell.iter().copied().filter(|group| group.mode == mode).collect();
            sides.push(side(cell, mode, &of_mode, not_compiled.contains(&(cell.id.0.as_str(), mode))));
        }
    }
    sides
}

fn side<'a>(cell: &'a Cell, mode: Mode, groups: &[&Group<'a>], not_compiled: bool) -> Side<'a> {
    let counting: Vec<&Group<'a>> = groups.iter().copied().filter(|group| !group.counted().is_empty()).collect();
    let backend = &cell.session.backend;
    let without_calls = |reason| Side { cell, mode, measured_as: None, calls: Vec::new(), reason: Some(reason) };
    let group = match counting[..] {
        [] => return without_calls(format!("no call on {backend} counts")),
        [group] => group,
        _ => return without_calls(format!("weights or element type changed during the run on {backend}")),
    };
    let counted = group.counted();
    let (first, made) = (counted[0], counted.len());
    let proven: Vec<&MetricRow> = counted.into_iter().filter(|row| row.attributed).collect();
    let calls: Vec<&MetricRow> = proven.iter().copied().filter(|row| !row.scaled).collect();
    let reason = why_not_compared(backend, Counts { made, proven: proven.len(), compared: calls.len() }, !not_compiled);
    Side { cell, mode, measured_as: Some((&first.key.weights_id, first.key.dtype)), calls, reason }
}

/// Calls of a cell in one mode.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Those that count.
    pub made: usize,
    /// Of these, those that prove where they ran.
    pub proven: usize,
    /// Of these, those that made every step asked for.
    pub compared: usize,
}

/// Why calls of a backend may not be compared. `None`: they may. `compiled`: nothing speaks against their having run compiled, where
/// that was asked for.
#[must_use]
pub fn why_not_compared(backend: &str, counts: Counts, compiled: bool) -> Option<String> {
    let Counts { made, proven, compared } = counts;
    if proven == 0 {
        return Some(format!("nothing proves where the calls on {backend} ran"));
    }
    if !compiled {
        return Some(format!("nothing proves that {backend} ran compiled"));
    }
    (compared < FEWEST_CALLS).then(|| {
        let of_made = format!("{compared} of {made} calls on {backend}");
        format!("{of_made} made every step and prove where they ran, at least {FEWEST_CALLS} are needed")
    })
}
