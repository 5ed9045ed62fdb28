//! A worker that goes wrong in one definite way. It is this test program, started again with a plan.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use phasebench::backend::worker::clock::{kernel, source};
use phasebench::backend::worker::launch::process::READY;
use phasebench::backend::worker::protocol::error::Kind;
use phasebench::backend::worker::protocol::worker_server::{Worker, WorkerServer};
use phasebench::backend::worker::protocol::*;
use phasebench::process::kill;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, UnixListener};
use tonic::codegen::tokio_stream::Stream;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// Environment variable with the worker's arguments.
pub const ARGUMENTS: &str = "PHASEBENCH_FAKE_ARGUMENTS";

/// Environment variable with a word for every start.
pub const PLAN: &str = "PHASEBENCH_FAKE_PLAN";

/// Environment variable with the fixture's folder.
pub const FOLDER: &str = "PHASEBENCH_FAKE_FOLDER";

/// Size of the largest reply.
const GIGABYTE: usize = 1 << 30;

/// The worker itself where the program was started as one, else nothing.
#[test]
fn worker() {
    let (Ok(arguments), Ok(plan), Ok(folder)) = (std::env::var(ARGUMENTS), std::env::var(PLAN), std::env::var(FOLDER))
    else {
        return;
    };
    let folder = PathBuf::from(folder);
    let words: Vec<&str> = plan.split(',').collect();
    let start = (0..).find(|n| File::create_new(folder.join(format!("starts/{n}"))).is_ok()).unwrap_or(0);
    let word = (*words.get(start).unwrap_or_else(|| words.last().unwrap())).to_owned();
    let mut arguments = arguments.split_whitespace();
    let socket = arguments.find_map(|argument| argument.strip_prefix("unix:")).map(PathBuf::from);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(behave(&word, socket, folder));
    std::process::exit(0);
}

async fn behave(word: &str, socket: Option<PathBuf>, folder: PathBuf) {
    if word == "never-ready" {
        fs::write(folder.join("starts-for-ever"), "").unwrap();
        std::future::pending::<()>().await;
    }
    // Only good ones are asked to listen on a port.
    let Some(socket) = socket else { return on_a_port(word, folder).await };
    match word {
        "exit" => {
            say("no such engine\n");
            std::process::exit(3);
        }
        "refuse" => {
            drop(UnixListener::bind(&socket).unwrap());
            std::future::pending().await
        }
        "garbage" => garbage(UnixListener::bind(&socket).unwrap()).await,
        "noise" => (0..100).for_each(|_| say(&"x".repeat(1 << 20))),
        "noise-exit" => {
            (0..100).for_each(|_| say(&"x".repeat(1 << 20)));
            say("\nthe last words\n");
            std::process::exit(4);
        }
        _ => {}
    }
    let fake = Fake::new(word, folder);
    let server = WorkerServer::new(fake).max_encoding_message_size(usize::MAX);
    let listener = Incoming(UnixListener::bind(&socket).unwrap());
    tonic::transport::Server::builder().serve_with_incoming(server, listener).await.unwrap();
}

async fn on_a_port(word: &str, folder: PathBuf) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ready = format!("{READY}tcp:{}\n", listener.local_addr().unwrap());
    std::io::stdout().write_all(ready.as_bytes()).unwrap();
    let server = WorkerServer::new(Fake::new(word, folder));
    tonic::transport::Server::builder().serve_with_incoming(server, TcpIncoming::from(listener)).await.unwrap();
}

/// Straight to standard error: the test harness keeps what is printed.
fn say(text: &str) {
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

async fn garbage(listener: UnixListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let noise: Vec<u8> = (0..4096u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        drop(stream.write_all(&noise).await);
    }
}

/// Connections of a socket.
pub struct Incoming(pub UnixListener);

impl Stream for Incoming {
    type Item = std::io::Result<tokio::net::UnixStream>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_accept(context).map(|accepted| Some(accepted.map(|(stream, _)| stream)))
    }
}

/// Something a worker started that wants to outlive it.
fn child() {
    let mut command = Command::new("sleep");
    command.arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: one system call between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            Ok(())
        });
    }
    drop(command.spawn().unwrap());
}

/// A clock that claims to be the kernel's: right when the worker starts, and from then on at a pace of its own.
struct Pace {
    began: u64,
    pace: f64,
    /// Nanoseconds that it is ahead by.
    ahead: u64,
    /// Nanoseconds that it stood still for.
    lost: AtomicU64,
}

impl Pace {
    /// `clock-0.9` runs at nine tenths, `ahead` is an hour ahead; any other word leaves the clock as it is.
    fn of(word: &str) -> Self {
        let ahead = if word == "ahead" { 3_600_000_000_000 } else { 0 };
        let pace = word.strip_prefix("clock-").map_or(1.0, |pace| pace.parse().unwrap());
        Self { began: kernel(), ahead, pace, lost: AtomicU64::default() }
    }

