//! Engines against each other inside one run: the same cells with the same weights, phase by phase.
//!
//! ```text
//! metrics → cells (two engines, one cell) → pairs (two engines, one phase, over cells)
//!         └ groups (three engines or more at once)
//! ```
//!
//! A ratio is time of the second engine ÷ time of the first, the first being the one that the plan names first. Prefill and
//! decode together follow from the two apart and are not compared.

mod allowance;
mod by_session;
mod cells;
mod classes;
mod groups;
mod pairs;
mod side;
mod verdict;

pub use allowance::{PROCESS_ALLOWANCE, allowance_half_width, allowed_for, process_allowance};
pub use by_session::Pairing;
pub use cells::{EngineComparison, EngineComparisonRow};
pub use classes::WorkloadClass;
pub(in crate::analysis) use classes::{OfClass, by_class};
pub use groups::{EngineGroups, EngineGroupsRow, Samples};
pub use pairs::{EnginePairs, EnginePairsRow};
pub use side::{Counts, FEWEST_CALLS, MODES, why_not_compared};
pub use verdict::{Asked, EngineVerdict, Judged, MARGIN, PREFILL_FLOOR_MS, Rule, STEP_FLOOR_MS, floor_ms, judge};
