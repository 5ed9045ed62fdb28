//! What the KV cache takes: in theory, and as engines allocated it.

use crate::analysis::{KvCrossoverRow, KvEmpiricalRow};
use crate::report::document::{Block, Section, Table, Text};
use crate::report::format::{self, ABSENT};

use super::names::{Names, counted};
use super::{MOST_ROWS, ReportedRun, strongest};

pub(super) fn section(run: &ReportedRun<'_>, _: &Names) -> Option<Section> {
    let mut blocks = Vec::new();
    blocks.extend(allocated(&run.tables.kv_memory_empirical));
    blocks.extend(crossover(run));
    (!blocks.is_empty()).then(|| Section { id: "kv-cache", title: "What the KV cache takes".to_owned(), blocks })
}

/// Whether engines allocated what theory says, in a sentence, and every cell where they did not.
fn allocated(rows: &[KvEmpiricalRow]) -> Vec<Block> {
    if rows.is_empty() {
        return Vec::new();
    }
    let known = rows.iter().filter(|row| row.difference.is_some()).count();
    let others: Vec<&KvEmpiricalRow> =
        rows.iter().filter(|row| row.difference.is_some_and(|bytes| bytes != 0)).collect();
    let same = known - others.len();
    let sentence =
        format!("In {same} of {} the engine allocated what theory says, to the byte.", counted(known, "cell"));
    let mut blocks = vec![Block::Paragraph(sentence.into())];
    if others.is_empty() {
        return blocks;
    }
    let shown = strongest(&others, MOST_ROWS, |row| row.difference_relative.unwrap_or_default().abs());
    let left_out = if others.len() > MOST_ROWS { ", those that differ most," } else { "" };
    let caption =
        Text::plain(format!("Cells{left_out} where it is not: blocks, padding or pools of the engine. From "))
            .code("analysis/kv_memory_empirical.csv")
            .and(".");
    let table = Table::of(shown.into_iter().copied())
        .words("backend", |row| row.key.backend.as_str())
        .words("model", |row| row.key.model.as_str())
        .words("scenario", |row| row.key.scenario.as_str())
        .count("batch", |row| row.key.batch)
        .count("tokens held", |row| row.tokens_held)
        .number("theory", "MiB", |row| mib(row.theory_bytes))
        .number("allocated", "MiB", |row| mib(row.allocated_bytes))
        .number("difference", "", |row| format::change_percent(row.difference_relative.map(|share| 100.0 * share)))
        .captioned(caption);
    blocks.push(table.into());
    blocks
}

fn crossover(run: &ReportedRun<'_>) -> Option<Block> {
    let is_loaded = |row: &&KvCrossoverRow| {
        let forms = run.tables.model_architecture.iter().filter(|form| form.model == row.model);
        forms.filter_map(|form| form.dtype).any(|dtype| dtype.as_str() == row.element)
    };
    let rows: Vec<&KvCrossoverRow> = run.tables.kv_crossover_points.iter().filter(is_loaded).collect();
    let grouped = rows.iter().any(|row| row.multi_head_ratio.is_some());
    let caption = Text::plain(
        "In theory, one sequence: what a token adds to the cache, and after how many tokens the cache is as large as the \
         weights. From ",
    )
    .code("analysis/kv_crossover_points.csv")
    .and("; in other element types and at more contexts in ")
    .code("analysis/kv_memory_theoretical.csv")
    .and(".");
    let at_longest = |row: &KvCrossoverRow| mib(row.longest_context * row.kv_bytes_per_token);
    let table = Table::of(rows.iter().copied())
        .words("model", |row| row.model.as_str())
        .words("type", |row| row.element.as_str())
        .number("weights", "MiB", |row| mib(row.weights_bytes))
        .number("per token", "KiB", |row| format::number(row.kv_bytes_per_token as f64 / 1024.0, 3))
        .count("longest context", |row| row.longest_context)
        .number("at that context", "MiB", at_longest)
        .number("as large as the weights", "tokens", |row| {
            let beyond = if row.beyond_longest { ", beyond it" } else { "" };
            format!("{}{beyond}", row.crossover)
        })
        .when(grouped, |table| {
            table.number("with ungrouped heads of equal size", "", |row| {
                row.multi_head_ratio.map_or_else(|| ABSENT.to_owned(), format::ratio)
            })
        })
        .captioned(caption);
    (!rows.is_empty()).then(|| table.into())
}

fn mib(bytes: impl Into<Option<u64>>) -> String {
    format::number(bytes.into().map(|bytes| bytes as f64 / f64::from(1 << 20)), 3)
}
