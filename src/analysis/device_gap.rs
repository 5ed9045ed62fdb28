//! `cuda_event_gap_summary.csv`: how much of a phase the device's own clock does not account for.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::record::CallRecord;
use crate::stats::summary::{P95_NEEDS, median, quantile};
use crate::terms::Mode;

use super::columns::columns;
use super::groups::{Group, by_cell};
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
        let on_devices = from.recording.calls().filter(|call| call.spans.iter().any(|span| span.device_ns.is_some()));
        let calls: BTreeMap<&str, &CallRecord> = on_devices.map(|call| (call.call_id.as_str(), call)).collect();
        if calls.is_empty() {
            return Vec::new();
        }
        by_cell(from, &metrics, |_| true).iter().filter_map(|group| row(group, &calls)).collect()
    }
}

/// `None`: no call that counts has a device time.
fn row(group: &Group<'_>, calls: &BTreeMap<&str, &CallRecord>) -> Option<DeviceGapRow> {
    let counted = group.counted();
    let both = counted.iter().filter_map(|row| host_and_device_ms(calls.get(row.call_id.as_str())?, row.mode));
    let times: Vec<(f64, f64)> = both.filter(|(host, _)| *host > 0.0).collect();
    let hosts: Vec<f64> = times.iter().map(|(host, _)| *host).collect();
    let devices: Vec<f64> = times.iter().map(|(_, device)| *device).collect();
    let gaps: Vec<f64> = times.iter().map(|(host, device)| host - device).collect();
    let shares: Vec<f64> = times.iter().map(|(host, device)| (host - device) / host).collect();
    Some(DeviceGapRow {
        key: group.key(),
        mode: group.mode,
        n: times.len(),
        host_median_ms: median(&hosts)?,
        device_median_ms: median(&devices)?,
        gap_median_ms: median(&gaps)?,
        gap_p95_ms: quantile(&gaps, 0.95).filter(|_| gaps.len() >= P95_NEEDS),
        gap_share_median: median(&shares)?,
    })
}

/// What a mode's phase took by our clock and by the device's own. `None`: the device told no time.
fn host_and_device_ms(call: &CallRecord, mode: Mode) -> Option<(f64, f64)> {
    let span = call.spans.iter().find(|span| span.phase.mode() == mode)?;
    Some((span.duration().as_ms(), span.device_ns?.as_ms()))
}
