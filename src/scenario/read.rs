//! From a scenario file's text to a validated [`ScenarioFile`], or to every problem it has.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::problem::{Position, Problem, ScenarioError};
use super::{ScenarioFile, build, check, consistency, format, node, recipe};

/// Reads and validates a scenario file. No other file is touched: models and prompt files are looked at later.
///
/// # Errors
/// The file cannot be read, or has problems: all of them are told.
pub fn read(path: &Path) -> Result<ScenarioFile, ScenarioError> {
    parse(&read_text(path)?, path, path.parent().unwrap_or(Path::new("")))
}

/// The text of a scenario file, unchecked; of a file too large to be one, only the beginning.
///
/// # Errors
/// The file cannot be read, or is not text.
pub fn read_text(path: &Path) -> Result<String, ScenarioError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(node::MAX_TEXT as u64 + 1).read_to_string(&mut text))
        .map_err(|source| ScenarioError::Unreadable { path: path.to_owned(), source })?;
    Ok(text)
}

/// Validates a scenario file's text. `path` is for messages, `base` is where relative paths start.
///
/// # Errors
/// Every problem of the text.
pub fn parse(text: &str, path: &Path, base: &Path) -> Result<ScenarioFile, ScenarioError> {
    let mut problems = Vec::new();
    let mut root = node::parse(text, &mut problems).map_err(|problem| ScenarioError::invalid(path, vec![problem]))?;
    check::section(&mut root, &format::SCENARIO_FILE, &mut problems);
    consistency::check(&root, &mut problems);
    for model in root.get("models").map_or(&[][..], node::Node::items) {
        if let Some(synthetic) = model.get("synthetic") {
            recipe::check(synthetic, &mut problems);
        }
    }
    match build::file(&root, base) {
        Some(file) if problems.is_empty() => Ok(file),
        None if problems.is_empty() => {
            let message = "this file passed every check and still makes no scenario: please report it";
            let at = Position { line: 1, column: 1 };
            Err(ScenarioError::invalid(path, vec![Problem::new(at, message)]))
        }
        _ => Err(ScenarioError::invalid(path, problems)),
    }
}
