//! `cuda_event_gap_summary.csv`: how much of a phase the device's own clock does not account for.

use serde::{Deserialize, Serialize};

use crate::record::plan::Plan;
use crate::stats::summary::{median, quantile};
use crate::store::Recording;
use crate::terms::{Dtype, Mode};

use super::groups::groups;
use super::metrics::MetricRow;

/// One cell and mode whose calls carry device times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceGapRow {
    /// The plan's cell.
    pub cell_id: String,
    /// Backend name.
    pub backend: String,
    /// Model name.
    pub model: String,
    /// Element type.
    pub dtype: Dtype,
    /// Scenario name.
    pub scenario: String,
    /// Rows.
    pub batch: u32,
    /// Timed decode steps.
    pub gen_tokens: u32,
    /// What is timed.
    pub mode: Mode,
    /// Calls that count and have a device time.
    pub n: usize,
    /// Median of the phase on the host's clock.
    pub host_median_ms: f64,
    /// Median of the same phase between two events of the device.
    pub device_median_ms: f64,
    /// Median of the difference: launching, waiting, choosing the next token on the host.
    pub gap_median_ms: f64,
    /// Its 95th percentile. `None`: fewer than 20 calls.
    pub gap_p95_ms: Option<f64>,
    /// Median of the difference ÷ the phase on the host's clock.
    pub gap_share_median: f64,
}

/// One row per cell and mode, in the plan's order.
pub(super) fn derive(recording: &Recording, plan: &Plan, metrics: &[MetricRow]) -> Vec<DeviceGapRow> {
    let calls: std::collections::BTreeMap<&str, _> =
        recording.calls().map(|call| (call.call_id.as_str(), call)).collect();
    let rows = groups(plan, metrics).into_iter().filter_map(|group| {
        let times = group.counted().into_iter().filter_map(|row| {
            let span = calls.get(row.call_id.as_str())?.spans.iter().find(|span| span.phase.mode() == row.mode)?;
            Some((span.duration().as_ms(), span.device_ns?.as_ms()))
        });
        let times: Vec<(f64, f64)> = times.filter(|(host, _)| *host > 0.0).collect();
        let gaps: Vec<f64> = times.iter().map(|(host, device)| host - device).collect();
        let of = |each: fn(&(f64, f64)) -> f64| median(&times.iter().map(each).collect::<Vec<_>>());
        Some(DeviceGapRow {
            cell_id: group.cell.id.0.clone(),
            backend: group.cell.session.backend.clone(),
            model: group.cell.session.model.clone(),
            dtype: group.dtype,
            scenario: group.cell.scenario.clone(),
            batch: group.cell.batch,
            gen_tokens: group.cell.gen_tokens,
            mode: group.mode,
            n: times.len(),
            host_median_ms: of(|(host, _)| *host)?,
            device_median_ms: of(|(_, device)| *device)?,
            gap_median_ms: median(&gaps)?,
            gap_p95_ms: quantile(&gaps, 0.95).filter(|_| gaps.len() >= crate::stats::summary::P95_NEEDS),
            gap_share_median: of(|(host, device)| (host - device) / host)?,
        })
    });
    rows.collect()
}
