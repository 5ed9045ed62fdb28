//! What sections are made from.

use crate::analysis::Tables;
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
}

impl<'a> ReportedRun<'a> {
    /// A run with its trace and the tables derived from it.
    #[must_use]
    pub fn new(run: &'a RunFolder, trace: &'a [TraceRow], tables: &'a Tables) -> Self {
        Self { tables, plan: &run.plan, manifest: &run.manifest, recording: &run.recording, trace }
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
