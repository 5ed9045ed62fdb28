//! `power_trace.csv`: what power sensors said during a run, reading by reading.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{StoreError, io_error};
use crate::units::Nanos;

/// The file's name in a run folder.
pub const POWER_TRACE: &str = "power_trace.csv";

/// The header line.
const COLUMNS: &str = "epoch,sensor,register,begin_ns,end_ns,value,fault\n";

/// One reading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceRow {
    /// Process of the run, on whose clock the times are.
    pub epoch: u32,
    /// Sensor by the name in the manifest.
    pub sensor: String,
    /// Register by the name there, which also tells the unit.
    pub register: String,
    /// Just before it was asked for.
    pub begin_ns: Nanos,
    /// Just after the answer.
    pub end_ns: Nanos,
    /// Joules of a counter, watts, or the state's own unit. `None`: it said nothing.
    pub value: Option<f64>,
    /// Why it said nothing. `None`: it did.
    pub fault: Option<String>,
}

/// Appends to a run's trace. Only the holder of the run's lock may have one.
#[derive(Debug)]
pub struct TraceWriter {
    path: PathBuf,
    file: File,
    waiting: Vec<u8>,
}

impl TraceWriter {
    /// Takes up the file of a run, or makes it; a torn last line is cut off.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn open(run: &Path) -> Result<Self, StoreError> {
        let path = run.join(POWER_TRACE);
        let file = OpenOptions::new().append(true).create(true).open(&path).map_err(io_error(&path, "open"))?;
        let text = fs::read(&path).map_err(io_error(&path, "read"))?;
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        file.set_len(whole as u64).map_err(io_error(&path, "cut off the torn last line"))?;
        let waiting = if whole == 0 { COLUMNS.as_bytes().to_vec() } else { Vec::new() };
        Ok(Self { path, file, waiting })
    }

    /// Takes a row; [`flush`](Self::flush) writes it.
    pub fn push(&mut self, epoch: u32, sensor: &str, register: &str, at: (Nanos, Nanos), value: Result<f64, &str>) {
        // Names are made by this program and hold neither commas nor quotes; the shortest text of an f64 reads back equal.
        let (begin, end) = (at.0.0, at.1.0);
        let written = match value {
            Ok(value) => writeln!(self.waiting, "{epoch},{sensor},{register},{begin},{end},{value},"),
            Err(fault) => writeln!(self.waiting, "{epoch},{sensor},{register},{begin},{end},,{fault}"),
        };
        debug_assert!(written.is_ok(), "memory takes every line");
    }

    /// Hands everything taken to the system, where a crash of this program cannot reach it.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        self.file.write_all(&self.waiting).map_err(io_error(&self.path, "append"))?;
        self.waiting.clear();
        Ok(())
    }
}

/// Reads a run's trace; a torn last line is left out. Empty: the run has none.
///
/// # Errors
/// What the system says, or the line that cannot be read.
pub fn read_trace(run: &Path) -> Result<Vec<TraceRow>, StoreError> {
    let path = run.join(POWER_TRACE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error(&path, "read")(error)),
    };
    let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
    let mut reader = csv::Reader::from_reader(text.get(..whole).unwrap_or_default());
    let rows = reader.deserialize().enumerate().map(|(index, row)| {
        // The header is line 1.
        row.map_err(|error: csv::Error| StoreError::Line {
            path: path.display().to_string(),
            line: index + 2,
            why: error.to_string(),
        })
    });
    rows.collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn write(run: &Path, epoch: u32) {
        let mut writer = TraceWriter::open(run).unwrap();
        writer.push(epoch, "nvml:0", "counter", (Nanos(1), Nanos(2)), Ok(0.1 + 0.2));
        writer.push(epoch, "nvml:0", "instant", (Nanos(3), Nanos(4)), Err("lost"));
        writer.flush().unwrap();
    }

    #[test]
    fn rows_come_back_equal_after_a_torn_line_and_a_second_process() {
        let run = tempfile::tempdir().unwrap();
        assert_eq!(read_trace(run.path()).unwrap(), []);
        write(run.path(), 0);
        let path = run.path().join(POWER_TRACE);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"0,nvml:0,coun").unwrap();
        assert_eq!(read_trace(run.path()).unwrap().len(), 2);
        write(run.path(), 1);
        let rows = read_trace(run.path()).unwrap();
        assert_eq!(rows.iter().map(|row| row.epoch).collect::<Vec<_>>(), [0, 0, 1, 1]);
        assert_eq!((rows[0].value, rows[0].fault.as_deref()), (Some(0.1 + 0.2), None));
        assert_eq!((rows[1].value, rows[1].fault.as_deref()), (None, Some("lost")));
    }

    #[test]
    fn a_line_that_is_no_reading_is_named() {
        let run = tempfile::tempdir().unwrap();
        fs::write(run.path().join(POWER_TRACE), format!("{COLUMNS}0,a,b,1,2,3,\n0,a,b,x,2,3,\n")).unwrap();
        let error = read_trace(run.path()).unwrap_err().to_string();
        assert!(error.contains("power_trace.csv:3"), "{error}");
    }
}
