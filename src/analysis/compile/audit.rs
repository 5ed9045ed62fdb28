//! `compile_audit.csv`: one cell and phase, what proves that it ran compiled, and what that changed.

use serde::{Deserialize, Serialize};

use crate::analysis::groups::latencies;
use crate::analysis::metrics::{MetricRow, Standing};
use crate::record::CompileRecord;
use crate::spec::Dtype;
use crate::stats::LEVEL;
use crate::stats::location::log_ratio;
use crate::stats::summary::{P95_NEEDS, P99_NEEDS, median, quantile};
use crate::store::Recording;
use crate::terms::{CompileEvidence, Degraded, Mode, Role};

use super::Audited;

/// One cell in one mode that asked for a compiler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompileAuditRow {
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
    /// The compiler asked for.
    pub backend_requested: String,
    /// What ran in every timed call that is not degraded. `None`: it is not proven for one, or there is none.
    pub backend_actual: Option<String>,
    /// Timed calls with evidence, degraded ones too.
    pub n_timed: usize,
    /// Of these, degraded as `fallback`.
    pub n_fallback: usize,
    /// Of these, degraded as `compile_failed`.
    pub n_compile_failed: usize,
    /// Calls made to the model in timed calls.
    pub model_calls: u64,
    /// Executions of compiled code in them; as many as `model_calls` where nothing ran uncompiled.
    pub executions: u64,
    /// Graphs compiled inside calls of any role.
    pub unique_graphs_in_calls: u64,
    /// Places where a graph was broken, in compile steps and calls.
    pub graph_breaks: u64,
    /// Compilations inside timed calls beyond a phase's first.
    pub recompiles_in_timed_calls: u64,
    /// Guards that did not hold in calls.
    pub guard_failures: u64,
    /// How the compiler found its cache on disk when this shape was compiled.
    pub cache: CacheState,
    /// Time of compile steps for this cell's shape, of the longest load. 0 where it was compiled inside calls.
    pub compile_step_ms: f64,
    /// Time the compiler took inside calls of any role.
    pub compile_in_calls_ms: f64,
    /// Median of warm timed calls. `None`: none counts.
    pub median_ms: Option<f64>,
    /// Timed calls as they came, those that compiled included: median. `None`: none.
    pub served_p50_ms: Option<f64>,
    /// Their 95th percentile. `None`: fewer than 20.
    pub served_p95_ms: Option<f64>,
    /// Their 99th percentile. `None`: fewer than 100.
    pub served_p99_ms: Option<f64>,
    /// Backend of the same cell where nothing was compiled. `None`: the run has none; so are all below.
    pub reference: Option<String>,
    /// Its median. `None`: none counts.
    pub reference_median_ms: Option<f64>,
    /// Its timed calls as they came: 95th percentile. `None`: fewer than 20.
    pub reference_served_p95_ms: Option<f64>,
    /// 99th percentile. `None`: fewer than 100.
    pub reference_served_p99_ms: Option<f64>,
    /// Compiled ÷ not compiled, of warm timed calls. `None`: too few calls on a side.
    pub ratio: Option<f64>,
    /// Lower end of its 95 % interval.
    pub ratio_low: Option<f64>,
    /// Upper end.
    pub ratio_high: Option<f64>,
    /// Calls of this cell after which the compile time is earned back: compile time ÷ what a call saves, rounded up.
    /// `None`: the ratio's interval is not below 1, so nothing is known to be saved.
    pub break_even_calls: Option<u64>,
}

/// How a compiler found its cache on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheState {
    /// Nothing was there.
    Cold,
    /// Everything was there.
    Warm,
    /// Some of it was.
    Mixed,
    /// The compiler did not look, or does not tell.
    Unknown,
}

impl CacheState {
    /// From hits and misses.
    #[must_use]
    pub fn of(hits: u64, misses: u64) -> Self {
        match (hits, misses) {
            (0, 0) => Self::Unknown,
            (0, _) => Self::Cold,
            (_, 0) => Self::Warm,
            _ => Self::Mixed,
        }
    }

    /// The name used in files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Mixed => "mixed",
            Self::Unknown => "unknown",
        }
    }
}

/// Latencies of timed calls that went well, those of a new shape too: what a caller waits.
fn served(rows: &[&MetricRow]) -> Vec<f64> {
    let well = rows.iter().filter(|row| row.role == Role::Timed && row.status == Standing::Ok);
    well.filter_map(|row| row.latency_ms).collect()
}

fn tail(values: &[f64], p: f64, needs: usize) -> Option<f64> {
    quantile(values, p).filter(|_| values.len() >= needs)
}

