//! Runs of a plan: measured into a folder, taken up there, or found there; and several of them as one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::commands::CommandError;
use crate::commands::compare::{Found, Opened};
use crate::commands::measuring::{self, Asked};
use crate::manifest;
use crate::record::manifest::Stack;
use crate::record::plan::{CellId, Plan};
use crate::run_folder::{RunFolder, UnreadRun};
use crate::store::StoreError;
use crate::terminal::warn;

/// Beside the run, named after what is measured and the stack, so that the same command finds it again and the next upgrade does not.
pub(super) fn default_folder(run: &Path, kind: &str, stack: &Stack) -> PathBuf {
    let hash = manifest::stack_sha256(stack);
    let name = run.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    run.with_file_name(format!("{name}-{kind}-{}", &hash[..8]))
}

/// A run that is complete in its folder.
pub(super) struct Stage {
    pub(super) run: Opened,
    /// Whether it was so before, and nothing of it was measured now.
    pub(super) was_there: bool,
}

/// Measures a plan of a run into a folder, takes it up there, or finds it finished; whether it was found so. `None`:
/// interrupted.
pub(super) fn measure_into(
    folder: &Path,
    baseline: &Path,
    plan: Plan,
    json: bool,
) -> Result<Option<bool>, CommandError> {
    let there = RunFolder::open_planted(folder).ok();
    if let Some(there) = &there {
        check_plan(folder, &there.plan, &plan)?;
        if there.recording.finished() {
            return Ok(Some(true));
        }
    }
    let begun = if there.is_some() {
        measuring::resume(folder, json)?
    } else {
        let loaded = measuring::again(baseline, plan)?;
        measuring::begin(loaded, &Asked { out: Some(folder), skip_missing: false, json })?
    };
    match measuring::carry_out(begun, json)? {
        measuring::Outcome::Complete(..) => Ok(Some(false)),
        measuring::Outcome::NotBegun(_) | measuring::Outcome::Interrupted(_) => {
            warn("interrupted: the same command goes on where it was ended");
            Ok(None)
        }
    }
}

/// The plan of the run that lies in a folder, which is of the rerun that this plan is of, whichever cells either measures.
/// `None`: there is no run.
pub(super) fn planned_in(folder: &Path, wanted: &Plan) -> Result<Option<Plan>, StoreError> {
    let Ok(there) = UnreadRun::open(folder, true) else { return Ok(None) };
    check_plan(folder, &there.plan, wanted)?;
    Ok(Some(there.plan))
}

/// Whether what lies in a folder was measured by this plan; which of its cells are left out is not asked after.
fn check_plan(folder: &Path, there: &Plan, wanted: &Plan) -> Result<(), StoreError> {
    let same = (&there.name, there.seed, there.session_count) == (&wanted.name, wanted.seed, wanted.session_count)
        && there.slowdown == wanted.slowdown
        && asked(there) == asked(wanted);
    if same {
        return Ok(());
    }
    let why = "is of another rerun: of another plan or seed, or with another slowdown\n  try: another --out".to_owned();
    Err(StoreError::Content { path: folder.display().to_string(), why })
}

/// Every cell that a plan was asked for, those that are left out among them.
fn asked(plan: &Plan) -> BTreeSet<&CellId> {
    plan.cells.iter().chain(plan.skipped.iter().map(|skipped| &skipped.cell)).map(|cell| &cell.id).collect()
}

/// Stages as one run: their sessions follow each other.
pub(super) fn together(stages: &[Stage]) -> Opened {
    stages[0].run.clone().with(stages[1..].iter().map(|stage| &stage.run))
}

/// What was found in the folder of these. `None`: some of it was measured now.
pub(super) fn found<'s>(folder: &Path, stages: impl Iterator<Item = &'s Stage>) -> Option<Found> {
    let stages: Vec<&Stage> = stages.collect();
    let all_there = stages.iter().all(|stage| stage.was_there);
    all_there.then(|| Found::of(folder, stages.iter().map(|stage| &stage.run.run.manifest)))
}
