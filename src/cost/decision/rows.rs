//! Where the rows are that decisions come from, and what they are of.

use crate::cost::bill::percent;

/// Where the figures are printed.
pub(super) const ROWS: &str = "phasebench cost";

/// What of the workload a figure is of. `None`: of all of it.
pub(super) fn part_of(coverage: f64) -> Option<String> {
    // Shares add up to 1 but for their last digits.
    (coverage < 1.0 - 1e-9).then(|| format!("of the {} that were measured", percent(coverage)))
}
