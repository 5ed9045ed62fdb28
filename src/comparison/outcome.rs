//! Which exit code follows from the cells' verdicts.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::terms::Mode;

use super::row::CellRow;
use super::verdict::Reason;

/// Which cells decide the exit code. The default: all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
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
    /// Whether every cell counts.
    #[must_use]
    pub fn holds_all(&self) -> bool {
        *self == Self::default()
    }

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

/// As it is asked for: `backend=ort-cpu,mode=kv_decode`.
impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [("backend", &self.backends), ("model", &self.models), ("scenario", &self.scenarios)];
        let names = named.iter().flat_map(|(key, values)| values.iter().map(move |value| format!("{key}={value}")));
        let modes = self.modes.iter().map(|mode| format!("mode={}", mode.as_str()));
        f.write_str(&names.chain(modes).collect::<Vec<String>>().join(","))
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
    /// What is worse in one comparison is worse, and what is open in one is open. Of none: good.
    #[must_use]
    pub fn worst(outcomes: impl Iterator<Item = Self>) -> Self {
        outcomes.fold(Self::Good, |so_far, outcome| match (so_far, outcome) {
            (Self::Worse, _) | (_, Self::Worse) => Self::Worse,
            (Self::Open, _) | (_, Self::Open) => Self::Open,
            (Self::Good, Self::Good) => Self::Good,
        })
    }

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
