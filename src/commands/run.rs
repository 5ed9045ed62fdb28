//! `phasebench run`: a scenario file, or a run folder to resume, to a complete record.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;

use crate::backend::{CancelToken, Description};
use crate::cli::RunArgs;
use crate::clock::{SharedClock, unix_ns};
use crate::commands::terminal::{cancel_on_signal, warn};
use crate::commands::{calibrate, scenario};
use crate::exit::Exit;
use crate::hash::sha256_hex;
use crate::manifest;
use crate::record::Line;
use crate::record::manifest::{BackendEntry, Manifest, ModelEntry, PowerEntry, Stack};
use crate::record::plan::Plan;
use crate::run::{Ended, Engines, Power, Prompts, Run};
use crate::scenario::{ScenarioFile, TelemetrySettings};
use crate::schedule::Recorded;
use crate::store::{self, Reserved, Writer};
use crate::telemetry::{sampler, sensor::rapl};
use crate::units::Nanos;

mod ending;
mod prepare;
mod progress;

pub use prepare::Missing;
use prepare::{open, preflight, prepare, surroundings};

/// Runs or resumes.
///
/// # Errors
/// A bad scenario file, an unavailable backend, a model that cannot be prepared, a store that cannot be written.
pub fn execute(args: &RunArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let begun = match (&args.resume, &args.scenario) {
        (Some(folder), _) => resume(folder)?,
        (None, Some(file)) => begin(args, file)?,
        (None, None) => return Ok(Exit::Usage),
    };
    match begun {
        Begun::Ready(job) => go(*job, args.json, out),
        Begun::Ended(exit) => ending::not_begun(exit, args.json, out),
        Begun::Interrupted(folder) => ending::interrupted(&folder, args.json, out),
    }
}

/// Everything a run needs, checked and prepared; nothing measured yet.
struct Job {
    plan: Plan,
    engines: Engines,
    prompts: Prompts,
    writer: Writer,
    lines: Vec<Line>,
    clock: SharedClock,
    cancel: CancelToken,
    stack_sha256: String,
    manifest: Manifest,
    telemetry: Option<TelemetrySettings>,
}

enum Begun {
    Ready(Box<Job>),
    /// There is nothing to measure, or someone cancelled before there was.
    Ended(Exit),
    /// Someone cancelled; the run in this folder can be resumed.
    Interrupted(PathBuf),
}

fn begin(args: &RunArgs, path: &Path) -> anyhow::Result<Begun> {
    let loaded = scenario::load(path, args.only.as_deref())?;
    let (file, mut plan) = (loaded.file, loaded.plan);
    super::processors::warn(&file);
    let cancel = cancel_on_signal()?;
    let surroundings = surroundings(&file);
    let mut backends = open(&file, &plan, &surroundings);
    let descriptions = preflight(&mut backends, &mut plan, args.skip_missing)?;
    if plan.cells.is_empty() {
        return Ok(nothing_left(&plan));
    }
    // All that can be wrong with the prompts and the run's folder comes out before models are made, which takes minutes.
    let prompts = Prompts::build(&file, &plan)?;
    let plan_json = String::from_utf8(crate::plan::to_json(&plan)?)?;
    let folder = args
        .out
        .clone()
        .unwrap_or_else(|| store::default_folder(&plan.name, &sha256_hex(plan_json.as_bytes()), SystemTime::now()));
    surroundings.workers.name_run(&name_of(&folder));
    let reserved = Reserved::new(&folder)?;
    let base = std::path::absolute(path).ok().and_then(|path| path.parent().map(Path::to_owned)).unwrap_or_default();
    let local = serde_json::json!({ "scenario_folder": base });
    store::write_atomically(&folder.join(store::LOCAL), local.to_string().as_bytes())?;
    let Some(engines) = prepare(&file, &plan, backends, &cancel)? else {
        warn("interrupted before anything was measured; models made so far stay in the cache, so run the same again");
        return Ok(Begun::Ended(Exit::Interrupted));
    };
    let stack = manifest::collect(entries(&descriptions));
    let stack_sha256 = manifest::stack_sha256(&stack);
    let mut manifest = manifest::begin(stack, loaded.text.as_bytes(), plan_json.as_bytes(), unix_ns());
    manifest.models = models(&file, &engines);
    manifest.residency = crate::schedule::order::residency(&plan);
    let writer = reserved.begin(&loaded.text, &plan_json, &manifest.to_json()?)?;
    Ok(Begun::Ready(Box::new(Job {
        plan,
        engines,
        prompts,
        writer,
        lines: Vec::new(),
        clock: surroundings.clock,
        cancel,
        stack_sha256,
        manifest,
        telemetry: file.telemetry,
    })))
}