    fn now(&self) -> u64 {
        let passed = ((kernel() - self.began) as f64 * self.pace) as u64;
        self.ahead + self.began + passed - self.lost.load(Ordering::SeqCst)
    }

    /// Works for so long, two thirds of which it stands still.
    fn slip(&self, time: Duration) {
        work(time);
        self.lost.fetch_add(time.as_nanos() as u64 / 3 * 2, Ordering::SeqCst);
    }
}

/// Works for so long.
fn work(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}

struct Fake {
    word: String,
    folder: PathBuf,
    /// What its clock does.
    clock: Pace,
    calls: Arc<AtomicU32>,
    /// Whether it is set to compile inside its calls.
    in_calls: Arc<AtomicBool>,
}

impl Fake {
    fn new(word: &str, folder: PathBuf) -> Self {
        let clock = Pace::of(word);
        Self { word: word.to_owned(), folder, clock, calls: Arc::default(), in_calls: Arc::default() }
    }

    fn compiles(&self) -> bool {
        self.word.starts_with("compile")
    }

    /// What its compiler did for both phases, the first time or later.
    fn evidence(&self, first: bool) -> Vec<PhaseEvidence> {
        let broken = self.word == "compile-break";
        let phase = |phase: Phase| PhaseEvidence {
            phase: phase.into(),
            requested: "inductor".to_owned(),
            actual: (!broken).then(|| "inductor".to_owned()),
            calls: 4,
            executions: if broken { 1 } else { 4 },
            unique_graphs: first.into(),
            cache_misses: first.into(),
            compile_ns: if first { 1_000_000 } else { 0 },
            // As torch does: what was broken when it was compiled is not told again.
            graph_breaks: if broken && first { 3 } else { 0 },
            reasons: if broken && first { vec!["graph break: print".to_owned()] } else { Vec::new() },
            ..Default::default()
        };
        [Phase::Prefill, Phase::KvDecode].map(phase).to_vec()
    }
    /// What a call does besides answering. `number`: from 0.
    async fn strike(&self, number: u32) {
        match (self.word.as_str(), number) {
            ("kill", 2) | ("kill-at-once", 0) => kill(std::process::id()),
            ("abort", 2) => std::process::abort(),
            ("hang" | "child-hang", 2) => {
                if self.word == "child-hang" {
                    child();
                }
                fs::write(self.folder.join("hangs"), std::process::id().to_string()).unwrap();
                std::future::pending::<()>().await;
            }
            ("noise-in-call", 2) => {
                let noise = || (0..100).for_each(|_| say(&"x".repeat(1 << 20)));
                tokio::task::spawn_blocking(noise).await.unwrap();
            }
            ("child-kill", 2) => {
                child();
                kill(std::process::id());
            }
            _ => {}
        }
    }

