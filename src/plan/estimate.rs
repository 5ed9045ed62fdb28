//! How many calls a plan makes, and roughly how long they take.

use std::collections::BTreeMap;

use super::ModelFacts;
use crate::record::plan::{Cell, Plan, PlannedSession};
use crate::scenario::ScenarioFile;
use crate::scenario::limits::{Limits, PromptSize};
use crate::terms::Procedure;
use crate::units::Nanos;

/// How often everything in a plan is done; counted by a dry run of the schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Loads of each session, in the plan's order.
    pub loads: Vec<u64>,
    /// Cold and warmup calls of each cell, in the plan's order.
    pub warmups: Vec<u64>,
    /// Short calls of each cell after another session's.
    pub rewarms: Vec<u64>,
    /// Timed calls of each cell. Tries of calls that end early are not counted.
    pub timed: Vec<u64>,
}

/// Sums over a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallCounts {
    /// Models loaded.
    pub loads: u64,
    /// Cold and warmup calls.
    pub warmup: u64,
    /// Rewarm calls.
    pub rewarm: u64,
    /// Timed calls.
    pub timed: u64,
}

impl Work {
    /// Nothing done yet.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let none = vec![0; plan.cells.len()];
        Self { loads: vec![0; plan.sessions.len()], warmups: none.clone(), rewarms: none.clone(), timed: none }
    }

    /// The sums.
    #[must_use]
    pub fn counts(&self) -> CallCounts {
        let sum = |counts: &[u64]| counts.iter().sum();
        let (loads, warmup) = (sum(&self.loads), sum(&self.warmups));
        CallCounts { loads, warmup, rewarm: sum(&self.rewarms), timed: sum(&self.timed) }
    }

    /// The same after `further` more rounds, each doing what the last `rounds` since `earlier` did in the mean.
    #[must_use]
    pub fn extended(&self, earlier: &Self, rounds: u64, further: u64) -> Self {
        let each = |now: &[u64], then: &[u64]| -> Vec<u64> {
            now.iter().zip(then).map(|(now, then)| now + now.saturating_sub(*then) * further / rounds.max(1)).collect()
        };
        Self {
            loads: each(&self.loads, &earlier.loads),
            warmups: each(&self.warmups, &earlier.warmups),
            rewarms: each(&self.rewarms, &earlier.rewarms),
            timed: each(&self.timed, &earlier.timed),
        }
    }
}

/// A rough time from fewest to most repetitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// With the fewest timed calls.
    pub min: Nanos,
    /// With the most.
    pub max: Nanos,
}

/// Taken for a model whose size only a server knows.
const UNKNOWN_PARAMS: u64 = 1_000_000_000;

/// Roughly how long the least and the most work of a plan take, for an idle machine of two cores; a faster one takes less.
/// Making the models and exporting them comes on top, once. A simulated engine takes what its script says, or nothing on
/// a virtual clock.
#[must_use]
pub fn time_range(plan: &Plan, file: &ScenarioFile, facts: &[ModelFacts], work: &(Work, Work)) -> TimeRange {
    TimeRange { min: time(plan, file, facts, &work.0), max: time(plan, file, facts, &work.1) }
}

/// Roughly how long a plan takes at least: every session loaded once, warmups, and the fewest timed calls.
pub(super) fn shortest_time(plan: &Plan, file: &ScenarioFile, facts: &[ModelFacts]) -> Nanos {
    let fewest = u64::from(plan.division().fewest_calls());
    let warmups: BTreeMap<_, u64> = plan.sessions.iter().map(|s| (&s.key, u64::from(s.warmups))).collect();
    let of_cell = |cell: &Cell| warmups.get(&cell.session).copied().unwrap_or(0);
    let work = Work {
        loads: vec![1; plan.sessions.len()],
        warmups: plan.cells.iter().map(of_cell).collect(),
        rewarms: vec![0; plan.cells.len()],
        timed: vec![fewest; plan.cells.len()],
    };
    time(plan, file, facts, &work)
}

fn time(plan: &Plan, file: &ScenarioFile, facts: &[ModelFacts], work: &Work) -> Nanos {
    let limits: BTreeMap<&str, &dyn Limits> =
        file.backends.iter().map(|b| (b.name.as_str(), b.engine.limits())).collect();
    let millions = |model: &str| {
        let params = facts.iter().find(|f| f.name == model).and_then(|f| f.params).unwrap_or(UNKNOWN_PARAMS);
        params as f64 / 1e6
    };
    let mut ms = 0.0;
    for (session, &loads) in plan.sessions.iter().zip(&work.loads) {
        if let Some(limits) = limits.get(session.key.backend.as_str()) {
            let load = limits.load_ms(millions(&session.key.model)) + limits.compile_ms(&prompts(plan, session));
            ms += loads as f64 * load;
        }
    }
    for (index, cell) in plan.cells.iter().enumerate() {
        let Some(limits) = limits.get(cell.session.backend.as_str()) else {
            continue;
        };
        let millions = millions(&cell.session.model);
        // A rewarm makes so few steps that its prefill is most of it.
        let short = Cell { procedure: Procedure::Prefill, ..cell.clone() };
        ms += (work.warmups[index] + work.timed[index]) as f64 * call_ms(*limits, millions, cell);
        ms += work.rewarms[index] as f64 * call_ms(*limits, millions, &short);
    }
    Nanos::from_ms(ms)
}

/// The prompts of a session's cells.
fn prompts(plan: &Plan, session: &PlannedSession) -> Vec<PromptSize> {
    let cells = plan.cells.iter().filter(|cell| cell.session == session.key);
    cells.map(|cell| PromptSize { rows: cell.batch, tokens: cell.prompt_tokens }).collect()
}

/// One call's time.
fn call_ms(limits: &dyn Limits, millions: f64, cell: &Cell) -> f64 {
    // A text of unknown length: typical of short prompts; the estimate is rough anyway.
    let prompt = f64::from(cell.prompt_tokens.unwrap_or(16));
    let rows = f64::from(cell.batch);
    let steps = f64::from(cell.gen_tokens);
    let prefill = limits.prefill_ms(millions, prompt * rows);
    let step = limits.step_ms(millions, rows);
    match cell.procedure {
        Procedure::Prefill => prefill,
        Procedure::PrefillDecode => prefill + steps * step,
        // Every step is a pass over everything so far, on average half of the new tokens.
        Procedure::Uncached => steps * prefill * (1.0 + steps / 2.0 / prompt),
    }
}
