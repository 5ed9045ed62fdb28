//! Several tests at once: p values corrected for how many there are.

use crate::stats::InputError;

/// Holm's adjusted p values, in the order given: calling those of at most α different is wrong of any one of them with a
/// chance of at most α, however the tests depend on each other.
///
/// Source: Holm 1979.
///
/// # Errors
/// A value that is not between 0 and 1.
pub fn holm(p: &[f64]) -> Result<Vec<f64>, InputError> {
    let order = ascending(p)?;
    let (mut adjusted, mut largest) = (vec![0.0; p.len()], 0.0_f64);
    for (place, &test) in order.iter().enumerate() {
        largest = largest.max(p[test] * (p.len() - place) as f64).min(1.0);
        adjusted[test] = largest;
    }
    Ok(adjusted)
}

/// Benjamini and Hochberg's q values, in the order given: of the tests with a q of at most α, a share of α is expected to be
/// false alarms, where tests are independent or depend positively.
///
/// Source: Benjamini and Hochberg 1995.
///
/// # Errors
/// A value that is not between 0 and 1.
pub fn benjamini_hochberg(p: &[f64]) -> Result<Vec<f64>, InputError> {
    let order = ascending(p)?;
    let (mut adjusted, mut smallest) = (vec![0.0; p.len()], 1.0_f64);
    for (place, &test) in order.iter().enumerate().rev() {
        smallest = smallest.min(p[test] * p.len() as f64 / (place + 1) as f64);
        adjusted[test] = smallest;
    }
    Ok(adjusted)
}

/// Places of p values from the smallest to the largest.
fn ascending(p: &[f64]) -> Result<Vec<usize>, InputError> {
    if let Some(value) = p.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return Err(InputError::Setting { what: "p", value: *value, allowed: "0 to 1" });
    }
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    Ok(order)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn holm_steps_down_and_never_falls() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]).unwrap();
        for (found, expected) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((found - expected).abs() < 1e-15, "{adjusted:?}");
        }
        assert_eq!(holm(&[]).unwrap(), [0.0; 0]);
        assert!(holm(&[1.5]).is_err() && benjamini_hochberg(&[f64::NAN]).is_err());
    }

    #[test]
    fn benjamini_and_hochberg_step_up() {
        let q = benjamini_hochberg(&[0.01, 0.04, 0.03, 0.005]).unwrap();
        for (found, expected) in q.iter().zip([0.02, 0.04, 0.04, 0.02]) {
            assert!((found - expected).abs() < 1e-15, "{q:?}");
        }
    }
}
