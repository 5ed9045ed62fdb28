//! `warmup_effect.csv`, `warmup_summary.csv`: how much slower the first calls are.

use std::sync::Arc;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::stats::summary::{Summary, median};
use crate::terms::Dtype;
use crate::terms::{Mode, Role};

use super::columns::columns;
use super::groups::{Group, by_cell, latencies};
use super::key::CellKey;
use super::metrics::MetricRow;
use super::metrics::Metrics;
use super::table::{Sources, Table};

columns! {
    /// One cell in one mode: cold and warmup calls against timed ones. Rewarm and degraded calls are in neither.
    pub struct WarmupRow {
        ..key: Arc<CellKey>,
        /// What is timed.
        mode: Mode,
        /// Calls of roles cold and warmup.
        n_warmup: usize,
        /// Of these, first calls after a load.
        n_cold: usize,
        /// Calls that count.
        n_timed: usize,
        /// Median latency of cold and warmup calls. `None`: there are none.
        warmup_ms: Option<f64>,
        /// Median latency of the calls that count. `None`: there are none.
        timed_ms: Option<f64>,
        /// `warmup_ms` ÷ `timed_ms`. `None`: one of them is missing.
        /// Unit: ratio.
        ratio: Option<f64>,
        /// `warmup_ms` − `timed_ms`. `None`: as above.
        delta_ms: Option<f64>,
    }
}

columns! {
    /// The warmup ratios of all cells of a backend in one mode.
    pub struct WarmupSummaryRow {
        /// Backend name.
        backend: String,
        /// Element type of the sessions.
        dtype: Dtype,
        /// What is timed.
        mode: Mode,
        /// Cells with a ratio.
        n_cells: usize,
        /// Median ratio.
        /// Unit: ratio.
        ratio_median: f64,
        /// 95th percentile. `None`: fewer than 20 cells.
        /// Unit: ratio.
        ratio_p95: Option<f64>,
        /// Largest.
        /// Unit: ratio.
        ratio_max: f64,
        /// Median difference.
        delta_median_ms: f64,
        /// 95th percentile. `None`: as above.
        delta_p95_ms: Option<f64>,
        /// Largest.
        delta_max_ms: f64,
        /// The cell with the largest ratio.
        worst_cell_id: String,
    }
}

/// `analysis/warmup_effect.csv`.
pub struct WarmupEffect;

impl Table for WarmupEffect {
    type Row = WarmupRow;
    const FILE: &'static str = "analysis/warmup_effect.csv";
    const ABOUT: &'static str = "Per cell and mode that has a call of either kind, in the plan's order.";

    fn derive(from: &Sources<'_>) -> Vec<WarmupRow> {
        let metrics = from.rows::<Metrics>();
        let groups = by_cell(from, &metrics, |_| true);
        let rows = groups.par_iter().map(row);
        rows.filter(|row| row.n_warmup + row.n_timed > 0).collect()
    }
}

fn row(group: &Group<'_>) -> WarmupRow {
    let warming: Vec<&MetricRow> = group.rows.iter().copied().filter(|row| row.warms_up()).collect();
    let counted = group.counted();
    let (warmup_ms, timed_ms) = (median(&latencies(&warming)), median(&latencies(&counted)));
    let both = warmup_ms.zip(timed_ms);
    WarmupRow {
        key: group.key(),
        mode: group.mode,
        n_warmup: warming.len(),
        n_cold: warming.iter().filter(|row| row.role == Role::Cold).count(),
        n_timed: counted.len(),
        warmup_ms,
        timed_ms,
        ratio: both.filter(|(_, timed)| *timed > 0.0).map(|(warmup, timed)| warmup / timed),
        delta_ms: both.map(|(warmup, timed)| warmup - timed),
    }
}

/// `analysis/warmup_summary.csv`.
pub struct WarmupSummary;

impl Table for WarmupSummary {
    type Row = WarmupSummaryRow;
    const FILE: &'static str = "analysis/warmup_summary.csv";
    const ABOUT: &'static str = "Over the cells of a backend, element type and mode.";

    fn derive(from: &Sources<'_>) -> Vec<WarmupSummaryRow> {
        let warmup_effect = from.rows::<WarmupEffect>();
        let mut members: Vec<Vec<&WarmupRow>> = Vec::new();
        for row in warmup_effect.iter().filter(|row| row.ratio.is_some()) {
            let same = |other: &WarmupRow| other.key.backend == row.key.backend && other.key.dtype == row.key.dtype;
            match members.iter_mut().find(|rows| same(rows[0]) && rows[0].mode == row.mode) {
                Some(rows) => rows.push(row),
                None => members.push(vec![row]),
            }
        }
        members.iter().filter_map(|rows| summary(rows)).collect()
    }
}

fn summary(rows: &[&WarmupRow]) -> Option<WarmupSummaryRow> {
    let first = rows.first()?;
    let of = |figure: fn(&WarmupRow) -> Option<f64>| {
        Summary::of(&rows.iter().filter_map(|row| figure(row)).collect::<Vec<_>>()).ok()
    };
    let (ratio, delta) = (of(|row| row.ratio)?, of(|row| row.delta_ms)?);
    let worst = rows.iter().find(|row| row.ratio == Some(ratio.max))?;
    Some(WarmupSummaryRow {
        backend: first.key.backend.clone(),
        dtype: first.key.dtype,
        mode: first.mode,
        n_cells: ratio.n,
        ratio_median: ratio.median,
        ratio_p95: ratio.p95,
        ratio_max: ratio.max,
        delta_median_ms: delta.median,
        delta_p95_ms: delta.p95,
        delta_max_ms: delta.max,
        worst_cell_id: worst.key.cell_id.clone(),
    })
}
