//! What can be used: checks that every method makes of what it is given.

use super::moments::extremes;

/// Largest magnitude accepted: its square, summed over any sample, is still finite.
const LARGEST: f64 = 1e140;

/// Confidence level of every interval, unless a function takes its own.
pub const LEVEL: f64 = 0.95;

/// Why a sample cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InputError {
    /// Fewer values than the method has unknowns for.
    #[error("{n} points, at least {needed} are needed")]
    TooFew {
        /// How many there are.
        n: usize,
        /// How many the method needs.
        needed: usize,
    },
    /// Two columns that should pair do not.
    #[error("{x} values of x but {y} of y")]
    Unpaired {
        /// Length of x.
        x: usize,
        /// Length of y.
        y: usize,
    },
    /// A NaN, an infinity, or a value so large that its square would be one.
    #[error("{axis}[{index}] is {}, only finite values up to 1e140 can be used", brief(*value))]
    NotFinite {
        /// The column's name.
        axis: &'static str,
        /// Position, from 0.
        index: usize,
        /// The value found.
        value: f64,
    },
    /// Zero or less where a logarithm is taken.
    #[error("{axis}[{index}] is {}, a logarithm needs positive values", brief(*value))]
    NotPositive {
        /// The column's name.
        axis: &'static str,
        /// Position, from 0.
        index: usize,
        /// The value found.
        value: f64,
    },
    /// A column without variation: the figure asked for is not defined.
    #[error("all values of {axis} are equal")]
    Constant {
        /// The column's name.
        axis: &'static str,
    },
    /// A column whose values differ by so little that squares of the differences are 0.
    #[error("values of {axis} differ by less than 1e-152, whose squares are 0: give them in a smaller unit")]
    TooSmall {
        /// The column's name.
        axis: &'static str,
    },
    /// One predictor is a linear function of the other.
    #[error("the predictors are collinear, their effects cannot be told apart")]
    Collinear,
    /// A setting outside its range.
    #[error("{what} is {value}, allowed: {allowed}")]
    Setting {
        /// The setting's name.
        what: &'static str,
        /// The value found.
        value: f64,
        /// The range.
        allowed: &'static str,
    },
}

/// A value as it is in a message: never hundreds of digits.
#[must_use]
pub fn brief(value: f64) -> String {
    let plain = value == 0.0 || !value.is_finite() || (1e-4..1e9).contains(&value.abs());
    if plain { format!("{value}") } else { format!("{value:e}") }
}

/// Checks that `values` holds at least `needed` values, all finite and not beyond [`LARGEST`].
pub(in crate::stats) fn finite(axis: &'static str, values: &[f64], needed: usize) -> Result<(), InputError> {
    if values.len() < needed {
        return Err(InputError::TooFew { n: values.len(), needed });
    }
    match values.iter().position(|v| v.is_nan() || v.abs() > LARGEST) {
        Some(index) => Err(InputError::NotFinite { axis, index, value: values[index] }),
        None => Ok(()),
    }
}

/// Natural logarithms of finite, positive values.
pub(in crate::stats) fn logs(axis: &'static str, values: &[f64], needed: usize) -> Result<Vec<f64>, InputError> {
    finite(axis, values, needed)?;
    match values.iter().position(|v| *v <= 0.0) {
        Some(index) => Err(InputError::NotPositive { axis, index, value: values[index] }),
        None => Ok(values.iter().map(|v| v.ln()).collect()),
    }
}

/// Checks that two columns pair and have enough finite values.
pub(in crate::stats) fn paired(x: &[f64], y: &[f64], needed: usize) -> Result<(), InputError> {
    if x.len() != y.len() {
        return Err(InputError::Unpaired { x: x.len(), y: y.len() });
    }
    finite("x", x, needed)?;
    finite("y", y, needed)
}

/// Checks that two columns pair, have enough values, and that those of each can be put into an order: it needs no squares, so
/// values may be as small or as large as numbers are.
pub(in crate::stats) fn rankable(x: &[f64], y: &[f64], needed: usize) -> Result<(), InputError> {
    if x.len() != y.len() {
        return Err(InputError::Unpaired { x: x.len(), y: y.len() });
    }
    if x.len() < needed {
        return Err(InputError::TooFew { n: x.len(), needed });
    }
    for (axis, values) in [("x", x), ("y", y)] {
        if let Some(index) = values.iter().position(|v| !v.is_finite()) {
            return Err(InputError::NotFinite { axis, index, value: values[index] });
        }
        spread(axis, values)?;
    }
    Ok(())
}

/// Refuses a column whose values differ by no more than rounding does, or by so little that squares are 0.
pub(in crate::stats) fn varied(axis: &'static str, values: &[f64]) -> Result<(), InputError> {
    if spread(axis, values)? <= 1e-12 / LARGEST { Err(InputError::TooSmall { axis }) } else { Ok(()) }
}

/// The largest difference in a column, which must be more than rounding.
fn spread(axis: &'static str, values: &[f64]) -> Result<f64, InputError> {
    let (low, high) = extremes(values);
    let (spread, rounding) = (high - low, 1e-12 * low.abs().max(high.abs()));
    if spread <= rounding { Err(InputError::Constant { axis }) } else { Ok(spread) }
}

/// Checks a confidence level.
pub(in crate::stats) fn level_in_range(level: f64) -> Result<(), InputError> {
    if level > 0.0 && level < 1.0 {
        Ok(())
    } else {
        Err(InputError::Setting { what: "confidence level", value: level, allowed: "between 0 and 1" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_too_small_to_square_are_not_called_equal() {
        let scaled = |by: f64| [by, 2.0 * by, 3.0 * by];
        assert_eq!(varied("x", &scaled(1e-150)), Ok(()));
        assert_eq!(varied("x", &scaled(1e-300)), Err(InputError::TooSmall { axis: "x" }));
        assert_eq!(varied("x", &[1e-300; 3]), Err(InputError::Constant { axis: "x" }));
        assert_eq!(varied("x", &[5.0, 5.0 + 1e-13, 5.0]), Err(InputError::Constant { axis: "x" }));
    }
}
