//! `compile_steps.csv`: the compile phase itself.

use serde::{Deserialize, Serialize};

use crate::analysis::metrics::Standing;
use crate::record::{CompileRecord, LoadRecord};
use crate::store::Recording;
use crate::terms::{CompileEvidence, Degraded, Mode, Procedure, Status};

/// One phase of one shape compiled after one load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompileStepRow {
    /// The load, see `load_breakdown.csv`.
    pub load_index: u32,
    /// Backend name.
    pub backend: String,
    /// Model name.
    pub model: String,
    /// What calls of this shape do.
    pub procedure: Procedure,
    /// Rows.
    pub batch: u32,
    /// Columns of the prompts, padding included.
    pub prompt_tokens: u32,
    /// Decode steps.
    pub steps: u32,
    /// Whether the shape was compiled.
    pub status: Standing,
    /// Why not. `None`: it was.
    pub degraded_kind: Option<Degraded>,
    /// The compiler's words where it failed.
    pub detail: Option<String>,
    /// When the shape's step began, on the clock of its process.
    pub begin_ms: f64,
    /// All phases of the shape together, the runs that proved them included.
    pub shape_ms: f64,
    /// The mode whose code this is. `None`: the step failed before it said.
    pub mode: Option<Mode>,
    /// `eager`, or the compiler asked for. `None`: as above.
    pub backend_requested: Option<String>,
    /// What ran. `None`: nothing proves it.
    pub backend_actual: Option<String>,
    /// The phase's own time, compilation included. `None`: not told.
    pub duration_ms: Option<f64>,
    /// What of it the compiler took. `None`: as `mode`; so are all below.
    pub compile_ms: Option<f64>,
    /// Calls made to the model.
    pub calls: Option<u64>,
    /// Executions of compiled code.
    pub executions: Option<u64>,
    /// Graphs compiled.
    pub unique_graphs: Option<u64>,
    /// Places where a graph was broken.
    pub graph_breaks: Option<u64>,
    /// Compilations beyond the first of the phase.
    pub recompiles: Option<u64>,
    /// Graphs found in the compiler's cache on disk.
    pub cache_hits: Option<u64>,
    /// Graphs not found there.
    pub cache_misses: Option<u64>,
    /// Columns really computed where prompts are padded to a bucket. `None`: no buckets.
    pub bucket: Option<u32>,
}

/// Every step, in the record's order; a shape that failed has one row without a mode.
pub(in crate::analysis) fn derive(recording: &Recording) -> Vec<CompileStepRow> {
    let mut rows = Vec::new();
    for load in recording.loads() {
        for step in &load.compiled {
            rows.extend(step.phases.iter().map(|phase| row(load, step, Some(phase))));
            if step.phases.is_empty() {
                rows.push(row(load, step, None));
            }
        }
    }
    rows
}

fn row(load: &LoadRecord, step: &CompileRecord, phase: Option<&CompileEvidence>) -> CompileStepRow {
    CompileStepRow {
        load_index: load.load_index,
        backend: load.session.backend.clone(),
        model: load.session.model.clone(),
        procedure: step.procedure,
        batch: step.batch,
        prompt_tokens: step.prompt_tokens,
        steps: step.steps,
        status: if step.status.is_ok() { Standing::Ok } else { Standing::Degraded },
        degraded_kind: match step.status {
            Status::Ok => None,
            Status::Degraded(kind) => Some(kind),
        },
        detail: step.detail.clone(),
        begin_ms: step.begin_ns.as_ms(),
        shape_ms: step.duration_ns.as_ms(),
        mode: phase.map(|phase| phase.phase.mode()),
        backend_requested: phase.map(|phase| phase.backend_requested.clone()),
        backend_actual: phase.and_then(|phase| phase.backend_actual.clone()),
        duration_ms: phase.and_then(|phase| phase.duration_ns).map(|duration| duration.as_ms()),
        compile_ms: phase.map(|phase| phase.compile_ns.as_ms()),
        calls: phase.map(|phase| phase.calls),
        executions: phase.map(|phase| phase.executions),
        unique_graphs: phase.map(|phase| phase.unique_graphs),
        graph_breaks: phase.map(|phase| phase.graph_breaks),
        recompiles: phase.map(|phase| phase.recompiles),
        cache_hits: phase.map(|phase| phase.cache_hits),
        cache_misses: phase.map(|phase| phase.cache_misses),
        bucket: phase.and_then(|phase| phase.bucket),
    }
}
