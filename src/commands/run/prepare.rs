//! What comes before a run's first load: which backends there are, and what they load made ready.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::progress;
use crate::backend::{self, Backend, BackendError, CancelToken, Description, Surroundings};
use crate::cache;
use crate::clock::{RealClock, SharedClock, VirtualClock};
use crate::commands::terminal::warn;
use crate::record::plan::{Plan, SkippedCell};
use crate::run::Engines;
use crate::scenario::ScenarioFile;

/// A virtual clock only where nothing real is measured; the scenario reader has seen to it that they never mix.
pub(super) fn surroundings(file: &ScenarioFile) -> Surroundings {
    let clock: SharedClock = if file.backends.iter().all(|b| b.engine.limits().virtual_clock()) {
        Arc::new(VirtualClock::default())
    } else {
        Arc::new(RealClock::default())
    };
    Surroundings::new(clock, crate::cache::root(), file.seed)
}

pub(super) fn open(
    file: &ScenarioFile,
    plan: &Plan,
    surroundings: &Surroundings,
) -> BTreeMap<String, Box<dyn Backend>> {
    let used: BTreeSet<&str> = plan.sessions.iter().map(|s| s.key.backend.as_str()).collect();
    file.backends
        .iter()
        .filter(|b| used.contains(b.name.as_str()))
        .map(|b| {
            let mut backend = backend::open(b, surroundings);
            backend.tell(Box::new(warn));
            (b.name.clone(), backend)
        })
        .collect()
}

/// Several backends are missing; each with its fix.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Missing(pub Vec<BackendError>);

/// Asks every backend what it is. A missing one is an error, or its cells are skipped.
pub(super) fn preflight(
    backends: &mut BTreeMap<String, Box<dyn Backend>>,
    plan: &mut Plan,
    skip_missing: bool,
) -> anyhow::Result<BTreeMap<String, Description>> {
    let mut descriptions = BTreeMap::new();
    let mut missing = Vec::new();
    for (name, backend) in backends.iter_mut() {
        match backend.describe() {
            Ok(description) => {
                for session in plan.sessions.iter_mut().filter(|s| s.key.backend == *name) {
                    session.max_resident = description.max_resident;
                }
                descriptions.insert(name.clone(), description);
            }
            Err(BackendError::Unavailable { what, fix, .. }) if skip_missing => {
                let reason = format!("{what}; try: {fix}");
                warn(&format!("backend `{name}` skipped: {reason}"));
                skip_backend(plan, name, &reason);
            }
            Err(error) => missing.push(error),
        }
    }
    if missing.is_empty() { Ok(descriptions) } else { Err(Missing(missing).into()) }
}

fn skip_backend(plan: &mut Plan, backend: &str, reason: &str) {
    let (gone, kept) = std::mem::take(&mut plan.cells).into_iter().partition(|c| c.session.backend == backend);
    plan.cells = kept;
    let gone: Vec<_> = gone;
    let skipped = |cell| SkippedCell { cell, rule: "backend_unavailable".to_owned(), reason: reason.to_owned() };
    plan.skipped.extend(gone.into_iter().map(skipped));
    plan.sessions.retain(|s| s.key.backend != backend);
}

/// Exports what the sessions load, before anything is timed. `None`: someone cancelled, which is looked at between models.
///
/// # Errors
/// The first model that cannot be prepared; the cache, where that is why.
pub(super) fn prepare(
    file: &ScenarioFile,
    plan: &Plan,
    mut backends: BTreeMap<String, Box<dyn Backend>>,
    cancel: &CancelToken,
) -> anyhow::Result<Option<Engines>> {
    let mut prepared = BTreeMap::new();
    let bar = progress::preparing(plan.sessions.len());
    for session in &plan.sessions {
        if cancel.is_cancelled() {
            break;
        }
        bar.set_message(format!("{} for {}", session.key.model, session.key.backend));
        let model = file.models.iter().find(|m| m.name == session.key.model);
        if let (Some(model), Some(backend)) = (model, backends.get_mut(&session.key.backend)) {
            prepared.insert(session.key.clone(), backend.prepare(model).map_err(or_the_cache)?);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok((!cancel.is_cancelled()).then_some(Engines { backends, prepared }))
}

/// A model that cannot be made because nothing can be written into the cache is no fault of the scenario file.
fn or_the_cache(error: BackendError) -> anyhow::Error {
    if matches!(error, BackendError::Prepare { .. })
        && let Err(refused) = cache::writable(&cache::root())
    {
        return anyhow::Error::from(refused).context(error);
    }
    error.into()
}
