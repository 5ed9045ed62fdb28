//! `phasebench decide`: what a run's rows advise, with prices, a workload and a memory where they are given, and what they say to
//! claims.

use std::io::Write;

use crate::analysis::claims::{ClaimRow, ClaimStatus, Evidence, judge};
use crate::analysis::recommendations::for_memory;
use crate::analysis::{self, RecommendationRow};
use crate::cli::DecideArgs;
use crate::cost::decision;
use crate::exit::Exit;
use crate::run_folder::RunFolder;
use crate::scenario::claims;

use super::CommandError;
use super::csv_files::{self, rows as as_rows};
use super::order::Order;

/// Prints a question with its answer for every row.
///
/// # Errors
/// A run, pricing, workload or claims file that cannot be used; `--out` cannot be written; standard output refuses.
pub fn execute(args: &DecideArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let claims = args.claims.as_deref().map(claims::read).transpose()?;
    let mut order = args.pricing.as_deref().map(|path| Order::read(path, args.workload.as_deref())).transpose()?;
    let run = RunFolder::open(&args.run)?;
    let trace = run.trace()?;
    let tables = analysis::derive(&run.recording, &run.plan, &run.manifest, &trace);
    let mut rows = tables.recommendations.clone();
    let mut missing = None;
    if let Some(order) = &mut order {
        order.demand(&args.slo);
        let bill = order.bill(&run, &tables, None, &[])?;
        rows.splice(0..0, decision::recommend(&bill));
        missing = bill.missing_scenario;
    }
    if let Some(memory) = args.memory {
        let longest = order.as_ref().and_then(Order::longest_request);
        rows.extend(for_memory(&run.plan, &run.manifest, &tables.kv_memory_empirical, memory, longest));
    }
    let held = match &claims {
        Some(file) => judge(&file.claims, &Evidence::of(&tables, &run.manifest)),
        None => tables.claims.clone(),
    };
    let tables = vec![("decisions.csv", as_rows(&rows)?), ("claims.csv", as_rows(&held)?)];
    let written = args.out.as_deref().map(|folder| csv_files::write(tables, folder)).transpose()?;
    if args.json {
        let result = serde_json::json!({ "decisions": rows, "claims": held, "missing_scenario": missing });
        writeln!(out, "{result:#}")?;
        return Ok(Exit::Good);
    }
    rows.iter().try_for_each(|row| print(row, out))?;
    print_claims(&held, claims.is_some(), out)?;
    for path in written.unwrap_or_default() {
        writeln!(out, "table: {}", path.display())?;
    }
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

/// Claims that were asked for are all printed, those of published reports where the run has rows for them.
fn print_claims(claims: &[ClaimRow], asked: bool, out: &mut dyn Write) -> Result<(), CommandError> {
    for row in claims.iter().filter(|row| asked || row.status != ClaimStatus::NotTested) {
        writeln!(out, "claim, {} ({}): {}", row.claim, row.status.as_str(), row.text)?;
        if let Some(figures) = &row.figures {
            writeln!(out, "  {figures}")?;
        }
        let (support, against, open) = (row.n_supporting, row.n_contradicting, row.n_open);
        writeln!(out, "  {support} for it, {against} against, {open} open, from {}", row.rows)?;
    }
    Ok(())
}
