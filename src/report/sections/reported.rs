//! What sections are made from.

use std::borrow::Cow;

use crate::analysis::Tables;
use crate::analysis::validate::contradictions;
use crate::record::manifest::Manifest;
use crate::record::plan::Plan;
use crate::run_folder::RunFolder;
use crate::store::{Recording, TraceRow};

/// Most rows of one chart, and of a table that shows the strongest of many.
pub(super) const MOST_ROWS: usize = 24;

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
    /// What the record says against itself. `None`: nobody has looked yet.
    pub contradictions: Option<&'a [String]>,
}

impl<'a> ReportedRun<'a> {
    /// A run with its trace and the tables derived from it.
    #[must_use]
    pub fn new(run: &'a RunFolder, trace: &'a [TraceRow], tables: &'a Tables) -> Self {
        let (plan, manifest, recording) = (&run.plan, &run.manifest, &run.recording);
        Self { tables, plan, manifest, recording, trace, contradictions: None }
    }

    /// For whoever knows what the record says against itself.
    #[must_use]
    pub fn with_contradictions(self, found: &'a [String]) -> Self {
        Self { contradictions: Some(found), ..self }
    }

    /// What the record says against itself.
    pub(super) fn contradictions(&self) -> Cow<'a, [String]> {
        let look = || contradictions(self.recording, self.plan, self.manifest).into();
        self.contradictions.map_or_else(look, Cow::Borrowed)
    }
}

/// The `most` items that `weight` puts first, in their own order.
pub(super) fn strongest<T>(items: &[T], most: usize, weight: impl Fn(&T) -> f64) -> Vec<&T> {
    let mut places: Vec<usize> = (0..items.len()).collect();
    places.sort_by(|&a, &b| weight(&items[b]).total_cmp(&weight(&items[a])));
    places.truncate(most);
    places.sort_unstable();
    places.into_iter().map(|place| &items[place]).collect()
}
