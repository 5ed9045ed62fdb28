//! `load_breakdown.csv`, `load_parts.csv`: what loading took.

use serde::{Deserialize, Serialize};

use crate::record::{CallRecord, LoadRecord};
use crate::stats::summary::median;
use crate::store::Recording;
use crate::terms::{Degraded, Phase, Regime, Role, Status};
use crate::units::Bytes;

use super::metrics::{MetricRow, Standing};

/// One load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadRow {
    /// Which load of the run it is.
    pub load_index: u32,
    /// Backend name.
    pub backend: String,
    /// Model name.
    pub model: String,
    /// Hash of the weights. `None`: the load failed before they were known.
    pub weights_id: Option<String>,
    /// Whether it was the engine's first in the process.
    pub regime: Regime,
    /// Whether it worked.
    pub status: Standing,
    /// Why not. `None`: it did.
    pub degraded_kind: Option<Degraded>,
    /// The engine's words where it failed.
    pub detail: Option<String>,
    /// Set of sessions resident together.
    pub residency_id: u32,
    /// Sessions closed before it.
    pub n_evicted: usize,
    /// When it began, on the clock of its process.
    pub begin_ms: f64,
    /// From the request until the model could answer.
    pub duration_ms: f64,
    /// What of it the engine accounts for, see `load_parts.csv`. `None`: it names no parts.
    pub parts_ms: Option<f64>,
    /// Latency of the first phase of the first call after it: what a caller waits on top. `None`: no such call, or it
    /// did not get so far.
    pub first_call_ms: Option<f64>,
    /// Which phase that was. `None`: as above.
    pub first_call_phase: Option<Phase>,
    /// That call. `None`: there was none.
    pub first_call_id: Option<String>,
    /// Median of the same phase over the calls of its cell that count: what it takes once everything is warm. `None`:
    /// there is no such call.
    pub warm_call_ms: Option<f64>,
    /// (load + first call) ÷ the warm median: how many times longer a caller waits who finds the model not loaded.
    /// `None`: as above.
    pub cold_start_ratio: Option<f64>,
    /// Resident set of the engine's process before. `None`: not measurable.
    pub host_rss_before_bytes: Option<u64>,
    /// Resident set after. `None`: not measurable.
    pub host_rss_after_bytes: Option<u64>,
    /// How much it grew; negative where it shrank. `None`: not measurable.
    pub host_rss_growth_bytes: Option<i64>,
    /// Device memory taken. `None`: no device, or not measurable.
    pub device_bytes: Option<u64>,
    /// Device or provider asked for.
    pub requested: String,
    /// Device or provider the graph was placed on. `None`: nothing proves it.
    pub actual: Option<String>,
    /// Expected memory of all sessions resident after it.
    pub planned_resident_bytes: u64,
}

/// One part of one load, by the engine's own name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadPartRow {
    /// The load.
    pub load_index: u32,
    /// Backend name.
    pub backend: String,
    /// Model name.
    pub model: String,
    /// Place among the load's parts, from 0.
    pub part_index: usize,
    /// The engine's name for it.
    pub part: String,
    /// How long it took.
    pub duration_ms: f64,
}

/// Every load, in the record's order.
pub(super) fn derive(recording: &Recording, metrics: &[MetricRow]) -> Vec<LoadRow> {
    let first_call = |load: &LoadRecord| {
        recording.calls().find(|call| call.load_index == load.load_index && call.session == load.session)
    };
    let loads = recording.loads().map(|load| {
        let first = first_call(load).filter(|call| call.role == Role::Cold);
        row(load, first, first.and_then(|call| warm_ms(call, metrics)))
    });
    loads.collect()
}

/// Median of a call's first phase over the calls of its cell that count.
fn warm_ms(first: &CallRecord, metrics: &[MetricRow]) -> Option<f64> {
    let mode = first.spans.first()?.phase.mode();
    let same = |row: &&MetricRow| row.cell_id == first.cell_id.0 && row.mode == mode && row.counts();
    median(&metrics.iter().filter(same).filter_map(|row| row.latency_ms).collect::<Vec<_>>())
}

fn row(load: &LoadRecord, first_call: Option<&CallRecord>, warm_call_ms: Option<f64>) -> LoadRow {
    let span = first_call.and_then(|call| call.spans.first());
    let cold_ms = span.map(|span| load.duration_ns.as_ms() + span.duration().as_ms());
    let bytes = |size: Option<Bytes>| size.map(|size| size.0);
    let growth = load.host_rss_before_bytes.zip(load.host_rss_after_bytes);
    LoadRow {
        load_index: load.load_index,
        backend: load.session.backend.clone(),
        model: load.session.model.clone(),
        weights_id: load.weights_id.clone(),
        regime: load.regime,
        status: if load.status.is_ok() { Standing::Ok } else { Standing::Degraded },
        degraded_kind: match load.status {
            Status::Ok => None,
            Status::Degraded(kind) => Some(kind),
        },
        detail: load.detail.clone(),
        residency_id: load.residency_id,
        n_evicted: load.evicted.len(),
        begin_ms: load.begin_ns.as_ms(),
        duration_ms: load.duration_ns.as_ms(),
        parts_ms: (!load.parts_ns.is_empty()).then(|| load.parts_ns.iter().map(|(_, part)| part.as_ms()).sum()),
        first_call_ms: span.map(|span| span.duration().as_ms()),
        first_call_phase: span.map(|span| span.phase),
        first_call_id: first_call.map(|call| call.call_id.clone()),
        warm_call_ms,
        cold_start_ratio: cold_ms.zip(warm_call_ms).filter(|(_, warm)| *warm > 0.0).map(|(cold, warm)| cold / warm),
        host_rss_before_bytes: bytes(load.host_rss_before_bytes),
        host_rss_after_bytes: bytes(load.host_rss_after_bytes),
        host_rss_growth_bytes: growth
            .and_then(|(before, after)| Some(i64::try_from(after.0).ok()? - i64::try_from(before.0).ok()?)),
        device_bytes: bytes(load.device_bytes),
        requested: load.attribution.requested.clone(),
        actual: load.attribution.actual.clone(),
        planned_resident_bytes: load.planned_resident_bytes.0,
    }
}

/// The parts of every load, in the record's order.
pub(super) fn parts(recording: &Recording) -> Vec<LoadPartRow> {
    let parts_of = |load: &LoadRecord| {
        let rows = load.parts_ns.iter().enumerate().map(|(part_index, (part, duration))| LoadPartRow {
            load_index: load.load_index,
            backend: load.session.backend.clone(),
            model: load.session.model.clone(),
            part_index,
            part: part.clone(),
            duration_ms: duration.as_ms(),
        });
        rows.collect::<Vec<_>>()
    };
    recording.loads().flat_map(parts_of).collect()
}
