//! What was asked of a compiler, what proves that it ran, and whether it paid.

use crate::analysis::{CacheState, CompileAuditRow, CompileOutcomeRow, Verdict};
use crate::record::CallRecord;
use crate::report::chart::{self, Order, OrderCall, OrderSeries};
use crate::report::document::{Block, Column, Finding, Section, Standing, Table, Text};
use crate::report::format::{self, ABSENT};
use crate::terms::{Mode, Role};

use super::names::{Names, counted, mode};
use super::{ROWS, ReportedRun, strongest};

/// The modes that can be compiled.
const MODES: [Mode; 3] = [Mode::Prefill, Mode::KvDecode, Mode::GenerateUncached];

/// `None`: no call asked for a compiler.
pub(super) fn section(run: &ReportedRun<'_>, names: &Names) -> Option<Section> {
    if run.tables.compile_audit.is_empty() && run.tables.compile_steps.is_empty() {
        return None;
    }
    let intro = "A row counts as compiled only if every call to the model ran compiled code: executions are counted \
                 against calls. Compiling is a phase of its own, before the first call, unless a backend was told to \
                 compile inside its calls; then the time is in the row and the recompile is counted. Prefill and \
                 decode are judged apart, each against the same cell uncompiled.";
    let mut blocks = vec![Block::Paragraph(intro.into()), outcomes(run, names), graphs(run)];
    for timed in MODES {
        for backend in names.backends() {
            blocks.extend(order(run, names, backend, timed));
        }
    }
    blocks.push(audit(run, names));
    blocks.extend(failures(run));
    Some(Section { id: "compile", title: "What compiling did".to_owned(), blocks })
}

/// One finding per backend and mode that asked for a compiler.
pub(super) fn findings(run: &ReportedRun<'_>, names: &Names) -> Vec<Finding> {
    let timed = run.tables.compile_outcome.iter().filter(|row| row.mode != Mode::E2eKv);
    timed.map(|row| finding(row, names)).collect()
}

fn finding(row: &CompileOutcomeRow, names: &Names) -> Finding {
    let engine = names.engine(&row.backend, row.dtype);
    let question = format!("Compiling {} on {engine}", mode(row.mode).to_lowercase());
    let reference = row.reference.as_deref().unwrap_or("nothing");
    let times = format::interval(row.ratio, row.ratio_low.zip(row.ratio_high));
    let (standing, answer) = match row.verdict {
        Verdict::Faster => {
            (Standing::Holds, Text::plain("Faster: ").strong(format!("{times} times")).and(format!(" {reference}'s.")))
        }
        Verdict::Slower => {
            (Standing::Holds, Text::plain("Slower: ").strong(format!("{times} times")).and(format!(" {reference}'s.")))
        }
        Verdict::NotResolved => {
            (Standing::Caution, Text::plain("Not resolved: ").strong(format!("{times} times")).and(" includes 1."))
        }
        Verdict::NoReference => {
            (Standing::Withheld, "Nothing to compare with: no backend ran the same cells eagerly.".into())
        }
        Verdict::NotProven => {
            let missing = counted(row.n_cells - row.n_proven, "cell");
            (
                Standing::Withheld,
                Text::plain("Withheld: ").strong(format!("{missing} not proven to have run compiled")).and("."),
            )
        }
    };
    let mut grounds = format!(
        "{} of {} faster, {} slower; {} s compiling, {}",
        row.n_faster,
        counted(row.n_compared, "cell"),
        row.n_slower,
        format::ms(row.compile_ms / 1e3),
        match row.cache {
            CacheState::Cold => "its cache cold",
            CacheState::Warm => "its cache warm",
            CacheState::Mixed => "its cache partly warm",
            CacheState::Unknown => "no cache told",
        },
    );
    if let Some(calls) = row.break_even_calls_max {
        grounds.push_str(&format!(", earned back after at most {calls} calls of each cell"));
    }
    if row.recompiles_in_timed_calls > 0 {
        grounds.push_str(&format!("; {} inside timed calls", counted(recompiles(row), "recompile")));
    }
    grounds.push('.');
    Finding { question, standing, answer, grounds: grounds.into() }
}

fn recompiles(row: &CompileOutcomeRow) -> usize {
    usize::try_from(row.recompiles_in_timed_calls).unwrap_or(usize::MAX)
}

