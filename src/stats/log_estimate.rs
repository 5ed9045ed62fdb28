//! Positive quantities known on logarithms, such as how many times longer one series of calls takes than another, with all
//! that a judgement needs: intervals at any level, and the p of any value.

use crate::stats::interval::Interval;
use crate::stats::log_mean::{LogMean, welch_df};
use crate::stats::{InputError, LEVEL, student};

/// A positive quantity: a ratio of two locations, or a location.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogEstimate {
    /// Natural logarithm of it.
    pub ln: f64,
    /// Standard error of it.
    pub standard_error: f64,
    /// Degrees of freedom of that error.
    pub df: f64,
}

impl LogEstimate {
    /// Ratio of the geometric means of two independent series, each in call order: the difference of mean logarithms with
    /// Welch's error, either side's variance and degrees of freedom corrected for autocorrelation.
    ///
    /// # Errors
    /// Fewer than 3 values on a side, one not finite or not positive.
    pub fn unpaired(values: &[f64], reference: &[f64]) -> Result<Self, InputError> {
        let (a, b) = (LogMean::of(values)?, LogMean::of(reference)?);
        let standard_error = (a.variance_of_mean + b.variance_of_mean).sqrt();
        let df = if standard_error > 0.0 { welch_df(&a, &b) } else { a.df().min(b.df()) };
        Ok(Self { ln: a.mean - b.mean, standard_error, df })
    }

    /// Geometric mean of the ratios of values that were taken side by side, in order, so that what slows both cancels.
    ///
    /// # Errors
    /// Fewer than 3 pairs, columns of different length, a value not finite or not positive.
    pub fn paired(values: &[f64], reference: &[f64]) -> Result<Self, InputError> {
        if values.len() != reference.len() {
            return Err(InputError::Unpaired { x: values.len(), y: reference.len() });
        }
        LogMean::of(values)?;
        LogMean::of(reference)?;
        let ratios: Vec<f64> = values.iter().zip(reference).map(|(value, reference)| value / reference).collect();
        let mean = LogMean::of(&ratios)?;
        Ok(Self { ln: mean.mean, standard_error: mean.variance_of_mean.sqrt(), df: mean.df() })
    }

    /// What a t interval with these degrees of freedom was made from. `None`: `level` or `df` is out of range, or an end is
    /// not positive.
    #[must_use]
    pub fn of_interval(value: f64, interval: Interval, level: f64, df: f64) -> Option<Self> {
        let half_width = (interval.high / interval.low).ln() / 2.0;
        let standard_error = half_width / student::critical(level, df)?;
        let found = Self { ln: value.ln(), standard_error, df };
        (found.ln.is_finite() && standard_error.is_finite()).then_some(found)
    }

    /// Geometric mean of several, each with its own error; independent of each other. They are these and no sample of
    /// others, so that how they differ is no error. Degrees of freedom after Welch and Satterthwaite.
    ///
    /// `None`: there is none.
    #[must_use]
    pub fn mean(all: &[Self]) -> Option<Self> {
        let n = all.len() as f64;
        let least_df = all.iter().map(|one| one.df).reduce(f64::min)?;
        let variance: f64 = all.iter().map(|one| one.standard_error.powi(2)).sum();
        let by_df: f64 = all.iter().map(|one| one.standard_error.powi(4) / one.df).sum();
        Some(Self {
            ln: all.iter().map(|one| one.ln).sum::<f64>() / n,
            standard_error: variance.sqrt() / n,
            df: if by_df > 0.0 { variance * variance / by_df } else { least_df },
        })
    }

    /// This ÷ another one, independent of it: their logarithms' difference, with Welch's degrees of freedom.
    #[must_use]
    pub fn over(self, other: Self) -> Self {
        let (own, theirs) = (self.standard_error.powi(2), other.standard_error.powi(2));
        let variance = own + theirs;
        let by_df = own * own / self.df + theirs * theirs / other.df;
        let df = if by_df > 0.0 { variance * variance / by_df } else { self.df.min(other.df) };
        Self { ln: self.ln - other.ln, standard_error: variance.sqrt(), df }
    }

