//! Whether conclusions survive another batch or decode length.

use crate::analysis::{Metric, ScopeKind, ShiftRow};
use crate::report::document::{Block, Column, Section, Table, Text};
use crate::report::format;
use crate::terms::Mode;

use super::ReportedRun;
use super::names::{Names, counted, mode};

pub(super) fn section(run: &ReportedRun<'_>, names: &Names) -> Section {
    let intro = "A fit says whether latency depends on size, and in which direction. That conclusion survives a shift \
                 where both fits are actionable with the same sign, or neither is and their intervals overlap.";
    let mut blocks = vec![Block::Paragraph(intro.into())];
    blocks.extend(shift(names, "batch", "analysis/batch_shift.csv", &run.tables.batch_shift));
    blocks.extend(shift(names, "decode length", "analysis/decode_length_shift.csv", &run.tables.decode_length_shift));
    Section { id: "falsification", title: "Does it survive another batch or decode length?".to_owned(), blocks }
}

/// Aggregates where they can be compared, else scenarios.
fn shift(names: &Names, what: &str, file: &str, rows: &[ShiftRow]) -> Vec<Block> {
    let shown = shown(rows);
    if shown.is_empty() {
        return vec![Block::Paragraph(format!("Another {what}: not tested, the plan has only one.").into())];
    }
    let told = shown.iter().filter(|row| row.conclusion_survives.is_some()).count();
    let survive = shown.iter().filter(|row| row.conclusion_survives == Some(true)).count();
    let open = shown.len() - told;
    let mut answer = Text::plain(format!("Another {what}: "));
    answer = match told {
        0 => answer.strong("it cannot be told").and(" whether any conclusion survives."),
        _ => answer.strong(format!("{survive} of {} survive", counted(told, "conclusion"))).and("."),
    };
    if told > 0 && open > 0 {
        answer = answer.and(format!(" Of {open} more it cannot be told."));
    }
    let mut columns = Vec::new();
    if names.several_backends() {
        columns.push(Column::words("backend"));
    }
    columns.extend([
        Column::words("mode"),
        Column::words("shift"),
        Column::numbers("slope before [95\u{a0}%\u{a0}t]"),
        Column::numbers("slope after [95\u{a0}%\u{a0}t]"),
        Column::numbers("after ÷ before"),
        Column::words("survives"),
    ]);
    let caption = Text::plain("Slopes of latency per step where there are steps, and how much longer it takes. From ")
        .code(file)
        .and(". Slopes of fits that are not identifiable are withheld.");
    let rows = shown.iter().map(|row| line(names, row)).collect();
    vec![Block::Paragraph(answer), Block::Table(Table { caption, columns, rows })]
}

/// Of each mode per step if there is such a row; prefill and decode together are left to the file.
fn shown(rows: &[ShiftRow]) -> Vec<&ShiftRow> {
    let per_step = |row: &ShiftRow| rows.iter().any(|r| r.mode == row.mode && r.metric == Metric::MsPerToken);
    let quoted: Vec<&ShiftRow> = rows
        .iter()
        .filter(|row| row.mode != Mode::E2eKv && (row.metric == Metric::MsPerToken || !per_step(row)))
        .collect();
    let of = |kind: ScopeKind| quoted.iter().copied().filter(|row| row.scope == kind).collect::<Vec<_>>();
    let (aggregates, scenarios) = (of(ScopeKind::Aggregate), of(ScopeKind::Scenario));
    let told = |rows: &[&ShiftRow]| rows.iter().any(|row| row.conclusion_survives.is_some());
    if aggregates.is_empty() || (!told(&aggregates) && told(&scenarios)) { scenarios } else { aggregates }
}

fn line(names: &Names, row: &ShiftRow) -> Vec<Text> {
    let a = row.slope_a.filter(|_| row.actionable_a);
    let b = row.slope_b.filter(|_| row.actionable_b);
    let mut line: Vec<Text> = Vec::new();
    if names.several_backends() {
        line.push(names.engine(&row.backend, row.dtype).into());
    }
    let survives = match row.conclusion_survives {
        Some(true) => "yes".to_owned(),
        Some(false) => format!("no: {}", row.reason),
        None => format!("cannot be told: {}", row.reason),
    };
    line.extend([
        mode(row.mode).into(),
        format!("{} → {}", end(row, true), end(row, false)).into(),
        format::interval(a, row.slope_a_low.zip(row.slope_a_high)).into(),
        format::interval(b, row.slope_b_low.zip(row.slope_b_high)).into(),
        format::ratio(row.metric_b_over_a).into(),
        survives.into(),
    ]);
    line
}

/// What is different on one side of a shift.
fn end(row: &ShiftRow, before: bool) -> String {
    let (scenario, batch, steps) = if before {
        (&row.scenario_a, row.batch_a, row.gen_tokens_a)
    } else {
        (&row.scenario_b, row.batch_b, row.gen_tokens_b)
    };
    let shift = if row.batch_a == row.batch_b { format!("{steps} steps") } else { format!("batch {batch}") };
    scenario.as_ref().map_or_else(|| shift.clone(), |scenario| format!("{scenario}, {shift}"))
}
