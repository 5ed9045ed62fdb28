//! What is written to `plan.json`: the matrix as cells with stable ids, and the rules that decide the rest.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::terms::claim::Claim;
use crate::terms::{
    Disturbed, Division, Dtype, EarlyStop, FitAxis, Mode, Order, Procedure, Repetitions, Retries, SessionCount,
};
use crate::units::{Bytes, Nanos};

/// Version of `plan.json`. A reader refuses others.
pub const FORMAT: u32 = 1;

/// What a run is going to do. Written to `plan.json`; the order of calls follows from it and from what is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Version of this format.
    pub format: u32,
    /// The scenario file's name.
    pub name: String,
    /// Decides every random choice.
    pub seed: u64,
    /// How calls follow each other.
    pub order: Order,
    /// When a cell has enough timed calls.
    pub repetitions: Repetitions,
    /// Over how many sessions the timed calls of a cell are divided. Left out where it is one.
    #[serde(default, skip_serializing_if = "SessionCount::is_one")]
    pub session_count: SessionCount,
    /// What is made of calls that end at a stop token.
    #[serde(default = "EarlyStop::unscaled")]
    pub early_stop: EarlyStop,
    /// What is made of calls that something outside disturbs.
    #[serde(default = "Disturbed::never", skip_serializing_if = "Disturbed::is_never")]
    pub disturbed: Disturbed,
    /// When the machine itself is measured. `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<ReferencePlan>,
    /// What is slowed on purpose. `None`: nothing, as in every run that is a measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowdown: Option<PlantedSlowdown>,
    /// Modes asked for.
    pub modes: Vec<Mode>,
    /// What latency is fitted against.
    pub fit: FitAxis,
    /// Longest time one call, one load or one compilation may take.
    pub timeout_ns: Nanos,
    /// Largest share of degraded calls before exit code 3.
    pub degraded_rate: f64,
    /// Memory that resident sessions may take together.
    pub memory_budget_bytes: Bytes,
    /// One per backend × model that has a cell, in file order.
    pub sessions: Vec<PlannedSession>,
    /// What is measured, in file order.
    pub cells: Vec<Cell>,
    /// What is not, and why.
    pub skipped: Vec<SkippedCell>,
    /// The workload that the run is decided for. `None`: the scenario file names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<PlannedWorkload>,
    /// Statements that the run is held against. Empty, and left out: those of published reports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Claim>,
}

/// A workload as it was when the run was planned: what becomes of its files later changes nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedWorkload {
    /// The workload file, verbatim.
    pub text: String,
    /// What was counted in the histogram or log that it names. `None`: it names neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<CountedRequests>,
}

/// Requests by their lengths, of which nothing else is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountedRequests {
    /// Prompt tokens, tokens written, and how many requests there are of these lengths, or their weight.
    pub lengths: Vec<(u32, u32, f64)>,
    /// Rows or lines read.
    pub rows: u64,
    /// Of these without a weight, or with one of 0.
    pub weightless: u64,
    /// Of these without both counts.
    pub without_counts: u64,
}

impl CountedRequests {
    /// What cannot have been counted. `None`: it can.
    fn impossible(&self) -> Option<String> {
        let is_wrong = |(prompt, generated, weight): &(u32, u32, f64)| {
            [*prompt, *generated].iter().any(|tokens| !(1..=LARGEST).contains(tokens)) || *weight <= 0.0
        };
        match self.lengths.iter().find(|length| is_wrong(length)) {
            Some((prompt, generated, weight)) => {
                Some(format!("{weight} requests of {prompt} and {generated} tokens in its workload"))
            }
            None => self.lengths.is_empty().then(|| "a workload without requests".to_owned()),
        }
    }
}

/// More timed calls than these no run makes. Their order is worked out at once, which takes 32 bytes for each.
const MOST_CALLS: u64 = 20_000_000;

/// More rows or tokens no plan asks for; the sum of two still fits.
const LARGEST: u32 = 1 << 30;

impl Plan {
    /// Why nothing can go by these numbers, which no scenario file leads to. `None`: everything can.
    #[must_use]
    pub fn impossible(&self) -> Option<String> {
        let sessions = self.session_count;
        if sessions.min == 0 || sessions.min > sessions.max {
            return Some(format!("{} to {} sessions of a cell", sessions.min, sessions.max));
        }
        let of_cell = u64::from(self.division().most_calls().max(sessions.max));
        let calls = of_cell.saturating_mul(self.cells.len() as u64);
        if calls > MOST_CALLS {
            return Some(format!("{calls} timed calls, allowed: {MOST_CALLS}"));
        }
        if let Some(why) = self.workload.as_ref().and_then(|workload| workload.counted.as_ref()?.impossible()) {
            return Some(why);
        }
        let planned: BTreeSet<&SessionKey> = self.sessions.iter().map(|session| &session.key).collect();
        if let Some(cell) = self.cells.iter().find(|cell| !planned.contains(&cell.session)) {
            let SessionKey { backend, model } = &cell.session;
            return Some(format!("cell {}: {model} on {backend} is none of its sessions", cell.id));
        }
        self.cells.iter().chain(self.skipped.iter().map(|skipped| &skipped.cell)).find_map(Cell::impossible)
    }

    /// Which timed calls of a cell belong to which of its sessions.
    #[must_use]
    pub fn division(&self) -> Division {
        Division { repetitions: self.repetitions, sessions: self.session_count }
    }

