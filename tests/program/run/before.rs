//! What is found out before models are made, which takes minutes: the folder, the prompts, texts that are too long; how a
//! run ends that is interrupted there; and what exit codes say where nothing can be written.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use phasebench::backend::onnx::library;
use serde_json::Value;

use crate::in_time::once_within;
use crate::run::fixture::{Fixture, Scenario, assert_exit, stderr, stdout};

/// Two models that take about a second each to make.
const SLOW: [&str; 2] =
    ["n_layer: 8, n_embd: 512, n_head: 8, vocab: 300", "n_layer: 9, n_embd: 512, n_head: 8, vocab: 300"];

/// A scenario on the real ONNX Runtime, which needs its models made.
pub fn made(prompt: &str, shapes: &[&str]) -> Fixture {
    let models: String = (shapes.iter().enumerate())
        .map(|(n, shape)| format!("  - {{ name: m{n}, synthetic: {{ family: gpt2, {shape} }} }}\n"))
        .collect();
    Fixture::of(&format!(
        "version: 1\nname: made\nrepetitions: {{ fixed: 3 }}\ngen_tokens: [4]\nscenarios: [{{ name: p, prompt: {prompt} }}]\n\
         models:\n{models}backends: [{{ name: cpu, onnx: {{ threads: 1 }} }}]\n"
    ))
}

/// The user's own runtime, and a cache in which no model is yet.
pub fn with_runtime(mut command: Command) -> Command {
    command.env(library::VARIABLE, library::locate(&phasebench::cache::root()).unwrap().path);
    command
}

/// Waits until something is there while a program is at work.
#[track_caller]
fn wait_for(child: &mut Child, what: &str, there: impl Fn() -> bool) {
    let begun = Instant::now();
    while !there() {
        assert!(child.try_wait().unwrap().is_none(), "ended before {what}");
        assert!(begun.elapsed() < Duration::from_secs(60), "never {what}");
        std::thread::yield_now();
    }
}

/// Sends what Ctrl-C sends, and waits for the end: exit code and standard error.
fn interrupt(mut child: Child) -> (Option<i32>, String) {
    // SAFETY: a signal to a process we started and have not waited for.
    assert_eq!(unsafe { libc::kill(i32::try_from(child.id()).unwrap(), libc::SIGINT) }, 0);
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    (output.status.code(), stderr(&output))
}

fn models_made(fixture: &Fixture) -> usize {
    let entries = fs::read_dir(fixture.path().join("cache/models")).into_iter().flatten().flatten();
    entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')).count()
}

#[test]
fn a_folder_that_cannot_be_is_found_out_before_models_are_made() {
    let fixture = made("{ tokens: 8 }", &["n_layer: 2, n_embd: 64, n_head: 2"]);
    fs::create_dir(&fixture.run).unwrap();
    fs::write(fixture.run.join("notes.txt"), "mine").unwrap();
    let output = with_runtime(fixture.start()).output().unwrap();
    assert_exit(&output, 4);
    assert!(stderr(&output).starts_with("error: run: exists already and is not empty"), "{}", stderr(&output));
    let output = with_runtime(fixture.command(&["run", "scenario.yaml", "--out", "/proc/run"])).output().unwrap();
    assert_exit(&output, 4);
    assert_eq!(models_made(&fixture), 0);
}

#[test]
fn prompts_that_cannot_be_are_found_out_before_models_are_made() {
    for (prompt, words) in [
        ("{ file: gone.txt, tokens: 8 }", "gone.txt"),
        ("{ texts: [\"one two three four five six seven\"], pad_to: 2 }", "more than `pad_to: 2`"),
    ] {
        let fixture = made(prompt, &["n_layer: 2, n_embd: 64, n_head: 2"]);
        let output = with_runtime(fixture.start()).output().unwrap();
        assert_exit(&output, 2);
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
        assert_eq!(models_made(&fixture), 0, "{prompt}");
        assert!(!fixture.run.exists(), "nothing was begun");
    }
}

