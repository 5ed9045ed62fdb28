//! Both workers, message by message: the order, what is answered meanwhile, repeated calls, refusals.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use phasebench::backend::worker::clock::kernel;
use phasebench::backend::worker::connection::{Client, open};
use phasebench::backend::worker::protocol::error::Kind;
use phasebench::backend::worker::protocol::*;
use phasebench::backend::worker::serve::{Serving, serve};
use phasebench::backend::worker::{launch::Address, settings, torch};
use phasebench::backend::{
    Backend, CancelToken, Surroundings, onnx::OnnxBackend, onnx::library, worker::clock::KernelClock,
};
use tempfile::TempDir;
use tonic::{Code, Status};

use crate::worker::engines::{TORCH, asked_for, not_asked_for};

/// A test of each worker: ours always, torch's where it is asked for.
macro_rules! workers {
    ($($name:ident),+ $(,)?) => {
        mod ours {
            $(#[test]
            fn $name() {
                super::$name(&super::ours());
            })+
        }
        mod torch_worker {
            $(#[test]
            fn $name() {
                if let Some(server) = super::torch_worker(stringify!($name)) {
                    super::$name(&server);
                }
            })+
        }
    };
}

workers!(
    messages_have_an_order,
    refusals_have_a_kind_and_words,
    a_looped_call_is_one_span_per_phase_and_repetition,
    the_clock_and_a_cancel_are_answered_while_a_call_runs,
    a_client_that_leaves_stops_its_call,
    a_probe_tells_the_most_probable_tokens,
);

/// A worker and a client to it.
struct Server {
    runtime: tokio::runtime::Runtime,
    client: Client,
    /// Whether it has a compiler.
    compiles: bool,
    _process: Option<Process>,
    _folder: TempDir,
}

/// Ended with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The torch worker in a process of its own, from the environment that `phasebench setup torch` made.
fn torch_worker(test: &str) -> Option<Server> {
    if let Err(why) = asked_for(TORCH) {
        not_asked_for(&format!("{test} of the torch worker"), &why);
        return None;
    }
    let found = torch::find(&phasebench::cache::root()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let address = format!("unix:{}/s", folder.path().display());
    let mut command = Command::new(found.python);
    command.args(["-m", "phasebench_torch", "--listen", &address, "--exit-on-stdin-close"]);
    command.env("PYTHONPATH", found.package).env("PYTHONDONTWRITEBYTECODE", "1").env("TMPDIR", folder.path());
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut process = Process(child);
    let mut ready = String::new();
    BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert_eq!(ready.trim_end(), format!("phasebench-worker ready {address}"));
    Some(connect(&address.parse().unwrap(), true, Some(process), folder))
}

fn connect(address: &Address, compiles: bool, process: Option<Process>, folder: TempDir) -> Server {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = runtime.block_on(async { open(address, None).unwrap() });
    Server { runtime, client, compiles, _process: process, _folder: folder }
}

/// ONNX Runtime served on a thread of this program.
fn ours() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let listen = format!("unix:{}/s", folder.path().display()).parse().unwrap();
    let serving = Serving { listen, token: None, exit_on_stdin_close: false };
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("protocol-cache");
    let located = library::locate(&phasebench::cache::root()).unwrap();
    library::select(&cache, &located.path).unwrap();
    let surroundings = Surroundings::new(Arc::new(KernelClock), cache, 0);
    let make = move |asked: &Settings| {
        let backend = OnnxBackend::new("onnx", settings::onnx(asked)?, surroundings.clone());
        Ok(Box::new(backend) as Box<dyn Backend>)
    };
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let told = |address: &Address| tell.send(address.clone()).map_err(std::io::Error::other);
        serve(&serving, Box::new(make), &CancelToken::default(), told).unwrap();
    });
    connect(&told.recv().unwrap(), false, None, folder)
}

/// Sends one message and waits for its answer.
macro_rules! ask {
    ($server:expr, $method:ident, $request:expr) => {{
        let mut client = $server.client.clone();
        $server.runtime.block_on(async move { client.$method($request).await.map(tonic::Response::into_inner) })
    }};
}

