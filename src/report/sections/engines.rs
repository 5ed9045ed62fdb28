//! Engines against each other: which is faster in which phase, and in which cells.

use crate::analysis::aggregate::distinct;
use crate::analysis::{EngineComparisonRow, EngineGroupsRow, EnginePairsRow, Pairing};
use crate::report::chart::{self, Interval, Ratio, Ratios, Reference};
use crate::report::document::{Block, Section, Table, Text};
use crate::report::format::{self, ABSENT};
use crate::terms::Mode;

use super::names::{Names, counted, mode};
use super::{MOST_ROWS, ReportedRun, strongest};

mod ranking;

pub(super) use ranking::{Ranking, Standing, rankings};

const INTRO: &str = "Time of one engine ÷ time of the other, of the same cells with the same weights, from calls that prove where they \
     ran. Where rounds are interleaved each call is set against the other engine's of the same round, so that what slows \
     both cancels; else all calls against all. Where one process of each engine was measured, the interval allows for what the \
     next may differ by. Faster and slower mean by more than 3\u{a0}%, corrected for how many cells are looked at (Holm), and by more than 20\u{a0}µs a step \
     or 100\u{a0}µs a prefill. Same means that the difference is known to be smaller. What each timed region includes stands \
     under what was measured.";

/// `None`: no cell was asked of two engines.
pub(super) fn section(run: &ReportedRun<'_>, names: &Names) -> Option<Section> {
    if run.tables.engine_comparison.is_empty() {
        return None;
    }
    let mut blocks = vec![Block::Paragraph(INTRO.into())];
    blocks.extend(figures(run, names));
    blocks.push(pairs(run, names));
    blocks.extend(cells(run, names));
    blocks.extend(groups(run, names));
    blocks.extend(not_compared(run, names));
    Some(Section { id: "engines", title: "Engines compared".to_owned(), blocks })
}

/// Of every phase the fastest engine against each other one, cell by cell.
fn figures(run: &ReportedRun<'_>, names: &Names) -> Vec<Block> {
    let mut figures = Vec::new();
    for ranking in rankings(run.tables) {
        for standing in &ranking.others {
            figures.push(forest(run, names, &ranking, standing, figures.len() + 1));
        }
    }
    figures
}

fn forest(
    run: &ReportedRun<'_>,
    names: &Names,
    ranking: &Ranking<'_>,
    standing: &Standing<'_>,
    number: usize,
) -> Block {
    let pair = standing.pair;
    let of_pair = |cell: &&EngineComparisonRow| {
        (&cell.backend_a, &cell.backend_b, cell.mode, cell.dtype)
            == (&pair.backend_a, &pair.backend_b, pair.mode, pair.dtype)
            && cell.ratio.is_some()
    };
    let cells: Vec<&EngineComparisonRow> = run.tables.engine_comparison.iter().filter(of_pair).collect();
    let shown = strongest(&cells, MOST_ROWS - 1, |cell| cell.ratio.map_or(0.0, |ratio| ratio.ln().abs()));
    let all = Ratio {
        name: format!("all {}", counted(cells.len(), "cell")),
        ratio: pair.ratio.unwrap_or(f64::NAN),
        interval: bounds(pair.ratio_low, pair.ratio_high),
        is_mean: true,
    };
    let rows = shown.into_iter().filter_map(|cell| {
        let name = names.cell(&cell.model, &cell.scenario, cell.batch, cell.gen_tokens);
        Some(Ratio { name, ratio: cell.ratio?, interval: bounds(cell.ratio_low, cell.ratio_high), is_mean: false })
    });
    let (a, b) = (&pair.backend_a, &pair.backend_b);
    let data = Ratios {
        title: format!("{}: {b} ÷ {a}", mode(pair.mode)),
        x_name: format!("time of {b} ÷ time of {a}"),
        references: vec![Reference { ratio: 1.0, label: "equal".to_owned() }],
        rows: [all].into_iter().chain(rows).collect(),
        reach: reach(run, ranking),
    };
    let left_out = match cells.len() {
        n if n >= MOST_ROWS => format!(" Shown are the {} cells that differ most.", MOST_ROWS - 1),
        _ => String::new(),
    };
    let caption = Text::plain(format!(
        "Left of the line {b} takes less time. Bars are 95\u{a0}% intervals; the diamond is the geometric mean. From "
    ))
    .code("analysis/engine_comparison.csv")
    .and(format!(".{left_out}"));
    Block::figure(&format!("engines_{}_{number}", ranking.mode), caption, chart::ratios(&data))
}