#[test]
fn every_prompt_that_cannot_be_is_told_at_once_with_its_place() {
    let fixture = Fixture::of(
        "version: 1\nname: made\nrepetitions: { fixed: 3 }\ngen_tokens: [4]\nscenarios:\n  \
         - { name: gone, prompt: { file: gone.txt, tokens: 8 } }\n  - { name: good, prompt: { tokens: 8 } }\n  \
         - { name: long, prompt: { texts: [\"one two three four\"], pad_to: 2 } }\n\
         models: [{ name: m, synthetic: { family: gpt2, n_layer: 2, n_embd: 64, n_head: 2 } }]\n\
         backends: [{ name: sim, simulated: {} }]\n",
    );
    let output = fixture.run();
    assert_exit(&output, 2);
    let said = stderr(&output);
    for place in
        ["scenario.yaml:6:5: scenario `gone` for model `m`: ", "scenario.yaml:8:5: scenario `long` for model `m`: "]
    {
        assert!(said.contains(place), "{said}");
    }
    assert!(!said.contains("`good`"), "{said}");
}

#[test]
fn a_text_longer_than_the_context_is_skipped_by_plan_and_run() {
    let text = "word ".repeat(200);
    let fixture = Fixture::of(&format!(
        "version: 1\nname: long\nrepetitions: {{ fixed: 3 }}\ngen_tokens: [4]\nscenarios:\n  \
         - {{ name: long, prompt: {{ text: \"{text}\" }} }}\n  - {{ name: short, prompt: {{ text: \"word word\" }} }}\n\
         models:\n  - {{ name: narrow, synthetic: {{ family: gpt2, n_layer: 2, n_embd: 64, n_head: 2, n_positions: 64 }} }}\n  \
         - {{ name: wide, synthetic: {{ family: gpt2, n_layer: 2, n_embd: 64, n_head: 2, n_positions: 4096 }} }}\n\
         backends: [{{ name: sim, simulated: {{}} }}]\n"
    ));
    assert_exit(&fixture.run(), 0);
    let plan: Value = serde_json::from_slice(&fs::read(fixture.run.join("plan.json")).unwrap()).unwrap();
    let skipped = plan["skipped"].as_array().unwrap();
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    assert_eq!(
        (&skipped[0]["rule"], &skipped[0]["cell"]["session"]["model"]),
        (&"context_exceeded".into(), &"narrow".into())
    );
    let reason = skipped[0]["reason"].as_str().unwrap();
    assert!(reason.ends_with("prompt tokens and 4 decode steps exceed the context of 64"), "{reason}");
    assert_eq!(fixture.timed().len(), 3 * 3);
    let output = fixture.command(&["plan", "scenario.yaml"]).output().unwrap();
    assert!(stdout(&output).contains("context_exceeded"), "{}", stdout(&output));
}

#[test]
fn interrupted_while_models_are_made_it_ends_between_two_and_leaves_no_folder() {
    let fixture = made("{ tokens: 8 }", &SLOW);
    let mut command = with_runtime(fixture.start());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&mut child, "the folder was kept", || fixture.run.join("lock").exists());
    let (code, said) = interrupt(child);
    assert_eq!(code, Some(130), "{said}");
    let words = "phasebench: interrupted before anything was measured; models made so far stay in the cache";
    assert!(said.contains(words), "{said}");
    assert!(models_made(&fixture) < SLOW.len(), "it goes on to the next model");
    assert!(!fixture.run.exists());
}

