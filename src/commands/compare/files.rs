//! A comparison as files: the page, its charts, and every figure as CSV and JSON.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::commands::CommandError;
use crate::commands::out_folder::write_table;
use crate::comparison::{Comparison, Ruling, csv_file};
use crate::report::comparison::compose;
use crate::report::files::write as write_report;
use crate::store::{io_error, write_inside};

/// All of it.
const JSON: &str = "comparison.json";

/// All of it, as it is printed and written: what came of it, which cells count (`gate`, null: all) and how many, and what may be left
/// open.
pub(super) fn as_json(comparisons: &[Comparison], ruling: &Ruling) -> Value {
    json!({
        "outcome": ruling.outcome,
        "gate": ruling.gate,
        "allowed": ruling.allowed,
        "cells": ruling.cells,
        "counting_cells": ruling.counting,
        "comparisons": comparisons,
    })
}

/// Writes them into a folder, which is made where it is not there.
pub(super) fn write(comparisons: &[Comparison], ruling: &Ruling, folder: &Path) -> Result<(), CommandError> {
    fs::create_dir_all(folder).map_err(io_error(folder, "create"))?;
    write_report(&compose(comparisons, ruling), folder)?;
    let json = serde_json::to_vec_pretty(&as_json(comparisons, ruling))?;
    write_inside(folder, Path::new(JSON), &json)?;
    write_table(&csv_file(comparisons)?, folder)?;
    Ok(())
}
