//! `rerun` through the program itself, on a scripted engine: stages, confirmation, and going on where it was killed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

fn phasebench(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_phasebench")).current_dir(folder).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn scenario(decode_us: u32, pace: &str) -> String {
    format!(
        "version: 1
name: again
repetitions: {{ fixed: 15 }}
sessions: 5
gen_tokens: [32]
scenarios: [ {{ name: short, prompt: {{ tokens: 16 }} }}, {{ name: long, prompt: {{ tokens: 64 }} }} ]
models:
  - {{ name: m1, synthetic: {{ family: gpt2, n_layer: 1, n_embd: 64, n_head: 2 }} }}
backends:
  - {{ name: x, simulated: {{ noise: 0.002, decode_per_step: {{ base: {decode_us}us, exponent: 0.7 }}{pace} }} }}
"
    )
}

/// A run whose engine afterwards takes as long as `now` says: the script in its folder is changed as an upgrade would
/// change an engine that goes by the same name.
fn upgraded(folder: &Path, before: &str, now: &str) {
    fs::write(folder.join("s.yaml"), before).unwrap();
    let output = phasebench(folder, &["run", "s.yaml", "--out", "a"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    fs::write(folder.join("a/spec.yaml"), now).unwrap();
    let path = folder.join("a/manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["config_sha256"] = json!(phasebench::hash::sha256_hex(now.as_bytes()));
    fs::write(&path, manifest.to_string()).unwrap();
}

fn rerun(folder: &Path, more: &[&str]) -> (Option<i32>, Value) {
    let output = phasebench(folder, &[&["rerun", "a", "--drift", "0.1", "--json"], more].concat());
    let found = serde_json::from_slice(&output.stdout);
    (output.status.code(), found.unwrap_or_else(|_| panic!("{}", text(&output.stderr))))
}

fn cells(found: &Value) -> &Vec<Value> {
    found["comparisons"][0]["cells"].as_array().unwrap()
}

#[test]
fn what_is_slower_is_confirmed_in_fresh_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    upgraded(folder, &scenario(300, ""), &scenario(345, ""));
    let (code, found) = rerun(folder, &["--out", "again"]);
    assert_eq!(code, Some(5), "{found:#}");
    for cell in cells(&found) {
        let (verdict, reason) = (cell["verdict"].as_str().unwrap(), cell["reason"].as_str());
        match cell["mode"].as_str().unwrap() {
            "kv_decode" => assert_eq!((verdict, reason), ("slower", Some("confirmed in fresh sessions"))),
            _ => assert_eq!((verdict, reason), ("same", None)),
        }
    }
    // The first stage decided it, and the cells that look worse alone were measured afresh.
    assert!(folder.join("again/stage-1").exists() && !folder.join("again/stage-2").exists());
    assert!(folder.join("again/confirm/measurements.jsonl").exists() && folder.join("again/report.html").exists());
    // Given again, nothing is measured again.
    let before = fs::metadata(folder.join("again/confirm/measurements.jsonl")).unwrap().modified().unwrap();
    let (code, again) = rerun(folder, &["--out", "again"]);
    assert_eq!((code, &again), (Some(5), &found));
    assert_eq!(fs::metadata(folder.join("again/confirm/measurements.jsonl")).unwrap().modified().unwrap(), before);
}

#[test]
fn without_a_change_there_is_nothing_to_do_or_nothing_to_find() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    upgraded(folder, &scenario(300, ""), &scenario(300, ""));
    let output = phasebench(folder, &["rerun", "a", "--if-changed"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("nothing that can change speed changed since a: nothing measured"));
    assert_eq!(fs::read_dir(folder).unwrap().count(), 2);
    let (code, found) = rerun(folder, &[]);
    assert!(code == Some(0) && cells(&found).iter().all(|cell| cell["verdict"] == "same"), "{found:#}");
    let named = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(named.into_iter().any(|name| name.starts_with("a-rerun-")), "named after the stack");
}

/// Killed at ten moments of a rerun that really takes its time; each time the same command goes on.
#[test]
fn killed_at_any_moment_it_goes_on_and_makes_every_call_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    upgraded(folder, &scenario(60, ", pace: real"), &scenario(120, ", pace: real"));
    let arguments = ["rerun", "a", "--drift", "0.1", "--out", "again", "--json"];
    for kill in 1..=10_u64 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
        command.current_dir(folder).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = command.spawn().unwrap();
        let begun = Instant::now();
        let moment = Duration::from_millis(phasebench::hash::seeded(kill, &["kill"]) % 400);
        while begun.elapsed() < moment && running.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        running.kill().unwrap();
        running.wait().unwrap();
    }
    // What a busy machine makes of real pauses is no verdict to wait for; that it is one and the same is.
    let (code, found) = rerun(folder, &["--out", "again"]);
    assert!([Some(5), Some(8)].contains(&code), "{found:#}");
    assert_eq!(rerun(folder, &["--out", "again"]), (code, found));
    let runs: Vec<_> =
        ["stage-1", "stage-2", "stage-3", "confirm"].iter().map(|run| folder.join("again").join(run)).collect();
    assert!(runs[0].exists());
    for run in runs.iter().filter(|run| run.exists()) {
        let record = fs::read_to_string(run.join("measurements.jsonl")).unwrap();
        let lines = record.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let timed: Vec<Value> = lines.filter(|line| line["call"]["role"] == "timed").collect();
        let distinct = |of: fn(&Value) -> String| timed.iter().map(of).collect::<BTreeSet<String>>().len();
        assert_eq!(distinct(|line| line["call"]["call_id"].to_string()), timed.len(), "{}", run.display());
        // A call that something disturbed is made again, and is the same call.
        let calls = distinct(|line| format!("{} {}", line["call"]["cell_id"], line["call"]["index"]));
        assert!(calls % 15 == 0 && calls > 0, "{}: {calls} calls", run.display());
    }
}
