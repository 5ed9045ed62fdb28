//! `docs/tables.md`: what every column of every table means. The page is what the registry says.
//!
//! To write it again: `UPDATE=1 cargo test --test numbers tables_page`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use phasebench::analysis::columns::{Column, Kind};
use phasebench::analysis::descriptions;
use phasebench::analysis::table::Description;

const INTRO: &str = "\
# Tables

What every column of every CSV file of a run means. `phasebench analyze RUN` makes the files from the record,
`phasebench validate RUN` makes them again and compares. An empty cell says that there is no figure, never 0. Numbers keep all
their digits; a unit stands at the end of a column's name where there is one.

This page is written from the tables' own definitions: `UPDATE=1 cargo test --test numbers tables_page`.
";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// `metrics.csv` first, the others by name.
fn tables() -> Vec<Description> {
    let mut tables = descriptions();
    tables.sort_by_key(|table| (table.file.contains('/'), table.file));
    tables
}

fn page() -> String {
    let mut page = INTRO.to_owned();
    for table in tables() {
        write!(page, "\n## {}\n\n{}\n\n", table.file, table.about).unwrap();
        page.push_str("| column | holds | unit | meaning |\n|---|---|---|---|\n");
        for column in &table.columns {
            let (name, holds, unit) = (column.name, column.kind, column.unit().unwrap_or_default());
            writeln!(page, "| `{name}` | {holds} | {unit} | {} |", meaning(column)).unwrap();
        }
    }
    page
}

fn meaning(column: &Column) -> String {
    let source = column.source().map(|source| format!(" *Source: {source}.*")).unwrap_or_default();
    format!("{}{source}", column.meaning()).replace('|', "\\|")
}

#[test]
fn the_page_is_what_the_registry_says() {
    let path = root().join("docs/tables.md");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, page()).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let differs = found.lines().zip(page().lines().map(str::to_owned)).find(|(found, wanted)| found != wanted);
    assert!(
        found == page(),
        "docs/tables.md is not current; UPDATE=1 cargo test --test numbers tables_page writes it again: {differs:?}"
    );
}

#[test]
fn every_column_of_the_example_stands_in_its_table() {
    let example = root().join("results/example");
    let tables = tables();
    let written = tables.iter().filter(|table| example.join(table.file).is_file());
    let mut compared = 0;
    for table in written {
        let mut reader = csv::Reader::from_path(example.join(table.file)).unwrap();
        let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        assert_eq!(reader.headers().unwrap(), names, "{}", table.file);
        compared += 1;
    }
    let of_example = fs::read_dir(example.join("analysis")).unwrap().count() + 1;
    assert_eq!(compared, of_example, "a file of the example is no table");
    for table in &tables {
        let names: BTreeSet<&str> = table.columns.iter().map(|column| column.name).collect();
        assert_eq!(names.len(), table.columns.len(), "{}: a column stands twice", table.file);
    }
}

#[test]
fn every_column_says_what_it_means() {
    for table in tables() {
        for column in &table.columns {
            let (place, meaning) = (format!("{}, {}", table.file, column.name), meaning(column));
            assert!(meaning.len() > 5 && meaning.ends_with(['.', '*']), "{place}: {meaning:?}");
            assert!(!meaning.contains("[`") && !meaning.contains("::"), "{place} names code: {meaning}");
        }
    }
}

/// A number has a unit: its name ends in one, or its description gives one, but never both.
#[test]
fn every_number_has_a_unit() {
    let mut wrong = Vec::new();
    for table in tables() {
        for column in &table.columns {
            let by_name = Column::of::<f64>(column.name, &[]).unit();
            let place = format!("{}, {}", Path::new(table.file).display(), column.name);
            match (by_name, column.declared_unit()) {
                (Some(unit), Some(declared)) => {
                    wrong.push(format!("{place}: its name says {unit}, it says {declared}"))
                }
                (None, None) if column.kind == Kind::Number => wrong.push(format!("{place}: no unit")),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
