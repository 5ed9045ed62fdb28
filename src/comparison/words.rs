//! How changes, phases and counts read in a sentence.

use crate::terms::Mode;

/// A ratio as people say it: `12 % slower [9, 15]`, `1.2 % faster [0.8, 1.6]`, with what its interval is.
#[must_use]
pub fn change(ratio: f64, interval: Option<(f64, f64)>) -> String {
    let slower = ratio >= 1.0;
    let percent = |ratio: f64| if slower { 100.0 * (ratio - 1.0) } else { 100.0 * (1.0 - ratio) };
    let decimals = usize::from(percent(ratio).abs() < 9.95);
    let print = |value: f64| {
        let text = format!("{value:.decimals$}");
        match text.strip_prefix('-') {
            Some(digits) if digits.trim_matches(['0', '.']).is_empty() => digits.to_owned(),
            Some(digits) => format!("−{digits}"),
            None => text,
        }
    };
    let bounds = interval.map_or_else(String::new, |(low, high)| {
        let (least, most) = if slower { (percent(low), percent(high)) } else { (percent(high), percent(low)) };
        format!(" [{}, {}]", print(least), print(most))
    });
    format!("{} % {}{bounds}", print(percent(ratio)), if slower { "slower" } else { "faster" })
}

/// The ends of a ratio's interval as changes, where what lies between them is no change that is known: `[−1.0, +2.5 %]`.
#[must_use]
pub fn ends(low: f64, high: f64) -> String {
    let signed = |ratio: f64| format!("{:+.1}", 100.0 * (ratio - 1.0)).replace('-', "−");
    format!("[{}, {} %]", signed(low), signed(high))
}

/// A phase as a sentence begins with it.
#[must_use]
pub fn phase(mode: Mode) -> &'static str {
    match mode {
        Mode::Prefill => "Prefill",
        Mode::KvDecode => "Decode",
        Mode::E2eKv => "Prefill and decode",
        Mode::GenerateUncached => "Decode without a cache",
        Mode::Ttft => "Time to the first token",
        Mode::AfterFirst => "Time after the first token",
        Mode::Request => "A whole request",
        Mode::Whole => "A whole call",
    }
}

/// A length of time that is not measured finely: `12 minutes`, `3 hours`, `4 days`.
#[must_use]
pub fn span(minutes: u64) -> String {
    let n = |unit: u64| usize::try_from(minutes.div_ceil(unit)).unwrap_or(usize::MAX);
    match minutes {
        0..120 => counted(n(1), "minute"),
        120..2880 => counted(n(60), "hour"),
        _ => counted(n(1440), "day"),
    }
}

/// `10 cells`, `1 cell`.
#[must_use]
pub fn counted(n: usize, of: &str) -> String {
    if n == 1 { format!("1 {of}") } else { format!("{n} {of}s") }
}

/// A margin in percent without needless digits.
#[must_use]
pub fn percent(margin: f64) -> String {
    let text = format!("{:.2}", 100.0 * (margin - 1.0));
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_read_like_people_say_them() {
        assert_eq!(change(1.12, Some((1.09, 1.15))), "12 % slower [9, 15]");
        assert_eq!(change(1.012, Some((1.008, 1.016))), "1.2 % slower [0.8, 1.6]");
        assert_eq!(change(0.88, Some((0.85, 0.91))), "12 % faster [9, 15]");
        assert_eq!(change(1.004, Some((0.989, 1.019))), "0.4 % slower [−1.1, 1.9]");
        assert_eq!(change(1.0, None), "0.0 % slower");
        assert_eq!(ends(0.04, 38.3), "[−96.0, +3730.0 %]");
    }

    #[test]
    fn lengths_of_time_have_the_unit_that_people_use() {
        assert_eq!([1, 119, 121, 2880].map(span), ["1 minute", "119 minutes", "3 hours", "2 days"]);
    }
}
