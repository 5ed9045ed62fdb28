//! `phasebench decide`: what a run's rows advise, with prices and a workload where they are given.

use std::io::Write;

use crate::analysis::{self, RecommendationRow};
use crate::cli::DecideArgs;
use crate::cost::decision;
use crate::exit::Exit;
use crate::run_folder::RunFolder;

use super::CommandError;
use super::order::Order;

/// Prints a question with its answer for every row.
///
/// # Errors
/// A run, pricing or workload file that cannot be used; standard output refuses.
pub fn execute(args: &DecideArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let run = RunFolder::open(&args.run)?;
    let trace = run.trace()?;
    let tables = analysis::derive(&run.recording, &run.plan, &run.manifest, &trace);
    let mut rows = tables.recommendations.clone();
    let mut missing = None;
    if let Some(path) = &args.pricing {
        let order = Order::read(path, args.workload.as_deref())?;
        let bill = order.bill(&run, &tables, None, &[])?;
        rows.splice(0..0, decision::recommend(&bill));
        missing = bill.missing_scenario;
    }
    if args.json {
        writeln!(out, "{:#}", serde_json::json!({ "decisions": rows, "missing_scenario": missing }))?;
        return Ok(Exit::Good);
    }
    rows.iter().try_for_each(|row| print(row, out))?;
    if let Some(file) = missing {
        writeln!(
            out,
            "\nThis scenario file measures what the workload lacks; save it beside the run's own:\n\n{file}"
        )?;
    }
    Ok(Exit::Good)
}

fn print(row: &RecommendationRow, out: &mut dyn Write) -> Result<(), CommandError> {
    writeln!(out, "{}, {} ({}): {}", row.topic.as_str(), row.about, row.standing.as_str(), row.advice)?;
    if let Some(figures) = &row.figures {
        writeln!(out, "  {figures}")?;
    }
    writeln!(out, "  from {}; overturned by {}", row.rows, row.overturned_by)?;
    Ok(())
}
