//! `phasebench decide`: what the rows of a run, or of several, advise, with prices, a workload and a memory where they are given,
//! and what they say to claims.

use std::io::Write;

use serde_json::{Value, json};

use crate::analysis::RecommendationRow;
use crate::analysis::across::Across;
use crate::analysis::claims::{ClaimRow, ClaimStatus, Evidence, judge, published};
use crate::analysis::columns::nested::CsvFile;
use crate::analysis::recommendations::for_memory;
use crate::cli::DecideArgs;
use crate::cost::bill::{Bill, slos_of_cells, warm_pools};
use crate::cost::decision;
use crate::cost::engines::why_none;
use crate::exit::Exit;
use crate::report::sections::several::{across_runs, together};
use crate::scenario::Pricing;
use crate::scenario::claims::{self, Claims};
use crate::scenario::workload::Slo;
use crate::units::Bytes;

use super::CommandError;
use super::findings::print_finding;
use super::order::Order;
use super::out_folder::{DECISIONS, write_tables};
use super::runs::ReadRun;

/// Rows as those of `analysis/claims.csv`.
const CLAIMS: &str = "claims.csv";

/// What one run says.
struct Decided<'a> {
    run: &'a ReadRun,
    decisions: Vec<RecommendationRow>,
    claims: Vec<ClaimRow>,
}

/// Prints a question with its answer for every row of every run, and what two runs say together.
///
/// # Errors
/// A run, pricing, workload or claims file that cannot be used; `--out` cannot be written; standard output refuses.
pub fn execute(args: &DecideArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let claims = args.claims.as_deref().map(claims::read).transpose()?;
    let mut order = args.pricing.as_deref().map(|path| Order::read(path, args.workload.as_deref())).transpose()?;
    let runs = ReadRun::all(&args.run)?;
    if let (Some(order), Some(main)) = (&mut order, runs.first()) {
        order.of_run(&main.folder)?;
    }
    let longest = order.as_ref().and_then(Order::longest_request);
    let mut decided: Vec<Decided<'_>> =
        runs.iter().map(|run| decide(run, claims.as_ref(), args.memory, longest)).collect();
    let (mut notes, mut missing) = (claims_replaced(&runs, claims.as_ref()), None);
    if let Some(main) = decided.first_mut() {
        if let Some(order) = &mut order {
            order.demand(&args.slo);
            let bill = order.bill(&main.run.folder, &main.run.tables, None, &args.success)?;
            decision::put_first(decision::recommend(&bill), &mut main.decisions);
            main.claims = held_against_prices(main.run, claims.as_ref(), &bill);
            missing = bill.missing_scenario.clone().map(|file| (bill.missing_measures(), file));
            notes.extend(bill.notes);
        }
        if !args.slo.is_empty() && order.as_ref().is_none_or(|order| !order.has_requests()) {
            notes.extend(ask_cells(&args.slo, main, order.as_ref().map(|order| &order.pricing)));
        }
    }
    let across = across_runs(&runs.iter().map(ReadRun::named).collect::<Vec<_>>());
    let written = args.out.as_deref().map(|folder| write_tables(&tables(&decided)?, folder)).transpose()?;
    if args.json {
        let missing = missing.as_ref().map(|(_, file)| file.as_str());
        writeln!(out, "{:#}", as_json(&decided, &across, &notes, missing))?;
        return Ok(Exit::Good);
    }
    for note in &notes {
        writeln!(out, "note: {note}")?;
    }
    for of_run in &decided {
        if runs.len() > 1 {
            writeln!(out, "run {}:", of_run.run.name)?;
        }
        of_run.decisions.iter().try_for_each(|row| print(row, out))?;
        let asked = claims.is_some() || !of_run.run.folder.plan.claims.is_empty();
        print_claims(&of_run.claims, asked, out)?;
    }
    if runs.len() > 1 {
        writeln!(out, "together:")?;
        together(&across).iter().try_for_each(|finding| print_finding(finding, out))?;
    }
    for path in written.unwrap_or_default() {
        writeln!(out, "table: {}", path.display())?;
    }
    if let Some((measures, file)) = missing {
        writeln!(out, "\nThis scenario file {measures}; save it beside the run's own:\n\n{file}")?;
    }
    Ok(Exit::Good)
}

