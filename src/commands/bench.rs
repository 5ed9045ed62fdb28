//! `phasebench bench`: engines or models side by side, without a scenario file. It writes the file, runs it as `run` does, and
//! prints one table; the run folder is as any other.

use std::io::Write;
use std::path::Path;

use serde_json::json;

use crate::analysis::{self, Sources};
use crate::cli::BenchArgs;
use crate::exit::Exit;
use crate::report::document::{Block, Document, Finding};
use crate::report::files::{self, PAGE};
use crate::report::sections::{ReportedRun, beside_speeds, compose};
use crate::run_folder::RunFolder;
use crate::scenario::ScenarioError;

use super::CommandError;
use super::measuring::{self, Asked, Outcome};
use super::scenario::{self, Purpose};

mod scenario_file;
mod shapes;
mod table;
mod target;

use target::Target;
pub use target::{BadTarget, Unmeasurable};

/// What the file is called in messages; there is none until the run has its folder.
const CALLED: &str = "bench.yaml";

/// Measures the targets and prints how they compare.
///
/// # Errors
/// A word that is no target; whatever stops a run.
pub fn execute(args: &BenchArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let targets = args.targets.iter().map(|word| Target::parse(word)).collect::<Result<Vec<_>, _>>()?;
    let origin = std::env::current_dir()?.join(CALLED);
    let (text, cache) = (scenario_file::text(&targets, args), crate::cache::root());
    let loaded = scenario::of_text(text, &origin, &[], Purpose::Measure { cache: &cache }).map_err(of_targets)?;
    let asked = Asked { out: args.out.as_deref(), skip_missing: false, json: args.json };
    let begun = measuring::begin(loaded, &asked).map_err(of_targets)?;
    match measuring::carry_out(begun, args.json)? {
        Outcome::Complete(run, finished) => {
            let exit = run.judge(finished)?;
            let folder = run.folder().to_owned();
            drop(run);
            compared(&folder, args.json, exit, out)?;
            Ok(exit)
        }
        other => measuring::ended(other, args.json, out),
    }
}

/// What is wrong with a scenario file, told without places: nobody has the file.
fn of_targets(error: CommandError) -> CommandError {
    match error {
        CommandError::Scenario(ScenarioError::Invalid { problems, .. }) => Unmeasurable::of(&problems).into(),
        other => other,
    }
}

/// Makes tables and report of the run, and prints what they say of the targets.
fn compared(folder: &Path, as_json: bool, exit: Exit, out: &mut dyn Write) -> Result<(), CommandError> {
    let run = RunFolder::open_to_write(folder)?;
    let trace = run.trace()?;
    let (tables, _) =
        analysis::derive_and_write(&Sources::new(&run.recording, &run.plan, &run.manifest, &trace), &run.path)?;
    let reported = ReportedRun::new(&run, &trace, &tables);
    let document = compose(&reported);
    files::write(&document, &run.path)?;
    let rows = table::rows(&run.plan, &tables);
    if as_json {
        let result = json!({ "run": folder, "ended": "complete", "exit_code": exit.code(), "rows": rows });
        writeln!(out, "{result:#}")?;
        return Ok(());
    }
    table::print(&rows, out)?;
    answers(&document, &beside_speeds(&reported), out)?;
    writeln!(out, "\nreport: {}", folder.join(PAGE).display())?;
    writeln!(out, "to go on from its scenario file: {}", folder.join(crate::store::SPEC).display())?;
    Ok(())
}

/// What a reader must know, and what the table does not say: of the report's first screen, an answer a line.
fn answers(document: &Document, findings: &[Finding], out: &mut dyn Write) -> Result<(), CommandError> {
    for block in &document.verdict {
        if let Block::Note(note) = block {
            writeln!(out, "note: {note}")?;
        }
    }
    for finding in findings {
        writeln!(out, "{} ({}) {}", finding.question, finding.assurance.as_str(), finding.answer)?;
    }
    Ok(())
}