fn resume(folder: &Path) -> anyhow::Result<Begun> {
    let (writer, recording) = Writer::resume(folder)?;
    let plan: Plan = serde_json::from_str(&store::read_text(folder, store::PLAN)?)
        .with_context(|| format!("{}: not a plan of this version", folder.join(store::PLAN).display()))?;
    let file = scenario::parse(&folder.join(store::SPEC), &scenario_folder(folder))?;
    let cancel = cancel_on_signal()?;
    let surroundings = surroundings(&file);
    surroundings.workers.name_run(&name_of(folder));
    let mut backends = open(&file, &plan, &surroundings);
    let descriptions = preflight(&mut backends, &mut plan.clone(), false)?;
    let prompts = Prompts::build(&file, &plan)?;
    let Some(engines) = prepare(&file, &plan, backends, &cancel)? else {
        return Ok(Begun::Interrupted(folder.to_owned()));
    };
    let stack = manifest::collect(entries(&descriptions));
    let stack_sha256 = manifest::stack_sha256(&stack);
    let mut manifest = Manifest::from_json(store::read_text(folder, store::MANIFEST)?.as_bytes())
        .with_context(|| folder.join(store::MANIFEST).display().to_string())?;
    unchanged(folder, &manifest, &stack, &models(&file, &engines))?;
    if !Recorded::of(&plan, &recording.lines).finished() {
        manifest::resume(&mut manifest, stack, unix_ns());
        writer.write_manifest(&manifest.to_json()?)?;
    }
    Ok(Begun::Ready(Box::new(Job {
        plan,
        engines,
        prompts,
        writer,
        lines: recording.lines,
        clock: surroundings.clock,
        cancel,
        stack_sha256,
        manifest,
        telemetry: file.telemetry,
    })))
}

/// The run began on another stack or with other weights: its rows must not be mixed with new ones.
#[derive(Debug, thiserror::Error)]
#[error("{folder}: {what} changed since the run began\n  try: a new run of its {}, and compare", store::SPEC)]
pub struct StackChanged {
    folder: String,
    what: String,
}

fn unchanged(
    folder: &Path,
    manifest: &Manifest,
    stack: &Stack,
    models: &BTreeMap<String, ModelEntry>,
) -> Result<(), StackChanged> {
    let changed = |what: String| Err(StackChanged { folder: folder.display().to_string(), what });
    if manifest.stack_sha256 != manifest::stack_sha256(stack) {
        return changed(manifest.stack.differences(stack).join(", "));
    }
    for (name, before) in &manifest.models {
        if models.get(name).is_some_and(|now| now.weights_id != before.weights_id) {
            return changed(format!("the weights of model `{name}`"));
        }
    }
    Ok(())
}

