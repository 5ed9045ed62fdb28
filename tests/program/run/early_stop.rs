//! Calls that end at a stop token, on the whole path: made again, recorded, scaled or left out, and resumed.

use std::collections::BTreeMap;
use std::fs;

use phasebench::record::CallRecord;
use phasebench::terms::{Degraded, Finish, Phase, Role, Status};

use crate::run::fixture::{Fixture, Row, Scenario, assert_exit, stdout, table};

/// Scripted decode time of all 16 steps, in milliseconds.
const TRUTH: f64 = 16.0;

/// Decode takes 1 ms a step, and a share of the calls end early.
fn script(rate: f64) -> String {
    format!(
        "{{ noise: 0.02, autocorrelation: 0, decode_per_step: {{ base: 1ms, exponent: 0 }}, early_stop_rate: {rate} }}"
    )
}

/// The tries of every timed call, in the record's order.
fn tries(calls: &[CallRecord]) -> BTreeMap<(String, u32), Vec<&CallRecord>> {
    let mut tries: BTreeMap<_, Vec<&CallRecord>> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.role == Role::Timed) {
        tries.entry((call.cell_id.0.clone(), call.index)).or_default().push(call);
    }
    tries
}

#[track_caller]
fn number(row: &Row, column: &str) -> f64 {
    row[column].parse().unwrap_or_else(|_| panic!("{column} is `{}` in {row:?}", row[column]))
}

#[test]
fn a_call_that_ends_early_is_made_again_and_every_try_recorded() {
    let script = script(0.3);
    let fixture = Fixture::new(&Scenario { repetitions: "{ fixed: 20 }", script: &script, ..Scenario::default() });
    let output = fixture.run();
    assert_exit(&output, 0);
    let calls = fixture.calls();
    let tries = tries(&calls);
    assert_eq!(tries.len(), 2 * 2 * 20, "no timed call is lost or doubled");
    let mut lengths = [0; 4];
    for ((cell, index), tries) in &tries {
        let attempts: Vec<u32> = tries.iter().map(|call| call.attempt).collect();
        assert_eq!(attempts, (0..tries.len() as u32).collect::<Vec<_>>(), "{cell} {index}");
        let (last, before) = tries.split_last().unwrap();
        for call in before {
            let short = call.tokens.decode_steps_timed < 8;
            let kind = if short { Degraded::TooShort } else { Degraded::EarlyStop };
            assert_eq!((call.status, call.finish), (Status::Degraded(kind), Some(Finish::Stop)), "{}", call.call_id);
        }
        let whole = last.tokens.decode_steps_timed == 16 && last.finish == Some(Finish::Length);
        assert!(whole || tries.len() == 4, "{}: another try is due", last.call_id);
        let suffix = if last.attempt > 0 { format!("-try{}", last.attempt) } else { String::new() };
        assert_eq!(last.call_id, format!("{cell}-timed-{index:04}{suffix}"));
        lengths[tries.len() - 1] += 1;
    }
    assert!(lengths[0] > 40 && lengths[1] > 5 && lengths[2] > 0, "a further try differs: {lengths:?}");
    let validated = fixture.command(&["validate", "run"]).output().unwrap();
    assert_exit(&validated, 0);
    let again = calls.iter().filter(|call| call.role == Role::Timed).count() - tries.len();
    let line = format!("PASS  tries are in order and within the limit: {again} calls made again");
    assert!(stdout(&validated).contains(&line), "{}", stdout(&validated));
    // They are not held against the limit of degraded calls, which is 5 %.
    assert!(stdout(&output).contains(&format!("  {again} ended early and were made again\n")), "{}", stdout(&output));
}

/// Cut behind any line and in the middle of any: the same calls with the same outcomes, to the nanosecond.
#[test]
fn a_run_cut_anywhere_among_its_tries_is_completed_alike() {
    let script = script(0.5);
    let scenario =
        Scenario { models: 1, prompts: &[8], repetitions: "{ fixed: 6 }", script: &script, ..Scenario::default() };
    let fixture = Fixture::new(&Scenario { more: "limits: { degraded_rate: 1 }\n", ..scenario });
    assert_exit(&fixture.run(), 0);
    let timed = || -> Vec<_> {
        let calls = fixture.calls().into_iter().filter(|call| call.role == Role::Timed);
        let decode = |call: &CallRecord| call.spans.iter().find(|s| s.phase == Phase::KvDecode).map(|s| s.duration());
        calls.map(|call| (call.call_id.clone(), call.status, decode(&call))).collect()
    };
    let undisturbed = timed();
    assert!(undisturbed.len() > 6 + 3, "there are tries: {undisturbed:?}");
    let path = fixture.run.join("measurements.jsonl");
    let whole = fs::read(&path).unwrap();
    // What is resumed gets a further process in its manifest.
    let manifest = fs::read(fixture.run.join("manifest.json")).unwrap();
    let ends: Vec<usize> = (1..=whole.len()).filter(|&end| whole[end - 1] == b'\n').collect();
    for cut in ends.iter().flat_map(|&end| [end, end - 40]) {
        fs::write(&path, &whole[..cut]).unwrap();
        fs::write(fixture.run.join("manifest.json"), &manifest).unwrap();
        assert_exit(&fixture.resume(), 0);
        assert_eq!(timed(), undisturbed, "cut at {cut}");
    }
}

