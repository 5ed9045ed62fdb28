//! `phasebench report`: every table of a run, and the report made from them.

use std::io::Write;

use serde_json::{Value, json};

use crate::analysis::{self, Overview};
use crate::cli::RunFolderArgs;
use crate::commands::CommandError;
use crate::exit::Exit;
use crate::report::document::{Block, Document, Finding};
use crate::report::files::{self, PAGE};
use crate::report::sections::{ReportedRun, compose};
use crate::run_folder::RunFolder;

/// Derives and writes every table, then the report; prints what it finds.
///
/// # Errors
/// A run folder that cannot be read or written, standard output refuses.
pub fn execute(args: &RunFolderArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let run = RunFolder::open_to_write(&args.run)?;
    let trace = run.trace()?;
    let tables = analysis::derive(&run.recording, &run.plan, &run.manifest, &trace);
    analysis::write(&tables, &run.path)?;
    let document = compose(&ReportedRun::new(&run, &trace, &tables));
    let written = files::write(&document, &run.path)?;
    if args.json {
        let mut result = serde_json::to_value(Overview::new(&run, &tables, &written))?;
        result["findings"] = findings(&document).map(as_json).collect();
        writeln!(out, "{result:#}")?;
    } else {
        print(&document, &run, out)?;
    }
    Ok(Exit::Good)
}

fn findings(document: &Document) -> impl Iterator<Item = &Finding> {
    let blocks = document.verdict.iter().filter_map(|block| match block {
        Block::Findings(findings) => Some(findings),
        _ => None,
    });
    blocks.flatten()
}

fn print(document: &Document, run: &RunFolder, out: &mut dyn Write) -> Result<(), CommandError> {
    for block in &document.verdict {
        if let Block::Note(note) = block {
            writeln!(out, "note: {note}")?;
        }
    }
    for finding in findings(document) {
        print_finding(finding, out)?;
    }
    writeln!(out, "\nreport: {}", run.path.join(PAGE).display())?;
    Ok(())
}

/// A question with its answer, and what that rests on.
pub(super) fn print_finding(finding: &Finding, out: &mut dyn Write) -> Result<(), CommandError> {
    writeln!(out, "{} ({})", finding.question, finding.assurance.as_str())?;
    writeln!(out, "  {}", finding.answer)?;
    writeln!(out, "  {}", finding.grounds)?;
    Ok(())
}

pub(super) fn as_json(finding: &Finding) -> Value {
    json!({
        "question": finding.question,
        "standing": finding.assurance.as_str(),
        "answer": finding.answer.to_string(),
        "grounds": finding.grounds.to_string(),
    })
}
