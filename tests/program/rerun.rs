//! `rerun` through the program itself, on a scripted engine: stages, confirmation, and going on where it was killed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::{phasebench, text};

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
    said(&phasebench(folder, &[&["rerun", "a", "--drift", "0.1", "--json"], more].concat()))
}

/// What was said of the cells, whether they were measured now or found.
fn said(output: &Output) -> (Option<i32>, Value) {
    let found = serde_json::from_slice(&output.stdout);
    let mut found: Value = found.unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    found.as_object_mut().unwrap().remove("measured");
    (output.status.code(), found)
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
    let arguments = ["rerun", "a", "--drift", "0.1", "--out", "again"];
    let told = text(&phasebench(folder, &arguments).stdout);
    assert!(told.starts_with("nothing was measured now: again holds all of it, measured from 20"), "{told}");
    assert!(told.contains("Z on (UTC)\n  try: another --out measures again\nstage-1 against a\n"), "{told}");
    let json = phasebench(folder, &[&arguments[..], &["--json"]].concat()).stdout;
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((&json["measured"]["now"], &json["measured"]["folder"]), (&json!(false), &json!("again")), "{json:#}");
    assert!(told.contains(json["measured"]["from"].as_str().unwrap()), "{told}");
    // Where some of it is measured now there is nothing of the kind.
    fs::remove_dir_all(folder.join("again/confirm")).unwrap();
    let told = text(&phasebench(folder, &arguments).stdout);
    assert!(!told.contains("nothing was measured"), "{told}");
}

/// Two engines and what a step of each takes.
fn two(x_us: u32, y_us: u32) -> String {
    let (x, y) = (scenario(x_us, ""), scenario(y_us, ""));
    format!("{x}{}\n", y.lines().last().unwrap().replace("name: x", "name: y"))
}

/// Verdicts and reasons of an engine's decode cells.
fn decode_of<'a>(found: &'a Value, backend: &str) -> Vec<(&'a str, Option<&'a str>)> {
    let own = cells(found).iter().filter(|cell| cell["mode"] == "kv_decode" && cell["backend"] == backend);
    own.map(|cell| (cell["verdict"].as_str().unwrap(), cell["reason"].as_str())).collect()
}

/// What was planned for the fresh sessions is confirmed there and nothing else is, whatever looks worse at another time.
#[test]
fn what_was_not_measured_afresh_is_neither_confirmed_nor_missing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    upgraded(folder, &two(300, 300), &two(345, 345));
    let (code, found) = rerun(folder, &["--out", "again", "--gate", "backend=x"]);
    assert_eq!(code, Some(5), "{found:#}");
    assert_eq!(decode_of(&found, "x"), [("slower", Some("confirmed in fresh sessions")); 2], "{found:#}");
    assert_eq!(decode_of(&found, "y"), [("slower", Some("not measured afresh")); 2], "{found:#}");
    let planned = |run: &str| -> BTreeSet<String> {
        let plan = fs::read(folder.join("again").join(run).join("plan.json")).unwrap();
        let plan: Value = serde_json::from_slice(&plan).unwrap();
        let of_cell = |cell: &Value| cell["session"]["backend"].as_str().unwrap().to_owned();
        plan["cells"].as_array().unwrap().iter().map(of_cell).collect()
    };
    assert_eq!(planned("confirm"), BTreeSet::from(["x".to_owned()]));
    let record = || fs::read(folder.join("again/confirm/measurements.jsonl")).unwrap();
    let before = record();
    // Without the gate the others count too: they alone are measured afresh, in a run of their own.
    let (code, found) = rerun(folder, &["--out", "again"]);
    assert_eq!(code, Some(5), "{found:#}");
    for backend in ["x", "y"] {
        assert_eq!(decode_of(&found, backend), [("slower", Some("confirmed in fresh sessions")); 2], "{found:#}");
    }
    assert_eq!((record(), planned("confirm-2")), (before, BTreeSet::from(["y".to_owned()])));
    // Where nothing looks worse nothing is taken of them, and given again nothing is measured again.
    assert_eq!(rerun(folder, &["--out", "again", "--margin", "30"]).0, Some(0));
    assert_eq!(rerun(folder, &["--out", "again"]), (Some(5), found));
    assert!(!folder.join("again/confirm-3").exists());
}

