//! `bench` through the program itself, on the real ONNX Runtime of this machine.

use std::path::Path;

use crate::program::{phasebench, text};

/// From a word to a table, and a run folder that every other command takes.
#[test]
fn a_folder_is_measured_without_a_scenario_file() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/same-weights/tiny-llama");
    let model = model.to_str().unwrap();
    let here = tempfile::tempdir().unwrap();
    let words = ["bench", model, "--prompt", "4,9", "--gen", "8", "--threads", "1", "--out", "run"];
    let output = phasebench(here.path(), &words);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
    // The engine, and its model below it.
    let rows: Vec<&str> = said.lines().filter(|line| line.contains("onnx  ")).collect();
    assert!(rows.len() >= 2 && rows[0].starts_with('4') && rows[1].starts_with('9'), "{said}");
    assert_eq!(said.lines().filter(|line| line.trim() == "tiny-llama").count(), rows.len(), "{said}");
    assert!(said.contains("report: run/report.html"), "{said}");

    let validated = phasebench(here.path(), &["validate", "run"]);
    assert_eq!(validated.status.code(), Some(0), "{}", text(&validated.stdout));
    let planned = phasebench(here.path(), &["plan", "run/spec.yaml", "--json"]);
    assert_eq!(planned.status.code(), Some(0), "{}", text(&planned.stderr));

    let words = ["bench", model, "--prompt", "4", "--gen", "8", "--threads", "1", "--out", "again", "--json"];
    let output = phasebench(here.path(), &words);
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&result["run"], &result["exit_code"]), (&"again".into(), &0.into()), "{result}");
    let row = &result["rows"][0];
    assert!(row["prefill"]["tokens_per_s"].as_f64() > Some(0.0) && row["decode"]["ms"].as_f64() > Some(0.0), "{row}");
}

/// The scenario file that is made of the words is nobody's, so that its places would lead nowhere.
#[test]
fn a_folder_that_is_no_model_is_named_without_a_place_in_a_file() {
    let here = tempfile::tempdir().unwrap();
    std::fs::create_dir(here.path().join("damaged")).unwrap();
    std::fs::write(here.path().join("damaged/config.json"), "{}").unwrap();
    let output = phasebench(here.path(), &["bench", "damaged"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.starts_with("error: model `damaged`: ") && said.contains("key `model_type` is missing"), "{said}");
    assert!(!said.contains("bench.yaml"), "{said}");
}

#[test]
fn a_word_that_is_no_target_is_bad_usage() {
    let here = tempfile::tempdir().unwrap();
    let output = phasebench(here.path(), &["bench", "torch:synthetic:gpt3"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("`torch:synthetic:gpt3`") && said.contains("allowed: ") && said.contains("gpt2-25m"),
        "{said}"
    );
    assert!(std::fs::read_dir(here.path()).unwrap().next().is_none(), "nothing is left behind");
}
