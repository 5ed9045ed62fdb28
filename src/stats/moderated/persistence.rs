//! How much values repeat the one before, from several short series of the same process.

use std::collections::BTreeMap;

use crate::stats::series::{MAX_RHO, variance_of_mean};

fn power(rho: f64, n: usize) -> f64 {
    rho.powi(i32::try_from(n).unwrap_or(i32::MAX))
}

/// Series of deviations from their own means, pooled.
pub(super) struct Persistence {
    /// Lag-1 products ÷ squares, over all series.
    found: f64,
    /// How many series there are of each length.
    lengths: BTreeMap<usize, f64>,
}

impl Persistence {
    /// Of deviations, each series in order.
    pub(super) fn of(series: &[Vec<f64>]) -> Self {
        let products: f64 = series.iter().flat_map(|y| y.windows(2)).map(|pair| pair[0] * pair[1]).sum();
        let squares: f64 = series.iter().flatten().map(|d| d * d).sum();
        let mut lengths = BTreeMap::new();
        for y in series.iter().filter(|y| y.len() > 1) {
            *lengths.entry(y.len()).or_insert(0.0) += 1.0;
        }
        Self { found: if squares > 0.0 { products / squares } else { 0.0 }, lengths }
    }

    /// The autocorrelation of `evidence` values, never below 0, drawn towards `prior`, which counts for `weight` of them.
    pub(super) fn drawn_towards(&self, prior: f64, evidence: f64, weight: f64) -> f64 {
        (evidence * self.estimate() + weight * prior) / (evidence + weight)
    }

    /// The autocorrelation that series of these lengths show as the one found: short ones show too little of it, since
    /// they are held against their own means.
    fn estimate(&self) -> f64 {
        if self.lengths.is_empty() || self.found <= self.shown(0.0) {
            return 0.0;
        }
        let (mut low, mut high) = (0.0, MAX_RHO);
        for _ in 0..30 {
            let middle = f64::midpoint(low, high);
            if self.shown(middle) < self.found { low = middle } else { high = middle }
        }
        f64::midpoint(low, high)
    }

    /// Ratio of the expected lag-1 products to the expected squares, where neighbours correlate by `rho`.
    fn shown(&self, rho: f64) -> f64 {
        let (mut products, mut squares) = (0.0, 0.0);
        for (&length, &count) in &self.lengths {
            let n = length as f64;
            let of_mean = variance_of_mean(length, rho);
            let first_with_mean = (1.0 - power(rho, length)) / (1.0 - rho) / n;
            products += count * ((n - 1.0) * (rho + of_mean) - 2.0 * (n * of_mean - first_with_mean));
            squares += count * n * (1.0 - of_mean);
        }
        products / squares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the double sums that it stands for.
    #[test]
    fn what_a_short_series_shows_is_the_expectation() {
        let (length, rho) = (5_usize, 0.6_f64);
        let covariance = |i: usize, j: usize| rho.powi(i32::try_from(i.abs_diff(j)).unwrap_or(0));
        let n = length as f64;
        let row_mean = |i: usize| (0..length).map(|k| covariance(i, k)).sum::<f64>() / n;
        let mean = (0..length).map(row_mean).sum::<f64>() / n;
        let centred = |i: usize, j: usize| covariance(i, j) - row_mean(i) - row_mean(j) + mean;
        let products: f64 = (0..length - 1).map(|i| centred(i, i + 1)).sum();
        let squares: f64 = (0..length).map(|i| centred(i, i)).sum();
        let pooled = Persistence { found: products / squares, lengths: BTreeMap::from([(length, 3.0)]) };
        assert!((pooled.shown(rho) - products / squares).abs() < 1e-12);
        assert!((pooled.estimate() - rho).abs() < 1e-6);
        assert!((pooled.drawn_towards(0.0, 30.0, 10.0) - 0.45).abs() < 1e-6);
    }

    #[test]
    fn white_series_show_less_than_nothing_and_are_taken_as_white() {
        let white = Persistence { found: -0.2, lengths: BTreeMap::from([(5, 4.0)]) };
        assert!((white.shown(0.0) + 0.2).abs() < 1e-12);
        assert_eq!(white.estimate(), 0.0);
        assert_eq!(Persistence::of(&[vec![0.0]]).estimate(), 0.0);
    }
}
