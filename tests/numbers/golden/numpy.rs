//! Values of NumPy and SciPy.

use phasebench::stats::compare::{self, Group};
use phasebench::stats::location::{adaptive_location, log_location};
use phasebench::stats::summary::{Summary, quantile};
use phasebench::stats::{LEVEL, fit, multivariate, rank, series, student};
use serde_json::Value;

use crate::golden::case::{Case, column, walk};

#[test]
fn numpy_and_scipy_values() {
    let file: Value = serde_json::from_str(include_str!("../../data/golden/stats.json")).unwrap();
    let others = walk(
        "stats.json",
        &file["cases"],
        &[
            ("line", numpy_line),
            ("plane", numpy_plane),
            ("summary", numpy_summary),
            ("rank", scipy_rank),
            ("groups", scipy_groups),
            ("student", scipy_student),
            ("series", numpy_series),
        ],
    );
    assert_eq!(others, 0, "a family is checked nowhere");
}

fn numpy_line(case: &Case) {
    let line = fit::line(&case.column("x"), &case.column("y")).unwrap();
    case.same("intercept", line.intercept.value, &case.expected["coefficients"][0]);
    case.same("slope", line.slope.value, &case.expected["coefficients"][1]);
    case.same_interval("intercept", line.intercept.interval, &case.expected["intervals"][0]);
    case.same_interval("slope", line.slope.interval, &case.expected["intervals"][1]);
    case.same("sigma", line.sigma, &case.expected["sigma"]);
    case.same("R²", line.r2, &case.expected["r2"]);
    let at = case.number("at");
    case.same_interval("mean band", line.mean_band(at), &case.expected["mean_band"]);
    case.same_interval("prediction band", line.prediction_band(at), &case.expected["prediction_band"]);
    for (found, expected) in line.residuals.iter().zip(column(&case.expected["residuals"])) {
        assert!((found - expected).abs() < 1e-12, "{}: residual {found}, not {expected}", case.id);
    }
    // The case can tell the R² about the mean from the one about 0.
    let about_zero = case.expected["r2_about_zero"].as_f64().unwrap();
    assert!((line.r2 - about_zero).abs() > 1e-3, "{}", case.id);
    if case.id.contains("noise") && line.n >= 30 {
        assert!(line.r2 < 0.2 && about_zero > 0.9, "{}: {} {about_zero}", case.id, line.r2);
    }
}

fn numpy_plane(case: &Case) {
    let plane = multivariate::power_law(&case.column("x1"), &case.column("x2"), &case.column("y")).unwrap();
    for (i, found) in [plane.intercept, plane.first, plane.second].into_iter().enumerate() {
        case.same("coefficient", found.value, &case.expected["coefficients"][i]);
        case.same_interval("interval", found.interval, &case.expected["intervals"][i]);
    }
    case.same("sigma", plane.sigma, &case.expected["sigma"]);
    case.same("R²", plane.r2, &case.expected["r2"]);
    case.same("condition number", plane.condition_number, &case.expected["condition_number"]);
}

fn numpy_summary(case: &Case) {
    let values = case.column("values");
    let found = Summary::of(&values).unwrap();
    let expected = case.expected;
    case.same("median", found.median, &expected["median"]);
    case.same("mean", found.mean, &expected["mean"]);
    case.same_option("sd", found.sd, &expected["sd"]);
    case.same_option("geometric mean", found.geometric_mean, &expected["geometric_mean"]);
    case.same_option("cv", found.cv, &expected["cv"]);
    case.same_option("p95", found.p95, &expected["p95"]);
    case.same_option("p99", found.p99, &expected["p99"]);
    case.same_option("10th percentile", quantile(&values, 0.1), &expected["q10"]);
    assert_eq!(found.outliers.map(|n| n as u64), expected["outliers"].as_u64(), "{}", case.id);
}

fn scipy_rank(case: &Case) {
    let found = rank::spearman(&case.column("x"), &case.column("y")).unwrap();
    case.same("rho", found.rho, &case.expected["rho"]);
    case.same("p_t", found.p_t, &case.expected["p_t"]);
    case.same_option("p_exact", found.p_exact, &case.expected["p_exact"]);
}

fn scipy_groups(case: &Case) {
    let groups = case.inputs["groups"].as_array().unwrap().iter();
    let groups: Vec<Group> = groups.map(|g| Group::of(&column(g)).unwrap()).collect();
    let (a, b) = (&groups[0], &groups[1]);
    let welch = compare::welch(a, b).unwrap();
    case.same("Student p", compare::student(a, b).unwrap().p, &case.expected["student_p"]);
    case.same("Welch p", welch.p, &case.expected["welch_p"]);
    case.same("Welch df", welch.df, &case.expected["welch_df"]);
    case.same("d", compare::cohen_d(a, b).unwrap(), &case.expected["cohen_d"]);
    let anova = compare::anova(&groups).unwrap();
    case.same("F", anova.f, &case.expected["anova_f"]);
    case.same("p", anova.p, &case.expected["anova_p"]);
}

fn scipy_student(case: &Case) {
    let df = case.number("df");
    for (level, expected) in case.expected["critical"].as_object().unwrap() {
        case.same(level, student::critical(level.parse().unwrap(), df).unwrap(), expected);
    }
    for (t, expected) in case.expected["p"].as_object().unwrap() {
        case.same(t, student::two_sided_p(t.parse().unwrap(), df).unwrap(), expected);
    }
}

fn numpy_series(case: &Case) {
    let values = case.column("values");
    let expected = case.expected;
    let logs: Vec<f64> = values.iter().map(|v| v.ln()).collect();
    case.same_option("autocorrelation", series::autocorrelation(&logs), &expected["autocorrelation"]);
    case.same_option("effective n", series::effective_n(&logs), &expected["n_effective"]);
    let location = log_location(&values, LEVEL).unwrap();
    case.same("rho1", location.rho1, &expected["rho1"]);
    case.same("n_effective", location.n_effective, &expected["n_effective"]);
    case.same("estimate", location.estimate, &expected["estimate"]);
    case.same_interval("interval", location.interval, &expected["interval"]);
    let widened = adaptive_location(&values, LEVEL).unwrap().relative_half_width.asinh();
    let ratio = widened / location.relative_half_width.asinh();
    assert!((ratio - 1.15).abs() < 1e-9, "{}: {ratio}", case.id);
    let drift = series::drift(&values).unwrap();
    case.same("relative change", drift.relative_change, &expected["relative_change"]);
    case.same("drift p", drift.p, &expected["drift_p"]);
}
