//! Scenarios with a fake worker in the place of torch, the program, what it left behind, and what still runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use phasebench::record::{CallRecord, Line, LoadRecord};
use phasebench::store;
use phasebench::terms::{Role, Status};
use tempfile::TempDir;

use crate::worker::fake;

/// Timed calls of every cell.
pub const REPETITIONS: usize = 4;

/// What this machine does beside a test changes nothing; where it is to, a test says otherwise.
pub const DISTURBED: &str = "disturbed: { retry: 0, wait_quiet: 0s }\n";

/// In every process of a fixture's environment: whose it is.
const MARK: &str = "PHASEBENCH_TEST_FIXTURE";

/// A folder with a scenario file, a cache whose torch is a fake, and a place for the run.
pub struct Fixture {
    folder: TempDir,
    pub run: PathBuf,
}

impl Fixture {
    /// A scenario with a worker that `backend` describes, beside a simulated engine that shows that the run goes on.
    /// The fake torch behaves as `plan` says, a word for every start; the last one is for all that follow.
    pub fn new(backend: &str, plan: &str) -> Self {
        Self::with_deadline(backend, plan, "5s")
    }

    /// A fake torch that takes its time; its calls may too.
    pub fn patient(plan: &str) -> Self {
        Self::with_deadline("torch: {}", plan, "60s")
    }

    fn with_deadline(backend: &str, plan: &str, timeout: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let scenario = format!(
            "version: 1\nname: test\nseed: 1\n{DISTURBED}warmups: 1\nrepetitions: {{ fixed: {REPETITIONS} }}\ngen_tokens: [4]\n\
             timeout: {timeout}\nlimits: {{ degraded_rate: 1.0 }}\nscenarios: [{{ name: p, prompt: {{ tokens: 6 }} }}]\n\
             models: [{{ name: m, synthetic: {{ family: gpt2, n_layer: 2, n_embd: 4, n_head: 2, vocab: 400 }} }}]\n\
             backends:\n  - {{ name: worker, {backend} }}\n  - {{ name: other, simulated: {{ pace: real }} }}\n"
        );
        fs::write(folder.path().join("scenario.yaml"), scenario).unwrap();
        for name in ["tmp", "cache/torch", "starts"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let python = folder.path().join("python");
        let here = std::env::current_exe().unwrap();
        // The test program itself is the worker, see `fake`.
        let script = format!(
            "#!/bin/sh\n{}=\"$*\" {}='{plan}' {}='{}' exec '{}' --exact worker::fake::worker --nocapture\n",
            fake::ARGUMENTS,
            fake::PLAN,
            fake::FOLDER,
            folder.path().display(),
            here.display()
        );
        fs::write(&python, script).unwrap();
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
        let selected = serde_json::json!({ "python": python, "package": folder.path(), "id": "fake" });
        fs::write(folder.path().join("cache/torch/selected.json"), selected.to_string()).unwrap();
        let run = folder.path().join("run");
        Self { folder, run }
    }

    /// The same scenario with something else in the place of a piece of it.
    #[track_caller]
    pub fn with(self, piece: &str, other: &str) -> Self {
        let path = self.path().join("scenario.yaml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(piece), "{text}");
        fs::write(&path, text.replace(piece, other)).unwrap();
        self
    }

    /// A fake worker started as torch is.
    pub fn torch(plan: &str) -> Self {
        Self::new("torch: {}", plan)
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The binary with some arguments, not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
        command.args(arguments).current_dir(self.path()).env("PHASEBENCH_CACHE", self.path().join("cache"));
        command.env("TMPDIR", self.path().join("tmp")).env(MARK, self.path());
        command
    }

    pub fn start(&self) -> Command {
        self.command(&["run", "scenario.yaml", "--out", "run"])
    }

    /// Runs the scenario to its end; nothing of it may be left then.
    #[track_caller]
    pub fn complete(&self) -> Recorded {
        self.complete_with(0)
    }

    /// The same where the run ends with another exit code.
    #[track_caller]
    pub fn complete_with(&self, code: i32) -> Recorded {
        let output = self.start().output().unwrap();
        assert_exit(&output, code);
        self.nothing_runs_now();
        let recorded = self.recorded();
        let others = recorded.timed("other");
        assert_eq!(others.len(), REPETITIONS, "the run goes on");
        assert!(others.iter().all(|call| call.status.is_ok()));
        recorded
    }

    pub fn recorded(&self) -> Recorded {
        Recorded { lines: store::read(&self.run).unwrap().lines }
    }

    /// Processes of this fixture that still run, with what they are.
    pub fn running(&self) -> Vec<(u32, String)> {
        let own = std::process::id();
        let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|&pid| pid != own && mark(pid).is_some_and(|marked| marked == self.path()))
            .map(|pid| (pid, fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ")))
            .collect()
    }

    /// No process is left, and no folder with a socket.
    #[track_caller]
    pub fn nothing_runs_now(&self) {
        assert_eq!(self.running(), []);
        let left: Vec<_> = fs::read_dir(self.path().join("tmp")).unwrap().flatten().map(|e| e.path()).collect();
        assert_eq!(left, [] as [PathBuf; 0]);
    }

    /// No process is left soon: whoever ends them was killed itself.
    #[track_caller]
    pub fn nothing_runs_soon(&self) {
        soon("the processes end", || self.running().is_empty());
    }

    /// Waits until the fake has left a file.
    pub fn wait_for(&self, name: &str, program: &mut Child) {
        soon(name, || {
            assert!(program.try_wait().unwrap().is_none(), "ended too early");
            self.path().join(name).exists()
        });
    }
}

/// Waits until something holds, which cannot take long.
#[track_caller]
pub fn soon(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < until, "it takes too long until: {what}");
        std::thread::yield_now();
    }
}

/// Whether a process still does anything: one that was killed stays in the table until its parent has looked.
pub fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn mark(pid: u32) -> Option<PathBuf> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = environment
        .split(|&byte| byte == 0)
        .find_map(|variable| variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="))?;
    Some(PathBuf::from(std::str::from_utf8(value).ok()?))
}

/// What a run left behind.
pub struct Recorded {
    lines: Vec<Line>,
}

impl Recorded {
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// All calls of a backend.
    pub fn calls(&self, backend: &str) -> Vec<&CallRecord> {
        let calls = self.lines.iter().filter_map(|line| if let Line::Call(call) = line { Some(&**call) } else { None });
        calls.filter(|call| call.session.backend == backend).collect()
    }