/// Without retries the scaled times are the truth's, and the naive ones are not.
#[test]
fn scaled_times_recover_the_scripted_truth() {
    let script = script(0.7);
    let more = "early_stop: { retries: 0 }\nlimits: { degraded_rate: 1 }\n";
    let scenario = Scenario { models: 1, prompts: &[8], repetitions: "{ fixed: 120 }", ..Scenario::default() };
    let fixture = Fixture::new(&Scenario { script: &script, more, ..scenario });
    assert_exit(&fixture.run(), 0);
    assert_exit(&fixture.command(&["validate", "run"]).output().unwrap(), 0);
    let metrics = table(&fixture, "metrics.csv");
    let decode: Vec<&Row> = metrics.iter().filter(|r| r["mode"] == "kv_decode" && r["role"] == "timed").collect();
    assert_eq!(decode.len(), 120);
    let (mut scaled, mut short) = (0, 0);
    for row in decode {
        let steps = number(row, "decode_steps_timed");
        let measured = number(row, "decode_measured_ms");
        match (row["status"].as_str(), row["scaled"].as_str()) {
            ("degraded", "false") => {
                assert_eq!(row["degraded_kind"], "too_short");
                assert!(steps < 8.0);
                short += 1;
            }
            ("ok", "true") => {
                assert!((8.0..16.0).contains(&steps));
                assert_eq!((row["finish"].as_str(), row["tokens"].as_str()), ("stop", "16"));
                assert!((number(row, "latency_ms") / (measured * TRUTH / steps) - 1.0).abs() < 1e-12);
                assert_eq!(row["latency_ms"], row["kv_decode_ms_equiv_step"]);
                let proportional = number(row, "kv_decode_ms_equiv_proportional") / number(row, "latency_ms");
                assert!((proportional - steps / (steps + 1.0)).abs() < 1e-12, "{row:?}");
                scaled += 1;
            }
            other => assert_eq!(
                (other, steps, row["latency_ms"] == row["decode_measured_ms"]),
                (("ok", "false"), 16.0, true)
            ),
        }
    }
    assert!(scaled > 20 && short > 20, "{scaled} scaled, {short} too short");
    let summary = table(&fixture, "analysis/summary_by_model_backend_mode.csv");
    let median = |mode: &str| number(summary.iter().find(|row| row["mode"] == mode).unwrap(), "median_ms");
    assert!((median("kv_decode") / TRUTH - 1.0).abs() < 0.01, "{}", median("kv_decode"));
    let whole = median("prefill") + TRUTH;
    assert!((median("e2e_kv") / whole - 1.0).abs() < 0.01, "{} of {whole}", median("e2e_kv"));
}

#[test]
fn without_scaling_no_call_that_ended_early_counts() {
    let script = script(0.7);
    let more = "early_stop: { retries: 1, min_steps: 4, scale: false }\nlimits: { degraded_rate: 1 }\n";
    let fixture =
        Fixture::new(&Scenario { repetitions: "{ fixed: 20 }", script: &script, more, ..Scenario::default() });
    assert_exit(&fixture.run(), 0);
    assert_exit(&fixture.command(&["validate", "run"]).output().unwrap(), 0);
    let calls = fixture.calls();
    for call in &calls {
        let expected = match call.tokens.decode_steps_timed {
            16 => Status::Ok,
            4..16 => Status::Degraded(Degraded::EarlyStop),
            _ => Status::Degraded(Degraded::TooShort),
        };
        assert_eq!(call.status, expected, "{}", call.call_id);
    }
    assert!(tries(&calls).values().all(|tries| tries.len() <= 2));
}

/// The rule that stops a cell looks at the same latencies as the tables do.
#[test]
fn an_adaptive_cell_is_stopped_on_scaled_times() {
    let script = script(0.6);
    let more = "early_stop: { retries: 0 }\nlimits: { degraded_rate: 1 }\n";
    let repetitions = "{ min: 5, max: 40, until_relative_ci: 0.03 }";
    let fixture = Fixture::new(&Scenario { repetitions, script: &script, more, ..Scenario::default() });
    assert_exit(&fixture.run(), 0);
    let summary = table(&fixture, "analysis/summary_by_model_backend_mode.csv");
    let decisions = table(&fixture, "analysis/decisions.csv");
    assert_eq!(decisions.len(), 4);
    for decision in decisions {
        let widths = summary
            .iter()
            .filter(|row| row["cell_id"] == decision["cell_id"] && row["mode"] != "e2e_kv")
            .map(|row| number(row, "ci_relative"));
        let widest = widths.fold(0.0, f64::max);
        assert!((widest / number(&decision, "relative_ci") - 1.0).abs() < 1e-9, "{widest}, {decision:?}");
    }
}

/// A step without a KV cache takes longer than the one before it, so its time says nothing about all of them.
#[test]
fn uncached_steps_are_never_scaled() {
    let text = Scenario { models: 1, prompts: &[8], script: &script(0.7), ..Scenario::default() }.text();
    let fixture = Fixture::of(&format!(
        "{text}modes: [generate_uncached]\nearly_stop: {{ retries: 0, min_steps: 1 }}\nlimits: {{ degraded_rate: 1 }}\n"
    ));
    assert_exit(&fixture.run(), 0);
    let early: Vec<CallRecord> = fixture.calls().into_iter().filter(|call| call.finish == Some(Finish::Stop)).collect();
    assert!(early.len() > 1);
    assert!(early.iter().all(|call| !call.status.is_ok()), "{early:?}");
}
