//! How calls of one cell differ: spread and drift.

use std::collections::HashMap;
use std::sync::Arc;

use crate::analysis::{CellKey, MetricRow, SummaryRow};
use crate::report::chart::{self, Drift, DriftCall, DriftSeries, Spread, SpreadCall, SpreadRow};
use crate::report::document::{Block, Section, Table, Text};
use crate::report::format::{self, ABSENT};
use crate::stats::series::PRIOR_RHO;
use crate::stats::summary::tukey_fences;
use crate::terms::Mode;

use super::findings::{drifts, timed_summaries};
use super::names::{Names, mode};
use super::summary::cell_columns;
use super::{MOST_ROWS, ReportedRun, strongest};

/// Rows of a spread chart where not all cells fit.
const WORST: usize = 12;
/// Cells in the drift chart.
const DRIFTING: usize = 4;

/// What the columns of sessions say.
const OF_SESSIONS: &str = " A session is one load in a fresh engine process: the CV of sessions is what their means differ by \
     beyond what the calls within make of them. The location's interval rests on sessions; effective n then is how many \
     independent sessions it is worth, with what the cells of the backend know of each other.";

pub(super) fn section(run: &ReportedRun<'_>, names: &Names) -> Option<Section> {
    let intro = "Nothing is removed for being an outlier. A cell drifts where its calls change from first to last more \
                 than chance explains, with the level corrected for the number of cells looked at.";
    let mut blocks = vec![Block::Paragraph(intro.into())];
    let calls = Calls::of(run);
    for timed in [Mode::Prefill, Mode::KvDecode, Mode::GenerateUncached] {
        blocks.extend(spreads(run, &calls, names, timed));
    }
    blocks.extend(drift(run, &calls, names));
    blocks.extend(names.backends().iter().filter_map(|backend| dependence(run, names, backend)));
    if run.tables.summary.is_empty() {
        blocks.push(Block::Note("No call counts, so there is no spread.".into()));
    }
    Some(Section { id: "steadiness", title: "How steady the calls are".to_owned(), blocks })
}

/// The calls of every cell and mode, in call order.
#[derive(Default)]
struct Calls<'a> {
    all: Vec<Vec<&'a MetricRow>>,
    /// Where those of a cell and mode are in `all`.
    places: HashMap<(&'a str, Mode), usize>,
}

impl<'a> Calls<'a> {
    fn of(run: &ReportedRun<'a>) -> Self {
        let Self { mut all, mut places } = Self::default();
        // Rows of one cell share their key: a million of them need not look for the cell by name.
        let mut by_key: HashMap<(*const CellKey, Mode), usize> = HashMap::new();
        for row in &run.tables.metrics {
            let find = || {
                *places.entry((row.key.cell_id.as_str(), row.mode)).or_insert_with(|| {
                    all.push(Vec::new());
                    all.len() - 1
                })
            };
            let place = *by_key.entry((Arc::as_ptr(&row.key), row.mode)).or_insert_with(find);
            all[place].push(row);
        }
        Self { all, places }
    }

    /// Those behind a summary's row, with their latency.
    fn behind(&self, cell: &SummaryRow) -> Vec<(&'a MetricRow, f64)> {
        let place = self.places.get(&(cell.key.cell_id.as_str(), cell.mode));
        let own = place.into_iter().flat_map(|&place| &self.all[place]);
        own.filter(|row| cell.pools(row)).filter_map(|row| Some((*row, row.latency_ms?))).collect()
    }
}

fn deviation_percent(cell: &SummaryRow, latency_ms: f64) -> f64 {
    (latency_ms / cell.median_ms - 1.0) * 100.0
}

/// A chart for each backend, all on one scale.
fn spreads(run: &ReportedRun<'_>, calls: &Calls<'_>, names: &Names, timed: Mode) -> Vec<Block> {
    let backends = names.backends().iter();
    let mut charts: Vec<(&str, Spread, Text)> = backends
        .filter_map(|backend| {
            spread(run, calls, names, backend, timed).map(|(data, caption)| (backend.as_str(), data, caption))
        })
        .collect();
    let reach: Vec<f64> = charts.iter().flat_map(|(_, data, _)| chart::spread_reach(data)).collect();
    for (_, data, _) in &mut charts {
        data.reach.clone_from(&reach);
    }
    let figure = |(backend, data, caption): (&str, Spread, Text)| {
        Block::figure(&names.figure(&format!("spread_{timed}"), backend), caption, chart::spread(&data))
    };
    charts.into_iter().map(figure).collect()
}

/// What is drawn of a backend, and what stands below it. `None`: it has no cell in this mode.
fn spread(
    run: &ReportedRun<'_>,
    calls: &Calls<'_>,
    names: &Names,
    backend: &str,
    timed: Mode,
) -> Option<(Spread, Text)> {
    let summary = run.tables.summary.iter();
    let cells: Vec<&SummaryRow> = summary.filter(|row| row.key.backend == backend && row.mode == timed).collect();
    if cells.is_empty() {
        return None;
    }
    let too_many = cells.len() > MOST_ROWS;
    let most = if too_many { WORST } else { MOST_ROWS };
    let shown = strongest(&cells, most, |row| row.cv.unwrap_or_default());
    let data = Spread {
        title: format!("{} on {backend}: every timed call", mode(timed)),
        rows: shown.into_iter().map(|cell| spread_row(calls, names, cell)).collect(),
        reach: Vec::new(),
    };
    let choice = if too_many {
        format!("The {WORST} of {} cells with the largest CV. ", cells.len())
    } else {
        "Every cell. ".to_owned()
    };
    Some((data, Text::plain(format!("{choice}From ")).code("metrics.csv").and(".")))
}

