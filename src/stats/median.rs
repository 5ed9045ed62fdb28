//! Where a sample's median lies, whatever the shape of its distribution.

use super::interval::Interval;
use super::summary::median;

/// A median with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Median {
    /// Of the sample.
    pub value: f64,
    /// Between two values of the sample; at least at the level asked for. `None`: too few values for any, fewer than 6 at 95 %.
    pub interval: Option<Interval>,
}

/// Median of unsorted values with the interval of the sign test: between the k-th value and the k-th last, where fewer than
/// k of n fair coins show heads with a probability of at most (1 − level) ÷ 2.
///
/// Source: Conover, Practical Nonparametric Statistics, 3rd edition, section 3.2. `None`: no value, or one not finite.
///
/// ```
/// let speeds = [9.0, 1.0, 8.0, 7.0, 8.5, 7.5];
/// let found = phasebench_ground::stats::median::located(&speeds, 0.95).unwrap();
/// assert_eq!((found.value, found.interval.unwrap().low), (7.75, 1.0));
/// ```
#[must_use]
pub fn located(values: &[f64], level: f64) -> Option<Median> {
    let value = median(values)?;
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let cut = beyond(sorted.len(), (1.0 - level) / 2.0);
    let interval = cut.map(|k| Interval { low: sorted[k - 1], high: sorted[sorted.len() - k] });
    Some(Median { value, interval })
}

/// The largest k such that fewer than k of n fair coins show heads with a probability of at most `tail`. `None`: there is none.
#[expect(clippy::cast_precision_loss, reason = "counts of values")]
fn beyond(n: usize, tail: f64) -> Option<usize> {
    let mut probability = 0.5_f64.powi(i32::try_from(n).ok()?);
    let (mut together, mut k) = (0.0, 0);
    while together + probability <= tail && k < n / 2 {
        together += probability;
        probability *= (n - k) as f64 / (k + 1) as f64;
        k += 1;
    }
    (k > 0).then_some(k)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Conover's table of the binomial distribution: 5 to 6 values give none, 9 the second, 15 the fourth, 20 the sixth.
    #[test]
    fn the_interval_is_that_of_the_sign_test() {
        for (n, k) in
            [(5, None), (6, Some(1)), (8, Some(1)), (9, Some(2)), (15, Some(4)), (20, Some(6)), (40, Some(14))]
        {
            assert_eq!(beyond(n, 0.025), k, "{n} values");
        }
        let values: Vec<f64> = (1..=9).rev().map(f64::from).collect();
        let found = located(&values, 0.95).unwrap();
        assert_eq!((found.value, found.interval), (5.0, Some(Interval { low: 2.0, high: 8.0 })));
        assert_eq!(located(&[1.0, 2.0], 0.95).unwrap().interval, None);
        assert_eq!(located(&[], 0.95), None);
    }

    /// One slow stretch moves neither the median nor its interval beyond the others.
    #[test]
    fn an_outlier_does_not_carry_the_interval_away() {
        let found = located(&[10.0, 10.1, 9.9, 10.0, 0.1, 10.2, 9.8, 10.0, 10.1], 0.95).unwrap();
        assert!(found.interval.unwrap().low > 9.7, "{found:?}");
    }
}
