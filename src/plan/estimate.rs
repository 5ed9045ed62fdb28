//! How many calls a plan makes, and roughly how long they take.

use std::collections::{BTreeMap, BTreeSet};

use super::{Cell, ModelFacts, Plan, PlannedSession};
use crate::scenario::{Dynamic, Engine, Law, Pace, ScenarioFile, SimulatedSettings};
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

/// Milliseconds of one decode step of one row per million f32 parameters: what a two-core machine with 20 GB/s
/// of memory bandwidth takes to read the weights once.
const STEP_MS: f64 = 0.2;
/// Milliseconds per million parameters that one more token costs once the weights are read: arithmetic alone.
const TOKEN_MS: f64 = 0.03;
/// Milliseconds of one forward pass beside its arithmetic.
const PASS_MS: f64 = 1.0;
/// Milliseconds to load a model, and more for each million parameters.
const LOAD_MS: (f64, f64) = (300.0, 5.0);

/// Milliseconds to start a worker and its libraries.
const WORKER_MS: f64 = 8_000.0;

/// Milliseconds to compile one graph.
const GRAPH_MS: f64 = 15_000.0;

/// Taken for a model whose size only a server knows.
const UNKNOWN_PARAMS: u64 = 1_000_000_000;

/// Roughly how long the least and the most work of a plan take, for an idle machine of two cores; a faster one takes less.
/// Making the models and exporting them comes on top, once. A simulated engine takes what its script says, or nothing on
/// a virtual clock.
#[must_use]
pub fn time_range(plan: &Plan, file: &ScenarioFile, facts: &[ModelFacts], work: &(Work, Work)) -> TimeRange {
    TimeRange { min: time(plan, file, facts, &work.0), max: time(plan, file, facts, &work.1) }
}

fn time(plan: &Plan, file: &ScenarioFile, facts: &[ModelFacts], work: &Work) -> Nanos {
    let engines: BTreeMap<&str, &Engine> = file.backends.iter().map(|b| (b.name.as_str(), &b.engine)).collect();
    let millions = |model: &str| {
        let params = facts.iter().find(|f| f.name == model).and_then(|f| f.params).unwrap_or(UNKNOWN_PARAMS);
        params as f64 / 1e6
    };
    let mut ms = 0.0;
    for (session, &loads) in plan.sessions.iter().zip(&work.loads) {
        if let Some(engine) = engines.get(session.key.backend.as_str()) {
            let load = load_ms(engine, millions(&session.key.model)) + compile_ms(engine, plan, session);
            ms += loads as f64 * load;
        }
    }
    for (index, cell) in plan.cells.iter().enumerate() {
        let Some(engine) = engines.get(cell.session.backend.as_str()) else {
            continue;
        };
        let millions = millions(&cell.session.model);
        // A rewarm makes so few steps that its prefill is most of it.
        let short = Cell { procedure: Procedure::Prefill, ..cell.clone() };
        ms += (work.warmups[index] + work.timed[index]) as f64 * call_ms(engine, millions, cell);
        ms += work.rewarms[index] as f64 * call_ms(engine, millions, &short);
    }
    Nanos::from_ms(ms)
}

fn load_ms(engine: &Engine, millions: f64) -> f64 {
    match engine {
        Engine::Onnx(_) | Engine::Ollama(_) => LOAD_MS.0 + LOAD_MS.1 * millions,
        Engine::Torch(_) | Engine::Worker(_) => WORKER_MS + LOAD_MS.0 + LOAD_MS.1 * millions,
        Engine::Simulated(script) => scripted(script, &script.load, millions),
    }
}

/// Compiling for every prompt length and batch; where a length compiles inside its call that takes as long.
fn compile_ms(engine: &Engine, plan: &Plan, session: &PlannedSession) -> f64 {
    let Engine::Torch(torch) = engine else { return 0.0 };
    let Some(compile) = &torch.compile else { return 0.0 };
    let cells = plan.cells.iter().filter(|cell| cell.session == session.key);
    let one_graph = compile.dynamic != Dynamic::Static;
    let length = |cell: &Cell| {
        let tokens = cell.prompt_tokens.filter(|_| !one_graph)?;
        compile.buckets.iter().copied().find(|&bucket| bucket >= tokens).or(Some(tokens))
    };
    let lengths: BTreeSet<_> = cells.clone().map(|cell| (cell.batch, length(cell))).collect();
    let batches: BTreeSet<_> = cells.map(|cell| cell.batch).collect();
    let graphs = lengths.len() * usize::from(compile.prefill) + batches.len() * usize::from(compile.decode);
    GRAPH_MS * graphs as f64
}

/// One call's time.
fn call_ms(engine: &Engine, millions: f64, cell: &Cell) -> f64 {
    // A text of unknown length: typical of short prompts; the estimate is rough anyway.
    let prompt = f64::from(cell.prompt_tokens.unwrap_or(16));
    let rows = f64::from(cell.batch);
    let steps = f64::from(cell.gen_tokens);
    let (prefill, step) = match engine {
        Engine::Onnx(_) | Engine::Ollama(_) | Engine::Torch(_) | Engine::Worker(_) => {
            (pass_ms(millions, prompt * rows), pass_ms(millions, rows))
        }
        Engine::Simulated(script) => (
            prompt * rows * scripted(script, &script.prefill_per_token, millions),
            scripted(script, &script.decode_per_step, millions),
        ),
    };
    match cell.procedure {
        Procedure::Prefill => prefill,
        Procedure::PrefillDecode => prefill + steps * step,
        // Every step is a pass over everything so far, on average half of the new tokens.
        Procedure::Uncached => steps * prefill * (1.0 + steps / 2.0 / prompt),
    }
}

fn pass_ms(millions: f64, tokens: f64) -> f64 {
    PASS_MS + millions * (STEP_MS + TOKEN_MS * (tokens - 1.0))
}

fn scripted(script: &SimulatedSettings, law: &Law, millions: f64) -> f64 {
    match script.pace {
        Pace::Virtual => 0.0,
        Pace::Real => law.base.as_secs_f64() * 1e3 * millions.powf(law.exponent),
    }
}
