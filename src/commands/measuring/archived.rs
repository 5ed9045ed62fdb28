//! What a run keeps of the scenario that it began with.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::commands::CommandError;
use crate::commands::scenario::{self, Loaded};
use crate::record::plan::Plan;
use crate::scenario::ScenarioFile;
use crate::secret::{lacks_a_password, without_passwords};
use crate::store::{self, StoreError};

/// Facts of this machine that resuming needs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Local {
    /// Where the scenario file's relative paths start.
    scenario_folder: PathBuf,
    /// The scenario file.
    #[serde(default)]
    scenario: PathBuf,
}

impl Local {
    /// Those of a run of this scenario file.
    pub(super) fn of(scenario: &Path) -> Self {
        let scenario = std::path::absolute(scenario).unwrap_or_default();
        Self { scenario_folder: scenario.parent().map(Path::to_owned).unwrap_or_default(), scenario }
    }

    /// Those of a run; none where they were left out when it was copied.
    fn read(run: &Path) -> Self {
        let text = store::read_text(run, store::LOCAL).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }
}

/// A run's scenario and plan, to be measured again.
pub(in crate::commands) fn again(folder: &Path, plan: Plan) -> Result<Loaded, CommandError> {
    let text = store::read_text(folder, store::SPEC)?;
    let origin = Some(Local::read(folder).scenario).filter(|path| !path.as_os_str().is_empty());
    let path = origin.unwrap_or_else(|| folder.join(store::SPEC));
    Ok(Loaded { path, text, file: archived_scenario(folder)?, facts: Vec::new(), plan })
}

/// The scenario of a run. Passwords are not kept in it: they are read from the file that the run began with.
pub(super) fn archived_scenario(run: &Path) -> Result<ScenarioFile, CommandError> {
    let path = run.join(store::SPEC);
    let archived = store::read_text(run, store::SPEC)?;
    let local = Local::read(run);
    if !lacks_a_password(&archived) {
        return scenario::parse(&path, &local.scenario_folder);
    }
    let original = std::fs::read_to_string(&local.scenario).unwrap_or_default();
    if without_passwords(&original) != archived {
        let why = format!(
            "holds an address without its password, and {} is not the file that the run began with\n  try: restore it",
            local.scenario.display()
        );
        return Err(StoreError::Content { path: path.display().to_string(), why }.into());
    }
    Ok(crate::scenario::parse(&original, &path, &local.scenario_folder)?)
}
