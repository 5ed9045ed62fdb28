//! Rows that hold parts, as JSON has them, and the CSV files that are made of such rows.
//!
//! In a CSV file a part's fields are columns of their own, named after the field and the part: `cost: Money` gives
//! `cost_total_value` and others. A row type, or a part of one, is written with `rows!`: the doc comment of a field says what
//! its columns mean, behind it that of the part's field. The header follows from the types, whatever is in the rows.

use std::collections::HashMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Column, Columns, Description};

/// What a field of a row may be.
pub trait Cells {
    /// The columns of such a field, by its name and the lines that are said of it.
    fn columns_of(field: &str, lines: &[&'static str]) -> Vec<Column<String>>;
}

/// A row, or a part of one. Written by `rows!`.
pub trait Row: Serialize {
    /// What it stands for.
    const ABOUT: &'static [&'static str];

    /// All columns, in order.
    fn columns() -> Vec<Column<String>>;
}

/// The column of a field that is one cell.
#[must_use]
pub fn one_column<C: DeserializeOwned>(field: &str, lines: &[&'static str]) -> Vec<Column<String>> {
    vec![Column { name: field.to_owned(), kind: super::Kind::of::<C>(), lines: lines.to_vec().into() }]
}

/// The columns of a field that has parts.
#[must_use]
pub fn columns_of_part<R: Row>(field: &str, lines: &[&'static str]) -> Vec<Column<String>> {
    let within = |column: Column<String>| Column {
        name: format!("{field}_{}", column.name),
        kind: column.kind,
        lines: [lines, &*column.lines].concat().into(),
    };
    R::columns().into_iter().map(within).collect()
}

impl<C: Cells> Cells for Option<C> {
    fn columns_of(field: &str, lines: &[&'static str]) -> Vec<Column<String>> {
        C::columns_of(field, lines)
    }
}

impl Cells for &str {
    fn columns_of(field: &str, lines: &[&'static str]) -> Vec<Column<String>> {
        one_column::<String>(field, lines)
    }
}

impl<C> Cells for Vec<C> {
    fn columns_of(field: &str, lines: &[&'static str]) -> Vec<Column<String>> {
        one_column::<Vec<()>>(field, lines)
    }
}

/// Types whose values are one cell each.
macro_rules! one_cell {
    ($($cell:ty),+ $(,)?) => {
        $(impl $crate::analysis::columns::nested::Cells for $cell {
            fn columns_of(
                field: &str,
                lines: &[&'static str],
            ) -> Vec<$crate::analysis::columns::Column<String>> {
                $crate::analysis::columns::nested::one_column::<$cell>(field, lines)
            }
        })+
    };
}
pub(crate) use one_cell;

one_cell!(bool, f64, u32, u64, usize, String, crate::terms::Dtype, crate::terms::Mode);

/// Defines row types, and parts of rows. Their doc comments are as those of `columns!`; a line that begins with `Unit:` or
/// `Source:` holds for all parts of a field.
macro_rules! rows {
    ($(
        $(#[doc = $about:literal])*
        #[derive($($derived:ident),+)]
        pub struct $row:ident $(<$lifetime:lifetime>)? {
            $($(#[doc = $meaning:literal])* $visible:vis $name:ident: $type:ty,)*
        }
    )+) => {
        $(
            $(#[doc = $about])*
            #[derive($($derived),+)]
            pub struct $row $(<$lifetime>)? {
                $($(#[doc = $meaning])* $visible $name: $type,)*
            }

            impl $(<$lifetime>)? $crate::analysis::columns::nested::Row for $row $(<$lifetime>)? {
                const ABOUT: &'static [&'static str] = &[$($about),*];

                fn columns() -> Vec<$crate::analysis::columns::Column<String>> {
                    use $crate::analysis::columns::nested::Cells;
                    [$(<$type as Cells>::columns_of(stringify!($name), &[$($meaning),*])),*].concat()
                }
            }

            impl $(<$lifetime>)? $crate::analysis::columns::nested::Cells for $row $(<$lifetime>)? {
                fn columns_of(
                    field: &str,
                    lines: &[&'static str],
                ) -> Vec<$crate::analysis::columns::Column<String>> {
                    $crate::analysis::columns::nested::columns_of_part::<Self>(field, lines)
                }
            }
        )+
    };
}
pub(crate) use rows;

impl Description {
    /// Of a file of rows that hold parts.
    #[must_use]
    pub fn of_rows<R: Row>(file: &'static str) -> Self {
        Self { file, about: super::in_a_file(R::ABOUT.iter().copied()), columns: R::columns() }
    }
}

/// Lists which rows of something stand in which file: gives it `csv_files()`, and the module `descriptions()`.
macro_rules! csv_files {
    ($of:ty { $($field:ident: $row:ty => $file:literal,)+ }) => {
        impl $of {
            /// All of it as CSV files.
            ///
            /// # Errors
            /// Never for rows of plain values.
            pub fn csv_files(
                &self,
            ) -> Result<Vec<$crate::analysis::columns::nested::CsvFile>, ::serde_json::Error> {
                use $crate::analysis::columns::nested::CsvFile;
                Ok(vec![$(CsvFile::of::<$row>($file, &self.$field)?),+])
            }
        }

        /// What these files hold, without their rows.
        #[must_use]
        pub fn descriptions() -> Vec<$crate::analysis::columns::Description> {
            use $crate::analysis::columns::Description;
            vec![$(Description::of_rows::<$row>($file)),+]
        }
    };
}
pub(crate) use csv_files;

/// The column that says of which of several runs a row is.
const RUN: &str = "run";

/// A CSV file: a cell without a value is empty.
#[derive(Debug, Clone, PartialEq)]
pub struct CsvFile {
    /// Its name.
    pub name: &'static str,
    header: Vec<String>,
    records: Vec<Vec<String>>,
}

impl CsvFile {
    /// Of rows that hold parts.
    ///
    /// # Errors
    /// Never for rows of plain values.
    pub fn of<R: Row>(name: &'static str, rows: &[R]) -> Result<Self, serde_json::Error> {
        let header: Vec<String> = R::columns().into_iter().map(|column| column.name).collect();
        let records = rows.iter().map(|row| record(&header, row)).collect::<Result<_, _>>()?;
        Ok(Self { name, header, records })
    }

    /// Of a table's rows; of several runs', behind the run that each is of.
    ///
    /// # Errors
    /// Never for rows of plain values.
    pub fn of_runs<R: Columns + Serialize>(
        name: &'static str,
        runs: &[(&str, &[R])],
    ) -> Result<Self, serde_json::Error> {
        let columns: Vec<String> = R::columns().into_iter().map(|column| column.name.to_owned()).collect();
        let is_told = runs.len() > 1;
        let behind = |run: &str| is_told.then(|| run.to_owned()).into_iter();
        let mut records = Vec::new();
        for (run, rows) in runs {
            for row in *rows {
                records.push(behind(run).chain(record(&columns, row)?).collect());
            }
        }
        Ok(Self { name, header: behind(RUN).chain(columns).collect(), records })
    }

    /// Whether there is nothing below the header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What stands in it.
    ///
    /// # Errors
    /// Never: what is written to is memory.
    pub fn bytes(&self) -> std::io::Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for record in [&self.header].into_iter().chain(&self.records) {
            writer.write_record(record)?;
        }
        writer.into_inner().map_err(csv::IntoInnerError::into_error)
    }
}

/// A row's cells in the header's order.
fn record<R: Serialize>(header: &[String], row: &R) -> Result<Vec<String>, serde_json::Error> {
    let mut cells = HashMap::new();
    flatten("", serde_json::to_value(row)?, &mut cells);
    let found = header.iter().map(|name| cells.remove(name).unwrap_or_default()).collect();
    debug_assert!(cells.is_empty(), "no column: {:?}", cells.keys());
    Ok(found)
}

/// Every value of a row by the name of its column: `model` of `engine` is `engine_model`. What is null has no value, and where
/// a part is missing there is none of its columns.
fn flatten(name: &str, value: Value, cells: &mut HashMap<String, String>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (field, value) in fields {
                let name = if name.is_empty() { field } else { format!("{name}_{field}") };
                flatten(&name, value, cells);
            }
        }
        Value::String(text) => drop(cells.insert(name.to_owned(), text)),
        other => drop(cells.insert(name.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    rows! {
        /// A part.
        #[derive(Debug, Serialize)]
        pub struct Part {
            /// The estimate.
            pub value: f64,
            /// What it is of. `None`: nobody knows.
            pub of: Option<Mode>,
        }

        /// A row.
        #[derive(Debug, Serialize)]
        pub struct Whole<'a> {
            name: &'a str,
            /// What it takes.
            /// Unit: seconds.
            takes: Option<Part>,
            /// Lists.
            seen: Vec<u32>,
        }
    }
    use crate::terms::Mode;

    /// Whatever the first rows lack: the header is the same.
    #[test]
    fn the_header_follows_from_the_types() {
        let of = |rows: &[Whole<'_>]| String::from_utf8(CsvFile::of("x.csv", rows).unwrap().bytes().unwrap()).unwrap();
        let bare = Whole { name: "a,b", takes: None, seen: Vec::new() };
        let part = Part { value: 2.0, of: None };
        let full = Whole { name: "c", takes: Some(part), seen: vec![1, 2] };
        assert_eq!(of(&[]), "name,takes_value,takes_of,seen\n");
        assert_eq!(of(&[bare, full]), "name,takes_value,takes_of,seen\n\"a,b\",,,[]\nc,2.0,,\"[1,2]\"\n");
    }

    #[test]
    fn a_part_s_columns_mean_what_field_and_part_say() {
        let columns = Whole::columns();
        let takes = columns.iter().find(|column| column.name == "takes_of").unwrap();
        assert_eq!(takes.meaning(), "What it takes. What it is of. Empty: nobody knows.");
        assert_eq!((takes.unit(), columns[3].kind), (Some("seconds"), super::super::Kind::List));
        assert!(matches!(takes.kind, super::super::Kind::Name(_)));
    }
}
