//! Scripted truth instead of an engine: what the analysis must find again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::scenario::limits::Limits;
use crate::scenario::node::Node;
use crate::scenario::problem::Problem;
use crate::scenario::reference::Names;
use crate::scenario::section::{Kind, Section, default, number, optional, required, whole, words};
use crate::scenario::settings::{EngineSettings, Placed};
use crate::scenario::typed::{self, items, text, word};
use crate::terms::Dtype;

/// The script of a simulated engine. Every figure is the truth that the analysis must find again.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatedSettings {
    /// Time to load a model.
    pub load: Law,
    /// Time to prefill one prompt token of one row.
    pub prefill_per_token: Law,
    /// Time of one decode step.
    pub decode_per_step: Law,
    /// Standard deviation of the log of each phase's time.
    pub noise: f64,
    /// Lag-1 autocorrelation of that noise within a session.
    pub autocorrelation: f64,
    /// Factor on the first call of a session.
    pub cold_factor: f64,
    /// Factor on the first call of each further shape.
    pub cold_shape_factor: f64,
    /// Relative change of every phase's time per call since the session was loaded.
    pub drift_per_call: f64,
    /// Share of calls that stop early, at a seeded place.
    pub early_stop_rate: f64,
    /// What a script says that other programs do beside the calls.
    pub disturbances: Option<Disturbances>,
    /// Calls that go wrong.
    pub faults: Vec<Fault>,
    /// Power drawn while a phase runs, in watts. `None`: this machine has no sensor.
    pub power_w: Option<f64>,
    /// Most sessions that stay loaded at once. `None`: no limit of its own.
    pub max_resident: Option<u32>,
    /// Whether calls take their scripted time or none.
    pub pace: Pace,
}

/// `base × (params in millions) ^ exponent`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Law {
    /// Time at one million parameters.
    pub base: Duration,
    /// The slope that a power-law fit must find.
    pub exponent: f64,
}

impl Law {
    /// The law's time for a model of so many million parameters.
    #[must_use]
    pub fn at(&self, millions: f64) -> Duration {
        let seconds = self.base.as_secs_f64() * millions.powf(self.exponent);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

/// Scripted work of other programs, as a watcher would have seen it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Disturbances {
    /// Share of the calls beside which they work.
    pub rate: f64,
    /// By how much such a call takes longer, as a share of what it takes without.
    pub slowdown: f64,
}

/// A scripted fault.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Only calls, or loads, of this model; `None`: of any.
    pub model: Option<String>,
    /// Only calls of this scenario; `None`: of any. Always `None` for a load.
    pub scenario: Option<String>,
    /// Which calls of a matching cell: those whose number among the calls of their role, from 1, is a multiple of
    /// this; 1 is every call. Of loads, those whose number among the process's loads of the model is.
    pub every: u32,
}

/// What a scripted fault does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The engine answers with an error; the session stays usable.
    Error,
    /// The call never ends by itself.
    Timeout,
    /// Memory runs out; the session is lost.
    Oom,
    /// The engine's process ends; the session is lost.
    Crashed,
    /// Generation stops at half of the steps.
    EarlyStop,
    /// The model cannot be loaded.
    Load,
}

/// Whether a simulated call takes its scripted time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pace {
    /// On a virtual clock: at once.
    #[default]
    Virtual,
    /// Really waits.
    Real,
}

impl Default for SimulatedSettings {
    fn default() -> Self {
        Self {
            load: Law { base: Duration::from_millis(50), exponent: 0.5 },
            prefill_per_token: Law { base: Duration::from_micros(40), exponent: 0.8 },
            decode_per_step: Law { base: Duration::from_micros(300), exponent: 0.7 },
            noise: 0.05,
            autocorrelation: 0.3,
            cold_factor: 5.0,
            cold_shape_factor: 2.0,
            drift_per_call: 0.0,
            early_stop_rate: 0.0,
            disturbances: None,
            faults: Vec::new(),
            power_w: None,
            max_resident: None,
            pace: Pace::Virtual,
        }
    }
}

impl EngineSettings for SimulatedSettings {
    const KEY: &'static str = "simulated";
    const DOC: &'static str = "Scripted truth instead of an engine: what the analysis must find again.";
    const SECTION: &'static Section = &SECTION;

    fn build(section: &Node) -> Option<Self> {
        Some(Self {
            load: law(section.get("load")?)?,
            prefill_per_token: law(section.get("prefill_per_token")?)?,
            decode_per_step: law(section.get("decode_per_step")?)?,
            noise: typed::number(section, "noise")?,
            autocorrelation: typed::number(section, "autocorrelation")?,
            cold_factor: typed::number(section, "cold_factor")?,
            cold_shape_factor: typed::number(section, "cold_shape_factor")?,
            drift_per_call: typed::number(section, "drift_per_call")?,
            early_stop_rate: typed::number(section, "early_stop_rate")?,
            disturbances: typed::optional(section, "disturbances", disturbances)?,
            faults: typed::each(section, "faults", fault)?,
            power_w: typed::optional(section, "power_w", Node::number)?,
            max_resident: typed::optional(section, "max_resident", Node::whole)?,
            pace: word(section.get("pace")?)?,
        })
    }

    fn contradictions(placed: Placed<'_>, problems: &mut Vec<Problem>) {
        let (models, scenarios) = (Names::of(placed.file, "models"), Names::of(placed.file, "scenarios"));
        for fault in items(placed.section, "faults") {
            models.check(fault, "model", problems);
            scenarios.check(fault, "scenario", problems);
            if text(fault, "kind") == Some("load")
                && let Some(scenario) = fault.get("scenario")
            {
                let message = "a model is loaded for all scenarios alike";
                problems.push(Problem::new(scenario.at, message).help("try", "without `scenario`"));
            }
        }
    }

