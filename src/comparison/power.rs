//! What a comparison could have found, and what it would take to find more.

use crate::analysis::engines::Rule;
use crate::stats::student;

use super::effect::{Basis, Effect, SessionVariance};

/// More sessions than this are never asked for.
const MOST_SESSIONS: u32 = 100;
/// How often so many sessions would decide: 80 of 100.
const DECIDES: f64 = 0.80;
/// How often a change is found that is said to be found: 95 of 100.
pub const FINDS: f64 = 0.95;

/// What is known of one cell's noise, and among how many it is judged.
#[derive(Debug, Clone, Copy)]
pub struct Noise {
    /// Of a session's mean, or of a block's difference.
    pub variance: SessionVariance,
    /// What it rests on.
    pub basis: Basis,
    /// What either side may be off by. Unit: natural logarithm.
    pub allowance_ln: f64,
    /// Cells that are judged together.
    pub family: usize,
}

impl Noise {
    /// Of an effect. `None`: one session a side, so that nothing is known.
    #[must_use]
    pub fn of(effect: &Effect, allowance_ln: f64, family: usize) -> Option<Self> {
        Some(Self { variance: effect.variance?, basis: effect.basis, allowance_ln, family })
    }

    /// Standard error and degrees of freedom with so many sessions a side.
    fn with(&self, sessions: u32) -> (f64, f64) {
        let n = f64::from(sessions);
        let (share, own_df) = if self.basis == Basis::Blocks { (1.0 / n, n - 1.0) } else { (2.0 / n, 2.0 * (n - 1.0)) };
        let error = (self.variance.value * share + 2.0 * self.allowance_ln.powi(2)).sqrt();
        (error, own_df + self.variance.lent_df)
    }

    /// Sessions a side with which a true logarithm so far beyond the margin would be told to be, in `power` of 1 runs. `None`:
    /// more than are ever asked for.
    fn enough(&self, distance_ln: f64, level: f64, power: f64) -> Option<u32> {
        (2..=MOST_SESSIONS).find(|&sessions| {
            let (error, df) = self.with(sessions);
            let critical = student::critical(level, df).zip(student::critical(2.0 * power - 1.0, df));
            critical.is_some_and(|(level, power)| (level + power) * error < distance_ln)
        })
    }

    /// Sessions a side that would decide whether a cell that looks like this is the same or not, in 80 of 100 runs.
    /// `None`: more than 100, because it lies at the margin or the machine's drift hides it.
    #[must_use]
    pub fn sessions_to_decide(&self, ln: f64, rule: Rule) -> Option<u32> {
        let beyond = ln.abs() - rule.margin.ln();
        let level = if beyond > 0.0 { one_of(self.family, rule) } else { rule.equivalence_level() };
        self.enough(beyond.abs(), level, DECIDES)
    }

    /// Sessions a side with which a true change by this factor is called beyond the margin in 95 of 100 runs. `None`: more
    /// than 100, or the factor lies within the margin.
    #[must_use]
    pub fn sessions_to_find(&self, factor: f64, rule: Rule) -> Option<u32> {
        let beyond = factor.ln().abs() - rule.margin.ln();
        (beyond > 0.0).then(|| self.enough(beyond, one_of(self.family, rule), FINDS))?
    }
}

/// The level at which the first of so many cells must stand out.
#[must_use]
pub fn one_of(family: usize, rule: Rule) -> f64 {
    1.0 - rule.alpha / family.max(1) as f64
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn noise_and_drift_ask_for_more_sessions() {
        let noise = |variance: f64, allowance_ln| Noise {
            variance: SessionVariance { value: variance, lent_df: 1e6 },
            basis: Basis::Sessions,
            allowance_ln,
            family: 1,
        };
        let rule = Rule::default();
        // 3.605 errors of 0.02·√(2/n) must fit between 1.03 and 1.10.
        assert_eq!(noise(0.0004, 0.0).sessions_to_find(1.10, rule), Some(3));
        assert!(noise(0.0004, 0.0).sessions_to_find(1.05, rule).unwrap() > 20);
        assert_eq!(noise(0.0004, 0.05).sessions_to_find(1.10, rule), None);
        assert_eq!(noise(0.0004, 0.0).sessions_to_find(1.02, rule), None);
        assert_eq!(noise(0.0004, 0.0).sessions_to_decide(rule.margin.ln(), rule), None);
        let blocks = Noise { basis: Basis::Blocks, ..noise(0.0004, 0.0) };
        assert!(blocks.sessions_to_decide(0.0, rule) < noise(0.0004, 0.0).sessions_to_decide(0.0, rule));
    }
}
