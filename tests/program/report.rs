//! `phasebench report` on runs of a simulated engine, made through the binary.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::run::fixture::{Fixture, Scenario, assert_exit, stderr, stdout};

/// Five models whose decode takes `params ^ 0.7`, with a little noise.
fn five_models() -> Fixture {
    let script = "{ decode_per_step: { base: 300us, exponent: 0.7 }, noise: 0.02 }";
    let fixture = Fixture::new(&Scenario { models: 5, repetitions: "{ fixed: 8 }", script, ..Scenario::default() });
    assert_exit(&fixture.run(), 0);
    fixture
}

fn report(fixture: &Fixture) -> String {
    let output = fixture.command(&["report", "run"]).output().unwrap();
    assert_exit(&output, 0);
    assert_eq!(stderr(&output), "");
    stdout(&output)
}

fn read(fixture: &Fixture, name: &str) -> String {
    fs::read_to_string(fixture.run.join(name)).unwrap()
}

/// Every file below a folder with its bytes.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let inside = files(&path).into_iter();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            found.extend(inside.map(|(file, bytes)| (format!("{name}/{file}"), bytes)));
        } else {
            found.insert(path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn two_reports_are_the_same_bytes_wherever_the_run_lies() {
    let fixture = five_models();
    report(&fixture);
    let first = files(&fixture.run);
    fs::write(fixture.run.join("plots/of_an_earlier_report.svg"), "stale").unwrap();
    let shown = String::from_utf8_lossy(&first["report.md"]) + "\n![earlier](plots/of_an_earlier_report.svg)\n";
    fs::write(fixture.run.join("report.md"), &*shown).unwrap();
    report(&fixture);
    assert_eq!(files(&fixture.run), first);

    fs::rename(&fixture.run, fixture.path().join("elsewhere")).unwrap();
    assert_exit(&fixture.command(&["report", "elsewhere"]).output().unwrap(), 0);
    assert_eq!(files(&fixture.path().join("elsewhere")), first);
    let place = fixture.path().display().to_string();
    for name in ["report.md", "report.html"] {
        assert!(!String::from_utf8_lossy(&first[name]).contains(&place), "{name} names a folder of this machine");
    }
}

/// What git does to a text file where it is told to.
fn with_crlf(path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    fs::write(path, text.replace('\n', "\r\n")).unwrap();
}

#[test]
fn files_of_other_line_endings_are_told_as_such_and_nothing_else_is() {
    let fixture = five_models();
    report(&fixture);
    let validate = |name: &str| {
        with_crlf(&fixture.run.join(name));
        let output = fixture.command(&["validate", "run"]).output().unwrap();
        assert_exit(&output, 1);
        stdout(&output)
    };
    let of_report = validate("report.md");
    let changed = "FAIL  report is what the record gives: the line endings of report.md were changed, nothing else";
    assert!(of_report.contains(changed), "{of_report}");
    assert_eq!(of_report.matches("FAIL").count(), 1, "{of_report}");
    for name in ["report.html", "spec.yaml"] {
        let found = validate(name);
        assert!(!found.contains("cannot be read") && !found.contains("another version"), "{name}: {found}");
    }
    let of_plan = validate("plan.json");
    let of = |name: &str| format!("the line endings of {name} were changed, nothing else");
    let changed = format!("FAIL  hashes match: {}; {}", of("spec.yaml"), of("plan.json"));
    assert!(of_plan.contains(&changed), "{of_plan}");
    let why = "plan.json: its line endings were changed since the run began, nothing else\n";
    assert!(of_plan.contains(&format!("SKIP  report is what the record gives: run/{why}")), "{of_plan}");
}

#[test]
fn a_run_that_is_nowhere_is_told_alike_by_every_command() {
    let fixture = Fixture::new(&Scenario::default());
    for command in [
        &["report", "nowhere"][..],
        &["analyze", "nowhere"],
        &["validate", "nowhere"],
        &["decide", "nowhere"],
        &["history", "nowhere"],
        &["rerun", "nowhere"],
        &["compare", "nowhere", "elsewhere"],
        &["run", "--resume", "nowhere"],
        &["run", "scenario.yaml", "--resume", "nowhere"],
    ] {
        let output = fixture.command(command).output().unwrap();
        assert_exit(&output, 4);
        let said = stderr(&output);
        assert!(said.starts_with("error: nowhere: no such folder, a run folder is expected"), "{command:?}: {said}");
    }
    let output = fixture.command(&["report", "scenario.yaml"]).output().unwrap();
    assert!(stderr(&output).contains("scenario.yaml: is a file, a run folder is expected"), "{}", stderr(&output));
}

#[test]
fn every_chart_that_is_named_is_there_and_no_other() {
    let fixture = five_models();
    report(&fixture);
    let (markdown, page) = (read(&fixture, "report.md"), read(&fixture, "report.html"));
    let named: Vec<&str> = markdown.split("](plots/").skip(1).map(|rest| rest.split_once(')').unwrap().0).collect();
    let there = files(&fixture.run.join("plots"));
    assert!(named.len() >= 8, "{named:?}");
    assert_eq!(named.len(), there.len(), "{named:?}");
    for name in named {
        assert!(there.contains_key(name), "{name}");
        assert!(page.contains(&format!("id=\"figure-{}\"", name.strip_suffix(".svg").unwrap())), "{name}");
    }
    for text in ["No chart", "NaN", "inf"] {
        let found = markdown.split_whitespace().find(|word| word.trim_matches('.') == text);
        assert_eq!(found, None);
    }
    assert!(!markdown.contains("No chart"));
}

#[test]
fn the_first_screen_says_what_scales_how() {
    let fixture = five_models();
    let printed = report(&fixture);
    let page = read(&fixture, "report.html");
    assert!(printed.contains("note: Scripted time, not measured: sim."), "{printed}");
    assert!(printed.contains("Decode on sim (holds)\n  Time grows as parameters^0."), "{printed}");
    assert!(printed.ends_with("report: run/report.html\n"), "{printed}");
    assert!(page.contains("Twice the parameters: "));

    let json = fixture.command(&["report", "run", "--json"]).output().unwrap();
    let json: serde_json::Value = serde_json::from_str(&stdout(&json)).unwrap();
    let findings = json["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 5);
    assert_eq!(findings[1]["question"], "Decode on sim");
    assert_eq!(findings[1]["standing"], "holds");
    let fit = json["headline_fits"].as_array().unwrap().iter().find(|fit| fit["mode"] == "kv_decode").unwrap();
    let slope = fit["slope"].as_f64().unwrap();
    assert!((slope - 0.7).abs() < 0.05, "{slope}");
    assert!(findings[1]["answer"].as_str().unwrap().contains(&format!("parameters^{slope:.3} [")));
    assert!(json["files"].as_array().unwrap().contains(&"report.html".into()));
}

#[test]
fn one_model_is_told_its_speed_and_no_slope() {
    let fixture = Fixture::new(&Scenario { models: 1, ..Scenario::default() });
    let run = fixture.run();
    assert_exit(&run, 0);
    let printed = report(&fixture);
    assert!(printed.contains("Prefill on sim (") && printed.contains(" ms/token, "), "{printed}");
    assert!(!printed.contains("not identifiable") && !printed.contains("parameters^"), "{printed}");
    // The run itself ends with the same words.
    let speed = printed.lines().find(|line| line.contains(" ms/token, ")).unwrap();
    let ended = stdout(&run);
    assert!(ended.contains(speed) && ended.contains("  next: phasebench report "), "{ended}");
    let markdown = read(&fixture, "report.md");
    assert!(!markdown.contains("**parameters^"), "no slope is quoted");
    assert!(markdown.contains("at least 3 are needed"), "the table of fits says why: {markdown}");
}

/// The same sentence after `run`, `analyze` and `report`.
#[test]
fn two_engines_are_told_apart_wherever_findings_are_printed() {
    let slow = "  - { name: slow, simulated: { decode_per_step: { base: 3ms, exponent: 0.0 }, noise: 0.01 } }\n";
    let fixture = Fixture::new(&Scenario {
        order: "interleaved",
        repetitions: "{ fixed: 12 }",
        script: "{ decode_per_step: { base: 2ms, exponent: 0.0 }, noise: 0.01 }",
        more: slow,
        ..Scenario::default()
    });
    let run = fixture.run();
    assert_exit(&run, 0);
    let printed = report(&fixture);
    let sentence = printed.lines().find(|line| line.contains("sim decodes 1.")).unwrap();
    assert!(sentence.contains(" as fast as slow, on these 2 models."), "{sentence}");
    let analyzed = fixture.command(&["analyze", "run"]).output().unwrap();
    for said in [stdout(&run), stdout(&analyzed)] {
        assert!(said.contains(sentence), "{said}");
    }
    let markdown = read(&fixture, "report.md");
    assert!(markdown.contains("## Engines compared") && markdown.contains("plots/engines_kv_decode_"), "{markdown}");
}

#[test]
fn a_run_in_which_every_call_fails_says_so() {
    let script = "{ faults: [{ kind: error, every: 1 }] }";
    let fixture = Fixture::new(&Scenario { script, ..Scenario::default() });
    assert_exit(&fixture.run(), 3);
    let printed = report(&fixture);
    assert!(printed.contains("Scaling (withheld)\n  Not identifiable: no call counts."), "{printed}");
    assert!(printed.contains("Did the calls go well? (withheld)\n  All "), "{printed}");
    assert!(printed.contains(" calls are degraded: nothing here was measured."), "{printed}");
    let markdown = read(&fixture, "report.md");
    assert!(markdown.contains("| **whole run**"), "{markdown}");
    assert!(markdown.contains("4 of 4 planned cells have no call that counts."), "{markdown}");
}

#[test]
fn what_an_engine_says_is_text() {
    let script = "{ faults: [{ kind: error, every: 3 }] }";
    let fixture = Fixture::new(&Scenario { script, ..Scenario::default() });
    fixture.run();
    let record = read(&fixture, "measurements.jsonl");
    let hostile = r#""detail":"<script>alert(1)</script>|`*\u001b[31mred\u001b[0m\u202e](javascript:x)","#;
    let said = record.split("\"detail\":\"").nth(1).unwrap().split_once("\",").unwrap().0.to_owned();
    let record = record.replace(&format!("\"detail\":\"{said}\","), hostile);
    fs::write(fixture.run.join("measurements.jsonl"), record).unwrap();
    report(&fixture);
    for name in ["report.md", "report.html"] {
        let text = read(&fixture, name);
        assert!(text.contains("alert(1)"), "{name}: the detail is shown");
        for sign in ["<script", "\u{1b}", "\u{202e}"] {
            assert!(!text.contains(sign), "{name} holds {sign:?}");
        }
    }
    assert!(read(&fixture, "report.md").contains("\\](javascript:x)"), "no link");
}

#[test]
fn an_unfinished_and_torn_run_says_so_first() {
    let fixture = five_models();
    let record = read(&fixture, "measurements.jsonl");
    let lines: Vec<&str> = record.lines().collect();
    let half = lines[..lines.len() / 2].join("\n");
    fs::write(fixture.run.join("measurements.jsonl"), &half[..half.len() - 20]).unwrap();
    let printed = report(&fixture);
    assert!(printed.starts_with("note: This run is not finished"), "{printed}");
    assert!(printed.contains("note: The record ends in a torn line"), "{printed}");
    assert!(!printed.contains("(holds)\n  Time grows"), "{printed}");
    let page = read(&fixture, "report.html");
    let (note, findings) = (page.find("This run is not finished").unwrap(), page.find("class=\"findings\"").unwrap());
    assert!(note < findings);
}

#[test]
fn several_backends_batches_and_lengths_are_told_apart() {
    let text = "version: 1\nname: wide\nseed: 3\nwarmups: 1\nrepetitions: { fixed: 4 }\n\
        modes: [prefill, kv_decode, generate_uncached]\nscenarios:\n\
        \x20 - { name: one, prompt: { tokens: 8 }, gen_tokens: [8, 16] }\n\
        \x20 - { name: four, prompt: { tokens: 8 }, batch: 4, gen_tokens: [8, 16] }\nmodels:\n\
        \x20 - { name: a, synthetic: { family: gpt2, n_layer: 2, n_embd: 64, n_head: 2 } }\n\
        \x20 - { name: b, synthetic: { family: gpt2, n_layer: 3, n_embd: 128, n_head: 2 } }\n\
        \x20 - { name: c, synthetic: { family: gpt2, n_layer: 4, n_embd: 192, n_head: 2 } }\n\
        \x20 - { name: d, synthetic: { family: gpt2, n_layer: 5, n_embd: 256, n_head: 2 } }\nbackends:\n\
        \x20 - { name: sim.a, simulated: { noise: 0.01 } }\n  - { name: sim-a, simulated: { noise: 0.01 } }\n\
        skip:\n  - { model: d, backend: sim-a, scenario: four, reason: \"takes too long\" }\n";
    let fixture = Fixture::of(text);
    assert_exit(&fixture.run(), 0);
    let printed = report(&fixture);
    for question in ["Prefill on sim.a", "Decode on sim-a", "Uncached generation on sim-a"] {
        assert!(printed.contains(question), "{printed}");
    }
    let markdown = read(&fixture, "report.md");
    assert!(
        markdown.contains("plots/spread_prefill_1_sim-a.svg") && markdown.contains("plots/spread_prefill_2_sim-a.svg")
    );
    assert!(markdown.contains(" survive**"), "{markdown}");
    assert!(markdown.contains("takes too long"));
    assert!(!markdown.contains("No chart"), "{markdown}");
}

/// Early stops are told of where there are any, with what to divide decode times by; else the section is left out.
#[test]
fn early_stops_have_a_section_where_there_are_any() {
    let script = "{ decode_per_step: { base: 300us, exponent: 0.7 }, noise: 0.01, early_stop_rate: 0.5 }";
    let more = "early_stop: { retries: 1 }\nlimits: { degraded_rate: 1 }\n";
    let fixture =
        Fixture::new(&Scenario { models: 5, repetitions: "{ fixed: 20 }", script, more, ..Scenario::default() });
    assert_exit(&fixture.run(), 0);
    report(&fixture);
    let markdown = read(&fixture, "report.md");
    let section = markdown.split_once("## Early stops and what they do to decode times\n").unwrap().1;
    let section = section.split_once("\n## ").unwrap().0;
    for part in [
        "ended at a stop token before all steps were made. A timed call that does is made again",
        "if it made at least 8 steps; a shorter one is left out.",
        "`analysis/early_stop_summary.csv`",
        "`analysis/decode_linearity.csv`",
        "On sim (simulated ",
        "**the step form is right**, time ÷ (count − 1), for 5 of 5 models",
        "`analysis/decode_projection_error.csv`",
        "`analysis/scaling_fits_length_limited.csv`",
    ] {
        assert!(section.contains(part), "{part}: {section}");
    }
    let without = five_models();
    report(&without);
    assert!(!read(&without, "report.md").contains("Early stops"));
}

/// That an engine may stop early and did not is told too: the rate is a result.
#[test]
fn no_early_stop_is_told_where_there_could_have_been_one() {
    let script = "{ early_stop_rate: 0.000001 }";
    let fixture = Fixture::new(&Scenario { script, ..Scenario::default() });
    assert_exit(&fixture.run(), 0);
    report(&fixture);
    let markdown = read(&fixture, "report.md");
    let section = markdown.split_once("## Early stops and what they do to decode times\n").unwrap().1;
    let section = section.split_once("\n## ").unwrap().0;
    assert!(section.contains("No call ended at a stop token before all its steps were made"), "{section}");
    assert!(section.contains("**whole run**") && !section.contains("decode_linearity"), "{section}");
}

#[test]
fn emphasis_is_emphasis_and_brackets_are_brackets() {
    let fixture = five_models();
    report(&fixture);
    let markdown = read(&fixture, "report.md");
    let finding = markdown.lines().find(|line| line.starts_with("- **Decode on sim** (holds): ")).unwrap();
    let slope = finding.split_once("Time grows as **parameters^").unwrap().1.split_once("**").unwrap().0;
    assert!(slope.contains(" [") && slope.ends_with(']') && !slope.contains('\\'), "{finding}");
}