fn spread_row(calls: &Calls<'_>, names: &Names, cell: &SummaryRow) -> SpreadRow {
    let latencies: Vec<f64> = calls.behind(cell).iter().map(|(_, latency)| *latency).collect();
    let fences = tukey_fences(&latencies);
    let call = |&latency: &f64| SpreadCall {
        deviation_percent: deviation_percent(cell, latency),
        outlier: fences.is_some_and(|fences| !fences.contains(latency)),
    };
    SpreadRow {
        name: names.cell(&cell.key.model, &cell.key.scenario, cell.key.batch, cell.key.gen_tokens),
        note: format!("CV {}", format::percent(cell.cv)),
        calls: latencies.iter().map(call).collect(),
    }
}

/// The cells in which drift is least likely chance. `None`: none was tested.
fn drift(run: &ReportedRun<'_>, calls: &Calls<'_>, names: &Names) -> Option<Block> {
    let timed = timed_summaries(run.tables);
    let tested: Vec<&SummaryRow> = timed.iter().copied().filter(|row| row.drift_p.is_some()).collect();
    let likeliest = strongest(&tested, DRIFTING, |row| -row.drift_p.unwrap_or(1.0));
    if likeliest.is_empty() {
        return None;
    }
    let drifting = tested.iter().filter(|row| drifts(row, timed.len())).count();
    let changes: Vec<String> =
        likeliest.iter().map(|row| format::change_percent(row.drift_relative.map(|share| share * 100.0))).collect();
    let data = Drift {
        title: "Drift: the likeliest cells".to_owned(),
        series: likeliest.into_iter().map(|cell| drift_series(calls, names, cell)).collect(),
    };
    let caption = format!(
        "{drifting} of {} medians come from calls that drift. Shown are those with the smallest p; fitted change from \
         first call to last, in the legend's order: {}.",
        timed.len(),
        changes.join(", ")
    );
    Some(Block::figure("drift", caption.into(), chart::drift(&data)))
}

fn drift_series(calls: &Calls<'_>, names: &Names, cell: &SummaryRow) -> DriftSeries {
    let mut name = names.cell(&cell.key.model, &cell.key.scenario, cell.key.batch, cell.key.gen_tokens);
    name = format!("{name} · {}", mode(cell.mode).to_lowercase());
    if names.several_backends() {
        name = format!("{name} · {}", cell.key.backend);
    }
    let call = |(row, latency): &(&MetricRow, f64)| DriftCall {
        call_idx: u64::from(row.call_idx),
        deviation_percent: deviation_percent(cell, *latency),
    };
    DriftSeries { name, calls: calls.behind(cell).iter().map(call).collect() }
}

/// How far calls vary and depend on the one before: what the intervals rest on. `None`: the backend has no cell.
fn dependence(run: &ReportedRun<'_>, names: &Names, backend: &str) -> Option<Block> {
    let timed = timed_summaries(run.tables);
    let cells: Vec<&SummaryRow> = timed.iter().copied().filter(|row| row.key.backend == backend).collect();
    if cells.is_empty() {
        return None;
    }
    let on = names.on(backend);
    let several = run.plan.session_count.is_several();
    let of_sessions = if several { OF_SESSIONS } else { "" };
    let caption = Text::plain(format!(
        "How far calls vary and depend on the one before{on}. Effective n is how many independent calls they are worth. It \
         reckons with an autocorrelation that is never below 0 and, since few calls tell little about it, drawn towards \
         {PRIOR_RHO}; the one found stands beside it. CV is the coefficient of variation.{of_sessions} From "
    ))
    .code("analysis/summary_by_model_backend_mode.csv")
    .and(".");
    let table = cell_columns(Table::of(cells), names, |row| row)
        .words("mode", |row| mode(row.mode))
        .count("n", |row| row.n)
        .number("effective n", "", |row| format::fixed(row.n_effective, 1))
        .number("lag-1 autocorrelation", "", |row| format::fixed(row.rho1, 2))
        .number("CV", "", |row| format::percent(row.cv))
        .when(several, |table| {
            table
                .count("sessions", |row| row.sessions)
                .number("CV within sessions", "", |row| format::percent(row.cv_within))
                .number("CV of sessions", "", |row| format::percent(row.cv_between))
        })
        .number("mean ÷ median", "", |row| format::fixed(row.mean_over_median, 3))
        .number("first to last", "p", |row| drift_with_p(row, timed.len()))
        .captioned(caption);
    Some(table.into())
}

/// The fitted change from first call to last, with its p and whether that is called a drift.
fn drift_with_p(row: &SummaryRow, series: usize) -> String {
    let Some((change, p)) = row.drift_relative.zip(row.drift_p) else { return ABSENT.to_owned() };
    let verdict = if drifts(row, series) { ", drifts" } else { "" };
    format!("{} ({}{verdict})", format::change_percent(change * 100.0), format::p_value(p))
}
