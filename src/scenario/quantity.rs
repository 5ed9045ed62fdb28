//! Durations and sizes as people write them: a number and its unit, never a bare number.

use std::time::Duration;

use crate::units::Bytes;

/// Units of time with their nanoseconds.
const TIME: &[(&str, f64)] =
    &[("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("min", 60e9), ("m", 60e9), ("h", 3600e9)];

/// Units of size with their bytes.
const SIZE: &[(&str, f64)] = &[
    ("B", 1.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
];

/// Longest duration accepted. Unit: nanoseconds. 30 days.
const LONGEST: f64 = 30.0 * 24.0 * 3600e9;
/// Largest size accepted. Unit: bytes. 1 PiB.
const LARGEST: f64 = 1_125_899_906_842_624.0;

/// Pattern of a duration, for the JSON Schema.
pub const DURATION_PATTERN: &str = r"^\s*([0-9]+(\.[0-9]+)?\s*(ns|us|µs|ms|s|min|m|h)\s*)+$";
/// Pattern of a size, for the JSON Schema.
pub const BYTES_PATTERN: &str = r"^\s*[0-9]+(\.[0-9]+)?\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)\s*$";

/// `120s`, `1m30s`, `20ms`, `1.5 s`.
///
/// # Errors
/// What is wrong with the text, as the end of a sentence that begins with it.
pub fn duration(text: &str) -> Result<Duration, String> {
    let mut nanos = 0.0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("is empty".to_owned());
    }
    while !rest.is_empty() {
        let (value, after) = leading(rest, TIME)?;
        nanos += value;
        rest = after;
    }
    if nanos > LONGEST {
        return Err("is longer than 30 days".to_owned());
    }
    Ok(Duration::from_nanos(whole(nanos)))
}

/// `8GiB`, `500 MB`.
///
/// # Errors
/// What is wrong with the text, as the end of a sentence that begins with it.
pub fn bytes(text: &str) -> Result<Bytes, String> {
    let (value, rest) = leading(text.trim(), SIZE)?;
    if !rest.is_empty() {
        return Err(format!("goes on after its unit with `{rest}`"));
    }
    if value > LARGEST {
        return Err("is more than 1 PiB".to_owned());
    }
    Ok(Bytes(whole(value)))
}

/// The first number with its unit, in the smallest unit, and what follows.
fn leading<'a>(text: &'a str, units: &[(&str, f64)]) -> Result<(f64, &'a str), String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let value: f64 = number.parse().map_err(|_| "does not begin with a number".to_owned())?;
    let rest = rest.trim_start();
    let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(letters);
    if unit.is_empty() {
        return Err(if rest.is_empty() {
            "has no unit".to_owned()
        } else {
            format!("has `{rest}` where a unit belongs")
        });
    }
    match units.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => Ok((value * factor, rest.trim_start())),
        None => Err(format!("has an unknown unit `{unit}`")),
    }
}

/// Rounds a number that is known to be neither negative nor too large.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "parsed without a sign and below the limits above"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_with_units_are_read() {
        for (text, nanos) in [
            ("120s", 120_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1 min 30 s", 90_000_000_000),
            ("20ms", 20_000_000),
            ("40us", 40_000),
            ("40µs", 40_000),
            ("1.5s", 1_500_000_000),
            ("2h", 7_200_000_000_000),
            ("7ns", 7),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn other_durations_are_refused_with_the_reason() {
        for (text, reason) in [
            ("", "is empty"),
            ("120", "has no unit"),
            ("90 seconds", "has an unknown unit `seconds`"),
            ("1m30", "has no unit"),
            ("-3s", "does not begin with a number"),
            ("1.2.3s", "does not begin with a number"),
            ("s", "does not begin with a number"),
            ("1:30", "has `:30` where a unit belongs"),
            ("31000000000h", "is longer than 30 days"),
        ] {
            assert_eq!(duration(text), Err(reason.to_owned()), "{text}");
        }
    }

    #[test]
    fn sizes_are_decimal_or_binary_as_written() {
        for (text, n) in [("8GiB", 8 << 30), ("500MB", 500_000_000), ("1.5 KiB", 1536), ("12B", 12)] {
            assert_eq!(bytes(text), Ok(Bytes(n)), "{text}");
        }
        for (text, reason) in [
            ("8", "has no unit"),
            ("8G", "has an unknown unit `G`"),
            ("8GiB 3", "goes on after its unit with `3`"),
            ("9999999999GiB", "is more than 1 PiB"),
        ] {
            assert_eq!(bytes(text), Err(reason.to_owned()), "{text}");
        }
    }
}
