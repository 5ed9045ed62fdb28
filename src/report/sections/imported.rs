//! Where imported figures come from, and what they are.

use std::collections::BTreeMap;

use crate::analysis::{StatedRow, SummaryRow};
use crate::record::Statistic;
use crate::report::document::{Block, Section, Table, Text};
use crate::report::format::{self, ABSENT};
use crate::terms::Mode;

use super::ReportedRun;
use super::names::{Names, mode};
use super::summary::cell_columns;

/// Modes that only imported calls have, in the order of a request.
const MODES: [Mode; 4] = [Mode::Ttft, Mode::AfterFirst, Mode::Request, Mode::Whole];

const INTRO: &str = "Another tool measured this. Its samples were read again and every figure made from them; a figure that the file \
     states and its samples contradict is named below. Nothing proves to us where these calls ran: they are in no fit, aggregate or \
     ranking, and are compared only with imported rows.";

/// `None`: the run is our own.
pub(super) fn section(run: &ReportedRun<'_>, names: &Names) -> Option<Section> {
    let imported = run.manifest.imported.as_ref()?;
    let version = imported.version.as_deref().unwrap_or("not told");
    let tool = Text::plain(format!("Tool: {}, version of what was measured: {version}. ", imported.tool)).and(INTRO);
    let files = Table::of(&imported.files)
        .words("file", |file| file.name.as_str())
        .words("SHA-256", |file| file.sha256.get(..16).unwrap_or(&file.sha256))
        .count("bytes", |file| file.bytes)
        .captioned(Text::plain("The files, each a session of its cells, from ").code("manifest.json").and("."));
    let mut blocks = vec![Block::Paragraph(tool), files.into()];
    if !imported.notes.is_empty() {
        blocks.push(Block::Paragraph(Text::default().strong("To know before the numbers are used")));
        blocks.push(Block::List(imported.notes.iter().map(Text::plain).collect()));
    }
    blocks.extend(MODES.into_iter().filter_map(|timed| table(run, names, timed)));
    blocks.extend(stated(run, names));
    Some(Section { id: "imported", title: "Where these figures come from".to_owned(), blocks })
}

/// Medians of a mode that our own calls do not have. `None`: it was not timed.
fn table(run: &ReportedRun<'_>, names: &Names, timed: Mode) -> Option<Block> {
    let rows: Vec<&SummaryRow> = run.tables.summary.iter().filter(|row| row.mode == timed).collect();
    if rows.is_empty() {
        return None;
    }
    let per_token = rows.iter().any(|row| row.ms_per_token.is_some());
    let percentile = |value: Option<f64>| format::ms(value);
    let table = cell_columns(Table::of(rows), names, |row| row)
        .words("engine", |row| row.key.backend.as_str())
        .count("n", |row| row.n)
        .count("failed", |row| row.n_degraded)
        .number("median", "ms", |row| format::ms(Some(row.median_ms)))
        .interval("location", "", "95\u{a0}%", |row| {
            format::interval(row.location_ms, row.ci_low_ms.zip(row.ci_high_ms))
        })
        .number("95th percentile", "ms", |row| percentile(row.p95_ms))
        .number("99th percentile", "ms", |row| percentile(row.p99_ms))
        .when(per_token, |table| table.number("median", "ms/token", |row| format::ms(row.ms_per_token)))
        .captioned(
            Text::plain(format!("{}, from ", mode(timed))).code("analysis/summary_by_model_backend_mode.csv").and("."),
        );
    Some(table.into())
}

/// Figures without samples. `None`: there are none.
fn stated(run: &ReportedRun<'_>, names: &Names) -> Option<Block> {
    let rows = &run.tables.stated_figures;
    if rows.is_empty() {
        return None;
    }
    let cell = |row: &StatedRow| {
        let key = &row.key;
        names.cell_of_run(&key.backend, &key.model, &key.scenario, key.batch, key.gen_tokens)
    };
    let statistics: BTreeMap<&str, Statistic> = BTreeMap::from([
        ("mean", Statistic::Mean),
        ("mean of rates", Statistic::HarmonicMean),
        ("median", Statistic::Median),
    ]);
    let named = |wanted: Statistic| {
        let found = statistics.iter().find(|(_, statistic)| **statistic == wanted);
        found.map_or(ABSENT, |(name, _)| name)
    };
    let caption = "Stated without samples, so that nothing of it can be checked. Such a figure can be compared only through the interval \
         that follows from what is stated beside it; where the file does not say of how many calls it is, there is none. From ";
    let table = Table::of(rows)
        .words("cell", cell)
        .words("what", |row| mode(row.mode))
        .words("statistic", |row| named(row.statistic))
        .number("value", "ms", |row| format::ms(Some(row.value_ms)))
        .number("sd", "ms", |row| format::ms(row.sd_ms))
        .number("n", "", |row| row.n.map_or_else(|| ABSENT.to_owned(), |n| n.to_string()))
        .interval("interval", "", "95\u{a0}%", |row| {
            format::interval(Some(row.value_ms), row.ci_low_ms.zip(row.ci_high_ms))
        })
        .captioned(Text::plain(caption).code("analysis/stated_figures.csv").and("."));
    Some(table.into())
}
