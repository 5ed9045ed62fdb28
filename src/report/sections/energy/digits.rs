//! Digits that an uncertainty leaves of a figure.

use crate::report::format;

/// A figure as it may be printed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds {
    /// The figure itself. `None`: only its interval may be shown.
    pub value: Option<f64>,
    /// Lower end of its interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Bounds {
    /// A figure and half of its interval relative to it.
    pub(super) fn around(value: f64, half_width: f64) -> Self {
        Self { value: Some(value), low: value * (1.0 - half_width), high: value * (1.0 + half_width) }
    }

    /// What of several figures that are intervals and nothing more may be shown: the interval that holds all of theirs, as
    /// far as it is above 0. `None`: there are none.
    pub(super) fn holding(all: impl Iterator<Item = Self>) -> Option<Self> {
        let hull = |a: Self, b: Self| Self { value: None, low: a.low.min(b.low), high: a.high.max(b.high) };
        all.reduce(hull).map(|hull| Self { value: None, low: hull.low.max(0.0), ..hull })
    }

    /// The place of the second digit of half its width.
    fn place(self) -> i32 {
        place((self.high - self.low) / 2.0)
    }

    /// `12.3 [11.0, 13.6]`, or the interval alone.
    pub(super) fn text(self) -> String {
        let number = |value| rounded(value, self.place());
        let interval = format!("[{}, {}]", number(self.low), number(self.high));
        self.value.map_or_else(|| interval.clone(), |value| format!("{} {interval}", number(value)))
    }

    /// A figure that is at least as uncertain as this one, printed no finer.
    pub(super) fn as_coarse(self, value: f64) -> String {
        rounded(value, self.place())
    }

    /// Another figure that is as uncertain, relative to itself.
    pub(super) fn alike(self, value: f64) -> String {
        let half_width = self.value.map_or(1.0, |own| (self.high - self.low) / 2.0 / own);
        rounded(value, place(half_width * value))
    }
}

/// The place of an uncertainty's second digit, as a power of ten: −1 for 0.52 and 1.2, 1 for 370.
fn place(uncertainty: f64) -> i32 {
    // 9.96 has two digits as 10, not as 9.9: round first.
    let text = format!("{:.1e}", uncertainty.abs());
    let power: Option<i32> = text.split_once('e').and_then(|(_, power)| power.parse().ok());
    match power {
        Some(power) if uncertainty != 0.0 && uncertainty.is_finite() => (power - 1).clamp(-9, 18),
        _ => -3,
    }
}

/// A value without the digits below a place.
fn rounded(value: f64, place: i32) -> String {
    match usize::try_from(-place) {
        Ok(decimals) => format::fixed(value, decimals),
        Err(_) => {
            let unit = 10f64.powi(place);
            format::fixed((value / unit).round() * unit, 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_decides_the_digits() {
        for (value, half_width, text) in [
            (123.456, 0.102, "123 [111, 136]"),
            (1234.0, 0.3, "1230 [860, 1600]"),
            (1234.0, 0.000_2, "1234.00 [1233.75, 1234.25]"),
            (0.012_345, 0.1, "0.0123 [0.0111, 0.0136]"),
            (9.99, 0.0997, "10.0 [9.0, 11.0]"),
            (99.7, 0.0999, "100 [90, 110]"),
            (48.0, 0.5, "48 [24, 72]"),
        ] {
            assert_eq!(Bounds::around(value, half_width).text(), text, "{value} ± {half_width}");
        }
    }

    #[test]
    fn intervals_alone_have_no_middle_and_end_at_nothing() {
        let two = [Bounds::around(10.0, 1.01), Bounds::around(20.0, 0.8)];
        assert_eq!(Bounds::holding(two.into_iter()).map(Bounds::text).as_deref(), Some("[0, 36]"));
        assert_eq!(Bounds::holding(std::iter::empty()), None);
    }

    #[test]
    fn what_goes_with_a_figure_is_printed_no_finer() {
        let energy = Bounds::around(1234.0, 0.3);
        assert_eq!(energy.as_coarse(-4.7), "0");
        assert_eq!(energy.as_coarse(-987.0), "−990");
        assert_eq!(energy.alike(55.55), "56");
    }
}
