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
    },
    /// Time of a phase is a power law of the models' size whose slope lies between two values.
    Grows {
        /// Of what.
        phase: Mode,
        /// Least slope.
        from: f64,
        /// Largest slope.
        to: f64,
    },
    /// Decode takes at least such a share of an answer's time.
    DecodeShare {
        /// 0 to 1.
        at_least: f64,
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
    /// Energy is known well enough to be quoted.
    EnergyGraded,
}
