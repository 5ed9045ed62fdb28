//! Which of two engines is faster, and whether that is known.

use serde::{Deserialize, Serialize};

use crate::stats::InputError;
use crate::stats::log_estimate::LogEstimate;
use crate::stats::multiplicity::{benjamini_hochberg, holm};
use crate::terms::Mode;

/// Ratios within 3 % of 1, in either direction, are as good as equal.
pub const MARGIN: f64 = 1.03;
/// Differences per decode step below this are as good as none: 20 µs.
pub const STEP_FLOOR_MS: f64 = 0.020;
/// Differences of a prefill below this are as good as none: 100 µs.
pub const PREFILL_FLOOR_MS: f64 = 0.100;

/// What counts as a difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// Ratios within this factor of 1, in either direction, are as good as equal.
    pub margin: f64,
    /// Chance of a false alarm among all ratios that are judged together, and of a wrong `same` for each of them.
    pub alpha: f64,
}

impl Default for Rule {
    fn default() -> Self {
        Self { margin: MARGIN, alpha: 0.05 }
    }
}

impl Rule {
    /// Level of the interval that must lie within the margin: two one-sided tests.
    #[must_use]
    pub fn equivalence_level(self) -> f64 {
        1.0 - 2.0 * self.alpha
    }
}

/// How the second of two engines compares to the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineVerdict {
    /// It takes less time, by more than the margin.
    Faster,
    /// It takes more time, by more than the margin.
    Slower,
    /// It takes less time; whether by more than the margin is open.
    FasterExtentOpen,
    /// It takes more time; whether by more than the margin is open.
    SlowerExtentOpen,
    /// The difference lies within the margin, or below the floor.
    Same,
    /// None of these is known.
    NotSeparated,
    /// Nothing to compare, for the reason given.
    NotCompared,
}

impl EngineVerdict {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::FasterExtentOpen => "faster, extent open",
            Self::SlowerExtentOpen => "slower, extent open",
            Self::Same => "same",
            Self::NotSeparated => "not separated",
            Self::NotCompared => "not compared",
        }
    }

    /// The same, of the first engine compared to the second.
    #[must_use]
    pub fn turned(self) -> Self {
        match self {
            Self::Faster => Self::Slower,
            Self::Slower => Self::Faster,
            Self::FasterExtentOpen => Self::SlowerExtentOpen,
            Self::SlowerExtentOpen => Self::FasterExtentOpen,
            Self::Same | Self::NotSeparated | Self::NotCompared => self,
        }
    }

    /// Whether it says that the second engine takes less time, by however much.
    #[must_use]
    pub fn is_faster(self) -> bool {
        matches!(self, Self::Faster | Self::FasterExtentOpen)
    }

    /// Whether it says that the second engine takes more time, by however much.
    #[must_use]
    pub fn is_slower(self) -> bool {
        matches!(self, Self::Slower | Self::SlowerExtentOpen)
    }
}

/// A ratio to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Time of the second ÷ time of the first.
    pub ratio: LogEstimate,
    /// What the first takes per decode step, or per prefill: in what the floor is given.
    pub first_ms: f64,
    /// Differences below are as good as none.
    pub floor_ms: f64,
}

/// What a ratio is found to say among others.
#[derive(Debug, Clone, Copy)]
pub struct Judged {
    /// p of a ratio of 1.
    pub p: f64,
    /// The same, corrected after Holm.
    pub p_holm: f64,
    /// The same, after Benjamini and Hochberg.
    pub q: f64,
    /// What it says.
    pub verdict: EngineVerdict,
}

/// The floor of a mode.
#[must_use]
pub fn floor_ms(mode: Mode) -> f64 {
    if mode.is_of_steps() { STEP_FLOOR_MS } else { PREFILL_FLOOR_MS }
}

/// Judges ratios together. Beyond the margin is what Holm's adjusted interval lies beyond: the p of a ratio at the margin's
/// nearer end, corrected as the p of a ratio of 1 is.
///
/// # Errors
/// A ratio whose p is none, which none has that was estimated.
pub fn judge(asked: &[Asked], rule: Rule) -> Result<Vec<Judged>, InputError> {
    let equal: Vec<f64> = asked.iter().map(|asked| asked.ratio.p_of(1.0).unwrap_or(1.0)).collect();
    let within: Vec<f64> = asked.iter().map(|asked| asked.ratio.p_within(rule.margin).unwrap_or(1.0)).collect();
    let (p_holm, q, within) = (holm(&equal)?, benjamini_hochberg(&equal)?, holm(&within)?);
    let judged = asked.iter().enumerate().map(|(place, asked)| Judged {
        p: equal[place],
        p_holm: p_holm[place],
        q: q[place],
        verdict: asked.verdict(p_holm[place] <= rule.alpha, within[place] <= rule.alpha, rule),
    });
    Ok(judged.collect())
}

