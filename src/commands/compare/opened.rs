//! A run as `compare` and `rerun` read it.

use std::path::Path;
use std::rc::Rc;

use crate::analysis::compile::CompileAudit;
use crate::analysis::engines::Rule;
use crate::analysis::metrics::Metrics;
use crate::analysis::{CompileAuditRow, MetricRow, Sources};
use crate::cli::JudgeArgs;
use crate::commands::CommandError;
use crate::comparison::kernels::KernelReading;
use crate::comparison::{Allowance, AllowanceSource, RunSide, Settings};
use crate::history::{self, NOISE_NEEDS, Noise};
use crate::record::SpeedRecord;
use crate::run_folder::RunFolder;
use crate::stats::summary::median;
use crate::terminal::warn;

/// A run that was opened, with what a comparison reads of it.
#[derive(Clone)]
pub(in crate::commands) struct Opened {
    pub(in crate::commands) name: String,
    pub(in crate::commands) run: Rc<RunFolder>,
    pub(in crate::commands) metrics: Vec<MetricRow>,
    audit: Vec<CompileAuditRow>,
    pub(in crate::commands) kernels: Vec<KernelReading>,
}

/// Opens a run.
pub(in crate::commands) fn open(path: &Path) -> Result<Opened, CommandError> {
    let run = RunFolder::open(path)?;
    let sources = Sources::new(&run.recording, &run.plan, &run.manifest, &[]);
    let (metrics, audit) = (sources.rows::<Metrics>().to_vec(), sources.rows::<CompileAudit>().to_vec());
    drop(sources);
    let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    let kernels = kernels(&run);
    Ok(Opened { name, run: Rc::new(run), metrics, audit, kernels })
}

/// What the reference kernels did during a run: one reading per kernel each time they ran.
fn kernels(run: &RunFolder) -> Vec<KernelReading> {
    let speeds = run.recording.references().flat_map(|reference| &reference.speeds);
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
            metrics: &self.metrics,
            audit: &self.audit,
            kernels: &self.kernels,
        }
    }
}

/// How runs are judged.
///
/// # Errors
/// Runs of a history that cannot be read.
pub(in crate::commands) fn settings(args: &JudgeArgs, baseline: &Opened) -> Result<Settings, CommandError> {
    let rule = Rule { margin: args.margin, ..Rule::default() };
    Ok(Settings { rule, allowance: Some(allowance(args, baseline)?) })
}

/// What runs at different times may differ by: as given, as enough runs of the baseline's stack show, or as is supposed of its
/// machine.
fn allowance(args: &JudgeArgs, baseline: &Opened) -> Result<Allowance, CommandError> {
    if let Some(factor) = args.drift {
        return Ok(Allowance { ln: factor.ln(), source: AllowanceSource::Given });
    }
    let manifest = &baseline.run.manifest;
    if args.history.is_empty() {
        return Ok(Allowance::supposed(manifest));
    }
    let runs = history::read(&args.history)?;
    if let Some(noise) = Noise::of_stack(&runs, &manifest.stack_sha256) {
        return Ok(Allowance::of_history(noise.ln, noise.runs));
    }
    let found = runs.iter().filter(|run| run.stack_sha256 == manifest.stack_sha256).count();
    let supposed = Allowance::supposed(manifest);
    warn(&format!(
        "--history: {found} runs of the stack of {}, {NOISE_NEEDS} are needed: {} is allowed for",
        baseline.name,
        supposed.because()
    ));
    Ok(supposed)
}
