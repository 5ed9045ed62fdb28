//! Counts of what went wrong, on two sides.

use statrs::distribution::{DiscreteCDF, Hypergeometric};

use crate::stats::InputError;

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Those that went wrong.
    pub hits: u64,
    /// All of them.
    pub of: u64,
}

/// One-sided p of the second side's rate being no higher than the first's: how often as many hits or more would fall on the
/// second by chance, given how many there are in all. 1 where there is no hit, or a side has no trials.
///
/// Source: Fisher 1935, the exact test.
///
/// # Errors
/// More hits than trials.
pub fn more_often(first: Counts, second: Counts) -> Result<f64, InputError> {
    for side in [first, second] {
        if side.hits > side.of {
            return Err(InputError::Setting { what: "hits", value: side.hits as f64, allowed: "at most the trials" });
        }
    }
    let hits = first.hits + second.hits;
    if second.hits == 0 || first.of == 0 {
        return Ok(1.0);
    }
    let chance = Hypergeometric::new(first.of + second.of, hits, second.of);
    let chance = chance.map_err(|_| InputError::TooFew { n: 0, needed: 1 })?;
    Ok(chance.sf(second.hits - 1).clamp(0.0, 1.0))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn counts(hits: u64, of: u64) -> Counts {
        Counts { hits, of }
    }

    /// By sums of binomial coefficients, in whole numbers.
    #[test]
    fn one_sided_p_is_the_exact_one() {
        for (first, second, p) in [
            (counts(0, 20), counts(6, 20), 0.010_098_010),
            (counts(1, 60), counts(4, 60), 0.182_180_565),
            (counts(0, 3), counts(3, 3), 0.05),
            (counts(5, 30), counts(2, 30), 0.948_605_142),
        ] {
            let found = more_often(first, second).unwrap();
            assert!((found - p).abs() < 1e-8, "{first:?} {second:?}: {found}");
        }
        assert_eq!(more_often(counts(3, 10), counts(0, 10)), Ok(1.0));
        assert_eq!(more_often(counts(0, 0), counts(4, 10)), Ok(1.0));
        assert!(more_often(counts(3, 2), counts(0, 10)).is_err());
    }
}
