//! Rows that may be pooled, in the plan's order.

use std::collections::BTreeMap;

use crate::record::plan::{Cell, Plan};
use crate::terms::{Dtype, Mode};

use super::metrics::MetricRow;

/// All rows of one cell in one mode with the same weights and element type, in the record's order; of every role,
/// regime and status.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) cell: &'a Cell,
    pub(super) weights_id: &'a str,
    pub(super) dtype: Dtype,
    pub(super) mode: Mode,
    pub(super) rows: Vec<&'a MetricRow>,
}

impl<'a> Group<'a> {
    /// The rows that enter aggregates. See [`MetricRow::counts`].
    pub(super) fn counted(&self) -> Vec<&'a MetricRow> {
        self.rows.iter().copied().filter(|row| row.counts()).collect()
    }
}

/// Latencies of rows that have one.
pub(super) fn latencies(rows: &[&MetricRow]) -> Vec<f64> {
    rows.iter().filter_map(|row| row.latency_ms).collect()
}

/// Groups rows by the plan's cells; rows of cells that the plan does not have are in no group.
pub(super) fn groups<'a>(plan: &'a Plan, metrics: impl IntoIterator<Item = &'a MetricRow>) -> Vec<Group<'a>> {
    let position: BTreeMap<&str, usize> =
        plan.cells.iter().enumerate().map(|(index, cell)| (cell.id.0.as_str(), index)).collect();
    let mut of_cell: Vec<Vec<Group<'a>>> = plan.cells.iter().map(|_| Vec::new()).collect();
    for row in metrics {
        let Some(&index) = position.get(row.cell_id.as_str()) else { continue };
        let groups = &mut of_cell[index];
        let same = |g: &Group<'_>| g.mode == row.mode && g.weights_id == row.weights_id && g.dtype == row.dtype;
        match groups.iter_mut().find(|group| same(group)) {
            Some(group) => group.rows.push(row),
            None => groups.push(Group {
                cell: &plan.cells[index],
                weights_id: &row.weights_id,
                dtype: row.dtype,
                mode: row.mode,
                rows: vec![row],
            }),
        }
    }
    of_cell.into_iter().flatten().collect()
}