/// What a run is called: its folder's name.
fn name_of(run: &Path) -> String {
    run.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn scenario_folder(run: &Path) -> PathBuf {
    let local =
        store::read_text(run, store::LOCAL).ok().and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    local.and_then(|v| v["scenario_folder"].as_str().map(PathBuf::from)).unwrap_or_default()
}

fn nothing_left(plan: &Plan) -> Begun {
    for skipped in &plan.skipped {
        let cell = &skipped.cell;
        let name = format!("{} × {} × {}", cell.session.backend, cell.session.model, cell.scenario);
        warn(&format!("{name}: skipped by rule {}: {}", skipped.rule, skipped.reason));
    }
    warn("nothing to measure: every cell is skipped");
    Begun::Ended(Exit::Good)
}

fn entries(descriptions: &BTreeMap<String, Description>) -> BTreeMap<String, BackendEntry> {
    descriptions.iter().map(|(name, description)| (name.clone(), manifest::backend_entry(description))).collect()
}

fn models(file: &ScenarioFile, engines: &Engines) -> BTreeMap<String, ModelEntry> {
    let mut entries: BTreeMap<String, ModelEntry> = BTreeMap::new();
    for (key, prepared) in &engines.prepared {
        let Some(source) = file.models.iter().find(|m| m.name == key.model) else { continue };
        let entry = entries.entry(key.model.clone()).or_insert_with(|| manifest::models::entry(source, prepared));
        manifest::models::add_form(entry, &key.backend, prepared);
    }
    entries
}

fn go(mut job: Job, json: bool, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let folder = job.writer.folder().to_owned();
    let (mut power, rested) = record_power(&mut job)?;
    let mut watching = progress::Watching::new(&job.plan, &job.lines);
    let run = Run::new(
        &job.plan,
        &job.lines,
        &mut job.engines,
        &job.prompts,
        &mut job.writer,
        job.clock.clone(),
        job.cancel.clone(),
    )
    .with_power(power.as_mut(), rested);
    // The calendar time at which the run's clock stood at 0.
    let start = unix_ns().saturating_sub(if job.clock.is_virtual() { 0 } else { job.clock.now().0 });
    let ended = run.execute(start, &job.stack_sha256, &mut watching);
    watching.finish();
    if let Some(power) = power {
        let continuity = power.finish()?;
        if let Some(entry) = job.manifest.epochs.last_mut().and_then(|epoch| epoch.power.as_mut()) {
            entry.continuity = Some(continuity);
            job.writer.write_manifest(&job.manifest.to_json()?)?;
        }
    }
    match ended? {
        Ended::Interrupted => ending::interrupted(&folder, json, out),
        Ended::Complete(finished) => ending::complete(&job.plan, &folder, finished, json, out),
    }
}

/// Power recording, and when everything was left alone before it.
type Recording = (Option<Power>, Option<(Nanos, Nanos)>);

/// Begins to record power, where the scenario asks for it and there is anything left to measure.
fn record_power(job: &mut Job) -> anyhow::Result<Recording> {
    let finished = job.lines.iter().any(|line| matches!(line, Line::Finished(_)));
    // On a virtual clock nothing draws power.
    let Some(settings) = job.telemetry.as_ref().filter(|_| !finished && !job.clock.is_virtual()) else {
        return Ok((None, None));
    };
    let epochs = job.lines.iter().filter(|line| matches!(line, Line::Opened(_))).count();
    let epoch = u32::try_from(epochs).unwrap_or(u32::MAX);
    let (mut rested, mut calibrations) = (None, Vec::new());
    let sensors = sampler::discover(&settings.kinds()).sensors;
    if settings.calibrate {
        // The load of a calibration leaves a context on the device until this process ends, and that draws power.
        let mut early = Power::start(settings, BTreeMap::new(), &job.writer, epoch, job.clock.clone())?;
        rested = early.rest(&job.clock, &job.cancel);
        early.finish()?;
        calibrations = calibrate::ahead(settings, &job.clock, &job.cancel)?;
    }
    let timings = crate::calibrate::by_sensor(&sensors, &calibrations);
    let power = Power::start(settings, timings, &job.writer, epoch, job.clock.clone())?;
    let found = power.found().clone();
    if found.sensors.is_empty() {
        let why: Vec<String> = found.absent.iter().map(|(kind, why)| format!("{kind}: {why}")).collect();
        warn(&format!("no power sensor, energy stays empty ({})", why.join("; ")));
    }
    for sensor in &found.sensors {
        if sensor.simulated {
            warn(&format!("{} is SIMULATED: no energy of this run is a measurement", sensor.id));
        }
        if let Some(why) = sensor.missing.get(rapl::PACKAGES) {
            warn(&format!("{}: {why}", sensor.id));
        }
    }
    if let Some(epoch) = job.manifest.epochs.last_mut() {
        let (period_ns, charged) = (settings.period.into(), settings.sensors.clone());
        let cuda = power.cuda().clone();
        epoch.power = Some(PowerEntry { period_ns, charged, found, calibrations, cuda, continuity: None });
        job.writer.write_manifest(&job.manifest.to_json()?)?;
    }
    Ok((Some(power), rested))
}
