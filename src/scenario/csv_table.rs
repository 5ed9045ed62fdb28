//! CSV files with a header, read so that whatever is wrong in them is told with its line and column.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use csv::{Position, ReaderBuilder, StringRecord, Trim};

use super::problem::nearest;

/// Why a table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CsvError {
    /// It cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The system's error.
        source: io::Error,
    },
    /// It is no CSV file.
    #[error("{path}: {source}")]
    Csv {
        /// The file.
        path: String,
        /// What the reader says, with the line.
        source: csv::Error,
    },
    /// No column of that name.
    #[error("{path}:1: unknown column `{name}`{}\n  known: {}", guess(name, known), known.join(", "))]
    Column {
        /// The file.
        path: String,
        /// The name asked for.
        name: String,
        /// The file's columns.
        known: Vec<String>,
    },
    /// Several columns of that name.
    #[error("{path}:1: column `{name}` stands there {times} times, once is allowed")]
    Ambiguous {
        /// The file.
        path: String,
        /// The name asked for.
        name: String,
        /// How often it stands in the header.
        times: usize,
    },
    /// A cell that is no number.
    #[error("{path}:{line}: column `{column}`: `{found}` is no number; allowed: {allowed}")]
    Cell {
        /// The file.
        path: String,
        /// Line of the file, from 1.
        line: u64,
        /// The column's name.
        column: String,
        /// The cell's text.
        found: String,
        /// What may stand there.
        allowed: &'static str,
    },
}

fn guess(name: &str, known: &[String]) -> String {
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    nearest(name, &known).map(|near| format!(", did you mean `{near}`?")).unwrap_or_default()
}

/// Longest cell that a message shows.
const SHOWN: usize = 40;

fn shortened(text: &str) -> String {
    text.char_indices().nth(SHOWN).map_or_else(|| text.to_owned(), |(end, _)| format!("{}…", &text[..end]))
}

/// A file whole; `-` is standard input.
fn bytes(file: &Path) -> io::Result<Vec<u8>> {
    if file != Path::new("-") {
        return fs::read(file);
    }
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text)?;
    Ok(text)
}

/// A table in memory.
#[derive(Debug)]
pub struct CsvTable {
    path: String,
    text: Vec<u8>,
    header: StringRecord,
}

impl CsvTable {
    /// Reads a file and its header; `-` is standard input.
    ///
    /// # Errors
    /// It cannot be read, or has no header.
    pub fn read(file: &Path) -> Result<Self, CsvError> {
        let path = file.display().to_string();
        let text = bytes(file).map_err(|source| CsvError::Read { path: path.clone(), source })?;
        let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(text.as_slice());
        let header = reader.headers().map_err(|source| CsvError::Csv { path: path.clone(), source })?.clone();
        Ok(Self { path, text, header })
    }

    /// Names of the columns, in order.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.header.iter()
    }

    /// Where a column stands.
    ///
    /// # Errors
    /// It stands nowhere, or more than once.
    pub fn find(&self, name: &str) -> Result<usize, CsvError> {
        let places: Vec<usize> = (0..self.header.len()).filter(|&i| self.header.get(i) == Some(name)).collect();
        match places.as_slice() {
            [place] => Ok(*place),
            [] => Err(CsvError::Column {
                path: self.path.clone(),
                name: name.to_owned(),
                known: self.header.iter().map(str::to_owned).collect(),
            }),
            _ => Err(CsvError::Ambiguous { path: self.path.clone(), name: name.to_owned(), times: places.len() }),
        }
    }

    /// Hands out every row below the header.
    ///
    /// # Errors
    /// A row that is none, or what the receiver says.
    pub fn rows<E: From<CsvError>>(&self, mut each: impl FnMut(&StringRecord) -> Result<(), E>) -> Result<(), E> {
        let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(self.text.as_slice());
        let mut record = StringRecord::new();
        let failed = |source| CsvError::Csv { path: self.path.clone(), source };
        while reader.read_record(&mut record).map_err(failed)? {
            each(&record)?;
        }
        Ok(())
    }

    /// The line that a record begins on, from 1. The reader's own count is one behind where lines end in CR LF.
    #[must_use]
    pub fn line(&self, at: &Position) -> u64 {
        let begin = usize::try_from(at.byte()).unwrap_or(usize::MAX).min(self.text.len());
        let (before, rest) = self.text.split_at(begin);
        let ends = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
        1 + before.iter().chain(ends).filter(|byte| **byte == b'\n').count() as u64
    }

    /// A cell's number. `None`: it is empty.
    ///
    /// # Errors
    /// It holds anything else.
    pub fn number(&self, record: &StringRecord, column: usize) -> Result<Option<f64>, CsvError> {
        let finite = |text: &str| text.parse::<f64>().ok().filter(|value| value.is_finite());
        self.cell(record, column, "a finite number, or nothing", finite)
    }

    /// A cell's count. `None`: it is empty.
    ///
    /// # Errors
    /// It holds anything else.
    pub fn count(&self, record: &StringRecord, column: usize) -> Result<Option<u32>, CsvError> {
        self.cell(record, column, "a whole number from 0 to 4294967295, or nothing", |text| text.parse().ok())
    }

    fn cell<T>(
        &self,
        record: &StringRecord,
        column: usize,
        allowed: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, CsvError> {
        let text = record.get(column).unwrap_or_default();
        if text.is_empty() {
            return Ok(None);
        }
        parse(text).map(Some).ok_or_else(|| CsvError::Cell {
            path: self.path.clone(),
            line: record.position().map_or(0, |at| self.line(at)),
            column: self.header.get(column).unwrap_or_default().to_owned(),
            found: shortened(text),
            allowed,
        })
    }
}
