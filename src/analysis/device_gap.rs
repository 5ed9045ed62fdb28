//! `cuda_event_gap_summary.csv`: how much of a phase the device's own clock does not account for.

use std::sync::Arc;

use crate::stats::summary::{median, quantile};
use crate::terms::Mode;

use super::columns::columns;
use super::groups::by_cell;
use super::key::CellKey;
use super::metrics::Metrics;
use super::table::{Sources, Table};

columns! {
    /// One cell and mode whose calls carry device times.
    pub struct DeviceGapRow {
        ..key: Arc<CellKey> { cell_id, backend, model, dtype, scenario, batch, gen_tokens },
        /// What is timed.
        mode: Mode,
        /// Calls that count and have a device time.
        n: usize,
        /// Median of the phase on the host's clock.
        host_median_ms: f64,
        /// Median of the same phase between two events of the device.
        device_median_ms: f64,
        /// Median of the difference: launching, waiting, choosing the next token on the host.
        gap_median_ms: f64,
        /// Its 95th percentile. `None`: fewer than 20 calls.
        gap_p95_ms: Option<f64>,
        /// Median of the difference ÷ the phase on the host's clock.
        /// Unit: fraction.
        gap_share_median: f64,
    }
}

/// `analysis/cuda_event_gap_summary.csv`.
pub struct DeviceGap;

impl Table for DeviceGap {
    type Row = DeviceGapRow;
    const FILE: &'static str = "analysis/cuda_event_gap_summary.csv";
    const ABOUT: &'static str = "Phases on the host's clock against the device's, per cell and mode whose calls carry device times, in the plan's order.";

    fn derive(from: &Sources<'_>) -> Vec<DeviceGapRow> {
        let metrics = from.rows::<Metrics>();
        let calls: std::collections::BTreeMap<&str, _> =
            from.recording.calls().map(|call| (call.call_id.as_str(), call)).collect();
        let rows = by_cell(from.plan, metrics.iter()).into_iter().filter_map(|group| {
            let times = group.counted().into_iter().filter_map(|row| {
                let span = calls.get(row.call_id.as_str())?.spans.iter().find(|span| span.phase.mode() == row.mode)?;
                Some((span.duration().as_ms(), span.device_ns?.as_ms()))
            });
            let times: Vec<(f64, f64)> = times.filter(|(host, _)| *host > 0.0).collect();
            let gaps: Vec<f64> = times.iter().map(|(host, device)| host - device).collect();
            let of = |each: fn(&(f64, f64)) -> f64| median(&times.iter().map(each).collect::<Vec<_>>());
            Some(DeviceGapRow {
                key: group.key(),
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
}
