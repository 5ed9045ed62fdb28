//! `rerun --slowdown`: a self-test. A known slowdown is planted into a seeded half of the cells, in one of every two sessions,
//! and the sessions are set against each other.
//!
//! Both sides take turns in one plan, so that what the machine does meanwhile hits both. The first stage tells how much sessions
//! differ, and so how many are needed; how the cells look says nothing about that, so more stages are no second chances.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use serde_json::json;

use crate::cli::RerunArgs;
use crate::commands::CommandError;
use crate::commands::columns::aligned_table;
use crate::commands::compare::{self, CompareError, Found};
use crate::commands::measuring;
use crate::commands::out_folder::not_a_run;
use crate::comparison::self_test::{SelfTest, Standing, TestedCell, Truth, self_test};
use crate::comparison::words::{counted, percent, phase};
use crate::comparison::{CellRow, Settings};
use crate::exit::Exit;
use crate::files;
use crate::hash::seeded;
use crate::record::plan::{CellId, Plan, PlantedSlowdown};
use crate::report::comparison::{CellNames, names, said};
use crate::report::document::{Table, Text};
use crate::report::format;
use crate::store::io_error;
use crate::terminal::warn;
use crate::terms::{Repetitions, SessionCount};

use super::measured::{self, Stage, default_folder, measure_into, together};

/// Sessions a side that tell how much sessions differ.
const FEWEST: u32 = 3;
/// All of it.
const JSON: &str = "slowdown.json";

/// Measures, compares, and says by the exit code whether the slowdown was found where it was planted, and nowhere else.
///
/// # Errors
/// As `rerun`; and a factor within the margin, which nothing could find.
pub(super) fn execute(args: &RerunArgs, factor: f64, out: &mut dyn Write) -> Result<Exit, CommandError> {
    if factor <= args.judge.margin {
        return Err(CompareError::Slowdown { factor, margin: args.judge.margin }.into());
    }
    let baseline = compare::open(&args.run)?;
    let loaded = measuring::again(&args.run, baseline.run.plan.clone())?;
    let stack = measuring::stack_now(loaded)?;
    let kind = format!("slowdown-{factor}-seed-{}", args.seed);
    let folder = args.out.clone().unwrap_or_else(|| default_folder(&args.run, &kind, &stack));
    not_a_run(&folder)?;
    let settings = compare::settings(&args.judge, &baseline, &[&folder])?;
    let planting = Planting { args, factor, plan: &baseline.run.plan, folder: &folder, settings };
    let Some((found, before)) = planting.stages()? else { return Ok(Exit::Interrupted) };
    let mut json = serde_json::to_vec_pretty(&found)?;
    json.push(b'\n');
    let path = folder.join(JSON);
    files::replace(&path, &json).map_err(io_error(&path, "write"))?;
    if args.judge.json {
        writeln!(out, "{:#}", compare::with_found(before.as_ref(), json!({ "slowdown": found })))?;
    } else {
        if let Some(before) = before {
            writeln!(out, "{}", before.words())?;
        }
        print(&found, args.seed, out)?;
    }
    Ok(if found.passed() { Exit::Good } else { Exit::Undecided })
}

/// A slowdown that is being planted.
struct Planting<'a> {
    args: &'a RerunArgs,
    factor: f64,
    plan: &'a Plan,
    folder: &'a Path,
    settings: Settings,
}

/// Stages as one run, with what was planted in them.
struct Planted {
    stages: Vec<Stage>,
    /// The sessions that were slowed, numbered as [`together`] numbers them.
    slowed: BTreeSet<u32>,
    /// Sessions a side so far.
    sessions: u32,
}

impl Planting<'_> {
    /// Measures until there are as many sessions as are needed, or stages are allowed; and what was found, if nothing was measured
    /// now. `None`: interrupted.
    fn stages(&self) -> Result<Option<(SelfTest, Option<Found>)>, CommandError> {
        let mut planted = Planted { stages: Vec::new(), slowed: BTreeSet::new(), sessions: 0 };
        let mut more = FEWEST.max(self.plan.session_count.min);
        for number in 1..=self.args.stages {
            if !self.add(&mut planted, number, more)? {
                return Ok(None);
            }
            let found = self.judged(&planted)?;
            more = found.sessions_needed.map_or(0, |needed| needed.saturating_sub(planted.sessions));
            if more == 0 || number == self.args.stages {
                return Ok(Some((found, measured::found(self.folder, planted.stages.iter()))));
            }
            warn(&format!("{more} more sessions a side are needed at this noise"));
        }
        Ok(None)
    }

    /// Measures a stage of so many sessions a side. False: interrupted.
    fn add(&self, planted: &mut Planted, number: u32, sessions: u32) -> Result<bool, CommandError> {
        let folder = self.folder.join(format!("stage-{number}"));
        let plan = self.stage(number, sessions);
        let slowdown = plan.slowdown.clone();
        let Some(was_there) = measure_into(&folder, &self.args.run, plan, self.args.judge.json)? else {
            return Ok(false);
        };
        let run = compare::open_planted(&folder)?;
        // As the sessions of stages follow each other where they are put together.
        let before: u32 = planted.stages.iter().map(|stage| stage.run.measured.sessions()).sum();
        planted.slowed.extend(slowdown.iter().flat_map(|slowdown| &slowdown.sessions).map(|index| index + before));
        planted.sessions += sessions;
        planted.stages.push(Stage { run, was_there });
        Ok(true)
    }

    /// The plan of a stage: the run's own, with so many sessions a side, of which one of every two is slowed.
    fn stage(&self, number: u32, sessions: u32) -> Plan {
        let mut plan = self.plan.clone();
        let both = 2 * sessions;
        let calls = calls_of_a_session(&plan).saturating_mul(both);
        plan.session_count = SessionCount { min: both, max: both };
        plan.repetitions = Repetitions::Fixed(calls);
        plan.seed = seeded(self.args.seed, &["stage", &number.to_string()]);
        let seed = self.args.seed;
        let of_pair =
            |pair: u32| 2 * pair + u32::from(seeded(plan.seed, &["pair", &pair.to_string()]).is_multiple_of(2));
        let slowdown = PlantedSlowdown {
            factor: self.factor,
            cells: half(&plan, seed),
            sessions: (0..sessions).map(of_pair).collect(),
        };
        plan.slowdown = Some(slowdown);
        plan
    }

    fn judged(&self, planted: &Planted) -> Result<SelfTest, CommandError> {
        let all = together(&planted.stages);
        let is_slowed = |index: u32| planted.slowed.contains(&index);
        let times = all.measured.planted.iter();
        let slowed =
            times.map(|(key, (all, added))| (key.clone(), *all as f64 / (all - added).max(1) as f64)).collect();
        let truth = Truth { factor: self.factor, slowed };
        let found = self_test(all.side(), &is_slowed, &truth, &self.settings);
        Ok(found.map_err(CompareError::from)?)
    }
}

