//! `phasebench cost`: what requests cost on the engines of a run, or at the rates of any table.

use std::io::Write;
use std::path::Path;

use crate::analysis;
use crate::cli::{CostArgs, CostRule};
use crate::commands::CommandError;
use crate::commands::error::NoUse;
use crate::commands::order::Order;
use crate::commands::out_folder::write_tables;
use crate::cost::rates::{self, Rule, Wanted};
use crate::exit::Exit;
use crate::run_folder::RunFolder;
use crate::scenario::CsvTable;
use crate::store::StoreError;

mod printed;

use printed::Printed;

/// Prices and prints.
///
/// # Errors
/// A file or run that cannot be used, standard output refuses.
pub fn execute(args: &CostArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let mut order = Order::read(&args.pricing, args.workload.as_deref())?;
    order.keep_tiers(&args.tier)?;
    if !args.of.exists() && args.of != Path::new("-") {
        let why = "no such run folder, and no such table".to_owned();
        return Err(StoreError::Content { path: args.of.display().to_string(), why }.into());
    }
    if args.of.is_dir() {
        none_of(["a run", "tables"], args, &OF_TABLES)?;
        run(args, order, out)
    } else {
        none_of(["a table", "runs"], args, &OF_RUNS)?;
        table(args, &order, out)
    }
}

/// An option, and whether it was given.
type Asked = (&'static str, fn(&CostArgs) -> bool);

/// Options that only a run has a use for.
const OF_RUNS: [Asked; 3] = [
    ("--months", |args| args.months.is_some()),
    ("--success", |args| !args.success.is_empty()),
    ("--out", |args| args.out.is_some()),
];

/// Options that only a table has a use for.
const OF_TABLES: [Asked; 5] = [
    ("--group", |args| !args.group.is_empty()),
    ("--prefill", |args| args.prefill.is_some()),
    ("--decode", |args| args.decode.is_some()),
    ("--rate", |args| args.rate.is_some()),
    ("--sensor", |args| args.sensor.is_some()),
];

/// # Errors
/// An option was given that what is priced has no use for.
fn none_of([priced, takers]: [&'static str; 2], args: &CostArgs, options: &[Asked]) -> Result<(), NoUse> {
    let given: Vec<&str> = options.iter().filter(|(_, is_given)| is_given(args)).map(|(name, _)| *name).collect();
    if given.is_empty() {
        return Ok(());
    }
    let theirs: Vec<&str> = options.iter().map(|(name, _)| *name).collect();
    let path = args.of.display().to_string();
    Err(NoUse { path, priced, given: given.join(", "), takers, theirs: theirs.join(", ") })
}

fn run(args: &CostArgs, mut order: Order, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let run = RunFolder::open(&args.of)?;
    order.of_run(&run)?;
    let trace = run.trace()?;
    let tables = analysis::derive(&run.recording, &run.plan, &run.manifest, &trace);
    let bill = order.bill(&run, &tables, args.months, &args.success)?;
    let pricing = &order.pricing;
    let written = args.out.as_deref().map(|folder| write_tables(&bill.csv_files()?, folder)).transpose()?;
    if args.json {
        writeln!(out, "{:#}", serde_json::to_value(&bill)?)?;
    } else {
        Printed { out, currency: &pricing.currency, tier: &pricing.tiers[0].name }.bill(&bill, pricing)?;
        for path in written.unwrap_or_default() {
            writeln!(out, "table: {}", path.display())?;
        }
    }
    Ok(Exit::Good)
}

fn table(args: &CostArgs, order: &Order, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let pricing = &order.pricing;
    let file = CsvTable::read(&args.of)?;
    let wanted = Wanted {
        group: args.group.clone(),
        prefill: args.prefill.clone(),
        decode: args.decode.clone(),
        rate: args.rate.clone(),
        sensor: args.sensor,
    };
    let rule = match args.rule {
        CostRule::Measured => Rule::Measured,
        CostRule::Tr119 => Rule::Tr119,
    };
    let priced = rates::priced(&file, &wanted, pricing, order.requests(), rule)?;
    if args.json {
        writeln!(out, "{:#}", serde_json::to_value(&priced)?)?;
    } else {
        Printed { out, currency: &pricing.currency, tier: &pricing.tiers[0].name }.table(&priced)?;
    }
    Ok(Exit::Good)
}
