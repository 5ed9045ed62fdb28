//! Quantities with their unit in the type, and how people read them.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A time or a duration in nanoseconds. As a time it counts from a clock's own start, see `clock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    /// Milliseconds, as a fraction.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "2^53 ns is 104 days")]
    pub fn as_ms(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Seconds, as a fraction.
    #[must_use]
    pub fn as_secs(self) -> f64 {
        self.as_ms() / 1e3
    }

    /// Nanoseconds from milliseconds, rounded; negative values become 0.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped at 0")]
    pub fn from_ms(ms: f64) -> Self {
        Self((ms * 1e6).round().max(0.0) as u64)
    }

    /// The time between two readings; 0 if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    /// The same length as a standard duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

impl From<Duration> for Nanos {
    fn from(d: Duration) -> Self {
        Self(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Add for Nanos {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Nanos {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self(0), Self::add)
    }
}

impl Sub for Nanos {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.since(other)
    }
}

/// `1.23 ms`, `4.5 s`, `2 min 03 s`.
impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.as_secs();
        if s < 1e-3 {
            write!(f, "{:.1} µs", s * 1e6)
        } else if s < 1.0 {
            write!(f, "{} ms", significant(s * 1e3, 3))
        } else if s < 60.0 {
            write!(f, "{s:.1} s")
        } else if s < 3600.0 {
            let whole = self.0 / 1_000_000_000;
            write!(f, "{} min {:02} s", whole / 60, whole % 60)
        } else {
            let minutes = self.0 / 60_000_000_000;
            write!(f, "{} h {:02} min", minutes / 60, minutes % 60)
        }
    }
}

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self(0), Self::add)
    }
}

/// The sum of counts that somebody else made; the largest number where it would be larger.
#[must_use]
pub fn total(counts: impl IntoIterator<Item = u32>) -> u32 {
    counts.into_iter().fold(0, u32::saturating_add)
}

/// `512 B`, `1.5 KiB`, `98.2 MiB`: binary units, as memory is counted.
impl fmt::Display for Bytes {
    #[expect(clippy::cast_precision_loss, reason = "printed with three digits")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.0 as f64;
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        for unit in ["KiB", "MiB", "GiB", "TiB"] {
            value /= 1024.0;
            if value < 1024.0 || unit == "TiB" {
                return write!(f, "{} {unit}", significant(value, 3));
            }
        }
        Ok(())
    }
}

/// `value` with `digits` significant digits and no exponent, for people; files carry full precision.
#[must_use]
pub fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { value.to_string() };
    }
    #[expect(clippy::cast_possible_truncation, reason = "an f64's exponent fits")]
    let magnitude = value.abs().log10().floor() as i64;
    let digits = i64::try_from(digits).unwrap_or(3);
    let decimals = usize::try_from((digits - 1 - magnitude).max(0)).unwrap_or(0);
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_durations() {
        for (ns, text) in [
            (860, "0.9 µs"),
            (1_234_000, "1.23 ms"),
            (85_400_000, "85.4 ms"),
            (4_520_000_000, "4.5 s"),
            (123_000_000_000, "2 min 03 s"),
            (3_720_000_000_000, "1 h 02 min"),
        ] {
            assert_eq!(Nanos(ns).to_string(), text);
        }
    }

    #[test]
    fn sums_end_at_the_largest_number() {
        let (largest, one) = (u64::MAX, 1);
        assert_eq!([Nanos(largest), Nanos(one)].into_iter().sum::<Nanos>(), Nanos(largest));
        assert_eq!([Bytes(largest), Bytes(one)].into_iter().sum::<Bytes>(), Bytes(largest));
        assert_eq!((total([u32::MAX, 1]), total([2, 3]), total([])), (u32::MAX, 5, 0));
    }

    #[test]
    fn sizes_are_binary() {
        for (n, text) in [(512, "512 B"), (1536, "1.50 KiB"), (100 << 20, "100 MiB"), (3 << 30, "3.00 GiB")] {
            assert_eq!(Bytes(n).to_string(), text);
        }
    }
}