/// Timed calls that a cell makes in one session: of a number that is not fixed the fewest.
fn calls_of_a_session(plan: &Plan) -> u32 {
    let calls = plan.division().fewest_calls();
    calls.div_ceil(plan.session_count.min.max(1)).max(1)
}

/// Half of the cells, one at least: those that a hash of the seed puts first.
fn half(plan: &Plan, seed: u64) -> Vec<CellId> {
    let mut ranked: Vec<&CellId> = plan.cells.iter().map(|cell| &cell.id).collect();
    ranked.sort_by_key(|id| seeded(seed, &["cell", &id.0]));
    ranked.truncate(ranked.len().div_ceil(2));
    ranked.into_iter().cloned().collect()
}

/// Prints the answer, a line for whoever sets up a gate, and every cell.
fn print(found: &SelfTest, seed: u64, out: &mut dyn Write) -> Result<(), CommandError> {
    writeln!(out, "{}", sentence(found, seed))?;
    writeln!(out, "  {}", needed(found))?;
    if let Some(apart) = &found.apart {
        let by = percent(1.0 + apart.allowance.ln);
        let take = match apart.sessions_needed {
            Some(n) => format!("{n} sessions a side would find it"),
            None => "no number of sessions up to 100 would find it".to_owned(),
        };
        let why = apart.allowance.because();
        writeln!(out, "  in two runs at different times, either of which may be off by {by} % ({why}), {take}")?;
    }
    writeln!(out)?;
    let rows: Vec<CellRow> = found.cells.iter().map(|cell| cell.cell.clone()).collect();
    for line in aligned_table(&table(&found.cells, names(&rows))) {
        writeln!(out, "  {line}")?;
    }
    writeln!(out)?;
    writeln!(
        out,
        "{}",
        if found.passed() { "outcome: found" } else { "outcome: not found everywhere, or elsewhere too" }
    )?;
    Ok(())
}

/// A line for the README of whoever sets up the gate.
fn sentence(found: &SelfTest, seed: u64) -> String {
    let others = found.count(Standing::LeftAlone) + found.count(Standing::FalseAlarm);
    let mut text = format!(
        "{} % planted (seed {seed}), {} a side in turns: found in {} of {}; of {others} others {} called slower or faster, {} \
         different by whatever extent",
        percent(found.factor),
        counted(found.sessions, "session"),
        found.count(Standing::Found),
        counted(found.to_be_found(), "cell"),
        found.called(),
        found.count(Standing::FalseAlarm)
    );
    for (standing, words) in
        [(Standing::BelowFloor, "slowed by less than the floor"), (Standing::NotCompared, "not compared")]
    {
        if found.count(standing) > 0 {
            text.push_str(&format!("; {} {words}", counted(found.count(standing), "cell")));
        }
    }
    format!("{text}.")
}

fn needed(found: &SelfTest) -> String {
    match found.sessions_needed {
        Some(n) => format!("{n} sessions a side find it in 95 of 100 runs in each of them, at this noise"),
        None if found.to_be_found() == 0 => "nothing was slowed by enough to be found".to_owned(),
        None => "no number of sessions up to 100 finds it in all of them in 95 of 100 runs, at this noise".to_owned(),
    }
}

fn table(cells: &[TestedCell], names: CellNames) -> Table {
    Table::of(cells)
        .words("cell", |tested| names.of(&tested.cell))
        .words("phase", |tested| phase(tested.cell.mode))
        .words("backend", |tested| tested.cell.backend.clone())
        .words("", |tested| in_words(tested.standing))
        .words("planted", |tested| tested.planted.map_or_else(|| format::ABSENT.to_owned(), planted))
        .interval("measured", "", "95 %", |tested| said(&tested.cell))
        .words("called", |tested| tested.cell.verdict.as_str())
        .words("sessions needed", sessions_needed)
        .captioned(Text::default())
}

fn sessions_needed(tested: &TestedCell) -> String {
    let unknown = if tested.cell.ratio.is_some() { "more than 100" } else { format::ABSENT };
    tested.sessions_needed.map_or_else(|| unknown.to_owned(), |sessions| sessions.to_string())
}

fn planted(factor: f64) -> String {
    format!("{:.1} % slower", 100.0 * (factor - 1.0))
}

fn in_words(standing: Standing) -> &'static str {
    match standing {
        Standing::Found => "found",
        Standing::Missed => "missed",
        Standing::BelowFloor => "below the floor",
        Standing::NotCompared => "not compared",
        Standing::LeftAlone => "left alone",
        Standing::FalseAlarm => "false alarm",
    }
}
