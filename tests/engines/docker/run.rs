//! Runs of the program with torch in a container: what befalls it is recorded, the run goes on, nothing is left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bollard::query_parameters::{KillContainerOptions, ListContainersOptionsBuilder};
use phasebench::backend::worker::launch::docker::engine::{self, DockerEngine};
use phasebench::backend::worker::launch::docker::leftovers::OWNER;
use phasebench::backend::worker::launch::docker::owner::Owner;
use phasebench::backend::worker::launch::installed::Record as _;
use phasebench::record::Line;
use phasebench::store;
use phasebench::terms::{Degraded, Role, Status};
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::docker::fixture::{Turn, built, until};

/// Timed calls of every cell: enough that a run is not over when it is interfered with.
const REPETITIONS: usize = 100;
/// Where every failure costs a load.
const FEW: usize = 2;

/// A scenario, a cache with the image of the user's, and a place for the run.
struct Fixture {
    _turn: Turn,
    engine: DockerEngine,
    folder: TempDir,
}

impl Fixture {
    /// `None`, and says so, where these tests are not asked for.
    async fn new(repetitions: usize, torch: &str, prompts: &str) -> Option<Self> {
        if std::env::var_os("PHASEBENCH_TEST_DOCKER").is_none() {
            eprintln!("not run: PHASEBENCH_TEST_DOCKER is not set");
            return None;
        }
        let image = built();
        let folder = tempfile::tempdir().unwrap();
        image.write(&folder.path().join("cache")).unwrap();
        let scenario = format!(
            "version: 1\nname: test\nseed: 1\ndisturbed: {{ retry: 0, wait_quiet: 0s }}\nwarmups: 1\nrepetitions: {{ fixed: {repetitions} }}\ngen_tokens: [4]\n\
             limits: {{ degraded_rate: 1.0 }}\nscenarios:\n  - {{ name: small, prompt: {{ tokens: 6 }} }}\n{prompts}\
             models: [{{ name: m, synthetic: {{ family: gpt2, n_layer: 1, n_embd: 64, n_head: 2, n_inner: 65536, \
             vocab: 512 }} }}]\nbackends:\n  - {{ name: torch, torch: {{ launch: docker, threads: 1, {torch} }} }}\n  \
             - {{ name: other, simulated: {{ pace: real }} }}\n"
        );
        fs::write(folder.path().join("scenario.yaml"), scenario).unwrap();
        Some(Self { _turn: Turn::shared().await, engine: engine::connect().await.unwrap(), folder })
    }

    fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn start(&self, host: &str) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
        command.args(["run", "scenario.yaml", "--out", "run"]).current_dir(self.folder.path());
        command.env("PHASEBENCH_CACHE", self.folder.path().join("cache")).env("DOCKER_HOST", host);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn lines(&self) -> Vec<Line> {
        store::read(&self.run()).map(|run| run.lines).unwrap_or_default()
    }

    /// Timed calls of a backend that are good.
    fn good(&self, backend: &str) -> usize {
        let is_good = |line: &Line| match line {
            Line::Call(call) => call.session.backend == backend && call.role == Role::Timed && call.status.is_ok(),
            _ => false,
        };
        self.lines().iter().filter(|line| is_good(line)).count()
    }

    /// What failed of torch's loads and calls: how, and in which words.
    fn failures(&self) -> Vec<(Degraded, String)> {
        let said = |status: Status, detail: Option<String>| match status {
            Status::Ok => None,
            Status::Degraded(kind) => Some((kind, detail.unwrap_or_default())),
        };
        let of = |line: Line| match line {
            Line::Call(call) if call.session.backend == "torch" => said(call.status, call.detail.clone()),
            Line::Load(load) if load.session.backend == "torch" => said(load.status, load.detail),
            _ => None,
        };
        self.lines().into_iter().filter_map(of).collect()
    }

    /// Containers that a process made, running or not.
    async fn containers(&self, owner: u32) -> Vec<String> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let found = self.engine.docker.list_containers(Some(options)).await.unwrap();
        let is_owner = |label: &String| label.parse::<Owner>().is_ok_and(|found| found.pid() == owner);
        let ours =
            found.into_iter().filter(|found| found.labels.as_ref().and_then(|l| l.get(OWNER)).is_some_and(is_owner));
        ours.filter_map(|found| found.id).collect()
    }

    /// Waits until torch has answered some timed calls.
    async fn measuring(&self, program: &mut Child) {
        until("a timed call", async || {
            assert!(program.try_wait().unwrap().is_none(), "ended too early: {:?}", self.failures());
            self.good("torch") >= 3
        })
        .await;
    }
}

async fn end_of(program: Child) -> Output {
    tokio::task::spawn_blocking(move || program.wait_with_output().unwrap()).await.unwrap()
}

#[track_caller]
fn assert_good(output: &Output) {
    assert_ended(output, 0);
}

