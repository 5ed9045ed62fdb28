//! Rows of text formats as objects: CSV with a header, SQL `INSERT` statements, Markdown tables.

use std::collections::BTreeSet;

use csv::ReaderBuilder;
use serde_json::{Map, Value};

use super::error::ImportError;
use super::source::Source;

/// A row with the line it stands in.
pub(super) struct Row {
    pub(super) line: usize,
    pub(super) fields: Map<String, Value>,
}

/// CSV with a header, each column once.
pub(super) fn csv(source: &Source) -> Result<Vec<Row>, ImportError> {
    let mut reader = ReaderBuilder::new().trim(csv::Trim::All).comment(Some(b'#')).from_reader(source.text.as_bytes());
    let failed = |error: &csv::Error| {
        let line = error.position().map_or_else(String::new, |position| position.line().to_string());
        source.error(line, format!("is no CSV: {error}"), "as many cells in every line as the header has")
    };
    let header = reader.headers().map_err(|error| failed(&error))?.clone();
    once(source, "1", header.iter())?;
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| failed(&error))?;
        let line = record.position().map_or(0, |position| position.line() as usize);
        rows.push(Row { line, fields: object(header.iter(), record.iter()) });
    }
    if rows.is_empty() {
        return Err(source.error("1", "has a header and no row", "a row per call or test"));
    }
    Ok(rows)
}

/// The rows of `INSERT INTO name (columns) VALUES (values);`, each in a line of its own.
pub(super) fn inserts(source: &Source, name: &str) -> Result<Vec<Row>, ImportError> {
    let begin = format!("INSERT INTO {name} (");
    let mut rows = Vec::new();
    for (text, line) in source.text.lines().zip(1..).filter(|(text, _)| text.trim_start().starts_with("INSERT INTO")) {
        let place = line.to_string();
        let broken = || source.error(place.clone(), "is no whole INSERT statement", format!("{begin}…) VALUES (…);"));
        let rest = text.trim().strip_prefix(&begin).ok_or_else(broken)?;
        let (columns, rest) = rest.split_once(") VALUES (").ok_or_else(broken)?;
        let values = literals(rest.strip_suffix(");").ok_or_else(broken)?).ok_or_else(broken)?;
        let columns: Vec<&str> = columns.split(',').map(str::trim).collect();
        once(source, &place, columns.iter().copied())?;
        if columns.len() != values.len() {
            let what = format!("{} columns and {} values", columns.len(), values.len());
            return Err(source.error(place, what, "a value for every column"));
        }
        rows.push(Row { line, fields: object(columns.into_iter(), values.iter().map(String::as_str)) });
    }
    if rows.is_empty() {
        return Err(source.error("", "has no row", format!("{begin}…) VALUES (…);")));
    }
    Ok(rows)
}

/// SQL literals between commas: `'text'` with `''` for a quote, or bare numbers. `None`: something else.
fn literals(text: &str) -> Option<Vec<String>> {
    let (mut values, mut rest) = (Vec::new(), text.trim());
    loop {
        let mut value = String::new();
        if let Some(mut quoted) = rest.strip_prefix('\'') {
            loop {
                let (before, after) = quoted.split_once('\'')?;
                value.push_str(before);
                let Some(more) = after.strip_prefix('\'') else {
                    rest = after.trim_start();
                    break;
                };
                value.push('\'');
                quoted = more;
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            value = rest[..end].trim().to_owned();
            rest = &rest[end..];
        }
        values.push(value);
        if rest.is_empty() {
            return Some(values);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

/// The one Markdown table: its header, a line of dashes, its rows.
pub(super) fn markdown(source: &Source) -> Result<Vec<Row>, ImportError> {
    let cells = |line: &str| -> Vec<String> {
        line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let mut lines = source.text.lines().zip(1..).skip_while(|(line, _)| !line.trim_start().starts_with('|'));
    let no_table = || source.error("", "has no table", "a Markdown table as the tool prints it");
    let (header, first) = lines.next().ok_or_else(no_table)?;
    let header = cells(header);
    once(source, &first.to_string(), header.iter().map(String::as_str))?;
    let mut rows = Vec::new();
    for (text, line) in lines.by_ref().take_while(|(line, _)| line.trim_start().starts_with('|')) {
        let values = cells(text);
        if values.iter().all(|cell| cell.chars().all(|c| matches!(c, '-' | ':'))) {
            continue;
        }
        if values.len() != header.len() {
            let what = format!("{} cells under {} columns", values.len(), header.len());
            return Err(source.error(line.to_string(), what, "a cell for every column"));
        }
        let fields = object(header.iter().map(String::as_str), values.iter().map(String::as_str));
        rows.push(Row { line, fields });
    }
    if let Some((_, line)) = lines.find(|(line, _)| line.trim_start().starts_with('|')) {
        let allowed = "one table: import others from files of their own, each a session, and compare other builds";
        return Err(source.error(line.to_string(), "a second table begins", allowed));
    }
    if rows.is_empty() { Err(no_table()) } else { Ok(rows) }
}

fn object<'a>(names: impl Iterator<Item = &'a str>, values: impl Iterator<Item = &'a str>) -> Map<String, Value> {
    names.zip(values).map(|(name, value)| (name.to_owned(), Value::String(value.to_owned()))).collect()
}

/// Whether every column stands there once.
fn once<'a>(source: &Source, place: &str, names: impl Iterator<Item = &'a str>) -> Result<(), ImportError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(source.error(place, format!("column `{name}` stands twice"), "every column once"));
        }
    }
    Ok(())
}
