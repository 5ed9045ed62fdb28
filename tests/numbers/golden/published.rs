//! The published figures, recomputed at double precision.

use phasebench::stats::compare::{self, Group};
use phasebench::stats::interval::{self, Interval};
use phasebench::stats::summary::geometric_mean;
use phasebench::stats::{LEVEL, bootstrap, fit, gate, multivariate, rank};
use serde_json::Value;

use crate::golden::case::{Case, column, walk};

#[test]
fn published_figures() {
    let cases: Value = serde_json::from_str(include_str!("../../data/golden/cases.json")).unwrap();
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
    let elsewhere = super::money::FAMILIES.map(|(family, _)| family);
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
