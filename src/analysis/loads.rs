//! `load_breakdown.csv`, `load_parts.csv`: what loading took.

use std::collections::HashMap;
use std::ptr;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::record::plan::SessionKey;
use crate::record::{CallRecord, LoadRecord};
use crate::stats::summary::median;
use crate::terms::{BUILD_ENGINES, Degraded, Mode, Phase, Regime, Role};
use crate::units::{Bytes, Nanos};

use super::columns::columns;
use super::metrics::Metrics;
use super::metrics::{MetricRow, Standing};
use super::table::{Sources, Table};

columns! {
    /// One load.
    pub struct LoadRow {
        /// Which load of the run it is.
        load_index: u32,
        /// Backend name.
        backend: String,
        /// Model name.
        model: String,
        /// Hash of the weights. `None`: the load failed before they were known.
        weights_id: Option<String>,
        /// `cold_process`: into a fresh process of the engine; `cold_model`: into one that had loaded before.
        regime: Regime,
        /// Whether it worked.
        status: Standing,
        /// Why not. `None`: it did.
        degraded_kind: Option<Degraded>,
        /// The engine's words where it failed.
        detail: Option<String>,
        /// Set of sessions resident together.
        residency_id: u32,
        /// Sessions closed before it.
        n_evicted: usize,
        /// When it began, on the clock of its process.
        begin_ms: f64,
        /// From the request until the model could answer, but for building engines that later loads find built.
        duration_ms: f64,
        /// What of it the engine accounts for, see `load_parts.csv`. `None`: it names no parts.
        parts_ms: Option<f64>,
        /// Latency of the first phase of the first call after it: what a caller waits on top. `None`: no such call, or it
        /// did not get so far.
        first_call_ms: Option<f64>,
        /// Which phase that was. `None`: as above.
        first_call_phase: Option<Phase>,
        /// That call. `None`: there was none.
        first_call_id: Option<String>,
        /// Median of the same phase over the calls of its cell that count: what it takes once everything is warm. `None`:
        /// there is no such call.
        warm_call_ms: Option<f64>,
        /// (load + first phase of the first call) ÷ the warm median of that phase: as many warm ones take as long. Where the
        /// phase is the prefill it is how many times longer a caller waits for the first token who finds the model not
        /// loaded. `None`: as above.
        /// Unit: ratio.
        cold_start_ratio: Option<f64>,
        /// Resident set of the engine's process before. `None`: not measurable.
        host_rss_before_bytes: Option<u64>,
        /// Resident set after. `None`: not measurable.
        host_rss_after_bytes: Option<u64>,
        /// How much it grew; negative where it shrank. `None`: not measurable.
        host_rss_growth_bytes: Option<i64>,
        /// Device memory taken. `None`: no device, or not measurable.
        device_bytes: Option<u64>,
        /// Device or provider asked for.
        requested: String,
        /// Device or provider the graph was placed on. `None`: nothing proves it.
        actual: Option<String>,
        /// Expected memory of all sessions resident after it.
        planned_resident_bytes: u64,
    }
}

columns! {
    /// One part of one load, by the engine's own name.
    pub struct LoadPartRow {
        /// The load.
        load_index: u32,
        /// Backend name.
        backend: String,
        /// Model name.
        model: String,
        /// Place among the load's parts, from 0.
        part_index: usize,
        /// The engine's name for it. `build_engines` is beside the load's time: with what it makes, every load is the same.
        part: String,
        /// How long it took.
        duration_ms: f64,
    }
}

/// `analysis/load_breakdown.csv`.
pub struct LoadBreakdown;

impl Table for LoadBreakdown {
    type Row = LoadRow;
    const FILE: &'static str = "analysis/load_breakdown.csv";
    const ABOUT: &'static str = "Every load, failed ones too, in the record's order.";

