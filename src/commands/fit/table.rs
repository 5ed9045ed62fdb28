//! The columns of a CSV file that a fit needs.

use std::fs;
use std::io;

use csv::{Position, ReaderBuilder, StringRecord, Trim};

use crate::cli::FitArgs;
use crate::scenario::nearest;

/// Why a table cannot be fitted.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
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
    #[error("{path}:{line}: column `{column}`: `{found}` is no number; allowed: a finite number, or nothing")]
    Cell {
        /// The file.
        path: String,
        /// Line of the file, from 1.
        line: u64,
        /// The column's name.
        column: String,
        /// The cell's text.
        found: String,
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

/// The rows of a table that have every value asked for.
#[derive(Debug)]
pub(super) struct Table {
    /// In order of their first row; one without a name where no column groups.
    pub(super) groups: Vec<Group>,
    /// Rows with an empty cell in a column that is needed.
    pub(super) left_out: usize,
}

/// Rows that are fitted together.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The value they share. `None`: no column groups.
    pub(super) name: Option<String>,
    pub(super) x: Vec<f64>,
    pub(super) y: Vec<f64>,
    pub(super) x2: Option<Vec<f64>>,
    /// Line of the file of each row, from 1.
    pub(super) lines: Vec<u64>,
}

struct Columns<'a> {
    path: &'a str,
    text: &'a [u8],
    header: &'a StringRecord,
}

impl Columns<'_> {
    fn find(&self, name: &str) -> Result<usize, FitError> {
        let places: Vec<usize> = (0..self.header.len()).filter(|&i| self.header.get(i) == Some(name)).collect();
        match places.as_slice() {
            [place] => Ok(*place),
            [] => Err(FitError::Column {
                path: self.path.to_owned(),
                name: name.to_owned(),
                known: self.header.iter().map(str::to_owned).collect(),
            }),
            _ => Err(FitError::Ambiguous { path: self.path.to_owned(), name: name.to_owned(), times: places.len() }),
        }
    }

    /// The line that a record begins on, from 1. The reader's own count is one behind where lines end in CR LF.
    fn line(&self, at: &Position) -> u64 {
        let begin = usize::try_from(at.byte()).unwrap_or(usize::MAX).min(self.text.len());
        let (before, rest) = self.text.split_at(begin);
        let ends = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
        1 + before.iter().chain(ends).filter(|byte| **byte == b'\n').count() as u64
    }

    /// A cell's number. `None`: it is empty.
    fn number(&self, record: &StringRecord, column: usize) -> Result<Option<f64>, FitError> {
        let text = record.get(column).unwrap_or_default();
        if text.is_empty() {
            return Ok(None);
        }
        let value = text.parse::<f64>().ok().filter(|value| value.is_finite());
        value.map(Some).ok_or_else(|| FitError::Cell {
            path: self.path.to_owned(),
            line: record.position().map_or(0, |at| self.line(at)),
            column: self.header.get(column).unwrap_or_default().to_owned(),
            found: shortened(text),
        })
    }
}

impl Table {
    /// Reads the columns that `args` names.
    ///
    /// # Errors
    /// The first thing in the file that cannot be used.
    pub(super) fn read(args: &FitArgs) -> Result<Self, FitError> {
        let path = &args.table.display().to_string();
        let text = &fs::read(&args.table).map_err(|source| FitError::Read { path: path.clone(), source })?;
        let failed = |source| FitError::Csv { path: path.clone(), source };
        let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(text.as_slice());
        let header = reader.headers().map_err(failed)?.clone();
        let columns = Columns { path, text, header: &header };
        let (x, y) = (columns.find(&args.x)?, columns.find(&args.y)?);
        let x2 = args.x2.as_deref().map(|name| columns.find(name)).transpose()?;
        let by = args.group.as_deref().map(|name| columns.find(name)).transpose()?;

        let mut table = Self { groups: Vec::new(), left_out: 0 };
        if by.is_none() {
            table.groups.push(Group::new(None, x2.is_some()));
        }
        for record in reader.records() {
            let record = record.map_err(failed)?;
            let (x, y) = (columns.number(&record, x)?, columns.number(&record, y)?);
            let second = x2.map(|column| columns.number(&record, column)).transpose()?;
            let (Some(x), Some(y), None | Some(Some(_))) = (x, y, second) else {
                table.left_out += 1;
                continue;
            };
            let name = by.map(|column| record.get(column).unwrap_or_default().to_owned());
            let group = table.group(name, x2.is_some());
            group.push(x, y, second.flatten());
            group.lines.push(record.position().map_or(0, |at| columns.line(at)));
        }
        Ok(table)
    }

    fn group(&mut self, name: Option<String>, two: bool) -> &mut Group {
        let place = self.groups.iter().position(|group| group.name == name).unwrap_or_else(|| {
            self.groups.push(Group::new(name, two));
            self.groups.len() - 1
        });
        &mut self.groups[place]
    }
}

impl Group {
    fn new(name: Option<String>, two: bool) -> Self {
        Self { name, x2: two.then(Vec::new), ..Self::default() }
    }

    fn push(&mut self, x: f64, y: f64, x2: Option<f64>) {
        self.x.push(x);
        self.y.push(y);
        if let (Some(column), Some(value)) = (&mut self.x2, x2) {
            column.push(value);
        }
    }
}