    /// The same where they may share all of their errors, as cells that were measured in the same sessions do: as sure as
    /// they are in the mean, with the fewest degrees of freedom of any.
    ///
    /// `None`: there is none.
    #[must_use]
    pub fn mean_of_dependent(all: &[Self]) -> Option<Self> {
        let n = all.len() as f64;
        Some(Self {
            standard_error: all.iter().map(|one| one.standard_error).sum::<f64>() / n,
            df: all.iter().map(|one| one.df).reduce(f64::min)?,
            ..Self::mean(all)?
        })
    }

    /// This or another one, whichever is less sure: the one with the wider interval at [`LEVEL`].
    #[must_use]
    pub fn or_wider(self, other: Self) -> Self {
        let half_width = |one: &Self| student::critical(LEVEL, one.df).unwrap_or(f64::INFINITY) * one.standard_error;
        if half_width(&other) > half_width(&self) { other } else { self }
    }

    /// The same, less sure by a factor.
    #[must_use]
    pub fn widened(self, factor: f64) -> Self {
        Self { standard_error: self.standard_error * factor, ..self }
    }

    /// The same with a further error of known size, of a normal distribution.
    #[must_use]
    pub fn with_error(self, standard_error: f64) -> Self {
        let (own, further) = (self.standard_error.powi(2), standard_error * standard_error);
        let both = own + further;
        // The further error is known without end.
        let df = if own > 0.0 { self.df * (both / own).powi(2) } else { f64::INFINITY };
        Self { standard_error: both.sqrt(), df, ..self }
    }

