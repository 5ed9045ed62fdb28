//! What the run's tables advise.

use crate::analysis::recommendations::{Standing, Topic};
use crate::report::document::{Block, Section, Table, Text};

use super::ReportedRun;
use super::names::Names;

pub(super) fn section(run: &ReportedRun<'_>, _names: &Names) -> Option<Section> {
    let rows = &run.tables.recommendations;
    // A run that decides nothing but when to measure again advises nothing.
    let advises = rows.iter().any(|row| row.topic != Topic::Validity && row.standing != Standing::NoData);
    if !advises {
        return None;
    }
    let intro = "A question a row, with the answer that this run's figures allow; where they allow none, it says so. With prices \
                 and a workload: ";
    let caption = Text::plain("From ").code("analysis/recommendations.csv").and(".");
    let table = Table::of(rows)
        .words("question", |row| format!("{}: {}", row.topic.as_str(), row.about))
        .words("standing", |row| row.standing.as_str())
        .words("answer", |row| row.advice.as_str())
        .words("figures", |row| row.figures.as_deref().unwrap_or(""))
        .words("overturned by", |row| row.overturned_by.as_str())
        .captioned(caption);
    let blocks = vec![Block::Paragraph(Text::plain(intro).code("phasebench decide").and(".")), table.into()];
    Some(Section { id: "recommendations", title: "What to do".to_owned(), blocks })
}
