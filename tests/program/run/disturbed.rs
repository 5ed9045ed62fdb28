//! Calls that something outside disturbs are made again; no result is favoured by it.

use std::collections::BTreeMap;
use std::fs;

use phasebench::record::CallRecord;
use phasebench::terms::{Disturbance, Role};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::run::fixture::{Fixture, Row, Scenario, assert_exit, stdout, table};

const SUMMARY: &str = "analysis/summary_by_model_backend_mode.csv";

/// 5 % of noise, and so many calls beside which other programs work that slow them by half.
fn script(rate: f64) -> String {
    format!("{{ noise: 0.05, autocorrelation: 0, disturbances: {{ rate: {rate}, slowdown: 0.5 }} }}")
}

fn fixture(rate: f64, repetitions: &str, retry: u32) -> Fixture {
    let (script, more) = (script(rate), format!("disturbed: {{ retry: {retry} }}\n"));
    Fixture::new(&Scenario { order: "interleaved", repetitions, script: &script, more: &more, ..Scenario::default() })
}

fn is_disturbed(call: &CallRecord) -> bool {
    call.beside.foreign_cpu == Some(0.5)
}

/// Medians of a run by model, scenario and mode, as the table has them.
fn medians(fixture: &Fixture) -> BTreeMap<String, String> {
    let name = |row: &Row| format!("{} {} {}", row["model"], row["scenario"], row["mode"]);
    table(fixture, SUMMARY).iter().map(|row| (name(row), row["median_ms"].clone())).collect()
}

fn completed(rate: f64, repetitions: &str, retry: u32) -> Fixture {
    let fixture = fixture(rate, repetitions, retry);
    assert_exit(&fixture.run(), 0);
    fixture
}

#[test]
fn where_nothing_disturbs_retrying_changes_no_digit() {
    for repetitions in ["{ fixed: 40 }", "{ min: 8, max: 40, until_relative_ci: 0.01 }"] {
        let (without, with) = (completed(0.0, repetitions, 0), completed(0.0, repetitions, 3));
        assert_eq!(medians(&without), medians(&with), "{repetitions}");
        assert_eq!(without.timed(), with.timed());
    }
}

#[test]
fn the_bias_of_a_load_that_comes_and_goes_is_gone() {
    const CALLS: &str = "{ fixed: 200 }";
    let truth = medians(&completed(0.0, CALLS, 0));
    let bias = |retry: u32| {
        let found = medians(&completed(0.3, CALLS, retry));
        let ratios = found.iter().map(|(cell, median)| {
            let (found, truth): (f64, f64) = (median.parse().unwrap(), truth[cell].parse().unwrap());
            (found / truth).ln()
        });
        let ratios: Vec<f64> = ratios.collect();
        assert_eq!(ratios.len(), 12, "two models, two prompts, three modes");
        ratios.iter().sum::<f64>() / 12.0
    };
    let [none, one, two] = [0, 1, 2].map(bias);
    println!(
        "bias of the median, 30 % of calls slower by half: {:+.2} % without retry, {:+.2} % with one, {:+.2} % with two",
        none * 100.0,
        one * 100.0,
        two * 100.0
    );
    assert!(none > 0.02, "{none}");
    assert!(one.abs() <= 0.01 && two.abs() <= 0.01, "{one} {two}");
}

/// A load that stays: further tries would find what the first one found, and are not made. What is measured is the same.
#[test]
fn beside_a_load_that_stays_calls_are_made_once_after_a_few_tries_in_vain() {
    for retry in [1, 3] {
        let (once, again) = (completed(1.0, "{ fixed: 40 }", 0), completed(1.0, "{ fixed: 40 }", retry));
        for (cell, median) in medians(&once) {
            let (without, with): (f64, f64) = (median.parse().unwrap(), medians(&again)[&cell].parse().unwrap());
            assert!((with / without - 1.0).abs() < 0.02, "{cell}: {with}, {without} without");
        }
        let timed: Vec<CallRecord> = again.calls().into_iter().filter(|call| call.role == Role::Timed).collect();
        assert_eq!(timed.len(), 160 + 4 * retry as usize, "every try of the first four, and one of each other");
        let told: Vec<Option<u32>> = timed.iter().map(|call| call.in_vain).filter(Option::is_some).collect();
        assert_eq!(told, (4..160).map(Some).collect::<Vec<_>>());

        let rows = table(&again, "analysis/disturbed.csv");
        assert_eq!((rows[0]["kept"].as_str(), rows[0]["made_once"].as_str()), ("160", "156"));
        assert_exit(&again.command(&["report", "run"]).output().unwrap(), 0);
        let report = fs::read_to_string(again.run.join("report.md")).unwrap();
        assert!(report.contains("156 calls of these were made once"), "{report}");
        assert_exit(&again.command(&["validate", "run"]).output().unwrap(), 0);
    }
}

