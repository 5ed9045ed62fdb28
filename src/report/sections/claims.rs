//! What published reports conclude, held against this run.

use crate::analysis::claims::{ClaimRow, ClaimStatus};
use crate::report::document::{Block, Section, Table, Text};

use super::ReportedRun;
use super::names::{Names, counted};

pub(super) fn section(run: &ReportedRun<'_>, _names: &Names) -> Option<Section> {
    let all = &run.tables.claims;
    let tested: Vec<&ClaimRow> = all.iter().filter(|row| row.status != ClaimStatus::NotTested).collect();
    let own = !run.plan.claims.is_empty();
    // Whoever names statements is told of each, also that nothing tests it.
    let shown: Vec<&ClaimRow> = if own { all.iter().collect() } else { tested.clone() };
    if shown.is_empty() {
        return None;
    }
    let (asked, of) = (tested.len(), counted(all.len(), if own { "claim" } else { "conclusion" }));
    let intro = if own {
        Text::plain(format!("What the scenario file's claims file states: this run has rows for {asked} of {of}."))
    } else {
        let intro = Text::plain(format!(
            "What published reports conclude of other machines, in words of our own: this run has rows for {asked} of {of}. Claims \
             of your own: "
        ));
        intro.code("phasebench decide --claims FILE").and(".")
    };
    let caption = Text::plain(
        "One piece of evidence against a claim contradicts it; it is supported where all of them speak for it. From ",
    )
    .code("analysis/claims.csv")
    .and(".");
    let table = Table::of(shown)
        .words("claim", |row| row.text.as_str())
        .words("this run", |row| row.status.as_str())
        .count("for it", |row| row.n_supporting)
        .count("against", |row| row.n_contradicting)
        .count("open", |row| row.n_open)
        .words("figures", |row| row.figures.as_deref().unwrap_or(""))
        .captioned(caption);
    Some(Section {
        id: "claims",
        title: if own { "What is claimed" } else { "What was claimed elsewhere" }.to_owned(),
        blocks: vec![Block::Paragraph(intro), table.into()],
    })
}
