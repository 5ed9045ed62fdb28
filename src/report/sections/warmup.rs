//! How an answer's time divides, and what the first calls and the loads cost.

use crate::analysis::{DecodeFractionRow, LoadRow, WarmupRow};
use crate::report::chart::{self, Ratio, Ratios, Reference, Share, Shares};
use crate::report::document::{Block, Column, Section, Table, Text};
use crate::report::format::{self, ABSENT};
use crate::terms::Mode;

use super::names::{Names, mode};
use super::{ROWS, ReportedRun, strongest};

/// Above this ratio METHOD calls for a pool of warm engines.
const WARM_POOL: f64 = 10.0;

pub(super) fn section(run: &ReportedRun<'_>, names: &Names) -> Section {
    let mut blocks = Vec::new();
    for backend in names.backends() {
        blocks.extend(decode_share(run, names, backend));
    }
    for backend in names.backends() {
        for timed in [Mode::Prefill, Mode::KvDecode, Mode::GenerateUncached] {
            blocks.extend(ratios(run, names, backend, timed));
        }
    }
    if run.tables.warmup_summary.is_empty() {
        blocks.push(Block::Note("No cell has both warmup calls and timed ones, so there is no warmup ratio.".into()));
    } else {
        blocks.push(summary(run, names));
    }
    blocks.push(loads(run));
    Section { id: "warmup", title: "Where the time goes, and what a start costs".to_owned(), blocks }
}

/// What a shortened chart leaves out.
fn shown(all: usize, what: &str) -> String {
    if all > ROWS { format!(" Shown are {ROWS} of {all} cells: {what}.") } else { String::new() }
}

fn decode_share(run: &ReportedRun<'_>, names: &Names, backend: &str) -> Option<Block> {
    let all: Vec<&DecodeFractionRow> = run.tables.decode_fraction.iter().filter(|row| row.backend == backend).collect();
    if all.is_empty() {
        return None;
    }
    let rows = strongest(&all, ROWS, |row| -row.decode_fraction);
    let share = |row: &&&DecodeFractionRow| Share {
        name: names.cell(&row.model, &row.scenario, row.batch, row.gen_tokens),
        decode_fraction: row.decode_fraction,
    };
    let data =
        Shares { title: format!("Decode's share of a request on {backend}"), rows: rows.iter().map(share).collect() };
    let caption = Text::plain("Median over calls of decode time ÷ (prefill + decode), from ")
        .code("analysis/decode_fraction.csv")
        .and(format!(".{}", shown(all.len(), "those with the smallest share")));
    Some(Block::figure(&names.figure("decode_share", backend), caption, chart::shares(&data)))
}

fn ratios(run: &ReportedRun<'_>, names: &Names, backend: &str, timed: Mode) -> Option<Block> {
    let of = |row: &&WarmupRow| row.backend == backend && row.mode == timed && row.ratio.is_some();
    let all: Vec<&WarmupRow> = run.tables.warmup_effect.iter().filter(of).collect();
    if all.is_empty() {
        return None;
    }
    let rows = strongest(&all, ROWS, |row| row.ratio.unwrap_or_default());
    let ratio = |row: &&&WarmupRow| {
        Some(Ratio {
            name: names.cell(&row.model, &row.scenario, row.batch, row.gen_tokens),
            ratio: row.ratio?,
            interval: None,
        })
    };
    let mut references = vec![Reference { ratio: 1.0, label: "as fast as timed".to_owned() }];
    if all.iter().any(|row| row.ratio > Some(WARM_POOL)) {
        references.push(Reference { ratio: WARM_POOL, label: "warm pool needed".to_owned() });
    }
    let data = Ratios {
        title: format!("Warmup ratio: {} on {backend}", mode(timed).to_lowercase()),
        x_name: "median(cold + warmup) ÷ median(timed)".to_owned(),
        references,
        rows: rows.iter().filter_map(ratio).collect(),
    };
    let few = all.iter().map(|row| row.n_warmup).min().unwrap_or(0);
    let caption =
        Text::plain(format!("From as few as {few} cold and warmup calls per cell: read as orders of magnitude. From "))
            .code("analysis/warmup_effect.csv")
            .and(format!(".{}", shown(all.len(), "those with the largest ratio")));
    Some(Block::figure(&names.figure(&format!("warmup_{timed}"), backend), caption, chart::ratios(&data)))
}

