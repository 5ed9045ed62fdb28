//! What the run's tables advise.

use crate::analysis::recommendations::{Standing, Topic};
use crate::report::document::{Block, Document, Section, Table, Text};

use super::ReportedRun;
use super::names::Names;

/// The section's name in its document.
pub(super) const ID: &str = "recommendations";

pub(super) fn section(run: &ReportedRun<'_>, _names: &Names) -> Option<Section> {
    let rows = &run.tables.recommendations;
    // A run that decides nothing but when to measure again advises nothing.
    let advises = rows.iter().any(|row| row.topic != Topic::Validity && row.standing != Standing::NoData);
    if !advises {
        return None;
    }
    let intro = "A question a row, with the answer that this run's figures allow; where they allow none, it says so. With prices \
                 and a workload: ";
    let table = Table::of(rows)
        .words("question", |row| format!("{}: {}", row.topic.as_str(), row.about))
        .words("standing", |row| row.standing.as_str())
        .words("answer", |row| row.advice.as_str())
        .words("figures", |row| row.figures.as_deref().unwrap_or(""))
        .words("overturned by", |row| row.overturned_by.as_str())
        .captioned(from("analysis/recommendations.csv"));
    let blocks = vec![Block::Paragraph(Text::plain(intro).code("phasebench decide").and(".")), table.into()];
    Some(Section { id: ID, title: "What to do".to_owned(), blocks })
}

/// Says where the rows of a report with prices are, in which answers with prices stand in place of the run's own.
pub(super) fn from_decisions(document: &mut Document) {
    let sections = document.sections.iter_mut().filter(|section| section.id == ID);
    for block in sections.flat_map(|section| &mut section.blocks) {
        if let Block::Table(table) = block {
            table.caption = from("decisions.csv");
        }
    }
}

fn from(file: &str) -> Text {
    Text::plain("From ").code(file).and(".")
}
