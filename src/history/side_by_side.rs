//! Runs side by side: their stacks, their cells, and how runs of one stack differ.

use serde::Serialize;

use crate::record::manifest::{Change, Stack};
use crate::stats::student;

use super::cells::{self, Series};
use super::read::HistoryRun;

/// Fewest runs of one stack from which its noise is known.
pub const NOISE_NEEDS: usize = 5;

/// How sure it must be that a new run is none of the same level.
const LEVEL: f64 = 0.99;

/// Runs this far from a change of stack may show it: a change is found within so many runs.
const NEAR: usize = 2;

/// Runs side by side.
#[derive(Debug, Clone, Serialize)]
pub struct History {
    /// In the order of time.
    pub runs: Vec<RunInHistory>,
    /// Where the stack is not that of the run before.
    pub marks: Vec<StackMark>,
    /// Every cell that at least one run has, in the order of the first run that has it.
    pub series: Vec<Series>,
    /// How runs of the newest stack differ among each other. `None`: fewer than [`NOISE_NEEDS`] of it.
    pub noise: Option<Noise>,
}

/// A run in its place.
#[derive(Debug, Clone, Serialize)]
pub struct RunInHistory {
    /// Its folder.
    pub folder: String,
    /// When it began, in nanoseconds.
    pub started_unix_ns: u64,
    /// SHA-256 of its stack.
    pub stack_sha256: String,
    /// Whether it came to its end.
    pub finished: bool,
}

/// A stack that is not that of the run before.
#[derive(Debug, Clone, Serialize)]
pub struct StackMark {
    /// Number of the first run with it, from 0.
    pub at: usize,
    /// What is not the same, as the manifests tell it.
    pub changes: Vec<String>,
}

/// How runs of one unchanged stack differ among each other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Noise {
    /// Runs that it is from.
    pub runs: usize,
    /// Standard deviation of a run's logarithm about its cell's level, all cells together. Unit: natural logarithm.
    pub ln: f64,
    /// Degrees of freedom of it: values less levels.
    pub df: f64,
}

impl Noise {
    /// Of the runs of one stack. Levels that change without the stack are taken apart first: they are no noise.
    ///
    /// `None`: fewer than [`NOISE_NEEDS`] runs have this stack, or no cell has two of them.
    #[must_use]
    pub fn of_stack(runs: &[HistoryRun], stack_sha256: &str) -> Option<Self> {
        let of_stack: Vec<&HistoryRun> = runs.iter().filter(|run| run.stack_sha256 == stack_sha256).collect();
        if of_stack.len() < NOISE_NEEDS {
            return None;
        }
        let (mut squares, mut df) = (0.0, 0.0);
        for series in cells::series(&of_stack) {
            for level in &series.levels {
                squares += level.squares;
                df += (level.runs - 1) as f64;
            }
        }
        (df > 0.0).then(|| Self { runs: of_stack.len(), ln: (squares / df).sqrt(), df })
    }
}

impl History {
    /// Runs in any order.
    #[must_use]
    pub fn of(mut runs: Vec<HistoryRun>) -> Self {
        runs.sort_by(|a, b| a.started_unix_ns.cmp(&b.started_unix_ns).then_with(|| a.folder.cmp(&b.folder)));
        let marks = marks(&runs);
        let noise = runs.last().and_then(|newest| Noise::of_stack(&runs, &newest.stack_sha256));
        let mut series = cells::series(&runs.iter().collect::<Vec<_>>());
        for series in &mut series {
            for change in &mut series.changes {
                let near = |mark: &&StackMark| mark.at.abs_diff(change.run) <= NEAR;
                let nearest = marks.iter().filter(near).min_by_key(|mark| mark.at.abs_diff(change.run));
                change.stack_change = nearest.map(|mark| mark.at);
            }
        }
        let runs = runs.into_iter().map(|run| RunInHistory {
            folder: run.folder,
            started_unix_ns: run.started_unix_ns,
            stack_sha256: run.stack_sha256,
            finished: run.finished,
        });
        Self { runs: runs.collect(), marks, series, noise }
    }

    /// What was not the same at the change of stack that a change of level lies at. Empty: there was none near.
    #[must_use]
    pub fn manifest_changes(&self, stack_change: Option<usize>) -> &[String] {
        let mark = stack_change.and_then(|at| self.marks.iter().find(|mark| mark.at == at));
        mark.map_or(&[], |mark| &mark.changes)
    }

    /// Whether the newest run of a cell lies where runs of its level do. `None`: its noise is not known, or the level has
    /// no earlier run.
    #[must_use]
    pub fn newest(&self, series: &Series) -> Option<Newest> {
        let noise = self.noise?;
        let (last, level) = (series.points.last()?, series.levels.last()?);
        let earlier: Vec<f64> = series
            .points
            .iter()
            .filter(|point| point.run >= level.first_run && point.run < last.run)
            .map(|p| p.ms.ln())
            .collect();
        if earlier.is_empty() || last.run + 1 != self.runs.len() {
            return None;
        }
        let n = earlier.len() as f64;
        let mean = earlier.iter().sum::<f64>() / n;
        let half = student::critical(LEVEL, noise.df)? * noise.ln * (1.0 + 1.0 / n).sqrt();
        let difference = last.ms.ln() - mean;
        Some(Newest { ratio: difference.exp(), low: (-half).exp(), high: half.exp(), within: difference.abs() <= half })
    }
}

/// A newest run against its level.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Newest {
    /// Its latency ÷ the level's.
    pub ratio: f64,
    /// Where 99 of 100 runs of an unchanged stack lie.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Whether it lies there.
    pub within: bool,
}

/// Where the stack changes from one run to the next.
fn marks(runs: &[HistoryRun]) -> Vec<StackMark> {
    let pairs = runs.windows(2).zip(1..).filter(|(pair, _)| pair[0].stack_sha256 != pair[1].stack_sha256);
    pairs.map(|(pair, at)| StackMark { at, changes: in_words(&pair[0].stack, &pair[1].stack) }).collect()
}

fn in_words(before: &Stack, now: &Stack) -> Vec<String> {
    before.changes(now).iter().map(Change::in_words).collect()
}
