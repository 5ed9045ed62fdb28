//! Over models: aggregates, fits, shifts.

use phasebench::analysis::aggregate::{LATENCY_RULE, THROUGHPUT_RULE};
use phasebench::analysis::{Metric, ScalingFitRow, ScopeKind, ShiftRow, Tables, curve};
use phasebench::stats::fit::scaling;
use phasebench::terms::{Degraded, Dtype, Finish, FitAxis, Mode};

use crate::analysis::run::{FOUR, Model, Run, Shape, degrade, finish, model, shape};

fn close(found: Option<f64>, expected: f64) {
    let found = found.unwrap();
    assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1e-6), "{found}, expected {expected}");
}

fn fits(tables: &Tables, mode: Mode, kind: ScopeKind) -> Vec<&ScalingFitRow> {
    tables.scaling_fits.iter().filter(|fit| fit.key.mode == mode && fit.key.scope == kind).collect()
}

const MICRO: Shape = shape("micro", 2, 1, 64);
const LONG: Shape = shape("long", 8, 1, 64);

/// Prefill grows with √params and the prompt, decode with params^0.75.
fn power(model: Model, shape: Shape, _: u32) -> (f64, f64) {
    (f64::from(shape.prompt) * model.millions.sqrt(), f64::from(shape.steps) * model.millions.powf(0.75))
}

#[test]
fn aggregates_are_geometric_and_throughput_divides_two_of_them() {
    let tables = Run::measured(&FOUR[..1], &[MICRO, LONG], 3, power).tables();
    let row = tables.aggregate.iter().find(|row| row.mode == Mode::Prefill).unwrap();
    // Medians 2 and 8 ms for 2 and 8 tokens: 4 ms, 4 tokens.
    assert_eq!((row.n_scenarios, row.scenarios.as_str(), row.n_calls), (2, "micro;long", 6));
    close(Some(row.latency_ms), 4.0);
    close(row.tokens, 4.0);
    close(row.tokens_per_s, 1000.0);
    assert_eq!((row.latency_rule.as_str(), row.throughput_rule.as_str()), (LATENCY_RULE, THROUGHPUT_RULE));
    assert_eq!(row.missing_scenarios, "");
}

#[test]
fn different_batches_and_decode_lengths_are_not_aggregated() {
    let shapes = [MICRO, shape("wide", 2, 8, 64), shape("micro", 2, 1, 128)];
    let tables = Run::measured(&FOUR[..1], &shapes, 1, power).tables();
    let rows = tables.aggregate.iter().filter(|row| row.mode == Mode::KvDecode);
    let shapes: Vec<_> = rows.map(|row| (row.batch, row.gen_tokens, row.scenarios.as_str())).collect();
    assert_eq!(shapes, [(1, 64, "micro"), (8, 64, "wide"), (1, 128, "micro")]);
}

#[test]
fn a_known_law_is_found_per_scenario_and_over_all() {
    let tables = Run::measured(&FOUR, &[MICRO, LONG], 3, power).tables();
    let headline = fits(&tables, Mode::Prefill, ScopeKind::Aggregate)[0];
    assert_eq!((headline.n_models, headline.models.as_str(), headline.key.headline), (4, "a;b;c;d", true));
    assert_eq!((headline.x.as_str(), headline.form.as_str()), ("params_millions", "power_law"));
    assert_eq!((headline.actionable, headline.reason.as_deref(), headline.note.as_deref()), (true, None, None));
    close(headline.slope, 0.5);
    close(headline.intercept_ln, 4.0_f64.ln());
    close(headline.r2, 1.0);
    assert_eq!(headline.bootstrap.as_deref(), Some("exact"));
    let each = fits(&tables, Mode::KvDecode, ScopeKind::Scenario);
    assert_eq!(each.iter().map(|fit| fit.key.scenario.as_deref()).collect::<Vec<_>>(), [Some("micro"), Some("long")]);
    for fit in &each {
        close(fit.slope, 0.75);
        assert!(!fit.key.headline);
    }
    let mut ids: Vec<&str> = tables.scaling_fits.iter().map(|fit| fit.key.fit_id.as_str()).collect();
    assert!(ids.contains(&"eng/f32/prefill/scenario:long/batch1/gen64"), "{ids:?}");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), tables.scaling_fits.len());
}

