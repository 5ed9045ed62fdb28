//! `history.csv` and `change_points.csv`: their rows.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use crate::analysis::columns::Description;
use crate::analysis::columns::nested::{CsvFile, rows};
use crate::terms::Mode;

use super::cells::Series;
use super::side_by_side::History;

rows! {
    /// A cell in one run.
    #[derive(Debug, Clone, Serialize)]
    pub struct RunTableRow<'a> {
        /// Number of the run, from 1.
        run: usize,
        /// Its folder.
        folder: &'a str,
        /// When it began, in UTC.
        started: String,
        /// Hash of its stack.
        stack_sha256: &'a str,
        /// Number of the cell, from 1: rows of one number are one cell through the runs. `history.json` has all that it is.
        cell: usize,
        /// Backend name.
        backend: &'a str,
        /// Model name.
        model: &'a str,
        /// Hash of the weights.
        weights_id: &'a str,
        /// Element type of the sessions; what another tool says, where it made the run.
        dtype: &'a str,
        /// Scenario name.
        scenario: &'a str,
        /// Rows decoded together.
        batch: u32,
        /// Prompt tokens of a row, the mean where rows differ. `None`: not told, or not the same for all calls of another tool.
        /// Unit: tokens.
        prompt_tokens: Option<f64>,
        /// Timed decode steps.
        gen_tokens: u32,
        /// What is timed.
        mode: Mode,
        /// Whether another tool made the run.
        imported: bool,
        /// Location of the cell, else its median where there are too few calls for one.
        latency_ms: f64,
        /// Lower end of its 95 % interval. `None`: there is none.
        ci_low_ms: Option<f64>,
        /// Upper end.
        ci_high_ms: Option<f64>,
        /// Number of its level, from 1.
        level: usize,
        /// The level: geometric mean of its runs.
        level_ms: f64,
    }

    /// A change of level.
    #[derive(Debug, Clone, Serialize)]
    pub struct ChangeTableRow<'a> {
        /// Number of the first run of the new level, from 1.
        run: usize,
        /// Its folder.
        folder: &'a str,
        /// When it began, in UTC.
        started: String,
        /// Number of the cell, as in `history.csv`.
        cell: usize,
        /// Backend name.
        backend: &'a str,
        /// Model name.
        model: &'a str,
        /// Scenario name.
        scenario: &'a str,
        /// Rows decoded together.
        batch: u32,
        /// Prompt tokens of a row, the mean where rows differ. `None`: not told, or not the same for all calls of another tool.
        /// Unit: tokens.
        prompt_tokens: Option<f64>,
        /// Timed decode steps.
        gen_tokens: u32,
        /// What is timed.
        mode: Mode,
        /// Level before it.
        before_ms: f64,
        /// Level from it on.
        after_ms: f64,
        /// The second ÷ the first.
        /// Unit: ratio.
        ratio: f64,
        /// Lower end of its 95 % interval. `None`: there is none.
        /// Unit: ratio.
        ratio_low: Option<f64>,
        /// Upper end.
        /// Unit: ratio.
        ratio_high: Option<f64>,
        /// p of no change there.
        /// Unit: probability.
        p: f64,
        /// Number of the first run with another stack, at most two runs off, from 1. `None`: there is none.
        stack_change: Option<usize>,
        /// What changed in the stack then, joined by `; `. Empty: nothing within two runs.
        changed: String,
    }
}

const RUNS: &str = "history.csv";
const CHANGES: &str = "change_points.csv";

/// What the files hold, without a history.
#[must_use]
pub fn descriptions() -> Vec<Description> {
    vec![Description::of_rows::<RunTableRow<'_>>(RUNS), Description::of_rows::<ChangeTableRow<'_>>(CHANGES)]
}

/// A history as CSV files.
///
/// # Errors
/// Never for rows of plain values.
pub fn csv_files(history: &History) -> Result<Vec<CsvFile>, serde_json::Error> {
    Ok(vec![CsvFile::of(RUNS, &run_rows(history))?, CsvFile::of(CHANGES, &change_rows(history))?])
}

/// `2026-01-31T12:00:00Z`.
#[must_use]
pub fn time(unix_ns: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(unix_ns)).to_string()
}

/// Every cell of every run, cell by cell.
fn run_rows(history: &History) -> Vec<RunTableRow<'_>> {
    history.series.iter().zip(1..).flat_map(|(series, number)| rows_of(history, series, number)).collect()
}

fn rows_of<'a>(history: &'a History, series: &'a Series, number: usize) -> impl Iterator<Item = RunTableRow<'a>> {
    series.points.iter().filter_map(move |point| {
        let (run, cell) = (history.runs.get(point.run)?, &series.cell);
        let place = series.levels.iter().rposition(|level| level.first_run <= point.run)?;
        let level = &series.levels[place];
        Some(RunTableRow {
            run: point.run + 1,
            folder: &run.folder,
            started: time(run.started_unix_ns),
            stack_sha256: &run.stack_sha256,
            cell: number,
            backend: &cell.backend,
            model: &cell.model,
            weights_id: &cell.weights_id,
            dtype: &cell.dtype,
            scenario: &cell.scenario,
            batch: cell.batch,
            prompt_tokens: cell.prompt_tokens.map(|tokens| tokens.0),
            gen_tokens: cell.gen_tokens,
            mode: cell.mode,
            imported: cell.imported_from.is_some(),
            latency_ms: point.ms,
            ci_low_ms: point.interval_ms.map(|(low, _)| low),
            ci_high_ms: point.interval_ms.map(|(_, high)| high),
            level: place + 1,
            level_ms: level.ms,
        })
    })
}

/// Every change, cell by cell.
fn change_rows(history: &History) -> Vec<ChangeTableRow<'_>> {
    let changes = history.series.iter().zip(1..).flat_map(|(series, number)| {
        let levels = series.levels.windows(2);
        series.changes.iter().zip(levels).filter_map(move |(change, levels)| {
            let (run, cell) = (history.runs.get(change.run)?, &series.cell);
            Some(ChangeTableRow {
                run: change.run + 1,
                folder: &run.folder,
                started: time(run.started_unix_ns),
                cell: number,
                backend: &cell.backend,
                model: &cell.model,
                scenario: &cell.scenario,
                batch: cell.batch,
                prompt_tokens: cell.prompt_tokens.map(|tokens| tokens.0),
                gen_tokens: cell.gen_tokens,
                mode: cell.mode,
                before_ms: levels[0].ms,
                after_ms: levels[1].ms,
                ratio: change.ratio,
                ratio_low: change.interval.map(|(low, _)| low),
                ratio_high: change.interval.map(|(_, high)| high),
                p: change.p,
                stack_change: change.stack_change.map(|at| at + 1),
                changed: history.manifest_changes(change.stack_change).join("; "),
            })
        })
    });
    changes.collect()
}
