//! The Kruskal-Wallis test: do several independent samples lie at the same place?

use statrs::distribution::{ChiSquared, ContinuousCDF};

use crate::stats::midranks::midranks;
use crate::stats::{InputError, finite};

/// Outcome of a Kruskal-Wallis test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KruskalWallis {
    /// H, corrected for ties.
    pub h: f64,
    /// Degrees of freedom: samples − 1.
    pub df: f64,
    /// p of all samples coming from one distribution, by χ²: rough below 5 values a sample.
    pub p: f64,
}

/// Compares samples of independent values, e.g. the latencies of the calls of three engines. `Ok(None)`: all values are
/// equal.
///
/// # Errors
/// Fewer than 2 samples, a sample without a value, or one that is not finite.
pub fn kruskal_wallis(samples: &[&[f64]]) -> Result<Option<KruskalWallis>, InputError> {
    if samples.len() < 2 {
        return Err(InputError::TooFew { n: samples.len(), needed: 2 });
    }
    for sample in samples {
        finite("values", sample, 1)?;
    }
    let pooled = midranks(&samples.concat());
    let total = pooled.ranks.len() as f64;
    let correction = 1.0 - pooled.ties / (total * total * total - total);
    if correction <= 0.0 {
        return Ok(None);
    }
    let (mut from, mut squares) = (0, 0.0);
    for sample in samples {
        let ranks = &pooled.ranks[from..from + sample.len()];
        squares += ranks.iter().sum::<f64>().powi(2) / ranks.len() as f64;
        from += sample.len();
    }
    let h = (12.0 / (total * (total + 1.0)) * squares - 3.0 * (total + 1.0)) / correction;
    let df = (samples.len() - 1) as f64;
    let p = ChiSquared::new(df).map_or(f64::NAN, |chi_squared| chi_squared.sf(h.max(0.0)));
    Ok(Some(KruskalWallis { h, df, p }))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_no_test() {
        assert_eq!(kruskal_wallis(&[&[1.0, 1.0], &[1.0]]).unwrap(), None);
        assert!(kruskal_wallis(&[&[1.0, 2.0]]).is_err() && kruskal_wallis(&[&[1.0], &[]]).is_err());
    }

    #[test]
    fn samples_apart_are_told_apart() {
        let apart = kruskal_wallis(&[&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0], &[7.0, 8.0, 9.0]]).unwrap().unwrap();
        assert!((apart.h - 7.2).abs() < 1e-12 && (apart.p - (-3.6_f64).exp()).abs() < 1e-12, "{apart:?}");
    }
}