fn outcomes(run: &ReportedRun<'_>, names: &Names) -> Block {
    let columns = vec![
        Column::words("backend"),
        Column::words("mode"),
        Column::words("compiler"),
        Column::words("against"),
        Column::numbers("cells proven"),
        Column::numbers("time ÷ uncompiled [95 %]"),
        Column::numbers("p95 ÷"),
        Column::numbers("p99 ÷"),
        Column::numbers("compile (s)"),
        Column::words("cache"),
        Column::numbers("break-even (calls)"),
        Column::words("verdict"),
    ];
    let rows = run.tables.compile_outcome.iter().map(|row| {
        vec![
            names.engine(&row.backend, row.dtype).into(),
            mode(row.mode).into(),
            row.backend_requested.as_str().into(),
            row.reference.as_deref().unwrap_or(ABSENT).into(),
            format!("{} of {}", row.n_proven, row.n_cells).into(),
            format::interval(row.ratio, row.ratio_low.zip(row.ratio_high)).into(),
            format::ratio(row.p95_ratio).into(),
            format::ratio(row.p99_ratio).into(),
            format::fixed(row.compile_ms / 1e3, 1).into(),
            row.cache.as_str().into(),
            format::count(row.break_even_calls_max).into(),
            row.verdict.as_str().into(),
        ]
    });
    let caption = Text::plain(
        "Geometric mean over cells of warm calls, compiled ÷ not; tails are of all timed calls as they came, those that \
         compiled too. Cache: what the compiler found on disk. Break-even: calls of one cell that earn its compile time \
         back, the most of any cell; not told where the cache was filled, since that time is not the compiler's own. From ",
    )
    .code("analysis/compile_outcome.csv")
    .and(".");
    Block::Table(Table { caption, columns, rows: rows.collect() })
}

fn graphs(run: &ReportedRun<'_>) -> Block {
    let columns = vec![
        Column::words("model"),
        Column::words("backend"),
        Column::words("mode"),
        Column::numbers("loads"),
        Column::numbers("shapes"),
        Column::numbers("graphs per load"),
        Column::numbers("graph breaks"),
        Column::numbers("recompiles while compiling"),
        Column::numbers("recompiles in timed calls"),
        Column::numbers("compile (s)"),
    ];
    let rows = run.tables.compile_graphs.iter().map(|row| {
        vec![
            row.model.as_str().into(),
            row.backend.as_str().into(),
            mode(row.mode).into(),
            row.n_loads.to_string().into(),
            row.n_shapes.to_string().into(),
            format::number(row.unique_graphs_per_load, 3).into(),
            row.graph_breaks.to_string().into(),
            row.recompiles_while_compiling.to_string().into(),
            row.recompiles_in_timed_calls.to_string().into(),
            format::fixed(row.compile_ms / 1e3, 1).into(),
        ]
    });
    let caption = Text::plain(
        "Shapes that a phase had to serve, and the graphs they took: as many where every shape has its own, one where a \
         dynamic graph serves all. A recompile is what the engine counts as one: torch, every compilation of a function \
         beyond its first. From ",
    )
    .code("analysis/compile_graphs.csv")
    .and(".");
    Block::Table(Table { caption, columns, rows: rows.collect() })
}

/// Every call of a backend's largest model beside the reference's.
fn order(run: &ReportedRun<'_>, names: &Names, backend: &str, timed: Mode) -> Option<Block> {
    let of = |row: &&CompileAuditRow| row.backend == backend && row.mode == timed;
    let cells: Vec<&CompileAuditRow> = run.tables.compile_audit.iter().filter(of).collect();
    let params = |model: &str| {
        let rows = run.tables.summary.iter().filter(|row| row.model == model);
        rows.filter_map(|row| row.params_millions).fold(0.0, f64::max)
    };
    let largest = cells.iter().map(|cell| cell.model.as_str()).max_by(|a, b| params(a).total_cmp(&params(b)))?;
    let reference = cells.iter().find_map(|cell| cell.reference.as_deref());
    let series = [Some(backend), reference]
        .into_iter()
        .flatten()
        .map(|name| OrderSeries { name: name.to_owned(), calls: calls(run, name, largest, timed) });
    let data = Order {
        title: format!("{} of {largest} on {backend}: every call in order", mode(timed)),
        series: series.collect(),
    };
    let caption = Text::plain(
        "Cold, warmup and timed calls of all scenarios; what was compiled before the first call is not \
                               among them. From ",
    )
    .code("metrics.csv")
    .and(".");
    Some(Block::figure(&names.figure(&format!("compile_order_{timed}"), backend), caption, chart::order(&data)))
}