impl Server {
    fn greet(&self) -> HelloReply {
        ask!(self, hello, HelloRequest { protocol_version: 1, client: "test".to_owned() }).unwrap()
    }

    fn load(&self) {
        assert_eq!(self.prepare(&model(), "").unwrap().error, None);
        assert_eq!(ask!(self, load, LoadRequest { longest_sequence: 0 }).unwrap().error, None);
    }

    fn prepare(&self, path: &str, weights_id: &str) -> Result<PrepareReply, Status> {
        let request =
            PrepareRequest { settings: Some(cpu()), path: path.to_owned(), weights_id: weights_id.to_owned() };
        ask!(self, prepare, request)
    }
}

fn model() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/same-weights/tiny-gpt2").to_owned()
}

fn cpu() -> Settings {
    Settings { device: "cpu".to_owned(), dtype: "f32".to_owned(), threads: Some(1), ..Settings::default() }
}

fn request(call_id: u64, steps: u32, repeat: Option<Repeat>) -> CallRequest {
    CallRequest {
        call_id,
        procedure: Procedure::PrefillDecode.into(),
        prompts: vec![Prompt { ids: vec![0, 41, 42] }],
        padded_to: 3,
        steps,
        repeat,
        top_logprobs: 0,
    }
}

/// Refused for its place in the order, and nothing came of it. Why is told, in the worker's own words.
#[track_caller]
fn out_of_order<T: std::fmt::Debug>(answer: Result<T, Status>) {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    assert!(!status.message().is_empty());
}

/// Every arrow of the state machine in docs/worker-protocol.md, and every message where it has none.
fn messages_have_an_order(server: &Server) {
    let describe = || ask!(server, describe, DescribeRequest { settings: Some(cpu()) });
    let good = |answer: Result<DescribeReply, Status>| assert_eq!(answer.unwrap().error, None);
    let loaded_only = || {
        out_of_order(ask!(server, call, request(1, 2, None)));
        out_of_order(ask!(server, compile, compiling()));
        out_of_order(ask!(server, unload, UnloadRequest {}));
    };
    out_of_order(describe());
    out_of_order(server.prepare(&model(), ""));
    out_of_order(ask!(server, load, LoadRequest::default()));
    loaded_only();
    assert!(ask!(server, read_clock, ReadClockRequest {}).is_ok());
    assert!(!ask!(server, cancel, CancelRequest { call_id: 0 }).unwrap().in_flight);
    out_of_order(ask!(server, hello, HelloRequest { protocol_version: 0, client: String::new() }));
    out_of_order(describe());
    let newer = ask!(server, hello, HelloRequest { protocol_version: 9, client: String::new() }).unwrap();
    assert_eq!(newer.protocol_version, 1, "the highest that both speak");
    // Greeted.
    out_of_order(ask!(server, load, LoadRequest::default()));
    loaded_only();
    server.greet();
    assert_eq!(server.prepare(&model(), "").unwrap().error, None, "nothing need be described first");
    // Prepared.
    loaded_only();
    good(describe());
    assert_eq!(server.prepare(&model(), "").unwrap().error, None);
    assert_eq!(ask!(server, load, LoadRequest { longest_sequence: 0 }).unwrap().error, None);
    // Loaded.
    out_of_order(ask!(server, load, LoadRequest::default()));
    out_of_order(server.prepare(&model(), ""));
    good(describe());
    assert_eq!(ask!(server, compile, compiling()).unwrap(), CompileReply::default(), "nothing was to be compiled");
    assert_eq!(ask!(server, call, request(1, 2, None)).unwrap().error, None);
    good(describe());
    assert_eq!(ask!(server, call, request(2, 2, None)).unwrap().error, None);
    assert_eq!(ask!(server, unload, UnloadRequest {}).unwrap().error, None);
    // Prepared again: it is unloaded once, and what was prepared can be loaded.
    loaded_only();
    good(describe());
    assert_eq!(ask!(server, load, LoadRequest::default()).unwrap().error, None);
    assert_eq!(ask!(server, call, request(3, 2, None)).unwrap().error, None);
    ask!(server, shutdown, ShutdownRequest {}).unwrap();
}