pub(super) fn row(cell: &Audited<'_>, reference: Option<&Audited<'_>>, recording: &Recording) -> CompileAuditRow {
    let group = &cell.group;
    let timed: Vec<_> = cell.calls.iter().filter(|(row, ..)| row.role == Role::Timed).collect();
    let degraded = |kind| timed.iter().filter(|(row, ..)| row.degraded_kind == Some(kind)).count();
    let all = |of: fn(&CompileEvidence) -> u64| cell.calls.iter().map(|(.., evidence)| of(evidence)).sum::<u64>();
    let in_timed = |of: fn(&CompileEvidence) -> u64| timed.iter().map(|(.., evidence)| of(evidence)).sum::<u64>();
    let steps = steps(cell, recording);
    let in_steps = |of: fn(&CompileEvidence) -> u64| steps.iter().map(|(_, evidence)| of(evidence)).sum::<u64>();
    let compile_step_ms = steps.iter().map(|(load, _)| load).collect::<std::collections::BTreeSet<_>>();
    let compile_step_ms = compile_step_ms.into_iter().map(|load| {
        let of_load = steps.iter().filter(|(other, _)| other == load);
        of_load.map(|(_, evidence)| evidence.compile_ns.as_ms()).sum::<f64>()
    });
    let compile_step_ms = compile_step_ms.fold(0.0, f64::max);
    let compile_in_calls_ms: f64 = cell.calls.iter().map(|(.., evidence)| evidence.compile_ns.as_ms()).sum();
    let values = latencies(&group.counted());
    let as_served = served(&group.rows);
    let theirs = reference.map(|other| latencies(&other.group.counted())).unwrap_or_default();
    let theirs_served = reference.map(|other| served(&other.group.rows)).unwrap_or_default();
    let ratio = log_ratio(&values, &theirs, LEVEL).ok();
    let (median_ms, reference_median_ms) = (median(&values), median(&theirs));
    let saved = reference_median_ms.zip(median_ms).map(|(theirs, own)| theirs - own);
    let faster = ratio.is_some_and(|ratio| ratio.interval.high < 1.0);
    let mut actuals = timed.iter().filter(|(row, ..)| row.status == Standing::Ok).map(|(.., e)| &e.backend_actual);
    let actual = actuals.next().cloned().flatten();
    CompileAuditRow {
        cell_id: group.cell.id.0.clone(),
        backend: group.cell.session.backend.clone(),
        model: group.cell.session.model.clone(),
        dtype: group.dtype,
        scenario: group.cell.scenario.clone(),
        batch: group.cell.batch,
        gen_tokens: group.cell.gen_tokens,
        mode: group.mode,
        backend_requested: cell.requested().to_owned(),
        backend_actual: actual.filter(|actual| actuals.all(|other| other.as_ref() == Some(actual))),
        n_timed: timed.len(),
        n_fallback: degraded(Degraded::Fallback),
        n_compile_failed: degraded(Degraded::CompileFailed),
        model_calls: in_timed(|evidence| evidence.calls),
        executions: in_timed(|evidence| evidence.executions),
        unique_graphs_in_calls: all(|evidence| evidence.unique_graphs),
        graph_breaks: all(|evidence| evidence.graph_breaks) + in_steps(|evidence| evidence.graph_breaks),
        recompiles_in_timed_calls: in_timed(|evidence| evidence.recompiles),
        guard_failures: all(|evidence| evidence.guard_failures),
        cache: CacheState::of(
            all(|evidence| evidence.cache_hits) + in_steps(|evidence| evidence.cache_hits),
            all(|evidence| evidence.cache_misses) + in_steps(|evidence| evidence.cache_misses),
        ),
        compile_step_ms,
        compile_in_calls_ms,
        median_ms,
        served_p50_ms: median(&as_served),
        served_p95_ms: tail(&as_served, 0.95, P95_NEEDS),
        served_p99_ms: tail(&as_served, 0.99, P99_NEEDS),
        reference: reference.map(|other| other.group.cell.session.backend.clone()),
        reference_median_ms,
        reference_served_p95_ms: tail(&theirs_served, 0.95, P95_NEEDS),
        reference_served_p99_ms: tail(&theirs_served, 0.99, P99_NEEDS),
        ratio: ratio.map(|ratio| ratio.ratio),
        ratio_low: ratio.map(|ratio| ratio.interval.low),
        ratio_high: ratio.map(|ratio| ratio.interval.high),
        break_even_calls: saved
            .filter(|saved| faster && *saved > 0.0)
            .map(|saved| ((compile_step_ms + compile_in_calls_ms) / saved).ceil() as u64),
    }
}

/// The compile steps of the cell's shape and mode, each with its load.
fn steps<'a>(cell: &Audited<'_>, recording: &'a Recording) -> Vec<(u32, &'a CompileEvidence)> {
    let Some((row, ..)) = cell.calls.first() else { return Vec::new() };
    let planned = cell.group.cell;
    let same = |step: &&CompileRecord| {
        step.procedure == planned.procedure
            && (step.batch, step.prompt_tokens, step.steps) == (planned.batch, row.prompt_padded, planned.gen_tokens)
    };
    let loads = recording.loads().filter(|load| load.session == planned.session);
    let steps = loads.flat_map(|load| load.compiled.iter().filter(same).map(|step| (load.load_index, step)));
    let phases = steps.flat_map(|(load, step)| step.phases.iter().map(move |phase| (load, phase)));
    phases.filter(|(_, phase)| phase.phase.mode() == cell.group.mode).collect()
}
