//! How a run ended: what is said of it, and the exit code.

use std::io::Write;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use crate::analysis;
use crate::commands::CommandError;
use crate::commands::findings::print_finding;
use crate::exit::Exit;
use crate::record::given_up::{GivenUp, TimedCalls, given_up_of, sessions_given_up};
use crate::record::plan::{Cell, Plan};
use crate::record::{CallRecord, Finished, Line};
use crate::report::sections::{ReportedRun, speeds};
use crate::run_folder::RunFolder;
use crate::store::{self, Recording};
use crate::terminal::warn;
use crate::terms::{Degraded, Procedure, Role, Status};

/// Longest piece of an engine's words on one line of standard error, in characters.
const WORDS: usize = 200;

/// Calls of a run beyond which it does not say at its end how fast engines are: every table is made for that, and of so many
/// calls that takes longer, and more memory, than anything of the run itself. Its report says it.
const MOST_CALLS: u32 = 100_000;

/// The exit code of a complete run; says on standard error what it lacks.
pub(super) fn judge(plan: &Plan, folder: &Path, finished: Finished) -> Result<Exit, CommandError> {
    let (made, recording) = CallsMade::read(plan, folder)?;
    let gone = given_up_of(&recording.lines, plan, &made.timed);
    warn_of(&gone);
    Ok(Tally::new(plan, &made, finished, &gone).judge(plan, made.most_often_degraded()))
}

fn warn_of(gone: &[GivenUp<'_>]) {
    for cell in gone {
        warn(&format!("{}: given up: {}{}", name(cell.cell), cell.decision.why, words(cell.words)));
    }
}

/// Says what a complete run holds, and what it lacks.
pub(super) fn complete(
    plan: &Plan,
    folder: &Path,
    finished: Finished,
    json: bool,
    out: &mut dyn Write,
) -> Result<Exit, CommandError> {
    let (made, recording) = CallsMade::read(plan, folder)?;
    let gone = given_up_of(&recording.lines, plan, &made.timed);
    let tally = Tally::new(plan, &made, finished, &gone);
    let most_often = made.most_often_degraded();
    if !json {
        tally.print(folder, gone.len(), out)?;
        if finished.calls <= MOST_CALLS {
            print_speeds(folder, out)?;
        }
        writeln!(out, "  next: phasebench report {}", folder.display())?;
    }
    warn_of(&gone);
    let exit = tally.judge(plan, most_often);
    if json {
        let gone: Vec<Value> = gone.iter().map(as_json).collect();
        let Finished { calls, degraded, made_again } = finished;
        print_json(
            json!({
                "run": folder,
                "ended": "complete",
                "exit_code": exit.code(),
                "calls": calls,
                "degraded": degraded,
                "made_again": made_again,
                "missing": tally.missing,
                "degraded_rate_limit": plan.degraded_rate,
                "degraded_most_often": most_often,
                "cells": plan.cells.len(),
                "skipped": plan.skipped.len(),
                "given_up": gone,
            }),
            out,
        )?;
    }
    Ok(exit)
}

/// Says which engine is faster, and how fast each is where too few sizes were measured to ask how it scales.
fn print_speeds(folder: &Path, out: &mut dyn Write) -> Result<(), CommandError> {
    let run = RunFolder::open(folder)?;
    let trace = run.trace()?;
    let tables = analysis::derive(&run.recording, &run.plan, &run.manifest, &trace);
    for finding in speeds(&ReportedRun::new(&run, &trace, &tables)) {
        print_finding(&finding, out)?;
    }
    Ok(())
}

/// Says how to go on with a run that was interrupted.
pub(super) fn interrupted(folder: &Path, json: bool, out: &mut dyn Write) -> Result<Exit, CommandError> {
    warn(&format!("interrupted; go on with: phasebench run --resume {}", folder.display()));
    if json {
        let exit = Exit::Interrupted.code();
        print_json(json!({ "run": folder, "ended": "interrupted", "exit_code": exit }), out)?;
    }
    Ok(Exit::Interrupted)
}

/// Says how a run ended that never began.
pub(super) fn not_begun(exit: Exit, json: bool, out: &mut dyn Write) -> Result<Exit, CommandError> {
    if exit == Exit::Interrupted {
        warn("interrupted before anything was measured; models made so far stay in the cache, so run the same again");
    }
    if json {
        let ended = if exit == Exit::Interrupted { "interrupted" } else { "nothing_to_measure" };
        print_json(json!({ "run": null, "ended": ended, "exit_code": exit.code() }), out)?;
    }
    Ok(exit)
}

fn print_json(result: Value, out: &mut dyn Write) -> Result<(), CommandError> {
    writeln!(out, "{result:#}")?;
    Ok(())
}

fn as_json(cell: &GivenUp<'_>) -> Value {
    let key = &cell.cell.session;
    json!({
        "cell_id": cell.cell.id,
        "backend": key.backend,
        "model": key.model,
        "scenario": cell.cell.scenario,
        "batch": cell.cell.batch,
        "gen_tokens": cell.cell.gen_tokens,
        "procedure": cell.cell.procedure,
        "rule": cell.decision.rule,
        "calls_ok": cell.decision.calls_ok,
        "missing": cell.missing,
        "why": cell.decision.why,
        "words": cell.words,
    })
}

fn name(cell: &Cell) -> String {
    let (key, steps) = (&cell.session, cell.gen_tokens);
    let what = match cell.procedure {
        Procedure::Prefill => "prefill".to_owned(),
        Procedure::PrefillDecode => format!("{steps} steps"),
        Procedure::Uncached => format!("{steps} uncached steps"),
    };
    format!("{} × {} × {} × {what}", key.backend, key.model, cell.scenario)
}

/// What is counted of a record's calls while it is read: there may be more of them than fit into memory.
#[derive(Default)]
struct CallsMade {
    timed: TimedCalls,
    /// How calls degraded that were not made again, in the order in which it first happened.
    degraded: Vec<DegradedCalls>,
    /// Calls that were made again since something disturbed them.
    disturbed: usize,
    /// Timed calls that count although something disturbed every try.
    disturbed_for_good: usize,
}

/// Calls that degraded alike.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct DegradedCalls {
    kind: Degraded,
    calls: u32,
    /// What the engine said the first time it said anything. `None`: nothing.
    words: Option<String>,
}

