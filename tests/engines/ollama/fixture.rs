//! Scenario files for a stand-in server, the binary, and what it left behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use phasebench::model::{prompt, tokenizer};
use phasebench::record::plan::Plan;
use phasebench::record::{CallRecord, Line};
use phasebench::store;
use phasebench::terms::Status;
use tempfile::TempDir;

use crate::standin::scripted::Script;

/// Small enough to be exported in no time, with words left over the bytes.
pub const VOCABULARY: usize = 400;

/// A folder with a scenario file, and a place for the run.
pub struct Fixture {
    folder: TempDir,
    pub run: PathBuf,
}

/// Parts of a scenario file that tests vary.
pub struct Scenario<'a> {
    pub url: &'a str,
    pub models: &'a str,
    pub prompt: u32,
    pub steps: u32,
    pub repetitions: u32,
    pub more: &'a str,
}

/// What this machine does beside a test changes nothing; where it is to, a test says otherwise.
const DISTURBED: &str = "disturbed: { retry: 0, wait_quiet: 0s }\n";

pub const ONE: &str = "[{ name: m1, synthetic: { family: gpt2, n_layer: 2, n_embd: 2, n_head: 1, vocab: 400 } }]";
pub const TWO: &str = "[{ name: m1, synthetic: { family: gpt2, n_layer: 2, n_embd: 2, n_head: 1, vocab: 400 } }, \
                       { name: m2, synthetic: { family: gpt2, n_layer: 3, n_embd: 4, n_head: 2, vocab: 400 } }]";

impl Scenario<'_> {
    fn text(&self) -> String {
        let Self { url, models, prompt, steps, repetitions, more } = self;
        format!(
            "version: 1\nname: test\nseed: 1\n{DISTURBED}repetitions: {{ fixed: {repetitions} }}\ngen_tokens: [{steps}]\n\
             timeout: 1s\nlimits: {{ degraded_rate: 0.5 }}\nmodels: {models}\n\
             scenarios: [{{ name: p, prompt: {{ tokens: {prompt} }} }}]\n\
             backends: [{{ name: server, ollama: {{ url: \"{url}\", num_ctx: 128 }} }}]\n{more}"
        )
    }
}

impl Fixture {
    pub fn new(scenario: &Scenario<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("scenario.yaml"), scenario.text()).unwrap();
        let run = folder.path().join("run");
        Self { folder, run }
    }

    /// The same scenario with something else in the place of a piece of it.
    #[track_caller]
    pub fn with(self, piece: &str, other: &str) -> Self {
        let path = self.path().join("scenario.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(piece), "{text}");
        std::fs::write(&path, text.replace(piece, other)).unwrap();
        self
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

    pub fn start(&self) -> Command {
        self.command(&["run", "scenario.yaml", "--out", "run"])
    }

    pub fn lines(&self) -> Vec<Line> {
        store::read(&self.run).unwrap().lines
    }

    pub fn plan(&self) -> Plan {
        serde_json::from_str(&std::fs::read_to_string(self.run.join(store::PLAN)).unwrap()).unwrap()
    }

    pub fn calls(&self) -> Vec<CallRecord> {
        store::read(&self.run).unwrap().calls().cloned().collect()
    }
}

/// A server that counts tokens as the synthetic models do.
pub fn script() -> Script {
    let tokenizer = tokenizer::synthetic(VOCABULARY).unwrap();
    let count = move |text: &str| prompt::from_text(&tokenizer, Some(tokenizer::BOS), text).unwrap();
    Script { tokenize: Box::new(count), ..Script::default() }
}

/// What did not go well, by the calls' ids.
pub fn failures(calls: &[CallRecord]) -> Vec<String> {
    let bad = calls.iter().filter(|call| !call.status.is_ok());
    bad.map(|call| format!("{}: {} {:?}", call.call_id, call.status, call.detail)).collect()
}

/// The kind of a call that does not count.
pub fn kind(call: &CallRecord) -> String {
    match call.status {
        Status::Ok => "ok".to_owned(),
        Status::Degraded(kind) => kind.to_string(),
    }
}

pub fn printed(output: &Output) -> String {
    format!("stdout: {}\nstderr: {}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Exit code, with what was printed if it is not the expected one.
#[track_caller]
pub fn assert_exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", printed(output));
}
