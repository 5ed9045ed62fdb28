//! Runs begun, taken up and carried out, for the commands that measure: `run`, `bench`, `rerun`, `machine --watch`.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::backend::CancelToken;
use crate::clock::unix_ns;
use crate::exit::Exit;
use crate::hash::sha256_hex;
use crate::manifest;
use crate::plan;
use crate::record::Finished;
use crate::record::manifest::{Change, Manifest, Stack};
use crate::record::plan::Plan;
use crate::run::{Engines, Job, PowerBeside, Prompts, Run, RunEnd};
use crate::run_folder::RunFolder;
use crate::scenario::TelemetrySettings;
use crate::schedule::Recorded;
use crate::schedule::order::residency;
use crate::secret::without_passwords;
use crate::signals::{Guarded, cancelled_by_signals, end_at_once};
use crate::store::{self, Reserved, StoreError, Writer};
use crate::terminal::{Hidden, Results, warn};
use crate::terms::continuity::Continuity;

use super::CommandError;
use super::error::StackChanged;
use super::scenario::Loaded;

mod archived;
mod ending;
mod power;
mod prepare;
mod progress;

use archived::{Local, archived_scenario};
use prepare::{Reached, Ready};

pub(super) use archived::again;

/// Says how a run ended.
pub(super) fn ended(outcome: Outcome, json: bool, out: &mut dyn Write) -> Result<Exit, CommandError> {
    match outcome {
        Outcome::NotBegun(exit) => ending::not_begun(exit, json, out),
        Outcome::Interrupted(folder) => ending::interrupted(&folder, json, out),
        Outcome::Complete(run, finished) => ending::complete(&run.job.plan, run.folder(), finished, json, out),
    }
}

/// A new run, besides its scenario.
pub(super) struct Asked<'a> {
    /// The run folder. `None`: named by time, scenario and plan.
    pub out: Option<&'a Path>,
    /// Whether the cells of unavailable backends are skipped.
    pub skip_missing: bool,
    /// Whether the result is JSON, and standard error for warnings only.
    pub json: bool,
}

/// How a run ended.
pub(super) enum Outcome {
    /// Before anything was measured.
    NotBegun(Exit),
    /// It can be resumed.
    Interrupted(PathBuf),
    /// Everything was measured that can be.
    Complete(Box<BegunRun>, Finished),
}

/// Does what a run has left to do.
pub(super) fn carry_out(begun: Begun, json: bool) -> Result<Outcome, CommandError> {
    let mut run = match begun {
        Begun::Ready(run) => run,
        Begun::RunEnd(exit) => return Ok(Outcome::NotBegun(exit)),
        Begun::Interrupted(folder) => return Ok(Outcome::Interrupted(folder)),
    };
    let power = run.record_power(json);
    if power.is_err() && run.job.cancel.is_cancelled() {
        return Ok(Outcome::Interrupted(run.folder().to_owned()));
    }
    let mut power = power?;
    let ended = run.measure(&mut power);
    run.record_continuity(power.finish()?)?;
    if matches!(ended, Ok(RunEnd::Complete(_))) {
        run.job.writer.close()?;
    }
    Ok(match ended? {
        RunEnd::Interrupted => Outcome::Interrupted(run.folder().to_owned()),
        RunEnd::Complete(finished) => Outcome::Complete(run, finished),
    })
}

/// A run that can go on, with what is told of it beside the record.
pub(super) struct BegunRun {
    job: Job,
    manifest: Manifest,
    telemetry: Option<TelemetrySettings>,
}

/// A run that was begun, or why none was.
pub(super) enum Begun {
    /// It can be carried out.
    Ready(Box<BegunRun>),
    /// There is nothing to measure, or someone cancelled before there was.
    RunEnd(Exit),
    /// Someone cancelled; the run in this folder can be resumed.
    Interrupted(PathBuf),
}

