//! `compare RUN --null`: how often this gate fires where nothing changed.

use std::io::Write;

use serde_json::json;

use crate::cli::CompareArgs;
use crate::commands::CommandError;
use crate::comparison::null::{FEWEST_SESSIONS, Null, null};
use crate::exit::Exit;

use super::opened::Opened;
use super::refused::CompareError;
use super::settings::in_turns;

/// Splits the run's sessions and prints what was called different.
pub(super) fn execute(run: &Opened, times: u32, args: &CompareArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let found = null(run.side(), times, &in_turns(&args.judge)).map_err(CompareError::from)?;
    if args.judge.json {
        writeln!(out, "{:#}", json!({ "null": found }))?;
    }
    match found {
        Some(_) if args.judge.json => Ok(Exit::Good),
        Some(found) => {
            writeln!(out, "{}", line(&found))?;
            Ok(Exit::Good)
        }
        None if args.judge.json => Ok(Exit::Undecided),
        None => {
            writeln!(out, "{} has fewer than {FEWEST_SESSIONS} sessions of a cell: nothing to split", run.name)?;
            Ok(Exit::Undecided)
        }
    }
}

/// A line for the README of whoever sets up the gate.
fn line(found: &Null) -> String {
    let percent = |n: u32| 100.0 * f64::from(n) / f64::from(found.splits.max(1));
    let some_left_out = found.compared < found.cells as u64 * u64::from(found.splits);
    format!(
        "{} random splits of {} sessions, {}{} cells each: any cell called slower or faster in {} ({:.1} %), different by \
         whatever extent in {} ({:.1} %); {:.1} % of all cells were called the same.",
        found.splits,
        found.sessions,
        if some_left_out { "up to " } else { "" },
        found.cells,
        found.called,
        percent(found.called),
        found.different,
        percent(found.different),
        100.0 * found.same as f64 / found.compared.max(1) as f64
    )
}
