//! Whether a fit may be acted on.

use std::fmt;

use crate::stats::interval::Interval;

/// Fewest points of an actionable fit.
pub const MIN_POINTS: usize = 4;
/// Lowest R² of an actionable fit.
pub const MIN_R2: f64 = 0.2;

/// The verdict on a fit.
#[derive(Debug, Clone, PartialEq)]
pub enum Gate {
    /// Enough points, enough explained, and every interval of the slope excludes 0.
    Actionable,
    /// At least one condition fails; nothing downstream may use the fit.
    NotIdentifiable(Vec<Objection>),
}

impl Gate {
    /// True for [`Gate::Actionable`].
    #[must_use]
    pub fn is_actionable(&self) -> bool {
        *self == Self::Actionable
    }

    /// The failed conditions in words, joined by `; `. `None`: the fit is actionable.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Actionable => None,
            Self::NotIdentifiable(reasons) => {
                Some(reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
            }
        }
    }
}

/// `actionable`, or `not identifiable: ` and the reasons.
impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason() {
            None => f.write_str("actionable"),
            Some(reason) => write!(f, "not identifiable: {reason}"),
        }
    }
}

/// A condition that failed.
#[derive(Debug, Clone, PartialEq)]
pub enum Objection {
    /// Fewer than [`MIN_POINTS`] points.
    FewPoints {
        /// How many there are.
        n: usize,
    },
    /// R² below [`MIN_R2`].
    LowR2 {
        /// The R² found.
        r2: f64,
    },
    /// An interval of the slope includes 0.
    IncludesZero {
        /// How the interval was made: `t` or `bootstrap`.
        kind: &'static str,
        /// The interval.
        interval: Interval,
    },
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FewPoints { n } => write!(f, "{n} points < {MIN_POINTS}"),
            // Two digits could print "0.20 < 0.2".
            Self::LowR2 { r2 } if *r2 > 0.19 => write!(f, "R² {r2:.4} < {MIN_R2}"),
            Self::LowR2 { r2 } => write!(f, "R² {} < {MIN_R2}", Brief(*r2)),
            Self::IncludesZero { kind, interval } => {
                let (low, high) = (Brief(interval.low), Brief(interval.high));
                write!(f, "{kind} interval [{low}, {high}] includes 0")
            }
        }
    }
}

/// A number as short as keeps its sign and size visible.
struct Brief(f64);

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        match value.abs() {
            0.0 => f.write_str("0"),
            size if size < 0.0005 => write!(f, "{value:.1e}"),
            size if size < 0.01 => write!(f, "{value:.4}"),
            size if size < 1000.0 => write!(f, "{value:.2}"),
            _ => write!(f, "{value:.3e}"),
        }
    }
}

/// Judges a fit from its number of points, its R² and the named intervals of its slope.
///
/// An interval that touches 0 includes it; so does one with an end that is not a number.
#[must_use]
pub fn judge(n: usize, r2: f64, intervals: &[(&'static str, Interval)]) -> Gate {
    let mut reasons = Vec::new();
    if n < MIN_POINTS {
        reasons.push(Objection::FewPoints { n });
    }
    if r2.is_nan() || r2 < MIN_R2 {
        reasons.push(Objection::LowR2 { r2 });
    }
    for &(kind, interval) in intervals {
        let excludes_zero = interval.low > 0.0 || interval.high < 0.0;
        if !excludes_zero {
            reasons.push(Objection::IncludesZero { kind, interval });
        }
    }
    if reasons.is_empty() { Gate::Actionable } else { Gate::NotIdentifiable(reasons) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(low: f64, high: f64) -> Interval {
        Interval { low, high }
    }

    #[test]
    fn every_failed_condition_is_named() {
        let table = [
            (7, 0.9, over(0.1, 0.5), "actionable"),
            (7, 0.9, over(-0.5, -0.1), "actionable"),
            (4, 0.2, over(0.1, 0.5), "actionable"),
            (3, 0.9, over(0.1, 0.5), "not identifiable: 3 points < 4"),
            (7, 0.1996, over(0.1, 0.5), "not identifiable: R² 0.1996 < 0.2"),
            (7, 0.9, over(0.0, 0.5), "not identifiable: bootstrap interval [0, 0.50] includes 0"),
            (7, f64::NAN, over(0.1, 0.5), "not identifiable: R² NaN < 0.2"),
            (
                7,
                0.034,
                over(-0.31, 0.6),
                "not identifiable: R² 0.03 < 0.2; bootstrap interval [-0.31, 0.60] includes 0",
            ),
            (7, 0.9, over(-0.0001, 0.5), "not identifiable: bootstrap interval [-1.0e-4, 0.50] includes 0"),
        ];
        for (n, r2, interval, text) in table {
            assert_eq!(judge(n, r2, &[("bootstrap", interval)]).to_string(), text);
        }
    }

    #[test]
    fn both_intervals_must_exclude_zero() {
        let intervals = [("t", over(-0.1, 0.6)), ("bootstrap", over(0.02, 0.5))];
        let gate = judge(7, 0.87, &intervals);
        assert_eq!(gate.reason().as_deref(), Some("t interval [-0.10, 0.60] includes 0"));
    }
}
