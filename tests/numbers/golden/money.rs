//! The published prices, capacities and cache sizes, recomputed by the program's own formulas.

use phasebench::economics::break_even::SuccessRate;
use phasebench::economics::capacity::{Demand, per_second};
use phasebench::economics::price::{Draw, Rates, Work, blend, per_million_tokens, savings_percent, weighted};
use phasebench::energy::{Sample, legacy_gate};
use phasebench::kv::{Cache, MIB};
use phasebench::units::Nanos;
use serde_json::Value;

use crate::golden::case::{Case, Check, column, walk};

/// Every family that is about money, energy or memory.
pub const FAMILIES: [(&str, Check); 15] = [
    ("blend", published_blend),
    ("break_even", published_break_even),
    ("capacity", published_capacity),
    ("carbon", published_carbon),
    ("degraded_rate", published_degraded_rate),
    ("effective", published_effective),
    ("energy_gate", published_energy_gate),
    ("kv", published_kv),
    ("mixed_requests", published_mixed_requests),
    ("phase_cost", published_phase_cost),
    ("product_mix", published_product_mix),
    ("request", published_request),
    ("roi", published_savings),
    ("tiers", published_tiers),
    ("volume_load", published_load),
];

#[test]
fn published_money() {
    let cases: Value = serde_json::from_str(include_str!("../../data/golden/cases.json")).unwrap();
    let others = walk("cases.json", &cases, &FAMILIES);
    assert!(others > 0, "the statistical families stand in the same file");
}

fn rates(case: &Case) -> Rates {
    let or = |key: &str, otherwise: f64| case.inputs[key].as_f64().unwrap_or(otherwise);
    Rates {
        per_hour: or("usd_per_hour", 0.0),
        per_kwh: or("usd_per_kwh", 0.2),
        gco2e_per_kwh: or("gco2e_per_kwh", 500.0),
    }
}

fn million(case: &Case, rate: &str, draw: Draw) -> Work {
    Work::of_a_million(case.number(rate), Some(draw)).unwrap()
}

fn published_blend(case: &Case) {
    let prefill = million(case, "prefill_tokens_per_s", Draw::Watts(case.number("prefill_w")));
    let decode = million(case, "decode_tokens_per_s", Draw::Watts(case.number("decode_w")));
    for (profile, shares) in case.inputs["profiles"].as_object().unwrap() {
        let shares = column(shares);
        let work = blend(shares[0], shares[1], prefill, decode);
        let (cost, expected) = (work.cost(rates(case)), &case.expected[profile]);
        case.same(profile, cost.infrastructure, &expected["infra"]);
        case.same(profile, work.kwh.unwrap(), &expected["energy_kwh"]);
        case.same(profile, cost.total(), &expected["total"]);
    }
}

fn published_break_even(case: &Case) {
    let found = SuccessRate::of(case.number("c_big"), case.number("c_small"), case.number("p_small"));
    case.same("ratio", found.ratio, &case.expected["ratio"]);
    case.same("needed", found.needed, &case.expected["p_big"]);
    assert_eq!(found.feasible(), case.expected["feasible"].as_bool().unwrap());
}

fn published_capacity(case: &Case) {
    let rate = case.number("tokens_per_s");
    let work = Work::of_a_million(rate, None).unwrap();
    case.same("per million", work.cost(rates(case)).total(), &case.expected["usd_per_1m"]);
    let demand = Demand { per_second: per_second(case.number("tokens_per_month")), burst: 1.0, utilisation: 1.0 };
    let exactly = demand.workers_exactly(rate);
    case.same("workers", exactly, &case.expected["workers"]);
    let whole = demand.workers(rate).unwrap() as f64;
    assert!(whole >= exactly && whole - exactly < 1.0, "{}: {whole} workers for {exactly}", case.id);
}

fn published_carbon(case: &Case) {
    let prices = rates(case);
    let kwh = case.number("energy_usd_per_1m") / prices.per_kwh;
    let cost = Work { seconds: 1.0, kwh: Some(kwh) }.cost(Rates { gco2e_per_kwh: case.number("g_per_kwh"), ..prices });
    case.same("carbon", cost.carbon_g.unwrap(), case.expected);
}

fn published_degraded_rate(case: &Case) {
    for (i, (degraded, total)) in case.column("degraded").into_iter().zip(case.column("total")).enumerate() {
        let rate = phasebench::record::Finished { calls: total as u32, degraded: degraded as u32, made_again: 0 };
        case.same("rate", rate.degraded_rate(0), &case.expected[i]);
    }
}

fn published_effective(case: &Case) {
    let work = Work { seconds: case.number("mean_seconds_per_1m"), kwh: Some(case.number("mean_kwh_per_1m")) };
    let cost = work.cost(rates(case));
    case.same("rate", work.tokens_per_s(), &case.expected["tokens_per_s"]);
    case.same("power", work.mean_watts().unwrap(), &case.expected["power_w"]);
    case.same("cost", cost.total(), &case.expected["usd_per_1m"]);
    case.same("carbon", cost.carbon_g.unwrap(), &case.expected["carbon_g"]);
}