/// Whether it was refused because another request is at work.
fn is_busy(status: &Status) -> bool {
    status.code() == Code::FailedPrecondition && status.message().contains("in flight")
}

fn compiling() -> CompileRequest {
    let procedure = Procedure::Prefill.into();
    CompileRequest { shape: Some(Shape { procedure, batch: 1, prompt_tokens: 3, steps: 0 }) }
}

fn refusals_have_a_kind_and_words(server: &Server) {
    let can = server.greet().capabilities.unwrap();
    assert!(can.step_times && can.repeat && can.logprobs);
    assert_eq!(can.compiles, server.compiles);
    let refused = |error: Option<Error>, kind: Kind, words: &str| {
        let error = error.unwrap();
        assert_eq!(error.kind(), kind, "{}", error.message);
        assert!(error.message.contains(words), "{}", error.message);
    };
    let tpu = Settings { device: "tpu".to_owned(), ..cpu() };
    let described = ask!(server, describe, DescribeRequest { settings: Some(tpu) }).unwrap();
    refused(described.error, Kind::Invalid, "unknown device `tpu`");
    let far = Settings { device: "cuda:63".to_owned(), ..cpu() };
    let described = ask!(server, describe, DescribeRequest { settings: Some(far) }).unwrap();
    refused(described.error, Kind::Unsupported, "cuda");
    assert!(!described.fix.is_empty());
    let options = [("colour".to_owned(), "red".to_owned())].into();
    let described = ask!(server, describe, DescribeRequest { settings: Some(Settings { options, ..cpu() }) }).unwrap();
    refused(described.error, Kind::Invalid, "unknown option `colour`");
    refused(server.prepare("/nonexistent", "").unwrap().error, Kind::Invalid, "/nonexistent");
    server.load();
    let no_procedure = CallRequest { procedure: 0, ..request(1, 2, None) };
    let reply = ask!(server, call, no_procedure).unwrap();
    assert!(reply.session_usable);
    refused(reply.error, Kind::Invalid, "procedure");
    let too_long = ask!(server, call, request(2, 100_000, None)).unwrap();
    assert!(too_long.session_usable);
    refused(too_long.error, Kind::Invalid, "exceed the model's context");
    let repeat = Some(Repeat { duration_ns: 1, gap_ns: 0 });
    let looped = CallRequest { top_logprobs: 1, ..request(3, 2, repeat) };
    refused(ask!(server, call, looped).unwrap().error, Kind::Invalid, "a looped call is not probed");
    assert_eq!(ask!(server, call, request(4, 2, None)).unwrap().error, None);
}

/// What only our worker holds against a request.
#[test]
fn our_worker_knows_its_weights_and_what_sets_it_up() {
    let server = ours();
    server.greet();
    let far = Settings { device: "cuda:63".to_owned(), ..cpu() };
    let described = ask!(server, describe, DescribeRequest { settings: Some(far) }).unwrap();
    assert!(described.fix.starts_with("phasebench setup onnxruntime"), "{}", described.fix);
    let error = server.prepare(&model(), "other").unwrap().error.unwrap();
    assert!(error.kind() == Kind::Invalid && error.message.contains("other expected"), "{}", error.message);
    server.load();
    let error = ask!(server, compile, CompileRequest::default()).unwrap().error.unwrap();
    assert!(error.kind() == Kind::Invalid && error.message.contains("names no procedure"), "{}", error.message);
}

fn a_probe_tells_the_most_probable_tokens(server: &Server) {
    server.greet();
    server.load();
    let plain = ask!(server, call, request(1, 3, None)).unwrap();
    assert_eq!(plain.logprobs, []);
    let reply = ask!(server, call, CallRequest { top_logprobs: 4, ..request(2, 3, None) }).unwrap();
    assert_eq!((&reply.error, &reply.tokens), (&None, &plain.tokens));
    assert_eq!(reply.spans.len(), 2);
    let [row] = &reply.logprobs[..] else { panic!("{:?}", reply.logprobs) };
    let best: Vec<u32> = row.tokens.iter().map(|place| place.ids[0]).collect();
    assert_eq!(best, reply.tokens[0].ids);
    for place in &row.tokens {
        assert_eq!((place.ids.len(), place.logprobs.len()), (4, 4));
        assert!(place.logprobs.is_sorted_by(|a, b| a >= b) && place.logprobs[0] < 0.0, "{place:?}");
    }
}