    fn derive(from: &Sources<'_>) -> Vec<LoadRow> {
        let metrics = from.rows::<Metrics>();
        let mut first_calls: HashMap<(u32, &SessionKey), &CallRecord> = HashMap::new();
        let mut last = None;
        for call in from.recording.calls() {
            // Most calls follow one of the same load.
            let of_load = (call.load_index, ptr::from_ref(&*call.session));
            if last.replace(of_load) != Some(of_load) {
                first_calls.entry((call.load_index, &*call.session)).or_insert(call);
            }
        }
        let cold = first_calls.values().copied().filter(|call| call.role == Role::Cold);
        let warm = warm_latencies(cold.filter_map(first_phase), &metrics);
        let loads = from.recording.loads().map(|load| {
            let first = first_calls.get(&(load.load_index, &load.session)).copied();
            let first = first.filter(|call| call.role == Role::Cold);
            row(load, first, first.and_then(first_phase).and_then(|phase| median(warm.get(&phase)?)))
        });
        loads.collect()
    }
}

/// The cell of a call, and the mode of the first phase that it timed. `None`: it did not get so far.
fn first_phase(call: &CallRecord) -> Option<(&str, Mode)> {
    Some((&call.cell_id.0, call.spans.first()?.phase.mode()))
}

/// What these modes of these cells take in the calls that count.
fn warm_latencies<'a>(
    wanted: impl Iterator<Item = (&'a str, Mode)>,
    metrics: &'a [MetricRow],
) -> HashMap<(&'a str, Mode), Vec<f64>> {
    let mut latencies: HashMap<(&str, Mode), Vec<f64>> = wanted.map(|phase| (phase, Vec::new())).collect();
    let phase = |row: &&'a MetricRow| (row.key.cell_id.as_str(), row.mode);
    let counted = metrics.par_iter().filter(|row| row.counts() && latencies.contains_key(&phase(row)));
    for row in counted.collect::<Vec<_>>() {
        latencies.entry(phase(&row)).or_default().extend(row.latency_ms);
    }
    latencies
}

#[cfg(test)]
impl LoadRow {
    /// Of model `m` on engine `eng`, on the processor, that went well; nothing is known of its first call, nor of memory.
    pub(crate) fn bare(load_index: u32, duration_ms: f64) -> Self {
        Self {
            load_index,
            backend: "eng".to_owned(),
            model: "m".to_owned(),
            weights_id: None,
            regime: crate::terms::Regime::ColdModel,
            status: Standing::Ok,
            degraded_kind: None,
            detail: None,
            residency_id: 0,
            n_evicted: 0,
            begin_ms: 0.0,
            duration_ms,
            parts_ms: None,
            first_call_ms: None,
            first_call_phase: None,
            first_call_id: None,
            warm_call_ms: None,
            cold_start_ratio: None,
            host_rss_before_bytes: None,
            host_rss_after_bytes: None,
            host_rss_growth_bytes: None,
            device_bytes: None,
            requested: "cpu".to_owned(),
            actual: Some("cpu".to_owned()),
            planned_resident_bytes: 0,
        }
    }
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
        degraded_kind: load.status.degraded(),
        detail: load.detail.clone(),
        residency_id: load.residency_id,
        n_evicted: load.evicted.len(),
        begin_ms: load.begin_ns.as_ms(),
        duration_ms: load.duration_ns.as_ms(),
        parts_ms: (!load.parts_ns.is_empty()).then(|| own_parts(load).map(|part| part.as_ms()).sum()),
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
        actual: load.attribution.actual.clone().filter(|_| load.attribution.is_proven()),
        planned_resident_bytes: load.planned_resident_bytes.0,
    }
}

/// Parts that are of the load's own time.
fn own_parts(load: &LoadRecord) -> impl Iterator<Item = Nanos> {
    load.parts_ns.iter().filter(|(part, _)| part != BUILD_ENGINES).map(|(_, time)| *time)
}

/// `analysis/load_parts.csv`.
pub struct LoadParts;

impl Table for LoadParts {
    type Row = LoadPartRow;
    const FILE: &'static str = "analysis/load_parts.csv";
    const ABOUT: &'static str = "The engine's own division of each load, in the record's order.";

    fn derive(from: &Sources<'_>) -> Vec<LoadPartRow> {
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
        from.recording.loads().flat_map(parts_of).collect()
    }
}
