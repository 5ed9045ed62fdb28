//! `stats` against the published figures (`cases.json`) and against NumPy and SciPy (`stats.json`, made by
//! `scripts/make_golden.py`). A case of a family of ours that no check handles fails the test.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use std::collections::BTreeMap;

use phasebench::stats::compare::{self, Group};
use phasebench::stats::interval::{self, Interval};
use phasebench::stats::location::{adaptive_location, log_location};
use phasebench::stats::summary::{Summary, geometric_mean, quantile};
use phasebench::stats::{LEVEL, bootstrap, fit, gate, multivariate, rank, series, student};
use serde_json::Value;

/// One case of a golden file.
struct Case<'a> {
    id: &'a str,
    inputs: &'a Value,
    expected: &'a Value,
    whole: &'a Value,
}

impl Case<'_> {
    fn column(&self, key: &str) -> Vec<f64> {
        column(&self.inputs[key])
    }

    fn number(&self, key: &str) -> f64 {
        self.inputs[key].as_f64().unwrap_or_else(|| panic!("{}: no input {key}", self.id))
    }

    fn interval(&self, key: &str) -> Interval {
        let ends = self.column(key);
        Interval { low: ends[0], high: ends[1] }
    }

    /// Relative 1e-9, the files' tolerance.
    fn same(&self, what: &str, found: f64, expected: &Value) {
        let expected = expected.as_f64().unwrap_or_else(|| panic!("{}: no expected {what}", self.id));
        let difference = (found - expected).abs();
        assert!(difference <= 1e-9 * expected.abs(), "{}: {what} is {found}, not {expected}", self.id);
    }

    fn same_option(&self, what: &str, found: Option<f64>, expected: &Value) {
        match found {
            None => assert!(expected.is_null(), "{}: {what} is missing, not {expected}", self.id),
            Some(found) => self.same(what, found, expected),
        }
    }

    fn same_interval(&self, what: &str, found: Interval, expected: &Value) {
        self.same(what, found.low, &expected[0]);
        self.same(what, found.high, &expected[1]);
    }
}

fn column(values: &Value) -> Vec<f64> {
    let values = values.as_array().unwrap_or_else(|| panic!("{values} is not a list"));
    values.iter().map(|v| v.as_f64().unwrap()).collect()
}

type Check = fn(&Case);

/// Runs every case whose family (the id up to its first `/`) has a check, prints how many of each, and
/// fails if a check met no case.
fn walk(file: &str, cases: &Value, checks: &[(&str, Check)]) -> usize {
    let mut counts: BTreeMap<&str, usize> = checks.iter().map(|(family, _)| (*family, 0)).collect();
    let mut others = 0;
    for whole in cases.as_array().unwrap() {
        let id = whole["id"].as_str().unwrap();
        let family = id.split('/').next().unwrap();
        let case = Case { id, inputs: &whole["inputs"], expected: &whole["expected"], whole };
        match checks.iter().find(|(name, _)| *name == family) {
            Some((_, check)) => {
                check(&case);
                *counts.entry(family).or_default() += 1;
            }
            None => others += 1,
        }
    }
    println!("{file}: {counts:?}, {others} of other families");
    for (family, count) in counts {
        assert!(count > 0, "{file} has no case of `{family}`");
    }
    others
}

#[test]
fn published_figures() {
    let cases: Value = serde_json::from_str(include_str!("data/golden/cases.json")).unwrap();
    let others = walk(
        "cases.json",
        &cases,
        &[
            ("fit", published_fit),
            ("bootstrap", published_bootstrap),
            ("gate", published_gate),
            ("multivariate", published_multivariate),
            ("linear_offset", published_linear_offset),
            ("spearman", published_spearman),
            ("geomean_tokens", published_geomean),
            ("warmup_events", published_warmup),
            ("mean_ci", published_mean_interval),
            ("anova", published_anova),
            ("pairwise", published_pairwise),
            ("pooled35", published_pooled),
        ],
    );
    // Prices, energy, KV cache: the tests of those modules. A new statistical family must be added above.
    let elsewhere = [
        "blend",
        "break_even",
        "capacity",
        "carbon",
        "degraded_rate",
        "effective",
        "energy_gate",
        "kv",
        "mixed_requests",
        "phase_cost",
        "product_mix",
        "request",
        "roi",
        "tiers",
        "volume_load",
    ];
    let families = cases.as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().split('/').next());
    let known = families.filter(|family| elsewhere.contains(&family.unwrap())).count();
    assert_eq!(known, others, "a family is checked nowhere");
}

fn published_fit(case: &Case) {
    let law = fit::power_law(&case.column("params_millions"), &case.column("latency_ms")).unwrap();
    case.same("slope", law.slope().value, &case.expected["slope"]);
    case.same("intercept", law.intercept_ln().value, &case.expected["intercept_ln"]);
    case.same("R²", law.r2(), &case.expected["r2"]);
}

