//! A run as `compare` and `rerun` read it.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use crate::analysis::compile::CompileAudit;
use crate::analysis::engines::Rule;
use crate::analysis::imported::StatedFigures;
use crate::analysis::metrics::Metrics;
use crate::analysis::{CompileAuditRow, Sources};
use crate::cache;
use crate::cli::JudgeArgs;
use crate::commands::CommandError;
use crate::commands::machine::key_of;
use crate::comparison::kernels::KernelReading;
use crate::comparison::{Allowance, AllowanceSource, Measured, RunSide, Settings, SideCell, Taking};
use crate::history::{self, CellName, NOISE_NEEDS, Noise};
use crate::record::manifest::Manifest;
use crate::record::{Line, SpeedRecord};
use crate::run_folder::UnreadRun;
use crate::speed::watch;
use crate::stats::summary::median;
use crate::store::{Recording, StoreError};
use crate::terminal::warn;

/// Minutes of `machine --watch` that tell how a machine moves.
const WATCHED_MINUTES: usize = 30;

/// A run that was opened, with what a comparison reads of it.
#[derive(Clone)]
pub(in crate::commands) struct Opened {
    pub(in crate::commands) name: String,
    pub(in crate::commands) run: Arc<UnreadRun>,
    pub(in crate::commands) measured: Measured,
    audit: Vec<CompileAuditRow>,
    cells: Vec<SideCell>,
    kernels: Vec<KernelReading>,
}

/// Opens a run.
pub(in crate::commands) fn open(path: &Path) -> Result<Opened, CommandError> {
    Ok(opened(path, false)?)
}