/// Every ratio of the phase's charts, so that these are on one scale.
fn reach(run: &ReportedRun<'_>, ranking: &Ranking<'_>) -> Vec<f64> {
    let drawn = run.tables.engine_comparison.iter().filter(|cell| {
        (cell.mode, cell.dtype) == (ranking.mode, Some(ranking.dtype))
            && [cell.backend_a.as_str(), cell.backend_b.as_str()].contains(&ranking.fastest)
    });
    drawn.flat_map(|cell| [cell.ratio, cell.ratio_low, cell.ratio_high]).flatten().collect()
}

fn bounds(low: Option<f64>, high: Option<f64>) -> Option<Interval> {
    Some(Interval { low: low?, high: high? })
}

fn pairs(run: &ReportedRun<'_>, names: &Names) -> Block {
    let mut compared: Vec<&EnginePairsRow> = run.tables.engine_pairs.iter().filter(|row| row.ratio.is_some()).collect();
    compared.sort_by_key(|row| row.mode);
    let caption = Text::plain(
        "Over all cells of a phase: geometric mean of the cells' ratios. The interval says how well the mean of these very cells is \
         known, not what other cells would give. From ",
    )
    .code("analysis/engine_pairs.csv")
    .and(".");
    Table::of(compared)
        .words("phase", |row| mode(row.mode))
        .words("engine", |row| engine(names, &row.backend_b, row))
        .words("against", |row| engine(names, &row.backend_a, row))
        .words("verdict", |row| Text::default().strong(row.verdict.as_str()))
        .number("cells", "", |row| of_all(row.n_compared, row.n_cells))
        .interval("time ÷ the other's", "", "95\u{a0}%", |row| {
            format::interval(row.ratio, row.ratio_low.zip(row.ratio_high))
        })
        .number("faster, same, slower in", "", |row| format!("{}, {}, {}", row.n_faster, row.n_same, row.n_slower))
        .number("p (Holm)", "", |row| format::p_value(row.p_holm))
        .captioned(caption)
        .into()
}

fn engine(names: &Names, backend: &str, row: &EnginePairsRow) -> String {
    row.dtype.map_or_else(|| backend.to_owned(), |dtype| names.engine(backend, dtype))
}

fn of_all(part: usize, whole: usize) -> String {
    if part == whole { part.to_string() } else { format!("{part} of {whole}") }
}

/// `None`: no cell is compared.
fn cells(run: &ReportedRun<'_>, names: &Names) -> Option<Block> {
    let compared: Vec<&EngineComparisonRow> =
        run.tables.engine_comparison.iter().filter(|row| row.ratio.is_some()).collect();
    if compared.is_empty() {
        return None;
    }
    let shown = strongest(&compared, MOST_ROWS, |row| row.ratio.map_or(0.0, |ratio| ratio.ln().abs()));
    let left_out = match compared.len() {
        n if n > MOST_ROWS => format!(" Shown are the {MOST_ROWS} of {n} that differ most."),
        _ => String::new(),
    };
    let samples =
        if run.plan.session_count.is_several() { "the calls of all sessions" } else { "calls of one process each" };
    let caption = Text::plain(format!(
        "Every cell. The shift is the median of all differences between a call of the one and a call of the other \
         (Hodges-Lehmann). Samples of Welch's test (on logarithms) and of Mann-Whitney's are {samples}, taken \
         as independent; p (Holm) and q (Benjamini-Hochberg) are of the ratio's own t, over all rows. From "
    ))
    .code("analysis/engine_comparison.csv")
    .and(format!(".{left_out}"));
    let several_pairs = distinct_pairs(&compared) > 1;
    let table = Table::of(shown.into_iter().copied())
        .words("cell", |row| names.cell(&row.model, &row.scenario, row.batch, row.gen_tokens))
        .words("phase", |row| mode(row.mode))
        .when(several_pairs, |table| {
            table.words("engine", |row| row.backend_b.as_str()).words("against", |row| row.backend_a.as_str())
        })
        .words("verdict", |row| row.verdict.as_str())
        .words("calls", calls)
        .interval("time ÷ the other's", "", "95\u{a0}%", |row| {
            format::interval(row.ratio, row.ratio_low.zip(row.ratio_high))
        })
        .interval("shift", "ms", "95\u{a0}%", |row| {
            format::interval(row.shift_ms, row.shift_low_ms.zip(row.shift_high_ms))
        })
        .number("Welch p", "", |row| format::p_value(row.welch_p))
        .number("Mann-Whitney p", "", |row| format::p_value(row.mann_whitney_p))
        .number("p (Holm)", "", |row| format::p_value(row.p_holm))
        .number("q", "", |row| format::p_value(row.q))
        .captioned(caption);
    Some(table.into())
}

