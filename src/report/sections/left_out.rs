//! What did not count, was not measured, or was stopped.

use crate::analysis::aggregate::distinct;
use crate::record::Rule;
use crate::record::given_up;
use crate::report::document::{Block, Column, Section, Table, Text};
use crate::report::format::{self, ABSENT};

use super::ReportedRun;
use super::names::{Names, counted};

/// Longest detail shown.
const DETAIL: usize = 200;

pub(super) fn section(run: &ReportedRun<'_>, names: &Names) -> Section {
    let mut blocks = vec![degraded(run, names), skipped(run, names), decisions(run)];
    blocks.extend(given_up(run, names));
    Section { id: "left-out", title: "Degraded, skipped, stopped".to_owned(), blocks }
}

/// A cell with its backend.
fn named(names: &Names, backend: &str, model: &str, scenario: &str, batch: u32, steps: u32) -> String {
    let cell = names.cell(model, scenario, batch, steps);
    if names.several_backends() { format!("{backend} · {cell}") } else { cell }
}

fn degraded(run: &ReportedRun<'_>, names: &Names) -> Block {
    let of_kind = || run.tables.degraded.iter().filter(|row| row.kind.is_some() && row.degraded > 0);
    if of_kind().next().is_none() {
        return Block::Paragraph("No call is degraded.".into());
    }
    let columns = vec![
        Column::words("cell"),
        Column::words("kind"),
        Column::numbers("degraded"),
        Column::numbers("calls"),
        Column::numbers("rate"),
        Column::words("what the first says"),
    ];
    let rows = of_kind().map(|row| {
        let cell = match (&row.backend, &row.model, &row.scenario) {
            (Some(backend), Some(model), Some(scenario)) => {
                let (batch, steps) = (row.batch.unwrap_or_default(), row.gen_tokens.unwrap_or_default());
                named(names, backend, model, scenario, batch, steps).into()
            }
            _ => Text::default().strong("whole run"),
        };
        let detail = row.first_detail.as_deref().unwrap_or(ABSENT);
        vec![
            cell,
            row.kind.map_or(ABSENT, |kind| kind.as_str()).into(),
            row.degraded.to_string().into(),
            row.calls.to_string().into(),
            format::percent(row.rate).into(),
            shortened(detail).into(),
        ]
    });
    let early = run.tables.early_stop_summary.first().is_some_and(|whole| whole.early_stops > whole.scaled);
    let but = if early { " but those about early stops" } else { "" };
    let caption = Text::plain(format!("Degraded calls stay in the record and out of every number above{but}. From "))
        .code("analysis/degraded.csv")
        .and(".");
    Block::Table(Table { caption, columns, rows: rows.collect() })
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(DETAIL) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// By rule and reason.
fn skipped(run: &ReportedRun<'_>, names: &Names) -> Block {
    let skipped = &run.tables.skipped;
    if skipped.is_empty() {
        return Block::Paragraph("No cell is skipped.".into());
    }
    let columns =
        vec![Column::words("rule"), Column::words("reason"), Column::numbers("cells"), Column::words("which")];
    let mut kinds: Vec<(&str, &str)> = Vec::new();
    for row in skipped {
        if !kinds.contains(&(&row.rule, &row.reason)) {
            kinds.push((&row.rule, &row.reason));
        }
    }
    let rows = kinds.iter().map(|&(rule, reason)| {
        let of = skipped.iter().filter(|row| row.rule == rule && row.reason == reason);
        let cells: Vec<String> =
            of.map(|row| named(names, &row.backend, &row.model, &row.scenario, row.batch, row.gen_tokens)).collect();
        let cells = distinct(cells.iter().map(String::as_str));
        let more = cells.len().saturating_sub(4);
        let mut which = cells.iter().take(4).copied().collect::<Vec<_>>().join(", ");
        if more > 0 {
            which.push_str(&format!(", and {more} more"));
        }
        vec![rule.into(), reason.into(), cells.len().to_string().into(), which.into()]
    });
    let caption = Text::plain("Cells that were planned away. From ").code("analysis/skipped.csv").and(".");
    Block::Table(Table { caption, columns, rows: rows.collect() })
}

/// Why cells took no further calls, counted by rule.
fn decisions(run: &ReportedRun<'_>) -> Block {
    let decisions = &run.tables.decisions;
    let cells = run.plan.cells.len();
    if decisions.is_empty() {
        return Block::Paragraph("No rule stopped a cell before it had all its calls.".into());
    }
    let rules = [
        (Rule::NarrowEnough, "interval narrow enough"),
        (Rule::MaxCalls, "most calls allowed were made before the interval was narrow enough"),
        (Rule::LoadFailed, "its model could not be loaded"),
        (Rule::SessionLost, "its calls kept ending the session"),
    ];
    let columns = vec![
        Column::words("why cells stopped"),
        Column::numbers("cells"),
        Column::numbers("fewest good calls"),
        Column::numbers("most good calls"),
        Column::numbers("widest interval (± %)"),
    ];
    let rows = rules.iter().filter_map(|&(rule, words)| {
        let of: Vec<_> = decisions.iter().filter(|row| row.rule == rule).collect();
        let widest = of.iter().filter_map(|row| row.relative_ci).reduce(f64::max);
        Some(vec![
            words.into(),
            of.len().to_string().into(),
            of.iter().map(|row| row.calls_ok).min()?.to_string().into(),
            of.iter().map(|row| row.calls_ok).max()?.to_string().into(),
            format::fixed(widest.map(|share| share * 100.0), 2).into(),
        ])
    });
    let caption = Text::plain(format!("Rules that stopped cells; the plan has {}. From ", counted(cells, "cell")))
        .code("analysis/decisions.csv")
        .and(".");
    Block::Table(Table { caption, columns, rows: rows.collect() })
}

/// Cells that were given up, with the engine's last words. `None`: there are none.
fn given_up(run: &ReportedRun<'_>, names: &Names) -> Option<Block> {
    let gone = given_up::given_up(&run.recording.lines, run.plan);
    if gone.is_empty() {
        return None;
    }
    let columns = vec![
        Column::words("cell given up"),
        Column::numbers("good calls"),
        Column::words("why"),
        Column::words("what the engine said last"),
    ];
    let rows = gone.iter().map(|gone| {
        let (cell, decision) = (gone.cell, gone.decision);
        let (key, steps) = (&cell.session, cell.gen_tokens);
        vec![
            named(names, &key.backend, &key.model, &cell.scenario, cell.batch, steps).into(),
            decision.calls_ok.to_string().into(),
            decision.why.as_str().into(),
            shortened(gone.words.unwrap_or(ABSENT)).into(),
        ]
    });
    let caption = "Cells that could not be measured to their end. Calls that were never made count against the scenario \
                   file's limit of degraded calls.";
    Some(Block::Table(Table { caption: caption.into(), columns, rows: rows.collect() }))
}
