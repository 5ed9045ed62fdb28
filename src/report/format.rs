//! How numbers read in a report. Files carry full precision; this is for people.
//!
//! Every function takes a number or an absent one, and prints absence as [`ABSENT`], never as 0.

use crate::units::significant;

/// What stands where there is no number.
pub const ABSENT: &str = "–";

/// Between a number and its unit.
const NO_BREAK_SPACE: char = '\u{a0}';

/// Milliseconds with three significant digits, without the unit: that stands in the column's title.
#[must_use]
pub fn ms(value: impl Into<Option<f64>>) -> String {
    number(value, 3)
}

/// A number with `digits` significant digits and a true minus sign.
#[must_use]
pub fn number(value: impl Into<Option<f64>>, digits: usize) -> String {
    finite(value).map_or_else(|| ABSENT.to_owned(), |v| signed(v, digits))
}

/// A number with that many decimals and a true minus sign.
#[must_use]
pub fn fixed(value: impl Into<Option<f64>>, decimals: usize) -> String {
    finite(value).map_or_else(|| ABSENT.to_owned(), |v| minus(&format!("{v:.decimals$}")))
}

/// A count.
#[must_use]
pub fn count(value: impl Into<Option<u64>>) -> String {
    value.into().map_or_else(|| ABSENT.to_owned(), |n| n.to_string())
}

/// A ratio such as `1.23×`, three significant digits.
#[must_use]
pub fn ratio(value: impl Into<Option<f64>>) -> String {
    finite(value).map_or_else(|| ABSENT.to_owned(), |v| format!("{}×", signed(v, 3)))
}

/// A share of 1 as percent with one decimal: 0.873 is `87.3 %`.
///
/// A share that is not quite 0 or 1 never prints as if it were.
#[must_use]
pub fn percent(share: impl Into<Option<f64>>) -> String {
    let Some(share) = finite(share) else {
        return ABSENT.to_owned();
    };
    let value = share * 100.0;
    let text = if value > 0.0 && value < 0.05 {
        "<0.1".to_owned()
    } else if (99.95..100.0).contains(&value) {
        ">99.9".to_owned()
    } else {
        minus(&format!("{value:.1}"))
    };
    format!("{text}{NO_BREAK_SPACE}%")
}

/// Half of an interval's width as a share of its estimate. Beyond ±100 % a share says nothing: then the factor that the
/// estimate may be off by either way, of an interval that is even in ratio, and that it is no figure to quote.
#[must_use]
pub fn half_width(share: impl Into<Option<f64>>) -> String {
    match finite(share) {
        Some(share) if share > 1.0 => {
            format!("a factor of {} either way: not quotable", significant(share + share.hypot(1.0), 2))
        }
        Some(share) => format!("±{}", percent(share)),
        None => ABSENT.to_owned(),
    }
}

/// An R² with three digits; one that is not quite 1 never prints as 1.
#[must_use]
pub fn r2(value: impl Into<Option<f64>>) -> String {
    match finite(value) {
        Some(r2) if (0.9995..1.0).contains(&r2) => ">0.999".to_owned(),
        r2 => fixed(r2, 3),
    }
}

/// A change in percent with its sign and one decimal: 3.2 is `+3.2 %`.
#[must_use]
pub fn change_percent(percent: impl Into<Option<f64>>) -> String {
    finite(percent).map_or_else(|| ABSENT.to_owned(), |v| format!("{}{NO_BREAK_SPACE}%", minus(&format!("{v:+.1}"))))
}

/// A probability: two significant digits, `<0.001` below that.
#[must_use]
pub fn p_value(p: impl Into<Option<f64>>) -> String {
    match finite(p) {
        None => ABSENT.to_owned(),
        Some(p) if p < 0.001 => "<0.001".to_owned(),
        Some(p) if p > 0.995 => "1.0".to_owned(),
        Some(p) => significant(p, 2),
    }
}

