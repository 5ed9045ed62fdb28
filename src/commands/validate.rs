//! `phasebench validate`: whether a run folder holds together.

use std::io::Write;

use serde_json::json;

use crate::analysis::validate::{Outcome, passed, validate};
use crate::cli::RunFolder;
use crate::exit::Exit;
use crate::store::StoreError;

/// Prints one line per check; ends with 1 if one failed.
///
/// # Errors
/// There is no such folder, standard output refuses.
pub fn execute(args: &RunFolder, out: &mut dyn Write) -> anyhow::Result<Exit> {
    if !args.run.is_dir() {
        let why = "no such folder, a run folder is expected".to_owned();
        return Err(StoreError::Content { path: args.run.display().to_string(), why }.into());
    }
    let checks = validate(&args.run);
    let good = passed(&checks);
    if args.json {
        writeln!(out, "{:#}", json!({ "passed": good, "checks": serde_json::to_value(&checks)? }))?;
    } else {
        for check in &checks {
            let outcome = match check.outcome {
                Outcome::Pass => "PASS",
                Outcome::Fail => "FAIL",
                Outcome::Skip => "SKIP",
            };
            writeln!(out, "{outcome}  {}: {}", check.name, check.detail)?;
        }
        let count = |outcome| checks.iter().filter(|check| check.outcome == outcome).count();
        let (fail, skip) = (count(Outcome::Fail), count(Outcome::Skip));
        writeln!(out, "{} passed, {fail} failed, {skip} skipped", count(Outcome::Pass))?;
    }
    Ok(if good { Exit::Good } else { Exit::Internal })
}
