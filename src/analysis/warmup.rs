//! `warmup_effect.csv`, `warmup_summary.csv`: how much slower the first calls are.

use serde::{Deserialize, Serialize};

use crate::record::plan::Plan;
use crate::stats::summary::{Summary, median};
use crate::terms::{Dtype, Mode, Role};

use super::groups::{Group, groups, latencies};
use super::metrics::MetricRow;

/// One cell in one mode: cold and warmup calls against timed ones. Rewarm and degraded calls are in neither.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WarmupRow {
    /// The plan's cell.
    pub cell_id: String,
    /// Backend name.
    pub backend: String,
    /// Model name.
    pub model: String,
    /// Hash of the weights.
    pub weights_id: String,
    /// Element type of the session.
    pub dtype: Dtype,
    /// Scenario name.
    pub scenario: String,
    /// Rows decoded together.
    pub batch: u32,
    /// Timed decode steps.
    pub gen_tokens: u32,
    /// What is timed.
    pub mode: Mode,
    /// Calls of roles cold and warmup.
    pub n_warmup: usize,
    /// Of these, first calls after a load.
    pub n_cold: usize,
    /// Calls that count.
    pub n_timed: usize,
    /// Median latency of cold and warmup calls. `None`: there are none.
    pub warmup_ms: Option<f64>,
    /// Median latency of the calls that count. `None`: there are none.
    pub timed_ms: Option<f64>,
    /// `warmup_ms` ÷ `timed_ms`. `None`: one of them is missing.
    pub ratio: Option<f64>,
    /// `warmup_ms` − `timed_ms`. `None`: as above.
    pub delta_ms: Option<f64>,
}

/// The warmup ratios of all cells of a backend in one mode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WarmupSummaryRow {
    /// Backend name.
    pub backend: String,
    /// Element type of the sessions.
    pub dtype: Dtype,
    /// What is timed.
    pub mode: Mode,
    /// Cells with a ratio.
    pub n_cells: usize,
    /// Median ratio.
    pub ratio_median: f64,
    /// 95th percentile. `None`: fewer than [`crate::stats::summary::P95_NEEDS`] cells.
    pub ratio_p95: Option<f64>,
    /// Largest.
    pub ratio_max: f64,
    /// Median difference.
    pub delta_median_ms: f64,
    /// 95th percentile. `None`: as above.
    pub delta_p95_ms: Option<f64>,
    /// Largest.
    pub delta_max_ms: f64,
    /// The cell with the largest ratio.
    pub worst_cell_id: String,
}

/// One row per group that has a call of either kind, in the plan's order.
pub(super) fn derive(plan: &Plan, metrics: &[MetricRow]) -> Vec<WarmupRow> {
    groups(plan, metrics).iter().map(row).filter(|row| row.n_warmup + row.n_timed > 0).collect()
}

fn row(group: &Group<'_>) -> WarmupRow {
    let warming: Vec<&MetricRow> = group.rows.iter().copied().filter(|row| row.warms_up()).collect();
    let counted = group.counted();
    let (warmup_ms, timed_ms) = (median(&latencies(&warming)), median(&latencies(&counted)));
    let both = warmup_ms.zip(timed_ms);
    WarmupRow {
        cell_id: group.cell.id.0.clone(),
        backend: group.cell.session.backend.clone(),
        model: group.cell.session.model.clone(),
        weights_id: group.weights_id.to_owned(),
        dtype: group.dtype,
        scenario: group.cell.scenario.clone(),
        batch: group.cell.batch,
        gen_tokens: group.cell.gen_tokens,
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

/// One row per backend, element type and mode, in the order of the rows.
pub(super) fn summarise(rows: &[WarmupRow]) -> Vec<WarmupSummaryRow> {
    let mut members: Vec<Vec<&WarmupRow>> = Vec::new();
    for row in rows.iter().filter(|row| row.ratio.is_some()) {
        let same = |other: &WarmupRow| other.backend == row.backend && other.dtype == row.dtype;
        match members.iter_mut().find(|rows| same(rows[0]) && rows[0].mode == row.mode) {
            Some(rows) => rows.push(row),
            None => members.push(vec![row]),
        }
    }
    members.iter().filter_map(|rows| summary(rows)).collect()
}

fn summary(rows: &[&WarmupRow]) -> Option<WarmupSummaryRow> {
    let first = rows.first()?;
    let of = |figure: fn(&WarmupRow) -> Option<f64>| {
        Summary::of(&rows.iter().filter_map(|row| figure(row)).collect::<Vec<_>>()).ok()
    };
    let (ratio, delta) = (of(|row| row.ratio)?, of(|row| row.delta_ms)?);
    let worst = rows.iter().find(|row| row.ratio == Some(ratio.max))?;
    Some(WarmupSummaryRow {
        backend: first.backend.clone(),
        dtype: first.dtype,
        mode: first.mode,
        n_cells: ratio.n,
        ratio_median: ratio.median,
        ratio_p95: ratio.p95,
        ratio_max: ratio.max,
        delta_median_ms: delta.median,
        delta_p95_ms: delta.p95,
        delta_max_ms: delta.max,
        worst_cell_id: worst.cell_id.clone(),
    })
}
