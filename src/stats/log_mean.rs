//! The mean logarithm of a series in call order.

use crate::stats::{InputError, logs, moments, series};

/// Mean logarithm of a series with the error that its autocorrelation leaves it.
pub(in crate::stats) struct LogMean {
    pub(in crate::stats) mean: f64,
    pub(in crate::stats) variance_of_mean: f64,
    pub(in crate::stats) n: usize,
    pub(in crate::stats) n_effective: f64,
    pub(in crate::stats) rho1: f64,
}

impl LogMean {
    /// Of at least 3 positive values.
    pub(in crate::stats) fn of(values: &[f64]) -> Result<Self, InputError> {
        let y = logs("values", values, 3)?;
        let n = y.len();
        let (mean, spread) = (moments::mean(&y), moments::sd(&y).unwrap_or(0.0));
        let rho1 = series::persistence(series::autocorrelation(&y).unwrap_or(0.0), n, 1);
        let inflation = series::mean_inflation(n, rho1);
        let n_effective = n as f64 / inflation;
        // Autocorrelated values lie too close to their own mean: E[s²] = σ²·(n − inflation)/(n − 1).
        let variance = spread * spread * (n - 1) as f64 / (n as f64 - inflation);
        Ok(Self { mean, variance_of_mean: variance / n_effective, n, n_effective, rho1 })
    }

    /// Degrees of freedom of its variance.
    pub(in crate::stats) fn df(&self) -> f64 {
        self.n_effective - 1.0
    }
}

/// Degrees of freedom of the difference of two means, after Welch. NaN: neither varies.
pub(in crate::stats) fn welch_df(a: &LogMean, b: &LogMean) -> f64 {
    let variance = a.variance_of_mean + b.variance_of_mean;
    variance.powi(2) / (a.variance_of_mean.powi(2) / a.df() + b.variance_of_mean.powi(2) / b.df())
}
