//! What comes of comparisons by a gate, said with what did not count and what was allowed: that nothing is worse of two cells is
//! another matter than that nothing is worse.

use std::collections::{BTreeMap, BTreeSet};

use super::words::counted;
use super::{CellRow, Comparison, Gate, Outcome, Reason, Verdict};

/// What comes of one or several comparisons, and by which cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// What comes of it: of several the worst.
    pub outcome: Outcome,
    /// Which cells count. `None`: all.
    pub gate: Option<Gate>,
    /// What need not be decided. Empty: everything must be.
    pub allowed: BTreeSet<Reason>,
    /// How many cells count.
    pub counting: usize,
    /// How many there are.
    pub cells: usize,
    /// Worse cells that do not count, by their verdict.
    not_counting: BTreeMap<Verdict, usize>,
    /// Cells that count and are left open, as is allowed.
    let_through: BTreeMap<Reason, usize>,
}

impl Ruling {
    /// Of comparisons, where these cells count, and so much may be left open.
    #[must_use]
    pub fn of(comparisons: &[Comparison], gate: &Gate, allowed: &BTreeSet<Reason>) -> Self {
        let outcomes = comparisons.iter().map(|comparison| Outcome::of(&comparison.cells, gate, allowed));
        let cells = || comparisons.iter().flat_map(|comparison| &comparison.cells);
        let (mut counting, mut not_counting, mut let_through) = (0, BTreeMap::new(), BTreeMap::new());
        for cell in cells() {
            if gate.holds(cell) {
                counting += 1;
                if let Some(reason) = cell.verdict.reason().filter(|reason| allowed.contains(reason)) {
                    *let_through.entry(reason).or_default() += 1;
                }
            } else if cell.verdict.is_worse() {
                *not_counting.entry(cell.verdict).or_default() += 1;
            }
        }
        Self {
            outcome: Outcome::worst(outcomes),
            gate: (!gate.holds_all()).then(|| gate.clone()),
            allowed: allowed.clone(),
            counting,
            cells: cells().count(),
            not_counting,
            let_through,
        }
    }

    /// Whether its outcome is not simply that of all cells.
    #[must_use]
    pub fn is_qualified(&self) -> bool {
        self.gate.is_some() || self.lets_through()
    }

    fn lets_through(&self) -> bool {
        self.outcome == Outcome::Good && !self.let_through.is_empty()
    }

    /// In words, with what did not count and what was allowed.
    #[must_use]
    pub fn in_words(&self) -> String {
        let (outcome, among) = match self.outcome {
            Outcome::Good => ("nothing is worse", "of"),
            Outcome::Worse => ("worse", "among"),
            Outcome::Open => ("not decided", "among"),
        };
        let mut text = outcome.to_owned();
        if let Some(which) = self.which() {
            text.push_str(&format!(" {among} the cells that count ({which})"));
        }
        if !self.not_counting.is_empty() {
            let each = |(verdict, n): (&Verdict, &usize)| counted(*n, &format!("{} cell", verdict.as_str()));
            let all: Vec<String> = self.not_counting.iter().map(each).collect();
            let does = if self.not_counting.values().sum::<usize>() == 1 { "does" } else { "do" };
            text.push_str(&format!("; {} {does} not count", all.join(" and ")));
        }
        if self.lets_through() {
            let each = |(reason, n): (&Reason, &usize)| format!("{n} {}", reason.as_str());
            let all: Vec<String> = self.let_through.iter().map(each).collect();
            text.push_str(&format!("; allowed: {} ({})", all.join(", "), self.allowance().unwrap_or_default()));
        }
        text
    }

    /// Which cells count, as it was asked for, and how many: `--gate mode=prefill: 1 of 2`. `None`: all.
    #[must_use]
    pub fn which(&self) -> Option<String> {
        let gate = self.gate.as_ref()?;
        Some(format!("--gate {gate}: {} of {}", self.counting, self.cells))
    }

    /// What need not be decided, as it was asked for: `--allow undecided,missing`. `None`: everything must be.
    #[must_use]
    pub fn allowance(&self) -> Option<String> {
        let named: Vec<String> = self.allowed.iter().map(|reason| reason.as_str().replace(' ', "-")).collect();
        (!named.is_empty()).then(|| format!("--allow {}", named.join(",")))
    }

    /// Why a cell that is not well stands in nobody's way. `None`: it does.
    #[must_use]
    pub fn excuse(&self, cell: &CellRow) -> Option<String> {
        if let Some(gate) = self.gate.as_ref().filter(|gate| !gate.holds(cell)) {
            return Some(format!("does not count (--gate {gate})"));
        }
        let reason = cell.verdict.reason().filter(|reason| self.allowed.contains(reason))?;
        Some(format!("allowed (--allow {})", reason.as_str().replace(' ', "-")))
    }
}
