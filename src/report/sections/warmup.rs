//! How an answer's time divides, and what the first calls and the loads cost.

mod loads;

use crate::analysis::{DecodeFractionRow, WarmupRow};
use crate::report::chart::{self, Ratio, Ratios, Reference, Share, Shares};
use crate::report::document::{Block, Section, Table, Text};
use crate::report::format;
use crate::terms::Mode;

use super::names::{Names, mode};
use super::{MOST_ROWS, ReportedRun, strongest};

/// Above this ratio METHOD calls for a pool of warm engines.
const WARM_POOL: f64 = 10.0;

pub(super) fn section(run: &ReportedRun<'_>, names: &Names) -> Option<Section> {
    let mut blocks = Vec::new();
    for backend in names.backends() {
        blocks.extend(decode_share(run, names, backend));
    }
    for timed in [Mode::Prefill, Mode::KvDecode, Mode::GenerateUncached] {
        blocks.extend(names.backends().iter().filter_map(|backend| ratios(run, names, backend, timed)));
    }
    if run.tables.warmup_summary.is_empty() {
        blocks.push(Block::Note("No cell has both warmup calls and timed ones, so there is no warmup ratio.".into()));
    } else {
        blocks.push(summary(run, names));
    }
    blocks.push(loads::table(run));
    Some(Section { id: "warmup", title: "Where the time goes, and what a start costs".to_owned(), blocks })
}

/// What a shortened chart leaves out.
fn shortened(cells: usize, chosen: &str) -> String {
    if cells > MOST_ROWS { format!(" Shown are {MOST_ROWS} of {cells} cells: {chosen}.") } else { String::new() }
}

fn decode_share(run: &ReportedRun<'_>, names: &Names, backend: &str) -> Option<Block> {
    let cells: Vec<&DecodeFractionRow> =
        run.tables.decode_fraction.iter().filter(|row| row.key.backend == backend).collect();
    if cells.is_empty() {
        return None;
    }
    let shown = strongest(&cells, MOST_ROWS, |row| -row.decode_fraction);
    let share = |row: &&&DecodeFractionRow| Share {
        name: names.cell(&row.key.model, &row.key.scenario, row.key.batch, row.key.gen_tokens),
        decode_fraction: row.decode_fraction,
    };
    let data =
        Shares { title: format!("Decode's share of a request on {backend}"), rows: shown.iter().map(share).collect() };
    let caption = Text::plain("Median over calls of decode time ÷ (prefill + decode), from ")
        .code("analysis/decode_fraction.csv")
        .and(format!(".{}", shortened(cells.len(), "those with the smallest share")));
    Some(Block::figure(&names.figure("decode_share", backend), caption, chart::shares(&data)))
}

fn ratios(run: &ReportedRun<'_>, names: &Names, backend: &str, timed: Mode) -> Option<Block> {
    let with_ratio = |row: &&WarmupRow| row.key.backend == backend && row.mode == timed && row.ratio.is_some();
    let cells: Vec<&WarmupRow> = run.tables.warmup_effect.iter().filter(with_ratio).collect();
    let fewest = cells.iter().map(|row| row.n_warmup).min()?;
    let shown = strongest(&cells, MOST_ROWS, |row| row.ratio.unwrap_or_default());
    let ratio = |row: &&&WarmupRow| {
        let name = names.cell(&row.key.model, &row.key.scenario, row.key.batch, row.key.gen_tokens);
        Some(Ratio { name, ratio: row.ratio?, interval: None, is_mean: false })
    };
    let mut references = vec![Reference { ratio: 1.0, label: "as fast as timed".to_owned() }];
    if cells.iter().any(|row| row.ratio > Some(WARM_POOL)) {
        references.push(Reference { ratio: WARM_POOL, label: "warm pool needed".to_owned() });
    }
    let data = Ratios {
        title: format!("Warmup ratio: {} on {backend}", mode(timed).to_lowercase()),
        x_name: "median(cold + warmup) ÷ median(timed)".to_owned(),
        references,
        rows: shown.iter().filter_map(ratio).collect(),
        // Of every backend, so that their charts are on one scale.
        reach: run.tables.warmup_effect.iter().filter(|row| row.mode == timed).filter_map(|row| row.ratio).collect(),
    };
    let caption = Text::plain(format!(
        "From as few as {fewest} cold and warmup calls per cell: read as orders of magnitude. From "
    ))
    .code("analysis/warmup_effect.csv")
    .and(format!(".{}", shortened(cells.len(), "those with the largest ratio")));
    Some(Block::figure(&names.figure(&format!("warmup_{timed}"), backend), caption, chart::ratios(&data)))
}

fn summary(run: &ReportedRun<'_>, names: &Names) -> Block {
    let caption = Text::plain("Warmup over the cells of a backend and mode; a p95 needs 20 cells. From ")
        .code("analysis/warmup_summary.csv")
        .and(".");
    Table::of(&run.tables.warmup_summary)
        .words("backend", |row| names.engine(&row.backend, row.dtype))
        .words("mode", |row| mode(row.mode))
        .count("cells", |row| row.n_cells)
        .number("median ratio", "", |row| format::ratio(row.ratio_median))
        .number("p95", "", |row| format::ratio(row.ratio_p95))
        .number("largest", "", |row| format::ratio(row.ratio_max))
        .number("median difference", "ms", |row| format::ms(row.delta_median_ms))
        .number("p95", "", |row| format::ms(row.delta_p95_ms))
        .number("largest", "", |row| format::ms(row.delta_max_ms))
        .captioned(caption)
        .into()
}
