//! Tables: rows under named columns, each column written once.

use std::fmt::Display;

use super::{Block, Text};

/// Rows under named columns. [`Table::of`] makes one from rows of any kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// What the rows are and where they come from.
    pub caption: Text,
    /// Titles and alignment.
    pub headings: Vec<Heading>,
    /// One text per heading each; the first names the row. A missing cell prints empty.
    pub rows: Vec<Vec<Text>>,
}

/// What stands above a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// Name and unit.
    pub title: String,
    /// Words or numbers.
    pub align: Align,
}

impl Heading {
    /// Above words.
    pub fn words(title: impl Into<String>) -> Self {
        Self { title: title.into(), align: Align::Left }
    }

    /// Above numbers; the title names their unit.
    pub fn numbers(title: impl Into<String>) -> Self {
        Self { title: title.into(), align: Align::Right }
    }
}

/// Where cells stand in their column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

impl Table {
    /// A table of these rows, without columns yet. Rows are references or other small things that can be copied.
    ///
    /// ```
    /// use phasebench_derived::report::{document::Table, format};
    ///
    /// let latencies = [("gpt2-25m", 12.34), ("gpt2-45m", 20.0)];
    /// let table = Table::of(&latencies)
    ///     .words("model", |row| row.0)
    ///     .number("median", "ms", |row| format::ms(row.1))
    ///     .captioned("Medians.".into());
    /// assert_eq!(table.headings[1].title, "median (ms)");
    /// assert_eq!(table.rows[0], ["gpt2-25m".into(), "12.3".into()]);
    /// ```
    pub fn of<R: Copy>(rows: impl IntoIterator<Item = R>) -> Columns<R> {
        let lines = rows.into_iter().map(|row| (row, Vec::new())).collect();
        Columns { headings: Vec::new(), lines }
    }
}

/// A table whose columns are being written.
#[derive(Debug)]
pub struct Columns<R> {
    headings: Vec<Heading>,
    /// Every row with its cells so far.
    lines: Vec<(R, Vec<Text>)>,
}

impl<R: Copy> Columns<R> {
    /// A column of words.
    #[must_use]
    pub fn words<T: Into<Text>>(self, title: impl Into<String>, cell: impl Fn(R) -> T) -> Self {
        self.column(Heading::words(title), cell)
    }

    /// A column of numbers of one unit, which is empty for plain ratios and the like.
    #[must_use]
    pub fn number<T: Into<Text>>(self, title: &str, unit: &str, cell: impl Fn(R) -> T) -> Self {
        self.column(Heading::numbers(with_unit(title, unit)), cell)
    }

    /// A column of counts.
    #[must_use]
    pub fn count<N: Display>(self, title: &str, cell: impl Fn(R) -> N) -> Self {
        self.column(Heading::numbers(title), |row| cell(row).to_string())
    }

    /// A column of estimates with their intervals; `level` says which: `95 %`.
    #[must_use]
    pub fn interval<T: Into<Text>>(self, title: &str, unit: &str, level: &str, cell: impl Fn(R) -> T) -> Self {
        let title = format!("{} [{level}]", with_unit(title, unit));
        self.column(Heading::numbers(title.trim_start()), cell)
    }

    /// These columns too, if `wanted`.
    #[must_use]
    pub fn when(self, wanted: bool, columns: impl FnOnce(Self) -> Self) -> Self {
        if wanted { columns(self) } else { self }
    }

    /// The table, below what it shows.
    #[must_use]
    pub fn captioned(self, caption: Text) -> Table {
        let rows = self.lines.into_iter().map(|(_, cells)| cells).collect();
        Table { caption, headings: self.headings, rows }
    }

    fn column<T: Into<Text>>(mut self, heading: Heading, cell: impl Fn(R) -> T) -> Self {
        self.headings.push(heading);
        for (row, cells) in &mut self.lines {
            cells.push(cell(*row).into());
        }
        self
    }
}

impl From<Table> for Block {
    fn from(table: Table) -> Self {
        Self::Table(table)
    }
}

fn with_unit(title: &str, unit: &str) -> String {
    if unit.is_empty() { title.to_owned() } else { format!("{title} ({unit})") }
}