/// What a narrower margin newly calls slower is confirmed as well, beside what a wider one had.
#[test]
fn a_narrower_margin_confirms_what_it_newly_calls_slower() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    upgraded(folder, &two(300, 300), &two(345, 318));
    let (code, found) = rerun(folder, &["--out", "again", "--margin", "10"]);
    assert_eq!((code, decode_of(&found, "y")), (Some(5), vec![("same", None); 2]), "{found:#}");
    let (code, found) = rerun(folder, &["--out", "again", "--margin", "3"]);
    assert_eq!(code, Some(5), "{found:#}");
    for backend in ["x", "y"] {
        assert_eq!(decode_of(&found, backend), [("slower", Some("confirmed in fresh sessions")); 2], "{found:#}");
    }
    // And where the gate holds those cells alone: 8 would say that nothing is known to be worse.
    let (code, _) = rerun(folder, &["--out", "again", "--margin", "3", "--gate", "backend=y"]);
    assert_eq!(code, Some(5));
}

#[test]
fn one_session_is_told_of_before_anything_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let one = |us: u32| scenario(us, "").replace("sessions: 5\n", "");
    upgraded(folder, &one(300), &one(345));
    let output = phasebench(folder, &["rerun", "a", "--out", "again"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(8), "{said}");
    assert!(
        said.starts_with("phasebench: a has one session of every cell: what differs between processes is unknown"),
        "{said}"
    );
    assert!(said.contains("  try: `sessions: 5` in the scenario file"), "{said}");
}

