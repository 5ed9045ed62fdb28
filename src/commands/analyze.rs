//! `phasebench analyze`: every table of a run, and the fits to quote from it.

use std::io::Write;
use std::path::PathBuf;

use crate::analysis::overview::headlines;
use crate::analysis::{self, Overview, Tables};
use crate::cli::RunFolderArgs;
use crate::exit::Exit;
use crate::run_folder::RunFolder;
use crate::units::significant;

/// Derives and writes every table; prints the headline fits.
///
/// # Errors
/// A run folder that cannot be read or written, standard output refuses.
pub fn execute(args: &RunFolderArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let run = RunFolder::open(&args.run)?;
    let trace = run.trace()?;
    let tables = analysis::derive(&run.recording, &run.plan, &run.manifest, &trace);
    let written = names(&analysis::write(&tables, &run.path)?);
    let overview = Overview::new(&run, &tables, &written);
    if args.json {
        writeln!(out, "{:#}", serde_json::to_value(overview)?)?;
    } else {
        print(&overview, &run, out)?;
        fits(&tables, out)?;
    }
    Ok(Exit::Good)
}

fn names(files: &[PathBuf]) -> Vec<String> {
    files.iter().map(|path| path.display().to_string()).collect()
}

fn print(overview: &Overview<'_>, run: &RunFolder, out: &mut dyn Write) -> anyhow::Result<()> {
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

fn fits(tables: &Tables, out: &mut dyn Write) -> anyhow::Result<()> {
    let Some(first) = headlines(tables).next() else {
        writeln!(out, "nothing to fit: no call counts")?;
        return Ok(());
    };
    writeln!(out, "\nlatency ~ {}^slope, over models; scenarios by geometric mean", first.x)?;
    let header = ["backend", "dtype", "mode", "batch", "steps", "models", "slope", "95 % t interval", "R²", ""];
    let mut rows: Vec<Vec<String>> = vec![header.iter().map(ToString::to_string).collect()];
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| significant(value, 3));
    for fit in headlines(tables) {
        let interval = match (fit.slope_t_low, fit.slope_t_high) {
            (Some(low), Some(high)) => format!("[{}, {}]", significant(low, 3), significant(high, 3)),
            _ => "-".to_owned(),
        };
        rows.push(vec![
            fit.backend.clone(),
            fit.dtype.as_str().to_owned(),
            fit.mode.to_string(),
            fit.batch.to_string(),
            fit.gen_tokens.to_string(),
            fit.n_models.to_string(),
            number(fit.slope),
            interval,
            number(fit.r2),
            fit.reason.as_ref().map_or_else(|| "actionable".to_owned(), |why| format!("not identifiable: {why}")),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    for row in &rows {
        let padded: Vec<String> = row.iter().zip(&widths).map(|(text, &width)| format!("{text:<width$}")).collect();
        writeln!(out, "  {}", padded.join("  ").trim_end())?;
    }
    for note in analysis::aggregate::distinct(headlines(tables).filter_map(|fit| fit.note.as_deref())) {
        writeln!(out, "  note: {note}")?;
    }
    Ok(())
}