fn summary(run: &ReportedRun<'_>, names: &Names) -> Block {
    let columns = vec![
        Column::words("backend"),
        Column::words("mode"),
        Column::numbers("cells"),
        Column::numbers("median ratio"),
        Column::numbers("p95"),
        Column::numbers("largest"),
        Column::numbers("median difference (ms)"),
        Column::numbers("p95"),
        Column::numbers("largest"),
    ];
    let rows = run.tables.warmup_summary.iter().map(|row| {
        vec![
            names.engine(&row.backend, row.dtype).into(),
            mode(row.mode).into(),
            row.n_cells.to_string().into(),
            format::ratio(row.ratio_median).into(),
            format::ratio(row.ratio_p95).into(),
            format::ratio(row.ratio_max).into(),
            format::ms(row.delta_median_ms).into(),
            format::ms(row.delta_p95_ms).into(),
            format::ms(row.delta_max_ms).into(),
        ]
    });
    let caption = Text::plain("Warmup over the cells of a backend and mode; a p95 needs 20 cells. From ")
        .code("analysis/warmup_summary.csv")
        .and(".");
    Block::Table(Table { caption, columns, rows: rows.collect() })
}

fn loads(run: &ReportedRun<'_>) -> Block {
    let all: Vec<&LoadRow> = run.tables.load_breakdown.iter().collect();
    let columns = vec![
        Column::words("model"),
        Column::words("backend"),
        Column::words("regime"),
        Column::numbers("load (ms)"),
        Column::words("of which (ms)"),
        Column::numbers("first prefill (ms)"),
        Column::numbers("warm (ms)"),
        Column::numbers("cold ÷ warm"),
        Column::numbers("memory grown (MiB)"),
        Column::words("outcome"),
    ];
    let parts = |index: u32| {
        let parts = run.tables.load_parts.iter().filter(|part| part.load_index == index);
        let parts: Vec<String> = parts.map(|part| format!("{} {}", part.part, format::ms(part.duration_ms))).collect();
        if parts.is_empty() { ABSENT.to_owned() } else { parts.join(", ") }
    };
    let rows = strongest(&all, ROWS, |row| row.duration_ms).into_iter().map(|row| {
        vec![
            row.model.as_str().into(),
            row.backend.as_str().into(),
            row.regime.as_str().replace('_', " ").into(),
            format::ms(row.duration_ms).into(),
            parts(row.load_index).into(),
            format::ms(row.first_call_ms).into(),
            format::ms(row.warm_call_ms).into(),
            format::ratio(row.cold_start_ratio).into(),
            format::fixed(row.host_rss_growth_bytes.map(|bytes| bytes as f64 / f64::from(1 << 20)), 1).into(),
            row.degraded_kind.map_or_else(|| "ok".to_owned(), |kind| format!("{kind}: {}", detail(row))).into(),
        ]
    });
    let rows: Vec<Vec<Text>> = rows.collect();
    let slowest =
        if all.len() > ROWS { format!(" Shown are the {ROWS} longest of {}.", all.len()) } else { String::new() };
    let caption = Text::plain(
        "Loads: from the request for a model until it can answer; the first call comes on top. Cold ÷ warm is both \
             together against the same phase once everything is warm. From ",
    )
    .code("analysis/load_breakdown.csv")
    .and(format!(".{slowest}"));
    Block::Table(Table { caption, columns, rows })
}

fn detail(row: &LoadRow) -> &str {
    row.detail.as_deref().unwrap_or("no detail")
}
