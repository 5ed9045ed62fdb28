//! Student's t: critical values and p values.

use statrs::distribution::{Continuous, ContinuousCDF, StudentsT};

/// Degrees of freedom from which on the distribution is the normal one to five digits. Beyond, the library's inverse loses
/// digits, and from a hundred million on it does not end.
const AS_GOOD_AS_NORMAL: f64 = 1e6;

/// The value that a t variable with `df` degrees of freedom exceeds in neither direction with
/// probability `level`; 12.7 at 1 degree, 2.04 at 30 for 0.95. `df` need not be whole.
///
/// `None`: `df` not positive, or `level` not between 0 and 1.
#[must_use]
pub fn critical(level: f64, df: f64) -> Option<f64> {
    if !(level > 0.0 && level < 1.0 && df > 0.0) {
        return None;
    }
    let t = StudentsT::new(0.0, 1.0, df.min(AS_GOOD_AS_NORMAL)).ok()?;
    let tail = (1.0 - level) / 2.0;
    let mut value = t.inverse_cdf(1.0 - tail);
    // The library's inverse stops early; two Newton steps bring it to double precision.
    for _ in 0..2 {
        let density = t.pdf(value);
        if density > 0.0 {
            value += (t.sf(value) - tail) / density;
        }
    }
    value.is_finite().then_some(value)
}

/// Probability that a t variable lies at least as far from 0 as `t`, in either direction.
///
/// `None`: `t` is NaN or `df` not positive.
#[must_use]
pub fn two_sided_p(t: f64, df: f64) -> Option<f64> {
    if t.is_nan() || df.is_nan() || df <= 0.0 {
        return None;
    }
    if t.is_infinite() {
        return Some(0.0);
    }
    Some((2.0 * StudentsT::new(0.0, 1.0, df.min(AS_GOOD_AS_NORMAL)).ok()?.sf(t.abs())).min(1.0))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn endless_degrees_of_freedom_are_the_normal_distribution() {
        for df in [1e6, 1e9, f64::INFINITY] {
            assert!((critical(0.95, df).unwrap() - 1.959_964).abs() < 1e-5, "{df}");
            assert!((two_sided_p(1.959_964, df).unwrap() - 0.05).abs() < 1e-6, "{df}");
        }
    }
}
