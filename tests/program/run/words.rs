//! What is said on a terminal: why nothing was measured, and nothing that a terminal obeys or that is secret.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::run::fixture::{Fixture, Scenario, assert_exit, stderr, stdout};

/// A terminal's escape, an eight-bit one, and a mark that turns what follows around.
const HIDDEN: [char; 3] = ['\u{1b}', '\u{9b}', '\u{202e}'];
/// As YAML writes them.
const ESCAPED: &str = "\\e[31m\\u009b2J\\u202e";

/// Whatever was printed, without anything that a terminal obeys.
#[track_caller]
fn harmless(output: &Output) -> String {
    let said = format!("{}{}", stdout(output), stderr(output));
    assert!(!said.contains(HIDDEN), "{said:?}");
    said
}

#[test]
fn a_run_with_nothing_left_to_measure_is_no_success() {
    let text = Scenario::default()
        .text()
        .replace("{ name: sim, simulated: {} }", "{ name: gpu, onnx: { provider: cuda, device: 63 } }");
    let fixture = Fixture::of(&text);
    let output = Command::new(env!("CARGO_BIN_EXE_phasebench"))
        .current_dir(fixture.path())
        .args(["run", "scenario.yaml", "--out", "run", "--skip-missing"])
        .output()
        .unwrap();
    assert_exit(&output, 3);
    let said = harmless(&output);
    assert!(said.contains("nothing to measure: every cell is skipped"), "{said}");
    assert!(said.contains("skipped by rule backend_unavailable"), "{said}");

    let long = "{ name: short, prompt: { tokens: 5000 } }";
    let text = Scenario { models: 1, prompts: &[8], ..Scenario::default() }.text();
    let text = text.replace("{ name: p8, prompt: { tokens: 8 } }", long);
    let fixture = Fixture::of(&text);
    let output = fixture.run();
    assert_exit(&output, 3);
    assert!(harmless(&output).contains("context_exceeded"));
    let planned = harmless(&fixture.command(&["plan", "scenario.yaml"]).output().unwrap());
    assert!(planned.contains("estimate: there is nothing to measure\n") && !planned.contains("µs"), "{planned}");
}

#[test]
fn doctor_ends_with_7_where_a_scenario_s_backend_is_missing() {
    let fixture = Fixture::new(&Scenario::default());
    let doctor = |file: &str| fixture.command(&["doctor", file]).output().unwrap();
    assert_exit(&doctor("scenario.yaml"), 0);
    for missing in ["onnx: { provider: cuda, device: 63 }", "ollama: { url: \"http://127.0.0.1:9\" }", "torch: {}"] {
        let text = Scenario::default().text().replace("simulated: {}", missing);
        fs::write(fixture.path().join("other.yaml"), text).unwrap();
        let output = doctor("other.yaml");
        assert_exit(&output, 7);
        assert!(harmless(&output).contains("missing"), "{missing}");
    }
}

#[test]
fn the_most_frequent_failure_is_told_with_the_engine_s_words() {
    let script = "{ faults: [{ kind: error, every: 1 }, { kind: timeout, scenario: p8, every: 3 }] }";
    let output = Fixture::new(&Scenario { script, ..Scenario::default() }).run();
    assert_exit(&output, 3);
    let said = stderr(&output);
    assert!(said.contains("phasebench: 100.0 % of the calls are degraded"), "{said}");
    let line = said.lines().find(|line| line.contains("most often ")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("most often error, ") && line.contains("scripted"), "{line}");
}

