//! What a recommendation is.

use serde::{Deserialize, Serialize};

use crate::analysis::columns::columns;

columns! {
    /// One question that a run can answer, with the answer that its rows allow.
    pub struct RecommendationRow {
        /// What is to be decided.
        topic: Topic,
        /// Of what: a phase, a backend with a model.
        about: String,
        /// Whether the rows decide it.
        standing: Standing,
        /// What to do.
        advice: String,
        /// The figures behind it, with their 95 % intervals where they have them. `None`: there are none.
        figures: Option<String>,
        /// Files whose rows it comes from, joined by `;`.
        rows: String,
        /// What would make it untrue.
        overturned_by: String,
    }
}

impl RecommendationRow {
    /// Whether another row answers the same question.
    #[must_use]
    pub fn asks_the_same(&self, other: &Self) -> bool {
        self.topic == other.topic && self.about == other.about
    }
}

/// What is to be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Which engine to use unless something speaks for another.
    DefaultEngine,
    /// The same for requests of a kind: those that mostly decode, those that mostly prefill, and others.
    WorkloadClass,
    /// Whether some requests belong on another engine.
    Routing,
    /// Whether to compile a phase.
    Compile,
    /// Whether a model must be kept loaded.
    WarmPool,
    /// Which engine serves a workload at the least cost.
    Workload,
    /// Which engines answer fast enough.
    Slo,
    /// What fits into a memory.
    Memory,
    /// Whether a larger model earns what it costs.
    ModelTier,
    /// Whether anything may be said of energy.
    Energy,
    /// How time grows with size.
    Scaling,
    /// When to measure again.
    Validity,
}

impl Topic {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DefaultEngine => "default engine",
            Self::WorkloadClass => "workload class",
            Self::Routing => "routing",
            Self::Compile => "compile",
            Self::WarmPool => "warm pool",
            Self::Workload => "workload",
            Self::Slo => "SLO",
            Self::Memory => "memory",
            Self::ModelTier => "model tier",
            Self::Energy => "energy",
            Self::Scaling => "scaling",
            Self::Validity => "validity",
        }
    }
}

/// Whether rows decide a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// They do.
    Decided,
    /// They point one way, and are too few to be a rule.
    Hint,
    /// They do not tell apart what is asked about.
    NotSeparated,
    /// There are none.
    NoData,
}

impl Standing {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decided => "decided",
            Self::Hint => "hint",
            Self::NotSeparated => "not separated",
            Self::NoData => "no data",
        }
    }
}