/// The gate counts readings of power inside the phase; fewer than two give no figure.
fn published_energy_gate(case: &Case) {
    for (i, samples) in case.column("samples").into_iter().enumerate() {
        let at = |n: usize| Nanos(10 * (n as u64 + 1));
        let reading = |n: usize| Sample { begin: at(n), end: at(n), value: Some(30.0) };
        let readings: Vec<Sample> = (0..samples as usize).map(reading).collect();
        let found = legacy_gate(Nanos(5), Nanos(1000), &readings);
        let word = if found.is_some() { "good" } else { "no_data" };
        assert_eq!(Some(word), case.expected[i].as_str(), "{samples} readings");
    }
}

fn published_kv(case: &Case) {
    if case.id == "kv/gpt2_clamped" {
        let longest = case.number("max_positions") as u64;
        let gpt2 = Cache { n_layer: 12, n_kv_head: 12, head_dim: 64, element_bytes: 2, n_positions: Some(longest) };
        let mib = gpt2.bytes(1, case.number("requested") as u64) as f64 / MIB;
        return case.same("MiB", mib, &case.expected["kv_mib"]);
    }
    let whole = |key: &str| case.number(key) as u64;
    let cache = Cache {
        n_layer: whole("n_layers"),
        n_kv_head: whole("n_kv_heads"),
        head_dim: whole("d_head"),
        element_bytes: whole("bytes"),
        n_positions: None,
    };
    let weights = whole("params") * whole("bytes");
    assert_eq!(Some(cache.bytes_per_token()), case.expected["kv_bytes_per_token"].as_u64());
    for (tokens, mib) in case.expected["kv_mib"].as_object().unwrap() {
        assert_eq!(Some(cache.bytes(1, tokens.parse().unwrap()) as f64 / MIB), mib.as_f64(), "{}", case.id);
    }
    assert!((weights as f64 / MIB - case.expected["weights_mib"].as_f64().unwrap()).abs() < 0.05);
    assert_eq!(cache.crossover_tokens(weights), case.expected["crossover_tokens"].as_u64());
}

fn published_mixed_requests(case: &Case) {
    let (shares, prices) = (case.column("shares"), case.column("usd_per_1k"));
    case.same("tokens", weighted(&shares, &case.column("tokens")), &case.expected["tokens"]);
    case.same("cost", weighted(&shares, &prices), &case.expected["usd"]);
    let inverted: Vec<f64> = shares.iter().rev().copied().collect();
    case.same("inverted", weighted(&inverted, &prices), &case.expected["usd_inverted"]);
}

fn published_phase_cost(case: &Case) {
    let joules = |key: &str| Draw::JoulesPerToken(case.number(key));
    let prefill = million(case, "prefill_tokens_per_s", joules("prefill_j_per_token"));
    let decode = million(case, "decode_tokens_per_s", joules("decode_j_per_token"));
    case.same("prefill", prefill.cost(rates(case)).total(), &case.expected["prefill"]);
    case.same("decode", decode.cost(rates(case)).total(), &case.expected["decode"]);
    case.same("blend", blend(0.67, 0.33, prefill, decode).cost(rates(case)).total(), &case.expected["blend"]);
}

fn published_product_mix(case: &Case) {
    for (mix, tokens) in case.inputs["total_tokens"].as_object().unwrap() {
        let per_request = case.expected[mix].as_f64().unwrap() / 1000.0;
        case.same(mix, per_million_tokens(per_request, tokens.as_f64().unwrap()), &case.inputs["usd_per_1m"]);
    }
}

fn published_request(case: &Case) {
    let (prefill, decode) = (case.number("prefill_s"), case.number("generate_s"));
    let request = Work { seconds: prefill, kwh: None }.and(Work { seconds: decode, kwh: None });
    let tokens = case.number("total_tokens");
    let infrastructure = per_million_tokens(request.cost(rates(case)).infrastructure, tokens);
    case.same("infrastructure", infrastructure, &case.expected["infra_usd_per_1m"]);
    let total = infrastructure + case.number("energy_usd_per_1m");
    case.same("total", total, &case.expected["total_usd_per_1m"]);
    let per_request = request.cost(rates(case)).infrastructure + case.number("energy_usd_per_1m") * tokens / 1e6;
    case.same("request", per_request, &case.expected["usd_per_request"]);
}

fn published_savings(case: &Case) {
    for (i, rate) in case.column("rates").into_iter().enumerate() {
        case.same("savings", savings_percent(rate, case.number("base")), &case.expected[i]);
    }
}

fn published_tiers(case: &Case) {
    let work = Work { seconds: case.number("mean_seconds_per_1m"), kwh: Some(case.number("mean_kwh_per_1m")) };
    for (i, per_hour) in case.column("rates").into_iter().enumerate() {
        case.same("tier", work.cost(Rates { per_hour, ..rates(case) }).total(), &case.expected[i]);
    }
}

fn published_load(case: &Case) {
    for (i, tokens) in case.column("tokens_per_month").into_iter().enumerate() {
        case.same("load", per_second(tokens), &case.expected[i]);
    }
}
