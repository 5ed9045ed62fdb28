//! Loads, warmups, regimes, drift and degraded calls of a scripted run, as the tables give them back.

use std::collections::BTreeMap;

use phasebench::record::Line;

use crate::run::fixture::{Fixture, Row, Scenario, assert_exit, table};

#[track_caller]
fn number(row: &Row, column: &str) -> f64 {
    row[column].parse().unwrap_or_else(|_| panic!("{column} is `{}` in {row:?}", row[column]))
}

#[track_caller]
fn assert_near(value: f64, truth: f64) {
    assert!((value / truth - 1.0).abs() < 1e-6, "{value}, scripted {truth}");
}

/// Every time depends on the script alone: no noise, no model size.
const EXACT: &str = "noise: 0, load: { base: 40ms, exponent: 0 }, prefill_per_token: { base: 100us, exponent: 0 }, \
                     decode_per_step: { base: 1ms, exponent: 0 }, cold_factor: 5, cold_shape_factor: 3";

#[test]
fn loads_warmups_and_regimes_are_the_scripts() {
    let script = format!("{{ {EXACT} }}");
    let fixture = Fixture::new(&Scenario { warmups: 2, script: &script, ..Scenario::default() });
    assert_exit(&fixture.run(), 0);

    let loads = table(&fixture, "analysis/load_breakdown.csv");
    let regimes: Vec<&str> = loads.iter().map(|row| row["regime"].as_str()).collect();
    assert_eq!(regimes, ["cold_process", "cold_model"]);
    loads.iter().for_each(|row| assert_near(number(row, "duration_ms"), 40.0));

    let metrics = table(&fixture, "metrics.csv");
    let mut first_of_shape = BTreeMap::new();
    for row in metrics.iter().filter(|row| row["mode"] == "prefill") {
        let session = (row["model"].clone(), row["load_index"].clone());
        let cold = row["role"] == "cold";
        let new_shape = first_of_shape.insert((session, row["scenario"].clone()), ()).is_none();
        let factor = if cold {
            5.0
        } else if new_shape {
            3.0
        } else {
            1.0
        };
        let tokens = if row["scenario"] == "p8" { 8.0 } else { 32.0 };
        assert_near(number(row, "latency_ms"), factor * tokens * 0.1);
        let regime = match (cold, new_shape, row["call_idx"].as_str()) {
            (true, _, "0") => "cold_process",
            (true, ..) => "cold_model",
            (_, true, _) => "cold_shape",
            _ => "warm",
        };
        assert_eq!(row["regime"], regime, "{row:?}");
    }

    let warmups = table(&fixture, "analysis/warmup_effect.csv");
    assert_eq!(warmups.len(), 4 * 3, "four cells, three modes");
    for row in &warmups {
        // Two warmups: the first 5 or 3 times too slow, the second not.
        let ratio = if row["n_cold"] == "1" { (5.0 + 1.0) / 2.0 } else { (3.0 + 1.0) / 2.0 };
        assert_near(number(row, "ratio"), ratio);
    }
    for row in table(&fixture, "analysis/summary_by_model_backend_mode.csv") {
        assert_eq!((row["n"].as_str(), row["n_degraded"].as_str()), ("5", "0"));
    }
}

