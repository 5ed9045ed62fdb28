//! What somebody says of engines, in a form that a run's rows can be held against.

use serde::{Deserialize, Serialize};

use super::Mode;

/// A statement with its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Names it in tables.
    pub name: String,
    /// The statement in words.
    pub text: String,
    /// The statement in a form that can be checked.
    pub asserts: Assertion,
}

/// A statement that can be checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Assertion {
    /// An engine takes less time than another in a phase, over the cells that both were asked for.
    Faster {
        /// Name of the backend, or of its engine.
        engine: String,
        /// The same of the other.
        than: String,
        /// In what.
        phase: Mode,
        /// At least so many times as fast; 1: faster at all.
        by: f64,
    },
    /// Compiled code takes less time in a phase than the same engine without.
    CompiledFaster {
        /// In what.
        phase: Mode,
        /// At least so many times as fast; 1: faster at all.
        by: f64,
    },
    /// Time of a phase is a power law of the models' size whose slope lies between two values.
    Grows {
        /// Of what.
        phase: Mode,
        /// Least slope.
        from: f64,
        /// Largest slope.
        to: f64,
        /// Smallest model that it is said of. `None`: any. Unit: millions of parameters.
        smallest: Option<f64>,
        /// Largest one. `None`: any. Unit: millions of parameters.
        largest: Option<f64>,
    },
    /// Decode takes at least such a share of an answer's time.
    DecodeShare {
        /// 0 to 1.
        at_least: f64,
    },
    /// Prefill takes at least such a share of an answer's time, so that it tells what an answer takes.
    PrefillShare {
        /// 0 to 1.
        at_least: f64,
    },
    /// A prompt token takes at least so many times less time than one that is written.
    PrefillCheaper {
        /// 1: less at all.
        by: f64,
    },
    /// Loading a model and its first prefill take at least so many times as long as a warm prefill.
    ColdStart {
        /// Unit: warm prefills.
        at_least: f64,
    },
    /// Decode with a KV cache is at least so many times as fast as without.
    CacheHelps {
        /// 1: faster at all.
        by: f64,
    },
    /// Engines allocate for the KV cache what theory says, to the byte.
    KvAsTheory,
    /// Models with fewer key-value heads than query heads take at least so many times less KV cache per token than models of at
    /// most twice and at least half their size that have as many.
    GroupedHeadsSave {
        /// 1: less at all.
        by: f64,
    },
    /// Every call ran where it was asked to, by proof.
    AsLabelled,
    /// Energy is known well enough to be quoted.
    EnergyGraded {
        /// Of phases shorter than this, as they come; then what has no grade is not known. `None`: of all, repeated for the sensor
        /// or not. Unit: milliseconds.
        shorter_than_ms: Option<f64>,
    },
    /// Energy takes at most such a share of what a million tokens cost.
    EnergyCost {
        /// 0 to 1.
        at_most: f64,
    },
    /// A machine of one's own costs at least such a share less by the hour than hire on the first tier.
    OwnHardwareSaves {
        /// 0 to 1.
        at_least: f64,
    },
}
