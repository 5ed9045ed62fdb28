//! How runs are judged, and what is known of how much runs differ although nothing changed.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::path::Path;

use crate::analysis::engines::Rule;
use crate::cache;
use crate::cli::JudgeArgs;
use crate::commands::CommandError;
use crate::commands::machine::key_of;
use crate::comparison::{Allowance, AllowanceSource, Settings, Sides};
use crate::history::{self, NOISE_NEEDS, Noise};
use crate::record::manifest::Manifest;
use crate::run_folder::UnreadRun;
use crate::speed::watch;
use crate::terminal::warn;

use super::opened::{Opened, is_same_run, open_each};

const NS_PER_MINUTE: u64 = 60_000_000_000;

/// Minutes of `machine --watch` that tell how a machine moves.
const WATCHED_MINUTES: usize = 30;

/// Earlier runs that are read beside the one that was named: more of them know hardly more, and lie further back.
const MOST_EARLIER: usize = 19;

/// What candidates are held against, and how they are judged.
pub(in crate::commands) struct Baseline<'a> {
    /// The run that was named; or, where a session is all that either side has, the runs of its stack together.
    pub(in crate::commands) opened: Cow<'a, Opened>,
    /// How.
    pub(in crate::commands) settings: Settings,
}

/// Prepares runs at different times to be judged. `judged`: folders of what is judged, which tell nothing of how runs differ;
/// `one_session`: every cell of them has one session.
///
/// # Errors
/// Runs of a history that cannot be read.
pub(in crate::commands) fn baseline<'a>(
    args: &JudgeArgs,
    named: &'a Opened,
    judged: &[&Path],
    one_session: bool,
) -> Result<Baseline<'a>, CommandError> {
    if one_session && named.has_one_session() && !args.history.is_empty() {
        let earlier = earlier_runs(args, named, judged)?;
        let runs = 1 + earlier.len();
        if runs >= NOISE_NEEDS {
            let begun: Vec<u64> = [named].into_iter().chain(&earlier).map(|run| begun(&run.run)).collect();
            let ns = begun.iter().max().zip(begun.iter().min()).map_or(0, |(last, first)| last - first);
            let allowance = Allowance::within_runs(runs, ns / NS_PER_MINUTE);
            let settings = Settings { rule: rule(args), allowance: Some(allowance) };
            return Ok(Baseline { opened: Cow::Owned(named.clone().with(&earlier)), settings });
        }
        warn(&format!(
            "--history: {runs} of the {NOISE_NEEDS} runs are there, itself included, that would tell how much runs of the plan and \
             stack of {} with one session differ: no cell can be more than undecided",
            named.name
        ));
    }
    Ok(Baseline { opened: Cow::Borrowed(named), settings: settings(args, named, judged)? })
}

/// Other runs of the plan and the stack of a run that came to their end, each with one session of every cell: the latest.
fn earlier_runs(args: &JudgeArgs, named: &Opened, judged: &[&Path]) -> Result<Vec<Opened>, CommandError> {
    // What is judged may lie there in a copy.
    let judged_runs: Vec<UnreadRun> = judged.iter().filter_map(|path| UnreadRun::open(path, false).ok()).collect();
    let mut known: Vec<UnreadRun> = Vec::new();
    for path in history::folders_without(&args.history, judged)? {
        let run = UnreadRun::open(&path, false)?;
        let is_copy = known.iter().chain(&judged_runs).any(|other| is_same_run(&run, other));
        if is_alike(&run, &named.run) && !is_copy && !is_same_run(&run, &named.run) {
            known.push(run);
        }
    }
    known.sort_by_key(|run| Reverse(begun(run)));
    known.truncate(MOST_EARLIER);
    let paths: Vec<_> = known.into_iter().map(|run| run.path).collect();
    let mut runs = open_each(&paths)?;
    runs.retain(|run| run.finished && run.has_one_session() && run.has_cells_of(named));
    Ok(runs)
}

/// When a run began, in nanoseconds.
fn begun(run: &UnreadRun) -> u64 {
    run.manifest.epochs.first().map_or(0, |epoch| epoch.started_unix_ns)
}

/// Whether two runs measured the same cells on the same stack.
fn is_alike(a: &UnreadRun, b: &UnreadRun) -> bool {
    let cells = |run: &UnreadRun| run.plan.cells.iter().map(|cell| cell.id.clone()).collect::<Vec<_>>();
    a.manifest.stack_sha256 == b.manifest.stack_sha256
        && a.manifest.one_stack()
        && a.plan.early_stop == b.plan.early_stop
        && cells(a) == cells(b)
}

/// How runs at different times are judged, each by itself.
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

/// How two backends of a run are judged: what took turns needs no allowance, and no history is read for one.
///
/// # Errors
/// As [`settings`].
pub(in crate::commands) fn of_backends(
    args: &JudgeArgs,
    run: &Opened,
    sides: &Sides<'_>,
) -> Result<Settings, CommandError> {
    if sides.interleaved { Ok(in_turns(args)) } else { settings(args, run, &[]) }
}

/// How sides that took turns are judged: there is no drift to allow for.
pub(super) fn in_turns(args: &JudgeArgs) -> Settings {
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
        return Ok(Allowance::of_history(noise.ln, noise.runs, noise.minutes));
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
