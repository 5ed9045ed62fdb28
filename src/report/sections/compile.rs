//! What was asked of a compiler, what proves that it ran, and whether it paid.

use std::collections::HashMap;

use crate::analysis::CompileAuditRow;
use crate::record::CallRecord;
use crate::report::chart::{self, Sequence, SequenceCall, SequenceSeries};
use crate::report::document::{Block, Section, Table, Text};
use crate::report::format::{self, ABSENT};
use crate::terms::{Mode, Role};

use super::names::{Names, mode};
use super::{MOST_ROWS, ReportedRun, strongest};

/// The modes that can be compiled.
const MODES: [Mode; 3] = [Mode::Prefill, Mode::KvDecode, Mode::GenerateUncached];

const INTRO: &str = "A row counts as compiled only if every call to the model ran compiled code: executions are counted \
                     against calls. Compiling is a phase of its own, before the first call, unless a backend was told to \
                     compile inside its calls; then the time is in the row and the recompile is counted. Prefill and \
                     decode are judged apart, each against the same cell uncompiled.";

/// `None`: no call asked for a compiler.
pub(super) fn section(run: &ReportedRun<'_>, names: &Names) -> Option<Section> {
    if run.tables.compile_audit.is_empty() && run.tables.compile_steps.is_empty() {
        return None;
    }
    let mut blocks = vec![Block::Paragraph(INTRO.into()), outcomes(run, names), graphs(run)];
    for timed in MODES {
        for backend in names.backends() {
            blocks.extend(every_call(run, names, backend, timed));
        }
    }
    blocks.push(audit(run, names));
    blocks.extend(failures(run));
    Some(Section { id: "compile", title: "What compiling did".to_owned(), blocks })
}

fn outcomes(run: &ReportedRun<'_>, names: &Names) -> Block {
    let caption = Text::plain(
        "Geometric mean over cells of warm calls, compiled ÷ not; tails are of all timed calls as they came, those that \
         compiled too. Cache: what the compiler found on disk. Break-even: calls of one cell that earn its compile time \
         back, the most of any cell; not told where the cache was filled, since that time is not the compiler's own. From ",
    )
    .code("analysis/compile_outcome.csv")
    .and(".");
    Table::of(&run.tables.compile_outcome)
        .words("backend", |row| names.engine(&row.backend, row.dtype))
        .words("mode", |row| mode(row.mode))
        .words("compiler", |row| row.backend_requested.as_str())
        .words("against", |row| row.reference.as_deref().unwrap_or(ABSENT))
        .number("cells proven", "", |row| format!("{} of {}", row.n_proven, row.n_cells))
        .interval("time ÷ uncompiled", "", "95 %", |row| {
            format::interval(row.ratio, row.ratio_low.zip(row.ratio_high))
        })
        .number("p95 ÷", "", |row| format::ratio(row.p95_ratio))
        .number("p99 ÷", "", |row| format::ratio(row.p99_ratio))
        .number("compile", "s", |row| format::fixed(row.compile_ms / 1e3, 1))
        .words("cache", |row| row.cache.as_str())
        .number("break-even", "calls", |row| format::count(row.break_even_calls_max))
        .words("verdict", |row| row.verdict.as_str())
        .captioned(caption)
        .into()
}

fn graphs(run: &ReportedRun<'_>) -> Block {
    let caption = Text::plain(
        "Shapes that a phase had to serve, and the graphs they took: as many where every shape has its own, one where a \
         dynamic graph serves all. A recompile is what the engine counts as one: torch, every compilation of a function \
         beyond its first. From ",
    )
    .code("analysis/compile_graphs.csv")
    .and(".");
    Table::of(&run.tables.compile_graphs)
        .words("model", |row| row.model.as_str())
        .words("backend", |row| row.backend.as_str())
        .words("mode", |row| mode(row.mode))
        .count("loads", |row| row.n_loads)
        .count("shapes", |row| row.n_shapes)
        .number("graphs per load", "", |row| format::number(row.unique_graphs_per_load, 3))
        .count("graph breaks", |row| row.graph_breaks)
        .count("recompiles while compiling", |row| row.recompiles_while_compiling)
        .count("recompiles in timed calls", |row| row.recompiles_in_timed_calls)
        .number("compile", "s", |row| format::fixed(row.compile_ms / 1e3, 1))
        .captioned(caption)
        .into()
}

/// Every call of a backend's largest model beside the reference's. `None`: the backend compiled nothing in this mode.
fn every_call(run: &ReportedRun<'_>, names: &Names, backend: &str, timed: Mode) -> Option<Block> {
    let audited = run.tables.compile_audit.iter();
    let cells: Vec<&CompileAuditRow> = audited.filter(|row| row.key.backend == backend && row.mode == timed).collect();
    let models = cells.iter().map(|cell| cell.key.model.as_str());
    let largest = models.max_by(|a, b| params_millions(run, a).total_cmp(&params_millions(run, b)))?;
    let reference = cells.iter().find_map(|cell| cell.reference.as_deref());
    let series = [Some(backend), reference].into_iter().flatten();
    let data = Sequence {
        title: format!("{} of {largest} on {backend}: every call in order", mode(timed)),
        series: series
            .map(|name| SequenceSeries { name: name.to_owned(), calls: calls(run, name, largest, timed) })
            .collect(),
    };
    let caption = Text::plain(
        "Cold, warmup and timed calls, each divided by the median of its own cell, so that long and short prompts lie on one \
         line; what was compiled before the first call is not among them. From ",
    )
    .code("metrics.csv")
    .and(".");
    Some(Block::figure(&names.figure(&format!("compile_order_{timed}"), backend), caption, chart::sequence(&data)))
}

