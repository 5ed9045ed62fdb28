//! The Mann-Whitney test of two independent samples, and the Hodges-Lehmann shift between them.
//!
//! Both go by order alone, so that a few slow calls move neither.

use statrs::distribution::{ContinuousCDF, Normal};
use statrs::function::erf::erfc;

use crate::stats::interval::Interval;
use crate::stats::midranks::midranks;
use crate::stats::{InputError, finite, level_in_range};

/// A sample of this size or less has its p counted out, unless values are equal: SciPy's rule.
pub const EXACT_UP_TO: usize = 8;

/// Most pairs for which p is counted out: beyond, the counts are more work than they are worth.
const MOST_COUNTED_PAIRS: usize = 2_000;

/// How two independent samples lie to each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MannWhitney {
    /// U of the second sample: pairs whose second value is the larger one, equal ones counted half.
    pub u: f64,
    /// Two-sided p of both samples coming from one distribution.
    pub p: f64,
    /// Whether p is counted out over all orders; else it is the normal approximation, corrected for ties and continuity.
    pub exact: bool,
    /// Hodges-Lehmann shift: the median of all differences second − first, in the unit of the values.
    pub shift: f64,
    /// Interval of the shift. `None`: so few values have none at this level, whatever they are.
    pub shift_interval: Option<Interval>,
}

/// Compares two samples of independent values, e.g. the latencies of the calls of two engines.
///
/// The interval's ends are the differences whose places the test's own distribution gives (Hollander, Wolfe and Chicken
/// 2014, section 4.3), without correction for ties, which makes it wider rather than narrower.
///
/// # Errors
/// No value in a sample, one that is not finite, `level` not between 0 and 1.
pub fn mann_whitney(first: &[f64], second: &[f64], level: f64) -> Result<MannWhitney, InputError> {
    finite("first", first, 1)?;
    finite("second", second, 1)?;
    level_in_range(level)?;
    let pooled = midranks(&[first, second].concat());
    let (n, m) = (first.len() as f64, second.len() as f64);
    let rank_sum: f64 = pooled.ranks[first.len()..].iter().sum();
    let u = rank_sum - m * (m + 1.0) / 2.0;
    let larger = u.max(n * m - u);
    let exact = pooled.ties == 0.0
        && first.len().min(second.len()) <= EXACT_UP_TO
        && first.len() * second.len() <= MOST_COUNTED_PAIRS;
    let tail = (1.0 - level) / 2.0;
    let (p, place) = if exact {
        let orders = Orders::of(first.len(), second.len());
        (2.0 * orders.at_least(larger), orders.outermost(tail))
    } else {
        (2.0 * normal_tail(larger, n, m, pooled.ties), normal_place(tail, n, m))
    };
    let differences = Differences::new(first, second);
    let (low, high) = (differences.count().div_ceil(2), differences.count() / 2 + 1);
    let bounds = |place| Interval {
        low: differences.nth_smallest(place),
        high: differences.nth_smallest(differences.count() + 1 - place),
    };
    Ok(MannWhitney {
        u,
        p: p.min(1.0),
        exact,
        shift: middle(differences.nth_smallest(low), differences.nth_smallest(high)),
        shift_interval: place.map(bounds),
    })
}

fn middle(low: f64, high: f64) -> f64 {
    low + (high - low) / 2.0
}

/// P(U ≥ u) by the normal approximation, corrected for ties and continuity.
fn normal_tail(u: f64, n: f64, m: f64, ties: f64) -> f64 {
    let total = n + m;
    let variance = n * m / 12.0 * ((total + 1.0) - ties / (total * (total - 1.0)));
    if variance <= 0.0 {
        // All values are equal.
        return 1.0;
    }
    let z = (u - n * m / 2.0 - 0.5) / variance.sqrt();
    0.5 * erfc(z / std::f64::consts::SQRT_2)
}

/// Place of the difference that bounds the shift with `tail` beyond, from either end. `None`: there is none.
fn normal_place(tail: f64, n: f64, m: f64) -> Option<usize> {
    let z = Normal::standard().inverse_cdf(1.0 - tail);
    let place = (n * m / 2.0 + 0.5 - z * (n * m * (n + m + 1.0) / 12.0).sqrt()).floor();
    (place >= 1.0).then_some(place as usize)
}

/// How many of the orders of two samples without ties have each U.
struct Orders {
    /// By U, from 0.
    counts: Vec<i64>,
    total: f64,
}

impl Orders {
    /// The coefficients of the Gaussian binomial (n + m over n): Π (1 − qᵐ⁺ⁱ) ÷ (1 − qⁱ). Whole numbers below 2⁵³ at most.
    fn of(n: usize, m: usize) -> Self {
        let (fewer, more) = (n.min(m), n.max(m));
        let mut counts = vec![0_i64; n * m + 1];
        counts[0] = 1;
        for i in 1..=fewer {
            for u in (more + i..counts.len()).rev() {
                counts[u] -= counts[u - more - i];
            }
            for u in i..counts.len() {
                counts[u] += counts[u - i];
            }
        }
        let total = counts.iter().sum::<i64>() as f64;
        Self { counts, total }
    }

    /// P(U ≥ u).
    fn at_least(&self, u: f64) -> f64 {
        self.counts[u as usize..].iter().sum::<i64>() as f64 / self.total
    }