#[test]
fn nothing_that_a_terminal_obeys_is_printed() {
    let skip = format!("skip: [{{ model: m1, reason: \"{ESCAPED}because\" }}]\n");
    let fixture = Fixture::new(&Scenario { more: &skip, ..Scenario::default() });
    assert!(harmless(&fixture.command(&["plan", "scenario.yaml"]).output().unwrap()).contains("because"));
    let json = fixture.command(&["plan", "scenario.yaml", "--json"]).output().unwrap();
    harmless(&json);
    let told: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let reason = told["plan"]["skipped"][0]["reason"].as_str().unwrap();
    assert!(HIDDEN.iter().all(|c| reason.contains(*c)), "JSON keeps what is escaped in it: {reason:?}");

    let bad = Scenario::default().text().replace("name: test", &format!("name: \"{ESCAPED}\""));
    let output = Fixture::of(&bad).run();
    assert_exit(&output, 2);
    harmless(&output);

    let hidden: String = HIDDEN.iter().collect();
    let table = format!("g,x,y\n{hidden}a,1,1\n{hidden}a,2,2\n{hidden}a,3,3.1\n");
    fs::write(fixture.path().join("table.csv"), table).unwrap();
    let fit = ["fit", "table.csv", "--x", "x", "--y", "y", "--group", "g"];
    assert!(harmless(&fixture.command(&fit).output().unwrap()).contains("g a: y against x"));

    assert_exit(&fixture.run(), 0);
    let record = fixture.run.join("measurements.jsonl");
    let text = fs::read_to_string(&record).unwrap();
    // A control character is no JSON; the others are.
    let field: String = HIDDEN[1..].iter().collect();
    fs::write(&record, text.replacen('{', &format!("{{\"{field}x\":1,"), 1)).unwrap();
    for command in ["analyze", "report", "validate"] {
        let said = harmless(&fixture.command(&[command, "run"]).output().unwrap());
        assert!(said.contains("unknown variant `x`"), "{said}");
    }
}

/// Files of a folder that hold a word.
fn holding(folder: &Path, word: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            holding(&entry.path(), word, found);
        } else if String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).contains(word) {
            found.push(entry.path().display().to_string());
        }
    }
}

#[test]
fn a_password_in_an_address_is_not_kept_and_the_run_goes_on_all_the_same() {
    let missing = "  - { name: far, ollama: { url: \"http://me:geheim@127.0.0.1:9\" } }\n";
    let script = "{ pace: real, decode_per_step: { base: 1ms, exponent: 0 } }";
    let fixture = Fixture::new(&Scenario { script, ..Scenario::default() });
    let text = fs::read_to_string(&fixture.scenario).unwrap() + missing;
    fs::write(&fixture.scenario, &text).unwrap();
    let start =
        |more: &[&str]| fixture.command(&[&["run", "scenario.yaml", "--out", "run"], more].concat()).output().unwrap();
    let refused = start(&[]);
    assert_exit(&refused, 7);
    assert!(!harmless(&refused).contains("geheim"));
    let output = start(&["--skip-missing"]);
    assert!(!harmless(&output).contains("geheim"));
    assert_exit(&fixture.command(&["report", "run"]).output().unwrap(), 0);
    let mut found = Vec::new();
    holding(&fixture.run, "geheim", &mut found);
    assert_eq!(found, [""; 0]);
    let archived = fs::read_to_string(fixture.run.join("spec.yaml")).unwrap();
    assert_eq!(archived, text.replace("geheim", "***"));
    assert_exit(&fixture.command(&["validate", "run"]).output().unwrap(), 0);
    assert_exit(&fixture.resume(), output.status.code().unwrap());
    fs::write(&fixture.scenario, text.replace("seed: 1", "seed: 2")).unwrap();
    let changed = fixture.resume();
    assert_exit(&changed, 4);
    assert!(stderr(&changed).contains("is not the file that the run began with"), "{}", stderr(&changed));
}

/// Output that goes into a file, as that of a CI job does: lines of progress beside the results, and no bar.
#[test]
fn a_log_shows_what_a_run_does_and_how_it_ended() {
    let fixture = Fixture::new(&Scenario { script: "{ pace: real }", ..Scenario::default() });
    let output = fixture.run();
    assert_exit(&output, 0);
    let said = harmless(&output);
    for model in ["m1", "m2"] {
        let (prepared, loaded) = (format!("preparing {model} for sim ("), format!("calls: loading sim × {model}\n"));
        assert!(said.contains(&prepared) && said.matches(&loaded).count() == 1, "{said}");
    }
    assert!(stderr(&output).lines().all(|line| line.starts_with("phasebench: ")), "{said}");
    let summary = stdout(&output);
    assert!(
        summary.contains(" calls recorded in run\n") && summary.contains("next: phasebench report run"),
        "{summary}"
    );
    assert!(!said.contains('\r'), "{said:?}");
}