#[test]
fn estimates_are_the_stats_modules_own() {
    let latency = [3.0, 5.0, 21.0, 40.0];
    let law = |model: Model, _: Shape, _: u32| {
        let place = FOUR.iter().position(|m| m.name == model.name).unwrap();
        (latency[place], 1.0)
    };
    let tables = Run::measured(&FOUR, &[MICRO], 3, law).tables();
    let found = scaling(&[1.0, 4.0, 16.0, 64.0], &latency).unwrap();
    let row = fits(&tables, Mode::Prefill, ScopeKind::Scenario)[0];
    close(row.slope, found.fit.slope().value);
    close(row.slope_t_low, found.fit.slope().interval.low);
    close(row.slope_bootstrap_high, found.bootstrap.interval.high);
    close(row.sigma_ln, found.fit.logs.sigma);
    let own: Vec<_> = tables.scaling_residuals.iter().filter(|point| point.fit_id == row.key.fit_id).cloned().collect();
    assert_eq!(own.iter().map(|point| point.model.as_str()).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    for (point, latency) in own.iter().zip(latency) {
        close(Some(point.fitted_ms * point.residual_ln.exp()), latency);
        assert!(point.band_low_ms < point.fitted_ms && point.fitted_ms < point.band_high_ms);
    }
    let drawn = curve(&own, 5).unwrap();
    assert_eq!(drawn.len(), 5);
    close(Some(drawn[0].x), 1.0);
    close(Some(drawn[2].x), 8.0);
    close(Some(drawn[4].fitted_ms), own[3].fitted_ms);
}

/// Medians that happen to lie on a law to within a per cent, of calls that vary by 20 %.
#[test]
fn a_slope_is_known_no_better_than_its_medians() {
    let noisy = |model: Model, shape: Shape, call: u32| {
        let (prefill, decode) = power(model, shape, call);
        let swing = [1.25, 1.0, 0.8, 1.01, 1.22, 0.99, 0.83][call as usize % 7];
        (prefill * swing, decode)
    };
    let tables = Run::measured(&FOUR, &[MICRO], 7, noisy).tables();
    let prefill = fits(&tables, Mode::Prefill, ScopeKind::Scenario)[0];
    close(prefill.slope, 0.5);
    let half_width = (prefill.slope_t_high.unwrap() - prefill.slope_t_low.unwrap()) / 2.0;
    assert!((0.03..0.3).contains(&half_width), "calls vary by 20 %, the slope by ±{half_width}");
    assert_eq!(prefill.scatter_ln, Some(0.0));
    let points: Vec<_> =
        tables.scaling_residuals.iter().filter(|row| row.fit_id == prefill.key.fit_id).cloned().collect();
    assert!(points.iter().all(|point| point.latency_se_ln > Some(0.05) && point.latency_se_df > Some(1.0)));
    // The band that is drawn knows it too.
    let drawn = curve(&points, 3).unwrap();
    close(Some(drawn[2].band_ms.high), points[3].band_high_ms);
    assert!(drawn[2].band_ms.high > 1.05 * drawn[2].fitted_ms);
    // Decode is steady: nothing is added.
    let decode = fits(&tables, Mode::KvDecode, ScopeKind::Scenario)[0];
    assert!(decode.slope_t_high.unwrap() - decode.slope_t_low.unwrap() < 1e-6);
    // A mean over two scenarios is known better than either, and one call tells nothing.
    let both = Run::measured(&FOUR, &[MICRO, LONG], 7, noisy).tables();
    let pooled = fits(&both, Mode::Prefill, ScopeKind::Aggregate)[0];
    assert!(pooled.slope_t_high.unwrap() - pooled.slope_t_low.unwrap() < 1.6 * half_width);
    let single = Run::measured(&FOUR, &[MICRO], 1, noisy).tables();
    assert!(single.scaling_fits.iter().all(|fit| fit.scatter_ln.is_none() && fit.slope_t_low.is_some()));
}

#[test]
fn one_model_identifies_nothing() {
    let tables = Run::measured(&FOUR[..1], &[MICRO], 3, power).tables();
    assert!(!tables.scaling_fits.is_empty() && tables.scaling_residuals.is_empty());
    for fit in &tables.scaling_fits {
        assert_eq!((fit.slope, fit.r2, fit.slope_t_low, fit.actionable), (None, None, None, false));
        assert_eq!(fit.reason.as_deref(), Some("1 model, at least 3 are needed"));
    }
    assert!(tables.multivariate_fits.iter().all(|row| row.alpha.is_none() && row.reason.is_some()));
    assert!(tables.overhead_compute_fits.iter().all(|row| row.a_ms.is_none() && row.overhead_share.is_none()));
    assert!(tables.architecture_correlations.iter().all(|row| row.rho.is_none() && row.reason.is_some()));
}

#[test]
fn three_models_are_fitted_but_not_acted_on() {
    let tables = Run::measured(&FOUR[..3], &[MICRO], 3, power).tables();
    let fit = fits(&tables, Mode::Prefill, ScopeKind::Aggregate)[0];
    close(fit.slope, 0.5);
    assert!(!fit.actionable);
    assert!(fit.reason.as_deref().unwrap().contains("3 points < 4"), "{:?}", fit.reason);
}

#[test]
fn a_predictor_that_does_not_vary_is_named() {
    let same = FOUR.map(|m| model(m.name, m.millions, 7));
    let mut run = Run::measured(&same, &[MICRO], 3, power);
    run.plan.fit = FitAxis::NLayer;
    let tables = run.tables();
    let fit = fits(&tables, Mode::Prefill, ScopeKind::Aggregate)[0];
    assert_eq!((fit.x.as_str(), fit.n_models, fit.slope), ("n_layer", 4, None));
    assert_eq!(fit.reason.as_deref(), Some("all models have the same n_layer"));
    let both = &tables.multivariate_fits[0];
    assert_eq!(both.reason.as_deref(), Some("all models have the same n_layer"));
    let rank = |name| tables.architecture_correlations.iter().find(|row| row.predictor == name).unwrap();
    assert_eq!((rank("params_millions").rho, rank("params_millions").p_exact), (Some(1.0), Some(2.0 / 24.0)));
    assert_eq!(rank("n_head").reason.as_deref(), Some("all models have the same n_head"));
}

#[test]
fn the_same_weights_count_once() {
    let mut run = Run::measured(&FOUR, &[MICRO], 3, power);
    for call in run.calls().filter(|call| call.session.model == "d") {
        call.weights_id = "weights-a".to_owned().into();
    }
    run.manifest.models.get_mut("d").unwrap().weights_id = "weights-a".to_owned();
    let fit = fits(&run.tables(), Mode::Prefill, ScopeKind::Aggregate)[0].clone();
    assert_eq!((fit.n_models, fit.models.as_str()), (3, "a;b;c"));
    assert_eq!(fit.note.as_deref(), Some("`d` has the weights of `a` and is counted once"));
}

#[test]
fn element_types_are_not_mixed() {
    let mut run = Run::measured(&FOUR, &[MICRO], 3, power);
    for call in run.calls().filter(|call| call.session.model == "d") {
        call.dtype = Dtype::F16;
    }
    let tables = run.tables();
    let found: Vec<_> = fits(&tables, Mode::Prefill, ScopeKind::Aggregate)
        .iter()
        .map(|f| (f.key.dtype, f.n_models, f.key.headline))
        .collect();
    assert_eq!(found, [(Dtype::F32, 3, true), (Dtype::F16, 1, true)]);
}

#[test]
fn an_aggregate_takes_the_scenarios_that_every_model_has() {
    let mut run = Run::measured(&FOUR, &[MICRO, LONG], 3, power);
    run.forget("c", "long");
    let tables = run.tables();
    let fit = fits(&tables, Mode::Prefill, ScopeKind::Aggregate)[0];
    assert_eq!((fit.n_models, fit.scenarios.as_str()), (4, "micro"));
    assert_eq!(fit.note.as_deref(), Some("scenarios that not every model has are left out: long"));
    close(fit.intercept_ln, 2.0_f64.ln());
    let missing = |model: &str| {
        let rows = tables.aggregate.iter().filter(|row| row.mode == Mode::Prefill);
        rows.filter(|row| row.model == model).map(|row| row.missing_scenarios.clone()).collect::<Vec<_>>()
    };
    assert_eq!((missing("c"), missing("a")), (vec!["long".to_owned()], vec![String::new()]));
    let long = fits(&tables, Mode::Prefill, ScopeKind::Scenario)[1];
    assert_eq!((long.key.scenario.as_deref(), long.models.as_str()), (Some("long"), "a;b;d"));
}

#[test]
fn a_model_of_unknown_size_is_left_out_and_named() {
    let mut run = Run::measured(&FOUR, &[MICRO], 3, power);
    run.manifest.models.remove("b");
    let fit = fits(&run.tables(), Mode::Prefill, ScopeKind::Aggregate)[0].clone();
    assert_eq!((fit.n_models, fit.models.as_str()), (3, "a;c;d"));
    assert_eq!(fit.note.as_deref(), Some("`b` is left out: its architecture is not known"));
}

#[test]
fn the_headline_has_the_most_scenarios() {
    let shapes = [shape("wide", 2, 8, 64), MICRO, LONG];
    let tables = Run::measured(&FOUR, &shapes, 1, power).tables();
    let found = fits(&tables, Mode::Prefill, ScopeKind::Aggregate);
    assert_eq!(found.iter().map(|fit| (fit.key.batch, fit.key.headline)).collect::<Vec<_>>(), [(8, false), (1, true)]);
}

#[test]
fn calls_that_stopped_are_left_out_of_length_limited_fits() {
    let mut run = Run::measured(&FOUR, &[MICRO], 3, |model, shape, i| {
        // The one call that a stop token ended is ten times as fast.
        let (prefill, decode) = power(model, shape, i);
        (prefill, if model.name == "d" && i > 0 { decode / 10.0 } else { decode })
    });
    finish(run.find("d-micro-1-64-timed-0000"), Finish::Length);
    finish(run.find("d-micro-1-64-timed-0001"), Finish::Stop);
    finish(run.find("d-micro-1-64-timed-0002"), Finish::Stop);
    let tables = run.tables();
    let all = fits(&tables, Mode::KvDecode, ScopeKind::Aggregate)[0];
    let limited = tables.scaling_fits_length_limited.iter().find(|fit| fit.key.fit_id == all.key.fit_id).unwrap();
    close(limited.slope, 0.75);
    assert!(all.slope.unwrap() < 0.6, "{:?}", all.slope);
}

#[test]
fn degraded_calls_move_no_fit() {
    let mut run = Run::measured(&FOUR, &[MICRO], 3, power);
    run.call(FOUR[3], MICRO, phasebench::terms::Role::Timed, 3, 3, (1e6, 1e6));
    degrade(run.find("d-micro-1-64-timed-0003"), Degraded::Invariant, "");
    close(fits(&run.tables(), Mode::KvDecode, ScopeKind::Aggregate)[0].slope, 0.75);
}

#[test]
fn overhead_and_compute_are_told_apart() {
    let tables = Run::measured(&FOUR, &[MICRO], 3, |m, _, _| (6.0 + 2.0 * m.millions, 5.0)).tables();
    let row = tables.overhead_compute_fits.iter().find(|row| row.key.mode == Mode::Prefill).unwrap();
    close(row.a_ms, 6.0);
    close(row.b_ms_per_x, 2.0);
    close(row.median_x, 10.0);
    close(row.overhead_share, 6.0 / 26.0);
    let flat = tables.overhead_compute_fits.iter().find(|row| row.key.mode == Mode::KvDecode).unwrap();
    assert_eq!((flat.overhead_share, flat.reason.as_deref()), (None, Some("all models have the same latency")));
}

/// The share of an overhead that might as well be none is withheld, whatever the fit as a whole is worth.
#[test]
fn an_overhead_that_may_be_nothing_has_no_share() {
    let noise = [1.0, -2.0, 1.5, -0.5];
    let law = |m: Model, _: Shape, _: u32| {
        let place = FOUR.iter().position(|other| other.name == m.name).unwrap();
        (3.0 + 2.0 * m.millions + noise[place], 60.0 - 0.5 * m.millions)
    };
    let tables = Run::measured(&FOUR, &[MICRO], 3, law).tables();
    let of = |mode| tables.overhead_compute_fits.iter().find(|row| row.key.mode == mode && row.key.headline).unwrap();
    let row = of(Mode::Prefill);
    assert!(row.actionable && row.a_low_ms.unwrap() < 0.0 && row.a_ms.unwrap() > 0.0, "{row:?}");
    assert_eq!(row.overhead_share, None);
    assert_eq!(row.overhead_share_reason.as_deref(), Some("the interval of a includes 0"));
    let falling = of(Mode::KvDecode);
    assert_eq!((falling.actionable, falling.overhead_share), (true, None));
    assert_eq!(falling.overhead_share_reason.as_deref(), Some("a or b is negative"));
}

/// What proves nothing about where it ran moves no fit, no rank and no shift, and is named.
#[test]
fn unproven_models_are_in_no_fit_and_named() {
    let five = [FOUR[0], FOUR[1], FOUR[2], FOUR[3], model("e", 32.0, 9)];
    let shapes = [MICRO, LONG, shape("micro", 2, 1, 128), shape("long", 8, 1, 128)];
    let law = |m: Model, shape: Shape, i: u32| if m.name == "e" { (1e5, 1e6) } else { power(m, shape, i) };
    let mut run = Run::measured(&five, &shapes, 3, law);
    for call in run.calls().filter(|call| call.session.model == "e") {
        call.attribution.actual = None;
    }
    let tables = run.tables();
    for fit in tables.scaling_fits.iter().filter(|fit| fit.key.mode != Mode::E2eKv) {
        assert_eq!((fit.n_models, fit.models.as_str()), (4, "a;b;c;d"), "{}", fit.key.fit_id);
        assert!(fit.note.as_deref().unwrap().ends_with(": nothing proves where it ran"), "{:?}", fit.note);
        close(fit.slope, if fit.key.mode == Mode::Prefill { 0.5 } else { 0.75 });
    }
    let headline = fits(&tables, Mode::Prefill, ScopeKind::Aggregate)[0];
    assert_eq!(headline.note.as_deref(), Some("`e` is left out in micro, long: nothing proves where it ran"));
    assert_eq!((headline.scenarios.as_str(), headline.actionable), ("micro;long", true));
    assert!(tables.multivariate_fits.iter().all(|row| row.n_models == 4));
    assert!(tables.overhead_compute_fits.iter().all(|row| row.n_models == 4));
    assert!(tables.architecture_correlations.iter().all(|row| row.n_models == 4));
    assert!(!tables.decode_length_shift.is_empty());
    assert!(tables.decode_length_shift.iter().all(|row| row.n_common_models == 4));

    for call in run.calls() {
        call.attribution.actual = None;
    }
    let tables = run.tables();
    assert!(tables.aggregate.is_empty() && tables.summary.len() == 5 * 4 * 3);
    assert!(!tables.scaling_fits.is_empty());
    for fit in &tables.scaling_fits {
        assert_eq!((fit.n_models, fit.reason.as_deref()), (0, Some("0 models, at least 3 are needed")));
        assert!(fit.note.as_deref().unwrap().contains("nothing proves where it ran"), "{:?}", fit.note);
    }
}

#[test]
fn size_and_depth_are_told_apart() {
    let models = [model("a", 1.0, 2), model("b", 4.0, 8), model("c", 9.0, 3), model("d", 30.0, 4), model("e", 70.0, 9)];
    let law = |m: Model, _: Shape, _: u32| (2.0 * m.millions.powf(0.4) * (m.n_layer as f64).powf(0.9), 1.0);
    let tables = Run::measured(&models, &[MICRO], 3, law).tables();
    let row = tables.multivariate_fits.iter().find(|row| row.key.mode == Mode::Prefill && row.key.headline).unwrap();
    close(row.beta_ln_params, 0.4);
    close(row.gamma_ln_n_layer, 0.9);
    assert!(row.alpha.is_some_and(|alpha| (alpha - 2.0_f64.ln()).abs() < 1e-4), "{row:?}");
    assert!(row.actionable && row.condition_number.unwrap() > 1.0);
}

fn shift(rows: &[ShiftRow], mode: Mode, scope: ScopeKind, metric: Metric) -> ShiftRow {
    rows.iter().find(|r| r.mode == mode && r.scope == scope && r.metric == metric).cloned().unwrap()
}

#[test]
fn a_conclusion_survives_a_batch_that_only_scales() {
    let shapes = [MICRO, shape("wide", 2, 8, 64)];
    let tables = Run::measured(&FOUR, &shapes, 3, |model, shape, i| {
        let (prefill, decode) = power(model, shape, i);
        (prefill * f64::from(shape.batch), decode)
    })
    .tables();
    let row = shift(&tables.batch_shift, Mode::Prefill, ScopeKind::Scenario, Metric::LatencyMs);
    assert_eq!((row.scenario_a.as_deref(), row.scenario_b.as_deref()), (Some("micro"), Some("wide")));
    assert_eq!((row.batch_a, row.batch_b, row.n_common_models), (1, 8, 4));
    assert_eq!((row.conclusion_survives, row.actionable_a, row.actionable_b), (Some(true), true, true));
    close(row.metric_b_over_a, 8.0);
    let row = shift(&tables.batch_shift, Mode::Prefill, ScopeKind::Aggregate, Metric::LatencyMs);
    assert_eq!(row.conclusion_survives, Some(true));
}

#[test]
fn a_conclusion_does_not_survive_a_turn() {
    let shapes = [MICRO, shape("wide", 2, 8, 64)];
    let tables = Run::measured(&FOUR, &shapes, 3, |model, shape, i| {
        let (prefill, decode) = power(model, shape, i);
        (if shape.batch == 8 { 1.0 / prefill } else { prefill }, decode)
    })
    .tables();
    let row = shift(&tables.batch_shift, Mode::Prefill, ScopeKind::Aggregate, Metric::LatencyMs);
    assert_eq!((row.conclusion_survives, row.intervals_overlap), (Some(false), Some(false)));
    assert_eq!(row.reason, "both fits are actionable, with slopes of opposite sign");
}

#[test]
fn a_batch_with_other_prompts_says_nothing_about_the_batch() {
    let tables = Run::measured(&FOUR, &[MICRO, shape("wide", 9, 8, 64)], 3, power).tables();
    assert!(tables.batch_shift.iter().all(|row| row.scope == ScopeKind::Aggregate));
    let row = shift(&tables.batch_shift, Mode::Prefill, ScopeKind::Aggregate, Metric::LatencyMs);
    assert_eq!((row.conclusion_survives, row.metric_b_over_a), (None, None));
    assert!(row.reason.starts_with("the prompts differ as well"), "{}", row.reason);
}

#[test]
fn a_decode_length_is_compared_in_latency_and_per_step() {
    let shapes = [MICRO, shape("micro", 2, 1, 256)];
    let tables = Run::measured(&FOUR, &shapes, 3, power).tables();
    let whole = shift(&tables.decode_length_shift, Mode::KvDecode, ScopeKind::Scenario, Metric::LatencyMs);
    assert_eq!((whole.gen_tokens_a, whole.gen_tokens_b, whole.conclusion_survives), (64, 256, Some(true)));
    close(whole.metric_b_over_a, 4.0);
    let step = shift(&tables.decode_length_shift, Mode::KvDecode, ScopeKind::Aggregate, Metric::MsPerToken);
    close(step.metric_b_over_a, 1.0);
    assert!(tables.decode_length_shift.iter().all(|row| row.mode != Mode::Prefill));
    let per_step = |row: &&ShiftRow| row.mode == Mode::E2eKv && row.metric == Metric::MsPerToken;
    assert_eq!(tables.decode_length_shift.iter().filter(per_step).count(), 0);
}

#[test]
fn a_shift_without_a_fit_has_no_verdict() {
    let tables = Run::measured(&FOUR[..2], &[MICRO, shape("wide", 2, 8, 64)], 3, power).tables();
    let row = shift(&tables.batch_shift, Mode::Prefill, ScopeKind::Aggregate, Metric::LatencyMs);
    assert_eq!((row.conclusion_survives, row.intervals_overlap, row.slope_a), (None, None, None));
    assert_eq!(row.reason, "no fit at the smaller value: 2 models, at least 3 are needed");
}

#[test]
fn too_few_models_refute_nothing() {
    let mut run = Run::measured(&FOUR, &[MICRO, shape("wide", 2, 8, 64)], 3, power);
    run.forget("d", "wide");
    let row = shift(&run.tables().batch_shift, Mode::Prefill, ScopeKind::Scenario, Metric::LatencyMs);
    assert_eq!((row.actionable_a, row.actionable_b, row.conclusion_survives), (true, false, None));
    assert_eq!(row.reason, "3 models at the larger value, at least 4 are needed");
}

#[test]
fn a_fit_that_is_lost_refutes() {
    let noise = [5.0, 3.0, 6.0, 4.0];
    let tables = Run::measured(&FOUR, &[MICRO, shape("wide", 2, 8, 64)], 3, |model, shape, i| {
        let place = FOUR.iter().position(|m| m.name == model.name).unwrap();
        (if shape.batch == 8 { noise[place] } else { power(model, shape, i).0 }, 1.0)
    })
    .tables();
    let row = shift(&tables.batch_shift, Mode::Prefill, ScopeKind::Scenario, Metric::LatencyMs);
    assert_eq!((row.actionable_a, row.actionable_b, row.conclusion_survives), (true, false, Some(false)));
    assert!(row.reason.starts_with("actionable only at the smaller value; at the larger one R²"), "{}", row.reason);
}
