//! `phasebench rerun`: a run's plan on today's stack, in stages, and what changed.
//!
//! Everything lies in one folder, named after the stack it was measured on: `stage-1` to `stage-3`, and `confirm`, each a run
//! folder. What is there is not measured again, so that the command, given again, goes on where it was ended.

mod measured;
mod slowdown;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use serde_json::json;

use crate::analysis::engines::Rule;
use crate::cli::RerunArgs;
use crate::comparison::{Comparison, Gate, Outcome, Settings, Sides, compare, compare_confirmed};
use crate::exit::Exit;
use crate::record::manifest::{Stack, Weight};
use crate::record::plan::{Plan, SkippedCell};

use super::CommandError;
use super::compare::{self, CompareError, Opened};
use super::run;
use measured::{default_folder, measure_into, together};

/// Chance of a false alarm at each of three looks, so that all of them together have 5 %: Pocock 1977.
const THREE_LOOKS: f64 = 0.0221;
/// The same at each of two looks.
const TWO_LOOKS: f64 = 0.0294;

/// Measures again, compares, and says by the exit code whether anything is worse.
///
/// # Errors
/// A run that cannot be read, a backend that is not there, whatever stops a run.
pub fn execute(args: &RerunArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    if let Some(factor) = args.slowdown {
        return slowdown::execute(args, factor, out);
    }
    let baseline = compare::open(&args.run)?;
    let (loaded, _) = run::again(&args.run, baseline.run.plan.clone())?;
    let stack = run::stack_now(loaded)?;
    if args.if_changed && is_unchanged(&baseline.run.manifest.stack, &stack) {
        return unchanged(args, out);
    }
    let folder = args.out.clone().unwrap_or_else(|| default_folder(&args.run, "rerun", &stack));
    let settings = compare::settings(&args.judge, &baseline)?;
    let rerun = Rerun { args, baseline: &baseline, folder: &folder, settings };
    let Some(stages) = rerun.stages()? else { return Ok(Exit::Interrupted) };
    let Some(comparison) = rerun.confirmed(&stages)? else { return Ok(Exit::Interrupted) };
    compare::tell(&[comparison], &args.judge, Some(&folder), out)
}

/// Whether nothing changed that can change speed.
fn is_unchanged(before: &Stack, now: &Stack) -> bool {
    before.changes(now).iter().all(|change| change.weight == Weight::Harmless)
}

fn unchanged(args: &RerunArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    if args.judge.json {
        writeln!(out, "{:#}", json!({ "outcome": "unchanged" }))?;
    } else {
        writeln!(out, "nothing that can change speed changed since {}: nothing measured", args.run.display())?;
    }
    Ok(Exit::Good)
}

/// A run that is measured again.
struct Rerun<'a> {
    args: &'a RerunArgs,
    baseline: &'a Opened,
    folder: &'a Path,
    settings: Settings,
}

impl Rerun<'_> {
    /// Measures stage after stage until every cell that counts is decided. `None`: interrupted.
    fn stages(&self) -> Result<Option<Vec<Opened>>, CommandError> {
        let mut stages = Vec::new();
        for number in 1..=self.args.stages {
            let mut plan = self.baseline.run.plan.clone();
            // The same cells in another random order.
            plan.seed = plan.seed.wrapping_add(u64::from(number) - 1);
            let Some(stage) = self.measured(&self.folder.join(format!("stage-{number}")), plan)? else {
                return Ok(None);
            };
            stages.push(stage);
            let comparison = compare(&self.sides(&together(&stages)), &self.settings.at(self.looks()))
                .map_err(CompareError::from)?;
            if self.outcome(&comparison)? != Outcome::Open || !could_be_decided(&comparison) {
                break;
            }
        }
        Ok(Some(stages))
    }

    /// What the stages say, where what looks worse was measured afresh. `None`: interrupted.
    fn confirmed(&self, stages: &[Opened]) -> Result<Option<Comparison>, CommandError> {
        let all = together(stages);
        let settings = self.settings.at(self.looks());
        let sides = self.sides(&all);
        let comparison = compare(&sides, &settings).map_err(CompareError::from)?;
        let Some(plan) = self.suspects(&comparison)? else { return Ok(Some(comparison)) };
        let Some(fresh) = self.measured(&self.folder.join("confirm"), plan)? else { return Ok(None) };
        let once = self.settings.at(Rule::default().alpha);
        let fresh_sides = self.sides(&fresh);
        let found = compare_confirmed(&sides, Some((&fresh_sides, &once)), &settings);
        Ok(Some(found.map_err(CompareError::from)?))
    }

    /// The plan with those cells alone that look worse. `None`: none does.
    fn suspects(&self, comparison: &Comparison) -> Result<Option<Plan>, CommandError> {
        let gate = self.gate(comparison)?;
        let worse: Vec<_> =
            comparison.cells.iter().filter(|cell| cell.verdict.is_worse() && gate.holds(cell)).collect();
        if worse.is_empty() {
            return Ok(None);
        }
        let mut plan = self.baseline.run.plan.clone();
        plan.seed = plan.seed.wrapping_add(u64::from(self.args.stages));
        let is_suspect = |cell: &crate::record::plan::Cell| {
            worse.iter().any(|row| {
                (&row.backend, &row.model, &row.scenario)
                    == (&cell.session.backend, &cell.session.model, &cell.scenario)
                    && (row.batch, row.gen_tokens) == (cell.batch, cell.gen_tokens)
            })
        };
        let left: Vec<_> = plan.cells.extract_if(.., |cell| !is_suspect(cell)).collect();
        let kept: BTreeSet<_> = plan.cells.iter().map(|cell| cell.session.clone()).collect();
        plan.sessions.retain(|session| kept.contains(&session.key));
        let reason = "did not look worse, and need not be confirmed";
        plan.skipped.extend(left.into_iter().map(|cell| SkippedCell {
            cell,
            rule: "only".to_owned(),
            reason: reason.to_owned(),
        }));
        Ok(Some(plan))
    }

    /// A run of a plan in a folder: measured, taken up again, or found there. `None`: interrupted.
    fn measured(&self, folder: &Path, plan: Plan) -> Result<Option<Opened>, CommandError> {
        let json = self.args.judge.json;
        let is_there = measure_into(folder, &self.baseline.run.path, plan, json)?;
        Ok(if is_there { Some(compare::open(folder)?) } else { None })
    }

    fn sides<'s>(&'s self, candidate: &'s Opened) -> Sides<'s> {
        Sides::of_runs(self.baseline.side(), candidate.side())
    }

    /// Chance of a false alarm at each look.
    fn looks(&self) -> f64 {
        match self.args.stages {
            1 => Rule::default().alpha,
            2 => TWO_LOOKS,
            _ => THREE_LOOKS,
        }
    }

    fn gate(&self, comparison: &Comparison) -> Result<Gate, CommandError> {
        Ok(compare::gate_of(&self.args.judge, std::slice::from_ref(comparison))?)
    }

    fn outcome(&self, comparison: &Comparison) -> Result<Outcome, CommandError> {
        Ok(Outcome::of(&comparison.cells, &self.gate(comparison)?, &compare::allowed(&self.args.judge)))
    }
}

/// Whether more sessions would decide any cell.
fn could_be_decided(comparison: &Comparison) -> bool {
    comparison.cells.iter().any(|cell| cell.sessions_to_decide.is_some())
}
