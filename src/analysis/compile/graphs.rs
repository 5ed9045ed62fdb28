//! `compile_graphs.csv`: how many graphs the planned shapes took.

use std::collections::BTreeSet;

use crate::analysis::columns::columns;
use crate::analysis::metrics::Metrics;
use crate::analysis::table::{Sources, Table};
use crate::record::LoadRecord;
use crate::terms::{CompileEvidence, Mode};

use super::audited::{Audited, AuditedCall, audited};
use super::tally::Tally;

columns! {
    /// One phase of one backend and model, over all loads and calls.
    pub struct CompileGraphsRow {
        /// Backend name.
        backend: String,
        /// Model name.
        model: String,
        /// The mode that the phase times.
        mode: Mode,
        /// The compiler asked for.
        backend_requested: String,
        /// Loads of the session that came so far as to compile: each starts anew, so graphs are counted per load.
        n_loads: usize,
        /// Shapes this phase had to serve: rows × prompt length (or bucket) for prefill, rows for decode.
        n_shapes: usize,
        /// Graphs compiled, in compile steps and in calls.
        unique_graphs: u64,
        /// Graphs compiled per load; where every shape has a graph of its own this is `n_shapes`.
        /// Unit: graphs per load.
        unique_graphs_per_load: f64,
        /// Places where a graph was broken.
        graph_breaks: u64,
        /// Compilations beyond a phase's first, in compile steps.
        recompiles_while_compiling: u64,
        /// The same in calls of any role.
        recompiles_in_calls: u64,
        /// Of these, in timed calls.
        recompiles_in_timed_calls: u64,
        /// Guards that did not hold, anywhere.
        guard_failures: u64,
        /// Time the compiler took, in compile steps and in calls.
        compile_ms: f64,
    }
}

/// `analysis/compile_graphs.csv`.
pub struct CompileGraphs;

impl Table for CompileGraphs {
    type Row = CompileGraphsRow;
    const FILE: &'static str = "analysis/compile_graphs.csv";
    const ABOUT: &'static str = "How many graphs the planned shapes took, per backend, model and mode.";

    fn derive(from: &Sources<'_>) -> Vec<CompileGraphsRow> {
        let metrics = from.rows::<Metrics>();
        let audited = audited(from, &metrics);
        let compiled: Vec<&Audited<'_>> = audited.iter().filter(|cell| cell.compiles()).collect();
        let mut keys = Vec::new();
        for cell in &compiled {
            let key = (&cell.group.cell.session, cell.group.mode);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let rows = keys.into_iter().map(|(session, mode)| {
            let of_key = |cell: &&&Audited<'_>| cell.group.cell.session == *session && cell.group.mode == mode;
            let cells: Vec<&Audited<'_>> = compiled.iter().filter(of_key).copied().collect();
            let loads: Vec<&LoadRecord> = from.recording.loads().filter(|load| load.session == *session).collect();
            let steps = loads.iter().flat_map(|load| &load.compiled).flat_map(|step| &step.phases);
            let steps: Vec<&CompileEvidence> = steps.filter(|phase| phase.phase.mode() == mode).collect();
            let began = |load: &&&LoadRecord| load.status.is_ok() || !load.compiled.is_empty();
            row(&cells, loads.iter().filter(began).count(), &steps)
        });
        rows.collect()
    }
}

fn row(cells: &[&Audited<'_>], n_loads: usize, steps: &[&CompileEvidence]) -> CompileGraphsRow {
    let group = &cells[0].group;
    let calls: Vec<AuditedCall<'_>> = cells.iter().flat_map(|cell| &cell.calls).copied().collect();
    let in_steps: Tally = steps.iter().map(|&evidence| Tally::from(evidence)).sum();
    let in_calls: Tally = calls.iter().map(AuditedCall::tally).sum();
    let in_timed: Tally = calls.iter().filter(|call| call.is_timed()).map(AuditedCall::tally).sum();
    let everywhere = in_steps + in_calls;
    let evidence = steps.iter().copied().chain(calls.iter().map(|call| call.evidence));
    let shapes: BTreeSet<(u32, u32)> = calls.iter().map(shape).collect();
    CompileGraphsRow {
        backend: group.cell.session.backend.clone(),
        model: group.cell.session.model.clone(),
        mode: group.mode,
        backend_requested: cells[0].requested().to_owned(),
        n_loads,
        n_shapes: shapes.len(),
        unique_graphs: everywhere.unique_graphs,
        unique_graphs_per_load: everywhere.unique_graphs as f64 / n_loads.max(1) as f64,
        graph_breaks: everywhere.graph_breaks,
        recompiles_while_compiling: in_steps.recompiles,
        recompiles_in_calls: in_calls.recompiles,
        recompiles_in_timed_calls: in_timed.recompiles,
        guard_failures: everywhere.guard_failures,
        compile_ms: evidence.map(|evidence| evidence.compile_ns.as_ms()).sum(),
    }
}

/// What a compiler may make a graph of its own for: rows, and in a prefill its columns.
fn shape(call: &AuditedCall<'_>) -> (u32, u32) {
    let columns = match call.row.mode {
        Mode::Prefill => call.evidence.bucket.or(call.row.prompt_padded()).unwrap_or(0),
        Mode::KvDecode | Mode::E2eKv | Mode::GenerateUncached => 0,
        // A compiler of ours never ran for what another tool timed.
        Mode::Ttft | Mode::AfterFirst | Mode::Request | Mode::Whole => 0,
    };
    (call.row.key.batch, columns)
}