/// Statements held against a run's rows and against prices.
fn held_against_prices(run: &ReadRun, given: Option<&Claims>, bill: &Bill) -> Vec<ClaimRow> {
    let (priced, own) = (decision::priced(bill), &run.folder.plan.claims);
    let evidence = Evidence::of(&run.tables, &run.folder.manifest).priced(&priced);
    match given {
        Some(file) => judge(&file.claims, &evidence),
        // A run without a call is held against nothing.
        None if run.tables.claims.is_empty() => Vec::new(),
        None if own.is_empty() => judge(&published(), &evidence),
        None => judge(own, &evidence),
    }
}

/// Holds every measured cell against how fast answers must be, where no requests are named; what is said of warm pools knows the
/// prices too, if there are any. Returns why there is no cell to hold.
fn ask_cells(slos: &[Slo], main: &mut Decided<'_>, pricing: Option<&Pricing>) -> Option<String> {
    let ReadRun { folder, tables, .. } = main.run;
    let rows = slos_of_cells(tables, &folder.manifest, &folder.plan, slos);
    let currency = pricing.map(|pricing| pricing.currency.as_str());
    let warm = decision::of_warm_pools(&warm_pools(tables, pricing), &rows, currency);
    decision::put_first([decision::of_cells(&rows), warm].concat(), &mut main.decisions);
    rows.is_empty().then(|| format!("--slo: {}", why_none(tables)))
}

/// That a file's statements stand in place of those that runs were made with. Empty: they do not.
fn claims_replaced(runs: &[ReadRun], given: Option<&Claims>) -> Vec<String> {
    let has_own = |run: &&ReadRun| !run.folder.plan.claims.is_empty();
    let replaced = given.zip(runs.iter().find(has_own));
    let said = replaced.map(|(given, run)| {
        format!("claims `{}` stand in place of those that the scenario file of {} names", given.name, run.name)
    });
    said.into_iter().collect()
}

/// What a run's rows say without prices. `longest` is the longest request. Unit: tokens.
fn decide<'a>(run: &'a ReadRun, claims: Option<&Claims>, memory: Option<Bytes>, longest: Option<u64>) -> Decided<'a> {
    let mut decisions = run.tables.recommendations.clone();
    if let Some(memory) = memory {
        let allocated = &run.tables.kv_memory_empirical;
        decisions.extend(for_memory(&run.folder.plan, &run.folder.manifest, allocated, memory, longest));
    }
    let claims = match claims {
        Some(file) => judge(&file.claims, &Evidence::of(&run.tables, &run.folder.manifest)),
        None => run.tables.claims.clone(),
    };
    Decided { run, decisions, claims }
}

/// Both tables; of several runs, with the run in the first column.
fn tables(decided: &[Decided<'_>]) -> Result<[CsvFile; 2], CommandError> {
    let decisions: Vec<_> = decided.iter().map(|of| (of.run.name.as_str(), of.decisions.as_slice())).collect();
    let claims: Vec<_> = decided.iter().map(|of| (of.run.name.as_str(), of.claims.as_slice())).collect();
    Ok([CsvFile::of_runs(DECISIONS, &decisions)?, CsvFile::of_runs(CLAIMS, &claims)?])
}

/// Of one run the decisions themselves, of several a list of runs. `notes` are what must be known before the prices.
fn as_json(decided: &[Decided<'_>], across: &Across, notes: &[String], missing: Option<&str>) -> Value {
    match decided {
        [only] => json!({
            "notes": notes, "decisions": only.decisions, "claims": only.claims, "missing_scenario": missing
        }),
        runs => {
            let of_run =
                |run: &Decided<'_>| json!({ "run": run.run.name, "decisions": run.decisions, "claims": run.claims });
            let runs: Vec<Value> = runs.iter().map(of_run).collect();
            json!({ "notes": notes, "runs": runs, "across": across, "missing_scenario": missing })
        }
    }
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
