//! `phasebench import`: other tools' result files as a run folder.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::json;

use crate::cli::ImportArgs;
use crate::commands::CommandError;
use crate::comparison::words::counted;
use crate::exit::Exit;
use crate::import::{self, ImportedRun};
use crate::record::Line;
use crate::record::plan::CellId;

/// Reads the files, writes the run folder, and says what is in it.
///
/// # Errors
/// A file that cannot be imported, with the place; a folder that is there already or cannot be written.
pub fn execute(args: &ImportArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let run = import::read(&args.files, args.format)?;
    import::write(&run, &args.out)?;
    if args.json {
        return print_json(&run, args, out);
    }
    let imported = run.manifest.imported.as_ref();
    let tool = imported.map_or("", |imported| imported.tool.as_str());
    let version = imported.and_then(|imported| imported.version.as_deref()).unwrap_or("version not told");
    writeln!(out, "{tool}, {version}: {}", counted(args.files.len(), "file"))?;
    let counts = Counts::of(&run);
    for cell in &run.plan.cells {
        let Counted { calls, failed, stated } = counts.of_cell(&cell.id);
        let name = format!("{} · {} · {}", cell.session.backend, cell.session.model, cell.scenario);
        let calls = counted(calls, "call");
        writeln!(out, "  {name}: {calls}, {failed} failed, {stated} stated without samples")?;
    }
    for note in imported.into_iter().flat_map(|imported| &imported.notes) {
        writeln!(out, "note: {note}")?;
    }
    let folder = args.out.display();
    writeln!(out, "imported: {folder}; nothing in it proves where it ran, so it is compared only with imported runs")?;
    writeln!(out, "  next: phasebench report {folder}")?;
    Ok(Exit::Good)
}

/// What a cell has.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    calls: usize,
    failed: usize,
    stated: usize,
}

struct Counts<'a>(BTreeMap<&'a CellId, Counted>);

impl<'a> Counts<'a> {
    fn of(run: &'a ImportedRun) -> Self {
        let mut counts: BTreeMap<&CellId, Counted> = BTreeMap::new();
        for line in &run.lines {
            match line {
                Line::Imported(call) => {
                    let counted = counts.entry(&call.cell_id).or_default();
                    counted.calls += 1;
                    counted.failed += usize::from(!call.status.is_ok());
                }
                Line::Stated(figure) => counts.entry(&figure.cell_id).or_default().stated += 1,
                _ => {}
            }
        }
        Self(counts)
    }

    fn of_cell(&self, cell: &CellId) -> Counted {
        self.0.get(cell).copied().unwrap_or_default()
    }
}

fn print_json(run: &ImportedRun, args: &ImportArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let counts = Counts::of(run);
    let cells = run.plan.cells.iter().map(|cell| {
        let Counted { calls, failed, stated } = counts.of_cell(&cell.id);
        json!({
            "cell_id": cell.id,
            "backend": cell.session.backend,
            "model": cell.session.model,
            "scenario": cell.scenario,
            "calls": calls,
            "failed": failed,
            "stated": stated,
        })
    });
    let result = json!({
        "run": args.out,
        "imported": run.manifest.imported,
        "cells": cells.collect::<Vec<_>>(),
    });
    writeln!(out, "{result:#}")?;
    Ok(Exit::Good)
}
