//! `docs/tables.md`: what every column of every table means. The page is what the registry says.
//!
//! To write it again: `UPDATE=1 cargo test --test numbers tables_page`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use phasebench::analysis::columns::{Column, Description, Kind};
use phasebench::analysis::energy::trace_columns;
use phasebench::analysis::{across, descriptions};
use phasebench::cost::bill;
use phasebench::{comparison, history};

const INTRO: &str = "\
# Tables

What every column of every CSV file means. Those of a run come first: `phasebench analyze RUN` makes them from the record,
`phasebench validate RUN` makes them again and compares; `power_trace.csv` alone is recorded. Behind them are the files that [`compare`](#compare---out),
[`history`](#history---out), [`report`](#report---out) and [`cost`](#cost---out) write where `--out` says. An empty cell says that
there is no figure, never 0. Numbers keep all their digits; a unit stands at the end of a column's name where there is one.
Which columns a file has does not depend on what is in it.

This page is written from the tables' own definitions: `UPDATE=1 cargo test --test numbers tables_page`.
";

/// A command, what must be known before the files that its `--out` writes besides a page, and these.
type OfCommand = (&'static str, &'static str, fn() -> Vec<Description>);

const COMMANDS: [OfCommand; 4] = [
    (
        "compare --out",
        "So does `rerun`. Files of `compare` are about one or more comparisons.",
        comparison::descriptions,
    ),
    ("history --out", "", history::descriptions),
    (
        "report --out",
        "Of several runs. With `--pricing`, the files of `cost` are there too; and `decisions.csv` of the first run, which \
         `decide --out` writes of all beside `claims.csv`: they have the columns of `analysis/recommendations.csv` and `analysis/claims.csv`, of several runs \
         behind a column `run`.",
        across::descriptions,
    ),
    (
        "cost --out",
        "Files without rows are left out. What is said of a field holds for all columns of its parts.",
        bill::descriptions,
    ),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Of a run: `metrics.csv` first, the others by name.
fn tables_of_a_run() -> Vec<Description> {
    let mut tables = descriptions();
    tables.push(trace_columns::description());
    tables.sort_by_key(|table| (table.file.contains('/'), table.file));
    tables
}

fn all_tables() -> Vec<Description> {
    let of_commands = COMMANDS.iter().flat_map(|(_, _, descriptions)| descriptions());
    tables_of_a_run().into_iter().chain(of_commands).collect()
}

fn page() -> String {
    let mut page = INTRO.to_owned();
    for table in tables_of_a_run() {
        write_table(&mut page, "##", &table);
    }
    for (command, first, descriptions) in COMMANDS {
        write!(page, "\n## `{command}`\n").unwrap();
        if !first.is_empty() {
            write!(page, "\n{first}\n").unwrap();
        }
        for table in descriptions() {
            write_table(&mut page, "###", &table);
        }
    }
    page
}

fn write_table(page: &mut String, level: &str, table: &Description) {
    write!(page, "\n{level} {}\n\n{}\n\n", table.file, table.about).unwrap();
    page.push_str("| column | holds | unit | meaning |\n|---|---|---|---|\n");
    for column in &table.columns {
        let (name, holds, unit) = (&column.name, column.kind, column.unit().unwrap_or_default());
        writeln!(page, "| `{name}` | {holds} | {unit} | {} |", meaning(column)).unwrap();
    }
}

fn meaning(column: &Column<String>) -> String {
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
    let tables = tables_of_a_run();
    let written = tables.iter().filter(|table| example.join(table.file).is_file());
    let mut compared = 0;
    for table in written {
        let mut reader = csv::Reader::from_path(example.join(table.file)).unwrap();
        let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(reader.headers().unwrap(), names, "{}", table.file);
        compared += 1;
    }
    let of_example = fs::read_dir(example.join("analysis")).unwrap().count() + 1;
    assert_eq!(compared, of_example, "a file of the example is no table");
    for table in &all_tables() {
        let names: BTreeSet<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names.len(), table.columns.len(), "{}: a column stands twice", table.file);
    }
}

#[test]
fn every_column_says_what_it_means() {
    for table in all_tables() {
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
    for table in all_tables() {
        for column in &table.columns {
            let by_name = column.unit_of_name();
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
