//! From a scenario file's text to a validated [`ScenarioFile`], or to every problem it has.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::node::Node;
use super::problem::{Position, Problem, ScenarioError};
use super::section::Section;
use super::{ScenarioFile, build, check, consistency, format, node, recipe};

/// Reads and validates a scenario file. No other file is touched: models and prompt files are looked at later.
///
/// # Errors
/// The file cannot be read, or has problems: all of them are told.
pub fn read(path: &Path) -> Result<ScenarioFile, ScenarioError> {
    parse(&read_text(path)?, path, path.parent().unwrap_or(Path::new("")))
}

/// The text of a scenario file, unchecked; of a file too large to be one, only the beginning. `-` is standard input.
///
/// # Errors
/// The file cannot be read, or is not text.
pub fn read_text(path: &Path) -> Result<String, ScenarioError> {
    text("scenario file", path)
}

/// The text of a file that is `what`, unchecked; of a file too large to be one, only the beginning.
pub(super) fn text(what: &'static str, path: &Path) -> Result<String, ScenarioError> {
    let most = node::MAX_TEXT as u64 + 1;
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().take(most).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(most).read_to_string(&mut text))
    };
    read.map_err(|source| ScenarioError::Unreadable { what, path: path.to_owned(), source })?;
    Ok(text)
}

/// Validates a scenario file's text. `path` is for messages, `base` is where relative paths start.
///
/// # Errors
/// Every problem of the text.
pub fn parse(text: &str, path: &Path, base: &Path) -> Result<ScenarioFile, ScenarioError> {
    whole(text, path, &format::SCENARIO_FILE, contradictions, |root| build::file(root, base))
}

fn contradictions(root: &Node, problems: &mut Vec<Problem>) {
    consistency::check(root, problems);
    for model in root.get("models").map_or(&[][..], Node::items) {
        if let Some(synthetic) = model.get("synthetic") {
            recipe::check(synthetic, problems);
        }
    }
}

/// A file of any of our formats: its text against `format`, its keys against each other by `check`, its values by `build`.
pub(super) fn whole<T>(
    text: &str,
    path: &Path,
    format: &Section,
    check: impl Fn(&Node, &mut Vec<Problem>),
    build: impl Fn(&Node) -> Option<T>,
) -> Result<T, ScenarioError> {
    let mut problems = Vec::new();
    let mut root = node::parse(text, &mut problems).map_err(|problem| ScenarioError::invalid(path, vec![problem]))?;
    check::section(&mut root, format, &mut problems);
    check(&root, &mut problems);
    match build(&root) {
        Some(file) if problems.is_empty() => Ok(file),
        None if problems.is_empty() => {
            let message = format!("this file passed every check and still makes no {}: please report it", noun(format));
            let at = Position { line: 1, column: 1 };
            Err(ScenarioError::invalid(path, vec![Problem::new(at, message)]))
        }
        _ => Err(ScenarioError::invalid(path, problems)),
    }
}

/// `scenario file` of `a scenario file`.
fn noun(format: &Section) -> &'static str {
    format.what.split_once(' ').map_or(format.what, |(_, noun)| noun)
}
