//! What disturbed calls from outside, and what that cost.

use crate::analysis::DisturbedRow;
use crate::report::document::{Block, Section, Table, Text};
use crate::report::format::{self, ABSENT};
use crate::terms::Disturbance;
use crate::units::significant;

use super::ReportedRun;
use super::names::{Names, counted};

/// `None`: the plan has no rule for disturbed calls.
pub(super) fn section(run: &ReportedRun<'_>, _: &Names) -> Option<Section> {
    let rows = &run.tables.disturbed;
    let all = rows.first()?;
    let mut blocks = vec![Block::Paragraph(cost(all).into())];
    if all.disturbed > 0 {
        blocks.push(table(rows));
    }
    Some(Section { id: "disturbed", title: "Calls that something disturbed".to_owned(), blocks })
}

/// What all of it cost, in words.
fn cost(all: &DisturbedRow) -> String {
    let mut text = if all.disturbed == 0 {
        "Nothing outside disturbed a timed call.".to_owned()
    } else {
        let share = format::percent(all.disturbed as f64 / all.calls as f64);
        let made = counted(all.calls, "timed call");
        let again = format!("{} made again, which took {}", all.made_again, seconds(all.made_again_ms));
        format!("{} of {made} ({share}) were disturbed from outside; {again}.", all.disturbed)
    };
    if all.kept > 0 {
        let calls = counted(all.kept, "call");
        let count = if all.kept == 1 { "counts" } else { "count" };
        let cells = counted(all.cells_kept, "cell");
        text.push_str(&format!(" {calls} in {cells} {count} although every try was disturbed."));
    }
    if all.made_once > 0 {
        let calls = counted(all.made_once, "call");
        let were = if all.made_once == 1 { "was" } else { "were" };
        text.push_str(&format!(
            " {calls} of these {were} made once: the calls right before had been disturbed in every try, so that another one \
             promised nothing."
        ));
    }
    let waits = all.waits.unwrap_or(0);
    if waits > 0 {
        let took = seconds(all.waited_ms.unwrap_or(0.0));
        let vain = all.waits_in_vain.unwrap_or(0);
        let times = if waits == 1 { "once".to_owned() } else { format!("{waits} times") };
        text.push_str(&format!(" A quiet machine was waited for {times}, {took} in all, {vain} of them in vain."));
    }
    text
}

fn seconds(ms: f64) -> String {
    format!("{}\u{a0}s", significant(ms / 1e3, 2))
}

fn table(rows: &[DisturbedRow]) -> Block {
    let caption = Text::plain(
        "What disturbed is seen outside the call and never told by how long it took, so that no slow call is left out for \
         being slow. Calls that were made again are in no figure. From ",
    )
    .code("analysis/disturbed.csv")
    .and(".");
    Table::of(rows)
        .words("engine", |row| row.backend.as_deref().unwrap_or("all"))
        .words("what disturbed", |row| row.disturbance.map_or("anything", name))
        .count("timed calls", |row| row.calls)
        .count("disturbed", |row| row.disturbed)
        .count("made again", |row| row.made_again)
        .words("time of those", |row| if row.made_again == 0 { ABSENT.to_owned() } else { seconds(row.made_again_ms) })
        .count("disturbed in every try", |row| row.kept)
        .captioned(caption)
        .into()
}

/// A disturbance in words.
pub(super) fn name(disturbance: Disturbance) -> &'static str {
    match disturbance {
        Disturbance::ForeignCpu => "other programs",
        Disturbance::Steal => "the hypervisor",
        Disturbance::CpuQuota => "a control group's limit",
        Disturbance::GpuThrottled => "the board slowed down",
        Disturbance::Frozen => "stopped or suspended",
    }
}
