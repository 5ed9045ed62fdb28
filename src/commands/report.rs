//! `phasebench report`: every table of a run and the report made from them; or a report apart from the runs, over several and
//! with prices.

use std::fs;
use std::io::Write;
use std::mem;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use serde_json::{Value, json};

use crate::analysis::validate::contradictions;
use crate::analysis::{self, Overview, Sources};
use crate::cli::ReportArgs;
use crate::commands::CommandError;
use crate::commands::csv_files::{self, rows};
use crate::commands::error::BadReport;
use crate::commands::order::{self, Order};
use crate::commands::runs::ReadRun;
use crate::cost::decision;
use crate::exit::Exit;
use crate::report::document::{Block, Document, Finding};
use crate::report::files::{self, PAGE};
use crate::report::sections::costs::add_costs;
use crate::report::sections::several::{NamedRun, across_runs, compose_several};
use crate::report::sections::{ReportedRun, compose};
use crate::run_folder::RunFolder;
use crate::store::{MEASUREMENTS, io_error};

/// Makes the report; prints what it finds.
///
/// # Errors
/// A run folder that cannot be read or written, several runs without a folder for their report, standard output refuses.
pub fn execute(args: &ReportArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    match (&args.run[..], &args.out) {
        ([run], None) => one(run, args.json, out),
        (runs, None) => Err(BadReport::NoFolder(runs.len()).into()),
        (runs, Some(folder)) => apart(runs, args, folder, out),
    }
}

/// Derives and writes every table, then the report.
fn one(path: &Path, as_json_text: bool, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let run = RunFolder::open_to_write(path)?;
    let trace = run.trace()?;
    let (derived, contradictions) = thread::scope(|scope| {
        let looking = scope.spawn(|| contradictions(&run.recording, &run.plan, &run.manifest));
        let sources = Sources::new(&run.recording, &run.plan, &run.manifest, &trace);
        let derived = analysis::derive_and_write(&sources, &run.path);
        (derived, looking.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    let (tables, _) = derived?;
    let document = compose(&ReportedRun::new(&run, &trace, &tables).with_contradictions(&contradictions));
    let written = files::write(&document, &run.path)?;
    if as_json_text {
        let mut result = serde_json::to_value(Overview::new(&run, &tables, &written))?;
        result["findings"] = findings(&document).map(as_json).collect();
        result["next"] = json!(next_step(&document));
        writeln!(out, "{result:#}")?;
    } else {
        print(&document, &run.path, out)?;
    }
    // The process ends: to give back what a million calls hold would only take time.
    mem::forget((tables, run));
    Ok(Exit::Good)
}

/// Writes one report over all runs, with prices where they are given, into a folder of its own; the runs stay as they are.
fn apart(paths: &[PathBuf], args: &ReportArgs, folder: &Path, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let mut order = args.pricing.as_deref().map(|path| Order::read(path, args.workload.as_deref())).transpose()?;
    if folder.join(MEASUREMENTS).exists() {
        return Err(BadReport::RunFolder(folder.display().to_string()).into());
    }
    let read = ReadRun::all(paths)?;
    let runs: Vec<NamedRun<'_>> = read.iter().map(ReadRun::named).collect();
    let across = across_runs(&runs);
    let mut document = match &runs[..] {
        [only] => compose(&only.run),
        _ => compose_several(&runs, &across),
    };
    let mut tables = vec![("across_runs.csv", rows(&across.cells)?), ("growth_across_runs.csv", rows(&across.growth)?)];
    if let (Some(order), Some(main)) = (&mut order, read.first()) {
        order.of_run(&main.folder)?;
        let bill = order.bill(&main.folder, &main.tables, None, &[])?;
        add_costs(&mut document, &bill);
        tables.extend(order::files(&bill)?);
        let decisions = [decision::recommend(&bill), main.tables.recommendations.clone()].concat();
        tables.push(("decisions.csv", rows(&decisions)?));
    }
    fs::create_dir_all(folder).map_err(io_error(folder, "create"))?;
    csv_files::write(tables, folder)?;
    files::write(&document, folder)?;
    if args.json {
        let found: Value = findings(&document).map(as_json).collect();
        let result = json!({ "report": folder.join(PAGE), "findings": found, "across": across });
        writeln!(out, "{result:#}")?;
    } else {
        print(&document, folder, out)?;
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

/// What a reader would do next. `None`: the report is of several runs.
fn next_step(document: &Document) -> Option<String> {
    document.verdict.iter().find_map(|block| match block {
        Block::NextStep(next) => Some(next.to_string()),
        _ => None,
    })
}

fn print(document: &Document, folder: &Path, out: &mut dyn Write) -> Result<(), CommandError> {
    for block in &document.verdict {
        if let Block::Note(note) = block {
            writeln!(out, "note: {note}")?;
        }
    }
    for finding in findings(document) {
        print_finding(finding, out)?;
    }
    if let Some(next) = next_step(document) {
        writeln!(out, "\nnext: {next}")?;
    }
    writeln!(out, "\nreport: {}", folder.join(PAGE).display())?;
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
