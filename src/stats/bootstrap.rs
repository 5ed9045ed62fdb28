//! Pairs bootstrap of a slope: models are drawn with replacement, resamples with one x are dropped.
//!
//! Kept because the published figures were made so. At a handful of models it is too narrow; the
//! t interval beside it is the one to trust.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::stats::interval::Interval;
use crate::stats::{InputError, level_in_range, paired, varied};

/// Up to this many points every resample is enumerated: 6 435 multisets at 8.
pub const EXACT_UP_TO: usize = 8;
/// Resamples drawn above [`EXACT_UP_TO`].
pub const RESAMPLES: usize = 10_000;
/// Points beyond which [`FEWER_RESAMPLES`] are drawn: of so many the slopes of resamples are as good as normal, and what is left
/// to chance in the ends of their interval is small beside it.
pub const MANY_POINTS: usize = 10_000;
/// Resamples drawn of more points than [`MANY_POINTS`].
pub const FEWER_RESAMPLES: usize = 1_000;
/// Seed of those draws.
pub const SEED: u64 = 42;

/// How the resamples came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resampling {
    /// Every multiset of points, weighted by how often it is drawn: no chance in the result.
    Exact,
    /// Drawn at random.
    Sampled {
        /// How many were drawn.
        resamples: usize,
        /// The generator's seed.
        seed: u64,
    },
}

/// Percentile interval of a slope.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlopeBootstrap {
    /// The interval, linear between order statistics of all kept resamples.
    pub interval: Interval,
    /// How the resamples came about.
    pub resampling: Resampling,
    /// Share of resamples dropped because all their x were equal, 0 to 1.
    pub dropped: f64,
}

/// Bootstraps the slope of y on x, exactly for at most [`EXACT_UP_TO`] points.
///
/// # Errors
/// Fewer than 3 points, columns of different length, a value that is not finite, x constant.
pub fn slope(x: &[f64], y: &[f64], level: f64) -> Result<SlopeBootstrap, InputError> {
    if x.len() > MANY_POINTS {
        return sampled_at_once(x, y, level, FEWER_RESAMPLES, SEED);
    }
    if x.len() > EXACT_UP_TO {
        return sampled(x, y, level, RESAMPLES, SEED);
    }
    let points = Points::new(x, y, level)?;
    let mut slopes = Vec::new();
    points.enumerate(&mut slopes);
    Ok(points.interval(slopes, level, Resampling::Exact, points.all_resamples()))
}

/// Bootstraps the slope of y on x by `resamples` draws, whatever the number of points.
///
/// # Errors
/// As [`slope`], and fewer than 2 resamples.
pub fn sampled(x: &[f64], y: &[f64], level: f64, resamples: usize, seed: u64) -> Result<SlopeBootstrap, InputError> {
    let points = Points::new(x, y, level)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let slopes = (0..resamples).filter_map(|_| points.draw(&mut rng)).map(|slope| (slope, 1)).collect();
    points.of_draws(slopes, level, resamples, seed)
}

/// As [`sampled`], with a stream of random numbers for every resample, so that all processors draw.
fn sampled_at_once(
    x: &[f64],
    y: &[f64],
    level: f64,
    resamples: usize,
    seed: u64,
) -> Result<SlopeBootstrap, InputError> {
    let points = Points::new(x, y, level)?;
    let draw = |stream: usize| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream as u64);
        points.draw(&mut rng)
    };
    let slopes = (0..resamples).into_par_iter().filter_map(draw).map(|slope| (slope, 1)).collect();
    points.of_draws(slopes, level, resamples, seed)
}

/// Points relative to the first one, so that sums of squares keep their digits.
struct Points(Vec<(f64, f64)>);

impl Points {
    /// The slope of as many points, drawn with replacement. `None`: all have one x.
    fn draw(&self, rng: &mut ChaCha8Rng) -> Option<f64> {
        let mut sums = Sums::default();
        for _ in 0..self.0.len() {
            sums.add(self.0[rng.random_range(0..self.0.len())], 1);
        }
        sums.slope()
    }

    fn of_draws(
        &self,
        slopes: Vec<(f64, u64)>,
        level: f64,
        resamples: usize,
        seed: u64,
    ) -> Result<SlopeBootstrap, InputError> {
        if slopes.len() < 2 {
            return Err(InputError::TooFew { n: slopes.len(), needed: 2 });
        }
        let resampling = Resampling::Sampled { resamples, seed };
        Ok(self.interval(slopes, level, resampling, resamples as u64))
    }
}

impl Points {
    fn new(x: &[f64], y: &[f64], level: f64) -> Result<Self, InputError> {
        paired(x, y, 3)?;
        varied("x", x)?;
        level_in_range(level)?;
        Ok(Self(x.iter().zip(y).map(|(vx, vy)| (vx - x[0], vy - y[0])).collect()))
    }

    /// Slope and number of orderings of every multiset whose x differ.
    fn enumerate(&self, slopes: &mut Vec<(f64, u64)>) {
        let n = self.0.len() as u64;
        self.choose(0, n, (1..=n).product(), Sums::default(), slopes);
    }

    /// Takes 0 to `left` copies of point `index`, then goes on with the next. `orderings` is n! over the
    /// factorials of the counts taken so far.
    fn choose(&self, index: usize, left: u64, orderings: u64, sums: Sums, slopes: &mut Vec<(f64, u64)>) {
        let last = index + 1 == self.0.len();
        let mut orderings = orderings;
        for copies in 0..=left {
            orderings /= copies.max(1);
            if last && copies < left {
                continue;
            }
            let mut sums = sums;
            if copies > 0 {
                sums.add(self.0[index], copies);
            }
            if last {
                slopes.extend(sums.slope().map(|slope| (slope, orderings)));
            } else {
                self.choose(index + 1, left - copies, orderings, sums, slopes);
            }
        }
    }

