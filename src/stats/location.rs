//! A cell's latency with its interval, and when enough calls were made.

use crate::stats::interval::Interval;
use crate::stats::log_mean::LogMean;
use crate::stats::{InputError, level_in_range, student};

/// Calls before which no series is called narrow: its spread and autocorrelation are unknown.
pub const NEVER_BEFORE: usize = 8;
/// Widening of an interval whose number of calls was decided by looking at it. Looking stops early where
/// the spread happens to look small, so that an unwidened interval covers too rarely (92 % instead of
/// 95 % at 5 % noise and 200 calls); with this factor the promised level is kept over all cells together.
/// No factor keeps it among those few cells alone that stop early by luck where `max` is too low for
/// their noise: a narrow interval is what selected them.
pub const LOOKING: f64 = 1.15;

/// Where a series of latencies lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogLocation {
    /// `exp` of the mean logarithm, in the unit of the values: the geometric mean, which is the median of
    /// log-normal latencies.
    pub estimate: f64,
    /// Interval of the estimate, in the unit of the values; symmetric in ratio.
    pub interval: Interval,
    /// Half the interval's width ÷ estimate: 0.02 is ±2 %.
    pub relative_half_width: f64,
    /// How many calls.
    pub n: usize,
    /// How many independent calls they are worth.
    pub n_effective: f64,
    /// The lag-1 autocorrelation reckoned with, see [`super::series::effective_n`].
    pub rho1: f64,
}

/// Locates positive values in call order: a t interval on their logarithms, its variance and degrees of
/// freedom corrected for AR(1) autocorrelation. For a number of calls fixed beforehand.
///
/// # Errors
/// Fewer than 3 values, one not finite or not positive, `level` not between 0 and 1.
pub fn log_location(values: &[f64], level: f64) -> Result<LogLocation, InputError> {
    locate(values, level, 1.0)
}

/// [`log_location`] for a number of calls that [`narrow_enough`] decided: wider by [`LOOKING`].
///
/// # Errors
/// As [`log_location`].
pub fn adaptive_location(values: &[f64], level: f64) -> Result<LogLocation, InputError> {
    locate(values, level, LOOKING)
}

fn locate(values: &[f64], level: f64, widening: f64) -> Result<LogLocation, InputError> {
    let log = LogMean::of(values)?;
    level_in_range(level)?;
    let critical = student::critical(level, log.df()).ok_or(InputError::TooFew { n: log.n, needed: 3 })?;
    let half_width = widening * critical * log.variance_of_mean.sqrt();
    Ok(LogLocation {
        estimate: log.mean.exp(),
        interval: Interval::around(log.mean, half_width).map(f64::exp),
        relative_half_width: half_width.sinh(),
        n: log.n,
        n_effective: log.n_effective,
        rho1: log.rho1,
    })
}

/// Whether a cell has enough calls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StopDecision {
    /// Make another call.
    Continue,
    /// Make no more.
    Stop {
        /// Which rule stopped it.
        reason: StopReason,
        /// Relative half-width of [`adaptive_location`] at 95 %. `None`: too few values, or one that has
        /// no logarithm.
        relative_ci: Option<f64>,
    },
}

/// Which rule stopped a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The interval is narrow enough.
    Narrow,
    /// All allowed calls are made.
    Max,
}

/// Decides from a cell's timed calls so far, in call order, whether to go on.
///
/// A cell stops after `max` calls, or earlier, but after at least `min` and [`NEVER_BEFORE`] calls, when
/// the half-width of its 95 % [`adaptive_location`] is at most `until_relative_ci` of the estimate. Three
/// calls say nothing about their own autocorrelation, which is why `min` alone does not suffice.
/// Pure: the same calls give the same decision on resume and on replay.
#[must_use]
pub fn narrow_enough(values: &[f64], min: usize, max: usize, until_relative_ci: f64) -> StopDecision {
    let relative_ci = adaptive_location(values, crate::stats::LEVEL).ok().map(|l| l.relative_half_width);
    let narrow = relative_ci.is_some_and(|width| width <= until_relative_ci);
    if narrow && values.len() >= min.max(NEVER_BEFORE) {
        StopDecision::Stop { reason: StopReason::Narrow, relative_ci }
    } else if values.len() >= max {
        StopDecision::Stop { reason: StopReason::Max, relative_ci }
    } else {
        StopDecision::Continue
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const CALLS: [f64; 9] = [10.0, 10.1, 9.9, 10.05, 10.0, 9.95, 10.02, 10.0, 9.98];

    #[test]
    fn quiet_calls_stop_at_the_floor_and_no_earlier() {
        for n in 0..NEVER_BEFORE {
            assert_eq!(narrow_enough(&CALLS[..n], 3, 30, 0.02), StopDecision::Continue, "n = {n}");
        }
        let StopDecision::Stop { reason, relative_ci } = narrow_enough(&CALLS[..8], 3, 30, 0.02) else {
            unreachable!("eight quiet calls are enough")
        };
        assert_eq!(reason, StopReason::Narrow);
        assert!(relative_ci.unwrap() < 0.02);
        assert_eq!(narrow_enough(&CALLS, 10, 30, 0.02), StopDecision::Continue, "min holds");
    }

    #[test]
    fn noisy_calls_stop_at_max_whatever_they_are() {
        let noisy = [10.0, 20.0, 5.0];
        assert!(matches!(
            narrow_enough(&noisy, 3, 3, 0.02),
            StopDecision::Stop { reason: StopReason::Max, relative_ci: Some(width) } if width > 0.5
        ));
        let unusable = [10.0, 0.0, 5.0];
        let stop = StopDecision::Stop { reason: StopReason::Max, relative_ci: None };
        assert_eq!(narrow_enough(&unusable, 3, 3, 0.02), stop);
    }

    #[test]
    fn equal_calls_have_an_interval_of_no_width() {
        let location = log_location(&[4.0; 5], 0.95).unwrap();
        assert!((location.estimate - 4.0).abs() < 1e-12);
        assert!(location.relative_half_width.abs() < 1e-9);
    }

    #[test]
    fn the_interval_is_wider_where_calls_repeat_and_where_we_looked() {
        let location = log_location(&CALLS, 0.95).unwrap();
        assert!(location.interval.contains(location.estimate));
        assert!(location.n_effective < 9.0);
        let looked = adaptive_location(&CALLS, 0.95).unwrap();
        assert!(looked.relative_half_width > 1.1 * location.relative_half_width);
        assert!(log_location(&CALLS[..2], 0.95).is_err());
        assert!(log_location(&CALLS, 1.0).is_err());
    }
}
