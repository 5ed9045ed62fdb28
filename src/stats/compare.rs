//! Classical tests between groups of independent values.
//!
//! What one value is, the caller says: a call of one engine process, or the cost of one scenario. A test of calls knows
//! nothing of how processes differ, one of scenarios nothing of how sure each is.

use statrs::distribution::{ContinuousCDF, FisherSnedecor};

use crate::stats::interval::Interval;
use crate::stats::{InputError, LEVEL, finite, logs, moments, student, summary, varied};

/// A group known by its moments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    n: usize,
    mean: f64,
    sd: f64,
}

impl Group {
    /// The moments of `values`. Values that differ by rounding alone do not vary.
    ///
    /// # Errors
    /// Fewer than 2 values, or one that is not finite.
    pub fn of(values: &[f64]) -> Result<Self, InputError> {
        finite("values", values, 2)?;
        let spread = varied("values", values).ok().and_then(|()| moments::sd(values));
        Self::from_moments(values.len(), moments::mean(values), spread.unwrap_or(0.0))
    }

    /// The moments of the natural logarithms of `values`: what latencies are compared by, since they scatter in ratio.
    ///
    /// # Errors
    /// Fewer than 2 values, one that is not finite, or one that is not positive.
    pub fn of_logs(values: &[f64]) -> Result<Self, InputError> {
        Self::of(&logs("values", values, 2)?)
    }

    /// A group of `n` values with this arithmetic mean and sample standard deviation (divisor n−1).
    ///
    /// # Errors
    /// `n` below 2, a number that is not finite, or a negative `sd`.
    pub fn from_moments(n: usize, mean: f64, sd: f64) -> Result<Self, InputError> {
        finite("moments", &[mean, sd], 2)?;
        if n < 2 {
            return Err(InputError::TooFew { n, needed: 2 });
        }
        if sd < 0.0 {
            let what = "standard deviation";
            return Err(InputError::Setting { what, value: sd, allowed: "0 or more" });
        }
        Ok(Self { n, mean, sd })
    }

    /// The moments of a group published as a mean with its t interval at [`LEVEL`].
    ///
    /// # Errors
    /// `n` below 2, a number that is not finite, or an interval the wrong way round.
    pub fn from_mean_interval(n: usize, mean: f64, interval: Interval) -> Result<Self, InputError> {
        let critical = student::critical(LEVEL, n as f64 - 1.0);
        let critical = critical.ok_or(InputError::TooFew { n, needed: 2 })?;
        Self::from_moments(n, mean, interval.width() / 2.0 / critical * (n as f64).sqrt())
    }

    /// All values of several groups as one. The spread between the groups counts, so this describes a mix
    /// and says nothing about any one of them.
    ///
    /// # Errors
    /// No group.
    pub fn merged(groups: &[Self]) -> Result<Self, InputError> {
        let n = groups.iter().map(|g| g.n).sum::<usize>();
        if n == 0 {
            return Err(InputError::TooFew { n, needed: 2 });
        }
        let (mean, between, within) = moments(groups);
        Self::from_moments(n, mean, ((between + within) / (n - 1) as f64).sqrt())
    }

    /// The group's arithmetic mean.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The group's sample standard deviation.
    #[must_use]
    pub fn sd(&self) -> f64 {
        self.sd
    }

    fn squares(&self) -> f64 {
        (self.n - 1) as f64 * self.sd * self.sd
    }

    fn variance_of_mean(&self) -> f64 {
        self.sd * self.sd / self.n as f64
    }
}

/// Outcome of a t test of two means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TTest {
    /// (second mean − first mean) ÷ its standard error.
    pub t: f64,
    /// Degrees of freedom.
    pub df: f64,
    /// Two-sided p.
    pub p: f64,
}

/// Cohen's d: (second mean − first mean) ÷ pooled standard deviation. `None`: neither group varies.
#[must_use]
pub fn cohen_d(first: &Group, second: &Group) -> Option<f64> {
    let sd = pooled_variance(first, second).sqrt();
    (sd > 0.0).then(|| (second.mean - first.mean) / sd)
}

/// Student's t test, which supposes equal variances. Prefer [`welch`]; the published tables used this one.
/// `None`: neither group varies.
#[must_use]
pub fn student(first: &Group, second: &Group) -> Option<TTest> {
    let (a, b) = (first.n as f64, second.n as f64);
    let error = (pooled_variance(first, second) * (1.0 / a + 1.0 / b)).sqrt();
    t_test(second.mean - first.mean, error, a + b - 2.0)
}

