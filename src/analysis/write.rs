//! Tables as files.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;
use serde::Serialize;

use crate::store::{StoreError, io_error, place_inside};

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

/// Bytes that are gathered at once.
const BUFFER: usize = 1 << 16;

/// Rows that one thread makes the lines of at once.
const ROWS: usize = 1 << 12;

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
    /// What was to take the bytes did not.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Writes what a file holds.
type Fill<'a> = Box<dyn Fn(&mut dyn Write) -> Result<(), WriteError> + 'a>;

/// A file of tables. Its bytes are made while they are taken, for there may be gigabytes of them.
pub struct TableFile<'a> {
    path: PathBuf,
    fill: Fill<'a>,
}

impl<'a> TableFile<'a> {
    /// A file by its path inside the run folder; `fill` gives its bytes.
    pub(super) fn new(path: impl Into<PathBuf>, fill: impl Fn(&mut dyn Write) -> Result<(), WriteError> + 'a) -> Self {
        Self { path: path.into(), fill: Box::new(fill) }
    }

    /// Its path inside the run folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives its bytes to `out`.
    ///
    /// # Errors
    /// What `out` says, or [`WriteError::Csv`] for a row that CSV cannot hold.
    pub fn fill(&self, out: &mut dyn Write) -> Result<(), WriteError> {
        (self.fill)(out)
    }
}

/// Every file that [`write()`] writes, in the order of their paths.
///
/// A table without rows has its header only.
#[must_use]
pub fn table_files(tables: &Tables) -> Vec<TableFile<'_>> {
    let mut files = tables.csv_files();
    if !tables.energy_events.is_empty() {
        files.push(TableFile::new(EVENTS, |out| json_lines(EVENTS, &tables.energy_events, out)));
        files.push(TableFile::new(BASELINE, |out| json(BASELINE, &tables.baselines, out)));
        files.push(TableFile::new(CALIBRATION, |out| json(CALIBRATION, &tables.calibrations, out)));
    }
    if let Some(text) = &tables.simulated {
        files.push(TableFile::new(Path::new(FOLDER).join(SIMULATED), |out| Ok(out.write_all(text.as_bytes())?)));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// The bytes of every file that [`write()`] writes, by path inside the run folder.
///
/// # Errors
/// [`WriteError::Csv`] for a row that CSV cannot hold.
pub fn files(tables: &Tables) -> Result<BTreeMap<PathBuf, Vec<u8>>, WriteError> {
    let mut files = BTreeMap::new();
    for file in table_files(tables) {
        let mut bytes = Vec::new();
        file.fill(&mut bytes)?;
        files.insert(file.path, bytes);
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
    crate::files::sweep_below(run);
    let mut written = Vec::new();
    for file in table_files(tables) {
        let path = place_inside(run, &file.path)?;
        crate::files::replace_by(&path, |out| file.fill(out)).map_err(|error| match error {
            WriteError::Io(source) => io_error(&path, "write")(source).into(),
            other => other,
        })?;
        written.push(file.path);
    }
    Ok(written)
}

/// Rows below a header; without rows the header alone.
pub(super) fn csv<T: Table>(rows: &[T::Row], out: &mut dyn Write) -> Result<(), WriteError> {
    // The header is written apart from the rows, so that a table without any has one.
    let mut header = csv::Writer::from_writer(Vec::new());
    header.write_record(T::Row::columns().iter().map(|column| column.name)).map_err(unwritten::<T>)?;
    out.write_all(&header.into_inner().map_err(|error| error.into_error())?)?;
    for window in rows.chunks(ROWS * rayon::current_num_threads()) {
        let parts: Vec<Result<Vec<u8>, WriteError>> = window.par_chunks(ROWS).map(lines::<T>).collect();
        for part in parts {
            out.write_all(&part?)?;
        }
    }
    Ok(())
}

/// Rows as they stand in a CSV file.
fn lines<T: Table>(rows: &[T::Row]) -> Result<Vec<u8>, WriteError> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).buffer_capacity(BUFFER).from_writer(Vec::new());
    for row in rows {
        writer.serialize(row).map_err(unwritten::<T>)?;
    }
    Ok(writer.into_inner().map_err(|error| error.into_error())?)
}

fn unwritten<T: Table>(source: csv::Error) -> WriteError {
    if !source.is_io_error() {
        return WriteError::Csv { table: T::FILE.to_owned(), source };
    }
    match source.into_kind() {
        csv::ErrorKind::Io(source) => WriteError::Io(source),
        other => WriteError::Io(io::Error::other(format!("{other:?}"))),
    }
}

/// Rows as one array.
fn json<R: Serialize>(file: &str, rows: &[R], out: &mut dyn Write) -> Result<(), WriteError> {
    let mut out = BufWriter::new(out);
    serde_json::to_writer_pretty(&mut out, rows).map_err(|source| unserialisable(file, source))?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Rows as one object a line.
fn json_lines<R: Serialize>(file: &str, rows: &[R], out: &mut dyn Write) -> Result<(), WriteError> {
    let mut out = BufWriter::new(out);
    for row in rows {
        serde_json::to_writer(&mut out, row).map_err(|source| unserialisable(file, source))?;
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

fn unserialisable(file: &str, source: serde_json::Error) -> WriteError {
    if source.is_io() { WriteError::Io(source.into()) } else { WriteError::Json { table: file.to_owned(), source } }
}
