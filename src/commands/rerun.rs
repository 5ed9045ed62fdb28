//! `phasebench rerun`: a run's plan on today's stack, in stages, and what changed.
//!
//! Everything lies in one folder, named after the stack it was measured on: `stage-1` to `stage-3`, and `confirm`, each a run
//! folder; `confirm-2` and so on where the command was given again in other words, by which more cells look worse. What is there is
//! not measured again, so that the command, given again, goes on where it was ended.

mod measured;
mod slowdown;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use serde_json::json;

use crate::analysis::engines::Rule;
use crate::cli::RerunArgs;
use crate::comparison::{
    CellRow, Comparison, Gate, Outcome, Settings, Sides, another_machine, compare, compare_confirmed,
};
use crate::exit::Exit;
use crate::record::manifest::{Stack, Weight};
use crate::record::plan::{Cell, Plan, SkippedCell};
use crate::terminal::warn;

use super::CommandError;
use super::compare::{self, Baseline, CompareError, Found, Opened};
use super::measuring;
use super::out_folder::not_a_run;
use measured::{Stage, default_folder, found, measure_into, planned_in, together};

/// Chance of a false alarm at each of three looks, so that all of them together have 5 %: Pocock 1977.
const THREE_LOOKS: f64 = 0.0221;
/// The same at each of two looks.
const TWO_LOOKS: f64 = 0.0294;
/// No rerun has more stages.
const MOST_STAGES: u32 = 3;
/// What fresh runs of cells that look worse are called; from the second on a number follows.
const CONFIRM: &str = "confirm";

/// Measures again, compares, and says by the exit code whether anything is worse.
///
/// # Errors
/// A run that cannot be read, a backend that is not there, whatever stops a run.
pub fn execute(args: &RerunArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    if let Some(factor) = args.slowdown {
        return slowdown::execute(args, factor, out);
    }
    let baseline = compare::open(&args.run)?;
    if let Some((a, b)) = &args.between {
        compare::check_backends(&baseline, [a, b])?;
    }
    let loaded = measuring::again(&args.run, baseline.run.plan.clone())?;
    let stack = measuring::stack_now(loaded)?;
    if args.if_changed && is_unchanged(&baseline.run.manifest.stack, &stack) {
        return unchanged(args, out);
    }
    let kind = if args.between.is_some() { "duet" } else { "rerun" };
    let folder = args.out.clone().unwrap_or_else(|| default_folder(&args.run, kind, &stack));
    not_a_run(&folder)?;
    let Baseline { opened: baseline, settings } = held_against(args, &baseline, &stack, &folder)?;
    let of_runs = settings.allowance.as_ref().is_some_and(|allowance| allowance.baseline_runs().is_some());
    if baseline.run.plan.session_count.is_one() && !of_runs {
        warn(&one_session(args));
    }
    // Further sessions of a run lie at the same time as its first, and show nothing of how runs differ.
    let most_stages = if of_runs { 1 } else { args.stages };
    let rerun = Rerun { args, baseline: &baseline, folder: &folder, settings, most_stages };
    let Some(stages) = rerun.stages()? else { return Ok(Exit::Interrupted) };
    let Some((comparison, found)) = rerun.confirmed(&stages)? else { return Ok(Exit::Interrupted) };
    compare::tell(&[comparison], &args.judge, Some(&folder), found.as_ref(), out)
}

/// What is measured again is held against the run, or one of its backends against the other.
fn held_against<'a>(
    args: &RerunArgs,
    run: &'a Opened,
    stack: &Stack,
    folder: &Path,
) -> Result<Baseline<'a>, CommandError> {
    if let Some((a, b)) = &args.between {
        let settings = compare::of_backends(&args.judge, run, &Sides::of_backends(run.side(), a, b))?;
        return Ok(Baseline { opened: Cow::Borrowed(run), settings });
    }
    if let Some(why) = another_machine(&run.run.manifest.stack.machine, &stack.machine) {
        warn(&format!(
            "{}: {why}: no cell can be compared (exit code 8)\n  try: a new run of its scenario file here to begin with",
            args.run.display()
        ));
    }
    compare::baseline(&args.judge, run, &[folder], run.run.plan.session_count.is_one())
}

/// What must be known before a run of one session a cell is measured again.
fn one_session(args: &RerunArgs) -> String {
    let known = if args.between.is_some() { "" } else { "; or --history DIR with five runs of it on its stack" };
    format!(
        "{} has one session of every cell: what differs between processes is unknown, so no cell can be more than undecided \
         (exit code 8), unless its calls fail\n  try: `sessions: 5` in the scenario file, and a new run of it to begin with{known}",
        args.run.display()
    )
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
    most_stages: u32,
}