#[test]
fn interrupted_while_models_are_made_again_it_says_how_to_go_on() {
    let fixture = made("{ tokens: 8 }", &SLOW);
    let mut child = with_runtime(fixture.start()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let record = fixture.run.join("measurements.jsonl");
    wait_for(&mut child, "the record was begun", || record.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    fs::remove_dir_all(fixture.path().join("cache")).unwrap();
    let mut command = with_runtime(fixture.command(&["run", "--resume", "run"]));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&mut child, "the first model was begun", || fixture.path().join("cache/models").exists());
    let (code, said) = interrupt(child);
    assert_eq!(code, Some(130), "{said}");
    assert_eq!(said.lines().last(), Some("phasebench: interrupted; go on with: phasebench run --resume run"), "{said}");
    assert!(models_made(&fixture) < SLOW.len(), "it goes on to the next model");
}

#[test]
fn a_signal_is_heard_within_a_second_while_a_model_is_made() {
    let fixture = made("{ tokens: 8 }", &[super::cleaning::LARGE]);
    for signal in [libc::SIGINT, libc::SIGTERM] {
        once_within(Duration::from_secs(1), || signalled_while_a_model_is_made(&fixture, signal));
    }
}

/// From the signal to the end of the program, which begins to make the model each time.
fn signalled_while_a_model_is_made(fixture: &Fixture, signal: i32) -> Duration {
    let cache = fixture.path().join("cache");
    if cache.exists() {
        fs::remove_dir_all(&cache).unwrap();
    }
    let mut command = with_runtime(fixture.command(&["run", "scenario.yaml", "--out", "run", "--json"]));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let models = cache.join("models");
    wait_for(&mut child, "the folder was kept", || fixture.run.join("lock").exists());
    wait_for(&mut child, "the model was begun", || {
        fs::read_dir(&models).is_ok_and(|mut entries| entries.next().is_some())
    });
    // SAFETY: a signal to a process we started and have not waited for.
    assert_eq!(unsafe { libc::kill(i32::try_from(child.id()).unwrap(), signal) }, 0);
    let sent = Instant::now();
    let output = child.wait_with_output().unwrap();
    let took = sent.elapsed();
    assert_exit(&output, 130);
    assert!(stderr(&output).contains("interrupted before anything was measured"), "{}", stderr(&output));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["ended"], &found["exit_code"]), (&"interrupted".into(), &130.into()));
    assert!(!fixture.run.exists());
    took
}

#[test]
fn where_nothing_can_be_written_the_exit_code_is_4() {
    let fixture = made("{ tokens: 8 }", &["n_layer: 2, n_embd: 64, n_head: 2"]);
    let output = with_runtime(fixture.start()).env("PHASEBENCH_CACHE", "/proc/cache").output().unwrap();
    assert_exit(&output, 4);
    let said = stderr(&output);
    assert!(said.contains("cannot write into the cache folder /proc/cache: "), "{said}");
    assert!(said.contains("try: make it writable, or set PHASEBENCH_CACHE to another"), "{said}");
    assert!(!fixture.run.exists());

    let shape = ["--n-layer", "2", "--n-embd", "64", "--n-head", "2"];
    let synth = |out: &str| {
        let arguments = [&["models", "synth", "--family", "gpt2", "--out", out][..], &shape].concat();
        fixture.command(&arguments).output().unwrap()
    };
    assert_exit(&synth("folder"), 0);
    assert_exit(&synth("/proc/folder"), 4);
    for format in ["--onnx", "--gguf"] {
        let export =
            |out: &str| fixture.command(&["models", "export", "folder", format, "--out", out]).output().unwrap();
        assert_exit(&export("/proc/export"), 4);
        assert!(!Path::new("/proc/export").exists());
    }
    assert_exit(&fixture.command(&["models", "export", "nowhere", "--onnx"]).output().unwrap(), 2);
}

#[test]
fn a_run_prints_json() {
    let json = |fixture: &Fixture, arguments: &[&str]| -> (Option<i32>, Value) {
        let output = fixture.command(arguments).output().unwrap();
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
    };
    let script = "{ faults: [{ kind: load, model: m1, every: 1 }] }";
    let fixture = Fixture::new(&Scenario { script, ..Scenario::default() });
    let (code, found) = json(&fixture, &["run", "scenario.yaml", "--out", "run", "--json"]);
    assert_eq!((code, &found["exit_code"], &found["ended"]), (Some(3), &3.into(), &"complete".into()), "{found:#}");
    assert_eq!(
        (&found["run"], &found["cells"], &found["missing"]),
        (&"run".into(), &4.into(), &10.into()),
        "{found:#}"
    );
    let gone = found["given_up"].as_array().unwrap();
    assert_eq!(
        (gone.len(), &gone[0]["model"], &gone[0]["rule"]),
        (2, &"m1".into(), &"load_failed".into()),
        "{found:#}"
    );
    assert_eq!(gone[0]["words"], "scripted load failure");
    let again = json(&fixture, &["run", "--resume", "run", "--json"]);
    assert_eq!(again, (code, found), "a finished run says the same when resumed");

    let skip = "skip: [{ backend: sim, reason: none }]\n";
    let fixture = Fixture::new(&Scenario { more: skip, ..Scenario::default() });
    let (code, found) = json(&fixture, &["run", "scenario.yaml", "--out", "run", "--json"]);
    assert_eq!((code, &found["ended"], &found["run"]), (Some(3), &"nothing_to_measure".into(), &Value::Null));
}