#[test]
fn degraded_calls_are_the_scripts_and_stay_out_of_the_summary() {
    let script = format!(
        "{{ {EXACT}, faults: [{{ kind: oom, model: m1, scenario: p8, every: 4 }}, \
         {{ kind: timeout, scenario: p32, every: 5 }}, {{ kind: early_stop, model: m2, scenario: p8, every: 3 }}] }}"
    );
    let more = "timeout: 3s\nlimits: { degraded_rate: 0.5 }\nearly_stop: { retries: 0, scale: false }\n";
    let fixture = Fixture::new(&Scenario { repetitions: "{ fixed: 8 }", script: &script, more, ..Scenario::default() });
    assert_exit(&fixture.run(), 0);

    let scripted = BTreeMap::from([
        (("m1", "p8", "oom"), 2),
        (("m1", "p32", "timeout"), 1),
        (("m2", "p8", "early_stop"), 2),
        (("m2", "p32", "timeout"), 1),
    ]);
    let rows = table(&fixture, "analysis/degraded.csv");
    let found: BTreeMap<_, usize> = rows
        .iter()
        .filter(|row| !row["cell_id"].is_empty() && !row["kind"].is_empty() && row["degraded"] != "0")
        .map(|row| {
            ((row["model"].as_str(), row["scenario"].as_str(), row["kind"].as_str()), row["degraded"].parse().unwrap())
        })
        .collect();
    assert_eq!(found, scripted);

    let metrics = table(&fixture, "metrics.csv");
    let hung = metrics.iter().find(|row| row["degraded_kind"] == "timeout").unwrap();
    assert_eq!(hung["latency_ms"], "", "a call that gave no time has none, not 0");
    assert_near(number(hung, "total_wall_ms"), 3000.0);

    for row in table(&fixture, "analysis/summary_by_model_backend_mode.csv") {
        let bad: usize = scripted
            .iter()
            .filter(|((model, scenario, _), _)| row["model"] == *model && row["scenario"] == *scenario)
            .map(|(_, n)| n)
            .sum();
        assert_eq!(row["n"], (8 - bad).to_string());
        assert_eq!(row["n_degraded"], bad.to_string());
        let prefill = if row["scenario"] == "p8" { 0.8 } else { 3.2 };
        let truth = match row["mode"].as_str() {
            "prefill" => prefill,
            "kv_decode" => 16.0,
            _ => prefill + 16.0,
        };
        assert_near(number(&row, "median_ms"), truth);
    }
    // Running out of memory ends the session: it is loaded and warmed again before the next call.
    let loads = table(&fixture, "analysis/load_breakdown.csv");
    let of_m1 = loads.iter().filter(|row| row["model"] == "m1").count();
    assert!((2..=3).contains(&of_m1), "{of_m1} loads of m1 for two lost sessions");
}

#[test]
fn drift_is_found_and_steadiness_is_not_called_drift() {
    for (drift, found) in [("0.01", true), ("0", false)] {
        let script = format!("{{ {EXACT}, drift_per_call: {drift}, noise: 0.01, autocorrelation: 0 }}")
            .replace("noise: 0, ", "");
        let scenario =
            Scenario { models: 1, prompts: &[8], repetitions: "{ fixed: 30 }", script: &script, ..Scenario::default() };
        let fixture = Fixture::new(&scenario);
        assert_exit(&fixture.run(), 0);
        let rows = table(&fixture, "analysis/summary_by_model_backend_mode.csv");
        let decode = rows.iter().find(|row| row["mode"] == "kv_decode").unwrap();
        assert_eq!(number(decode, "drift_p") < 0.001, found, "drift {drift}: {decode:?}");
        if found {
            // 29 calls of 1 % each, from a start already 2 % slower.
            let change = number(decode, "drift_relative");
            assert!((0.24..0.34).contains(&change), "{change}");
        }
    }
}

#[test]
fn resident_memory_stays_within_the_budget() {
    let more = "limits: { memory: 220MiB }\n";
    let fixture = Fixture::new(&Scenario { order: "interleaved", models: 4, more, ..Scenario::default() });
    assert_exit(&fixture.run(), 0);
    let budget = 220 << 20;
    let mut largest = 0;
    let mut together = 0;
    let mut resident = std::collections::BTreeSet::new();
    for line in fixture.lines() {
        if let Line::Load(load) = line {
            load.evicted.iter().for_each(|gone| assert!(resident.remove(gone)));
            resident.insert(load.session);
            together = together.max(resident.len());
            largest = largest.max(load.planned_resident_bytes.0);
        }
    }
    assert!(largest <= budget, "{largest} of {budget}");
    assert!(together > 1, "the budget is used: {largest} of {budget}");
}