    pub fn timed(&self, backend: &str) -> Vec<&CallRecord> {
        self.calls(backend).into_iter().filter(|call| call.role == Role::Timed).collect()
    }

    /// All loads of the worker.
    pub fn loads(&self) -> Vec<&LoadRecord> {
        let loads = self.lines.iter().filter_map(|line| if let Line::Load(load) = line { Some(&**load) } else { None });
        loads.filter(|load| load.session.backend == "worker").collect()
    }

    /// The worker's calls and loads that failed: `kind: detail`.
    pub fn failures(&self) -> Vec<String> {
        let said = |status: Status, detail: &Option<String>| match status {
            Status::Ok => None,
            Status::Degraded(kind) => Some(format!("{kind}: {}", detail.as_deref().unwrap_or_default())),
        };
        let of = |line: &Line| match line {
            Line::Call(call) if call.session.backend == "worker" => said(call.status, &call.detail),
            Line::Load(load) if load.session.backend == "worker" => said(load.status, &load.detail),
            _ => None,
        };
        self.lines.iter().filter_map(of).collect()
    }
}

/// Exit code, with what was printed if it is not the expected one.
#[track_caller]
pub fn assert_exit(output: &Output, code: i32) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(output.status.code(), Some(code), "stdout: {}\nstderr: {}", text(&output.stdout), text(&output.stderr));
}
