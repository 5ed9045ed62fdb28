//! What a reader of the first screen would do next: the first that fits, in one sentence with its command.

use crate::analysis::EngineVerdict;
use crate::record::manifest::BackendEntry;
use crate::report::document::{Assurance, Finding, Text};
use crate::report::sections::ReportedRun;
use crate::report::sections::engines::rankings;
use crate::report::sections::names::Names;

use super::steadiness::{FOREIGN_SHARE, share_of_calls_beside_others};

/// What a next step is told from: the run, and what its first screen says.
type Step = fn(&ReportedRun<'_>, &Names, &[Finding]) -> Option<Text>;

/// Most urgent first. The last always fits.
const STEPS: &[Step] = &[unfinished, nothing_counts, imported, scripted, busy, undecided, unsure, priced, sure];

/// The step.
pub(in crate::report::sections) fn next_step(
    run: &ReportedRun<'_>,
    names: &Names,
    findings: &[Finding],
) -> Option<Text> {
    STEPS.iter().find_map(|step| step(run, names, findings))
}

fn unfinished(run: &ReportedRun<'_>, _: &Names, _: &[Finding]) -> Option<Text> {
    (!run.recording.finished())
        .then(|| Text::plain("measure what is left: ").code("phasebench run --resume RUN").and("."))
}

fn nothing_counts(run: &ReportedRun<'_>, _: &Names, _: &[Finding]) -> Option<Text> {
    let none = !run.tables.metrics.iter().any(|row| row.counts());
    none.then(|| {
        Text::plain("find out why no call counts: what the engine said stands below, and ")
            .code("phasebench doctor SCENARIO")
            .and(" says what is missing.")
    })
}

fn imported(run: &ReportedRun<'_>, _: &Names, _: &[Finding]) -> Option<Text> {
    run.manifest.imported.as_ref()?;
    Some(
        Text::plain("import another run of the same tool and ask what changed: ")
            .code("phasebench compare BEFORE AFTER")
            .and("."),
    )
}

fn scripted(run: &ReportedRun<'_>, _: &Names, _: &[Finding]) -> Option<Text> {
    let scripted = run.manifest.stack.backends.values().any(BackendEntry::is_scripted);
    scripted.then(|| {
        Text::plain("measure engines of this machine: ").code("phasebench init").and(" writes the scenario file.")
    })
}

fn busy(run: &ReportedRun<'_>, _: &Names, _: &[Finding]) -> Option<Text> {
    let busy = share_of_calls_beside_others(run).is_some_and(|share| share > FOREIGN_SHARE);
    busy.then(|| {
        Text::plain("measure again without the other programs: ")
            .code("phasebench rerun RUN")
            .and(" says what that changes.")
    })
}

/// Engines that are not told apart.
fn undecided(run: &ReportedRun<'_>, _: &Names, _: &[Finding]) -> Option<Text> {
    let rankings = rankings(run.tables);
    let (fastest, other) = rankings.iter().find_map(|ranking| {
        let open = ranking.others.iter().find(|other| other.verdict == EngineVerdict::NotSeparated)?;
        Some((ranking.fastest, open.other))
    })?;
    Some(more_sessions(run, Text::plain(format!("to tell {fastest} and {other} apart, "))))
}

/// Answers that stand with caution, or not at all.
fn unsure(run: &ReportedRun<'_>, _: &Names, findings: &[Finding]) -> Option<Text> {
    let unsure = findings.iter().any(|finding| finding.assurance != Assurance::Holds);
    unsure.then(|| more_sessions(run, Text::plain("for answers without the caution below, ")))
}

/// More calls, and in several processes where there was one.
fn more_sessions(run: &ReportedRun<'_>, why: Text) -> Text {
    let again = why.and("run again with ");
    let again = match run.plan.session_count.is_several() {
        true => again,
        false => again.code("sessions: 5").and(" and "),
    };
    again.and("more ").code("repetitions").and(" in the scenario file.")
}

/// Engines whose speed is known: which of them serves best.
fn priced(_: &ReportedRun<'_>, names: &Names, _: &[Finding]) -> Option<Text> {
    names.several_backends().then(|| {
        Text::plain("ask which engine serves your own requests, and at what cost: ")
            .code("phasebench decide RUN --pricing FILE --workload FILE")
            .and(".")
    })
}

fn sure(_: &ReportedRun<'_>, _: &Names, _: &[Finding]) -> Option<Text> {
    Some(
        Text::plain("keep this run; after an upgrade ")
            .code("phasebench rerun RUN")
            .and(" says whether anything changed."),
    )
}
