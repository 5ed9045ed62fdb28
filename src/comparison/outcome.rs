//! Which exit code follows from the cells' verdicts.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::terms::Mode;

use super::cells::CellRow;
use super::verdict::Reason;

/// Which cells decide the exit code. The default: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gate {
    /// Only those of these backends; empty: of any.
    pub backends: Vec<String>,
    /// Only those of these models; empty: of any.
    pub models: Vec<String>,
    /// Only those of these scenarios; empty: of any.
    pub scenarios: Vec<String>,
    /// Only those in these modes; empty: in any.
    pub modes: Vec<Mode>,
}

impl Gate {
    /// Whether a cell counts.
    #[must_use]
    pub fn holds(&self, cell: &CellRow) -> bool {
        let listed = |names: &[String], name: &str| names.is_empty() || names.iter().any(|known| known == name);
        (listed(&self.backends, &cell.backend) || cell.backend_b.as_ref().is_some_and(|b| self.backends.contains(b)))
            && listed(&self.models, &cell.model)
            && listed(&self.scenarios, &cell.scenario)
            && (self.modes.is_empty() || self.modes.contains(&cell.mode))
    }
}

/// What a gate makes of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every gated cell is the same or faster.
    Good,
    /// Some gated cell is slower or newly failing.
    Worse,
    /// Nothing is known to be worse, but not everything is known.
    Open,
}

impl Outcome {
    /// Of these cells. Reasons that are `allowed` are as good as none; where no cell was compared at all, nothing is good.
    #[must_use]
    pub fn of(cells: &[CellRow], gate: &Gate, allowed: &BTreeSet<Reason>) -> Self {
        let gated: Vec<&CellRow> = cells.iter().filter(|cell| gate.holds(cell)).collect();
        if gated.iter().any(|cell| cell.verdict.is_worse()) {
            return Self::Worse;
        }
        let open = gated.iter().filter_map(|cell| cell.verdict.reason()).any(|reason| !allowed.contains(&reason));
        let compared = gated.iter().any(|cell| cell.ratio.is_some());
        if open || !compared { Self::Open } else { Self::Good }
    }
}
