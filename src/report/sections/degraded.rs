//! What did not count, was not measured, or was stopped.

use crate::analysis::DegradedRow;
use crate::record::Rule;
use crate::record::given_up::given_up;
use crate::report::document::{Block, Section, Table, Text};
use crate::report::format::{self, ABSENT};

use super::ReportedRun;
use super::names::{Names, counted};

/// Longest detail shown.
const DETAIL: usize = 200;

/// Cells of one rule and reason that are named.
const NAMED: usize = 4;

/// The rules that stop cells, in words.
const RULES: [(Rule, &str); 4] = [
    (Rule::NarrowEnough, "interval narrow enough"),
    (Rule::MaxCalls, "most calls allowed were made before the interval was narrow enough"),
    (Rule::LoadFailed, "its model could not be loaded"),
    (Rule::SessionLost, "its calls kept ending the session"),
];

pub(super) fn section(run: &ReportedRun<'_>, names: &Names) -> Option<Section> {
    let told = [degraded(run, names), skipped(run, names), decisions(run), cells_given_up(run, names)];
    let mut blocks: Vec<Block> = told.into_iter().flatten().collect();
    if blocks.is_empty() {
        let nothing =
            "No call is degraded, no cell is skipped, and no rule stopped a cell before it had all its calls.";
        blocks.push(Block::Paragraph(nothing.into()));
    }
    Some(Section { id: "left-out", title: "Degraded, skipped, stopped".to_owned(), blocks })
}

/// `None`: no call is.
fn degraded(run: &ReportedRun<'_>, names: &Names) -> Option<Block> {
    let of_kind = |row: &&DegradedRow| row.kind.is_some() && row.degraded > 0;
    let rows: Vec<&DegradedRow> = run.tables.degraded.iter().filter(of_kind).collect();
    if rows.is_empty() {
        return None;
    }
    let early = run.tables.early_stop_summary.first().is_some_and(|run| run.early_stops > run.scaled);
    let but = if early { " but those about early stops" } else { "" };
    let caption = Text::plain(format!("Degraded calls stay in the record and out of every number above{but}. From "))
        .code("analysis/degraded.csv")
        .and(".");
    let table = Table::of(rows)
        .words("cell", |row| degraded_cell(names, row))
        .words("kind", |row| row.kind.map_or(ABSENT, |kind| kind.as_str()))
        .count("degraded", |row| row.degraded)
        .count("calls", |row| row.calls)
        .number("rate", "", |row| format::percent(row.rate))
        .words("what the first says", |row| shortened(row.first_detail.as_deref().unwrap_or(ABSENT)))
        .captioned(caption);
    Some(table.into())
}

fn degraded_cell(names: &Names, row: &DegradedRow) -> Text {
    match &row.key {
        Some(key) => names.cell_of_run(&key.backend, &key.model, &key.scenario, key.batch, key.gen_tokens).into(),
        None => Text::default().strong("whole run"),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(DETAIL) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Cells skipped by one rule for one reason.
struct Skipped<'a> {
    rule: &'a str,
    reason: &'a str,
    /// Their names, each once.
    cells: Vec<String>,
}

impl Skipped<'_> {
    /// The first few.
    fn some_names(&self) -> String {
        let mut names = self.cells.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        let more = self.cells.len().saturating_sub(NAMED);
        if more > 0 {
            names.push_str(&format!(", and {more} more"));
        }
        names
    }
}

/// By rule and reason. `None`: no cell is.
fn skipped(run: &ReportedRun<'_>, names: &Names) -> Option<Block> {
    let mut kinds: Vec<Skipped<'_>> = Vec::new();
    for row in &run.tables.skipped {
        let cell =
            names.cell_of_run(&row.key.backend, &row.key.model, &row.key.scenario, row.key.batch, row.key.gen_tokens);
        match kinds.iter_mut().find(|kind| (kind.rule, kind.reason) == (row.rule.as_str(), row.reason.as_str())) {
            Some(kind) if kind.cells.contains(&cell) => {}
            Some(kind) => kind.cells.push(cell),
            None => kinds.push(Skipped { rule: &row.rule, reason: &row.reason, cells: vec![cell] }),
        }
    }
    if kinds.is_empty() {
        return None;
    }
    let caption = Text::plain("Cells that were planned away. From ").code("analysis/skipped.csv").and(".");
    let table = Table::of(&kinds)
        .words("rule", |kind| kind.rule)
        .words("reason", |kind| kind.reason)
        .count("cells", |kind| kind.cells.len())
        .words("which", Skipped::some_names)
        .captioned(caption);
    Some(table.into())
}

/// Cells stopped by one rule.
struct Stopped {
    why: &'static str,
    cells: usize,
    fewest_ok: u32,
    most_ok: u32,
    /// `None`: none of them has an interval.
    widest_ci: Option<f64>,
}

/// Why cells took no further calls, counted by rule. `None`: no rule stopped one.
fn decisions(run: &ReportedRun<'_>) -> Option<Block> {
    if run.tables.decisions.is_empty() {
        return None;
    }
    let planned = counted(run.plan.cells.len(), "cell");
    let caption = Text::plain(format!("Rules that stopped cells; the plan has {planned}. From "))
        .code("analysis/decisions.csv")
        .and(".");
    let stopped: Vec<Stopped> = RULES.iter().filter_map(|(rule, why)| stopped_by(run, *rule, why)).collect();
    let table = Table::of(&stopped)
        .words("why cells stopped", |stopped| stopped.why)
        .count("cells", |stopped| stopped.cells)
        .count("fewest good calls", |stopped| stopped.fewest_ok)
        .count("most good calls", |stopped| stopped.most_ok)
        .words("widest interval", |stopped| format::half_width(stopped.widest_ci))
        .captioned(caption);
    Some(table.into())
}

/// `None`: the rule stopped no cell.
fn stopped_by(run: &ReportedRun<'_>, rule: Rule, why: &'static str) -> Option<Stopped> {
    let decisions: Vec<_> = run.tables.decisions.iter().filter(|row| row.rule == rule).collect();
    Some(Stopped {
        why,
        cells: decisions.len(),
        fewest_ok: decisions.iter().map(|row| row.calls_ok).min()?,
        most_ok: decisions.iter().map(|row| row.calls_ok).max()?,
        widest_ci: decisions.iter().filter_map(|row| row.relative_ci).reduce(f64::max),
    })
}

/// Cells that were given up, with the engine's last words. `None`: there are none.
fn cells_given_up(run: &ReportedRun<'_>, names: &Names) -> Option<Block> {
    let gone = given_up(&run.recording.lines, run.plan);
    if gone.is_empty() {
        return None;
    }
    let caption = "Cells that could not be measured to their end. Calls that were never made count against the scenario \
                   file's limit of degraded calls.";
    let table = Table::of(&gone)
        .words("cell given up", |gone| {
            let (cell, session) = (gone.cell, &gone.cell.session);
            names.cell_of_run(&session.backend, &session.model, &cell.scenario, cell.batch, cell.gen_tokens)
        })
        .count("good calls", |gone| gone.decision.calls_ok)
        .words("why", |gone| gone.decision.why.as_str())
        .words("what the engine said last", |gone| shortened(gone.words.unwrap_or(ABSENT)))
        .captioned(caption.into());
    Some(table.into())
}
