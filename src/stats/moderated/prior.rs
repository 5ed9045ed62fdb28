//! A prior for the variance of many cells, from those variances themselves.

use statrs::distribution::{ChiSquared, ContinuousCDF};
use statrs::function::gamma::digamma;

use crate::stats::summary::median;

/// A variance below this share of the median one is taken as that, so that a cell that happens not to vary at all does not
/// decide for all others; as limma does.
const LEAST_SHARE: f64 = 1e-5;

/// Degrees of freedom that stand for a prior without end: cells do not differ beyond chance.
const ENDLESS: f64 = 1e6;

/// Scaled inverse χ² prior of a variance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct VariancePrior {
    /// The variance that it expects, s0².
    pub(super) variance: f64,
    /// How many degrees of freedom it is worth, d0.
    pub(super) df: f64,
}

impl VariancePrior {
    /// From variances with their degrees of freedom, by the method of moments on their logarithms (Smyth 2004, section 6.2).
    ///
    /// `None`: fewer than two, or more than half of them 0.
    pub(super) fn of(variances: &[(f64, f64)]) -> Option<Self> {
        if variances.len() < 2 {
            return None;
        }
        let all: Vec<f64> = variances.iter().map(|(variance, _)| *variance).collect();
        let least = LEAST_SHARE * median(&all).filter(|middle| *middle > 0.0)?;
        let n = all.len() as f64;
        // ln s² less what its degrees of freedom make of it on average.
        let centred: Vec<f64> = variances
            .iter()
            .map(|(variance, df)| variance.max(least).ln() - digamma(df / 2.0) + (df / 2.0).ln())
            .collect();
        let mean = centred.iter().sum::<f64>() / n;
        let spread = centred.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let by_chance = variances.iter().map(|(_, df)| trigamma(df / 2.0)).sum::<f64>() / n;
        let df = inverse_trigamma(spread - by_chance).map_or(ENDLESS, |half| (2.0 * half).min(ENDLESS));
        let variance = (mean + digamma(df / 2.0) - (df / 2.0).ln()).exp();
        Some(Self { variance, df })
    }

    /// A cell's variance, given its own and this.
    pub(super) fn posterior(&self, own: f64, own_df: f64) -> f64 {
        (self.df * self.variance + own_df * own) / (self.df + own_df)
    }

    /// Whether chance puts a cell's variance so far above the prior's in fewer than this share of cells.
    pub(super) fn is_exceeded(&self, own: f64, own_df: f64, share: f64) -> bool {
        let limit = ChiSquared::new(own_df).ok().map(|chi| chi.inverse_cdf(1.0 - share) / own_df);
        limit.is_some_and(|limit| own > limit * self.variance)
    }
}

/// Second derivative of ln Γ for positive x: recurrence up to 12, then the asymptotic series (Abramowitz and Stegun 6.4.12).
fn trigamma(x: f64) -> f64 {
    let (mut x, mut sum) = (x, 0.0);
    while x < 12.0 {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let series = square * (1.0 / 6.0 - square * (1.0 / 30.0 - square * (1.0 / 42.0 - square / 30.0)));
    sum + 1.0 / x + square / 2.0 + series / x
}

/// The x with this trigamma, by halving; it falls from ∞ to 0. `None`: the value is not positive, and no x has it.
fn inverse_trigamma(value: f64) -> Option<f64> {
    if value.is_nan() || value <= 0.0 {
        return None;
    }
    let (mut low, mut high) = (-35.0_f64, 35.0_f64);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if trigamma(middle.exp()) > value { low = middle } else { high = middle }
    }
    Some(f64::midpoint(low, high).exp())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// `scipy.special.polygamma(1, x)`.
    #[test]
    fn trigamma_is_scipys_and_its_inverse_undoes_it() {
        for (x, expected) in [
            (0.5, 4.934_802_200_544_68),
            (1.0, 1.644_934_066_848_226_6),
            (2.5, 0.490_357_756_100_234_9),
            (4.5, 0.248_725_103_039_010_35),
            (30.0, 0.033_895_060_357_739_946),
        ] {
            assert!((trigamma(x) / expected - 1.0).abs() < 1e-12, "{x}: {} {expected}", trigamma(x));
            assert!((inverse_trigamma(trigamma(x)).unwrap() / x - 1.0).abs() < 1e-9, "{x}");
        }
        assert_eq!((inverse_trigamma(0.0), inverse_trigamma(-1.0), inverse_trigamma(f64::NAN)), (None, None, None));
    }

    /// What limma's `fitFDist` gives, computed by its formulas with SciPy.
    #[test]
    fn the_prior_is_the_one_of_the_paper() {
        let variances = [0.5, 1.2, 4.0, 0.1, 9.0, 2.5, 0.7, 30.0].map(|variance| (variance, 4.0));
        let prior = VariancePrior::of(&variances).unwrap();
        assert!(
            (prior.df / 1.500_282_879 - 1.0).abs() < 1e-8 && (prior.variance / 1.065_794_055 - 1.0).abs() < 1e-8,
            "{prior:?}"
        );
        let alike = [1.0, 1.1, 0.9, 1.0].map(|variance| (variance, 4.0));
        assert_eq!(VariancePrior::of(&alike).unwrap().df, ENDLESS);
        assert_eq!(VariancePrior::of(&[(1.0, 2.0)]), None);
        assert_eq!(VariancePrior::of(&[(0.0, 2.0), (0.0, 2.0), (1.0, 2.0)]), None);
    }

    #[test]
    fn only_what_chance_does_not_explain_is_beyond_the_prior() {
        let prior = VariancePrior { variance: 1.0, df: 10.0 };
        assert!(prior.is_exceeded(2.31, 2.0, 0.1) && !prior.is_exceeded(2.30, 2.0, 0.1));
        assert!((prior.posterior(7.0, 2.0) - 2.0).abs() < 1e-12);
    }
}
