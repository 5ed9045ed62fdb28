//! What energy figures are called: how one was obtained, how good it is, why there is none, and what idled.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a figure was obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Counter slope inside a steady loop.
    SteadySlope,
    /// First to last counter update inside the phase, extended to its length.
    InnerEdge,
    /// Power readings that saw nothing but the phase.
    InstantInside,
    /// Counter difference around an isolated phase, idle power taken off.
    Padded,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 4] = [Self::SteadySlope, Self::InnerEdge, Self::InstantInside, Self::Padded];

    /// The name used in files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SteadySlope => "steady_slope",
            Self::InnerEdge => "inner_edge",
            Self::InstantInside => "instant_inside",
            Self::Padded => "padded",
        }
    }

    /// Whether it reads an energy counter rather than power.
    #[must_use]
    pub fn counts(self) -> bool {
        self != Self::InstantInside
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why there is no figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoFigure {
    /// The phase is over before the sensor has updated often enough.
    TooShort,
    /// No sensor on this machine.
    NoSensor,
    /// There is one that this user may not read.
    Permission,
    /// Readings are missing in it.
    PollGap,
    /// The sensor's registers kept their values in it, longer than between two updates.
    Stale,
    /// The counter started again in it.
    CounterReset,
    /// The sensor is the whole board's, of which the program has a part.
    Mig,
    /// Idle power is needed, and not known.
    IdleInvalid,
    /// More than half of the figure is uncertain.
    UTooLarge,
    /// Nothing proves which device the call ran on.
    Unattributed,
    /// A repetition was not what was asked for; the record says how.
    Failed,
}

impl NoFigure {
    /// The name used in files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::NoSensor => "no_sensor",
            Self::Permission => "permission",
            Self::PollGap => "poll_gap",
            Self::Stale => "stale",
            Self::CounterReset => "counter_reset",
            Self::Mig => "mig",
            Self::IdleInvalid => "idle_invalid",
            Self::UTooLarge => "u_too_large",
            Self::Unattributed => "unattributed",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for NoFigure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How good a figure is. The order is from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Grade {
    /// Within 2 %, from at least 20 updates of a counter.
    A,
    /// Within 5 %, from at least 10 updates.
    B,
    /// Within 15 %.
    C,
    /// Within 50 %: an interval only, kept out of aggregates and rankings.
    D,
}

impl Grade {
    /// Every grade.
    pub const ALL: [Self; 4] = [Self::A, Self::B, Self::C, Self::D];

    /// One letter.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
        }
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What idles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdleKind {
    /// The device alone, before anything of ours used it.
    IdleBare,
    /// With a model resident, quiet.
    IdleCtx,
}

impl IdleKind {
    /// The name used in files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IdleBare => "idle_bare",
            Self::IdleCtx => "idle_ctx",
        }
    }
}
