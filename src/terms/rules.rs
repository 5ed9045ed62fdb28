//! How a run orders its calls, how often it repeats them, and what it fits: chosen in the scenario file, kept in the plan.

use serde::{Deserialize, Serialize};

use crate::stats::location::NEVER_BEFORE;

/// How calls follow each other; the schedule keeps to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Backends × models in random order, everything of one session together: each model loads once.
    #[default]
    Blocked,
    /// Rounds: every cell once per round, in a fresh random order.
    Interleaved,
    /// Cells in one random order, all calls of a cell together.
    Shuffled,
}

/// When a cell has enough timed calls.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repetitions {
    /// Always this many.
    Fixed(u32),
    /// Until the interval is narrow enough.
    Adaptive {
        /// Fewest timed calls; see [`Repetitions::min`].
        min: u32,
        /// Most timed calls.
        max: u32,
        /// Stop once the 95 % interval's half-width is at most this share of the estimate, in every timed mode.
        until_relative_ci: f64,
    },
}

impl Repetitions {
    /// Most timed calls a cell can take.
    #[must_use]
    pub fn max(self) -> u32 {
        match self {
            Self::Fixed(n) => n,
            Self::Adaptive { max, .. } => max,
        }
    }

    /// Fewest timed calls a cell can take: an adaptive one takes [`NEVER_BEFORE`] whatever its `min`, unless its `max`
    /// is less.
    #[must_use]
    pub fn min(self) -> u32 {
        match self {
            Self::Fixed(n) => n,
            Self::Adaptive { min, max, .. } => min.max(NEVER_BEFORE as u32).min(max),
        }
    }
}

/// The column latency is fitted against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FitAxis {
    /// Parameters, in millions.
    #[default]
    Params,
    /// Number of layers.
    NLayer,
    /// Width of the residual stream.
    NEmbd,
    /// Number of attention heads.
    NHead,
}
