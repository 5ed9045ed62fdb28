//! Runs side by side: their stacks, their cells, and how runs of one stack differ.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::comparison::CellName;
use crate::record::manifest::{Change, Stack};

use super::cells::{self, Series};
use super::read::HistoryRun;

/// Fewest runs of one stack from which its noise is known.
pub const NOISE_NEEDS: usize = 5;

const NS_PER_MINUTE: u64 = 60_000_000_000;

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
    /// How runs before the newest differ among each other that have its cells: those of its own stack, else of the latest one
    /// before it of which there are enough. `None`: of none there are [`NOISE_NEEDS`].
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
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Noise {
    /// SHA-256 of the stack.
    pub stack_sha256: String,
    /// Runs that it is from: as many as have the rarest of its cells.
    pub runs: usize,
    /// From the beginning of the first one that has any of the cells to that of the last one.
    pub minutes: u64,
    /// Standard deviation of a run's logarithm about its cell's level, all cells together. Unit: natural logarithm.
    pub ln: f64,
    /// Degrees of freedom of it: values less levels.
    pub df: f64,
}

impl Noise {
    /// Of those of these cells that at least [`NOISE_NEEDS`] runs of one stack have. Runs of other plans have none of them, and do
    /// not count. Levels that change without the stack are taken apart first: they are no noise.
    ///
    /// `None`: there is no such cell.
    #[must_use]
    pub fn of_stack(runs: &[HistoryRun], stack_sha256: &str, of: &BTreeSet<CellName>) -> Option<Self> {
        let of_stack: Vec<&HistoryRun> = runs.iter().filter(|run| run.stack_sha256 == stack_sha256).collect();
        let series = series_of(&of_stack, of);
        let known: Vec<&Series> = series.iter().filter(|series| series.points.len() >= NOISE_NEEDS).collect();
        let runs = known.iter().map(|series| series.points.len()).min()?;
        let points = known.iter().flat_map(|series| &series.points);
        let begun: Vec<u64> = points.filter_map(|point| Some(of_stack.get(point.run)?.started_unix_ns)).collect();
        let minutes = (begun.iter().max()? - begun.iter().min()?) / NS_PER_MINUTE;
        let (mut squares, mut df) = (0.0, 0.0);
        for level in known.iter().flat_map(|series| &series.levels) {
            squares += level.squares;
            df += (level.runs - 1) as f64;
        }
        let ln = (squares / df).sqrt();
        (df > 0.0).then(|| Self { stack_sha256: stack_sha256.to_owned(), runs, minutes, ln, df })
    }

    /// How many runs of one stack have the one of these cells that most of them have.
    #[must_use]
    pub fn runs_of_stack(runs: &[HistoryRun], stack_sha256: &str, of: &BTreeSet<CellName>) -> usize {
        let of_stack: Vec<&HistoryRun> = runs.iter().filter(|run| run.stack_sha256 == stack_sha256).collect();
        series_of(&of_stack, of).iter().map(|series| series.points.len()).max().unwrap_or(0)
    }

    /// What is known before the newest run of its cells: runs of its own stack first, then of those before it, the latest first. The
    /// newest itself is what is to be judged.
    fn before(runs: &[HistoryRun]) -> Option<Self> {
        let (newest, before) = runs.split_last()?;
        let own: BTreeSet<CellName> = cells::series(&[newest]).into_iter().map(|series| series.cell).collect();
        let mut stacks = vec![newest.stack_sha256.as_str()];
        for run in before.iter().rev() {
            if !stacks.contains(&run.stack_sha256.as_str()) {
                stacks.push(&run.stack_sha256);
            }
        }
        stacks.into_iter().find_map(|stack| Self::of_stack(before, stack, &own))
    }
}

/// These cells through runs.
fn series_of(runs: &[&HistoryRun], of: &BTreeSet<CellName>) -> Vec<Series> {
    let mut series = cells::series(runs);
    series.retain(|series| of.contains(&series.cell));
    series
}

impl History {
    /// Runs in any order.
    #[must_use]
    pub fn of(mut runs: Vec<HistoryRun>) -> Self {
        runs.sort_by(|a, b| a.started_unix_ns.cmp(&b.started_unix_ns).then_with(|| a.folder.cmp(&b.folder)));
        let marks = marks(&runs);
        let noise = Noise::before(&runs);
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
}

/// Where the stack changes from one run to the next.
fn marks(runs: &[HistoryRun]) -> Vec<StackMark> {
    let pairs = runs.windows(2).zip(1..).filter(|(pair, _)| pair[0].stack_sha256 != pair[1].stack_sha256);
    pairs
        .map(|(pair, at)| StackMark { at, changes: in_words(&pair[0].manifest.stack, &pair[1].manifest.stack) })
        .collect()
}

fn in_words(before: &Stack, now: &Stack) -> Vec<String> {
    before.changes(now).iter().map(Change::in_words).collect()
}
