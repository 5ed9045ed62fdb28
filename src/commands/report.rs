//! `phasebench report`: every table of a run and the report made from them; or a report apart from the runs, over several and
//! with prices.

use std::io::Write;
use std::mem;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use serde_json::{Value, json};

use crate::analysis::columns::nested::CsvFile;
use crate::analysis::validate::contradictions;
use crate::analysis::{self, Overview, Sources};
use crate::cli::ReportArgs;
use crate::commands::CommandError;
use crate::commands::error::BadReport;
use crate::commands::findings::{self, findings, print_finding};
use crate::commands::order::Order;
use crate::commands::out_folder::{DECISIONS, not_a_run, write_tables};
use crate::commands::runs::ReadRun;
use crate::cost::bill::Bill;
use crate::cost::decision;
use crate::exit::Exit;
use crate::report::document::{Block, Document};
use crate::report::files::{self, PAGE};
use crate::report::sections::costs::add_costs;
use crate::report::sections::several::{NamedRun, across_runs, compose_several};
use crate::report::sections::{ReportedRun, compose};
use crate::run_folder::RunFolder;

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
        result["findings"] = findings(&document).map(findings::as_json).collect();
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
    not_a_run(folder)?;
    let mut read = ReadRun::all(paths)?;
    let bill = order.as_mut().zip(read.first_mut()).map(|(order, main)| priced(order, main)).transpose()?;
    let runs: Vec<NamedRun<'_>> = read.iter().map(ReadRun::named).collect();
    let across = across_runs(&runs);
    let mut document = match &runs[..] {
        [only] => compose(&only.run),
        _ => compose_several(&runs, &across),
    };
    let mut tables = across.csv_files()?;
    if let (Some(bill), Some(main)) = (&bill, read.first()) {
        add_costs(&mut document, bill);
        tables.extend(bill.csv_files()?);
        let mut decisions = main.tables.recommendations.clone();
        decision::put_first(decision::recommend(bill), &mut decisions);
        tables.push(CsvFile::of_runs(DECISIONS, &[(main.name.as_str(), decisions.as_slice())])?);
    }
    write_tables(&tables, folder)?;
    files::write(&document, folder)?;
    if args.json {
        let found: Value = findings(&document).map(findings::as_json).collect();
        let result = json!({ "report": folder.join(PAGE), "findings": found, "across": across });
        writeln!(out, "{result:#}")?;
    } else {
        print(&document, folder, out)?;
    }
    Ok(Exit::Good)
}

/// What the main run costs. Where prices and SLOs answer a question that the run answers without them, its own answer gives way.
///
/// # Errors
/// What the run's plan or scenario file holds cannot be used.
fn priced(order: &mut Order, main: &mut ReadRun) -> Result<Bill, CommandError> {
    order.of_run(&main.folder)?;
    let bill = order.bill(&main.folder, &main.tables, None, &[])?;
    decision::put_in_place(&decision::recommend(&bill), &mut main.tables.recommendations);
    Ok(bill)
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
