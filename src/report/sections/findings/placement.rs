//! Whether calls ran where they should.

use std::collections::HashSet;

use crate::analysis::MetricRow;
use crate::analysis::aggregate::distinct;
use crate::report::document::{Assurance, Finding};
use crate::report::format;
use crate::report::sections::ReportedRun;
use crate::report::sections::evidence;
use crate::report::sections::names::Names;

use super::share::share_of;

/// One finding for the run.
pub(super) fn findings(run: &ReportedRun<'_>, _: &Names) -> Vec<Finding> {
    let one_stack = run.manifest.one_stack();
    let stack = if one_stack {
        "One software stack throughout."
    } else {
        "The software stack changed during the run: see what was measured."
    };
    let proofs = proofs(run);
    let proof = if proofs.is_empty() { String::new() } else { format!("Proof: {proofs}. ") };
    let (assurance, answer) = answer(run);
    vec![Finding {
        question: "Did it run where it should?".to_owned(),
        assurance: if assurance == Assurance::Holds && !one_stack { Assurance::Caution } else { assurance },
        answer: answer.into(),
        grounds: format!("{proof}{stack}").into(),
    }]
}

fn answer(run: &ReportedRun<'_>) -> (Assurance, String) {
    let rows: Vec<&MetricRow> = run.tables.metrics.iter().filter(|row| row.counts()).collect();
    let proven = rows.iter().filter(|row| row.attributed).count();
    if rows.is_empty() {
        return (Assurance::Withheld, "No call counts.".to_owned());
    }
    if proven == rows.len() {
        let places = distinct(rows.iter().filter_map(|row| row.actual()));
        return (Assurance::Holds, format!("Every call that counts proves it ran on {}.", places.join(", ")));
    }
    let share = format::percent(share_of(proven, rows.len()));
    let others = "The others are in no fit, aggregate or ranking.";
    (Assurance::Caution, format!("{share} of the rows that went well prove where they ran. {others}"))
}

/// What the loads prove, or where they prove nothing the calls that count.
fn proofs(run: &ReportedRun<'_>) -> String {
    let of_loads = evidence::in_one_line(run.recording.loads().map(|load| &load.attribution.evidence));
    if !of_loads.is_empty() {
        return of_loads;
    }
    let counted: HashSet<&str> =
        run.tables.metrics.iter().filter(|row| row.counts()).map(|row| row.call_id.as_str()).collect();
    let calls = run.recording.calls().filter(|call| counted.contains(call.call_id.as_str()));
    evidence::in_one_line(calls.map(|call| &call.attribution.evidence))
}