/// A row in vain ends with the first call that nothing disturbed, so that a load that goes leaves nothing behind.
#[test]
fn a_row_in_vain_ends_with_the_first_quiet_call() {
    let (script, more) = (script(0.8), "disturbed: { retry: 1 }\n");
    let scenario = Scenario { repetitions: "{ fixed: 100 }", script: &script, more, ..Scenario::default() };
    let fixture = Fixture::new(&scenario);
    assert_exit(&fixture.run(), 0);
    let calls = fixture.calls();
    let counted = calls.iter().filter(|call| {
        call.role == Role::Timed && (call.attempt == 1 || !is_disturbed(call) || call.in_vain.is_some())
    });
    let counted: Vec<&CallRecord> = counted.collect();
    assert_eq!(counted.len(), 400);
    for pair in counted.windows(2) {
        if !is_disturbed(pair[0]) && pair[0].cell_id == pair[1].cell_id {
            assert_eq!(pair[1].in_vain, None, "{}", pair[1].call_id);
        }
    }
    let (free, bound): (Vec<&&CallRecord>, Vec<&&CallRecord>) = counted.iter().partition(|call| call.in_vain.is_none());
    assert!(free.len() > 50 && bound.len() > 50, "{} {}", free.len(), bound.len());
    assert_exit(&fixture.command(&["validate", "run"]).output().unwrap(), 0);
}

#[test]
fn a_call_that_was_made_once_without_a_reason_is_found() {
    let fixture = completed(1.0, "{ fixed: 5 }", 1);
    let path = fixture.run.join("measurements.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"in_vain\":7"), "{text}");
    fs::write(&path, text.replacen("\"in_vain\":7", "\"in_vain\":9", 1)).unwrap();
    let output = fixture.command(&["validate", "run"]).output().unwrap();
    assert!(stdout(&output).contains("made once after 9 calls in vain, and 7 come before it"), "{}", stdout(&output));
}

#[test]
fn every_try_is_recorded_and_the_last_one_counts() {
    let fixture = completed(0.4, "{ fixed: 30 }", 1);
    let calls = fixture.calls();
    let timed: Vec<&CallRecord> = calls.iter().filter(|call| call.role == Role::Timed).collect();
    assert!(timed.iter().all(|call| call.beside.simulated));
    for pair in timed.windows(2) {
        let again = pair[0].attempt == 0 && is_disturbed(pair[0]);
        assert_eq!(pair[1].attempt, u32::from(again), "{}", pair[1].call_id);
        assert_eq!(again, pair[0].cell_id == pair[1].cell_id && pair[0].index == pair[1].index);
    }
    let again = timed.iter().filter(|call| call.attempt == 0 && is_disturbed(call)).count();
    let kept = timed.iter().filter(|call| call.attempt == 1 && is_disturbed(call)).count();
    assert!(again > 20 && kept > 5 && timed.len() == 4 * 30 + again, "{again} {kept}");

    let rows = table(&fixture, "analysis/disturbed.csv");
    let of = |row: &Row, names: [&str; 4]| names.map(|name| row[name].clone());
    let expected = [timed.len(), again + kept, again, kept].map(|n| n.to_string());
    assert_eq!(rows.len(), 4, "all and by kind, of the run and of its backend");
    for row in &rows {
        assert_eq!(of(row, ["calls", "disturbed", "made_again", "kept"]), expected);
    }
    assert_eq!(rows[1]["disturbance"], Disturbance::ForeignCpu.to_string());
    let summary = table(&fixture, SUMMARY);
    assert!(summary.iter().all(|row| row["n"] == "30"), "as many as without");
    let told: usize = summary
        .iter()
        .filter(|row| row["mode"] == "prefill")
        .map(|row| row["n_disturbed"].parse::<usize>().unwrap())
        .sum();
    assert_eq!(told, kept);

    assert_exit(&fixture.command(&["report", "run"]).output().unwrap(), 0);
    let report = fs::read_to_string(fixture.run.join("report.md")).unwrap();
    assert!(report.contains("although every try was disturbed."), "{report}");
    assert_exit(&fixture.command(&["validate", "run"]).output().unwrap(), 0);
}

#[test]
fn a_try_without_its_reason_is_found() {
    let fixture = completed(0.4, "{ fixed: 5 }", 1);
    let path = fixture.run.join("measurements.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let first = text.lines().position(|line| line.contains("-try1\"")).unwrap() - 1;
    let quiet = text.lines().enumerate().map(|(n, line)| if n == first { line.replace("\"foreign_cpu\":0.5", "\"foreign_cpu\":0.0") } else { line.to_owned() } + "\n");
    fs::write(&path, quiet.collect::<String>()).unwrap();
    let output = fixture.command(&["validate", "run"]).output().unwrap();
    assert!(
        stdout(&output).contains("try 1, expected 0, with 3 retries of early stops and 1 of disturbed calls planned"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn a_record_with_tries_cut_at_any_byte_is_completed() {
    let seed = 20_261_130;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let fixture = completed(0.3, "{ fixed: 6 }", 2);
    let undisturbed = fixture.timed();
    assert!(undisturbed.iter().any(|id| id.ends_with("-try2")));
    let path = fixture.run.join("measurements.jsonl");
    let whole = fs::read(&path).unwrap();
    for _ in 0..25 {
        let cut = random.random_range(0..whole.len());
        fs::write(&path, &whole[..cut]).unwrap();
        assert_exit(&fixture.resume(), 0);
        assert_eq!(fixture.timed(), undisturbed, "seed {seed}, cut at {cut}");
    }
}
