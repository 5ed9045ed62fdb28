//! `phasebench analyze`: every table of a run, which engine is faster, and the fits to quote from it.

use std::io::Write;
use std::mem;
use std::path::PathBuf;

use crate::analysis::overview::headlines;
use crate::analysis::{self, Overview, Sources, Tables};
use crate::cli::RunFolderArgs;
use crate::commands::CommandError;
use crate::commands::columns::aligned_table;
use crate::commands::findings::{as_json, print_finding};
use crate::exit::Exit;
use crate::report::document::{Table, Text};
use crate::report::sections::{ReportedRun, speeds};
use crate::run_folder::RunFolder;
use crate::units::significant;

/// Derives and writes every table; prints which engine is faster, how fast each is where few sizes were measured, and the
/// headline fits.
///
/// # Errors
/// A run folder that cannot be read or written, standard output refuses.
pub fn execute(args: &RunFolderArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let run = RunFolder::open_to_write(&args.run)?;
    let trace = run.trace()?;
    let (tables, written) =
        analysis::derive_and_write(&Sources::new(&run.recording, &run.plan, &run.manifest, &trace), &run.path)?;
    let written = names(&written);
    let overview = Overview::new(&run, &tables, &written);
    let speeds = speeds(&ReportedRun::new(&run, &trace, &tables));
    if args.json {
        let mut result = serde_json::to_value(overview)?;
        result["findings"] = speeds.iter().map(as_json).collect();
        writeln!(out, "{result:#}")?;
    } else {
        print(&overview, &run, out)?;
        for finding in &speeds {
            print_finding(finding, out)?;
        }
        fits(&tables, out)?;
    }
    // The process ends: to give back what a million calls hold would only take time.
    mem::forget((tables, run));
    Ok(Exit::Good)
}

fn names(files: &[PathBuf]) -> Vec<String> {
    files.iter().map(|path| path.display().to_string()).collect()
}

fn print(overview: &Overview<'_>, run: &RunFolder, out: &mut dyn Write) -> Result<(), CommandError> {
    let Overview { calls, degraded, skipped, files, .. } = overview;
    writeln!(out, "{} tables from {calls} calls in {}", files.len(), run.path.display())?;
    if !overview.finished {
        writeln!(out, "  the run is not finished; go on with: phasebench run --resume {}", run.path.display())?;
    }
    if *degraded > 0 || *skipped > 0 {
        writeln!(out, "  {degraded} calls degraded, {skipped} cells skipped")?;
    }
    Ok(())
}

fn fits(tables: &Tables, out: &mut dyn Write) -> Result<(), CommandError> {
    let Some(first) = headlines(tables).next() else {
        writeln!(out, "nothing to fit: no call counts")?;
        return Ok(());
    };
    writeln!(out, "\nlatency ~ {}^slope, over models; scenarios by geometric mean", first.x)?;
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| significant(value, 3));
    let table = Table::of(headlines(tables))
        .words("backend", |fit| fit.key.backend.as_str())
        .words("dtype", |fit| fit.key.dtype.as_str())
        .words("mode", |fit| fit.key.mode.to_string())
        .count("batch", |fit| fit.key.batch)
        .count("steps", |fit| fit.key.gen_tokens)
        .count("models", |fit| fit.n_models)
        .number("slope", "", |fit| number(fit.slope))
        .number("95 % t interval", "", |fit| match (fit.slope_t_low, fit.slope_t_high) {
            (Some(low), Some(high)) => format!("[{}, {}]", significant(low, 3), significant(high, 3)),
            _ => "-".to_owned(),
        })
        .number("R²", "", |fit| number(fit.r2))
        .words("", |fit| match &fit.reason {
            None => "actionable".to_owned(),
            Some(why) => format!("not identifiable: {why}"),
        })
        .captioned(Text::default());
    for line in aligned_table(&table) {
        writeln!(out, "  {line}")?;
    }
    for note in analysis::aggregate::distinct(headlines(tables).filter_map(|fit| fit.note.as_deref())) {
        writeln!(out, "  note: {note}")?;
    }
    Ok(())
}
