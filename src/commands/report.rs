//! `phasebench report`: every table of a run, and the report made from them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::analysis;
use crate::cli::RunFolder;
use crate::commands::analyze::{self, Inputs};
use crate::exit::Exit;
use crate::report::document::{Block, Document, Finding};
use crate::report::html::to_html;
use crate::report::markdown::to_markdown;
use crate::report::sections::{ReportedRun, compose};
use crate::store::{StoreError, io_error, write_atomically};

/// The report as Markdown.
pub(super) const MARKDOWN: &str = "report.md";
/// The report as a page.
pub(super) const PAGE: &str = "report.html";
/// The folder of its charts.
pub(super) const PLOTS: &str = "plots";

/// Derives and writes every table, then the report; prints what it finds.
///
/// # Errors
/// A run folder that cannot be read or written, standard output refuses.
pub fn execute(args: &RunFolder, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let Inputs { recording, plan, manifest, trace } = analyze::load(&args.run)?;
    let tables = analysis::derive(&recording, &plan, &manifest, &trace);
    analysis::write(&tables, &args.run)?;
    let document = compose(&ReportedRun {
        tables: &tables,
        plan: &plan,
        manifest: &manifest,
        recording: &recording,
        trace: &trace,
    });
    let files = write(&document, &args.run)?;
    if args.json {
        let mut result = analyze::as_json(&tables, &plan, &recording, &files)?;
        result["findings"] = findings(&document).map(as_json).collect();
        writeln!(out, "{result:#}")?;
        return Ok(Exit::Good);
    }
    print(&document, &args.run, out)?;
    Ok(Exit::Good)
}

/// Writes the report's files; returns their paths inside the run folder.
///
/// Charts come first, so that a page never points to one that is not there. Charts of an earlier report that this
/// one does not have are removed.
pub(super) fn write(document: &Document, run: &Path) -> Result<Vec<String>, StoreError> {
    let plots = run.join(PLOTS);
    fs::create_dir_all(&plots).map_err(io_error(&plots, "create"))?;
    let files = contents(document);
    for (name, bytes) in &files {
        write_atomically(&run.join(name), bytes)?;
    }
    for stale in charts(&plots)?.into_iter().filter(|path| !files.iter().any(|(name, _)| path.ends_with(name))) {
        fs::remove_file(&stale).map_err(io_error(&stale, "remove"))?;
    }
    Ok(files.into_iter().map(|(name, _)| name).collect())
}

/// The report's files with their paths inside the run folder, charts first.
pub(super) fn contents(document: &Document) -> Vec<(String, Vec<u8>)> {
    let charts = document.figures().map(|figure| (figure.path(), figure.svg.standalone().into_bytes()));
    let pages = [(MARKDOWN, to_markdown(document)), (PAGE, to_html(document))];
    charts.chain(pages.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes()))).collect()
}

/// The charts in a folder.
pub(super) fn charts(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = fs::read_dir(folder).map_err(io_error(folder, "read"))?;
    let paths = entries.flatten().map(|entry| entry.path());
    Ok(paths.filter(|path| path.extension().is_some_and(|extension| extension == "svg")).collect())
}

fn findings(document: &Document) -> impl Iterator<Item = &Finding> {
    let blocks = document.verdict.iter().filter_map(|block| match block {
        Block::Findings(findings) => Some(findings),
        _ => None,
    });
    blocks.flatten()
}

fn print(document: &Document, run: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    for block in &document.verdict {
        if let Block::Note(note) = block {
            writeln!(out, "note: {note}")?;
        }
    }
    for finding in findings(document) {
        writeln!(out, "{} ({})", finding.question, finding.standing.as_str())?;
        writeln!(out, "  {}", finding.answer)?;
        writeln!(out, "  {}", finding.grounds)?;
    }
    writeln!(out, "\nreport: {}", run.join(PAGE).display())?;
    Ok(())
}

fn as_json(finding: &Finding) -> Value {
    json!({
        "question": finding.question,
        "standing": finding.standing.as_str(),
        "answer": finding.answer.to_string(),
        "grounds": finding.grounds.to_string(),
    })
}
