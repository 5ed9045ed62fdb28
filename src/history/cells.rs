//! One cell through all runs: its points, its levels, and where one ends.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::comparison::CellName;
use crate::stats::change_points::{ChangePoint, change_points};
use crate::stats::{self, student};

use super::names::names;
use super::read::HistoryRun;

/// Fewest runs on either side of a change, and p below which there is one.
const FEWEST: usize = 3;
const P: f64 = 0.001;

/// Fewest runs that a cell's level can change in.
pub(super) const CHANGE_NEEDS: usize = 2 * FEWEST;

/// A cell through all runs.
#[derive(Debug, Clone, Serialize)]
pub struct Series {
    /// What it is called among the cells of the history.
    pub name: String,
    /// The cell.
    pub cell: CellName,
    /// The runs that have it, in the order of time.
    pub points: Vec<Point>,
    /// Its levels, one more than its changes.
    pub levels: Vec<Level>,
    /// Where its level changes.
    pub changes: Vec<Change>,
}

impl Series {
    /// Whether it has runs enough for a change of level to be found.
    #[must_use]
    pub fn can_show_a_change(&self) -> bool {
        self.points.len() >= CHANGE_NEEDS
    }

    /// Whether a run has it, by its number from 0.
    pub(super) fn is_in(&self, run: usize) -> bool {
        self.points.iter().any(|point| point.run == run)
    }
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
        for cell in &run.cells {
            let of_cell = points.entry(cell.name.clone()).or_default();
            if of_cell.is_empty() {
                order.push(cell.name.clone());
            }
            of_cell.push(Point { run: number, ms: cell.ms, interval_ms: cell.interval_ms });
        }
    }
    let names = names(&order);
    let named = names.into_iter().zip(order);
    named.filter_map(|(name, cell)| Some(followed(name, points.remove(&cell)?, cell))).collect()
}

/// The last level of a cell's points. `None`: there are none.
pub(super) fn last_level(points: &[Point]) -> Option<Level> {
    if points.is_empty() { None } else { levels(points).0.pop() }
}

fn followed(name: String, points: Vec<Point>, cell: CellName) -> Series {
    let (levels, changes) = levels(&points);
    Series { name, cell, points, levels, changes }
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
