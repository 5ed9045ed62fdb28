//! What is said of a cell, and which exit code follows.

use serde::{Deserialize, Serialize};

use crate::analysis::engines::{EngineVerdict, Rule};

use super::allowance::Allowance;

/// How the candidate compares to the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It takes more time, by more than the margin.
    Slower,
    /// A kind of failure that the baseline does not have, or more failures than chance explains.
    NewlyFailing,
    /// It takes more time; whether by more than the margin is open.
    SlowerExtentOpen,
    /// None of the others is known.
    Undecided,
    /// It takes less time; whether by more than the margin is open.
    FasterExtentOpen,
    /// It takes less time, by more than the margin.
    Faster,
    /// The difference lies within the margin, or below the floor.
    Same,
    /// The two do not measure the same thing, or the machine itself changed.
    NotComparable,
    /// One side has no calls that count.
    Missing,
}

impl Verdict {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slower => "slower",
            Self::NewlyFailing => "newly failing",
            Self::SlowerExtentOpen => "slower, extent open",
            Self::Undecided => "undecided",
            Self::FasterExtentOpen => "faster, extent open",
            Self::Faster => "faster",
            Self::Same => "same",
            Self::NotComparable => "not comparable",
            Self::Missing => "missing",
        }
    }

    /// Whether it counts as worse.
    #[must_use]
    pub fn is_worse(self) -> bool {
        matches!(self, Self::Slower | Self::NewlyFailing)
    }

    /// Whether it says slower, `true`, or faster, `false`. `None`: neither.
    #[must_use]
    pub fn direction(self) -> Option<bool> {
        match self {
            Self::Slower | Self::SlowerExtentOpen => Some(true),
            Self::Faster | Self::FasterExtentOpen => Some(false),
            Self::NewlyFailing | Self::Undecided | Self::Same | Self::NotComparable | Self::Missing => None,
        }
    }

    /// Whether it says slower or faster, by more than the margin.
    #[must_use]
    pub fn is_called(self) -> bool {
        matches!(self, Self::Slower | Self::Faster)
    }

    /// Whether it says slower or faster, by whatever extent.
    #[must_use]
    pub fn is_different(self) -> bool {
        self.direction().is_some()
    }

    /// Slower, or faster, by an extent that is open.
    #[must_use]
    pub fn extent_open(slower: bool) -> Self {
        if slower { Self::SlowerExtentOpen } else { Self::FasterExtentOpen }
    }

    /// Why it leaves open whether all is well. `None`: it does not, for better or worse.
    #[must_use]
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::Slower | Self::NewlyFailing | Self::Same | Self::Faster | Self::FasterExtentOpen => None,
            Self::SlowerExtentOpen => Some(Reason::ExtentOpen),
            Self::Undecided => Some(Reason::Undecided),
            Self::NotComparable => Some(Reason::NotComparable),
            Self::Missing => Some(Reason::Missing),
        }
    }
}

impl From<EngineVerdict> for Verdict {
    fn from(verdict: EngineVerdict) -> Self {
        match verdict {
            EngineVerdict::Faster => Self::Faster,
            EngineVerdict::Slower => Self::Slower,
            EngineVerdict::FasterExtentOpen => Self::FasterExtentOpen,
            EngineVerdict::SlowerExtentOpen => Self::SlowerExtentOpen,
            EngineVerdict::Same => Self::Same,
            EngineVerdict::NotSeparated | EngineVerdict::NotCompared => Self::Undecided,
        }
    }
}

/// Why nothing is known to be worse, and yet not all is known to be well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Slower, perhaps by less than the margin.
    ExtentOpen,
    /// Too few sessions for the noise.
    Undecided,
    /// Another thing was measured, or on another machine.
    NotComparable,
    /// Measured on one side only.
    Missing,
}

impl Reason {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExtentOpen => "extent open",
            Self::Undecided => "undecided",
            Self::NotComparable => "not comparable",
            Self::Missing => "missing",
        }
    }
}

/// How a comparison is made.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Margin and chance of false alarms.
    pub rule: Rule,
    /// What sides that did not take turns may be off by. `None`: nothing.
    pub allowance: Option<Allowance>,
}

impl Settings {
    /// The same with another chance of a false alarm.
    #[must_use]
    pub fn at(&self, alpha: f64) -> Self {
        Self { rule: Rule { alpha, ..self.rule }, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_by_an_open_extent_is_different() {
        let called = [Verdict::Slower, Verdict::Faster];
        assert!(called.iter().all(|verdict| verdict.is_called() && verdict.is_different()));
        let open = [Verdict::SlowerExtentOpen, Verdict::FasterExtentOpen];
        assert!(open.iter().all(|verdict| !verdict.is_called() && verdict.is_different()));
        for verdict in [Verdict::Same, Verdict::Undecided, Verdict::NewlyFailing, Verdict::NotComparable] {
            assert!(!verdict.is_called() && !verdict.is_different(), "{verdict:?}");
        }
    }
}
