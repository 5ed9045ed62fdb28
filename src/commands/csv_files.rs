//! Rows as they stand in JSON, as CSV files.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::commands::CommandError;
use crate::files;
use crate::store::io_error;

/// A table's file, and its rows as they stand in the JSON.
pub type File = (&'static str, Vec<Value>);

/// Rows as they stand in the JSON.
///
/// # Errors
/// A row that is no JSON.
pub fn rows<R: Serialize>(of: &[R]) -> Result<Vec<Value>, serde_json::Error> {
    of.iter().map(serde_json::to_value).collect()
}

/// Writes tables into a folder, a figure's parts in columns of their own: `cost_total_value`, `cost_total_low`,
/// `cost_total_high`. A cell without a value is empty. Tables without rows are left out.
///
/// # Errors
/// The folder or a file cannot be written.
pub fn write(tables: Vec<File>, folder: &Path) -> Result<Vec<PathBuf>, CommandError> {
    fs::create_dir_all(folder).map_err(io_error(folder, "create"))?;
    let mut written = Vec::new();
    for (name, rows) in tables {
        if rows.is_empty() {
            continue;
        }
        let path = folder.join(name);
        files::replace(&path, &csv(&rows)?).map_err(io_error(&path, "write"))?;
        written.push(path);
    }
    Ok(written)
}

/// Rows as they stand in the JSON as one file. A cell without a value is empty.
///
/// # Errors
/// Never for rows of plain values.
pub fn csv(rows: &[Value]) -> Result<Vec<u8>, CommandError> {
    let flat: Vec<Map<String, Value>> = rows.iter().map(flattened).collect();
    let columns = columns(&flat);
    let mut writer = csv::Writer::from_writer(Vec::new());
    let failed = |error: csv::Error| CommandError::from(std::io::Error::other(error));
    writer.write_record(&columns).map_err(failed)?;
    for row in &flat {
        writer.write_record(columns.iter().map(|name| cell(row.get(*name)))).map_err(failed)?;
    }
    writer.into_inner().map_err(|error| CommandError::from(error.into_error()))
}

/// What a figure's parts are called after it.
const PARTS: [&str; 3] = ["_value", "_infrastructure_value", "_total_value"];

/// The names that rows have, in the order in which they first come. What is null in one row has parts in another: the parts
/// are the columns.
fn columns(rows: &[Map<String, Value>]) -> Vec<&str> {
    let mut known: HashSet<&str> = HashSet::new();
    let mut names: Vec<&str> = rows.iter().flat_map(Map::keys).map(String::as_str).collect();
    names.retain(|name| known.insert(name));
    names.retain(|name| !PARTS.iter().any(|part| known.contains(format!("{name}{part}").as_str())));
    names
}

/// A row whose parts are columns: `engine.model` is `engine_model`.
fn flattened(row: &Value) -> Map<String, Value> {
    let mut flat = Map::new();
    for (key, value) in row.as_object().into_iter().flatten() {
        match value {
            Value::Object(_) => {
                flat.extend(flattened(value).into_iter().map(|(part, value)| (format!("{key}_{part}"), value)));
            }
            _ => drop(flat.insert(key.clone(), value.clone())),
        }
    }
    flat
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