impl CallsMade {
    /// Reads a run's record, and keeps of its calls those that ended their session.
    fn read(plan: &Plan, folder: &Path) -> Result<(Self, Recording), CommandError> {
        let mut made = Self::default();
        let recording = store::read_some(folder, &mut |line| {
            let Line::Call(call) = line else { return true };
            made.count(call, plan);
            call.session_lost
        })?;
        Ok((made, recording))
    }

    fn count(&mut self, call: &CallRecord, plan: &Plan) {
        self.timed.count(call, plan);
        let again = call.is_made_again(plan.retries());
        if call.role == Role::Timed && !call.ended_early() && !call.disturbances(plan.disturbed).is_empty() {
            *(if again { &mut self.disturbed } else { &mut self.disturbed_for_good }) += 1;
        }
        let Status::Degraded(kind) = call.status else { return };
        if again {
            return;
        }
        match self.degraded.iter_mut().find(|other| other.kind == kind) {
            Some(known) => {
                known.calls += 1;
                known.words = known.words.take().or_else(|| call.detail.clone());
            }
            None => self.degraded.push(DegradedCalls { kind, calls: 1, words: call.detail.clone() }),
        }
    }

    /// The kind that most of the degraded calls are of, of equals the one that came first. `None`: no call is degraded.
    fn most_often_degraded(&self) -> Option<&DegradedCalls> {
        // `max_by_key` takes the last of equals.
        self.degraded.iter().rev().max_by_key(|kind| kind.calls)
    }
}

/// The engine's words as the end of a line.
fn words(words: Option<&str>) -> String {
    let Some(words) = words else { return String::new() };
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(WORDS) {
        Some((end, _)) => format!(": {}…", &line[..end]),
        None => format!(": {line}"),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// What the exit code rests on.
struct Tally {
    finished: Finished,
    /// Calls that were made again since something disturbed them.
    disturbed: usize,
    /// Timed calls that count although something disturbed every try.
    disturbed_for_good: usize,
    skipped: usize,
    /// Timed calls that were never made because their cell was given up.
    missing: u32,
    /// Sessions of which every cell was given up.
    sessions: Vec<String>,
}

impl Tally {
    fn new(plan: &Plan, made: &CallsMade, finished: Finished, gone: &[GivenUp<'_>]) -> Self {
        let sessions = sessions_given_up(gone, plan);
        Self {
            finished,
            disturbed: made.disturbed,
            disturbed_for_good: made.disturbed_for_good,
            skipped: plan.skipped.len(),
            missing: gone.iter().map(|cell| cell.missing).sum(),
            sessions: sessions.iter().map(|key| format!("{} × {}", key.backend, key.model)).collect(),
        }
    }

    fn print(&self, folder: &Path, given_up: usize, out: &mut dyn Write) -> Result<(), CommandError> {
        let Finished { calls, degraded, made_again } = self.finished;
        writeln!(out, "{calls} calls recorded in {}", folder.display())?;
        if degraded > 0 || self.skipped > 0 || given_up > 0 {
            let share = percent(self.finished.degraded_rate(0));
            write!(out, "  {degraded} degraded ({share}), {} cells skipped", self.skipped)?;
            if given_up > 0 {
                write!(out, ", {given_up} given up")?;
            }
            writeln!(out)?;
        }
        let early = (made_again as usize).saturating_sub(self.disturbed);
        if early > 0 {
            writeln!(out, "  {early} ended early and were made again")?;
        }
        if self.disturbed + self.disturbed_for_good > 0 {
            let (again, kept) = (self.disturbed, self.disturbed_for_good);
            writeln!(out, "  {again} were disturbed from outside and made again, {kept} count although every try was")?;
        }
        Ok(())
    }

    /// Calls that were never made count as degraded ones.
    fn judge(&self, plan: &Plan, most_often: Option<&DegradedCalls>) -> Exit {
        let degraded = self.finished.degraded;
        let rate = self.finished.degraded_rate(self.missing);
        let beyond = rate > plan.degraded_rate;
        if beyond {
            let limit = percent(plan.degraded_rate);
            let never = if self.missing > 0 { " or could not be made" } else { "" };
            warn(&format!("{} of the calls are degraded{never}, more than the limit of {limit}", percent(rate)));
            if let Some(most) = most_often {
                warn(&format!(
                    "most often {}, {} of {degraded}{}",
                    most.kind,
                    most.calls,
                    words(most.words.as_deref())
                ));
            }
        }
        for session in &self.sessions {
            warn(&format!("{session}: every cell was given up"));
        }
        if beyond || !self.sessions.is_empty() { Exit::Degraded } else { Exit::Good }
    }
}