    fn answer(&self, number: u32, request: &CallRequest) -> CallReply {
        if self.word == "prepares" {
            // Inputs are made, and caches emptied.
            work(Duration::from_millis(40));
        }
        let takes_time = self.word.starts_with("clock-") || self.word == "on-board";
        let begin = self.clock.now();
        if takes_time {
            work(Duration::from_millis(4));
        }
        if self.word == "slips" && number == 2 {
            self.clock.slip(Duration::from_millis(300));
        }
        let middle = self.clock.now();
        if takes_time {
            work(Duration::from_millis(8));
        }
        let end = self.clock.now();
        if self.word == "not-waited-for" {
            // The device is still at work when the phases are said to have ended.
            work(Duration::from_millis(40));
        }
        let ids = vec![7; request.steps as usize + 1];
        let mut reply = CallReply {
            session_usable: true,
            spans: vec![
                Span { phase: Phase::Prefill.into(), begin_ns: begin, end_ns: middle, device_ns: None },
                Span { phase: Phase::KvDecode.into(), begin_ns: middle, end_ns: end, device_ns: None },
            ],
            steps_timed: request.steps,
            tokens: request.prompts.iter().map(|_| Prompt { ids: ids.clone() }).collect(),
            prompt_tokens: request.prompts.iter().map(|row| row.ids.len() as u32).collect(),
            attribution: Some(Attribution {
                requested: "fake".to_owned(),
                actual: Some("fake".to_owned()),
                evidence: [("kernels".to_owned(), "7".to_owned())].into(),
            }),
            ..Default::default()
        };
        if self.word == "on-board" {
            let (device, uuid) = ("cuda:0".to_owned(), crate::fake_cuda::UUID.to_owned());
            reply.attribution = Some(Attribution {
                requested: device.clone(),
                actual: Some(device),
                evidence: [("device.uuid".to_owned(), uuid)].into(),
            });
        }
        if self.compiles() {
            reply.phases = self.evidence(number == 0 && self.in_calls.load(Ordering::SeqCst));
        }
        if number != 2 {
            return reply;
        }
        let error = |kind: Kind, message: &str| Some(Error { kind: kind.into(), message: message.to_owned() });
        match self.word.as_str() {
            "gigabyte" => reply.attribution.as_mut().unwrap().requested = "x".repeat(GIGABYTE),
            "nonsense" => reply.spans.reverse(),
            "stray-token" => reply.tokens[0].ids[1] = 4_000_000_000,
            "future" => reply.spans[1].end_ns += 3_600_000_000_000,
            "oom" => {
                reply = CallReply { error: error(Kind::Oom, "no memory for 8 bytes"), ..Default::default() };
            }
            "recompile" => reply.error = error(Kind::Recompile, "a new shape"),
            _ => {}
        }
        reply
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Worker for Fake {
    async fn hello(&self, _: Request<HelloRequest>) -> Answer<HelloReply> {
        if self.word == "never-hello" {
            std::future::pending::<()>().await;
        }
        let mut procedures = vec![Procedure::Prefill, Procedure::PrefillDecode, Procedure::Uncached];
        if self.word == "cached-only" {
            procedures.pop();
        }
        let clock = match self.word.as_str() {
            // Of a machine that is not this one.
            "other-clock" => ClockSource { boot_id: "another".to_owned(), ..source() },
            _ => source(),
        };
        Ok(Response::new(HelloReply {
            protocol_version: if self.word == "version" { 2 } else { 1 },
            worker: "fake".to_owned(),
            worker_version: "1".to_owned(),
            pid: std::process::id(),
            capabilities: Some(Capabilities {
                procedures: procedures.into_iter().map(Into::into).collect(),
                compiles: self.compiles(),
                ..Default::default()
            }),
            clock: Some(clock),
        }))
    }

    async fn read_clock(&self, _: Request<ReadClockRequest>) -> Answer<ReadClockReply> {
        Ok(Response::new(ReadClockReply { now_ns: self.clock.now() }))
    }

    async fn describe(&self, _: Request<DescribeRequest>) -> Answer<DescribeReply> {
        let mut reply = DescribeReply { engine: "Fake".to_owned(), ..Default::default() };
        if self.word == "unsupported" {
            let kind = Kind::Unsupported.into();
            reply.error = Some(Error { kind, message: "no \u{1b}[31mCUDA device".to_owned() });
            reply.fix = "device: cpu".to_owned();
        }
        Ok(Response::new(reply))
    }

    async fn prepare(&self, request: Request<PrepareRequest>) -> Answer<PrepareReply> {
        let settings = request.into_inner().settings.unwrap();
        let in_calls = settings.options.get("compile.on_recompile").is_some_and(|value| value == "record");
        self.in_calls.store(in_calls, Ordering::SeqCst);
        Ok(Response::new(PrepareReply::default()))
    }

    async fn load(&self, _: Request<LoadRequest>) -> Answer<LoadReply> {
        match self.word.as_str() {
            "die-in-load" => {
                say("cannot map the weights\n");
                std::process::exit(7);
            }
            "hang-in-load" => {
                child();
                fs::write(self.folder.join("loads-for-ever"), "").unwrap();
                std::future::pending().await
            }
            _ => Ok(Response::new(LoadReply::default())),
        }
    }

    async fn compile(&self, _: Request<CompileRequest>) -> Answer<CompileReply> {
        let mut reply = CompileReply::default();
        match self.word.as_str() {
            "compile-hang" => std::future::pending().await,
            "compile-kill" => kill(std::process::id()),
            // The rule of the protocol: nothing ahead.
            _ if self.in_calls.load(Ordering::SeqCst) => {}
            "compile" => reply.phases = self.evidence(true),
            "compile-break" => {
                reply.phases = self.evidence(true);
                let message = "1 of 4 calls ran compiled: graph break: print".to_owned();
                reply.error = Some(Error { kind: Kind::Fallback.into(), message });
            }
            _ => {}
        }
        Ok(Response::new(reply))
    }

    async fn call(&self, request: Request<CallRequest>) -> Answer<CallReply> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        self.strike(number).await;
        Ok(Response::new(self.answer(number, request.get_ref())))
    }

    async fn cancel(&self, _: Request<CancelRequest>) -> Answer<CancelReply> {
        Ok(Response::new(CancelReply { in_flight: true }))
    }

    async fn unload(&self, _: Request<UnloadRequest>) -> Answer<UnloadReply> {
        Ok(Response::new(UnloadReply::default()))
    }

    async fn shutdown(&self, _: Request<ShutdownRequest>) -> Answer<ShutdownReply> {
        Ok(Response::new(ShutdownReply {}))
    }
}
