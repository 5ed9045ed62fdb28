//! Whether conclusions survive another batch or decode length.

use crate::analysis::{Metric, ScopeKind, ShiftRow};
use crate::report::document::{Block, Section, Table, Text};
use crate::report::format;
use crate::terms::Mode;

use super::ReportedRun;
use super::names::{Names, counted, mode};

pub(super) fn section(run: &ReportedRun<'_>, names: &Names) -> Option<Section> {
    let intro = "A fit says whether latency depends on size, and in which direction. That conclusion survives a shift \
                 where both fits are actionable with the same sign, or neither is and their intervals overlap.";
    let tested = [
        shift(names, "batch", "analysis/batch_shift.csv", &run.tables.batch_shift),
        shift(names, "decode length", "analysis/decode_length_shift.csv", &run.tables.decode_length_shift),
    ];
    if tested.iter().all(Vec::is_empty) {
        // What a run does not measure stands at its end.
        return None;
    }
    let blocks = [Block::Paragraph(intro.into())].into_iter().chain(tested.into_iter().flatten()).collect();
    Some(Section { id: "falsification", title: "Does it survive another batch or decode length?".to_owned(), blocks })
}

/// Aggregates where they can be compared, else scenarios. Empty: the plan has only one.
fn shift(names: &Names, what: &str, file: &str, rows: &[ShiftRow]) -> Vec<Block> {
    let quoted = quoted(rows);
    if quoted.is_empty() {
        return Vec::new();
    }
    vec![Block::Paragraph(verdict(what, &quoted)), table(names, file, &quoted)]
}

/// How many conclusions survive, of how many it cannot be told.
fn verdict(what: &str, rows: &[&ShiftRow]) -> Text {
    let decided = rows.iter().filter(|row| row.conclusion_survives.is_some()).count();
    let surviving = rows.iter().filter(|row| row.conclusion_survives == Some(true)).count();
    let open = rows.len() - decided;
    let verdict = Text::plain(format!("Another {what}: "));
    if decided == 0 {
        return verdict.strong("it cannot be told").and(" whether any conclusion survives.");
    }
    let verdict = verdict.strong(format!("{surviving} of {} survive", counted(decided, "conclusion"))).and(".");
    if open == 0 { verdict } else { verdict.and(format!(" Of {open} more it cannot be told.")) }
}

/// Of each mode per step if there is such a row; prefill and decode together are left to the file.
fn quoted(rows: &[ShiftRow]) -> Vec<&ShiftRow> {
    let per_step = |mode: Mode| rows.iter().any(|row| row.mode == mode && row.metric == Metric::MsPerToken);
    let timed = rows.iter().filter(|row| row.mode != Mode::E2eKv);
    let quoted = timed.filter(|row| row.metric == Metric::MsPerToken || !per_step(row.mode));
    let (aggregates, scenarios): (Vec<&ShiftRow>, Vec<&ShiftRow>) =
        quoted.partition(|row| row.scope == ScopeKind::Aggregate);
    let decided = |rows: &[&ShiftRow]| rows.iter().any(|row| row.conclusion_survives.is_some());
    if aggregates.is_empty() || (!decided(&aggregates) && decided(&scenarios)) { scenarios } else { aggregates }
}

fn table(names: &Names, file: &str, rows: &[&ShiftRow]) -> Block {
    let caption = Text::plain(
        "Slopes of the time of one step, of prefill of the whole phase, and how many times as long it takes. From ",
    )
    .code(file)
    .and(". Slopes of fits that are not identifiable are withheld.");
    Table::of(rows)
        .when(names.several_backends(), |table| table.words("backend", |row| names.engine(&row.backend, row.dtype)))
        .words("mode", |row| mode(row.mode))
        .words("shift", |row| format!("{} → {}", before(row), after(row)))
        .interval("slope before", "", "95\u{a0}%\u{a0}t", |row| {
            format::interval(row.slope_a.filter(|_| row.actionable_a), row.slope_a_low.zip(row.slope_a_high))
        })
        .interval("slope after", "", "95\u{a0}%\u{a0}t", |row| {
            format::interval(row.slope_b.filter(|_| row.actionable_b), row.slope_b_low.zip(row.slope_b_high))
        })
        .number("after ÷ before", "", |row| format::ratio(row.metric_b_over_a))
        .words("survives", |row| match row.conclusion_survives {
            Some(true) => "yes".to_owned(),
            Some(false) => format!("no: {}", row.reason),
            None => format!("cannot be told: {}", row.reason),
        })
        .captioned(caption)
        .into()
}

fn before(row: &ShiftRow) -> String {
    end(row, row.scenario_a.as_deref(), row.batch_a, row.gen_tokens_a)
}

fn after(row: &ShiftRow) -> String {
    end(row, row.scenario_b.as_deref(), row.batch_b, row.gen_tokens_b)
}

/// What is different on one side of a shift.
fn end(row: &ShiftRow, scenario: Option<&str>, batch: u32, steps: u32) -> String {
    let shifted = if row.batch_a == row.batch_b { format!("{steps} steps") } else { format!("batch {batch}") };
    scenario.map_or_else(|| shifted.clone(), |scenario| format!("{scenario}, {shifted}"))
}