/// Millions of parameters of a model; 0 where no row tells.
fn params_millions(run: &ReportedRun<'_>, model: &str) -> f64 {
    let rows = run.tables.summary.iter().filter(|row| row.key.model == model);
    rows.filter_map(|row| row.architecture.params_millions).fold(0.0, f64::max)
}

fn calls(run: &ReportedRun<'_>, backend: &str, model: &str, timed: Mode) -> Vec<SequenceCall> {
    let made = run.recording.calls().filter(|call| {
        call.session.backend == backend
            && call.session.model == model
            && call.role != Role::Rewarm
            && call.status.is_ok()
    });
    let cells = run.tables.summary.iter().rev().filter(|row| row.mode == timed);
    let medians: HashMap<&str, f64> = cells.map(|row| (row.key.cell_id.as_str(), row.median_ms)).collect();
    let times = made.filter_map(|call| {
        let span = call.spans.iter().find(|span| span.phase.mode() == timed)?;
        let median_ms = medians.get(call.cell_id.0.as_str())?;
        Some((span.duration().as_ms() / median_ms, compiled(call, timed)))
    });
    (1..).zip(times).map(|(number, (of_median, compiled))| SequenceCall { number, of_median, compiled }).collect()
}

fn compiled(call: &CallRecord, timed: Mode) -> bool {
    call.compile.iter().any(|evidence| evidence.phase.mode() == timed && evidence.unique_graphs > 0)
}

/// The compiler that was asked for, and what ran where that is another or not proven.
fn compiler(row: &CompileAuditRow) -> String {
    match row.backend_actual.as_deref() {
        Some(actual) if actual == row.backend_requested => actual.to_owned(),
        actual => format!("{}, ran {}", row.backend_requested, actual.unwrap_or("unproven")),
    }
}

fn audit(run: &ReportedRun<'_>, names: &Names) -> Block {
    let audited = &run.tables.compile_audit;
    // A backend that is the only one stands above the table, not in every row of it.
    let only = audited
        .first()
        .map(|row| &row.key.backend)
        .filter(|first| audited.iter().all(|row| row.key.backend == **first));
    let on = only.map_or_else(String::new, |backend| format!(" on {backend}"));
    let shortened = if audited.len() > MOST_ROWS {
        format!(" Shown are the {MOST_ROWS} of {} that compiled longest.", audited.len())
    } else {
        String::new()
    };
    let caption = Text::plain(format!(
        "Every cell and mode that asked for a compiler{on}; executions and recompiles are of timed calls. Where a graph is \
         shared, break-even is reckoned with the compile time of all shapes of the session in that mode. From "
    ))
    .code("analysis/compile_audit.csv")
    .and(format!(".{shortened}"));
    Table::of(strongest(audited, MOST_ROWS, CompileAuditRow::compile_ms))
        .words("cell", |row| names.cell(&row.key.model, &row.key.scenario, row.key.batch, row.key.gen_tokens))
        .when(only.is_none(), |table| table.words("backend", |row| row.key.backend.as_str()))
        .words("mode", |row| mode(row.mode))
        .words("compiler", compiler)
        .number("executions of calls", "", |row| format!("{} of {}", row.executions, row.model_calls))
        .count("recompiles", |row| row.recompiles_in_timed_calls)
        .words("cache", |row| row.cache.as_str())
        .number("compile (s), graph", "", |row| {
            // A shape that runs another's graph has no time of its own, which is not a time of 0.
            let seconds = Some(row.compile_ms() / 1e3).filter(|_| row.compile_ms_reason.is_none());
            format!("{} {}", format::fixed(seconds, 1), row.graph.as_str())
        })
        .number("median", "ms", |row| format::ms(row.median_ms))
        .interval("÷ uncompiled", "", "95 %", |row| format::interval(row.ratio, row.ratio_low.zip(row.ratio_high)))
        .number("break-even", "calls", |row| format::count(row.break_even_calls))
        .captioned(caption)
        .into()
}

/// Shapes that could not be compiled, in the compiler's words. `None`: all could.
fn failures(run: &ReportedRun<'_>) -> Option<Block> {
    let failed: Vec<_> = run.tables.compile_steps.iter().filter(|step| step.degraded_kind.is_some()).collect();
    if failed.is_empty() {
        return None;
    }
    let caption = Text::plain("Shapes that could not be compiled. From ").code("analysis/compile_steps.csv").and(".");
    let table = Table::of(failed)
        .words("model", |step| step.model.as_str())
        .words("backend", |step| step.backend.as_str())
        .words("shape", |step| format!("{} × {} tokens, {} steps", step.batch, step.prompt_tokens, step.steps))
        .words("kind", |step| step.degraded_kind.map_or(ABSENT, |kind| kind.as_str()))
        .words("the engine's words", |step| step.detail.as_deref().unwrap_or(ABSENT))
        .captioned(caption);
    Some(table.into())
}
