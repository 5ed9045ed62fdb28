//! What comes before a run's first load: which backends there are, and what they load made ready.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backend::{self, Backend, BackendError, CancelToken, Description, Prepared, Surroundings};
use crate::cache;
use crate::clock::{RealClock, SharedClock, VirtualClock};
use crate::commands::CommandError;
use crate::commands::error::Missing;
use crate::commands::scenario;

use crate::manifest;
use crate::record::manifest::{ModelEntry, Stack};
use crate::record::plan::{Cell, Plan, SessionKey, SkippedCell};
use crate::run::{Engines, Prompts};
use crate::scenario::{ScenarioError, ScenarioFile, TelemetrySettings};
use crate::secret::without_passwords;
use crate::terminal::warn;

use super::progress;

/// A scenario whose backends were asked what they are; no model is made yet.
pub(super) struct Reached {
    /// What the scenario file is called in messages.
    path: PathBuf,
    file: ScenarioFile,
    backends: BTreeMap<String, Box<dyn Backend>>,
    descriptions: BTreeMap<String, Description>,
    /// Backends that are not there, by name.
    missing: Vec<(String, BackendError)>,
    surroundings: Surroundings,
    cancel: CancelToken,
}

/// A scenario of which everything is there and made.
pub(super) struct Ready {
    pub(super) engines: Engines,
    pub(super) stack: Stack,
    /// What was made of each model, by its name.
    pub(super) models: BTreeMap<String, ModelEntry>,
    pub(super) clock: SharedClock,
    pub(super) cancel: CancelToken,
    pub(super) telemetry: Option<TelemetrySettings>,
}

impl Reached {
    /// Asks every backend that the plan uses what it is; `path` is what the file is called.
    pub(super) fn open(path: &Path, file: ScenarioFile, plan: &Plan, cancel: CancelToken) -> Self {
        let surroundings = surroundings(&file);
        let used: BTreeSet<&str> = plan.sessions.iter().map(|s| s.key.backend.as_str()).collect();
        let wanted = file.backends.iter().filter(|backend| used.contains(backend.name.as_str()));
        let mut backends: BTreeMap<_, _> =
            wanted.map(|backend| (backend.name.clone(), backend::open(backend, &surroundings))).collect();
        let (mut descriptions, mut missing) = (BTreeMap::new(), Vec::new());
        for (name, backend) in &mut backends {
            backend.tell(Box::new(warn));
            match backend.describe() {
                Ok(description) => drop(descriptions.insert(name.clone(), description)),
                Err(error) => missing.push((name.clone(), error)),
            }
        }
        Self { path: path.to_owned(), file, backends, descriptions, missing, surroundings, cancel }
    }

    /// Takes the cells of backends that are not there out of a plan, and says so.
    pub(super) fn skip_missing(&mut self, plan: &mut Plan) {
        for (name, error) in std::mem::take(&mut self.missing) {
            match error {
                BackendError::Unavailable { what, fix, .. } => {
                    // It is kept in the plan.
                    let reason = without_passwords(&format!("{what}; try: {fix}")).into_owned();
                    warn(&format!("backend `{name}` skipped: {reason}"));
                    skip_backend(plan, &name, &reason);
                }
                other => self.missing.push((name, other)),
            }
        }
    }

    /// Takes the cells that an engine says it cannot do out of a plan, and says so.
    pub(super) fn skip_unoffered(&self, plan: &mut Plan) {
        for (name, description) in &self.descriptions {
            let unoffered =
                |cell: &Cell| cell.session.backend == *name && !description.procedures.contains(&cell.procedure);
            let gone: Vec<Cell> = plan.cells.extract_if(.., |cell| unoffered(cell)).collect();
            if gone.is_empty() {
                continue;
            }
            let asked: BTreeSet<&str> = gone.iter().map(|cell| cell.procedure.as_str()).collect();
            let offered: Vec<&str> = description.procedures.iter().map(|offered| offered.as_str()).collect();
            let (asked, offered) = (Vec::from_iter(asked).join(", "), offered.join(", "));
            let offered = if offered.is_empty() { "nothing".to_owned() } else { offered };
            warn(&format!("backend `{name}`: {} cells skipped: it does not offer {asked}, only {offered}", gone.len()));
            plan.skipped.extend(gone.into_iter().map(|cell| {
                let reason = format!("{} does not offer {}, only {offered}", description.engine, cell.procedure);
                SkippedCell { cell, rule: "procedure_unsupported".to_owned(), reason }
            }));
        }
        let (cells, sessions) = (&plan.cells, &mut plan.sessions);
        sessions.retain(|session| cells.iter().any(|cell| cell.session == session.key));
    }

    /// Says what the run is called, for the labels of its containers: as its folder.
    pub(super) fn name_run(&self, run: &Path) {
        self.surroundings.workers.name_run(&run.file_name().unwrap_or_default().to_string_lossy());
    }