/// Opens several, side by side: nearly all of the time goes into reading their records.
pub(in crate::commands) fn open_each(paths: &[PathBuf]) -> Result<Vec<Opened>, CommandError> {
    let at_once = thread::available_parallelism().map_or(1, NonZero::get);
    let mut found = Vec::with_capacity(paths.len());
    for some in paths.chunks(at_once) {
        let some: Vec<Result<Opened, StoreError>> = thread::scope(|scope| {
            let begun: Vec<_> = some.iter().map(|path| scope.spawn(move || opened(path, false))).collect();
            begun.into_iter().map(|opening| opening.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        found.extend(some);
    }
    Ok(found.into_iter().collect::<Result<_, _>>()?)
}

/// Opens a run that was slowed on purpose, for whoever slowed it: what was slowed counts as if it had been measured.
pub(in crate::commands) fn open_planted(path: &Path) -> Result<Opened, CommandError> {
    Ok(opened(path, true)?)
}

fn opened(path: &Path, planted: bool) -> Result<Opened, StoreError> {
    let run = UnreadRun::open(path, planted)?;
    let mut taking = Taking::new(&run.plan, planted);
    let recording = run.record(&mut |line| {
        let Line::Call(call) = line else { return true };
        taking.call(call);
        // What a compiler did is judged over all calls of a cell.
        !call.compile.is_empty()
    })?;
    let sources = Sources::new(&recording, &run.plan, &run.manifest, &[]);
    let audit = sources.rows::<CompileAudit>().to_vec();
    for row in sources.rows::<Metrics>().iter().filter(|row| row.is_imported()) {
        taking.row(row);
    }
    for row in sources.rows::<StatedFigures>().iter() {
        taking.stated(row);
    }
    drop(sources);
    let measured = taking.done();
    let cells = measured.cells(&run.plan, &audit, run.manifest.imported.is_some());
    let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    let kernels = kernels(&recording);
    Ok(Opened { name, run: Arc::new(run), measured, audit, cells, kernels })
}

/// What the reference kernels did during a run: one reading per kernel each time they ran.
fn kernels(recording: &Recording) -> Vec<KernelReading> {
    let speeds = recording.references().flat_map(|reference| &reference.speeds);
    let reading = |speed: &SpeedRecord| {
        let rate = median(&speed.per_second).filter(|rate| *rate > 0.0)?;
        let threads = if speed.threads == 1 { "thread" } else { "threads" };
        Some(KernelReading { kernel: format!("{}, {} {threads}", speed.kernel.as_str(), speed.threads), rate })
    };
    speeds.filter_map(reading).collect()
}

impl Opened {
    pub(in crate::commands) fn side(&self) -> RunSide<'_> {
        RunSide {
            name: &self.name,
            plan: &self.run.plan,
            manifest: &self.run.manifest,
            cells: &self.cells,
            kernels: &self.kernels,
        }
    }

    /// Its cells as a history follows them.
    fn cell_names(&self) -> BTreeSet<CellName> {
        let imported = self.run.manifest.imported.is_some();
        let named = self.cells.iter().filter_map(|side| {
            let (cell, (weights_id, dtype)) = (&side.cell, side.measured_as.as_ref()?);
            Some(CellName {
                backend: cell.session.backend.clone(),
                model: cell.session.model.clone(),
                weights_id: weights_id.clone(),
                dtype: dtype.as_str().to_owned(),
                scenario: cell.scenario.clone(),
                batch: cell.batch,
                gen_tokens: cell.gen_tokens,
                mode: side.mode,
                imported,
            })
        });
        named.collect()
    }

    /// The same with what another run of the same plan measured, as further sessions.
    pub(in crate::commands) fn with(mut self, more: &Self) -> Self {
        self.measured.extend(&more.measured);
        self.cells = self.measured.cells(&self.run.plan, &self.audit, self.run.manifest.imported.is_some());
        self.kernels.extend(more.kernels.iter().cloned());
        self
    }
}

/// How runs at different times are judged. `judged`: folders of what is judged, which tell nothing of how runs differ.
///
/// # Errors
/// Runs of a history that cannot be read.
pub(in crate::commands) fn settings(
    args: &JudgeArgs,
    baseline: &Opened,
    judged: &[&Path],
) -> Result<Settings, CommandError> {
    Ok(Settings { rule: rule(args), allowance: Some(allowance(args, baseline, judged)?) })
}

/// How sides that took turns are judged: there is no drift to allow for.
pub(in crate::commands) fn in_turns(args: &JudgeArgs) -> Settings {
    if args.drift.is_some() || !args.history.is_empty() {
        warn("--drift and --history are not needed: both sides took turns, so that what the machine did hit both");
    }
    Settings { rule: rule(args), allowance: None }
}

/// How a small model moved on the machine of a run, where that was watched for long enough. `None`: it was not, or no time of
/// the run is the machine's.
fn watched(manifest: &Manifest) -> Option<Allowance> {
    if manifest.stack.backends.values().all(|backend| backend.virtual_clock) {
        return None;
    }
    let watched = watch::read(&cache::root(), &key_of(&manifest.stack.machine))?;
    let found = watched.model_run_to_run(WATCHED_MINUTES)?;
    Some(Allowance::of_watch(found.ln, found.minutes))
}

fn rule(args: &JudgeArgs) -> Rule {
    Rule { margin: args.margin, ..Rule::default() }
}

/// What runs at different times may differ by: as given, as enough runs of the baseline's cells on its stack show, as its machine
/// was watched to move, or as is supposed of it.
fn allowance(args: &JudgeArgs, baseline: &Opened, judged: &[&Path]) -> Result<Allowance, CommandError> {
    if let Some(factor) = args.drift {
        return Ok(Allowance { ln: factor.ln(), source: AllowanceSource::Given });
    }
    let manifest = &baseline.run.manifest;
    let known = || watched(manifest).unwrap_or_else(|| Allowance::supposed(manifest));
    if args.history.is_empty() {
        return Ok(known());
    }
    let runs = history::read_without(&args.history, judged)?;
    let (stack, cells) = (&manifest.stack_sha256, baseline.cell_names());
    if let Some(noise) = Noise::of_stack(&runs, stack, &cells) {
        return Ok(Allowance::of_history(noise.ln, noise.runs));
    }
    let found = Noise::runs_of_stack(&runs, stack, &cells);
    let supposed = known();
    warn(&format!(
        "--history: {found} runs of the stack of {} have its cells, {NOISE_NEEDS} are needed: {} is allowed for",
        baseline.name,
        supposed.because()
    ));
    Ok(supposed)
}
