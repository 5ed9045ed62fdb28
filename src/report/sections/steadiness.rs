//! How calls of one cell differ: spread and drift.

use crate::analysis::{MetricRow, SummaryRow};
use crate::report::chart::{self, Drift, DriftCall, DriftSeries, Spread, SpreadCall, SpreadRow};
use crate::report::document::{Block, Column, Section, Table, Text};
use crate::report::format::{self, ABSENT};
use crate::stats::series::PRIOR_RHO;
use crate::stats::summary::tukey_fences;
use crate::terms::Mode;

use super::names::{Names, mode};
use super::{ROWS, ReportedRun, medians, strongest, trust};

/// Rows of a spread chart where not all cells fit.
const WORST: usize = 12;
/// Cells in the drift chart.
const DRIFTING: usize = 4;

pub(super) fn section(run: &ReportedRun<'_>, names: &Names) -> Section {
    let intro = "Nothing is removed for being an outlier. A cell drifts where its calls change from first to last more \
                 than chance explains, with the level corrected for the number of cells looked at.";
    let mut blocks = vec![Block::Paragraph(intro.into())];
    for backend in names.backends() {
        for timed in [Mode::Prefill, Mode::KvDecode, Mode::GenerateUncached] {
            blocks.extend(spread(run, names, backend, timed));
        }
    }
    blocks.extend(drift(run, names));
    blocks.extend(names.backends().iter().filter_map(|backend| dependence(run, names, backend)));
    if run.tables.summary.is_empty() {
        blocks.push(Block::Note("No call counts, so there is no spread.".into()));
    }
    Section { id: "steadiness", title: "How steady the calls are".to_owned(), blocks }
}

/// The calls behind a summary's row, in call order, with their latency.
fn calls<'a>(run: &ReportedRun<'a>, cell: &SummaryRow) -> Vec<(&'a MetricRow, f64)> {
    run.tables.metrics.iter().filter(|row| cell.pools(row)).filter_map(|row| Some((row, row.latency_ms?))).collect()
}

fn deviation_percent(cell: &SummaryRow, latency_ms: f64) -> f64 {
    (latency_ms / cell.median_ms - 1.0) * 100.0
}

fn spread(run: &ReportedRun<'_>, names: &Names, backend: &str, timed: Mode) -> Option<Block> {
    let all: Vec<&SummaryRow> =
        run.tables.summary.iter().filter(|row| row.backend == backend && row.mode == timed).collect();
    if all.is_empty() {
        return None;
    }
    let most = if all.len() > ROWS { WORST } else { ROWS };
    let cells = strongest(&all, most, |row| row.cv.unwrap_or_default());
    let row = |cell: &&&SummaryRow| {
        let calls = calls(run, cell);
        let latencies: Vec<f64> = calls.iter().map(|(_, latency)| *latency).collect();
        let fences = tukey_fences(&latencies);
        SpreadRow {
            name: names.cell(&cell.model, &cell.scenario, cell.batch, cell.gen_tokens),
            note: format!("CV {}", format::percent(cell.cv)),
            calls: latencies
                .iter()
                .map(|&latency| SpreadCall {
                    deviation_percent: deviation_percent(cell, latency),
                    outlier: fences.is_some_and(|fences| !fences.contains(latency)),
                })
                .collect(),
        }
    };
    let data = Spread {
        title: format!("{} on {backend}: every timed call", mode(timed)),
        rows: cells.iter().map(row).collect(),
    };
    let choice = if all.len() > ROWS {
        format!("The {WORST} of {} cells with the largest CV. ", all.len())
    } else {
        "Every cell. ".to_owned()
    };
    let caption = Text::plain(format!("{choice}From ")).code("metrics.csv").and(".");
    Some(Block::figure(&names.figure(&format!("spread_{timed}"), backend), caption, chart::spread(&data)))
}

/// The cells in which drift is least likely chance.
fn drift(run: &ReportedRun<'_>, names: &Names) -> Option<Block> {
    let timed = trust::timed(run.tables);
    let tested: Vec<&SummaryRow> = timed.iter().copied().filter(|row| row.drift_p.is_some()).collect();
    let chosen = strongest(&tested, DRIFTING, |row| -row.drift_p.unwrap_or(1.0));
    if chosen.is_empty() {
        return None;
    }
    let drifting = tested.iter().filter(|row| trust::drifts(row, timed.len())).count();
    let series = |cell: &&&SummaryRow| {
        let mut name = names.cell(&cell.model, &cell.scenario, cell.batch, cell.gen_tokens);
        name = format!("{name} · {}", mode(cell.mode).to_lowercase());
        if names.several_backends() {
            name = format!("{name} · {}", cell.backend);
        }
        let call = |(row, latency): &(&MetricRow, f64)| DriftCall {
            call_idx: u64::from(row.call_idx),
            deviation_percent: deviation_percent(cell, *latency),
        };
        DriftSeries { name, calls: calls(run, cell).iter().map(call).collect() }
    };
    let data = Drift { title: "Drift: the likeliest cells".to_owned(), series: chosen.iter().map(series).collect() };
    let changes: Vec<String> =
        chosen.iter().map(|row| format::change_percent(row.drift_relative.map(|share| share * 100.0))).collect();
    let caption = format!(
        "{drifting} of {} medians come from calls that drift. Shown are those with the smallest p; fitted change from \
         first call to last, in the legend's order: {}.",
        timed.len(),
        changes.join(", ")
    );
    Some(Block::figure("drift", caption.into(), chart::drift(&data)))
}

/// How far calls vary and depend on the one before: what the intervals rest on. `None`: the backend has no cell.
fn dependence(run: &ReportedRun<'_>, names: &Names, backend: &str) -> Option<Block> {
    let timed = trust::timed(run.tables);
    let cells: Vec<&SummaryRow> = timed.iter().copied().filter(|row| row.backend == backend).collect();
    let mut columns = medians::cell_columns(names);
    columns.extend([
        Column::words("mode"),
        Column::numbers("n"),
        Column::numbers("effective n"),
        Column::numbers("lag-1 autocorrelation"),
        Column::numbers("CV"),
        Column::numbers("mean ÷ median"),
        Column::numbers("first to last (p)"),
    ]);
    let line = |row: &&SummaryRow| {
        let drift = row.drift_relative.zip(row.drift_p).map(|(share, p)| {
            let drifts = if trust::drifts(row, timed.len()) { ", drifts" } else { "" };
            format!("{} ({}{drifts})", format::change_percent(share * 100.0), format::p_value(p))
        });
        let mut line = medians::cell(names, row);
        line.extend([
            mode(row.mode).into(),
            row.n.to_string().into(),
            format::fixed(row.n_effective, 1).into(),
            format::fixed(row.rho1, 2).into(),
            format::percent(row.cv).into(),
            format::fixed(row.mean_over_median, 3).into(),
            drift.unwrap_or_else(|| ABSENT.to_owned()).into(),
        ]);
        line
    };
    let on = if names.several_backends() { format!(" on {backend}") } else { String::new() };
    let caption = Text::plain(format!(
        "How far calls vary and depend on the one before{on}. Effective n is how many independent calls they are worth. It \
         reckons with an autocorrelation that is never below 0 and, since few calls tell little about it, drawn towards \
         {PRIOR_RHO}; the one found stands beside it. CV is the coefficient of variation. From "
    ))
    .code("analysis/summary_by_model_backend_mode.csv")
    .and(".");
    let rows: Vec<_> = cells.iter().map(line).collect();
    (!rows.is_empty()).then_some(Block::Table(Table { caption, columns, rows }))
}