/// Pointers that nobody fetched, of two models, are told together with their places, before anything is made or reserved; by
/// an engine that reads no weights they are not missed.
#[test]
fn every_model_whose_weights_are_none_is_told_at_once() {
    let fixture = made("{ tokens: 8 }", &["n_layer: 2, n_embd: 8, n_head: 2, vocab: 300"]);
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
    for name in ["one", "two"] {
        let folder = fixture.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::copy("tests/data/same-weights/tiny-gpt2/config.json", folder.join("config.json")).unwrap();
        fs::write(folder.join("model.safetensors"), pointer).unwrap();
    }
    let scenario = |backend: &str| {
        let text = format!(
            "version: 1\nname: s\nscenarios: [{{ name: a, prompt: {{ tokens: 8 }} }}]\ngen_tokens: [2]\n\
             repetitions: {{ fixed: 3 }}\nmodels:\n  - {{ name: one, huggingface: one }}\n  \
             - {{ name: two, huggingface: two }}\nbackends: [{{ name: b, {backend} }}]\n"
        );
        fs::write(fixture.path().join("scenario.yaml"), text).unwrap();
        with_runtime(fixture.start()).output().unwrap()
    };
    let output = scenario("onnx: {}");
    assert_exit(&output, 2);
    let said = stderr(&output);
    let words = "is a Git LFS pointer, not the weights: fetch them with `git lfs pull`";
    for (place, name) in [("7:5", "one"), ("8:5", "two")] {
        let begin = format!("error: scenario.yaml:{place}: model `{name}`: ");
        assert!(said.lines().any(|line| line.starts_with(&begin) && line.ends_with(words)), "{said}");
    }
    assert!(!fixture.run.exists() && models_made(&fixture) == 0);
    assert_exit(&scenario("simulated: {}"), 0);
}

/// What is wrong with one model does not keep what is wrong with the others from being told. A plan needs no weights, and says
/// that a run does.
#[test]
fn missing_folders_and_missing_weights_are_told_at_once() {
    let scenario = |models: &str| {
        format!(
            "version: 1\nname: s\nscenarios: [{{ name: a, prompt: {{ tokens: 8 }} }}]\ngen_tokens: [2]\n\
             repetitions: {{ fixed: 3 }}\nlimits: {{ memory: 1GiB }}\nmodels:\n{models}backends: [{{ name: b, onnx: {{}} }}]\n"
        )
    };
    let there = "  - { name: two, huggingface: two }\n  - { name: three, huggingface: three }\n";
    let fixture = Fixture::of(&scenario(&format!("  - {{ name: one, huggingface: one }}\n{there}")));
    for name in ["two", "three"] {
        let folder = fixture.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::copy("tests/data/same-weights/tiny-gpt2/config.json", folder.join("config.json")).unwrap();
    }
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
    fs::write(fixture.path().join("two/model.safetensors"), pointer).unwrap();
    let output = fixture.run();
    assert_exit(&output, 2);
    let said = stderr(&output);
    let words = ["there is no such folder", "is a Git LFS pointer", "holds no weights"];
    for ((place, name), words) in [("8:5", "one"), ("9:5", "two"), ("10:5", "three")].into_iter().zip(words) {
        let begin = format!("error: scenario.yaml:{place}: model `{name}`: ");
        assert!(said.lines().any(|line| line.starts_with(&begin) && line.contains(words)), "{said}");
    }
    assert_eq!(said.lines().count(), 3, "{said}");

    fs::write(&fixture.scenario, scenario(there)).unwrap();
    let output = fixture.command(&["plan", "scenario.yaml"]).output().unwrap();
    assert_exit(&output, 0);
    let said = stderr(&output);
    for ((place, name), words) in [("8:5", "two"), ("9:5", "three")].into_iter().zip(&words[1..]) {
        let begin = format!("phasebench: scenario.yaml:{place}: cannot be run as it is: model `{name}`: ");
        assert!(said.lines().any(|line| line.starts_with(&begin) && line.contains(words)), "{said}");
    }
}