impl Asked {
    fn verdict(&self, differs: bool, beyond_margin: bool, rule: Rule) -> EngineVerdict {
        let faster = self.ratio.ln < 0.0;
        let above_floor = (self.first_ms * (self.ratio.value() - 1.0)).abs() > self.floor_ms;
        if beyond_margin && above_floor {
            return if faster { EngineVerdict::Faster } else { EngineVerdict::Slower };
        }
        if self.within_margin(rule) || self.below_floor(rule) {
            return EngineVerdict::Same;
        }
        match (differs && above_floor, faster) {
            (true, true) => EngineVerdict::FasterExtentOpen,
            (true, false) => EngineVerdict::SlowerExtentOpen,
            (false, _) => EngineVerdict::NotSeparated,
        }
    }

    /// Whether what is the same is so by the floor alone: the ratio may lie beyond the margin.
    #[must_use]
    pub fn is_same_by_floor(&self, verdict: EngineVerdict, rule: Rule) -> bool {
        verdict == EngineVerdict::Same && !self.within_margin(rule)
    }

    fn within_margin(&self, rule: Rule) -> bool {
        let interval = self.ratio.interval(rule.equivalence_level());
        interval.is_some_and(|interval| interval.low > 1.0 / rule.margin && interval.high < rule.margin)
    }

    fn below_floor(&self, rule: Rule) -> bool {
        let interval =
            self.ratio.interval(1.0 - rule.alpha).map(|interval| interval.map(|ratio| self.first_ms * (ratio - 1.0)));
        interval.is_some_and(|difference| difference.low > -self.floor_ms && difference.high < self.floor_ms)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn asked(ratio: f64, standard_error: f64) -> Asked {
        Asked {
            ratio: LogEstimate { ln: ratio.ln(), standard_error, df: 1e6 },
            first_ms: 10.0,
            floor_ms: STEP_FLOOR_MS,
        }
    }

    fn verdict(asked: Asked) -> EngineVerdict {
        judge(&[asked], Rule::default()).unwrap()[0].verdict
    }

    #[test]
    fn a_verdict_follows_interval_and_margin() {
        for (ratio, standard_error, expected) in [
            (0.70, 0.02, EngineVerdict::Faster),
            (1.40, 0.02, EngineVerdict::Slower),
            (0.95, 0.02, EngineVerdict::FasterExtentOpen),
            (1.05, 0.02, EngineVerdict::SlowerExtentOpen),
            (1.00, 0.005, EngineVerdict::Same),
            (1.01, 0.002, EngineVerdict::Same),
            (1.02, 0.05, EngineVerdict::NotSeparated),
            (0.70, 0.50, EngineVerdict::NotSeparated),
        ] {
            assert_eq!(verdict(asked(ratio, standard_error)), expected, "{ratio} ± {standard_error}");
        }
    }

    /// 20 % of 50 µs are 10 µs, which nobody notices.
    #[test]
    fn a_difference_below_the_floor_is_none() {
        let quick = Asked { first_ms: 0.050, ..asked(0.8, 0.01) };
        assert_eq!(verdict(quick), EngineVerdict::Same);
        assert_eq!(verdict(Asked { first_ms: 0.500, ..quick }), EngineVerdict::Faster);
        // What may lie on either side of the floor is not known.
        assert_eq!(verdict(Asked { first_ms: 0.099, ..quick }), EngineVerdict::NotSeparated);
    }

    #[test]
    fn one_of_many_must_stand_out_further() {
        let (alone, others) = (asked(0.90, 0.025), [asked(1.0, 0.2); 40]);
        assert_eq!(verdict(alone), EngineVerdict::Faster);
        let among: Vec<Asked> = [alone].into_iter().chain(others).collect();
        let judged = judge(&among, Rule::default()).unwrap()[0];
        assert_eq!(judged.verdict, EngineVerdict::FasterExtentOpen);
        assert!((judged.p_holm - 41.0 * judged.p).abs() < 1e-12 && judged.q <= judged.p_holm);
    }
}