/// Welch's t test, which does not suppose equal variances. `None`: neither group varies.
#[must_use]
pub fn welch(first: &Group, second: &Group) -> Option<TTest> {
    let (a, b) = (first.variance_of_mean(), second.variance_of_mean());
    // Shares of the whole: squares of variances may be beyond what a number holds.
    let share = a / (a + b);
    let df = 1.0 / (share * share / (first.n - 1) as f64 + (1.0 - share).powi(2) / (second.n - 1) as f64);
    t_test(second.mean - first.mean, (a + b).sqrt(), df)
}

fn pooled_variance(first: &Group, second: &Group) -> f64 {
    (first.squares() + second.squares()) / (first.n + second.n - 2) as f64
}

fn t_test(difference: f64, error: f64, df: f64) -> Option<TTest> {
    if error.is_nan() || error <= 0.0 {
        return None;
    }
    let t = difference / error;
    Some(TTest { t, df, p: student::two_sided_p(t, df)? })
}

/// Outcome of a one-way analysis of variance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Anova {
    /// Variance between groups ÷ variance within.
    pub f: f64,
    /// Degrees of freedom between groups.
    pub df_between: f64,
    /// Degrees of freedom within groups.
    pub df_within: f64,
    /// p of equal means.
    pub p: f64,
}

/// One-way analysis of variance. `None`: fewer than 2 groups, or no group varies.
#[must_use]
pub fn anova(groups: &[Group]) -> Option<Anova> {
    let total = groups.iter().map(|g| g.n).sum::<usize>() as f64;
    let grand = groups.iter().map(|g| g.n as f64 * g.mean).sum::<f64>() / total;
    let between: f64 = groups.iter().map(|g| g.n as f64 * (g.mean - grand).powi(2)).sum();
    let within: f64 = groups.iter().map(Group::squares).sum();
    let df_between = groups.len().checked_sub(1)? as f64;
    let df_within = total - groups.len() as f64;
    if df_between < 1.0 || within <= 0.0 {
        return None;
    }
    let f = (between / df_between) / (within / df_within);
    let p = FisherSnedecor::new(df_between, df_within).ok()?.sf(f);
    Some(Anova { f, df_between, df_within, p })
}

/// Mean of all values, and the sums of squares between and within the groups.
fn moments(groups: &[Group]) -> (f64, f64, f64) {
    let total = groups.iter().map(|g| g.n).sum::<usize>() as f64;
    let mean = groups.iter().map(|g| g.n as f64 * g.mean).sum::<f64>() / total;
    let between = groups.iter().map(|g| g.n as f64 * (g.mean - mean).powi(2)).sum();
    (mean, between, groups.iter().map(Group::squares).sum())
}

/// How two medians differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MedianChange {
    /// Median of the values ÷ median of the reference.
    pub ratio: f64,
    /// Median of the values − median of the reference, in their unit.
    pub difference: f64,
}

/// Compares medians, e.g. of warmup calls with those of timed calls.
///
/// `None`: a side is empty or not finite, or the reference's median is not positive.
#[must_use]
pub fn median_change(values: &[f64], reference: &[f64]) -> Option<MedianChange> {
    let (value, base) = (summary::median(values)?, summary::median(reference)?);
    (base > 0.0).then(|| MedianChange { ratio: value / base, difference: value - base })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn equal_variances_make_the_t_tests_agree() {
        let a = Group::from_moments(6, 1.0, 0.5).unwrap();
        let b = Group::from_moments(6, 2.0, 0.5).unwrap();
        let (s, w) = (student(&a, &b).unwrap(), welch(&a, &b).unwrap());
        assert!((s.p - w.p).abs() < 1e-12 && (s.df - 10.0).abs() < 1e-12);
        assert_eq!(cohen_d(&a, &b), Some(2.0));
        let anova = anova(&[a, b]).unwrap();
        assert!((anova.f - s.t * s.t).abs() < 1e-9 && (anova.p - s.p).abs() < 1e-9);
    }

    #[test]
    fn groups_without_spread_have_no_test() {
        // The mean of three times 0.1 is not 0.1 to the last digit.
        let rounded = Group::of(&[0.1, 0.1, 0.1]).unwrap();
        assert_eq!((rounded.sd(), welch(&rounded, &rounded)), (0.0, None));
        let still = Group::of(&[2.0, 2.0, 2.0]).unwrap();
        assert_eq!(welch(&still, &still), None);
        assert_eq!(anova(&[still, still]), None);
        assert_eq!(cohen_d(&still, &still), None);
        assert_eq!(anova(&[]), None);
        assert!(Group::of(&[1.0]).is_err());
        assert!(Group::from_mean_interval(1, 1.0, Interval::around(1.0, 0.1)).is_err());
    }

    #[test]
    fn a_median_of_zero_has_no_ratio() {
        assert_eq!(median_change(&[1.0], &[0.0]), None);
        let change = median_change(&[6.0, 2.0], &[2.0]).unwrap();
        assert_eq!((change.ratio, change.difference), (2.0, 2.0));
    }
}
