//! `phasebench analyze`: every table of a run, and the fits to quote from it.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::analysis::{self, ScalingFitRow, Tables};
use crate::cli::RunFolder;
use crate::exit::Exit;
use crate::manifest::Manifest;
use crate::plan::Plan;
use crate::store::{self, Recording, StoreError, TraceRow};
use crate::units::significant;

/// What the tables of a run are made from.
#[derive(Debug)]
pub struct Inputs {
    /// The record.
    pub recording: Recording,
    /// The plan.
    pub plan: Plan,
    /// The manifest.
    pub manifest: Manifest,
    /// The power trace; empty where none was recorded.
    pub trace: Vec<TraceRow>,
}

/// Reads a run folder.
///
/// # Errors
/// [`StoreError`]: the folder is no run, is damaged, was changed, or was written in another format.
pub fn load(run: &Path) -> Result<Inputs, StoreError> {
    let recording = store::read(run)?;
    let content = |name: &str, why: String| StoreError::Content { path: run.join(name).display().to_string(), why };
    let plan = serde_json::from_str(&store::read_text(run, store::PLAN)?)
        .map_err(|error| content(store::PLAN, format!("not a plan of this version: {error}")))?;
    let manifest = Manifest::from_json(store::read_text(run, store::MANIFEST)?.as_bytes())
        .map_err(|error| content(store::MANIFEST, error.to_string()))?;
    let trace = store::read_trace(run)?;
    Ok(Inputs { recording, plan, manifest, trace })
}

/// Derives and writes every table; prints the headline fits.
///
/// # Errors
/// A run folder that cannot be read or written, standard output refuses.
pub fn execute(args: &RunFolder, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let Inputs { recording, plan, manifest, trace } = load(&args.run)?;
    let tables = analysis::derive(&recording, &plan, &manifest, &trace);
    let files = analysis::write(&tables, &args.run)?;
    let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    if args.json {
        writeln!(out, "{:#}", as_json(&tables, &plan, &recording, &files)?)?;
        return Ok(Exit::Good);
    }
    let (calls, degraded) = counts(&tables);
    writeln!(out, "{} tables from {calls} calls in {}", files.len(), args.run.display())?;
    if !recording.finished() {
        writeln!(out, "  the run is not finished; go on with: phasebench run --resume {}", args.run.display())?;
    }
    let skipped = plan.skipped.len();
    if degraded > 0 || skipped > 0 {
        writeln!(out, "  {degraded} calls degraded, {skipped} cells skipped")?;
    }
    fits(&tables, out)?;
    Ok(Exit::Good)
}

/// Calls, and degraded ones among them.
fn counts(tables: &Tables) -> (usize, usize) {
    let whole = tables.degraded.iter().find(|row| row.cell_id.is_none() && row.kind.is_none());
    whole.map_or((0, 0), |row| (row.calls, row.degraded))
}

fn headlines(tables: &Tables) -> impl Iterator<Item = &ScalingFitRow> {
    tables.scaling_fits.iter().filter(|fit| fit.headline)
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

/// The run and its headline fits as JSON; `files` are what was written.
pub(super) fn as_json(tables: &Tables, plan: &Plan, recording: &Recording, files: &[String]) -> anyhow::Result<Value> {
    let (calls, degraded) = counts(tables);
    Ok(json!({
        "finished": recording.finished(),
        "calls": calls,
        "degraded": degraded,
        "cells": plan.cells.len(),
        "skipped": plan.skipped.len(),
        "files": files,
        "headline_fits": serde_json::to_value(headlines(tables).collect::<Vec<_>>())?,
    }))
}
