//! Scenario files, the binary, and what it left behind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use phasebench::record::{CallRecord, Line};
use phasebench::store;
use phasebench::terms::Role;
use tempfile::TempDir;

/// A folder with a scenario file, and a place for the run.
pub struct Fixture {
    folder: TempDir,
    pub scenario: PathBuf,
    pub run: PathBuf,
}

/// Parts of a scenario file that tests vary; the rest is the same everywhere.
pub struct Scenario<'a> {
    pub seed: u64,
    pub order: &'a str,
    pub repetitions: &'a str,
    pub models: usize,
    pub prompts: &'a [u32],
    pub warmups: u32,
    pub script: &'a str,
    pub more: &'a str,
}

impl Default for Scenario<'_> {
    fn default() -> Self {
        Self {
            seed: 1,
            order: "blocked",
            repetitions: "{ fixed: 5 }",
            models: 2,
            prompts: &[8, 32],
            warmups: 1,
            script: "{}",
            more: "",
        }
    }
}

impl Scenario<'_> {
    pub fn text(&self) -> String {
        let Self { seed, order, repetitions, warmups, script, more, .. } = self;
        let prompts: String =
            self.prompts.iter().map(|n| format!("  - {{ name: p{n}, prompt: {{ tokens: {n} }} }}\n")).collect();
        let models: String = (1..=self.models)
            .map(|n| {
                let shape = format!("family: gpt2, n_layer: {}, n_embd: {}, n_head: 2", n + 1, 64 * n);
                format!("  - {{ name: m{n}, synthetic: {{ {shape} }} }}\n")
            })
            .collect();
        format!(
            "version: 1\nname: test\nseed: {seed}\norder: {order}\nwarmups: {warmups}\nrepetitions: {repetitions}\n\
             gen_tokens: [16]\nscenarios:\n{prompts}models:\n{models}\
             backends:\n  - {{ name: sim, simulated: {script} }}\n{more}"
        )
    }
}

impl Fixture {
    pub fn new(scenario: &Scenario<'_>) -> Self {
        Self::of(&scenario.text())
    }

    pub fn of(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let scenario = folder.path().join("scenario.yaml");
        std::fs::write(&scenario, text).unwrap();
        let run = folder.path().join("run");
        Self { folder, scenario, run }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The binary with some arguments, not started yet. Its cache is the fixture's own.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
        command.args(arguments).current_dir(self.path()).env("PHASEBENCH_CACHE", self.path().join("cache"));
        command
    }

    pub fn run(&self) -> Output {
        self.start().output().unwrap()
    }

    pub fn start(&self) -> Command {
        self.command(&["run", "scenario.yaml", "--out", "run"])
    }

    pub fn resume(&self) -> Output {
        self.command(&["run", "--resume", "run"]).output().unwrap()
    }

    pub fn lines(&self) -> Vec<Line> {
        store::read(&self.run).unwrap().lines
    }

    pub fn calls(&self) -> Vec<CallRecord> {
        store::read(&self.run).unwrap().calls().cloned().collect()
    }

    /// Ids of the timed calls in order.
    pub fn timed(&self) -> Vec<String> {
        self.calls().into_iter().filter(|c| c.role == Role::Timed).map(|c| c.call_id).collect()
    }
}

/// A row by column name.
pub type Row = BTreeMap<String, String>;

/// A table of the run as analysed now.
#[track_caller]
pub fn table(fixture: &Fixture, name: &str) -> Vec<Row> {
    assert_exit(&fixture.command(&["analyze", "run"]).output().unwrap(), 0);
    let mut reader = csv::Reader::from_path(fixture.run.join(name)).unwrap();
    reader.deserialize().map(Result::unwrap).collect()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Exit code, with what was printed if it is not the expected one.
#[track_caller]
pub fn assert_exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "stdout: {}\nstderr: {}", stdout(output), stderr(output));
}
