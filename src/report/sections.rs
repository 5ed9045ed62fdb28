//! A run's tables as a report: which of them are shown, and what they say in words.
//!
//! Nothing is computed here that a table does not hold, but for counts of rows and the shortest of arithmetic
//! (2 to the power of a slope, a difference in percent).
//!
//! A new section is a file below this one and a line in `SECTIONS`; a new question on the first screen, a file below
//! `findings` and a line in its list.

pub mod calibration;
mod claims;
mod compile;
pub mod costs;
mod degraded;
mod disturbed;
mod early_stop;
mod energy;
mod engines;
mod evidence;
mod facts;
mod findings;
mod imported;
mod kv_memory;
mod measured;
mod names;
mod predictors;
mod recommendations;
mod reported;
mod roofline;
mod scaling;
pub mod several;
mod shifts;
mod steadiness;
mod summary;
mod warmup;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::record::manifest::Tool;
use crate::report::document::{Block, Document, Finding, Section, Text};

use names::Names;
pub use reported::ReportedRun;
use reported::{MOST_ROWS, strongest};

/// Every section, in the report's order. Each is left out where it gives `None`: the run has nothing for it.
const SECTIONS: &[fn(&ReportedRun<'_>, &Names) -> Option<Section>] = &[
    imported::section,
    engines::section,
    recommendations::section,
    scaling::section,
    summary::section,
    predictors::section,
    shifts::section,
    roofline::section,
    compile::section,
    energy::section,
    early_stop::section,
    warmup::section,
    kv_memory::section,
    claims::section,
    steadiness::section,
    disturbed::section,
    degraded::section,
    measured::section,
];

/// What a reader must know before any number, most general first. `None`: there is no need.
const WARNINGS: &[fn(&ReportedRun<'_>) -> Option<Text>] =
    &[unfinished, torn_record, imported_figures, scripted_time, energy::warning, held_back, debug_build];

/// The report of a run. The same tables give the same document.
#[must_use]
pub fn compose(run: &ReportedRun<'_>) -> Document {
    let names = Names::new(run.plan);
    let contradicted = contradicted(run);
    let (findings, sections) = rayon::join(
        || findings::findings(run, &names),
        || SECTIONS.par_iter().filter_map(|section| section(run, &names)).collect(),
    );
    let next = match contradicted {
        Some(_) => {
            Some(Text::plain("find out what this record contradicts: ").code("phasebench validate RUN").and("."))
        }
        None => findings::next_step(run, &names, &findings),
    };
    let warnings = warnings(run, contradicted).map(Block::Note);
    Document {
        title: run.plan.name.clone(),
        facts: facts::facts(run),
        verdict: warnings.chain(next.map(Block::NextStep)).chain([Block::Findings(findings)]).collect(),
        sections,
        made_by: format!("Made by phasebench {} from the run's own rows.", facts::tool(&Tool::this())),
    }
}

/// What a reader must know first: that the record contradicts itself, if it does, and the other warnings.
fn warnings(run: &ReportedRun<'_>, contradicted: Option<Text>) -> impl Iterator<Item = Text> {
    contradicted.into_iter().chain(WARNINGS.iter().filter_map(|warning| warning(run)))
}

/// What the first screen says of speed alone: which engine is faster, and how fast each is where too few sizes were measured
/// to ask how it scales.
#[must_use]
pub fn speeds(run: &ReportedRun<'_>) -> Vec<Finding> {
    findings::speeds(run, &Names::new(run.plan))
}

/// What the first screen says besides how fast each engine is: for whoever shows speeds in a table.
#[must_use]
pub fn beside_speeds(run: &ReportedRun<'_>) -> Vec<Finding> {
    findings::beside_speeds(run, &Names::new(run.plan))
}

fn unfinished(run: &ReportedRun<'_>) -> Option<Text> {
    let warning = "This run is not finished: what follows comes from the calls made so far.";
    (!run.recording.finished()).then(|| warning.into())
}

fn torn_record(run: &ReportedRun<'_>) -> Option<Text> {
    run.recording.torn.then(|| "The record ends in a torn line, which is left out.".into())
}

fn contradicted(run: &ReportedRun<'_>) -> Option<Text> {
    let contradictions = run.contradictions();
    let first = contradictions.first()?;
    let failed = names::counted(contradictions.len(), "check");
    let note =
        Text::default().strong("This record does not hold together").and(format!(": {failed} failed. {first}. "));
    Some(note.and("All of them: ").code("phasebench validate").and("."))
}

fn imported_figures(run: &ReportedRun<'_>) -> Option<Text> {
    let imported = run.manifest.imported.as_ref()?;
    let note = Text::default().strong("Imported").and(format!(" from {}: another tool measured this, ", imported.tool));
    Some(note.and("and nothing proves to us where it ran."))
}

/// Backends whose times come from a script.
fn scripted_time(run: &ReportedRun<'_>) -> Option<Text> {
    let backends = run.manifest.stack.backends.iter();
    let scripted: Vec<&str> =
        backends.filter(|(_, entry)| entry.is_scripted()).map(|(name, _)| name.as_str()).collect();
    if scripted.is_empty() {
        return None;
    }
    let warning = Text::plain("Scripted time, not measured: ").code(scripted.join(", "));
    Some(warning.and(". It says nothing about any machine."))
}

/// Engines that compute with more threads than a control group grants processors: it stops them every tenth of a second.
fn held_back(run: &ReportedRun<'_>) -> Option<Text> {
    let stack = &run.manifest.stack;
    let granted = stack.machine.cpu_quota_cores?;
    let asking = stack.backends.iter().filter_map(|(name, entry)| {
        let threads = entry.threads().filter(|&threads| f64::from(threads) > granted)?;
        Some(format!("{name} with {}", names::counted(threads as usize, "thread")))
    });
    let asking: Vec<String> = asking.collect();
    if asking.is_empty() {
        return None;
    }
    let usable = stack.machine.usable();
    Some(format!("This process may use {usable}, fewer than engines compute with: {}.", asking.join(", ")).into())
}

fn debug_build(run: &ReportedRun<'_>) -> Option<Text> {
    let measured = run.manifest.stack.backends.values().any(|entry| !entry.is_scripted());
    let measured = measured && run.manifest.imported.is_none();
    let debug = run.manifest.stack.tool.profile.as_deref() == Some("debug");
    let warning = "Measured by a debug build: the client's own share of each call is larger than it need be.";
    (debug && measured).then(|| warning.into())
}
