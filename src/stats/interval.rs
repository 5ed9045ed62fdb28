//! Intervals, and estimates that carry one.

use crate::stats::{InputError, LEVEL, finite, moments, student};

/// A closed interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// The interval that reaches `half_width` to both sides of `centre`.
    #[must_use]
    pub fn around(centre: f64, half_width: f64) -> Self {
        Self { low: centre - half_width, high: centre + half_width }
    }

    /// True if `value` lies inside; an end belongs to the interval.
    #[must_use]
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// Distance between the ends.
    #[must_use]
    pub fn width(&self) -> f64 {
        self.high - self.low
    }

    /// Both ends through a rising function: an interval of logs becomes one of ratios by `map(f64::exp)`.
    #[must_use]
    pub fn map(&self, rising: impl Fn(f64) -> f64) -> Self {
        Self { low: rising(self.low), high: rising(self.high) }
    }
}

/// A value with how sure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The point estimate.
    pub value: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Its t interval at [`LEVEL`].
    pub interval: Interval,
}

impl Estimate {
    /// The t interval at [`LEVEL`] around a value. `None`: `df` is not positive.
    pub(in crate::stats) fn with_t(value: f64, standard_error: f64, df: f64) -> Option<Self> {
        let half_width = student::critical(LEVEL, df)? * standard_error;
        Some(Self { value, standard_error, interval: Interval::around(value, half_width) })
    }
}

/// Arithmetic mean of independent values with its t interval at [`LEVEL`].
///
/// # Errors
/// Fewer than 2 values, or one that is not finite.
pub fn mean(values: &[f64]) -> Result<Estimate, InputError> {
    finite("values", values, 2)?;
    let n = values.len() as f64;
    let spread = moments::sd(values).unwrap_or(0.0);
    Estimate::with_t(moments::mean(values), spread / n.sqrt(), n - 1.0)
        .ok_or(InputError::TooFew { n: values.len(), needed: 2 })
}
