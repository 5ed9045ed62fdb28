//! Files with faults.

use std::fs;
use std::path::{Path, PathBuf};

use phasebench::scenario::{self, ScenarioError};

use super::{parse, stem, yaml_files};

#[test]
fn every_problem_of_a_broken_file_is_told_at_its_place() {
    let files = yaml_files("tests/data/scenario/broken");
    assert!(files.len() >= 25, "{} broken files", files.len());
    for path in files {
        let name = stem(&path);
        let shown = PathBuf::from(format!("{name}.yaml"));
        let error = match scenario::parse(&fs::read_to_string(&path).unwrap(), &shown, Path::new("")) {
            Ok(_) => panic!("{name}.yaml was taken for good"),
            Err(error) => error,
        };
        insta::assert_snapshot!(name, error.to_string());
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = scenario::read(Path::new("no/such/file.yaml")).unwrap_err().to_string();
    assert!(error.starts_with("error: cannot read scenario file no/such/file.yaml: "), "{error}");
}

/// A file with one scenario, model and backend, and `extra` in front.
fn minimal(extra: &str) -> String {
    format!(
        "{extra}\nversion: 1\nname: test\nscenarios: [{{ name: s, prompt: {{ tokens: 8 }} }}]\n\
         models: [{{ name: m, huggingface: m }}]\nbackends: [{{ name: b, onnx: {{}} }}]\n"
    )
}

#[test]
fn misspelt_keys_lead_to_the_key_that_was_meant() {
    assert!(parse(&minimal("")).is_ok());
    for (typo, meant) in [
        ("sead: 1", "seed"),
        ("time_out: 1s", "timeout"),
        ("gen_token: [8]", "gen_tokens"),
        ("Modes: [prefill]", "modes"),
        ("repititions: { fixed: 3 }", "repetitions"),
        ("backend: [x]", "backends"),
        ("limit: {}", "limits"),
    ] {
        let error = parse(&minimal(typo)).unwrap_err().to_string();
        assert!(error.contains(&format!("nearest: {meant}")), "{typo}: {error}");
    }
    let far = parse(&minimal("colour: blue")).unwrap_err().to_string();
    assert!(far.contains("known: version, name") && !far.contains("nearest"), "{far}");
}

/// Only a shell does that, and it does not look into files.
#[test]
fn no_path_of_a_file_begins_at_home() {
    let engine = |settings: &str| minimal("").replace("onnx: {}", settings);
    let prompt = minimal("").replace("{ tokens: 8 }", "{ file: ~/p.txt, tokens: 8 }");
    for (text, key) in [
        (minimal("workload: ~/w.yaml"), "workload"),
        (minimal("claims: ~/c.yaml"), "claims"),
        (prompt, "file"),
        (engine("onnx: { library: ~/libonnxruntime.so }"), "library"),
        (engine("onnx: { python: ~/venv/bin/python }"), "python"),
        (engine("torch: { python: ~/venv/bin/python }"), "python"),
        (engine("worker: { command: [~/bin/worker] }"), "command"),
    ] {
        let Err(ScenarioError::Invalid { problems, .. }) = parse(&text) else { panic!("taken for good: {text}") };
        let message = &problems[0].message;
        assert!(message.contains(key) && message.ends_with(phasebench::model::mistaken::HOME), "{message}");
    }
    assert!(parse(&engine("worker: { command: [./~/worker, ~/arguments/are/its/own] }")).is_ok());
}

/// What is missing beside it may be in what it would merge.
#[test]
fn a_merge_is_one_problem_wherever_it_stands() {
    for (place, merged) in [
        ("{ name: m, huggingface: m }", "{ name: m, <<: { huggingface: m } }"),
        ("{ name: b, onnx: {} }", "{ name: b, <<: { onnx: {} } }"),
        ("prompt: { tokens: 8 }", "prompt: { <<: { tokens: 8 } }"),
        ("{ name: s, prompt: { tokens: 8 } }", "{ <<: { name: s }, prompt: { tokens: 8 } }"),
    ] {
        let Err(ScenarioError::Invalid { problems, .. }) = parse(&minimal("").replace(place, merged)) else {
            panic!("taken for good: {merged}")
        };
        let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(messages, ["`<<` would merge another mapping into this one, which is not read here"], "{merged}");
    }
}

#[test]
fn a_file_too_large_to_be_a_scenario_is_refused_unparsed() {
    let text = minimal(&format!("# {}", "x".repeat(2 << 20)));
    let Err(ScenarioError::Invalid { problems, .. }) = parse(&text) else { panic!("taken for good") };
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("more than 1048576 bytes"), "{}", problems[0].message);
}

#[test]
fn an_alias_bomb_is_refused_quickly() {
    let mut text = "version: 1\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let items = vec![format!("*a{}", i - 1); 10].join(", ");
        text += &format!("a{i}: &a{i} [{items}]\n");
    }
    let Err(ScenarioError::Invalid { problems, .. }) = parse(&text) else { panic!("taken for good") };
    assert_eq!(problems.len(), 1, "{problems:?}");
}

/// Any byte of a good file may be lost: the rest is read or refused, never a panic and never an empty list of problems.
#[test]
fn a_file_cut_anywhere_is_read_or_refused() {
    let text = fs::read_to_string(&yaml_files("scenarios")[0]).unwrap();
    for cut in (0..text.len()).filter(|&i| text.is_char_boundary(i)) {
        if let Err(error) = parse(&text[..cut]) {
            assert!(error.to_string().starts_with("error: test.yaml:"), "cut at {cut}: {error}");
            assert!(!error.to_string().contains("please report"), "cut at {cut}: {error}");
        }
    }
}
