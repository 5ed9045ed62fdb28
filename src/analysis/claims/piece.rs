//! One piece of evidence.

use std::fmt;

use super::row::ClaimStatus;
use crate::units::significant;

/// What one row says to a claim.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    /// What the row is of.
    of: String,
    /// Never [`ClaimStatus::NotTested`].
    pub(super) status: ClaimStatus,
    figure: String,
}

impl Piece {
    pub(super) fn new(of: impl Into<String>, status: ClaimStatus, figure: impl Into<String>) -> Self {
        Self { of: of.into(), status, figure: figure.into() }
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.of, self.figure)
    }
}

/// What something that is known says.
pub(super) fn held(holds: bool) -> ClaimStatus {
    if holds { ClaimStatus::Supported } else { ClaimStatus::Contradicted }
}

/// A value with the ends of its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Known {
    pub(super) value: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Known {
    /// Whether it is at least so much: its interval tells, or leaves it open.
    pub(super) fn at_least(self, least: f64) -> ClaimStatus {
        if self.low >= least {
            ClaimStatus::Supported
        } else if self.high < least {
            ClaimStatus::Contradicted
        } else {
            ClaimStatus::NotIdentifiable
        }
    }

    /// Whether it lies between two values.
    pub(super) fn between(self, from: f64, to: f64) -> ClaimStatus {
        if self.low >= from && self.high <= to {
            ClaimStatus::Supported
        } else if self.high < from || self.low > to {
            ClaimStatus::Contradicted
        } else {
            ClaimStatus::NotIdentifiable
        }
    }

    /// So many times as much.
    pub(super) fn times(self, factor: f64) -> Self {
        Self { value: self.value * factor, low: self.low * factor, high: self.high * factor }
    }

    /// 1 ÷ it.
    pub(super) fn inverse(self) -> Self {
        Self { value: self.value.recip(), low: self.high.recip(), high: self.low.recip() }
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |value: f64| significant(value, 3);
        write!(f, "{} [{}, {}]", short(self.value), short(self.low), short(self.high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_decides_or_leaves_open() {
        let known = Known { value: 2.0, low: 1.5, high: 2.5 };
        for (least, expected) in
            [(1.5, ClaimStatus::Supported), (2.0, ClaimStatus::NotIdentifiable), (2.6, ClaimStatus::Contradicted)]
        {
            assert_eq!(known.at_least(least), expected, "{least}");
        }
        assert_eq!(known.between(1.0, 3.0), ClaimStatus::Supported);
        assert_eq!(known.between(1.0, 2.0), ClaimStatus::NotIdentifiable);
        assert_eq!(known.between(3.0, 4.0), ClaimStatus::Contradicted);
        assert_eq!(known.inverse(), Known { value: 0.5, low: 0.4, high: 1.0 / 1.5 });
        assert_eq!(known.to_string(), "2.00 [1.50, 2.50]");
    }
}
