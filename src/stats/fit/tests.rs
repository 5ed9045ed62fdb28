#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

#[test]
fn an_exact_power_law_is_recovered() {
    let x = [1.0_f64, 2.0, 4.0, 8.0];
    let y = x.map(|x| 3.0 * x.powf(0.7));
    let law = power_law(&x, &y).unwrap();
    assert!((law.slope().value - 0.7).abs() < 1e-12);
    assert!((law.at(16.0).unwrap() / (3.0 * 16_f64.powf(0.7)) - 1.0).abs() < 1e-12);
    assert!(law.r2() > 1.0 - 1e-12);
    assert_eq!(law.at(0.0), None);
}

#[test]
fn bands_are_narrowest_at_the_mean_and_prediction_is_wider() {
    let fit = line(&[0.0, 1.0, 2.0, 3.0], &[0.1, 0.9, 2.2, 2.8]).unwrap();
    let middle = fit.mean_band(1.5);
    assert!(middle.width() < fit.mean_band(0.0).width());
    assert!(middle.width() < fit.prediction_band(1.5).width());
    assert!((fit.mean_band(0.0).low - fit.intercept.interval.low).abs() < 1e-12);
}

/// Two groups with levels far apart: a line through all of them would see only the levels.
#[test]
fn a_common_slope_is_that_within_the_groups() {
    let x = [1.0, 2.0, 3.0, 11.0, 12.0, 13.0];
    let y = [1.1, 2.0, 2.9, -98.9, -98.0, -97.1];
    let groups = [0, 0, 0, 7, 7, 7];
    let slope = common_slope(&x, &y, &groups).unwrap();
    assert!((slope.value - 0.9).abs() < 1e-12, "{slope:?}");
    assert!(line(&x, &y).unwrap().slope.value < -5.0);
    let noisy = [1.0, 2.5, 2.6, 4.4];
    let (alone, fit) = (common_slope(&x[..4], &noisy, &[3; 4]).unwrap(), line(&x[..4], &noisy).unwrap());
    assert!((alone.value - fit.slope.value).abs() < 1e-12);
    assert!((alone.interval.low - fit.slope.interval.low).abs() < 1e-12);
    for ((x, y, groups), message) in [
        ((&[1.0, 1.0, 2.0, 2.0][..], &[1.0, 2.0, 3.0, 4.0][..], &[0, 0, 1, 1][..]), "all values of x are equal"),
        ((&[1.0, 2.0, 3.0][..], &[1.0, 2.0, 3.0][..], &[0, 0, 1][..]), "3 points, at least 4 are needed"),
    ] {
        assert_eq!(common_slope(x, y, groups).unwrap_err().to_string(), message);
    }
}

#[test]
fn unusable_input_is_refused_with_the_reason() {
    type Columns = (&'static [f64], &'static [f64]);
    let table: &[(Columns, &str)] = &[
        ((&[1.0, 2.0], &[1.0, 2.0]), "2 points, at least 3 are needed"),
        ((&[], &[]), "0 points, at least 3 are needed"),
        ((&[1.0, 2.0, 3.0], &[1.0, 2.0]), "3 values of x but 2 of y"),
        ((&[2.0, 2.0, 2.0], &[1.0, 2.0, 3.0]), "all values of x are equal"),
        ((&[1.0, 2.0, 3.0], &[5.0, 5.0, 5.0]), "all values of y are equal"),
        ((&[1.0, 2.0, 0.0], &[1.0, 2.0, 3.0]), "x[2] is 0, a logarithm needs positive values"),
        ((&[1.0, 2.0, 3.0], &[1.0, -2.0, 3.0]), "y[1] is -2, a logarithm needs positive values"),
        ((&[1.0, 2.0, 3.0], &[1.0, f64::NAN, 3.0]), "y[1] is NaN, only finite values up to 1e140 can be used"),
    ];
    for ((x, y), message) in table {
        assert_eq!(scaling(x, y).unwrap_err().to_string(), *message);
    }
}

fn known_to(standard_errors: &[f64]) -> Vec<PointError> {
    standard_errors.iter().map(|&standard_error| PointError { standard_error, df: 9.0 }).collect()
}

/// The fault that this is for: points on a power law to within half a per cent, each known to ±17 %.
#[test]
fn an_interval_is_no_narrower_than_what_the_points_are_known_to() {
    let x = [5.0_f64, 25.0, 45.0, 75.0];
    let y: Vec<f64> = x.iter().zip([1.004, 0.997, 1.001, 0.998]).map(|(x, off)| 0.2 * x.powf(1.04) * off).collect();
    let alone = power_law(&x, &y).unwrap();
    assert!(alone.slope().interval.low > 1.02 && alone.slope().interval.high < 1.06, "{:?}", alone.slope());
    let known = measured_power_law(&x, &y, Some(&known_to(&[0.087; 4]))).unwrap();
    let interval = known.slope().interval;
    assert_eq!(known.slope().value, alone.slope().value);
    assert!(interval.low < 0.97 && interval.high > 1.11, "{interval:?}");
    assert_eq!((known.logs.scatter(), alone.logs.scatter()), (Some(0.0), None));
    assert!(known.mean_band(200.0).unwrap().width() > 5.0 * alone.mean_band(200.0).unwrap().width());
    assert!(known.prediction_band(30.0).unwrap().width() > known.mean_band(30.0).unwrap().width());
}

