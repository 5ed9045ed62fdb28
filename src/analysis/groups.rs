//! Rows that may be pooled, in the plan's order.

use std::collections::{BTreeMap, HashMap};
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
    // Rows of one cell share their key: a million of them need not look for the cell by name.
    let mut known: HashMap<*const CellKey, Option<usize>> = HashMap::new();
    let mut last = (std::ptr::null(), None);
    for row in metrics {
        let key = Arc::as_ptr(&row.key);
        if key != last.0 {
            let find = || position.get(row.key.cell_id.as_str()).copied();
            last = (key, *known.entry(key).or_insert_with(find));
        }
        let Some(index) = last.1 else { continue };
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