    fn all_resamples(&self) -> u64 {
        let n = self.0.len();
        (0..n).map(|_| n as u64).product()
    }

    fn interval(&self, mut slopes: Vec<(f64, u64)>, level: f64, resampling: Resampling, all: u64) -> SlopeBootstrap {
        slopes.sort_by(|a, b| a.0.total_cmp(&b.0));
        let kept: u64 = slopes.iter().map(|(_, weight)| weight).sum();
        let tail = (1.0 - level) / 2.0;
        SlopeBootstrap {
            interval: Interval {
                low: weighted_quantile(&slopes, kept, tail),
                high: weighted_quantile(&slopes, kept, 1.0 - tail),
            },
            resampling,
            dropped: (all - kept) as f64 / all as f64,
        }
    }
}

/// Running sums of one resample.
#[derive(Clone, Copy)]
struct Sums {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    lowest: f64,
    highest: f64,
}

impl Default for Sums {
    fn default() -> Self {
        let (lowest, highest) = (f64::INFINITY, f64::NEG_INFINITY);
        Self { n: 0.0, x: 0.0, y: 0.0, xx: 0.0, xy: 0.0, lowest, highest }
    }
}

impl Sums {
    fn add(&mut self, (x, y): (f64, f64), copies: u64) {
        let k = copies as f64;
        self.n += k;
        self.x += k * x;
        self.y += k * y;
        self.xx += k * x * x;
        self.xy += k * x * y;
        self.lowest = self.lowest.min(x);
        self.highest = self.highest.max(x);
    }

    /// `None`: all x are equal, but for rounding.
    fn slope(&self) -> Option<f64> {
        let spread = self.n * self.xx - self.x * self.x;
        let slope = (self.n * self.xy - self.x * self.y) / spread;
        (self.highest > self.lowest && spread > 0.0 && slope.is_finite()).then_some(slope)
    }
}

/// Type 7 quantile of values that each stand for `weight` equal ones.
fn weighted_quantile(sorted: &[(f64, u64)], total: u64, p: f64) -> f64 {
    let position = p * (total - 1) as f64;
    let below = position.floor();
    let at = |rank: u64| {
        let mut seen = 0;
        sorted
            .iter()
            .find(|(_, weight)| {
                seen += weight;
                seen > rank
            })
            .map_or(f64::INFINITY, |(value, _)| *value)
    };
    let low = at(below as u64);
    let high = at((below as u64 + 1).min(total - 1));
    low + (position - below) * (high - low)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const X: [f64; 5] = [0.0, 1.0, 2.0, 3.0, 4.0];
    const Y: [f64; 5] = [0.3, 0.9, 2.4, 2.7, 4.4];

    #[test]
    fn enumeration_counts_every_resample_once() {
        let points = Points::new(&X, &Y, 0.95).unwrap();
        let mut slopes = Vec::new();
        points.enumerate(&mut slopes);
        // C(9,5) multisets, less the five that repeat one point; 5^5 draws, less those five.
        assert_eq!(slopes.len(), 126 - 5);
        assert_eq!(slopes.iter().map(|(_, weight)| weight).sum::<u64>(), 3125 - 5);
    }

    #[test]
    fn sampling_approaches_enumeration_and_repeats_with_its_seed() {
        let exact = slope(&X, &Y, 0.95).unwrap().interval;
        let drawn = sampled(&X, &Y, 0.95, 20_000, 7).unwrap();
        assert!((exact.low - drawn.interval.low).abs() < 0.02, "{exact:?} {drawn:?}");
        assert!((exact.high - drawn.interval.high).abs() < 0.02, "{exact:?} {drawn:?}");
        assert_eq!(drawn, sampled(&X, &Y, 0.95, 20_000, 7).unwrap());
    }

    #[test]
    fn of_many_points_fewer_resamples_give_the_interval_of_many() {
        let x: Vec<f64> = (0..=MANY_POINTS).map(|i| i as f64).collect();
        let y: Vec<f64> = x.iter().map(|x| 2.0 * x + (x * 12.9898).sin() * 5_000.0).collect();
        let fewer = slope(&x, &y, 0.95).unwrap();
        assert_eq!(fewer.resampling, Resampling::Sampled { resamples: FEWER_RESAMPLES, seed: SEED });
        assert_eq!(fewer, slope(&x, &y, 0.95).unwrap());
        let t = crate::stats::fit::line(&x, &y).unwrap().slope.interval;
        let width = t.high - t.low;
        let near = |a: f64, b: f64| (a - b).abs() < 0.1 * width;
        assert!(near(fewer.interval.low, t.low) && near(fewer.interval.high, t.high), "{fewer:?} {t:?}");
    }

    #[test]
    fn a_weight_stands_for_equal_values() {
        let spread = [(1.0, 2), (3.0, 1), (7.0, 3)];
        for (p, value) in [(0.0, 1.0), (0.2, 1.0), (0.3, 2.0), (0.5, 5.0), (1.0, 7.0)] {
            assert_eq!(weighted_quantile(&spread, 6, p), value, "p = {p}");
        }
    }

    #[test]
    fn equal_x_are_dropped_even_between_different_points() {
        let few = slope(&[1.0, 1.0, 2.0], &[1.0, 3.0, 5.0], 0.95).unwrap();
        // 2^3 draws of the first two points and one of the third alone.
        assert!((few.dropped - 9.0 / 27.0).abs() < 1e-12);
        assert!(slope(&[1.0; 4], &[1.0, 2.0, 3.0, 4.0], 0.95).is_err());
    }
}
