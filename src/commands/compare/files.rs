//! A comparison as files: the page, its charts, and every figure as CSV and JSON.

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde_json::json;

use crate::commands::{CommandError, csv_files};
use crate::comparison::{CellRow, Comparison, Outcome};
use crate::files;
use crate::report::comparison::compose;
use crate::report::files::write as write_report;
use crate::store::{self, StoreError, io_error};

/// Every figure of every cell.
const CSV: &str = "comparison.csv";
/// All of it.
const JSON: &str = "comparison.json";

/// A row of the CSV file: the cell with the sides that it belongs to.
#[derive(Serialize)]
struct Row<'a> {
    baseline: &'a str,
    candidate: &'a str,
    #[serde(flatten)]
    cell: &'a CellRow,
}

/// Refuses the folder of a run: its own report has the same names as what is written.
///
/// # Errors
/// The folder is a run.
pub(in crate::commands) fn not_a_run(folder: &Path) -> Result<(), StoreError> {
    if !folder.join(store::PLAN).exists() {
        return Ok(());
    }
    let why = "is a run, whose own report has these names\n  try: another --out".to_owned();
    Err(StoreError::Content { path: folder.display().to_string(), why })
}

/// Writes them into a folder, which is made where it is not there.
pub(super) fn write(comparisons: &[Comparison], outcome: Outcome, folder: &Path) -> Result<(), CommandError> {
    fs::create_dir_all(folder).map_err(io_error(folder, "create"))?;
    write_report(&compose(comparisons, outcome), folder)?;
    let json = serde_json::to_vec_pretty(&json!({ "outcome": outcome, "comparisons": comparisons }))?;
    for (name, bytes) in [(CSV, csv(comparisons)?), (JSON, json)] {
        let path = folder.join(name);
        files::replace(&path, &bytes).map_err(io_error(&path, "write"))?;
    }
    Ok(())
}

fn csv(comparisons: &[Comparison]) -> Result<Vec<u8>, CommandError> {
    let mut rows = Vec::new();
    for comparison in comparisons {
        for cell in &comparison.cells {
            rows.push(serde_json::to_value(Row {
                baseline: &comparison.baseline,
                candidate: &comparison.candidate,
                cell,
            })?);
        }
    }
    csv_files::csv(&rows)
}
