//! A folder in which what a page prints can be run: its scenario file on a scripted engine, runs, prices, a table, a model.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// What stands for itself on a page, and what is typed for it.
const STANDS_FOR: &[(&str, &str)] = &[
    ("RUN", "results/BEFORE"),
    ("FILE", "mine.yaml"),
    ("SCENARIO", "mine.yaml"),
    ("SIZE", "20GiB"),
    ("COL", "x"),
    ("N", "4"),
    ("V", "1.30.0"),
    ("FORMAT", "llama-bench"),
    ("BEFORE", "results/BEFORE"),
    ("AFTER", "after"),
    ("FOLDER", "model"),
    ("ADDRESS", "127.0.0.1:50051"),
];

/// The words of a command as they are typed.
pub fn typed(command: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in command.split_whitespace().map(|word| word.trim_end_matches('…')).filter(|word| !word.is_empty()) {
        let before = words.last().map(String::as_str).unwrap_or_default();
        let meant = match (before, word) {
            ("--out", "DIR") => "made",
            ("history", "DIR") => "results",
            ("--y", "COL") => "y",
            ("import", "FILE") => "bench.json",
            ("--resume" | "validate", "FOLDER") => "results/BEFORE",
            ("--pricing", "FILE") => "scenarios/pricing/tr119.yaml",
            ("--workload", "FILE") => "scenarios/workloads/whitepaper.yaml",
            ("--claims", "FILE") => "scenarios/claims/example.yaml",
            _ => STANDS_FOR.iter().find(|(name, _)| *name == word).map_or(word, |(_, meant)| meant),
        };
        words.push(meant.to_owned());
    }
    words
}

/// The folder.
pub struct Place(TempDir);

impl Place {
    /// With `mine.yaml` as the README prints it, but on a scripted engine.
    pub fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let readme = fs::read_to_string(root.join("README.md")).unwrap();
        let mine = readme.split_once("```yaml\n").unwrap().1.split_once("```").unwrap().0;
        let scripted = "simulated: { noise: 0.01, decode_per_step: { base: 300us, exponent: 1 } }";
        assert!(mine.contains("onnx: { threads: 2 }"), "{mine}");
        let place = Self(tempfile::tempdir().unwrap());
        place.write("mine.yaml", &mine.replace("onnx: { threads: 2 }", scripted));
        for folder in ["results/example", "scenarios"] {
            copy(&root.join(folder), &place.0.path().join(folder));
        }
        copy(&root.join("tests/data/same-weights/tiny-llama"), &place.0.path().join("model"));
        place.write("TABLE.csv", TABLE);
        fs::copy(root.join("tests/data/import/llama-bench/gpt2-25m.json"), place.0.path().join("bench.json")).unwrap();
        assert_eq!(place.run("phasebench run mine.yaml --out results/BEFORE").status.code(), Some(0));
        place
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).unwrap()
    }

    /// Makes what a command reads that the lines before it only speak of, the run after an upgrade, and makes room for what
    /// it writes.
    pub fn prepare(&self, command: &str) {
        drop(fs::remove_dir_all(self.0.path().join("made")));
        if typed(command).iter().any(|word| word == "after") && !command.contains(" run ") {
            let after = self.0.path().join("after");
            if !after.exists() {
                assert_eq!(self.run("phasebench run mine.yaml --out after").status.code(), Some(0));
            }
        }
    }

    /// Runs a command with its cache in the folder.
    pub fn run(&self, command: &str) -> Output {
        let words = typed(command);
        assert_eq!(words[0], "phasebench", "{command}");
        let mut program = Command::new(env!("CARGO_BIN_EXE_phasebench"));
        program.args(&words[1..]).current_dir(self.0.path()).env("PHASEBENCH_CACHE", self.0.path().join("cache"));
        // Nobody listens there.
        program.env("OLLAMA_HOST", "127.0.0.1:9").output().unwrap()
    }
}

/// Rates of two engines, as the page on costs describes a table, beside two columns for a fit.
const TABLE: &str = "backend,prefill_tokens_per_s,decode_tokens_per_s,x,y
one,1000,100,1,2.0
one,1100,110,2,4.1
two,2000,200,4,8.1
two,2200,220,8,15.8
";

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { assert!(fs::copy(&path, &target).is_ok()) }
    }
}
