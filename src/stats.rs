//! `f64` in, estimates out; knows nothing of ours.
//!
//! - [`summary`] describes one sample; [`series`] one in call order (autocorrelation, drift).
//! - [`location`] estimates a cell's latency with an interval and decides when enough calls were made; [`pooled`] has the
//!   errors of cells that are added up.
//!   [`moderated`] locates cells from sessions, with what they know of each other.
//! - [`fit`] draws lines and power laws through models, with [`measured`] such as have known errors,
//!   [`multivariate`] with two predictors,
//!   [`rank`] by order alone; [`bootstrap`] gives the second interval and [`gate`] the verdict.
//! - [`compare`] holds the classical tests between groups, [`mann_whitney`] and [`kruskal`] those by order alone, [`fisher`] of counts,
//!   [`multiplicity`] corrects for many at once; [`log_estimate`] is for ratios and what else is known on logarithms.
//!
//! Nothing here panics or returns NaN: a sample that cannot be used gives an [`InputError`], a figure
//! that a usable sample does not define is `None`.

pub mod bootstrap;
pub mod change_points;
pub mod compare;
pub mod fisher;
pub mod fit;
pub mod gate;
mod input;
pub mod interval;
pub mod kruskal;
pub mod location;
pub mod log_estimate;
mod log_mean;
pub mod mann_whitney;
pub mod measured;
pub mod median;
mod midranks;
pub mod moderated;
mod moments;
pub mod multiplicity;
pub mod multivariate;
pub mod pooled;
pub mod rank;
pub mod reuse;
pub mod series;
#[cfg(test)]
mod simulation;
pub mod student;
pub mod summary;

pub use input::{InputError, LEVEL, brief};
use input::{finite, level_in_range, logs, paired, rankable, varied};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::interval::Interval;

    /// Anything a file may hold: ordinary latencies, ties, zeros, extremes, NaN.
    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            6 => 0.1..1000.0,
            2 => (1..4_i32).prop_map(f64::from),
            1 => any::<f64>(),
            1 => prop::sample::select(vec![0.0, f64::NAN, f64::INFINITY, 1e-300, 1e140, 1.0 + 1e-15]),
        ]
    }

    fn columns() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
        prop::collection::vec((value(), value()), 0..8).prop_map(|rows| rows.into_iter().unzip())
    }

    fn numbers(interval: Interval) -> bool {
        !interval.low.is_nan() && !interval.high.is_nan() && interval.low <= interval.high
    }

    proptest! {
        #[test]
        fn no_input_gives_nan_or_a_panic((x, y) in columns()) {
            for judged in [fit::scaling(&x, &y).map(|s| (s.fit.logs, s.bootstrap)),
                           fit::affine(&x, &y).map(|a| (a.fit, a.bootstrap))].into_iter().flatten() {
                let (line, bootstrap) = judged;
                prop_assert!(numbers(line.slope.interval) && numbers(line.intercept.interval), "{line:?}");
                prop_assert!(numbers(bootstrap.interval), "{bootstrap:?}");
                prop_assert!(!line.r2.is_nan() && !line.sigma.is_nan(), "{line:?}");
            }
            if let Ok(plane) = multivariate::power_law(&x, &y, &x.iter().rev().copied().collect::<Vec<_>>()) {
                prop_assert!(numbers(plane.first.interval) && numbers(plane.second.interval), "{plane:?}");
                prop_assert!(!plane.r2.is_nan() && plane.condition_number >= 1.0, "{plane:?}");
            }
            if let Ok(found) = rank::spearman(&x, &y) {
                prop_assert!(found.rho.abs() <= 1.0 && (0.0..=1.0).contains(&found.p_t), "{found:?}");
                prop_assert!(found.p_exact.is_some_and(|p| p > 0.0 && p <= 1.0), "{found:?}");
            }
            if let Ok(drift) = series::drift(&x) {
                prop_assert!((0.0..=1.0).contains(&drift.p) && !drift.relative_change.is_nan(), "{drift:?}");
            }
            if let Ok(location) = location::adaptive_location(&x, LEVEL) {
                prop_assert!(numbers(location.interval), "{location:?}");
                prop_assert!(!location.relative_half_width.is_nan(), "{location:?}");
            }
            if let Ok(summary) = summary::Summary::of(&x) {
                prop_assert!(summary.min <= summary.median && summary.median <= summary.max, "{summary:?}");
                prop_assert!(summary.sd.is_none_or(|sd| sd >= 0.0), "{summary:?}");
            }
        }
    }
}
