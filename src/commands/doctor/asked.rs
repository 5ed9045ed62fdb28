//! The backends of a scenario file, each asked as a run asks it before its first call.

use std::path::Path;
use std::sync::Arc;

use super::finding::{Finding, Kind};
use super::ollama;
use crate::backend::{self, BackendError, Surroundings};
use crate::clock::RealClock;
use crate::commands::{CommandError, processors, scenario};
use crate::scenario::{BackendSettings, ScenarioFile};
use crate::terminal::warn;

/// Every backend of a scenario file by its name there, and whether its servers have its models.
///
/// # Errors
/// Every problem of the file.
pub fn findings(path: &Path, cache: &Path) -> Result<Vec<Finding>, CommandError> {
    let file: ScenarioFile = scenario::parse(path, path.parent().unwrap_or(Path::new("")))?;
    processors::warn(&file);
    let surroundings = Surroundings::new(Arc::new(RealClock::default()), cache.to_owned(), file.seed);
    // Of Ollama's there is more to tell.
    let others = file.backends.iter().filter(|backend| backend.engine.as_ollama().is_none());
    let mut findings: Vec<Finding> = others.map(|backend| finding(backend, &surroundings)).collect();
    findings.extend(ollama::of_scenario(&file, cache));
    Ok(findings)
}

fn finding(settings: &BackendSettings, surroundings: &Surroundings) -> Finding {
    let name = format!("`{}`", settings.name);
    let mut opened = backend::open(settings, surroundings);
    opened.tell(Box::new(warn));
    match opened.describe() {
        Ok(description) => Finding::backend(name, &description),
        Err(BackendError::Unavailable { what, fix, .. }) => Finding::missing(Kind::Backend, name, what, Some(fix)),
        Err(error) => Finding::missing(Kind::Backend, name, error.to_string(), None),
    }
}
