//! Runs as far as a history needs them.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use crate::analysis::summary::Summary;
use crate::analysis::{Sources, SummaryRow};
use crate::comparison::CellName;
use crate::record::manifest::Manifest;
use crate::record::plan::Cell;
use crate::run_folder::{RunFolder, UnreadRun, must_be_there};
use crate::store::{self, StoreError, io_error};
use crate::terms::Mode;

/// Why there is no history.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// A folder that cannot be read, or a run that is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Neither a run nor a folder of runs.
    #[error("{0}: neither a run nor a folder of runs\n  allowed: run folders, or folders that hold them")]
    NoRun(String),
}

/// One run.
#[derive(Debug, Clone)]
pub struct HistoryRun {
    /// Its folder.
    pub folder: String,
    /// When it began, in nanoseconds.
    pub started_unix_ns: u64,
    /// SHA-256 of its stack.
    pub stack_sha256: String,
    /// On what it ran.
    pub manifest: Manifest,
    /// Whether it came to its end.
    pub finished: bool,
    /// Its cells that prove where they ran, or that another tool measured.
    pub cells: Vec<MeasuredCell>,
}

/// A cell of a run.
#[derive(Debug, Clone)]
pub struct MeasuredCell {
    /// All that it is.
    pub name: CellName,
    /// Its location, else its median where there are too few calls for one.
    pub ms: f64,
    /// The interval within the run. `None`: fewer than 3 calls.
    pub interval_ms: Option<(f64, f64)>,
}

/// The runs in folders, each of which is one or holds them. A run that several of them lead to, or that lies there in copies, is
/// taken once.
///
/// # Errors
/// A folder that is neither, or a run that cannot be read.
pub fn read(folders: &[PathBuf]) -> Result<Vec<HistoryRun>, HistoryError> {
    read_without(folders, &[])
}

/// The same without those that are one of the folders `left_out`, lie in one, or are a copy of one: what is to be judged tells
/// nothing of how runs differ.
///
/// # Errors
/// As [`read`].
pub fn read_without(folders: &[PathBuf], left_out: &[&Path]) -> Result<Vec<HistoryRun>, HistoryError> {
    let paths = folders_without(folders, left_out)?;
    let judged: Vec<Manifest> =
        left_out.iter().filter_map(|folder| Some(UnreadRun::open(folder, true).ok()?.manifest)).collect();
    let mut runs = Vec::with_capacity(paths.len());
    // A run of each processor at a time: of a run that was read only its cells are kept.
    for some in paths.chunks(thread::available_parallelism().map_or(1, NonZero::get)) {
        let read: Vec<Result<HistoryRun, StoreError>> = thread::scope(|scope| {
            let begun: Vec<_> = some.iter().map(|path| scope.spawn(move || one(path))).collect();
            begun.into_iter().map(|reading| reading.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        for run in read {
            let run: HistoryRun = run?;
            // A copy would say that runs do not differ.
            let mut others = runs.iter().map(|run: &HistoryRun| &run.manifest).chain(&judged);
            if !others.any(|other| other.is_of_same_run(&run.manifest)) {
                runs.push(run);
            }
        }
    }
    Ok(runs)
}

/// Where the runs lie that [`read_without`] reads.
///
/// # Errors
/// A folder that is no run and holds none, or cannot be looked into.
pub fn folders_without(folders: &[PathBuf], left_out: &[&Path]) -> Result<Vec<PathBuf>, HistoryError> {
    // One that is not there yet holds no run.
    let left_out: Vec<PathBuf> = left_out.iter().filter_map(|folder| fs::canonicalize(folder).ok()).collect();
    let (mut seen, mut paths) = (BTreeSet::new(), Vec::new());
    for folder in folders {
        must_be_there(folder)?;
        let found = runs_in(folder)?;
        if found.is_empty() {
            return Err(HistoryError::NoRun(folder.display().to_string()));
        }
        for path in found {
            let real = fs::canonicalize(&path).map_err(io_error(&path, "read"))?;
            let is_left_out = left_out.iter().any(|folder| real.starts_with(folder));
            if !is_left_out && seen.insert(real) {
                paths.push(path);
            }
        }
    }
    Ok(paths)
}

fn is_run(folder: &Path) -> bool {
    folder.join(store::PLAN).is_file() && folder.join(store::MEASUREMENTS).is_file()
}

fn runs_in(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    if is_run(folder) {
        return Ok(vec![folder.to_owned()]);
    }
    let entries = fs::read_dir(folder).map_err(io_error(folder, "read"))?;
    let mut runs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| is_run(path)).collect();
    runs.sort();
    Ok(runs)
}

fn one(path: &Path) -> Result<HistoryRun, StoreError> {
    let run = RunFolder::open(path)?;
    let sources = Sources::new(&run.recording, &run.plan, &run.manifest, &[]);
    let rows = sources.rows::<Summary>().to_vec();
    let cells = cells(&run, &rows);
    Ok(HistoryRun {
        folder: path.display().to_string(),
        started_unix_ns: run.manifest.epochs.first().map_or(0, |epoch| epoch.started_unix_ns),
        stack_sha256: run.manifest.stack_sha256.clone(),
        finished: run.recording.finished(),
        manifest: run.manifest,
        cells,
    })
}

/// The cells of a run that may be followed: what does not prove where it ran may have run elsewhere each time.
fn cells(run: &RunFolder, rows: &[SummaryRow]) -> Vec<MeasuredCell> {
    let planned: HashMap<&str, &Cell> = run.plan.cells.iter().map(|cell| (cell.id.0.as_str(), cell)).collect();
    let followed = rows.iter().filter(|row| row.attribution.compares_with(row.attribution) && row.mode != Mode::E2eKv);
    let measured = followed.filter_map(|row| {
        let cell = planned.get(row.key.cell_id.as_str())?;
        let measured_as = (row.key.weights_id.as_str(), row.key.dtype);
        Some(MeasuredCell {
            name: CellName::of((&run.plan, &run.manifest), cell, row.mode, measured_as, row.prompt_tokens),
            ms: row.location_ms.unwrap_or(row.median_ms),
            interval_ms: row.ci_low_ms.zip(row.ci_high_ms),
        })
    });
    measured.collect()
}
