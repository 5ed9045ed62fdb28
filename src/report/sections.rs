//! A run's tables as a report: which of them are shown, and what they say in words.
//!
//! Nothing is computed here that a table does not hold, but for counts of rows and the shortest of arithmetic
//! (2 to the power of a slope, a difference in percent).

pub mod calibration;
mod compiled;
mod early_stops;
mod energy;
mod facts;
mod findings;
mod fits;
mod left_out;
mod measured;
mod medians;
mod names;
mod predictors;
mod reservations;
mod scaling;
mod shifts;
mod steadiness;
mod trust;
mod warmup;

use crate::analysis::Tables;
use crate::manifest::{Manifest, Tool};
use crate::plan::Plan;
use crate::report::document::{Block, Document, Text};
use crate::run_folder::RunFolder;
use crate::store::{Recording, TraceRow};

use names::Names;

/// Longest list of cells that one chart shows.
const ROWS: usize = 24;

/// What a report is made from.
#[derive(Debug, Clone, Copy)]
pub struct ReportedRun<'a> {
    /// Derived from the others.
    pub tables: &'a Tables,
    /// The plan.
    pub plan: &'a Plan,
    /// The manifest.
    pub manifest: &'a Manifest,
    /// The record.
    pub recording: &'a Recording,
    /// The power trace; empty where none was recorded.
    pub trace: &'a [TraceRow],
}

impl<'a> ReportedRun<'a> {
    /// A run with its trace and the tables derived from it.
    #[must_use]
    pub fn new(run: &'a RunFolder, trace: &'a [TraceRow], tables: &'a Tables) -> Self {
        Self { tables, plan: &run.plan, manifest: &run.manifest, recording: &run.recording, trace }
    }
}

/// The report of a run. The same tables give the same document.
#[must_use]
pub fn compose(run: &ReportedRun<'_>) -> Document {
    let names = Names::new(run.plan);
    let mut verdict = warnings(run);
    verdict.push(Block::Findings(findings::findings(run, &names)));
    let tool = Tool::this();
    let mut sections = vec![
        scaling::section(run, &names),
        medians::section(run, &names),
        predictors::section(run, &names),
        shifts::section(run, &names),
    ];
    sections.extend(compiled::section(run, &names));
    sections.extend(energy::section(run, &names));
    sections.extend(early_stops::section(run, &names));
    sections.extend([
        warmup::section(run, &names),
        steadiness::section(run, &names),
        left_out::section(run, &names),
        measured::section(run),
    ]);
    Document {
        title: run.plan.name.clone(),
        facts: facts::facts(run),
        verdict,
        sections,
        made_by: format!("Made by phasebench {} from the run's own rows.", facts::tool(&tool)),
    }
}

/// What a reader must know before any number.
fn warnings(run: &ReportedRun<'_>) -> Vec<Block> {
    let mut notes: Vec<Text> = Vec::new();
    if !run.recording.finished() {
        notes.push("This run is not finished: what follows comes from the calls made so far.".into());
    }
    if run.recording.torn {
        notes.push("The record ends in a torn line, which is left out.".into());
    }
    let simulated: Vec<&str> =
        run.manifest.stack.backends.iter().filter(|(_, b)| b.virtual_clock).map(|(name, _)| name.as_str()).collect();
    if !simulated.is_empty() {
        let names = simulated.join(", ");
        notes
            .push(Text::plain("Scripted time, not measured: ").code(names).and(". It says nothing about any machine."));
    }
    notes.extend(energy::warning(run));
    if run.manifest.stack.tool.profile.as_deref() == Some("debug")
        && run.manifest.stack.backends.values().any(|b| !b.virtual_clock)
    {
        notes.push("Measured by a debug build: the client's own share of each call is larger than it need be.".into());
    }
    notes.into_iter().map(Block::Note).collect()
}

/// The indices of the `most` items that `weight` puts first, in their own order.
fn strongest<T>(items: &[T], most: usize, weight: impl Fn(&T) -> f64) -> Vec<&T> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by(|&a, &b| weight(&items[b]).total_cmp(&weight(&items[a])));
    order.truncate(most);
    order.sort_unstable();
    order.into_iter().map(|index| &items[index]).collect()
}
