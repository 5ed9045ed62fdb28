//! `phasebench compare`: did anything change?

mod files;
mod found;
mod gate;
mod github;
mod junit;
mod null;
mod opened;
mod refused;
mod settings;
mod terminal;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::cli::{AllowedReason, CompareArgs, JudgeArgs};
use crate::comparison::{Comparison, Gate, Outcome, Reason, Ruling, Sides, compare};
use crate::exit::Exit;

use super::CommandError;
use super::out_folder::not_a_run;

pub(super) use found::{Found, with_found};
pub use gate::GateError;
pub(super) use opened::{Opened, open, open_planted};
use opened::{is_same_run, open_each};
pub use refused::CompareError;
pub(super) use settings::{Baseline, baseline, of_backends, settings};

/// Compares, prints, and says by the exit code whether anything is worse.
///
/// # Errors
/// A run folder that cannot be read, runs that cannot be compared, files that cannot be written.
pub fn execute(args: &CompareArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    check_count(args)?;
    args.out.as_deref().map_or(Ok(()), not_a_run)?;
    let opened = open_all(&args.runs)?;
    if let Some(times) = args.null {
        return null::execute(&opened[0], times, args, out);
    }
    tell(&comparisons(args, &opened)?, &args.judge, args.out.as_deref(), None, out)
}

/// Writes and prints what was asked for; the exit code. `found`: what was there already, where nothing was measured now.
pub(super) fn tell(
    comparisons: &[Comparison],
    args: &JudgeArgs,
    folder: Option<&Path>,
    found: Option<&Found>,
    out: &mut dyn Write,
) -> Result<Exit, CommandError> {
    let (gate, allowed) = (gate_of(args, comparisons)?, allowed(args));
    let ruling = Ruling::of(comparisons, &gate, &allowed);
    if let Some(folder) = folder {
        files::write(comparisons, &ruling, folder)?;
    }
    if let Some(path) = &args.junit {
        junit::write(comparisons, &gate, &allowed, path)?;
    }
    if args.json {
        writeln!(out, "{:#}", with_found(found, files::as_json(comparisons, &ruling)))?;
    } else if args.github {
        if let Some(found) = found {
            github::notice(&found.words(), out)?;
        }
        github::annotate(comparisons, &ruling, &gate, &allowed, out)?;
    } else {
        if let Some(found) = found {
            writeln!(out, "{}", found.words())?;
        }
        terminal::print(comparisons, &ruling, out)?;
    }
    Ok(exit(ruling.outcome))
}

/// The cells that decide.
pub(super) fn gate_of(args: &JudgeArgs, comparisons: &[Comparison]) -> Result<Gate, CompareError> {
    let gate = args.gate.as_deref().map(|text| gate::parse(text, comparisons)).transpose()?;
    Ok(gate.unwrap_or_default())
}

/// What need not be decided.
pub(super) fn allowed(args: &JudgeArgs) -> BTreeSet<Reason> {
    args.allow.iter().map(|allowed| reason(*allowed)).collect()
}

fn check_count(args: &CompareArgs) -> Result<(), CompareError> {
    let one = args.between.is_some() || args.null.is_some();
    match args.runs.len() {
        1 if !one => Err(CompareError::Runs("one run alone: give another one, or --between backend=X,Y")),
        n if n > 1 && one => Err(CompareError::Runs("--between and --null look into one run")),
        _ => Ok(()),
    }
}

fn open_all(paths: &[PathBuf]) -> Result<Vec<Opened>, CommandError> {
    let opened = open_each(paths)?;
    for (place, a) in opened.iter().enumerate() {
        if let Some(b) = opened[place + 1..].iter().find(|b| is_same_run(&a.run, &b.run)) {
            let name = |run: &Opened| run.run.path.display().to_string();
            return Err(CompareError::SameRun { a: name(a), b: name(b) }.into());
        }
    }
    Ok(opened)
}

/// One per candidate; the chance of a false alarm is shared among them.
fn comparisons(args: &CompareArgs, opened: &[Opened]) -> Result<Vec<Comparison>, CommandError> {
    let named = &opened[0];
    if let Some((a, b)) = &args.between {
        check_backends(named, [a, b])?;
        let sides = Sides::of_backends(named.side(), a, b);
        let settings = of_backends(&args.judge, named, &sides)?;
        return Ok(vec![compare(&sides, &settings).map_err(CompareError::from)?]);
    }
    let candidates = &opened[1..];
    let own: Vec<&Path> = candidates.iter().map(|candidate| candidate.run.path.as_path()).collect();
    let one_session = candidates.iter().all(Opened::has_one_session);
    let Baseline { opened: baseline, settings } = baseline(&args.judge, named, &own, one_session)?;
    let settings = settings.at(settings.rule.alpha / candidates.len().max(1) as f64);
    let of = |candidate: &Opened| {
        let sides = Sides::of_runs(baseline.side(), candidate.side());
        compare(&sides, &settings).map_err(CompareError::from)
    };
    Ok(candidates.iter().map(of).collect::<Result<_, _>>()?)
}

/// Whether a run has both of these backends.
pub(super) fn check_backends(run: &Opened, names: [&String; 2]) -> Result<(), CompareError> {
    let known: BTreeSet<&String> = run.run.plan.sessions.iter().map(|session| &session.key.backend).collect();
    match names.into_iter().find(|name| !known.contains(name)) {
        Some(name) => Err(CompareError::Backend {
            run: run.name.clone(),
            name: name.clone(),
            known: known.into_iter().cloned().collect(),
        }),
        None => Ok(()),
    }
}

fn reason(allowed: AllowedReason) -> Reason {
    match allowed {
        AllowedReason::ExtentOpen => Reason::ExtentOpen,
        AllowedReason::Undecided => Reason::Undecided,
        AllowedReason::NotComparable => Reason::NotComparable,
        AllowedReason::Missing => Reason::Missing,
    }
}

fn exit(outcome: Outcome) -> Exit {
    match outcome {
        Outcome::Good => Exit::Good,
        Outcome::Worse => Exit::Worse,
        Outcome::Open => Exit::Undecided,
    }
}
