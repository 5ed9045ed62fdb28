//! Tables as files.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;
use serde::Serialize;

use crate::files::{Prepared, SameBytes, SameLines};
use crate::store::{StoreError, io_error, place_inside};

use super::Tables;
use super::columns::Columns;
use super::metrics::{MetricRow, Metrics};
use super::table::{Sources, Table};

mod cells;

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

/// Rows that one thread makes the lines of at once.
const ROWS: usize = 1 << 10;

/// Times that each thread does so while the lines before them are written.
const TURNS: usize = 4;

/// Bytes that a line may take, on average, before there is not room enough for a thread's.
const LINE: usize = 512;

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
type Fill<'a> = Box<dyn Fn(&mut Out<'_>) -> Result<(), WriteError> + 'a>;

/// What takes a file's bytes while more of them are made.
pub type Out<'a> = dyn Write + Send + 'a;

/// A file of tables. Its bytes are made while they are taken, for there may be gigabytes of them.
pub struct TableFile<'a> {
    path: PathBuf,
    fill: Fill<'a>,
}

impl<'a> TableFile<'a> {
    /// A file by its path inside the run folder; `fill` gives its bytes.
    pub(super) fn new(path: impl Into<PathBuf>, fill: impl Fn(&mut Out<'_>) -> Result<(), WriteError> + 'a) -> Self {
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
    pub fn fill(&self, out: &mut Out<'_>) -> Result<(), WriteError> {
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
/// Each file is replaced whole, unless it holds the same bytes. Returns their paths inside the run folder.
///
/// # Errors
/// What the system says, with the path.
pub fn write(tables: &Tables, run: &Path) -> Result<Vec<PathBuf>, WriteError> {
    crate::files::sweep_below(run);
    let put = |file: TableFile<'_>| prepared(run, &file)?.put();
    let written = table_files(tables).into_iter().map(put).collect::<Result<Vec<_>, WriteError>>()?;
    sync(run)?;
    Ok(written)
}

/// Waits until the names of all tables are on the disk.
fn sync(run: &Path) -> Result<(), WriteError> {
    for folder in [run.join(FOLDER), run.to_owned()] {
        crate::files::sync_folder(&folder).map_err(io_error(&folder, "sync"))?;
    }
    Ok(())
}

/// Derives every table of a run as [`derive`](super::derive()) does, and writes them as [`write()`] does: the largest while the
/// others are derived.
///
/// # Errors
/// As [`write()`].
pub fn derive_and_write(from: &Sources<'_>, run: &Path) -> Result<(Tables, Vec<PathBuf>), WriteError> {
    crate::files::sweep_below(run);
    let (tables, largest) = Tables::derive_beside(from, |rows| prepared(run, &metrics_file(rows)));
    let mut largest = Some(largest);
    let put = |file: TableFile<'_>| match largest.take_if(|_| is_metrics(&file)) {
        Some(largest) => largest?.put(),
        None => prepared(run, &file)?.put(),
    };
    let written = table_files(&tables).into_iter().map(put).collect::<Result<Vec<_>, WriteError>>()?;
    sync(run)?;
    Ok((tables, written))
}

/// The file of these rows, which is the largest of all.
pub(super) fn metrics_file(rows: &[MetricRow]) -> TableFile<'_> {
    TableFile::new(Metrics::FILE, move |out| csv::<Metrics>(rows, out))
}

/// Whether a file is that of [`metrics_file`].
pub(super) fn is_metrics(file: &TableFile<'_>) -> bool {
    file.path == Path::new(Metrics::FILE)
}

/// Whether the file of a table holds what it is to hold.
pub(super) fn is_current(run: &Path, table: &TableFile<'_>) -> Result<bool, WriteError> {
    let mut held = SameBytes::as_in(&run.join(&table.path))?;
    match table.fill(&mut held) {
        Err(_) if held.differs() => Ok(false),
        filled => {
            filled?;
            Ok(held.is_all()?)
        }
    }
}

/// Whether the file of a table, which is not [current](is_current), is so but for CRLF in place of LF.
pub(super) fn differs_in_line_endings(run: &Path, table: &TableFile<'_>) -> Result<bool, WriteError> {
    let mut held = SameLines::as_in(&run.join(&table.path))?;
    match table.fill(&mut held) {
        Err(_) if held.differs() => Ok(false),
        filled => {
            filled?;
            Ok(held.is_all()?)
        }
    }
}

/// A table's file that is not yet in its place.
struct PreparedTable {
    /// `None`: what is there holds the same.
    file: Option<Prepared>,
    place: PathBuf,
    /// Inside the run folder.
    path: PathBuf,
}

fn prepared(run: &Path, table: &TableFile<'_>) -> Result<PreparedTable, WriteError> {
    let place = place_inside(run, &table.path)?;
    // What is there already need not be written again; what cannot be read is.
    let file = Prepared::if_changed(&place, |out| table.fill(out)).map_err(|error| match error {
        WriteError::Io(source) => io_error(&place, "write")(source).into(),
        other => other,
    })?;
    Ok(PreparedTable { file, place, path: table.path.clone() })
}

impl PreparedTable {
    /// Puts it in its place; says where that is inside the run folder.
    fn put(self) -> Result<PathBuf, WriteError> {
        if let Some(file) = self.file {
            file.put().map_err(io_error(&self.place, "write"))?;
        }
        Ok(self.path)
    }
}

/// Rows below a header; without rows the header alone.
pub(super) fn csv<T: Table>(rows: &[T::Row], out: &mut Out<'_>) -> Result<(), WriteError> {
    // The header is written apart from the rows, so that a table without any has one.
    let mut header = csv::Writer::from_writer(Vec::new());
    header.write_record(T::Row::columns().iter().map(|column| column.name)).map_err(unwritten::<T>)?;
    out.write_all(&header.into_inner().map_err(|error| error.into_error())?)?;
    let mut made: Vec<Result<Vec<u8>, WriteError>> = Vec::new();
    for window in rows.chunks(TURNS * ROWS * rayon::current_num_threads()) {
        let next = || window.par_chunks(ROWS).map(lines::<T>).collect::<Vec<_>>();
        let (written, next) = rayon::join(|| write_parts(made, out), next);
        written?;
        made = next;
    }
    write_parts(made, out)
}

fn write_parts(parts: Vec<Result<Vec<u8>, WriteError>>, out: &mut Out<'_>) -> Result<(), WriteError> {
    for part in parts {
        out.write_all(&part?)?;
    }
    Ok(())
}

/// Rows as they stand in a CSV file.
fn lines<T: Table>(rows: &[T::Row]) -> Result<Vec<u8>, WriteError> {
    let mut lines = Vec::with_capacity(LINE * rows.len());
    for row in rows {
        cells::add_line(row, &mut lines).map_err(unwritten::<T>)?;
    }
    Ok(lines)
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
fn json<R: Serialize>(file: &str, rows: &[R], out: &mut Out<'_>) -> Result<(), WriteError> {
    let mut out = BufWriter::new(out);
    serde_json::to_writer_pretty(&mut out, rows).map_err(|source| unserialisable(file, source))?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Rows as one object a line.
fn json_lines<R: Serialize>(file: &str, rows: &[R], out: &mut Out<'_>) -> Result<(), WriteError> {
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::cell::Cell;
    use std::fs;

    use super::*;

    /// A table may be gigabytes, and making it takes longer than writing it.
    #[test]
    fn a_table_is_made_once_whatever_is_there() {
        let run = tempfile::tempdir().unwrap();
        let place = run.path().join("table.csv");
        for held in [None, Some("a,b\n1,2\n"), Some("a,b\n1,3\n"), Some("a,b\n1,2\n3,4\n")] {
            drop(fs::remove_file(&place));
            if let Some(held) = held {
                fs::write(&place, held).unwrap();
            }
            let made = Cell::new(0);
            let table = TableFile::new("table.csv", |out| {
                made.set(made.get() + 1);
                out.write_all(b"a,b\n")?;
                Ok(out.write_all(b"1,2\n")?)
            });
            prepared(run.path(), &table).unwrap().put().unwrap();
            assert_eq!((made.get(), fs::read_to_string(&place).unwrap().as_str()), (1, "a,b\n1,2\n"), "{held:?}");
        }
    }
}