impl Rerun<'_> {
    /// Measures stage after stage, until a cell that counts is worse, all of them are known to be well, or more sessions would
    /// decide none of them. `None`: interrupted.
    fn stages(&self) -> Result<Option<Vec<Stage>>, CommandError> {
        let mut stages = Vec::new();
        for number in 1..=self.most_stages {
            let mut plan = self.baseline.run.plan.clone();
            // The same cells in another random order.
            plan.seed = plan.seed.wrapping_add(u64::from(number) - 1);
            let Some(stage) = self.measured(&self.folder.join(format!("stage-{number}")), plan)? else {
                return Ok(None);
            };
            stages.push(stage);
            let comparison = compare(&self.sides(&together(&stages)), &self.settings.at(self.looks()))
                .map_err(CompareError::from)?;
            if self.outcome(&comparison)? != Outcome::Open || !self.could_be_decided(&comparison)? {
                break;
            }
        }
        Ok(Some(stages))
    }

    /// What the stages say, where what looks worse and counts was measured afresh; and what was found, if nothing was measured
    /// now. `None`: interrupted.
    fn confirmed(&self, stages: &[Stage]) -> Result<Option<(Comparison, Option<Found>)>, CommandError> {
        let all = together(stages);
        let settings = self.settings.at(self.looks());
        let sides = self.sides(&all);
        let comparison = compare(&sides, &settings).map_err(CompareError::from)?;
        let gate = self.gate(&comparison)?;
        let counts = |cell: &CellRow| cell.verdict.is_worse() && gate.holds(cell);
        let suspects = comparison.cells.into_iter().filter(counts).collect();
        let Some(fresh) = self.measured_afresh(suspects)? else { return Ok(None) };
        let found = found(self.folder, stages.iter().chain(&fresh));
        let fresh: Vec<Sides<'_>> = fresh.iter().map(|stage| self.sides(&stage.run)).collect();
        let once = self.settings.at(Rule::default().alpha);
        let comparison = compare_confirmed(&sides, Some((fresh.as_slice(), &once)), &settings);
        Ok(Some((comparison.map_err(CompareError::from)?, found)))
    }

    /// Fresh runs of cells that look worse: those that are there already, and one of what none of them planned. Which cells look
    /// worse depends on what the command is told, so one that is given again may need more of them. `None`: interrupted.
    fn measured_afresh(&self, mut suspects: Vec<CellRow>) -> Result<Option<Vec<Stage>>, CommandError> {
        let mut fresh = Vec::new();
        for number in 1.. {
            if suspects.is_empty() {
                break;
            }
            let folder = self.folder.join(if number == 1 { CONFIRM.to_owned() } else { format!("{CONFIRM}-{number}") });
            let wanted = self.plan_of(&suspects, number);
            let there = planned_in(&folder, &wanted)?;
            let is_new = there.is_none();
            let plan = there.unwrap_or(wanted);
            let left: Vec<CellRow> = suspects.iter().filter(|row| !row.is_planned_in(&plan)).cloned().collect();
            if is_new || left.len() < suspects.len() {
                let Some(run) = self.measured(&folder, plan)? else { return Ok(None) };
                fresh.push(run);
            }
            if is_new {
                break;
            }
            suspects = left;
        }
        Ok(Some(fresh))
    }

    /// The plan with those cells alone that look worse, in an order that neither a stage nor another fresh run has.
    fn plan_of(&self, suspects: &[CellRow], number: u32) -> Plan {
        let mut plan = self.baseline.run.plan.clone();
        plan.seed = plan.seed.wrapping_add(u64::from(MOST_STAGES + number) - 1);
        let is_suspect = |cell: &Cell| suspects.iter().any(|row| row.is_of(cell));
        let left: Vec<_> = plan.cells.extract_if(.., |cell| !is_suspect(cell)).collect();
        let kept: BTreeSet<_> = plan.cells.iter().map(|cell| cell.session.clone()).collect();
        plan.sessions.retain(|session| kept.contains(&session.key));
        let reason = "did not look worse, and need not be confirmed";
        plan.skipped.extend(left.into_iter().map(|cell| SkippedCell {
            cell,
            rule: "only".to_owned(),
            reason: reason.to_owned(),
        }));
        plan
    }

    /// A run of a plan in a folder: measured, taken up again, or found there. `None`: interrupted.
    fn measured(&self, folder: &Path, plan: Plan) -> Result<Option<Stage>, CommandError> {
        let json = self.args.judge.json;
        let Some(was_there) = measure_into(folder, &self.baseline.run.path, plan, json)? else { return Ok(None) };
        Ok(Some(Stage { run: compare::open(folder)?, was_there }))
    }

    fn sides<'s>(&'s self, measured: &'s Opened) -> Sides<'s> {
        match &self.args.between {
            Some((a, b)) => Sides::of_backends(measured.side(), a, b),
            None => Sides::of_runs(self.baseline.side(), measured.side()),
        }
    }

    /// Chance of a false alarm at each look.
    fn looks(&self) -> f64 {
        match self.most_stages {
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

    /// Whether more sessions would decide any cell that counts. Where the machine is in doubt they may, if its own speed is read on
    /// both sides: they come with more readings of it.
    fn could_be_decided(&self, comparison: &Comparison) -> Result<bool, CommandError> {
        let gate = self.gate(comparison)?;
        let could_be =
            |cell: &CellRow| (cell.doubted && !comparison.machine.is_empty()) || cell.sessions_to_decide.is_some();
        Ok(comparison.cells.iter().any(|cell| gate.holds(cell) && could_be(cell)))
    }
}