    /// What the backends and the machine are.
    pub(super) fn stack(&self) -> Stack {
        let entry = |(name, description): (&String, &Description)| (name.clone(), manifest::backend_entry(description));
        manifest::collect(self.descriptions.iter().map(entry).collect())
    }

    /// Whether every backend is there.
    ///
    /// # Errors
    /// Those that are not.
    pub(super) fn require_all(&mut self) -> Result<(), Missing> {
        let missing: Vec<BackendError> =
            std::mem::take(&mut self.missing).into_iter().map(|(_, error)| error).collect();
        if missing.is_empty() { Ok(()) } else { Err(Missing(missing)) }
    }

    /// Puts into a plan how many models each backend holds at once.
    pub(super) fn limit_residency(&self, plan: &mut Plan) {
        for session in &mut plan.sessions {
            if let Some(description) = self.descriptions.get(&session.key.backend) {
                session.max_resident = description.max_resident;
            }
        }
    }

    /// See [`scenario::check_weights`].
    ///
    /// # Errors
    /// As there.
    pub(super) fn check_weights(&self, plan: &Plan) -> Result<(), CommandError> {
        Ok(scenario::check_weights(&self.file, plan, &self.path, &self.surroundings.cache)?)
    }

    /// Makes the prompts of a plan.
    ///
    /// # Errors
    /// Every one that cannot be made.
    pub(super) fn prompts(&self, plan: &Plan) -> Result<Prompts, CommandError> {
        let invalid = |problems| ScenarioError::Invalid { path: self.path.clone(), problems };
        Ok(Prompts::build(&self.file, plan).map_err(invalid)?)
    }

    /// Exports what the sessions load, before anything is timed. `None`: someone cancelled, which is looked at between
    /// models.
    ///
    /// # Errors
    /// The first model that cannot be prepared; the cache, where that is why.
    pub(super) fn prepare(mut self, plan: &Plan) -> Result<Option<Ready>, CommandError> {
        let mut prepared = BTreeMap::new();
        let preparing = progress::Preparing::new(plan.sessions.len(), self.surroundings.clock.is_virtual());
        for session in &plan.sessions {
            if self.cancel.is_cancelled() {
                break;
            }
            preparing.begins(&format!("{} for {}", session.key.model, session.key.backend));
            let model = self.file.models.iter().find(|m| m.name == session.key.model);
            if let (Some(model), Some(backend)) = (model, self.backends.get_mut(&session.key.backend)) {
                prepared.insert(session.key.clone(), backend.prepare(model).map_err(or_the_cache)?);
            }
            preparing.ends();
        }
        preparing.finish();
        Ok((!self.cancel.is_cancelled()).then(|| self.ready(prepared)))
    }

    fn ready(self, prepared: BTreeMap<SessionKey, Prepared>) -> Ready {
        let stack = self.stack();
        let Self { file, backends, surroundings, cancel, .. } = self;
        let clock = surroundings.clock;
        let mut models: BTreeMap<String, ModelEntry> = BTreeMap::new();
        // What is on a disk tells of a model; a script has only its shape.
        let mut described: Vec<(&SessionKey, &Prepared)> = prepared.iter().collect();
        described.sort_by_key(|(_, prepared)| prepared.path.is_none());
        for (key, prepared) in described {
            let Some(source) = file.models.iter().find(|m| m.name == key.model) else { continue };
            let entry = models.entry(key.model.clone()).or_insert_with(|| manifest::models::entry(source, prepared));
            manifest::models::add_form(entry, &key.backend, prepared);
        }
        Ready { engines: Engines { backends, prepared }, stack, models, clock, cancel, telemetry: file.telemetry }
    }
}

/// A virtual clock only where nothing real is measured; the scenario reader has seen to it that they never mix.
fn surroundings(file: &ScenarioFile) -> Surroundings {
    let clock: SharedClock = if file.backends.iter().all(|b| b.engine.limits().virtual_clock()) {
        Arc::new(VirtualClock::default())
    } else {
        Arc::new(RealClock::default())
    };
    Surroundings::new(clock, cache::root(), file.seed)
}

fn skip_backend(plan: &mut Plan, backend: &str, reason: &str) {
    let (gone, kept) = std::mem::take(&mut plan.cells).into_iter().partition(|c| c.session.backend == backend);
    plan.cells = kept;
    let gone: Vec<_> = gone;
    let skipped = |cell| SkippedCell { cell, rule: "backend_unavailable".to_owned(), reason: reason.to_owned() };
    plan.skipped.extend(gone.into_iter().map(skipped));
    plan.sessions.retain(|s| s.key.backend != backend);
}

/// A model that cannot be made because nothing can be written into the cache is no fault of the scenario file.
fn or_the_cache(error: BackendError) -> CommandError {
    if matches!(error, BackendError::Prepare { .. })
        && let Err(refused) = cache::writable(&cache::root())
    {
        return CommandError::from(refused).during(error.to_string());
    }
    error.into()
}
