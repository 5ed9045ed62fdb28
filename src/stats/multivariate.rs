//! Power law in two predictors: what size does once depth is held still.

use crate::stats::interval::Estimate;
use crate::stats::{InputError, logs, moments, paired, varied};

/// `ln y = intercept + first·ln x1 + second·ln x2`, by ordinary least squares.
#[derive(Debug, Clone, PartialEq)]
pub struct Plane {
    /// How many points.
    pub n: usize,
    /// α: ln y at x1 = x2 = 1.
    pub intercept: Estimate,
    /// β: exponent of x1 with x2 held still; t interval with n−3 degrees of freedom.
    pub first: Estimate,
    /// γ: exponent of x2 with x1 held still; t interval with n−3 degrees of freedom.
    pub second: Estimate,
    /// `1 − SSE/SST` about the mean of ln y.
    pub r2: f64,
    /// Residual standard deviation of ln y.
    pub sigma: f64,
    /// Residuals of ln y, in the order of the points.
    pub residuals: Vec<f64>,
    /// Condition number of the two centred, scaled log predictors, `√((1+|r|)/(1−|r|))` with r their
    /// correlation: 1 where they are independent; above about 10 the effects are hardly told apart.
    /// Centred, so that counting parameters in thousands or millions makes no difference.
    pub condition_number: f64,
}

/// Below this share of variation of one predictor left by the other, they count as collinear.
const COLLINEAR: f64 = 1e-10;

/// Fits a power law in two predictors.
///
/// # Errors
/// Fewer than 4 points, columns of different length, a value that is not finite or not positive, a
/// constant column, predictors of which one follows from the other.
pub fn power_law(x1: &[f64], x2: &[f64], y: &[f64]) -> Result<Plane, InputError> {
    paired(x1, y, 4)?;
    paired(x2, y, 4)?;
    let (u, v, w) = (logs("x1", x1, 4)?, logs("x2", x2, 4)?, logs("y", y, 4)?);
    varied("x1", &u)?;
    varied("x2", &v)?;
    varied("y", &w)?;
    let n = u.len();
    let (mean_u, mean_v, mean_w) = (moments::mean(&u), moments::mean(&v), moments::mean(&w));
    let (u, v, w) = (centred(&u, mean_u), centred(&v, mean_v), centred(&w, mean_w));

    let (uu, vv, uv) = (dot(&u, &u), dot(&v, &v), dot(&u, &v));
    let r = (uv / (uu * vv).sqrt()).clamp(-1.0, 1.0);
    if 1.0 - r * r < COLLINEAR {
        return Err(InputError::Collinear);
    }
    let determinant = uu * vv - uv * uv;
    let (uw, vw) = (dot(&u, &w), dot(&v, &w));
    let first = (vv * uw - uv * vw) / determinant;
    let second = (uu * vw - uv * uw) / determinant;
    let residuals: Vec<f64> = w.iter().zip(u.iter().zip(&v)).map(|(w, (u, v))| w - first * u - second * v).collect();

    let unexplained = dot(&residuals, &residuals);
    let df = (n - 3) as f64;
    let sigma = (unexplained / df).sqrt();
    let at_origin = mean_u * mean_u * vv + mean_v * mean_v * uu - 2.0 * mean_u * mean_v * uv;
    let estimate = |value: f64, variance: f64| {
        Estimate::with_t(value, sigma * variance.sqrt(), df).ok_or(InputError::TooFew { n, needed: 4 })
    };
    Ok(Plane {
        n,
        intercept: estimate(mean_w - first * mean_u - second * mean_v, 1.0 / n as f64 + at_origin / determinant)?,
        first: estimate(first, vv / determinant)?,
        second: estimate(second, uu / determinant)?,
        r2: 1.0 - unexplained / dot(&w, &w),
        sigma,
        residuals,
        condition_number: ((1.0 + r.abs()) / (1.0 - r.abs())).sqrt(),
    })
}

fn centred(values: &[f64], mean: f64) -> Vec<f64> {
    values.iter().map(|v| v - mean).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const PARAMS: [f64; 5] = [5.0, 25.0, 45.0, 75.0, 96.0];
    const LAYERS: [f64; 5] = [12.0, 3.0, 6.0, 5.0, 8.0];

    #[test]
    fn two_exponents_are_recovered_and_units_do_not_matter() {
        let y: Vec<f64> = PARAMS.iter().zip(LAYERS).map(|(p, l)| 2.0 * p.powf(0.3) * l.powf(0.6)).collect();
        let in_millions = power_law(&PARAMS, &LAYERS, &y).unwrap();
        assert!((in_millions.first.value - 0.3).abs() < 1e-12);
        assert!((in_millions.second.value - 0.6).abs() < 1e-12);
        let units = power_law(&PARAMS.map(|p| p * 1e6), &LAYERS, &y).unwrap();
        assert!((in_millions.condition_number - units.condition_number).abs() < 1e-9);
    }

    #[test]
    fn collinear_predictors_and_short_columns_are_refused() {
        let y = [1.0, 2.0, 4.0, 3.0, 5.0];
        assert_eq!(power_law(&PARAMS, &PARAMS.map(|p| p * p), &y), Err(InputError::Collinear));
        assert_eq!(power_law(&PARAMS, &[6.0; 5], &y), Err(InputError::Constant { axis: "x2" }));
        let three = power_law(&PARAMS[..3], &LAYERS[..3], &y[..3]);
        assert_eq!(three, Err(InputError::TooFew { n: 3, needed: 4 }));
    }
}