fn published_bootstrap(case: &Case) {
    let ln = |key: &str| case.column(key).iter().map(|v| v.ln()).collect::<Vec<_>>();
    let (x, y) = (ln("params_millions"), ln("latency_ms"));
    let expected = column(&case.expected["exact_enumeration"]);
    let exact = bootstrap::slope(&x, &y, LEVEL).unwrap();
    assert_eq!(exact.resampling, bootstrap::Resampling::Exact);
    let ends = [exact.interval.low, exact.interval.high];
    let drawn = bootstrap::sampled(&x, &y, LEVEL, bootstrap::RESAMPLES, bootstrap::SEED).unwrap();
    let allowed = column(&case.whole["tolerance"]["any_rng_B10000"]);
    for (end, drawn) in [drawn.interval.low, drawn.interval.high].into_iter().enumerate() {
        let (found, expected) = (ends[end], expected[end]);
        assert!((found - expected).abs() <= 1e-9, "{}: {found}, not {expected}", case.id);
        assert!((drawn - expected).abs() <= allowed[end], "{}: drawn {drawn}, not {expected}", case.id);
    }
}

fn published_gate(case: &Case) {
    let intervals = [("bootstrap", case.interval("ci"))];
    let models = if case.id.contains("ollama") { 5 } else { 7 };
    let verdict = gate::judge(models, case.number("r2"), &intervals);
    assert_eq!(verdict.is_actionable(), case.expected.as_bool().unwrap(), "{}: {verdict}", case.id);
}

fn published_multivariate(case: &Case) {
    let params = case.column("params_millions");
    let plane = multivariate::power_law(&params, &case.column("n_layer"), &case.column("e2e_ms")).unwrap();
    case.same("alpha", plane.intercept.value, &case.expected["alpha"]);
    case.same("beta", plane.first.value, &case.expected["beta"]);
    case.same("gamma", plane.second.value, &case.expected["gamma"]);
    case.same("R²", plane.r2, &case.expected["r2"]);
}

fn published_linear_offset(case: &Case) {
    let affine = fit::affine(&case.column("params_millions"), &case.column("e2e_ms")).unwrap();
    case.same("a", affine.fit.intercept.value, &case.expected["a"]);
    case.same("b", affine.fit.slope.value, &case.expected["b"]);
    case.same("R²", affine.fit.r2, &case.expected["r2"]);
    assert!(!affine.gate.is_actionable(), "an R² of 0.0005 is actionable");
}

fn published_spearman(case: &Case) {
    let found = rank::spearman(&case.column("x"), &case.column("y")).unwrap();
    case.same("rho", found.rho, &case.expected["rho"]);
    case.same("p_t", found.p_t, &case.expected["p_t"]);
    case.same_option("p_exact", found.p_exact, &case.expected["p_exact"]);
}

fn published_geomean(case: &Case) {
    let tokens = geometric_mean(&case.column("tokens")).unwrap();
    case.same("tokens/s", tokens / (case.number("e2e_ms_geomean") / 1000.0), case.expected);
}

fn published_warmup(case: &Case) {
    let (warmup, steady) = (case.column("warmup_ms"), case.column("steady_ms"));
    for i in 0..warmup.len() {
        let change = compare::median_change(&warmup[i..=i], &steady[i..=i]).unwrap();
        case.same("ratio", change.ratio, &case.expected["ratio"][i]);
        case.same("delta", change.difference, &case.expected["delta_ms"][i]);
        assert_eq!(change.ratio > 10.0, case.expected["gate"][i].as_bool().unwrap(), "{}", case.id);
    }
}

fn published_mean_interval(case: &Case) {
    let values = case.column("usd_per_1m");
    let mean = interval::mean(&values).unwrap();
    case.same("mean", mean.value, &case.expected["mean"]);
    case.same("sd", Group::of(&values).unwrap().sd(), &case.expected["sd"]);
    case.same_interval("interval", mean.interval, &case.expected["ci"]);
}

fn published_groups(case: &Case) -> Vec<Group> {
    let n = case.number("n") as usize;
    let ends = case.column("ci_low").into_iter().zip(case.column("ci_high"));
    (case.column("mean").into_iter().zip(ends))
        .map(|(mean, (low, high))| Group::from_mean_interval(n, mean, Interval { low, high }).unwrap())
        .collect()
}

fn published_anova(case: &Case) {
    let found = compare::anova(&published_groups(case)).unwrap();
    case.same("F", found.f, &case.expected["F"]);
    case.same("p", found.p, &case.expected["p"]);
}

fn published_pairwise(case: &Case) {
    let n = case.number("n") as usize;
    let group = |mean: &str, ends: &str| Group::from_mean_interval(n, case.number(mean), case.interval(ends)).unwrap();
    let (a, b) = (group("mean_a", "ci_a"), group("mean_b", "ci_b"));
    case.same("d", compare::cohen_d(&a, &b).unwrap(), &case.expected["d"]);
    case.same("p_student", compare::student(&a, &b).unwrap().p, &case.expected["p_student"]);
    case.same("p_welch", compare::welch(&a, &b).unwrap().p, &case.expected["p_welch"]);
}

fn published_pooled(case: &Case) {
    let groups = published_groups(case);
    let all = Group::merged(&groups).unwrap();
    case.same("mean", all.mean(), &case.expected["mean"]);
    case.same("sd", all.sd(), &case.expected["sd"]);
    // The published interval is the normal one.
    let half_width = 1.96 * all.sd() / (case.number("n") * groups.len() as f64).sqrt();
    case.same_interval("interval", Interval::around(all.mean(), half_width), &case.expected["ci_z"]);
}

#[test]
fn numpy_and_scipy_values() {
    let file: Value = serde_json::from_str(include_str!("data/golden/stats.json")).unwrap();
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
