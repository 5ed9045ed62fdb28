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
use crate::store::{Recording, TraceRow};

use names::Names;

/// Longest list of cells that one chart shows.
const ROWS: usize = 24;

/// What a report is made from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
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

/// The report of a run. The same source gives the same document.
#[must_use]
pub fn build(source: &Source<'_>) -> Document {
    let names = Names::new(source.plan);
    let mut verdict = warnings(source);
    verdict.push(Block::Findings(findings::findings(source, &names)));
    let tool = Tool::this();
    let mut sections = vec![
        scaling::section(source, &names),
        medians::section(source, &names),
        predictors::section(source, &names),
        shifts::section(source, &names),
    ];
    sections.extend(compiled::section(source, &names));
    sections.extend(energy::section(source, &names));
    sections.extend(early_stops::section(source, &names));
    sections.extend([
        warmup::section(source, &names),
        steadiness::section(source, &names),
        left_out::section(source, &names),
        measured::section(source),
    ]);
    Document {
        title: source.plan.name.clone(),
        facts: facts::facts(source),
        verdict,
        sections,
        made_by: format!("Made by phasebench {} from the run's own rows.", facts::tool(&tool)),
    }
}

/// What a reader must know before any number.
fn warnings(source: &Source<'_>) -> Vec<Block> {
    let mut notes: Vec<Text> = Vec::new();
    if !source.recording.finished() {
        notes.push("This run is not finished: what follows comes from the calls made so far.".into());
    }
    if source.recording.torn {
        notes.push("The record ends in a torn line, which is left out.".into());
    }
    let simulated: Vec<&str> =
        source.manifest.stack.backends.iter().filter(|(_, b)| b.virtual_clock).map(|(name, _)| name.as_str()).collect();
    if !simulated.is_empty() {
        let names = simulated.join(", ");
        notes
            .push(Text::plain("Scripted time, not measured: ").code(names).and(". It says nothing about any machine."));
    }
    notes.extend(energy::warning(source));
    if source.manifest.stack.tool.profile.as_deref() == Some("debug")
        && source.manifest.stack.backends.values().any(|b| !b.virtual_clock)
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