fn assert_ended(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn docker_kill_costs_one_call() {
    let Some(fixture) = Fixture::new(REPETITIONS, "", "").await else { return };
    let mut program = fixture.start(&fixture.engine.host);
    let owner = program.id();
    fixture.measuring(&mut program).await;
    let containers = fixture.containers(owner).await;
    assert_eq!(containers.len(), 1);
    let kill = fixture.engine.docker.kill_container(&containers[0], None::<KillContainerOptions>);
    kill.await.unwrap();
    assert_good(&end_of(program).await);
    let failures = fixture.failures();
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(failures[0].0 == Degraded::Crashed && failures[0].1.contains("signal 9"), "{failures:?}");
    assert_eq!((fixture.good("torch"), fixture.good("other")), (REPETITIONS - 1, REPETITIONS));
    assert_eq!(fixture.containers(owner).await, [] as [String; 0]);
    let manifest = fs::read_to_string(fixture.run().join("manifest.json")).unwrap();
    let image = built();
    assert!(manifest.contains(&format!("\"worker.image_digest\": \"{}\"", image.image)), "{manifest}");
}

#[tokio::test]
async fn a_container_out_of_memory_is_recorded_as_such() {
    // One activation of the second prompt takes 16 × 900 × 65536 × 4 bytes: 3.8 GB.
    let big = "  - { name: big, prompt: { tokens: 900 }, batch: 16 }\n";
    let Some(fixture) = Fixture::new(FEW, "resources: { memory: 2GiB }", big).await else { return };
    let program = fixture.start(&fixture.engine.host);
    let owner = program.id();
    assert_good(&end_of(program).await);
    let failures = fixture.failures();
    assert!(!failures.is_empty() && failures.iter().all(|(kind, _)| *kind == Degraded::Oom), "{failures:?}");
    assert!(failures[0].1.contains("lack of memory"), "{failures:?}");
    assert_eq!((fixture.good("torch"), fixture.good("other")), (FEW, 2 * FEW));
    assert_eq!(fixture.containers(owner).await, [] as [String; 0]);
}

/// Importing torch alone takes longer than it takes to see that there is a container.
#[tokio::test]
async fn interrupted_while_a_worker_loads_no_container_is_left() {
    let Some(fixture) = Fixture::new(REPETITIONS, "", "").await else { return };
    let mut program = fixture.start(&fixture.engine.host);
    let owner = program.id();
    until("a container of a session", async || {
        assert!(program.try_wait().unwrap().is_none(), "ended too early: {:?}", fixture.failures());
        // The run folder comes after the container that was only asked what it is.
        fixture.run().join("measurements.jsonl").exists() && !fixture.containers(owner).await.is_empty()
    })
    .await;
    // SAFETY: takes two numbers; the process is this test's own.
    assert_eq!(unsafe { libc::kill(libc::pid_t::try_from(owner).unwrap(), libc::SIGINT) }, 0);
    assert_eq!(end_of(program).await.status.code(), Some(130));
    assert_eq!(fixture.containers(owner).await, [] as [String; 0]);
}

#[tokio::test]
async fn after_sigkill_the_worker_ends_and_the_next_run_leaves_no_container() {
    let Some(fixture) = Fixture::new(REPETITIONS, "", "").await else { return };
    let mut program = fixture.start(&fixture.engine.host);
    let owner = program.id();
    fixture.measuring(&mut program).await;
    program.kill().unwrap();
    program.wait().unwrap();
    until("the worker has ended", async || {
        let left = fixture.containers(owner).await;
        match left.first() {
            Some(left) => {
                let found = fixture.engine.docker.inspect_container(left, None).await;
                found.map_or(true, |found| found.state.and_then(|state| state.running) == Some(false))
            }
            // Another test's start has removed it.
            None => true,
        }
    })
    .await;
    fs::remove_dir_all(fixture.run()).unwrap();
    let next = fixture.start(&fixture.engine.host);
    let next_owner = next.id();
    assert_good(&end_of(next).await);
    assert_eq!(fixture.good("torch"), REPETITIONS);
    for owner in [owner, next_owner] {
        assert_eq!(fixture.containers(owner).await, [] as [String; 0]);
    }
}

/// Stands between the program and the engine until it is cut, as if the engine had stopped.
struct Proxy {
    socket: PathBuf,
    cut: Arc<AtomicBool>,
}

impl Proxy {
    fn new(engine: &str, folder: &Path) -> Self {
        let (socket, cut) = (folder.join("proxy.sock"), Arc::new(AtomicBool::new(false)));
        let engine = engine.strip_prefix("unix://").unwrap().to_owned();
        let (listener, is_cut) = (UnixListener::bind(&socket).unwrap(), cut.clone());
        tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                if is_cut.load(Ordering::SeqCst) {
                    break;
                }
                let engine = engine.clone();
                connections.spawn(async move {
                    let mut server = UnixStream::connect(engine).await.unwrap();
                    // Ends when either side does.
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
            // Dropped here, with every connection: nobody is answered any more.
        });
        Self { socket, cut }
    }

    async fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        // Wakes it.
        let _ = UnixStream::connect(&self.socket).await;
    }
}

#[tokio::test]
async fn without_its_engine_the_run_goes_on_with_the_others() {
    let Some(fixture) = Fixture::new(REPETITIONS, "", "").await else { return };
    let proxy = Proxy::new(&fixture.engine.host, fixture.folder.path());
    let mut program = fixture.start(&format!("unix://{}", proxy.socket.display()));
    fixture.measuring(&mut program).await;
    let owner = program.id();
    proxy.cut().await;
    // Its only cell is given up.
    assert_ended(&end_of(program).await, 3);
    let failures = fixture.failures();
    assert_eq!(failures[0].0, Degraded::Crashed, "{failures:?}");
    assert!(
        failures.len() > 1 && failures[1..].iter().all(|(_, words)| words.contains("cannot be reached")),
        "{failures:?}"
    );
    assert_eq!(fixture.good("other"), REPETITIONS);
    // Its engine came back, so to say, but its owner did not.
    until("the worker has ended", async || {
        phasebench::backend::worker::launch::docker::leftovers::sweep(&fixture.engine).await.unwrap();
        fixture.containers(owner).await.is_empty()
    })
    .await;
}