/// Reserves a run's folder and makes ready whatever its plan needs.
pub(super) fn begin(loaded: Loaded, asked: &Asked<'_>) -> Result<Begun, CommandError> {
    let mut plan = loaded.plan;
    super::processors::warn(&loaded.file);
    let cancel = cancelled_by_signals()?;
    let json = asked.json;
    let guarded = Guarded::new(&cancel, move || never_began(json));
    let mut reached = Reached::open(&loaded.path, loaded.file, &plan, cancel.clone());
    if asked.skip_missing {
        reached.skip_missing(&mut plan);
    }
    reached.require_all()?;
    reached.skip_unoffered(&mut plan);
    reached.limit_residency(&mut plan);
    if plan.cells.is_empty() {
        return Ok(nothing_left(&plan));
    }
    reached.check_weights(&plan)?;
    // All that can be wrong with the prompts and the run's folder comes out before models are made, which takes minutes.
    let prompts = reached.prompts(&plan)?;
    let plan_json = String::from_utf8_lossy(&plan::to_json(&plan)?).into_owned();
    let reserved = reserve(asked, &loaded.path, &plan, &plan_json)?;
    reached.name_run(reserved.folder());
    drop(guarded);
    let place = reserved.place();
    let guarded = Guarded::new(&cancel, move || {
        place.give_back();
        never_began(json);
    });
    let Some(ready) = reached.prepare(&plan)? else { return Ok(Begun::RunEnd(Exit::Interrupted)) };
    drop(guarded);
    let archived = without_passwords(&loaded.text);
    let mut manifest = manifest::begin(ready.stack.clone(), archived.as_bytes(), plan_json.as_bytes(), unix_ns());
    manifest.models = ready.models.clone();
    manifest.residency = residency(&plan);
    let writer = reserved.begin(&archived, &plan_json, &manifest.to_json()?)?;
    let recorded = Recorded::new(&plan);
    Ok(Begun::Ready(Box::new(BegunRun::new(ready, plan, recorded, prompts, writer, manifest))))
}

/// Keeps a folder for a run of this scenario file, with what resuming it needs of this machine.
fn reserve(asked: &Asked<'_>, scenario: &Path, plan: &Plan, plan_json: &str) -> Result<Reserved, CommandError> {
    let hash = sha256_hex(plan_json.as_bytes());
    let named = || store::default_folder(Path::new("results"), &plan.name, &hash, SystemTime::now());
    let folder = asked.out.map_or_else(named, Path::to_owned);
    let reserved = Reserved::new(&folder)?;
    store::write_atomically(&folder.join(store::LOCAL), &serde_json::to_vec(&Local::of(scenario))?)?;
    Ok(reserved)
}

/// Someone cancelled before anything was measured, and what was being done did not hear of it.
fn never_began(json: bool) {
    if let Some(mut out) = unlocked_results() {
        drop(ending::not_begun(Exit::Interrupted, json, &mut out));
    }
    end_at_once();
}

/// Someone cancelled a run that can be resumed, and what was being done did not hear of it.
fn left(folder: &Path, json: bool) {
    if let Some(mut out) = unlocked_results() {
        drop(ending::interrupted(folder, json, &mut out));
    }
    end_at_once();
}

/// For JSON, which is all that is printed so, while the other thread has standard output locked. `None`: the system gives no
/// second way to it.
fn unlocked_results() -> Option<Results<File>> {
    let out = std::io::stdout().as_fd().try_clone_to_owned().ok()?;
    Some(Results::new(File::from(out), Hidden::Escaped))
}

/// Takes up a run where it was left.
pub(super) fn resume(folder: &Path, json: bool) -> Result<Begun, CommandError> {
    let mut recorded = None;
    let (writer, run) = RunFolder::resume(folder, &mut |plan, line| {
        recorded.get_or_insert_with(|| Recorded::new(plan)).take(line);
    })?;
    let RunFolder { plan, mut manifest, .. } = run;
    let recorded = recorded.unwrap_or_else(|| Recorded::new(&plan));
    if manifest.imported.is_some() {
        let why = "was imported from another tool's files, and there is no scenario file to go on with".to_owned();
        return Err(StoreError::Content { path: folder.display().to_string(), why }.into());
    }
    let file = archived_scenario(folder)?;
    super::processors::warn(&file);
    let cancel = cancelled_by_signals()?;
    let path = folder.to_owned();
    let _guarded = Guarded::new(&cancel, move || left(&path, json));
    let mut reached = Reached::open(&folder.join(store::SPEC), file, &plan, cancel);
    reached.name_run(folder);
    reached.require_all()?;
    let prompts = reached.prompts(&plan)?;
    let Some(ready) = reached.prepare(&plan)? else { return Ok(Begun::Interrupted(folder.to_owned())) };
    unchanged(folder, &manifest, &ready)?;
    if !recorded.finished() {
        manifest::resume(&mut manifest, ready.stack.clone(), unix_ns());
        writer.write_manifest(&manifest.to_json()?)?;
    }
    Ok(Begun::Ready(Box::new(BegunRun::new(ready, plan, recorded, prompts, writer, manifest))))
}