    /// The largest place whose difference has at most `tail` beyond it. `None`: the outermost has more.
    fn outermost(&self, tail: f64) -> Option<usize> {
        let mut beyond = 0;
        let place = self.counts.iter().take_while(|count| {
            beyond += **count;
            beyond as f64 / self.total <= tail
        });
        Some(place.count()).filter(|&place| place > 0)
    }
}

/// All differences second − first, never written out: a million calls would have billions.
struct Differences {
    /// Ascending.
    first: Vec<f64>,
    /// Ascending.
    second: Vec<f64>,
}

impl Differences {
    fn new(first: &[f64], second: &[f64]) -> Self {
        let sorted = |values: &[f64]| {
            let mut sorted = values.to_vec();
            sorted.sort_by(f64::total_cmp);
            sorted
        };
        Self { first: sorted(first), second: sorted(second) }
    }

    fn count(&self) -> usize {
        self.first.len() * self.second.len()
    }

    /// How many differences are at most `limit`. Rounded differences rise with the one value and fall with the other as
    /// exact ones do.
    fn at_most(&self, limit: f64) -> usize {
        let (mut beyond, mut found) = (0, 0);
        for value in &self.second {
            while beyond < self.first.len() && value - self.first[beyond] > limit {
                beyond += 1;
            }
            found += self.first.len() - beyond;
        }
        found
    }

    /// The difference at a place, from 1: halves the range of floating-point numbers until one is left.
    fn nth_smallest(&self, place: usize) -> f64 {
        let (Some((least, most)), Some((smallest, largest))) = (ends(&self.first), ends(&self.second)) else {
            return f64::NAN;
        };
        let (mut low, mut high) = (ordered(smallest - most), ordered(largest - least));
        while low < high {
            let half = low + (high - low) / 2;
            if self.at_most(number(half)) >= place {
                high = half;
            } else {
                low = half + 1;
            }
        }
        number(low)
    }
}

fn ends(sorted: &[f64]) -> Option<(f64, f64)> {
    sorted.first().copied().zip(sorted.last().copied())
}

/// Numbers in ascending order as whole numbers in ascending order.
fn ordered(value: f64) -> i128 {
    // Adding 0 makes one zero of two.
    let bits = i128::from((value + 0.0).to_bits());
    const SIGN: i128 = 1 << 63;
    if bits >= SIGN { SIGN - bits } else { bits }
}

/// The inverse of [`ordered`].
fn number(order: i128) -> f64 {
    let magnitude = u64::try_from(order.unsigned_abs()).unwrap_or(u64::MAX);
    let value = f64::from_bits(magnitude);
    if order < 0 { -value } else { value }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_found_at_its_place() {
        let (first, second) = ([3.0, -1.5, 0.0, 2.5, 1e-9], [2.5, 0.0, 7.25, -1e300, 1e139]);
        let mut all: Vec<f64> = second.iter().flat_map(|s| first.iter().map(move |f| s - f)).collect();
        all.sort_by(f64::total_cmp);
        let differences = Differences::new(&first, &second);
        for (place, expected) in (1..).zip(all) {
            assert_eq!(differences.nth_smallest(place), expected, "{place}");
        }
    }

    #[test]
    fn orders_are_counted_as_by_hand() {
        assert_eq!(Orders::of(2, 3).counts, [1, 1, 2, 2, 2, 1, 1]);
        assert_eq!(Orders::of(8, 250).total, 436_355_999_662_176.0, "the number of ways to choose 8 of 258");
        assert_eq!(Orders::of(3, 5).counts, Orders::of(5, 3).counts);
    }

    #[test]
    fn three_calls_a_side_have_no_interval_and_four_have_one() {
        let three = mann_whitney(&[1.0, 2.0, 3.0], &[4.0, 5.5, 6.0], 0.95).unwrap();
        assert_eq!((three.u, three.exact, three.shift_interval), (9.0, true, None));
        assert!((three.p - 0.1).abs() < 1e-15);
        let four = mann_whitney(&[1.0, 2.0, 3.0, 3.5], &[4.0, 5.5, 6.0, 7.0], 0.95).unwrap();
        assert_eq!(four.shift_interval, Some(Interval { low: 0.5, high: 6.0 }));
    }

    #[test]
    fn equal_values_have_no_shift_and_no_doubt_of_it() {
        let same = mann_whitney(&[2.0; 5], &[2.0; 9], 0.95).unwrap();
        assert_eq!((same.u, same.p, same.exact, same.shift), (22.5, 1.0, false, 0.0));
        assert!(mann_whitney(&[], &[1.0], 0.95).is_err() && mann_whitney(&[1.0], &[f64::NAN], 0.95).is_err());
    }

    /// A fleet's month: a hundred thousand calls a side have ten billion differences.
    #[test]
    fn many_calls_take_no_room() {
        let first: Vec<f64> = (0..100_000).map(|i| f64::from(i) * 1e-3).collect();
        let second: Vec<f64> = first.iter().map(|v| v + 0.25).collect();
        let found = mann_whitney(&first, &second, 0.95).unwrap();
        assert!((found.shift - 0.25).abs() < 1e-9, "{found:?}");
    }
}
