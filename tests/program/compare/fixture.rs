//! Runs on scripted engines, and comparisons of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::program::text;

/// What a scripted engine is told beside its noise.
pub type Script<'a> = [(&'a str, &'a str); 2];

pub fn phasebench(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
    command.current_dir(folder).args(arguments).env("GITHUB_STEP_SUMMARY", folder.join("summary.md")).output().unwrap()
}

/// Engines with 1 % noise: the name, and what else the script says.
pub fn scenario(seed: u32, models: usize, engines: Script<'_>) -> String {
    let engines: String = engines
        .iter()
        .map(|(name, script)| format!("  - {{ name: {name}, simulated: {{ noise: 0.01{script} }} }}\n"))
        .collect();
    let models: String = (1..=models)
        .map(|layers| {
            format!(
                "  - {{ name: m{layers}, synthetic: {{ family: gpt2, n_layer: {layers}, n_embd: 64, n_head: 2 }} }}\n"
            )
        })
        .collect();
    format!(
        "version: 1
name: changes
seed: {seed}
repetitions: {{ fixed: 25 }}
gen_tokens: [32]
scenarios:
  - {{ name: short, prompt: {{ tokens: 16 }} }}
  - {{ name: long, prompt: {{ tokens: 128 }} }}
models:
{models}backends:
{engines}"
    )
}

pub const PLAIN: Script<'static> = [("x", ""), ("y", "")];
/// Decode takes 15 % longer than the 300 µs that are the default.
pub const SLOWER_DECODE: &str = ", decode_per_step: { base: 345us, exponent: 0.7 }";

/// Runs a scenario and divides its calls over five sessions.
pub fn run(folder: &Path, name: &str, scenario: &str) -> PathBuf {
    fs::write(folder.join("s.yaml"), scenario).unwrap();
    let output = phasebench(folder, &["run", "s.yaml", "--out", name]);
    assert!([Some(0), Some(3)].contains(&output.status.code()), "{}", text(&output.stderr));
    edit_lines(&folder.join(name), |line| {
        if let Some(call) = line.get_mut("call").filter(|call| call["role"] == "timed") {
            call["session_index"] = json!(call["index"].as_u64().unwrap() % 5);
        }
    });
    folder.join(name)
}

pub fn edit_lines(run: &Path, mut edit: impl FnMut(&mut Value)) {
    let path = run.join("measurements.jsonl");
    let record = fs::read_to_string(&path).unwrap();
    let edited = record.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        edit(&mut line);
        format!("{line}\n")
    });
    fs::write(&path, edited.collect::<String>()).unwrap();
}

pub fn edit_manifest(run: &Path, edit: impl FnOnce(&mut Value)) {
    let path = run.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut manifest);
    fs::write(&path, manifest.to_string()).unwrap();
}

/// Compares; gives the exit code and the JSON.
pub fn compare(folder: &Path, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = phasebench(folder, &[&["compare"], arguments, &["--json"]].concat());
    let found = serde_json::from_slice(&output.stdout);
    (output.status.code(), found.unwrap_or_else(|_| panic!("{}", text(&output.stderr))))
}

pub fn cells(found: &Value) -> &Vec<Value> {
    found["comparisons"][0]["cells"].as_array().unwrap()
}

pub fn sentence(found: &Value) -> &str {
    found["comparisons"][0]["sentence"].as_str().unwrap()
}

/// Verdicts of the cells in a mode.
pub fn verdicts(found: &Value, mode: &str) -> Vec<String> {
    let of_mode = cells(found).iter().filter(|cell| cell["mode"] == mode);
    of_mode.map(|cell| cell["verdict"].as_str().unwrap().to_owned()).collect()
}
