//! Did anything change? Two runs against each other, or two backends of one run, cell by cell.
//!
//! ```text
//! run folders → sides → pairs (or why a cell cannot be compared) → effects → verdicts → groups → sentence
//!                                                                  manifests → changes ┘
//! ```
//!
//! A ratio is time of the candidate ÷ time of the baseline. The unit is the session, one load in one fresh process: what
//! calls of one process have in common is no evidence about the next process.

pub mod allowance;
mod cell_name;
pub mod cells;
pub mod changes;
pub mod clusters;
mod disturbed;
pub mod effect;
pub mod failing;
pub mod groups;
pub mod kernels;
pub mod machine;
pub mod measured;
pub mod null;
pub mod outcome;
pub mod power;
mod ran;
mod row;
mod ruling;
pub mod self_test;
pub mod sentence;
pub mod sessions;
pub mod side;
mod unlike;
pub mod verdict;
mod witness;
pub mod words;

use serde::Serialize;

use crate::record::manifest::Change;
use crate::stats::InputError;

pub use allowance::{Allowance, AllowanceSource};
pub use cell_name::{CellName, PromptTokens};
pub use effect::Basis;
pub use groups::GroupRow;
pub use machine::MachineRow;
pub use measured::{Measured, Taking};
pub use outcome::{Gate, Outcome};
pub use row::{CellRow, csv_file, descriptions};
pub use ruling::Ruling;
pub use side::{RunSide, SideCell, Sides, SidesKind};
pub use unlike::another_machine;
pub use verdict::{Reason, Settings, Verdict};

/// What came of a comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// The answer in one sentence, with what changed in the stack.
    pub sentence: String,
    /// What a reader must know before any number, e.g. that the sides were not measured in turns.
    pub notes: Vec<String>,
    /// Name of the baseline.
    pub baseline: String,
    /// Name of the candidate.
    pub candidate: String,
    /// Whether both sides took turns in one plan, so that what the machine does hits both.
    pub interleaved: bool,
    /// What either side may be off by because they did not. `None`: they did.
    pub allowance: Option<Allowance>,
    /// Ratios within this factor of 1 are as good as equal.
    pub margin: f64,
    /// Chance of a false alarm among all cells.
    pub alpha: f64,
    /// One per backend and phase.
    pub groups: Vec<GroupRow>,
    /// One per cell and phase, in the baseline's order, then what only the candidate has.
    pub cells: Vec<CellRow>,
    /// The machine's own speed on both sides. Empty: not measured on both.
    pub machine: Vec<MachineRow>,
    /// What is not the same in the stacks.
    pub changes: Vec<Change>,
}

/// Compares two sides.
///
/// # Errors
/// Never for what a run folder holds: every p is one.
pub fn compare(sides: &Sides<'_>, settings: &Settings) -> Result<Comparison, InputError> {
    compare_confirmed(sides, None, settings)
}

/// Compares two sides, where cells that look worse were measured afresh, in one run or several: of a cell that a fresh run
/// planned that run alone decides. One that looks worse and was planned in none of them stays what it is, and says so.
///
/// # Errors
/// As [`compare`].
pub fn compare_confirmed(
    sides: &Sides<'_>,
    afresh: Option<(&[Sides<'_>], &Settings)>,
    settings: &Settings,
) -> Result<Comparison, InputError> {
    let machine = machine::rows(sides);
    let allowance = settings.allowance.clone().filter(|_| !sides.interleaved);
    let mut cells = cells::rows(sides, settings, allowance.as_ref(), &machine)?;
    if let Some((fresh, settings)) = afresh {
        let mut found = Vec::new();
        for sides in fresh {
            let rows = cells::rows(sides, settings, allowance.as_ref(), &machine::rows(sides))?;
            let plan = sides.candidate.run.plan;
            found.extend(rows.into_iter().filter(|fresh| fresh.row.is_planned_in(plan)));
        }
        cells::confirm(&mut cells, &found);
    }
    let groups = groups::rows(&cells, settings, allowance.as_ref())?;
    let changes = changes::between(sides);
    Ok(Comparison {
        sentence: sentence::of(&cells, &machine, &changes, sides, settings, allowance.as_ref()),
        notes: sentence::notes(&cells, sides, allowance.as_ref()),
        baseline: sides.baseline.name.clone(),
        candidate: sides.candidate.name.clone(),
        interleaved: sides.interleaved,
        allowance,
        margin: settings.rule.margin,
        alpha: settings.rule.alpha,
        groups,
        cells: cells.into_iter().map(|cell| cell.row).collect(),
        machine,
        changes,
    })
}
