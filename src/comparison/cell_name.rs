//! All that a cell is: what two cells must have in common for their times to say anything of each other.
//!
//! Sides are compared where they agree in it, and a history follows a cell by it. The machine and the rest of the stack are no
//! part of it: what changes there is what is looked for.

use std::cmp::Ordering;

use serde::Serialize;

use crate::record::manifest::Manifest;
use crate::record::plan::{Cell, Plan};
use crate::terms::{Dtype, EarlyStop, Mode};

use super::side::{RunSide, SideCell};

/// The fact under which an engine of several clocks names the one that it has.
const CLOCK: &str = "clock";

/// A cell in one mode by all that it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CellName {
    /// Backend name.
    pub backend: String,
    /// Model name.
    pub model: String,
    /// Hash of the weights, or what another tool says of them.
    pub weights_id: String,
    /// Element type.
    pub dtype: String,
    /// Scenario name.
    pub scenario: String,
    /// Rows decoded together.
    pub batch: u32,
    /// Prompt tokens of a row. `None`: not told, or not the same for all calls of another tool.
    pub prompt_tokens: Option<PromptTokens>,
    /// Timed decode steps.
    pub gen_tokens: u32,
    /// What is timed.
    pub mode: Mode,
    /// What is made of calls that end early. `None`: what is timed is no decode.
    pub early_stop: Option<EarlyStop>,
    /// Whether the engine's time is scripted.
    pub scripted: bool,
    /// Which clock of the engine timed it. `None`: not told.
    pub clock: Option<String>,
    /// What its timed region includes. `None`: not told.
    pub boundary: Option<String>,
    /// The tool that timed it: such cells are never mixed with ours. `None`: it was measured here.
    pub imported_from: Option<String>,
}

/// Prompt tokens of a row, the mean where rows differ.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PromptTokens(pub f64);

impl PartialEq for PromptTokens {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for PromptTokens {}

impl PartialOrd for PromptTokens {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PromptTokens {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl CellName {
    /// A cell of a run in a mode, as it was measured: with which weights and element type, and how many prompt tokens a row of
    /// its first call had.
    #[must_use]
    pub fn of(
        (plan, manifest): (&Plan, &Manifest),
        cell: &Cell,
        mode: Mode,
        (weights_id, dtype): (&str, Dtype),
        prompt_tokens: Option<f64>,
    ) -> Self {
        let engine = manifest.stack.backends.get(&cell.session.backend);
        let imported = manifest.imported.as_ref();
        // Requests that another tool sent may each be of another length, of which the first is no better than any.
        let prompt_tokens = if imported.is_some() { cell.prompt_tokens.map(f64::from) } else { prompt_tokens };
        Self {
            backend: cell.session.backend.clone(),
            model: cell.session.model.clone(),
            weights_id: weights_id.to_owned(),
            dtype: dtype.as_str().to_owned(),
            scenario: cell.scenario.clone(),
            batch: cell.batch,
            prompt_tokens: prompt_tokens.map(PromptTokens),
            gen_tokens: cell.gen_tokens,
            mode,
            early_stop: (mode == Mode::KvDecode).then_some(plan.early_stop),
            scripted: engine.is_some_and(|engine| engine.virtual_clock),
            clock: engine.and_then(|engine| engine.facts.get(CLOCK)).cloned(),
            boundary: engine.and_then(|engine| engine.boundary.get(&mode)).cloned(),
            imported_from: imported.map(|imported| imported.tool.clone()),
        }
    }

    /// A cell of a side. `None`: no call of it counts, or its weights or element type changed during the run.
    #[must_use]
    pub fn of_side(side: &SideCell, run: &RunSide<'_>) -> Option<Self> {
        let (weights_id, dtype) = side.measured_as.as_ref()?;
        let measured_as = (weights_id.as_str(), *dtype);
        Some(Self::of((run.plan, run.manifest), &side.cell, side.mode, measured_as, side.prompt_tokens))
    }

    /// Why its time says nothing of another cell's, whatever their backends, models and scenarios are called. `None`: it may.
    #[must_use]
    pub fn unlike(&self, other: &Self) -> Option<String> {
        self.unlike_work(other).or_else(|| self.unlike_timing(other))
    }

    /// Why it is not the same work.
    fn unlike_work(&self, other: &Self) -> Option<String> {
        if self.imported_from != other.imported_from {
            return Some(format!("one side is {}, the other {}", self.measured_by(), other.measured_by()));
        }
        if self.dtype != other.dtype {
            return Some(format!("element types differ: {} and {}", self.dtype, other.dtype));
        }
        if self.weights_id != other.weights_id {
            return Some(format!("weights differ: {:.12} and {:.12}", self.weights_id, other.weights_id));
        }
        if self.batch != other.batch {
            return Some(format!("batch differs: {} and {}", self.batch, other.batch));
        }
        if self.gen_tokens != other.gen_tokens {
            return Some(format!("decode steps differ: {} and {}", self.gen_tokens, other.gen_tokens));
        }
        (self.prompt_tokens != other.prompt_tokens)
            .then(|| format!("prompt tokens differ: {} and {}", self.told_prompt(), other.told_prompt()))
    }

    /// Why it is not timed in the same way.
    fn unlike_timing(&self, other: &Self) -> Option<String> {
        if self.early_stop != other.early_stop {
            return Some("what is made of calls that end early differs".to_owned());
        }
        if self.scripted != other.scripted {
            return Some("the time of one of them is scripted, not measured".to_owned());
        }
        if self.clock != other.clock {
            return Some(format!("the engine's own clock differs: {} and {}", self.told_clock(), other.told_clock()));
        }
        let mode = self.mode.as_str();
        (self.boundary != other.boundary)
            .then(|| format!("what the timed region of {mode} includes differs; `manifest.json` has both"))
    }

    /// Who timed it, in words.
    #[must_use]
    pub fn measured_by(&self) -> String {
        match &self.imported_from {
            Some(tool) => format!("imported from {tool}"),
            None => "measured by phasebench".to_owned(),
        }
    }

    /// Its prompt tokens in words.
    #[must_use]
    pub fn told_prompt(&self) -> String {
        self.prompt_tokens.map_or_else(|| "not told".to_owned(), |tokens| tokens.0.to_string())
    }

    /// The engine's clock in words.
    #[must_use]
    pub fn told_clock(&self) -> &str {
        self.clock.as_deref().unwrap_or("not told")
    }

    /// For people: what tells it apart at a glance.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = format!("{} · {} · {}", self.backend, self.model, self.scenario);
        if self.batch > 1 {
            words.push_str(&format!(" · batch {}", self.batch));
        }
        if self.gen_tokens > 0 && self.mode != Mode::Prefill {
            words.push_str(&format!(" · {} steps", self.gen_tokens));
        }
        if self.dtype != Dtype::F32.as_str() && self.dtype != Dtype::AsServed.as_str() {
            words.push_str(&format!(" · {}", self.dtype));
        }
        format!("{words} · {}{}", self.mode, if self.imported_from.is_some() { " (imported)" } else { "" })
    }
}
