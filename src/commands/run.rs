//! `phasebench run`: a scenario file, or a run folder to resume, to a complete record.

use std::io::Write;
use std::path::Path;

use crate::cli::RunArgs;
use crate::exit::Exit;
use crate::run_folder::must_be_there;
use crate::secret::without_passwords;
use crate::store::{self, StoreError};

use super::CommandError;
use super::error::OtherScenario;
use super::measuring::{self, Asked, Begun};
use super::scenario::{self, Purpose};

/// Runs or resumes.
///
/// # Errors
/// A bad scenario file, an unavailable backend, a model that cannot be prepared, a store that cannot be written.
pub fn execute(args: &RunArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let begun = match (&args.resume, &args.scenario) {
        (Some(folder), scenario) => {
            if let Some(scenario) = scenario {
                began_with(folder, scenario)?;
            }
            not_planted(measuring::resume(folder, args.json)?)?
        }
        (None, Some(file)) => {
            let cache = crate::cache::root();
            let loaded = scenario::load(file, &args.only, Purpose::Measure { cache: &cache })?;
            let out = args.out.as_deref();
            measuring::begin(loaded, &Asked { out, skip_missing: args.skip_missing, json: args.json })?
        }
        (None, None) => return Ok(Exit::Usage),
    };
    measuring::ended(measuring::carry_out(begun, args.json)?, args.json, out)
}

/// A run that a self-test slows is gone on with by the self-test alone.
fn not_planted(begun: Begun) -> Result<Begun, StoreError> {
    match &begun {
        Begun::Ready(run) => match &run.plan().slowdown {
            Some(slowdown) => {
                let path = run.folder().display().to_string();
                Err(StoreError::Planted { path, factor: slowdown.factor })
            }
            None => Ok(begun),
        },
        Begun::RunEnd(_) | Begun::Interrupted(_) => Ok(begun),
    }
}

/// Whether a run began with this scenario file.
fn began_with(run: &Path, scenario: &Path) -> Result<(), CommandError> {
    must_be_there(run)?;
    let archived = store::read_text(run, store::SPEC)?;
    let given = crate::scenario::read_text(scenario)?;
    if without_passwords(&given) == archived {
        return Ok(());
    }
    let (run, scenario) = (run.display().to_string(), scenario.display().to_string());
    Err(OtherScenario { run, scenario }.into())
}
