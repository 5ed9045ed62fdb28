//! How many calls went well.

use std::collections::HashSet;

use crate::analysis::Tables;
use crate::record::CallRecord;
use crate::report::document::{Assurance, Finding, Text};
use crate::report::format;
use crate::report::sections::ReportedRun;
use crate::report::sections::names::{Names, counted};

use super::share::share_of;

/// One finding for the run.
pub(super) fn findings(run: &ReportedRun<'_>, _: &Names) -> Vec<Finding> {
    let (calls, degraded) = call_counts(run.tables);
    let unmeasured = unmeasured_cells(run);
    let (assurance, answer) = answer(calls, degraded, unmeasured);
    vec![Finding {
        question: "Did the calls go well?".to_owned(),
        assurance,
        answer,
        grounds: grounds(run, calls, degraded, unmeasured).into(),
    }]
}

/// Calls made and degraded ones among them.
pub(in crate::report::sections) fn call_counts(tables: &Tables) -> (usize, usize) {
    let whole_run = tables.degraded.iter().find(|row| row.key.is_none() && row.kind.is_none());
    whole_run.map_or((0, 0), |row| (row.calls, row.degraded))
}

/// Planned cells without a call that counts.
fn unmeasured_cells(run: &ReportedRun<'_>) -> usize {
    let measured: HashSet<&str> = run.tables.summary.iter().map(|row| row.key.cell_id.as_str()).collect();
    run.plan.cells.iter().filter(|cell| !measured.contains(cell.id.0.as_str())).count()
}

fn answer(calls: usize, degraded: usize, unmeasured: usize) -> (Assurance, Text) {
    let all = format!("All {}", counted(calls, "call"));
    if calls == 0 {
        return (Assurance::Withheld, "No call was made.".into());
    }
    if degraded == 0 && unmeasured == 0 {
        return (Assurance::Holds, format!("{all} went well.").into());
    }
    if degraded == 0 {
        return (Assurance::Caution, format!("{all} went well, but some are missing.").into());
    }
    if degraded == calls {
        let answer = Text::default().strong(format!("{all} are degraded")).and(": nothing here was measured.");
        return (Assurance::Withheld, answer);
    }
    let rate = format::percent(share_of(degraded, calls));
    let calls = counted(calls, "call");
    (Assurance::Caution, format!("{degraded} of {calls} ({rate}) are degraded and left out of every number.").into())
}

fn grounds(run: &ReportedRun<'_>, calls: usize, degraded: usize, unmeasured: usize) -> String {
    let mut grounds: Vec<String> = Vec::new();
    let of_run = run.tables.degraded.iter().filter(|row| row.key.is_none());
    let kinds: Vec<String> = of_run.filter_map(|row| row.kind.map(|kind| format!("{kind} {}", row.degraded))).collect();
    if !kinds.is_empty() {
        grounds.push(format!("Kinds: {}.", kinds.join(", ")));
    }
    let again = |call: &&CallRecord| !call.status.is_ok() && call.is_made_again(run.plan.retries());
    let made_again = run.recording.calls().filter(again).count();
    let early = run.recording.calls().filter(again).filter(|call| call.ended_early()).count();
    if early > 0 {
        grounds.push(format!("{early} of them ended early and were made again."));
    }
    if made_again > early {
        grounds.push(format!("{} of them were stopped, suspended or held back and made again.", made_again - early));
    }
    // A try that was made again cost time and no figure, so the limit of the scenario file does not count it.
    let lost = degraded.saturating_sub(made_again);
    if share_of(lost, calls).is_some_and(|rate| rate > run.plan.degraded_rate) {
        grounds.push(format!("The scenario file allows {}.", format::percent(run.plan.degraded_rate)));
    }
    let planned = counted(run.plan.cells.len(), "planned cell");
    if unmeasured > 0 {
        grounds.push(format!("{unmeasured} of {planned} have no call that counts."));
    }
    let skipped = run.tables.skipped.len();
    if skipped > 0 {
        grounds.push(format!("{} skipped by rule.", counted(skipped, "cell")));
    }
    if grounds.is_empty() {
        grounds.push(format!("{}, none skipped.", counted(run.plan.cells.len(), "cell")));
    }
    grounds.join(" ")
}