#[test]
fn a_run_is_not_measured_again_into_itself() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    upgraded(folder, &scenario(300, ""), &scenario(300, ""));
    let names = || {
        let entries = fs::read_dir(folder.join("a")).unwrap();
        entries.flatten().map(|entry| entry.file_name()).collect::<BTreeSet<_>>()
    };
    let before = names();
    for arguments in [
        &["rerun", "a", "--out", "a"][..],
        &["rerun", "a", "--slowdown", "1.5", "--out", "a"],
        &["calibrate", "--out", "a"],
    ] {
        let output = phasebench(folder, arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{arguments:?}: {said}");
        assert!(said.contains("a: is a run, whose own report has these names"), "{arguments:?}: {said}");
    }
    assert_eq!(names(), before);
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

/// A plan of one session is measured once more, and fresh sessions confirm it, where runs of its stack say how much runs differ.
#[test]
fn a_run_of_one_session_is_judged_by_runs_of_its_stack() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let one = |seed: u32, decode_us: u32| scenario(decode_us, "").replace("sessions: 5\n", &format!("seed: {seed}\n"));
    upgraded(folder, &one(1, 300), &one(1, 345));
    for seed in 2..=5 {
        fs::write(folder.join("s.yaml"), one(seed, 300)).unwrap();
        let output = phasebench(folder, &["run", "s.yaml", "--out", &format!("runs/{seed}")]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
    let output = phasebench(folder, &["rerun", "a", "--out", "again", "--history", "runs", "--json"]);
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(5) && !said.contains("one session of every cell"), "{said}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["comparisons"][0]["allowance"]["source"]["runs"]["runs"], 5, "{found:#}");
    assert_eq!(decode_of(&found, "x"), [("slower", Some("confirmed in fresh sessions")); 2], "{found:#}");
    // Further sessions at the same time would tell nothing of how runs differ.
    assert!(folder.join("again/confirm").exists() && !folder.join("again/stage-2").exists());
}

/// What was measured elsewhere cannot be compared, which is said before an hour is spent on it.
#[test]
fn a_run_of_another_machine_is_named_before_it_is_measured_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    upgraded(folder, &scenario(300, ""), &scenario(300, ""));
    let path = folder.join("a/manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["stack"]["machine"]["cpu_model"] = json!("another one");
    fs::write(&path, manifest.to_string()).unwrap();
    let output = phasebench(folder, &["rerun", "a", "--out", "again"]);
    let said = text(&output.stderr);
    assert!(said.starts_with("phasebench: a: another machine: another one and "), "{said}");
    assert!(said.contains(": no cell can be compared (exit code 8)\n  try: "), "{said}");
    assert_eq!(output.status.code(), Some(8), "{said}");
}

/// Where no run reads the machine's own speed, no stage will: the first one is all.
#[test]
fn stages_end_where_nothing_will_vouch_for_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let engine = |us: u32| scenario(us, ", pace: real") + "reference: { every: 0s }\n";
    upgraded(folder, &engine(60), &engine(300));
    let path = folder.join("a/manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["stack"]["machine"]["virtualised"] = json!(true);
    fs::write(&path, manifest.to_string()).unwrap();
    let output = phasebench(folder, &["rerun", "a", "--out", "again", "--gate", "mode=kv_decode", "--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(8), "{found:#}");
    let open = ("slower_extent_open", Some("nothing vouches for the machine"));
    assert_eq!(decode_of(&found, "x"), [open; 2], "{found:#}");
    assert!(folder.join("again/stage-1").exists() && !folder.join("again/stage-2").exists());
}

/// A duet is measured again in stages as a run is, and what looks worse afresh on both sides.
#[test]
fn a_duet_is_confirmed_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    upgraded(folder, &two(300, 345), &two(300, 345));
    let again = |more: &[&str]| said(&phasebench(folder, &[&["rerun", "a", "--json"], more].concat()));
    let (code, found) = again(&["--between", "backend=x,y", "--out", "again"]);
    assert_eq!(code, Some(5), "{found:#}");
    assert_eq!(decode_of(&found, "x"), [("slower", Some("confirmed in fresh sessions")); 2], "{found:#}");
    assert!(cells(&found).len() == 4 && cells(&found).iter().all(|cell| cell["backend_b"] == "y"), "{found:#}");
    assert_eq!(found["comparisons"][0]["interleaved"], true, "{found:#}");
    let confirm = folder.join("again/confirm");
    let plan: Value = serde_json::from_slice(&fs::read(confirm.join("plan.json")).unwrap()).unwrap();
    let measured: Vec<&str> =
        plan["cells"].as_array().unwrap().iter().map(|cell| cell["session"]["backend"].as_str().unwrap()).collect();
    assert_eq!((measured.iter().filter(|name| **name == "x").count(), measured.len()), (2, 4), "{plan:#}");
    // Given again nothing is measured again, and the other way round nothing is worse.
    let record = || fs::read(confirm.join("measurements.jsonl")).unwrap();
    let before = record();
    assert_eq!(again(&["--between", "backend=x,y", "--out", "again"]), (code, found));
    let (code, turned) = again(&["--between", "backend=y,x", "--out", "again"]);
    assert_eq!((code, record(), folder.join("again/confirm-2").exists()), (Some(0), before, false), "{turned:#}");
    let output = phasebench(folder, &["rerun", "a", "--between", "backend=x,z"]);
    assert!(text(&output.stderr).contains("a has no backend `z`, known: x, y"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(2));
}

/// Begins a rerun ten times, and kills it at a seeded moment each time. How often it was still running.
fn killed_ten_times(folder: &Path, arguments: &[&str], within: Duration) -> usize {
    let killed = |kill: u64| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
        command.current_dir(folder).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = command.spawn().unwrap();
        let begun = Instant::now();
        let within_us = u64::try_from(within.as_micros()).unwrap().max(1);
        let moment = Duration::from_micros(phasebench::hash::seeded(kill, &["kill"]) % within_us);
        while begun.elapsed() < moment && running.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let was_running = running.try_wait().unwrap().is_none();
        running.kill().unwrap();
        running.wait().unwrap();
        was_running
    };
    (1..=10).filter(|kill| killed(*kill)).count()
}

/// What calls take is scripted, call by call: the verdict and every figure are those of a rerun that nobody killed.
#[test]
fn killed_at_any_moment_it_comes_to_the_verdict_of_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let script = |us: u32| scenario(us, ", autocorrelation: 0").replace("noise: 0.002", "noise: 0.03");
    upgraded(folder, &script(300), &script(330));
    let begun = Instant::now();
    let (code, whole) = rerun(folder, &["--out", "whole"]);
    let takes = begun.elapsed();
    assert_eq!(code, Some(5), "{whole:#}");
    let arguments = ["rerun", "a", "--drift", "0.1", "--out", "again", "--json"];
    // On whatever machine: so early that it is not through before the fourth time.
    let killed = killed_ten_times(folder, &arguments, takes / 4);
    assert!(killed >= 3, "killed {killed} times of 10");
    let (code, resumed) = rerun(folder, &["--out", "again"]);
    let runs = |of: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(folder.join(of)).unwrap().map(|entry| entry.unwrap());
        entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name().into_string().unwrap()).collect()
    };
    assert_eq!(runs("again"), runs("whole"), "as many stages");
    assert_eq!((code, resumed), (Some(5), whole));
}

/// Killed at ten moments of a rerun that really takes its time; each time the same command goes on.
#[test]
fn killed_at_any_moment_it_goes_on_and_makes_every_call_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    upgraded(folder, &scenario(60, ", pace: real"), &scenario(120, ", pace: real"));
    killed_ten_times(folder, &["rerun", "a", "--drift", "0.1", "--out", "again", "--json"], Duration::from_millis(400));
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

/// 2 models by 3 prompts, calls that differ by 4 % and resemble the one before.
fn noisy() -> String {
    "version: 1
name: noisy
repetitions: { fixed: 20 }
sessions: 5
gen_tokens: [32]
scenarios:
  - { name: s, prompt: { tokens: 64 } }
  - { name: m, prompt: { tokens: 128 } }
  - { name: l, prompt: { tokens: 256 } }
models:
  - { name: m1, synthetic: { family: gpt2, n_layer: 1, n_embd: 64, n_head: 2 } }
  - { name: m2, synthetic: { family: gpt2, n_layer: 2, n_embd: 64, n_head: 2 } }
backends:
  - { name: x, simulated: { noise: 0.04, autocorrelation: 0.3 } }
"
    .to_owned()
}

fn planted(folder: &Path, factor: &str, seed: u64, more: &[&str]) -> (Option<i32>, Value) {
    let (seed, out) = (seed.to_string(), format!("planted-{seed}"));
    let arguments = ["rerun", "a", "--slowdown", factor, "--seed", &seed, "--out", &out, "--json"];
    let output = phasebench(folder, &[&arguments, more].concat());
    let found = serde_json::from_slice(&output.stdout);
    (output.status.code(), found.unwrap_or_else(|_| panic!("{}", text(&output.stderr))))
}

fn standing(found: &Value, wanted: &str) -> usize {
    found["slowdown"]["cells"].as_array().unwrap().iter().filter(|cell| cell["standing"] == wanted).count()
}

/// With as many sessions as the tool itself asks for: seeds 0 to 19, half of 6 cells in two modes each.
#[test]
fn a_planted_slowdown_is_found_where_it_is_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    upgraded(folder, &noisy(), &noisy());
    let (mut found, mut missed, mut false_alarms, mut sessions) = (0, 0, 0, Vec::new());
    for seed in 0..20 {
        let (code, said) = planted(folder, "1.10", seed, &[]);
        let cells = said["slowdown"]["cells"].as_array().unwrap();
        assert_eq!(cells.len(), 12);
        let alone: Vec<&Value> = cells.iter().filter(|cell| cell["planted"].is_null()).collect();
        let verdict = |cell: &Value| cell["cell"]["verdict"].as_str().unwrap().to_owned();
        assert!(alone.len() == 6 && alone.iter().all(|cell| !["slower", "faster"].contains(&verdict(cell).as_str())));
        // By an open extent a cell is called different, too.
        let different = alone.iter().filter(|cell| verdict(cell).ends_with("_extent_open")).count();
        assert_eq!(standing(&said, "false_alarm"), different, "seed {seed}: {said:#}");
        found += standing(&said, "found");
        missed += standing(&said, "missed");
        false_alarms += different;
        assert_eq!(code, Some(if standing(&said, "missed") + different == 0 { 0 } else { 8 }), "seed {seed}");
        for cell in cells.iter().filter(|cell| !cell["planted"].is_null()) {
            assert!((cell["planted"].as_f64().unwrap() - 1.10).abs() < 1e-4, "{cell:#}");
        }
        sessions.push(said["slowdown"]["sessions"].as_u64().unwrap());
    }
    println!(
        "seeds 0 to 19: found in {found} of {} cells that were slowed, {false_alarms} of 120 others called different, sessions a \
         side {sessions:?}",
        found + missed
    );
    // Holm promises that in 95 of 100 runs no cell is called different that is not.
    assert!(found + missed == 120 && false_alarms <= 3, "{false_alarms} of 120 others called different");
    assert!(found >= 114 && sessions.iter().all(|&n| n >= 5), "{found} of 120, {sessions:?}");
}

/// Nothing takes the runs of a self-test for measurements.
#[test]
fn what_was_slowed_on_purpose_is_no_measurement_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    upgraded(folder, &noisy(), &noisy());
    let output = phasebench(folder, &["rerun", "a", "--slowdown", "1.5", "--out", "t"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
    assert!(
        said.starts_with(
            "50 % planted (seed 1), 5 sessions a side in turns: found in 6 of 6 cells; of 6 others 0 called slower or faster, 0 \
             different by whatever extent."
        ),
        "{said}"
    );
    // Given again it says the same, and measures nothing, as it says first.
    let record = folder.join("t/stage-1/measurements.jsonl");
    let before = fs::read(&record).unwrap();
    let again = text(&phasebench(folder, &["rerun", "a", "--slowdown", "1.5", "--out", "t"]).stdout);
    assert!(again.starts_with("nothing was measured now: t holds all of it, measured from 20"), "{again}");
    assert!(again.ends_with(&format!(" on (UTC)\n  try: another --out measures again\n{said}")), "{again}");
    assert_eq!(fs::read(&record).unwrap(), before);
    let lines = String::from_utf8(before).unwrap();
    let calls =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).filter(|line| !line["call"].is_null());
    let (slowed, alone): (Vec<Value>, Vec<Value>) = calls.partition(|call| !call["call"]["planted"].is_null());
    assert!(!slowed.is_empty() && slowed.iter().all(|call| call["call"]["status"] == json!({ "degraded": "planted" })));
    assert!(alone.iter().all(|call| call["call"]["status"] == "ok"));
    let refused =
        "a self-test (rerun --slowdown) made some of its calls take 1.5 times as long, so it is no measurement";
    for arguments in [
        &["compare", "a", "t/stage-1"][..],
        &["history", "t/stage-1"],
        &["history", "t"],
        &["rerun", "a", "--history", "t"],
        &["decide", "t/stage-1"],
        &["report", "t/stage-1"],
        &["analyze", "t/stage-1"],
        &["run", "--resume", "t/stage-1"],
    ] {
        let output = phasebench(folder, arguments);
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(4) && said.contains(refused), "{arguments:?}: {said}");
    }
    let output = phasebench(folder, &["validate", "t/stage-1"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    // A label that is taken away is missed: the plan says what was slowed.
    let forged = lines.replacen(r#"{"degraded":"planted"}"#, r#""ok""#, 1);
    assert_ne!(forged, lines);
    fs::write(&record, forged).unwrap();
    let output = phasebench(folder, &["validate", "t/stage-1"]);
    assert!(
        output.status.code() != Some(0)
            && text(&output.stdout).contains("slowed by 1.5, planned: by 1.5; labelled as ok")
    );
    // What nobody could find is not planted, and another test does not take this one's folder.
    let output = phasebench(folder, &["rerun", "a", "--slowdown", "1.02"]);
    let words = "--slowdown 1.02: lies within --margin 3, where cells are as good as equal";
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains(words), "{}", text(&output.stderr));
    let output = phasebench(folder, &["rerun", "a", "--slowdown", "1.5", "--seed", "2", "--out", "t"]);
    assert!(text(&output.stderr).contains("is of another rerun"), "{}", text(&output.stderr));
}
