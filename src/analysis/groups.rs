//! Rows that may be pooled, in the plan's order.

use std::collections::{BTreeMap, HashMap};
use std::ptr;
use std::sync::Arc;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::record::plan::{Cell, Plan};
use crate::terms::Mode;

use super::key::CellKey;
use super::metrics::MetricRow;
use super::table::Sources;

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

/// Where in `metrics.csv` the rows of a group are.
#[derive(Debug)]
struct Places {
    /// In the plan.
    cell: usize,
    key: Arc<CellKey>,
    mode: Mode,
    rows: Vec<usize>,
}

impl Places {
    /// Whether a row of the cell is of this group.
    fn takes(&self, row: &MetricRow) -> bool {
        self.mode == row.mode && self.key.dtype == row.key.dtype && self.key.weights_id == row.key.weights_id
    }
}

/// All rows by group.
struct Grouped(Vec<Places>);

/// Groups those rows of `metrics.csv` that `keep` says by the plan's cells, in its order and, of one cell, in that of their first
/// rows; rows of cells that the plan does not have are in no group, and no group is without a row.
pub(super) fn by_cell<'a>(
    from: &'a Sources<'_>,
    metrics: &'a [MetricRow],
    keep: impl Fn(&MetricRow) -> bool + Sync,
) -> Vec<Group<'a>> {
    let groups = from.once(|| Grouped(grouped(from.plan, metrics)));
    kept(&groups.0, from.plan, metrics, keep)
}

/// Groups rows by the plan's cells, in its order.
fn grouped(plan: &Plan, metrics: &[MetricRow]) -> Vec<Places> {
    let position: BTreeMap<&str, usize> =
        plan.cells.iter().enumerate().map(|(index, cell)| (cell.id.0.as_str(), index)).collect();
    let mut of_cells: Vec<Vec<Places>> = plan.cells.iter().map(|_| Vec::new()).collect();
    // Rows of one cell share their key: a million of them need not look for the cell by name.
    let mut known: HashMap<(*const CellKey, Mode), Option<(usize, usize)>> = HashMap::new();
    for (at, row) in metrics.iter().enumerate() {
        let find = || {
            let cell = position.get(row.key.cell_id.as_str()).copied()?;
            Some((cell, place_of(&mut of_cells[cell], plan, cell, row)))
        };
        if let Some((cell, place)) = *known.entry((Arc::as_ptr(&row.key), row.mode)).or_insert_with(find) {
            of_cells[cell][place].rows.push(at);
        }
    }
    of_cells.into_iter().flatten().collect()
}

/// Which of a cell's groups a row is of, made if it is the first.
fn place_of(groups: &mut Vec<Places>, plan: &Plan, cell: usize, row: &MetricRow) -> usize {
    groups.iter().position(|group| group.takes(row)).unwrap_or_else(|| {
        let key = CellKey::of(&plan.cells[cell], &row.key.weights_id, row.key.dtype);
        groups.push(Places { cell, key, mode: row.mode, rows: Vec::new() });
        groups.len() - 1
    })
}

/// The groups with those of their rows that `keep` says.
fn kept<'a>(
    groups: &[Places],
    plan: &'a Plan,
    metrics: &'a [MetricRow],
    keep: impl Fn(&MetricRow) -> bool + Sync,
) -> Vec<Group<'a>> {
    let all = groups.par_iter().map(|group| Group {
        cell: &plan.cells[group.cell],
        key: Arc::clone(&group.key),
        mode: group.mode,
        rows: group.rows.iter().map(|&at| &metrics[at]).filter(|row| keep(row)).collect(),
    });
    let mut kept: Vec<Group<'a>> = all.filter(|group| !group.rows.is_empty()).collect();
    for of_cell in kept.chunk_by_mut(|a, b| ptr::eq(a.cell, b.cell)) {
        of_cell.sort_by_key(|group| ptr::from_ref(group.rows[0]));
    }
    kept
}
