//! Rows that may be pooled, in the plan's order.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::record::plan::{Cell, Plan};
use crate::terms::Mode;

use super::key::CellKey;
use super::metrics::MetricRow;

/// All rows of one cell in one mode with the same weights and element type, in the record's order; of every role,
/// regime and status.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) cell: &'a Cell,
    pub(super) key: Arc<CellKey>,
    pub(super) mode: Mode,
    pub(super) rows: Vec<&'a MetricRow>,
}

impl<'a> Group<'a> {
    /// The key for a row about it.
    pub(super) fn key(&self) -> Arc<CellKey> {
        Arc::clone(&self.key)
    }

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
pub(super) fn by_cell<'a>(plan: &'a Plan, metrics: impl IntoIterator<Item = &'a MetricRow>) -> Vec<Group<'a>> {
    let position: BTreeMap<&str, usize> =
        plan.cells.iter().enumerate().map(|(index, cell)| (cell.id.0.as_str(), index)).collect();
    let mut of_cell: Vec<Vec<Group<'a>>> = plan.cells.iter().map(|_| Vec::new()).collect();
    for row in metrics {
        let Some(&index) = position.get(row.key.cell_id.as_str()) else { continue };
        let groups = &mut of_cell[index];
        let (weights_id, dtype) = (&row.key.weights_id, row.key.dtype);
        let same = |group: &Group<'_>| {
            group.mode == row.mode && group.key.dtype == dtype && group.key.weights_id == *weights_id
        };
        match groups.iter_mut().find(|group| same(group)) {
            Some(group) => group.rows.push(row),
            None => groups.push(Group {
                cell: &plan.cells[index],
                key: CellKey::of(&plan.cells[index], weights_id, dtype),
                mode: row.mode,
                rows: vec![row],
            }),
        }
    }
    of_cell.into_iter().flatten().collect()
}