    /// The quantity.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.ln.exp()
    }

    /// Its t interval. `None`: `level` not between 0 and 1.
    #[must_use]
    pub fn interval(&self, level: f64) -> Option<Interval> {
        let critical = student::critical(level, self.df)?;
        Some(Interval::around(self.ln, critical * self.standard_error).map(f64::exp))
    }

    /// The smallest factor above 1 by which a true ratio must differ from 1 to be told from it at [`LEVEL`] in 95 of 100
    /// repetitions: the critical value and the quantile of that power, times the error. `None`: `df` is not positive.
    #[must_use]
    pub fn detectable(&self) -> Option<f64> {
        self.detectable_at(LEVEL)
    }

    /// The same to be told from 1 at another level, such as that of one among many. `None`: or `level` not between 0 and 1.
    #[must_use]
    pub fn detectable_at(&self, level: f64) -> Option<f64> {
        let power = student::critical(2.0 * LEVEL - 1.0, self.df)?;
        Some(((student::critical(level, self.df)? + power) * self.standard_error).exp())
    }

    /// Two-sided p of its true value being `value`. `None`: that is not positive.
    #[must_use]
    pub fn p_of(&self, value: f64) -> Option<f64> {
        let distance = self.ln - value.ln();
        if distance == 0.0 && self.standard_error == 0.0 {
            return Some(1.0);
        }
        student::two_sided_p(distance / self.standard_error, self.df)
    }

    /// p of its true value lying within a factor `margin` of 1 in either direction, where the one found lies beyond: the
    /// two-sided p of the nearer end. 1 where it lies within.
    #[must_use]
    pub fn p_within(&self, margin: f64) -> Option<f64> {
        let end = margin.ln().abs();
        if self.ln.abs() <= end { Some(1.0) } else { self.p_of((end * self.ln.signum()).exp()) }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::stats::summary::geometric_mean;

    const A: [f64; 8] = [10.0, 10.2, 9.9, 10.1, 10.3, 9.8, 10.0, 10.1];
    const B: [f64; 8] = [12.1, 12.0, 11.8, 12.3, 12.2, 12.0, 11.9, 12.4];

    #[test]
    fn unpaired_is_the_ratio_of_locations() {
        let ratio = LogEstimate::unpaired(&B, &A).unwrap();
        let interval = ratio.interval(LEVEL).unwrap();
        let of_locations = geometric_mean(&B).unwrap() / geometric_mean(&A).unwrap();
        assert!((ratio.value() / of_locations - 1.0).abs() < 1e-12);
        // The p of an end of an interval is what lies outside.
        let p = ratio.p_of(interval.low).unwrap();
        assert!((p - 0.05).abs() < 1e-9, "{p}");
        let again = LogEstimate::of_interval(ratio.value(), interval, LEVEL, ratio.df).unwrap();
        assert!((again.standard_error - ratio.standard_error).abs() < 1e-12);
        assert_eq!(ratio.p_within(1.5), Some(1.0));
        assert!(ratio.p_within(1.03).unwrap() > ratio.p_of(1.0).unwrap());
    }

    #[test]
    fn what_slows_both_sides_cancels_in_pairs() {
        let slow = [1.0, 1.5, 1.1, 2.0, 1.3, 1.0, 1.8, 1.2];
        let slowed = |calls: [f64; 8]| -> Vec<f64> { calls.iter().zip(slow).map(|(call, by)| call * by).collect() };
        let (quiet, paired) =
            (LogEstimate::paired(&B, &A).unwrap(), LogEstimate::paired(&slowed(B), &slowed(A)).unwrap());
        assert!((quiet.ln - paired.ln).abs() < 1e-12 && (quiet.standard_error - paired.standard_error).abs() < 1e-12);
        assert!(LogEstimate::unpaired(&slowed(B), &slowed(A)).unwrap().standard_error > 5.0 * paired.standard_error);
        assert!(LogEstimate::paired(&A[..2], &B[..2]).is_err() && LogEstimate::paired(&A, &B[..7]).is_err());
    }

    #[test]
    fn a_mean_of_many_is_surer_than_one_and_a_further_error_less_so() {
        let one = LogEstimate { ln: 0.2, standard_error: 0.04, df: 9.0 };
        let four = LogEstimate::mean(&[one; 4]).unwrap();
        assert!((four.ln - 0.2).abs() < 1e-15 && (four.standard_error - 0.02).abs() < 1e-15);
        assert!((four.df - 36.0).abs() < 1e-9);
        let dependent = LogEstimate::mean_of_dependent(&[one; 4]).unwrap();
        assert!((dependent.standard_error - 0.04).abs() < 1e-15 && (dependent.ln - 0.2).abs() < 1e-15);
        assert_eq!((dependent.df, LogEstimate::mean_of_dependent(&[])), (9.0, None));
        // The same error known from less is the wider interval.
        let unsure = LogEstimate { df: 2.0, ..one };
        assert_eq!((one.or_wider(unsure), unsure.or_wider(one)), (unsure, unsure));
        assert_eq!(LogEstimate::mean(&[]), None);
        let none = one.over(one);
        assert!(
            none.ln == 0.0
                && (none.standard_error - 0.04 * 2_f64.sqrt()).abs() < 1e-15
                && (none.df - 18.0).abs() < 1e-9
        );
        let drifting = one.with_error(0.03);
        assert!((drifting.standard_error - 0.05).abs() < 1e-15 && (drifting.df - 9.0 * 1.5625 * 1.5625).abs() < 1e-9);
    }

    /// 1.96 errors to be beyond the interval, and 1.64 more to be so 95 times of 100.
    #[test]
    fn what_would_have_been_seen_is_some_four_errors() {
        let one = LogEstimate { ln: 0.01, standard_error: 0.02, df: 1e6 };
        assert!((one.detectable().unwrap() - f64::exp(0.02 * (1.959_964 + 1.644_854))).abs() < 1e-6);
        assert_eq!(LogEstimate { df: 0.0, ..one }.detectable(), None);
    }

    #[test]
    fn series_without_spread_are_equal_or_not() {
        let (same, other) =
            (LogEstimate::unpaired(&[4.0; 5], &[4.0; 5]).unwrap(), LogEstimate::paired(&[4.0; 5], &[2.0; 5]).unwrap());
        assert_eq!((same.p_of(1.0), other.p_of(1.0)), (Some(1.0), Some(0.0)));
        let half_width = (other.with_error(0.05).interval(LEVEL).unwrap().high / 2.0).ln();
        assert!((half_width.abs() - 1.959_964 * 0.05).abs() < 1e-6, "{half_width}");
        assert!(other.interval(LEVEL).unwrap().width() < 1e-12);
    }
}
