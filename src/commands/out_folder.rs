//! The folders that `--out` names: none that is a run, and CSV files in them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::analysis::columns::nested::CsvFile;
use crate::store::{PLAN, StoreError, io_error, write_inside};

use super::CommandError;

/// What `decide` advises, in rows as those of `analysis/recommendations.csv`.
pub const DECISIONS: &str = "decisions.csv";

/// Refuses the folder of a run: its own report has the same names as what is written.
///
/// # Errors
/// The folder is a run.
pub fn not_a_run(folder: &Path) -> Result<(), StoreError> {
    if !folder.join(PLAN).exists() {
        return Ok(());
    }
    let why = "is a run, whose own report has these names\n  try: another --out".to_owned();
    Err(StoreError::Content { path: folder.display().to_string(), why })
}

/// Writes tables into a folder, which is made where it is not there. Those without rows are left out.
///
/// # Errors
/// The folder is a run, or it or a file cannot be written.
pub fn write_tables(tables: &[CsvFile], folder: &Path) -> Result<Vec<PathBuf>, CommandError> {
    not_a_run(folder)?;
    fs::create_dir_all(folder).map_err(io_error(folder, "create"))?;
    tables.iter().filter(|table| !table.is_empty()).map(|table| write_table(table, folder)).collect()
}

/// Writes one into a folder that is there, with rows or without.
///
/// # Errors
/// It cannot be written.
pub fn write_table(table: &CsvFile, folder: &Path) -> Result<PathBuf, CommandError> {
    write_inside(folder, Path::new(table.name), &table.bytes()?)?;
    Ok(folder.join(table.name))
}