    /// How many times longer a timed call of this cell is made to take in this session, on purpose. `None`: it is left alone.
    #[must_use]
    pub fn slowdown_of(&self, cell: &CellId, session_index: u32) -> Option<f64> {
        let slowdown = self.slowdown.as_ref()?;
        let is_slowed = slowdown.cells.contains(cell) && slowdown.sessions.contains(&session_index);
        is_slowed.then_some(slowdown.factor)
    }

    /// The rules by which a timed call is made again.
    #[must_use]
    pub fn retries(&self) -> Retries {
        Retries { early_stop: self.early_stop, disturbed: self.disturbed }
    }
}

/// A slowdown that a self-test plants, to see whether a comparison finds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlantedSlowdown {
    /// How many times longer a timed call is made to take.
    pub factor: f64,
    /// The cells whose calls are.
    pub cells: Vec<CellId>,
    /// The sessions, by their index, in which they are; the others are what these are compared with.
    pub sessions: Vec<u32>,
}

/// When and how the machine itself is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferencePlan {
    /// Numbers of threads that backends were given; with 1 and with all that may be used it is measured besides.
    pub threads: Vec<u32>,
    /// Longest time between two measurements, as far as `share` allows.
    pub every_ns: Nanos,
    /// Largest share of the run's time that measurements may take.
    pub share: f64,
    /// Whether a process makes the first one before it loads anything: where the run is expected to be long enough for that.
    /// Otherwise the first one waits until `share` allows for it, and a short run has none.
    #[serde(default = "always", skip_serializing_if = "is_always")]
    pub begins: bool,
    /// Whether NVIDIA's boards are measured, too: where a backend asks for one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub boards: bool,
}

/// What plans mean that say nothing of it.
fn always() -> bool {
    true
}

/// Whether nothing need be said.
fn is_always(begins: &bool) -> bool {
    *begins
}

impl ReferencePlan {
    /// Kernels of a measurement before the first load, and of every other one: what pages cost does not change on the way.
    pub const KERNELS: (u32, u32) = (3, 2);

    /// Roughly the time of a measurement of so many kernels: each takes 30 ms with every number of threads, and the buffer is
    /// made ready once. Boards take what their driver takes to start.
    #[must_use]
    pub fn takes(&self, kernels: u32) -> Nanos {
        const READY_MS: u64 = 100;
        const EACH_MS: u64 = 30;
        const BOARDS_MS: u64 = 700;
        // With 1 and with all that may be used it is measured in any case.
        let threads = self.threads.len() as u64 + 2;
        let boards = if self.boards { BOARDS_MS } else { 0 };
        Nanos((READY_MS + EACH_MS * u64::from(kernels) * threads + boards) * 1_000_000)
    }

    /// How many there may be in a run of such a length with so many loads.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number of seconds"
    )]
    pub fn count(&self, time: Nanos, loads: u64) -> u64 {
        let (first, later) = (self.takes(Self::KERNELS.0).0 as f64, self.takes(Self::KERNELS.1).0 as f64);
        let granted = self.share * time.0 as f64 - if self.begins { first } else { 0.0 };
        let affordable = u64::from(self.begins) + (granted.max(0.0) / later) as u64;
        let occasions = loads + time.0 / self.every_ns.0.max(1) + 1;
        affordable.min(occasions)
    }
}

/// One model loaded by one backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedSession {
    /// Backend and model.
    pub key: SessionKey,
    /// Planned warmup calls per cell and load.
    pub warmups: u32,
    /// Memory it is expected to take while loaded: weights, packed copies, the largest KV cache of its cells.
    pub resident_bytes: Bytes,
    /// Most sessions its backend keeps loaded at once. `None`: no limit of its own.
    pub max_resident: Option<u32>,
    /// Whether its engine may end a call before all steps are made.
    #[serde(default)]
    pub may_stop_early: bool,
}

/// Backend and model by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionKey {
    /// Backend name.
    pub backend: String,
    /// Model name.
    pub model: String,
}

/// Calls that may be pooled, but for mode and regime, which a row adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Hash of everything below: 12 hexadecimal digits.
    pub id: CellId,
    /// Backend and model.
    pub session: SessionKey,
    /// Element type asked for.
    pub dtype: Dtype,
    /// Scenario name.
    pub scenario: String,
    /// Rows decoded together.
    pub batch: u32,
    /// Prompt tokens asked for, BOS included. `None`: known only once the text is tokenised.
    pub prompt_tokens: Option<u32>,
    /// Timed decode steps; 0 for [`Procedure::Prefill`].
    pub gen_tokens: u32,
    /// What a call makes the engine do.
    pub procedure: Procedure,
}

impl Cell {
    /// What is larger than anything can be. `None`: nothing.
    fn impossible(&self) -> Option<String> {
        let numbers =
            [("rows", self.batch), ("prompt tokens", self.prompt_tokens.unwrap_or(0)), ("steps", self.gen_tokens)];
        let found = numbers.into_iter().find(|(_, number)| *number > LARGEST);
        found.map(|(what, number)| format!("cell {}: {number} {what}, allowed: {LARGEST}", self.id))
    }
}

/// A cell's id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CellId(pub String);

impl std::fmt::Display for CellId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A cell that is not measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkippedCell {
    /// What it would have been.
    pub cell: Cell,
    /// The rule by name: `only`, `skip`, `no_source`, `no_tokenizer`, `batch_unsupported`, `mode_unsupported`,
    /// `prompt_too_short`, `context_exceeded`, `memory`, `backend_unavailable`, `procedure_unsupported`.
    pub rule: String,
    /// The rule's reason, for people.
    pub reason: String,
}