fn calls(run: &ReportedRun<'_>, backend: &str, model: &str, timed: Mode) -> Vec<OrderCall> {
    let made = run.recording.calls().filter(|call| {
        call.session.backend == backend
            && call.session.model == model
            && call.role != Role::Rewarm
            && call.status.is_ok()
    });
    let times = made.filter_map(|call| {
        let span = call.spans.iter().find(|span| span.phase.mode() == timed)?;
        Some((span.duration().as_ms(), compiled(call, timed)))
    });
    (1..).zip(times).map(|(number, (latency_ms, compiled))| OrderCall { number, latency_ms, compiled }).collect()
}

fn compiled(call: &CallRecord, timed: Mode) -> bool {
    call.compile.iter().any(|evidence| evidence.phase.mode() == timed && evidence.unique_graphs > 0)
}

/// Which column of the audit names the backend.
const BACKEND: usize = 1;

/// The compiler that was asked for, and what ran where that is another or not proven.
fn ran(row: &CompileAuditRow) -> String {
    match row.backend_actual.as_deref() {
        Some(actual) if actual == row.backend_requested => actual.to_owned(),
        actual => format!("{}, ran {}", row.backend_requested, actual.unwrap_or("unproven")),
    }
}

fn audit(run: &ReportedRun<'_>, names: &Names) -> Block {
    let all: Vec<&CompileAuditRow> = run.tables.compile_audit.iter().collect();
    // One backend stands above the table, not in every row of it.
    let one = all.first().map(|row| &row.backend).filter(|first| all.iter().all(|row| row.backend == **first));
    let mut columns = vec![
        Column::words("cell"),
        Column::words("backend"),
        Column::words("mode"),
        Column::words("compiler"),
        Column::numbers("executions of calls"),
        Column::numbers("recompiles"),
        Column::words("cache"),
        Column::numbers("compile (s), graph"),
        Column::numbers("median (ms)"),
        Column::numbers("÷ uncompiled [95 %]"),
        Column::numbers("break-even (calls)"),
    ];
    if one.is_some() {
        columns.remove(BACKEND);
    }
    let rows = strongest(&all, ROWS, |row| row.compile_ms()).into_iter().map(|row| {
        let mut cells: Vec<Text> = vec![
            names.cell(&row.model, &row.scenario, row.batch, row.gen_tokens).into(),
            row.backend.as_str().into(),
            mode(row.mode).into(),
            ran(row).into(),
            format!("{} of {}", row.executions, row.model_calls).into(),
            row.recompiles_in_timed_calls.to_string().into(),
            row.cache.as_str().into(),
            format!("{} {}", format::fixed(row.compile_ms() / 1e3, 1), row.graph.as_str()).into(),
            format::ms(row.median_ms).into(),
            format::interval(row.ratio, row.ratio_low.zip(row.ratio_high)).into(),
            format::count(row.break_even_calls).into(),
        ];
        if one.is_some() {
            cells.remove(BACKEND);
        }
        cells
    });
    let rows: Vec<Vec<Text>> = rows.collect();
    let on = one.map_or_else(String::new, |backend| format!(" on {backend}"));
    let longest = if all.len() > ROWS {
        format!(" Shown are the {ROWS} of {} that compiled longest.", all.len())
    } else {
        String::new()
    };
    let caption = Text::plain(format!(
        "Every cell and mode that asked for a compiler{on}; executions and recompiles are of timed calls. Where a graph is \
         shared, break-even is reckoned with the compile time of all shapes of the session in that mode. From "
    ))
    .code("analysis/compile_audit.csv")
    .and(format!(".{longest}"));
    Block::Table(Table { caption, columns, rows })
}

/// Shapes that could not be compiled, in the compiler's words.
fn failures(run: &ReportedRun<'_>) -> Option<Block> {
    let failed = run.tables.compile_steps.iter().filter(|step| step.degraded_kind.is_some());
    let rows: Vec<Vec<Text>> = failed
        .map(|step| {
            vec![
                step.model.as_str().into(),
                step.backend.as_str().into(),
                format!("{} × {} tokens, {} steps", step.batch, step.prompt_tokens, step.steps).into(),
                step.degraded_kind.map_or(ABSENT, |kind| kind.as_str()).into(),
                step.detail.as_deref().unwrap_or(ABSENT).into(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return None;
    }
    let columns = vec![
        Column::words("model"),
        Column::words("backend"),
        Column::words("shape"),
        Column::words("kind"),
        Column::words("the engine's words"),
    ];
    let caption = Text::plain("Shapes that could not be compiled. From ").code("analysis/compile_steps.csv").and(".");
    Some(Block::Table(Table { caption, columns, rows }))
}
