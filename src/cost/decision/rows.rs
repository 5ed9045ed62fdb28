//! Where the rows are that decisions come from.

/// Where the figures are printed.
pub(super) const ROWS: &str = "phasebench cost";
