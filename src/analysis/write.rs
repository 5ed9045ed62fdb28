//! Tables as files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::store::{StoreError, write_inside};

use super::Tables;
use super::columns::Columns;
use super::table::Table;

/// The folder inside a run for all tables but `metrics.csv`.
pub const FOLDER: &str = "analysis";

/// The file that says what comes from a script, where anything does: its name stands before those of tables.
pub const SIMULATED: &str = "SIMULATED.txt";

/// Rows of `energy_events.csv` as JSON.
const EVENTS: &str = "events.jsonl";
/// Idle power.
const BASELINE: &str = "baseline.json";
/// What was measured of sensors.
const CALIBRATION: &str = "calibration.json";

/// Why tables cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A file or the folder could not be written.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A row does not fit its table.
    #[error("{table}: {source}")]
    Csv {
        /// The file inside the run folder.
        table: String,
        /// What the CSV writer says.
        source: csv::Error,
    },
    /// A row cannot be written as JSON.
    #[error("{table}: {source}")]
    Json {
        /// The file inside the run folder.
        table: String,
        /// What the JSON writer says.
        source: serde_json::Error,
    },
    /// A table was left unfinished by the writer.
    #[error("{table}: {source}")]
    Flush {
        /// The file inside the run folder.
        table: String,
        /// The system's error.
        source: std::io::Error,
    },
}

/// The bytes of every file that [`write()`] writes, by path inside the run folder.
///
/// A table without rows has its header only.
///
/// # Errors
/// [`WriteError::Csv`] for a row that CSV cannot hold.
pub fn files(tables: &Tables) -> Result<BTreeMap<PathBuf, Vec<u8>>, WriteError> {
    let mut files = tables.csv_files()?;
    if !tables.energy_events.is_empty() {
        files.insert(PathBuf::from(EVENTS), json_lines(EVENTS, &tables.energy_events)?);
        files.insert(PathBuf::from(BASELINE), json(BASELINE, &tables.baselines)?);
        files.insert(PathBuf::from(CALIBRATION), json(CALIBRATION, &tables.calibrations)?);
    }
    if let Some(text) = &tables.simulated {
        files.insert(PathBuf::from(FOLDER).join(SIMULATED), text.clone().into_bytes());
    }
    Ok(files)
}

/// Writes every table into a run folder: `metrics.csv` beside the record, the others below [`FOLDER`].
///
/// Each file is replaced whole. Returns their paths inside the run folder.
///
/// # Errors
/// What the system says, with the path.
pub fn write(tables: &Tables, run: &Path) -> Result<Vec<PathBuf>, WriteError> {
    let files = files(tables)?;
    crate::files::sweep_below(run);
    for (path, bytes) in &files {
        write_inside(run, path, bytes)?;
    }
    Ok(files.into_keys().collect())
}

/// Rows below a header; without rows the header alone.
pub(super) fn csv<T: Table>(rows: &[T::Row]) -> Result<Vec<u8>, WriteError> {
    let failed = |source| WriteError::Csv { table: T::FILE.to_owned(), source };
    // The header is written apart from the rows, so that a table without any has one.
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    writer.write_record(T::Row::columns().iter().map(|column| column.name)).map_err(failed)?;
    for row in rows {
        writer.serialize(row).map_err(failed)?;
    }
    writer.into_inner().map_err(|error| WriteError::Flush { table: T::FILE.to_owned(), source: error.into_error() })
}

/// Rows as one array.
fn json<R: Serialize>(file: &str, rows: &[R]) -> Result<Vec<u8>, WriteError> {
    let mut bytes = serde_json::to_vec_pretty(rows).map_err(|source| unserialisable(file, source))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Rows as one object a line.
fn json_lines<R: Serialize>(file: &str, rows: &[R]) -> Result<Vec<u8>, WriteError> {
    let mut bytes = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut bytes, row).map_err(|source| unserialisable(file, source))?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

fn unserialisable(file: &str, source: serde_json::Error) -> WriteError {
    WriteError::Json { table: file.to_owned(), source }
}