/// An estimate with its interval: `1.23 [1.10, 1.40]`.
///
/// The estimate decides the decimals of all three. Without an interval the estimate alone, followed by `[–]`.
#[must_use]
pub fn interval(estimate: impl Into<Option<f64>>, bounds: impl Into<Option<(f64, f64)>>) -> String {
    let Some(estimate) = finite(estimate) else {
        return ABSENT.to_owned();
    };
    let decimals = significant(estimate, 3).split_once('.').map_or(0, |(_, fraction)| fraction.len()).clamp(0, 6);
    let print = |v: f64| minus(&format!("{v:.decimals$}"));
    match bounds.into().filter(|(l, h)| l.is_finite() && h.is_finite()) {
        Some((low, high)) => format!("{} [{}, {}]", print(estimate), print(low), print(high)),
        None => format!("{} [{ABSENT}]", print(estimate)),
    }
}

fn finite(value: impl Into<Option<f64>>) -> Option<f64> {
    value.into().filter(|v| v.is_finite())
}

fn signed(value: f64, digits: usize) -> String {
    // 9.999 has three digits as 10.0, not as 10.00: round first, then count. Whole digits are never rounded away.
    let rounded = format!("{value:.*e}", digits.saturating_sub(1));
    let rounded = rounded.parse().ok().filter(|r: &f64| significant(*r, digits).contains('.'));
    minus(&significant(rounded.unwrap_or(value), digits))
}

/// A hyphen in front of digits as a minus sign; `-0.0` without one.
fn minus(text: &str) -> String {
    match text.strip_prefix('-') {
        Some(digits) if digits.chars().all(|c| matches!(c, '0' | '.')) => digits.to_owned(),
        Some(digits) => format!("−{digits}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_is_never_zero() {
        assert_eq!(ms(None), ABSENT);
        assert_eq!(ms(f64::NAN), ABSENT);
        assert_eq!(ratio(f64::INFINITY), ABSENT);
        assert_eq!(percent(None), ABSENT);
        assert_eq!(change_percent(None), ABSENT);
        assert_eq!(p_value(None), ABSENT);
        assert_eq!(count(None), ABSENT);
        assert_eq!(interval(None, (1.0, 2.0)), ABSENT);
        assert_eq!(ms(0.0), "0");
    }

    #[test]
    fn numbers_read_like_numbers() {
        for (value, text) in [
            (1.2345, "1.23"),
            (85.44, "85.4"),
            (9.999, "10.0"),
            (1234.5, "1234"),
            (0.001_234, "0.00123"),
            (-3.0, "−3.00"),
        ] {
            assert_eq!(ms(value), text);
        }
        assert_eq!(ratio(12.34), "12.3×");
        assert_eq!(percent(0.873), "87.3\u{a0}%");
        assert_eq!(percent(0.9999), ">99.9\u{a0}%");
        assert_eq!(percent(1.0), "100.0\u{a0}%");
        assert_eq!(percent(0.0002), "<0.1\u{a0}%");
        assert_eq!(change_percent(3.21), "+3.2\u{a0}%");
        assert_eq!(change_percent(-11.81), "−11.8\u{a0}%");
        assert_eq!([r2(0.999_96), r2(1.0), r2(0.91), r2(None)], [">0.999", "1.000", "0.910", ABSENT]);
        assert_eq!(half_width(0.0471), "±4.7\u{a0}%");
        assert_eq!(half_width(1.0), "±100.0\u{a0}%");
        assert_eq!(half_width(81.1961), "a factor of 162 either way: not quotable");
        assert_eq!(half_width(None), ABSENT);
        assert_eq!(p_value(0.0342), "0.034");
        assert_eq!(p_value(0.000_01), "<0.001");
        assert_eq!(p_value(0.999), "1.0");
    }

    #[test]
    fn intervals_share_the_decimals_of_their_estimate() {
        assert_eq!(interval(1.234, (1.1, 1.4)), "1.23 [1.10, 1.40]");
        assert_eq!(interval(0.5, (-0.25, 1.25)), "0.500 [−0.250, 1.250]");
        assert_eq!(interval(85.44, None), "85.4 [–]");
        assert_eq!(interval(85.44, (f64::NAN, 1.0)), "85.4 [–]");
    }
}
