//! `history.csv` and `change_points.csv`.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use crate::terms::Mode;

use super::cells::Series;
use super::side_by_side::History;

/// A cell in one run.
#[derive(Debug, Clone, Serialize)]
pub struct RunTableRow<'a> {
    /// Number of the run, from 1.
    run: usize,
    folder: &'a str,
    started: String,
    stack_sha256: &'a str,
    backend: &'a str,
    model: &'a str,
    weights_id: &'a str,
    dtype: &'a str,
    scenario: &'a str,
    batch: u32,
    gen_tokens: u32,
    mode: Mode,
    imported: bool,
    latency_ms: f64,
    ci_low_ms: Option<f64>,
    ci_high_ms: Option<f64>,
    /// Number of its level, from 1.
    level: usize,
    level_ms: f64,
}

/// A change of level.
#[derive(Debug, Clone, Serialize)]
pub struct ChangeTableRow<'a> {
    /// Number of the first run of the new level, from 1.
    run: usize,
    folder: &'a str,
    started: String,
    backend: &'a str,
    model: &'a str,
    scenario: &'a str,
    batch: u32,
    gen_tokens: u32,
    mode: Mode,
    before_ms: f64,
    after_ms: f64,
    ratio: f64,
    ratio_low: Option<f64>,
    ratio_high: Option<f64>,
    p: f64,
    /// Number of the first run with another stack, at most two runs off, from 1.
    stack_change: Option<usize>,
    changed: String,
}

/// `2026-01-31T12:00:00Z`.
pub(super) fn time(unix_ns: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(unix_ns)).to_string()
}

/// Every cell of every run, cell by cell.
#[must_use]
pub fn run_rows(history: &History) -> Vec<RunTableRow<'_>> {
    history.series.iter().flat_map(|series| rows_of(history, series)).collect()
}

fn rows_of<'a>(history: &'a History, series: &'a Series) -> impl Iterator<Item = RunTableRow<'a>> {
    series.points.iter().filter_map(move |point| {
        let (run, cell) = (history.runs.get(point.run)?, &series.cell);
        let place = series.levels.iter().rposition(|level| level.first_run <= point.run)?;
        let level = &series.levels[place];
        Some(RunTableRow {
            run: point.run + 1,
            folder: &run.folder,
            started: time(run.started_unix_ns),
            stack_sha256: &run.stack_sha256,
            backend: &cell.backend,
            model: &cell.model,
            weights_id: &cell.weights_id,
            dtype: &cell.dtype,
            scenario: &cell.scenario,
            batch: cell.batch,
            gen_tokens: cell.gen_tokens,
            mode: cell.mode,
            imported: cell.imported,
            latency_ms: point.ms,
            ci_low_ms: point.interval_ms.map(|(low, _)| low),
            ci_high_ms: point.interval_ms.map(|(_, high)| high),
            level: place + 1,
            level_ms: level.ms,
        })
    })
}

/// Every change, cell by cell.
#[must_use]
pub fn change_rows(history: &History) -> Vec<ChangeTableRow<'_>> {
    let changes = history.series.iter().flat_map(|series| {
        let levels = series.levels.windows(2);
        series.changes.iter().zip(levels).filter_map(move |(change, levels)| {
            let (run, cell) = (history.runs.get(change.run)?, &series.cell);
            Some(ChangeTableRow {
                run: change.run + 1,
                folder: &run.folder,
                started: time(run.started_unix_ns),
                backend: &cell.backend,
                model: &cell.model,
                scenario: &cell.scenario,
                batch: cell.batch,
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