fn distinct_pairs(rows: &[&EngineComparisonRow]) -> usize {
    let names: Vec<String> = rows.iter().map(|row| format!("{}\n{}", row.backend_a, row.backend_b)).collect();
    distinct(names.iter().map(String::as_str)).len()
}

/// `15 rounds`, `3 sessions`, or `15 and 30` where calls are not paired.
fn calls(row: &EngineComparisonRow) -> String {
    match (row.pairing, row.n_pairs) {
        (Some(Pairing::ByRound), Some(pairs)) => counted(pairs, "round"),
        (Some(Pairing::BySession), Some(pairs)) => counted(pairs, "session"),
        _ => format!("{} and {}", row.n_b, row.n_a),
    }
}

/// `None`: nowhere three engines have a cell in common.
fn groups(run: &ReportedRun<'_>, names: &Names) -> Option<Block> {
    let rows = &run.tables.engine_groups;
    if rows.is_empty() {
        return None;
    }
    let shown = strongest(rows, MOST_ROWS, |row| -row.anova_p.unwrap_or(1.0));
    let left_out = match rows.len() {
        n if n > MOST_ROWS => format!(" Shown are the {MOST_ROWS} of {n} with the smallest p."),
        _ => String::new(),
    };
    let caption = Text::plain(
        "Whether all engines take the same time: analysis of variance of logarithms, and by order alone. With calls as samples it \
         is asked of each cell; with scenarios as samples, as the published reports ask, the scenarios' own differences hide \
         much. From ",
    )
    .code("analysis/engine_groups.csv")
    .and(format!(".{left_out}"));
    let table = Table::of(shown)
        .words("cell", |row| group_name(names, row))
        .words("phase", |row| mode(row.mode))
        .words("samples", |row| format!("{} {}", row.n_samples, row.samples.as_str()))
        .words("engines", |row| row.backends.replace(';', ", "))
        .number("F", "", |row| format::number(row.anova_f, 3))
        .number("p", "", |row| format::p_value(row.anova_p))
        .number("Kruskal-Wallis H", "", |row| format::number(row.kruskal_h, 3))
        .number("p", "", |row| format::p_value(row.kruskal_p))
        .captioned(caption);
    Some(table.into())
}

fn group_name(names: &Names, row: &EngineGroupsRow) -> String {
    names.cell(&row.model, row.scenario.as_deref().unwrap_or("all scenarios"), row.batch, row.gen_tokens)
}

/// Cells that are not compared, by reason. `None`: all are.
fn not_compared(run: &ReportedRun<'_>, names: &Names) -> Option<Block> {
    let rows: Vec<&EngineComparisonRow> =
        run.tables.engine_comparison.iter().filter(|row| row.reason.is_some()).collect();
    if rows.is_empty() {
        return None;
    }
    let reasons = distinct(rows.iter().filter_map(|row| row.reason.as_deref()));
    let line = |reason: &&str| {
        let of: Vec<&&EngineComparisonRow> = rows.iter().filter(|row| row.reason.as_deref() == Some(reason)).collect();
        let first = of.first().map_or_else(
            || ABSENT.to_owned(),
            |row| {
                let cell = names.cell(&row.model, &row.scenario, row.batch, row.gen_tokens);
                format!("{} of {cell}, {} and {}", phase(row.mode), row.backend_a, row.backend_b)
            },
        );
        let more = if of.len() > 1 { format!(" and {} more", of.len() - 1) } else { String::new() };
        Text::from(format!("Not compared: {reason} ({first}{more})."))
    };
    Some(Block::List(reasons.iter().map(line).collect()))
}

fn phase(timed: Mode) -> String {
    mode(timed).to_lowercase()
}
