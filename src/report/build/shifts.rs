//! Whether conclusions survive another batch or decode length.

use crate::analysis::{Metric, ScopeKind, ShiftRow};
use crate::report::document::{Block, Column, Section, Table, Text};
use crate::report::format;

use super::Source;
use super::names::{Names, mode};

pub(super) fn section(source: &Source<'_>, names: &Names) -> Section {
    let intro = "A fit says whether latency depends on size, and in which direction. That conclusion survives a shift \
                 where both fits are actionable with the same sign, or neither is and their intervals overlap.";
    let mut blocks = vec![Block::Paragraph(intro.into())];
    blocks.extend(shift(names, "batch", "analysis/batch_shift.csv", &source.tables.batch_shift));
    blocks.extend(shift(
        names,
        "decode length",
        "analysis/decode_length_shift.csv",
        &source.tables.decode_length_shift,
    ));
    Section { id: "falsification", title: "Does it survive another batch or decode length?".to_owned(), blocks }
}

/// Aggregates if there are any, else scenarios.
fn shift(names: &Names, what: &str, file: &str, rows: &[ShiftRow]) -> Vec<Block> {
    let of = |kind: ScopeKind| rows.iter().filter(move |row| row.scope == kind).collect::<Vec<_>>();
    let aggregates = of(ScopeKind::Aggregate);
    let shown = if aggregates.is_empty() { of(ScopeKind::Scenario) } else { aggregates };
    if shown.is_empty() {
        return vec![Block::Paragraph(format!("Another {what}: not tested, the plan has only one.").into())];
    }
    let told = shown.iter().filter(|row| row.conclusion_survives.is_some()).count();
    let survive = shown.iter().filter(|row| row.conclusion_survives == Some(true)).count();
    let answer = Text::plain(format!("Another {what}: "))
        .strong(format!("{survive} of {} conclusions survive", shown.len()))
        .and(if told < shown.len() {
            format!("; of {} it cannot be told.", shown.len() - told)
        } else {
            ".".to_owned()
        });
    let columns = vec![
        Column::words("backend"),
        Column::words("mode"),
        Column::words("metric"),
        Column::words("shift"),
        Column::numbers("slope before [95\u{a0}% t]"),
        Column::numbers("slope after [95\u{a0}% t]"),
        Column::numbers("time after ÷ before"),
        Column::words("survives"),
        Column::words("because"),
    ];
    let caption = Text::plain("From ").code(file).and(". Slopes of fits that are not identifiable are withheld.");
    let rows = shown.iter().map(|row| line(names, row)).collect();
    vec![Block::Paragraph(answer), Block::Table(Table { caption, columns, rows })]
}

fn line(names: &Names, row: &ShiftRow) -> Vec<Text> {
    let a = row.slope_a.filter(|_| row.actionable_a);
    let b = row.slope_b.filter(|_| row.actionable_b);
    let end = |scenario: &Option<String>, batch: u32, steps: u32| {
        let mut end = if row.batch_a == row.batch_b { format!("{steps} steps") } else { format!("batch {batch}") };
        if let Some(scenario) = scenario {
            end = format!("{scenario}, {end}");
        }
        end
    };
    vec![
        names.engine(&row.backend, row.dtype).into(),
        mode(row.mode).into(),
        match row.metric {
            Metric::LatencyMs => "latency",
            Metric::MsPerToken => "per step",
        }
        .into(),
        format!(
            "{} → {}",
            end(&row.scenario_a, row.batch_a, row.gen_tokens_a),
            end(&row.scenario_b, row.batch_b, row.gen_tokens_b)
        )
        .into(),
        format::interval(a, row.slope_a_low.zip(row.slope_a_high)).into(),
        format::interval(b, row.slope_b_low.zip(row.slope_b_high)).into(),
        format::ratio(row.metric_b_over_a).into(),
        match row.conclusion_survives {
            Some(true) => "yes",
            Some(false) => "no",
            None => "cannot be told",
        }
        .into(),
        row.reason.as_str().into(),
    ]
}