/// What a scenario's backends and the machine are now; nothing is made or measured.
///
/// # Errors
/// Backends that are not there.
pub(super) fn stack_now(loaded: Loaded) -> Result<Stack, CommandError> {
    let mut reached = Reached::open(&loaded.path, loaded.file, &loaded.plan, cancelled_by_signals()?);
    reached.require_all()?;
    Ok(reached.stack())
}

/// Engines and prompts of a scenario whose calls are made without a run, and the stack that they are on. `None`: someone cancelled.
///
/// # Errors
/// Backends that are not there, models that cannot be made.
pub(super) fn engines(
    loaded: Loaded,
    cancel: &CancelToken,
) -> Result<Option<(Plan, Prompts, Engines, Stack)>, CommandError> {
    let mut reached = Reached::open(&loaded.path, loaded.file, &loaded.plan, cancel.clone());
    reached.require_all()?;
    let prompts = reached.prompts(&loaded.plan)?;
    let ready = reached.prepare(&loaded.plan)?;
    Ok(ready.map(|ready| (loaded.plan, prompts, ready.engines, ready.stack)))
}

/// Whether a run can go on on this stack: it began on the same one, with the same weights.
fn unchanged(folder: &Path, manifest: &Manifest, ready: &Ready) -> Result<(), StackChanged> {
    let changed = |what: String| Err(StackChanged { folder: folder.display().to_string(), what });
    if manifest.stack_sha256 != manifest::stack_sha256(&ready.stack) {
        let changes = manifest.stack.changes(&ready.stack);
        return changed(changes.iter().map(Change::in_words).collect::<Vec<_>>().join(", "));
    }
    for (name, before) in &manifest.models {
        if ready.models.get(name).is_some_and(|now| now.weights_id != before.weights_id) {
            return changed(format!("the weights of model `{name}`"));
        }
    }
    Ok(())
}

/// Says why every cell is skipped.
fn nothing_left(plan: &Plan) -> Begun {
    for skipped in &plan.skipped {
        let cell = &skipped.cell;
        let name = format!("{} × {} × {}", cell.session.backend, cell.session.model, cell.scenario);
        warn(&format!("{name}: skipped by rule {}: {}", skipped.rule, skipped.reason));
    }
    warn("nothing to measure: every cell is skipped");
    // No model could be measured at all.
    Begun::RunEnd(Exit::Degraded)
}

impl BegunRun {
    fn new(ready: Ready, plan: Plan, recorded: Recorded, prompts: Prompts, writer: Writer, manifest: Manifest) -> Self {
        let Ready { engines, stack, clock, cancel, telemetry, .. } = ready;
        let stack_sha256 = manifest::stack_sha256(&stack);
        Self { job: Job { plan, recorded, engines, prompts, writer, clock, cancel, stack_sha256 }, manifest, telemetry }
    }

    /// What it measures.
    pub(super) fn plan(&self) -> &Plan {
        &self.job.plan
    }

    /// Its folder.
    pub(super) fn folder(&self) -> &Path {
        self.job.writer.folder()
    }

    /// The exit code of a complete run; what it lacks goes to standard error.
    pub(super) fn judge(&self, finished: Finished) -> Result<Exit, CommandError> {
        ending::judge(&self.job.plan, self.folder(), finished)
    }

    /// Does what is left to do.
    fn measure(&mut self, power: &mut PowerBeside) -> Result<RunEnd, CommandError> {
        let is_virtual = self.job.clock.is_virtual();
        let mut watching = progress::Watching::new(&self.job.plan, &self.job.recorded, is_virtual);
        // The calendar time at which the run's clock stood at 0.
        let clock = &self.job.clock;
        let start = unix_ns().saturating_sub(if clock.is_virtual() { 0 } else { clock.now().0 });
        let _guarded = Guarded::new(&self.job.cancel, || {
            warn("interrupted: the engine is given time to end; once more ends at once");
        });
        let ended = Run::new(&mut self.job, power).execute(start, &mut watching);
        watching.finish();
        Ok(ended?)
    }

    /// Writes down how recording power went.
    fn record_continuity(&mut self, continuity: Option<Continuity>) -> Result<(), CommandError> {
        let Some(continuity) = continuity else { return Ok(()) };
        if let Some(entry) = self.manifest.epochs.last_mut().and_then(|epoch| epoch.power.as_mut()) {
            entry.continuity = Some(continuity);
            self.job.writer.write_manifest(&self.manifest.to_json()?)?;
        }
        Ok(())
    }
}