/// Errors that are small beside the scatter change nothing; errors of 0 and none at all leave the line as it is.
#[test]
fn without_errors_that_matter_intervals_are_those_of_the_residuals() {
    let (x, y) = ([1.0, 2.0, 4.0, 7.0, 9.0], [1.2, 1.9, 4.4, 6.3, 9.9]);
    let ordinary = line(&x, &y).unwrap();
    assert_eq!(measured_line(&x, &y, None).unwrap(), ordinary);
    assert_eq!(measured_line(&x, &y, Some(&known_to(&[0.0; 5]))).unwrap(), ordinary);
    let known = measured_line(&x, &y, Some(&known_to(&[1e-6; 5]))).unwrap();
    let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
    assert!(near(known.slope.interval.low, ordinary.slope.interval.low));
    assert!(near(known.intercept.interval.high, ordinary.intercept.interval.high));
    assert!(near(known.scatter().unwrap(), ordinary.sigma));
    assert!(near(known.mean_band(3.0).low, ordinary.mean_band(3.0).low));
    assert!(near(known.prediction_band(3.0).low, ordinary.prediction_band(3.0).low));
}

/// An end that is known badly makes the slope unsure, the middle does not.
#[test]
fn a_point_counts_by_its_place() {
    let (x, y) = ([1.0, 2.0, 3.0, 4.0, 5.0], [1.01, 1.99, 3.0, 4.01, 4.99]);
    let width = |errors: [f64; 5]| measured_line(&x, &y, Some(&known_to(&errors))).unwrap().slope.interval.width();
    let ordinary = line(&x, &y).unwrap().slope.interval.width();
    let (middle, end) = (width([0.0, 0.0, 0.5, 0.0, 0.0]), width([0.0, 0.0, 0.0, 0.0, 0.5]));
    assert!(middle <= ordinary && end > 10.0 * ordinary, "{middle} {end} {ordinary}");
    for (errors, message) in [
        (known_to(&[0.1; 3]), "5 values of x but 3 of y"),
        (known_to(&[0.1, -0.1, 0.1, 0.1, 0.1]), "a standard error is -0.1, allowed: 0 or more"),
        (vec![PointError { standard_error: 0.1, df: 0.0 }; 5], "degrees of freedom is 0, allowed: more than 0"),
    ] {
        assert_eq!(measured_line(&x, &y, Some(&errors)).unwrap_err().to_string(), message);
    }
}

/// Relative deviations: the smallest point counts as much as the largest, which ordinary least squares hardly see.
#[test]
fn a_relative_line_is_as_right_at_small_points_as_at_large_ones() {
    let x = [1.0, 5.0, 25.0, 125.0, 625.0];
    let y: Vec<f64> = x.iter().zip([1.02, 0.98, 1.01, 0.99, 1.03]).map(|(x, off)| (3.0 + 0.2 * x) * off).collect();
    let relative = relative_line(&x, &y).unwrap();
    assert!(relative.intercept.interval.contains(3.0) && relative.slope.interval.contains(0.2), "{relative:?}");
    assert!(relative.intercept.interval.width() < 0.5 && relative.r2_ln.unwrap() > 0.999, "{relative:?}");
    assert!(line(&x, &y).unwrap().intercept.interval.width() > 1.7);
    // On a power law it is the law that fits.
    let power = x.map(|x: f64| x.sqrt());
    let (line, law) = (relative_line(&x, &power).unwrap(), power_law(&x, &power).unwrap());
    assert!(line.r2_ln.unwrap() < 0.98 && law.r2() > 0.999_999, "{line:?}");
    assert_eq!(relative_line(&[1.0, 1.1, 5.0], &[1.0, 0.5, 500.0]).unwrap().r2_ln, None, "it goes below 0");
    assert_eq!(
        relative_line(&x, &[1.0, 2.0, 0.0, 1.0, 1.0]).unwrap_err().to_string(),
        "y[2] is 0, a logarithm needs positive values"
    );
}

#[test]
fn three_good_points_are_still_too_few_to_act_on() {
    let fit = scaling(&[1.0, 10.0, 100.0], &[1.0, 5.1, 24.9]).unwrap();
    assert!(!fit.gate.is_actionable(), "{}", fit.gate);
}