    fn asks_for_virtual_clock(section: &Node) -> Option<bool> {
        text(section, "pace").map(|pace| pace == "virtual")
    }
}

fn law(node: &Node) -> Option<Law> {
    Some(Law { base: typed::duration(node, "base")?, exponent: typed::number(node, "exponent")? })
}

fn disturbances(node: &Node) -> Option<Disturbances> {
    Some(Disturbances { rate: typed::number(node, "rate")?, slowdown: typed::number(node, "slowdown")? })
}

fn fault(node: &Node) -> Option<Fault> {
    Some(Fault {
        kind: word(node.get("kind")?)?,
        model: typed::optional_text(node, "model")?,
        scenario: typed::optional_text(node, "scenario")?,
        every: node.get("every")?.whole()?,
    })
}

impl Limits for SimulatedSettings {
    fn kind(&self) -> &'static str {
        Self::KEY
    }

    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn virtual_clock(&self) -> bool {
        self.pace == Pace::Virtual
    }

    fn may_stop_early(&self) -> bool {
        let scripted = self.faults.iter().any(|fault| fault.kind == FaultKind::EarlyStop);
        scripted || self.early_stop_rate > 0.0
    }

    fn can_be_disturbed(&self) -> bool {
        self.disturbances.is_some()
    }

    fn reads_weights(&self) -> bool {
        false
    }

    fn max_resident(&self) -> Option<u32> {
        self.max_resident
    }

    fn load_ms(&self, millions: f64) -> f64 {
        self.scripted_ms(self.load, millions)
    }

    fn prefill_ms(&self, millions: f64, tokens: f64) -> f64 {
        tokens * self.scripted_ms(self.prefill_per_token, millions)
    }

    fn step_ms(&self, millions: f64, _rows: f64) -> f64 {
        self.scripted_ms(self.decode_per_step, millions)
    }
}

impl SimulatedSettings {
    /// What a law takes of the real time.
    fn scripted_ms(&self, law: Law, millions: f64) -> f64 {
        match self.pace {
            Pace::Virtual => 0.0,
            Pace::Real => law.base.as_secs_f64() * 1e3 * millions.powf(law.exponent),
        }
    }
}

const SECTION: Section = Section {
    what: "a simulated engine",
    choice: None,
    fields: &[
        default("load", Kind::Section(&LAW), "{ base: 50ms, exponent: 0.5 }", "Time to load a model."),
        default(
            "prefill_per_token",
            Kind::Section(&LAW),
            "{ base: 40us, exponent: 0.8 }",
            "Time to prefill one prompt token of one row.",
        ),
        default("decode_per_step", Kind::Section(&LAW), "{ base: 300us, exponent: 0.7 }", "Time of one decode step."),
        default("noise", number(0.0, 2.0), "0.05", "Standard deviation of the log of each phase's time."),
        default(
            "autocorrelation",
            Kind::Number { min: -1.0, max: 1.0, above: true, below: true },
            "0.3",
            "Lag-1 autocorrelation of that noise within a session.",
        ),
        default("cold_factor", number(1.0, 1e6), "5", "Factor on the first call of a session."),
        default("cold_shape_factor", number(1.0, 1e6), "2", "Factor on the first call of each further shape."),
        default(
            "drift_per_call",
            Kind::Number { min: -1.0, max: 1.0, above: true, below: true },
            "0",
            "Relative change of every phase's time per call since the session was loaded.",
        ),
        default("early_stop_rate", number(0.0, 1.0), "0", "Share of calls that stop early, at a seeded place."),
        optional(
            "disturbances",
            Kind::Section(&DISTURBANCES),
            "What other programs are scripted to do beside the calls; nothing if not given. Rows say that it is simulated.",
        ),
        default(
            "faults",
            Kind::List { item: &Kind::Section(&FAULT), min: 0, unique: false },
            "[]",
            "Calls that go wrong.",
        ),
        optional(
            "power_w",
            Kind::Number { min: 0.0, max: 1e5, above: true, below: false },
            "Power drawn while a phase runs, in watts; no sensor if not given.",
        ),
        optional("max_resident", whole(1, 1000), "Most sessions loaded at once; no limit if not given."),
        default(
            "pace",
            words(&["virtual", "real"]),
            "virtual",
            "virtual: calls end at once, on a clock of their own; real: they take their time. \
             Backends on a virtual clock cannot be measured beside others.",
        ),
    ],
};

const LAW: Section = Section {
    what: "a latency law `base × (params in millions) ^ exponent`",
    choice: None,
    fields: &[
        required("base", Kind::Duration, "Time at one million parameters."),
        required("exponent", number(-4.0, 4.0), "The slope that a power-law fit must find."),
    ],
};

const DISTURBANCES: Section = Section {
    what: "scripted work of other programs",
    choice: None,
    fields: &[
        required(
            "rate",
            number(0.0, 1.0),
            "Share of the calls beside which they work, half of all processors each time.",
        ),
        required("slowdown", number(0.0, 100.0), "By how much such a call takes longer, as a share of its time."),
    ],
};

const FAULT: Section = Section {
    what: "a fault",
    choice: None,
    fields: &[
        required("kind", words(&["error", "timeout", "oom", "crashed", "early_stop", "load"]), "What goes wrong."),
        optional("model", Kind::Name, "Only calls, or loads, of this model."),
        optional("scenario", Kind::Name, "Only calls of this scenario."),
        required(
            "every",
            whole(1, 1_000_000),
            "Every how many-th matching call, counted from 1 over the run; of loads, counted per process.",
        ),
    ],
};
