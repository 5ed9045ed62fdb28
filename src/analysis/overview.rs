//! A run at a glance: how much there is of it, and the fits to quote.

use serde::Serialize;

use crate::run_folder::RunFolder;

use super::{ScalingFitRow, Tables};

/// What `analyze` and `report` print of a run where a script reads.
#[derive(Debug, Serialize)]
pub struct Overview<'a> {
    /// Whether the run came to its end.
    pub finished: bool,
    /// Calls that count for the degraded rate: timed ones, those made again aside.
    pub calls: usize,
    /// Degraded ones among them.
    pub degraded: usize,
    /// Cells of the plan.
    pub cells: usize,
    /// Cells that a rule left out.
    pub skipped: usize,
    /// What was written, by path inside the run folder.
    pub files: &'a [String],
    /// See [`headlines`].
    pub headline_fits: Vec<&'a ScalingFitRow>,
}

impl<'a> Overview<'a> {
    /// Of a run and its tables; `files` are what was written.
    #[must_use]
    pub fn new(run: &RunFolder, tables: &'a Tables, files: &'a [String]) -> Self {
        let (calls, degraded) = counts(tables);
        Self {
            finished: run.recording.finished(),
            calls,
            degraded,
            cells: run.plan.cells.len(),
            skipped: run.plan.skipped.len(),
            files,
            headline_fits: headlines(tables).collect(),
        }
    }
}

/// Calls of a run, and degraded ones among them.
fn counts(tables: &Tables) -> (usize, usize) {
    let whole = tables.degraded.iter().find(|row| row.key.is_none() && row.kind.is_none());
    whole.map_or((0, 0), |row| (row.calls, row.degraded))
}

/// The fits that are quoted: one per backend, element type, mode and shape.
pub fn headlines(tables: &Tables) -> impl Iterator<Item = &ScalingFitRow> {
    tables.scaling_fits.iter().filter(|fit| fit.key.headline)
}
