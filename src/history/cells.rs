//! One cell through all runs: its points, its levels, and where one ends.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::analysis::SummaryRow;
use crate::analysis::summary::Proof;
use crate::stats::change_points::{ChangePoint, change_points};
use crate::stats::{self, student};
use crate::terms::{Dtype, Mode};

use super::read::HistoryRun;

/// Fewest runs on either side of a change, and p below which there is one.
const FEWEST: usize = 3;
const P: f64 = 0.001;

/// What a cell is followed by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CellName {
    /// Backend name.
    pub backend: String,
    /// Model name.
    pub model: String,
    /// Hash of the weights, or what another tool says of them.
    pub weights_id: String,
    /// Element type.
    pub dtype: String,
    /// Scenario name.
    pub scenario: String,
    /// Rows decoded together.
    pub batch: u32,
    /// Timed decode steps.
    pub gen_tokens: u32,
    /// What is timed.
    pub mode: Mode,
    /// Whether another tool timed it: such runs are never mixed with ours.
    pub imported: bool,
}

impl CellName {
    fn of(row: &SummaryRow) -> Self {
        let key = &row.key;
        Self {
            backend: key.backend.clone(),
            model: key.model.clone(),
            weights_id: key.weights_id.clone(),
            dtype: key.dtype.as_str().to_owned(),
            scenario: key.scenario.clone(),
            batch: key.batch,
            gen_tokens: key.gen_tokens,
            mode: row.mode,
            imported: row.attribution == Proof::Imported,
        }
    }

    /// For people: what tells it apart at a glance.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = format!("{} · {} · {}", self.backend, self.model, self.scenario);
        if self.batch > 1 {
            words.push_str(&format!(" · batch {}", self.batch));
        }
        if self.gen_tokens > 0 && self.mode != Mode::Prefill {
            words.push_str(&format!(" · {} steps", self.gen_tokens));
        }
        if self.dtype != Dtype::F32.as_str() && self.dtype != Dtype::AsServed.as_str() {
            words.push_str(&format!(" · {}", self.dtype));
        }
        format!("{words} · {}{}", self.mode, if self.imported { " (imported)" } else { "" })
    }
}

/// A cell through all runs.
#[derive(Debug, Clone, Serialize)]
pub struct Series {
    /// The cell.
    pub cell: CellName,
    /// The runs that have it, in the order of time.
    pub points: Vec<Point>,
    /// Its levels, one more than its changes.
    pub levels: Vec<Level>,
    /// Where its level changes.
    pub changes: Vec<Change>,
}

/// A cell in one run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// Number of the run, from 0.
    pub run: usize,
    /// Its location, else its median where there are too few calls for one.
    pub ms: f64,
    /// The interval within the run. `None`: fewer than 3 calls.
    pub interval_ms: Option<(f64, f64)>,
}

/// Runs between two changes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Level {
    /// Number of its first run.
    pub first_run: usize,
    /// Number of its last run.
    pub last_run: usize,
    /// Runs that have the cell.
    pub runs: usize,
    /// Geometric mean of them.
    pub ms: f64,
    /// Sum of squared differences of their logarithms from its own.
    #[serde(skip)]
    pub(super) squares: f64,
}

/// A change of level.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Change {
    /// Number of the first run of the new level, from 0.
    pub run: usize,
    /// New level ÷ old one.
    pub ratio: f64,
    /// Its 95 % interval.
    pub interval: Option<(f64, f64)>,
    /// Two-sided p of no change.
    pub p: f64,
    /// Number of the first run with another stack that lies nearest, at most two runs off. `None`: there is none.
    pub stack_change: Option<usize>,
}

/// Every cell of these runs, in the order of the first one that has it.
pub(super) fn series(runs: &[&HistoryRun]) -> Vec<Series> {
    let mut order: Vec<CellName> = Vec::new();
    let mut points: BTreeMap<CellName, Vec<Point>> = BTreeMap::new();
    for (number, run) in runs.iter().enumerate() {
        // What does not prove where it ran may have run elsewhere each time.
        let rows =
            run.rows.iter().filter(|row| row.attribution.compares_with(row.attribution) && row.mode != Mode::E2eKv);
        for row in rows {
            let name = CellName::of(row);
            let of_cell = points.entry(name.clone()).or_default();
            if of_cell.is_empty() {
                order.push(name);
            }
            of_cell.push(Point {
                run: number,
                ms: row.location_ms.unwrap_or(row.median_ms),
                interval_ms: row.ci_low_ms.zip(row.ci_high_ms),
            });
        }
    }
    let series = order.into_iter().filter_map(|cell| Some(followed(cell.clone(), points.remove(&cell)?)));
    series.collect()
}

/// The last level of a cell's points. `None`: there are none.
pub(super) fn last_level(points: &[Point]) -> Option<Level> {
    if points.is_empty() { None } else { levels(points).0.pop() }
}

fn followed(cell: CellName, points: Vec<Point>) -> Series {
    let (levels, changes) = levels(&points);
    Series { cell, points, levels, changes }
}

/// The levels of a cell's points, of which there is one at least, and where each but the first begins.
fn levels(points: &[Point]) -> (Vec<Level>, Vec<Change>) {
    let logs: Vec<f64> = points.iter().map(|point| point.ms.ln()).collect();
    let found = change_points(&logs, FEWEST, P);
    let ends: Vec<usize> = found.iter().map(|change| change.at).chain([logs.len()]).collect();
    let mut begin = 0;
    let mut levels = Vec::new();
    for end in ends {
        let values = &logs[begin..end];
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        levels.push(Level {
            first_run: points[begin].run,
            last_run: points[end - 1].run,
            runs: values.len(),
            ms: mean.exp(),
            squares: values.iter().map(|value| (value - mean).powi(2)).sum(),
        });
        begin = end;
    }
    let changes = found.iter().map(|change| of_point(change, points[change.at].run)).collect();
    (levels, changes)
}

fn of_point(change: &ChangePoint, run: usize) -> Change {
    let half = student::critical(stats::LEVEL, change.df).map(|critical| critical * change.standard_error);
    let interval = half.filter(|half| half.is_finite());
    Change {
        run,
        ratio: change.shift.exp(),
        interval: interval.map(|half| ((change.shift - half).exp(), (change.shift + half).exp())),
        p: change.p,
        stack_change: None,
    }
}
