//! What a report's first screen answers, as commands print it.

use std::io::Write;

use serde_json::{Value, json};

use crate::report::document::{Block, Document, Finding};

use super::CommandError;

/// All of a document, in order.
pub fn findings(document: &Document) -> impl Iterator<Item = &Finding> {
    let blocks = document.verdict.iter().filter_map(|block| match block {
        Block::Findings(findings) => Some(findings),
        _ => None,
    });
    blocks.flatten()
}

/// A question with its answer, and what that rests on.
///
/// # Errors
/// Standard output refuses.
pub fn print_finding(finding: &Finding, out: &mut dyn Write) -> Result<(), CommandError> {
    writeln!(out, "{} ({})", finding.question, finding.assurance.as_str())?;
    writeln!(out, "  {}", finding.answer)?;
    writeln!(out, "  {}", finding.grounds)?;
    Ok(())
}

/// The same for a program.
#[must_use]
pub fn as_json(finding: &Finding) -> Value {
    json!({
        "question": finding.question,
        "standing": finding.assurance.as_str(),
        "answer": finding.answer.to_string(),
        "grounds": finding.grounds.to_string(),
    })
}
