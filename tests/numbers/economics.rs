//! Mistakes of the published reports that the formulas must not make, each with the number that it would give.

use phasebench::economics::price::{Draw, Rates, Scope, Work};
use phasebench::kv::{Cache, multi_head_of_equal_size};
use phasebench::model::{Form, architecture};
use phasebench::terms::model::{Family, Synthetic};

const RATES: Rates = Rates { per_hour: 1.0, per_kwh: 0.2, gco2e_per_kwh: 500.0 };

/// A repetition without a power reading counted as 0 W makes the mean half of what it is.
#[test]
fn energy_that_is_missing_is_not_zero_watts() {
    let known = Work::of_a_million(1000.0, Some(Draw::Watts(36.0))).unwrap();
    let unknown = Work::of_a_million(1000.0, None).unwrap();
    let cost = Work::mean(&[known, unknown]).unwrap().cost(RATES);
    assert_eq!((cost.energy, cost.carbon_g, cost.scope()), (None, None, Scope::InfrastructureOnly));
    assert_eq!(cost.total().to_bits(), cost.infrastructure.to_bits());
    assert_eq!(known.cost(RATES).scope(), Scope::WithEnergy);
    assert!((known.cost(RATES).energy.unwrap() - 0.002).abs() < 1e-12);
    // No power at all is a measurement like any other, and is not the same as none.
    let nothing = Work::of_a_million(1000.0, Some(Draw::Watts(0.0))).unwrap();
    assert_eq!(nothing.cost(RATES).energy, Some(0.0));
}

/// Rates of 100 and 300 tokens/s are a mean of 200, whose inverse is 5000 s; the two take 6667 s on average.
#[test]
fn mean_rates_are_not_inverted() {
    let of = |rate: f64| Work::of_a_million(rate, None).unwrap();
    let mean = Work::mean(&[of(100.0), of(300.0)]).unwrap();
    assert!((mean.seconds - 20_000.0 / 3.0).abs() < 1e-9);
    assert!((mean.tokens_per_s() - 150.0).abs() < 1e-9);
    assert_eq!(Work::mean(&[]), None);
}

#[test]
fn a_rate_of_nothing_has_no_price() {
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(Work::of_a_million(rate, None), None, "{rate}");
    }
}

#[test]
fn more_heads_at_equal_size_mean_a_narrower_mlp() {
    let mut recipe = Synthetic::new(Family::Llama, 4, 256, 8);
    recipe.n_kv_head = Some(2);
    let grouped = architecture(&Form::Synthetic(recipe)).unwrap();
    let multi = multi_head_of_equal_size(&grouped).unwrap();
    assert_eq!((multi.n_kv_head, multi.n_head), (8, 8));
    assert!(multi.n_inner < grouped.n_inner);
    let off = multi.parameters().abs_diff(grouped.parameters());
    assert!(off <= 3 * 256 * 4 / 2, "{off} parameters apart");
    assert_eq!(Cache::of(&multi, 2).bytes_per_token(), 4 * Cache::of(&grouped, 2).bytes_per_token());
    assert_eq!(multi_head_of_equal_size(&multi), None);
}