fn a_looped_call_is_one_span_per_phase_and_repetition(server: &Server) {
    server.greet();
    server.load();
    let repeat = Repeat { duration_ns: 50_000_000, gap_ns: 1_000_000 };
    let begin = kernel();
    let reply = ask!(server, call, request(1, 3, Some(repeat))).unwrap();
    let end = kernel();
    assert_eq!(reply.error, None);
    let repetitions = reply.spans.len() / 2;
    assert!(repetitions > 1 && reply.spans.len() == 2 * repetitions, "{}", reply.spans.len());
    assert!(end - begin >= repeat.duration_ns);
    let mut last = begin;
    for (n, span) in reply.spans.iter().enumerate() {
        let (phase, gap) = if n % 2 == 0 { (Phase::Prefill, repeat.gap_ns) } else { (Phase::KvDecode, 0) };
        assert_eq!(span.phase(), phase);
        assert!(n == 0 || span.begin_ns >= last + gap, "{n}");
        assert!(span.begin_ns >= last && span.begin_ns <= span.end_ns && span.end_ns <= end);
        last = span.end_ns;
    }
    // Everything else is of the first.
    assert_eq!((reply.steps_timed, reply.tokens.len(), reply.tokens[0].ids.len()), (3, 1, 4));
    assert_eq!(reply.step_ends_ns.len(), 3);
}

fn the_clock_and_a_cancel_are_answered_while_a_call_runs(server: &Server) {
    server.greet();
    server.load();
    let nothing = ask!(server, cancel, CancelRequest { call_id: 0 }).unwrap();
    assert!(!nothing.in_flight);
    let endless = Repeat { duration_ns: u64::MAX, gap_ns: 0 };
    let (caller, mut other) = (server.client.clone(), server.client.clone());
    let reply = server.runtime.block_on(async move {
        let call = 'sent: loop {
            let mut caller = caller.clone();
            let call = tokio::spawn(async move { caller.call(request(5, 3, Some(endless))).await });
            // Seen by what is refused meanwhile. What is answered instead may have stood in its way, and it is sent again.
            while !call.is_finished() {
                let busy = other.describe(DescribeRequest { settings: Some(cpu()) }).await;
                if busy.is_err_and(|status| is_busy(&status)) {
                    break 'sent call;
                }
            }
        };
        assert!(!other.cancel(CancelRequest { call_id: 99 }).await.unwrap().into_inner().in_flight);
        let (before, after) = (kernel(), async { kernel() });
        let now = other.read_clock(ReadClockRequest {}).await.unwrap().into_inner().now_ns;
        assert!(before <= now && now <= after.await);
        assert!(other.cancel(CancelRequest { call_id: 5 }).await.unwrap().into_inner().in_flight);
        call.await.unwrap().unwrap().into_inner()
    });
    assert_eq!(reply.error.unwrap().kind(), Kind::Cancelled);
    assert!(reply.session_usable);
    assert_eq!(ask!(server, call, request(6, 2, None)).unwrap().error, None);
}

/// A client that goes away wants no answer: the next finds the worker free.
fn a_client_that_leaves_stops_its_call(server: &Server) {
    server.greet();
    server.load();
    let endless = Repeat { duration_ns: u64::MAX, gap_ns: 0 };
    let mut caller = server.client.clone();
    let mut other = server.client.clone();
    let reply = server.runtime.block_on(async move {
        let left = tokio::time::timeout(Duration::from_millis(50), caller.call(request(1, 3, Some(endless)))).await;
        assert!(left.is_err());
        loop {
            match other.call(request(2, 2, None)).await {
                Ok(reply) => return reply.into_inner(),
                Err(busy) => assert!(is_busy(&busy), "{busy}"),
            }
        }
    });
    assert_eq!(reply.error, None);
}
