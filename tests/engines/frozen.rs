//! The program, its worker, its server or all of them stopped for three seconds, longer than a call may take: the calls
//! that were hit say so, and none of them is called a timeout.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use phasebench::backend::onnx::library;
use phasebench::record::CallRecord;
use phasebench::store;
use phasebench::terms::{Degraded, Flag, Role, Status};
use phasebench::units::Nanos;

use crate::ollama::fixture::{Fixture as Served, ONE, Scenario, script};
use crate::standin::Server;
use crate::standin::scripted::{Script, Scripted};
use crate::worker::fixture::{DISTURBED, Fixture as Worked, soon};

const HELD: Duration = Duration::from_secs(3);

/// Stops all of these processes at once, for [`HELD`].
fn hold(pids: &BTreeSet<u32>) {
    let tell = |signal| {
        for &pid in pids {
            // SAFETY: takes two numbers; the processes are this test's own.
            assert_eq!(unsafe { libc::kill(libc::pid_t::try_from(pid).unwrap(), signal) }, 0, "{pid}");
        }
    };
    tell(libc::SIGSTOP);
    let_pass(HELD);
    tell(libc::SIGCONT);
}

fn let_pass(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        std::thread::yield_now();
    }
}

/// Between the line of one call and a moment inside the next, which takes a third of a second or half of one.
const INTO_THE_CALL: Duration = Duration::from_millis(150);

/// Waits until a run has recorded its first timed call and is inside the next one.
fn wait_for_a_timed_call(program: &mut Child, folder: &std::path::Path) {
    soon("a timed call", || {
        assert!(program.try_wait().unwrap().is_none(), "ended too early");
        let record = fs::read_to_string(folder.join("measurements.jsonl")).unwrap_or_default();
        record.contains("-timed-0000")
    });
    let_pass(INTO_THE_CALL);
}

/// Whether a timed call was held for most of [`HELD`] in its first try.
fn is_hit(call: &CallRecord) -> bool {
    let held = call.beside.frozen_ns.is_some_and(|time| time > Nanos(2_000_000_000));
    held && call.role == Role::Timed && call.attempt == 0
}

/// How often a run is held before it counts that no call was hit: whatever stands between two calls is short beside them.
const MOST_HOLDS: usize = 4;

/// What a run must show that was held in a call; `run` makes one, and its calls. One that was held between two calls, as a
/// busy machine may have it, shows nothing, and another is made.
#[track_caller]
fn judge(what: &str, mut run: impl FnMut() -> Vec<CallRecord>) {
    let calls = (0..MOST_HOLDS).map(|_| run()).find(|calls| calls.iter().any(is_hit));
    let calls = calls.unwrap_or_else(|| panic!("{what}: {MOST_HOLDS} runs were held, and no call of theirs"));
    let frozen: Vec<&CallRecord> = calls.iter().filter(|call| call.flags.contains(&Flag::Frozen)).collect();
    let told = calls.iter().map(|call| (&call.call_id, &call.flags, call.status, &call.detail)).collect::<Vec<_>>();
    assert!(calls.iter().filter(|call| is_hit(call)).all(|call| frozen.contains(&call)), "{what}: {told:?}");
    let timeout = calls.iter().find(|call| call.status == Status::Degraded(Degraded::Timeout));
    assert!(timeout.is_none(), "{what}: {told:?}");
    let timed: Vec<&CallRecord> = calls.iter().filter(|call| call.role == Role::Timed).collect();
    let tried = |of: &CallRecord, attempt| timed.iter().any(|call| (call.index, call.attempt) == (of.index, attempt));
    let again = frozen.iter().filter(|call| call.role == Role::Timed && call.attempt == 0);
    let again: Vec<bool> = again.map(|call| tried(call, 1)).collect();
    assert!(!again.is_empty() && again.iter().all(|again| *again), "{what}: made again: {told:?}");
}

#[test]
fn a_worker_and_its_client() {
    for (what, program, worker) in [("program", true, false), ("worker", false, true), ("all", true, true)] {
        judge(what, || held_with_a_worker(what, program, worker));
    }
}

fn held_with_a_worker(what: &str, program: bool, worker: bool) -> Vec<CallRecord> {
    let fixture = Worked::new("onnx: { provider: cpu, threads: 1, isolation: process }", "good")
        .with(DISTURBED, "disturbed: { retry: 1, foreign_cpu: 1, wait_quiet: 0s }\n")
        .with("timeout: 5s", "timeout: 2500ms")
        .with("gen_tokens: [4]", "gen_tokens: [400]")
        .with("n_layer: 2, n_embd: 4, n_head: 2", "n_layer: 4, n_embd: 256, n_head: 4")
        .with("\n  - { name: other, simulated: { pace: real } }", "");
    let library = library::locate(&phasebench::cache::root()).unwrap().path;
    let mut command = fixture.start();
    command.env(library::VARIABLE, &library).stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = command.spawn().unwrap();
    wait_for_a_timed_call(&mut running, &fixture.run);
    let own = running.id();
    let engine = |command: &str| command.contains("worker") && command.contains("onnx");
    let of = |(pid, command): (u32, String)| match pid == own {
        true => program.then_some(pid),
        false => (worker && engine(&command) && !command.contains("supervise")).then_some(pid),
    };
    let pids: BTreeSet<u32> = fixture.running().into_iter().filter_map(of).collect();
    assert_eq!(pids.len(), usize::from(program) + usize::from(worker), "{what}: {:?}", fixture.running());
    hold(&pids);
    assert_eq!(running.wait().unwrap().code(), Some(0), "{what}");
    store::read(&fixture.run).unwrap().calls().cloned().collect()
}

/// In the environment of this test program where it is the server.
const SERVES: &str = "PHASEBENCH_TEST_SERVES";

/// The server itself where the program was started as one, else nothing.
#[test]
fn server() {
    if std::env::var_os(SERVES).is_none() {
        return;
    }
    // A call takes about half a second.
    let script = Script { step: Duration::from_millis(10), ..script() };
    let server = Server::scripted(&Arc::new(Scripted::new(script, []))).unwrap();
    println!("\nserves {}", server.url());
    std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()).unwrap();
    std::process::exit(0);
}

/// A server in a process of its own, and its address.
fn serve() -> (Child, ChildStdin, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "frozen::server", "--nocapture"]).env(SERVES, "1");
    let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let input = server.stdin.take().unwrap();
    let lines = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
    let url = lines.filter_map(|line| line.strip_prefix("serves ").map(str::to_owned)).next().unwrap();
    (server, input, url)
}

#[test]
fn a_server_and_its_client() {
    for (what, program, engine) in [("program", true, false), ("server", false, true), ("all", true, true)] {
        judge(what, || held_with_a_server(what, program, engine));
    }
}

fn held_with_a_server(what: &str, program: bool, engine: bool) -> Vec<CallRecord> {
    let (mut server, input, url) = serve();
    let fixture = Served::new(&Scenario { url: &url, models: ONE, prompt: 9, steps: 50, repetitions: 4, more: "" })
        .with(DISTURBED, "disturbed: { retry: 1, foreign_cpu: 1, wait_quiet: 0s }\n")
        .with("timeout: 1s", "timeout: 2500ms");
    let mut running = fixture.start().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for_a_timed_call(&mut running, &fixture.run);
    let pids = [(program, running.id()), (engine, server.id())];
    hold(&pids.into_iter().filter_map(|(is_held, pid)| is_held.then_some(pid)).collect());
    assert_eq!(running.wait().unwrap().code(), Some(0), "{what}");
    drop(input);
    server.wait().unwrap();
    fixture.calls()
}
