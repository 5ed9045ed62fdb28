//! `compare --history` where a run is one session: earlier runs of one stack say how much such runs differ. Runs whose truth is
//! known, 1.2 % apart, each imported from one file.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::history::{copy, run};

fn compare(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
    command.current_dir(folder).arg("compare").args(arguments).output().unwrap()
}

/// The exit code and what is printed as JSON.
fn judged(folder: &Path, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = compare(folder, &[arguments, &["--history", "runs", "--json"]].concat());
    let found = serde_json::from_slice(&output.stdout);
    (output.status.code(), found.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))))
}

/// A cell's figure in one mode.
fn cell<'a>(found: &'a Value, mode: &str, figure: &str) -> &'a Value {
    let cells = found["comparisons"][0]["cells"].as_array().unwrap();
    &cells.iter().find(|cell| cell["mode"] == mode).unwrap()[figure]
}

fn source(found: &Value) -> &Value {
    &found["comparisons"][0]["allowance"]["source"]
}

/// Decoding is 15 % slower with another version, or nothing is.
#[test]
fn a_single_run_is_judged_by_five_earlier_ones() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut random = ChaCha8Rng::seed_from_u64(11);
    for number in 0..5 {
        run(folder, number, "1.0", |_| 1.0, &mut random);
    }
    run(folder, 5, "1.1", |_| 1.0, &mut random);
    run(folder, 6, "1.1", |mode| if mode == "kv_decode" { 1.15 } else { 1.0 }, &mut random);
    let (code, found) = judged(folder, &["runs/000", "runs/005"]);
    assert!(code == Some(0) || code == Some(8), "{found:#}");
    // A day lies between one and the next.
    assert_eq!(source(&found), &json!({ "runs": { "runs": 5, "minutes": 4 * 24 * 60 } }), "{found:#}");
    for mode in ["prefill", "kv_decode"] {
        assert!(cell(&found, mode, "verdict") != "slower" && cell(&found, mode, "basis") == "runs", "{found:#}");
        assert_eq!((cell(&found, mode, "sessions_a"), cell(&found, mode, "sessions_b")), (&json!(5), &json!(1)));
        let apart = cell(&found, mode, "session_sd_ln").as_f64().unwrap();
        assert!((0.004..0.04).contains(&apart), "{found:#}");
    }
    let (code, found) = judged(folder, &["runs/000", "runs/006"]);
    assert_eq!(code, Some(5), "{found:#}");
    assert!(
        cell(&found, "kv_decode", "verdict") == "slower" && cell(&found, "prefill", "verdict") != "slower",
        "{found:#}"
    );
    // A copy of a run is no further run, and what is judged is none.
    copy(&folder.join("runs/001"), &folder.join("runs/copy"));
    assert_eq!(judged(folder, &["runs/000", "runs/006"]), (code, found));
    let told = compare(folder, &["runs/000", "runs/006", "--history", "runs"]);
    let told = String::from_utf8_lossy(&told.stdout);
    assert!(told.contains(
        "note: Not interleaved: the sides were measured at different times. The baseline is 5 runs of one stack"
    ));
    assert!(told.contains("with one session each, begun within 4 days, and the candidate's"), "{told}");
    assert!(told.contains("how much such runs differ (by ") && !told.contains("may be off by"), "{told}");
    // Nor is a copy of what is judged, nor a run that did not come to its end.
    run(folder, 7, "1.0", |_| 1.15, &mut random);
    let (code, found) = judged(folder, &["runs/000", "runs/007"]);
    assert_eq!((code, &source(&found)["runs"]["runs"]), (Some(5), &json!(5)), "{found:#}");
    copy(&folder.join("runs/007"), &folder.join("runs/twin"));
    assert_eq!(judged(folder, &["runs/000", "runs/007"]), (code, found));
    let record = folder.join("runs/004/measurements.jsonl");
    let whole = fs::read_to_string(&record).unwrap();
    let begun = whole.lines().filter(|line| !line.starts_with("{\"finished\"")).map(|line| format!("{line}\n"));
    fs::write(&record, begun.collect::<String>()).unwrap();
    let few = compare(folder, &["runs/000", "runs/007", "--history", "runs"]);
    let said = String::from_utf8_lossy(&few.stderr);
    assert!(said.starts_with("phasebench: --history: 4 of the 5 runs are there"), "{said}");
}

/// Four runs, or runs of another stack, tell nothing of how single sessions differ, and it is said which there are.
#[test]
fn fewer_than_five_earlier_runs_decide_nothing() {
    for (earlier, there) in [(["1.0"; 3].as_slice(), 4), (["0.9"; 4].as_slice(), 1)] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut random = ChaCha8Rng::seed_from_u64(12);
        for (number, version) in earlier.iter().enumerate() {
            run(folder, number, version, |_| 1.0, &mut random);
        }
        run(folder, 10, "1.0", |_| 1.0, &mut random);
        run(folder, 11, "1.1", |_| 1.15, &mut random);
        let (code, found) = judged(folder, &["runs/010", "runs/011"]);
        assert_eq!(code, Some(8), "{found:#}");
        for mode in ["prefill", "kv_decode"] {
            assert_eq!(cell(&found, mode, "verdict"), "undecided", "{found:#}");
            assert_eq!(cell(&found, mode, "reason"), "one session each side", "{found:#}");
        }
        let told = compare(folder, &["runs/010", "runs/011", "--history", "runs"]);
        let words = format!("phasebench: --history: {there} of the 5 runs are there, itself included, that would tell");
        let said = String::from_utf8_lossy(&told.stderr);
        assert!(said.starts_with(&words), "{said}");
        let notes = found["comparisons"][0]["notes"].to_string();
        assert!(notes.contains("with --history DIR"), "{notes}");
    }
}
