//! `compile_steps.csv`: the compile phase itself.

use crate::analysis::columns::columns;
use crate::analysis::metrics::Standing;
use crate::analysis::table::{Sources, Table};
use crate::record::{CompileRecord, LoadRecord};
use crate::terms::{CompileEvidence, Degraded, Mode, Procedure};

columns! {
    /// One phase of one shape compiled after one load.
    pub struct CompileStepRow {
        /// The load, see `load_breakdown.csv`.
        load_index: u32,
        /// Backend name.
        backend: String,
        /// Model name.
        model: String,
        /// What calls of this shape do.
        procedure: Procedure,
        /// Rows decoded together.
        batch: u32,
        /// Columns of the prompts, padding included.
        prompt_tokens: u32,
        /// Decode steps.
        steps: u32,
        /// Whether the shape was compiled.
        status: Standing,
        /// Why not. `None`: it was.
        degraded_kind: Option<Degraded>,
        /// The compiler's words where it failed.
        detail: Option<String>,
        /// When the shape's step began, on the clock of its process.
        begin_ms: f64,
        /// All phases of the shape together, the runs that proved them included.
        shape_ms: f64,
        /// The mode whose code this is. `None`: the step failed before it said.
        mode: Option<Mode>,
        /// `eager`, or the compiler asked for. `None`: as above.
        backend_requested: Option<String>,
        /// What ran. `None`: nothing proves it.
        backend_actual: Option<String>,
        /// The phase's own time, compilation included. `None`: not told.
        duration_ms: Option<f64>,
        /// What of it the compiler took. `None`: as `mode`; so are all below.
        compile_ms: Option<f64>,
        /// Calls made to the model.
        calls: Option<u64>,
        /// Executions of compiled code.
        executions: Option<u64>,
        /// Graphs compiled.
        unique_graphs: Option<u64>,
        /// Places where a graph was broken.
        graph_breaks: Option<u64>,
        /// Compilations beyond the first of the phase.
        recompiles: Option<u64>,
        /// Graphs found in the compiler's cache on disk.
        cache_hits: Option<u64>,
        /// Graphs not found there.
        cache_misses: Option<u64>,
        /// Columns really computed where prompts are padded to a bucket. `None`: no buckets.
        bucket: Option<u32>,
    }
}

/// `analysis/compile_steps.csv`.
pub struct CompileSteps;

impl Table for CompileSteps {
    type Row = CompileStepRow;
    const FILE: &'static str = "analysis/compile_steps.csv";
    const ABOUT: &'static str = "Every phase of every shape compiled before the first call, in the record's order; a shape that failed has one row without a mode.";

    fn derive(from: &Sources<'_>) -> Vec<CompileStepRow> {
        let mut rows = Vec::new();
        for load in from.recording.loads() {
            for step in &load.compiled {
                rows.extend(step.phases.iter().map(|phase| row(load, step, Some(phase))));
                if step.phases.is_empty() {
                    rows.push(row(load, step, None));
                }
            }
        }
        rows
    }
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
        degraded_kind: step.status.degraded(),
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
