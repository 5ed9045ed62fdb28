//! Our own worker, message by message: the order, what is answered meanwhile, repeated calls, refusals.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use phasebench::backend::worker::clock::kernel;
use phasebench::backend::worker::connection::{Client, open};
use phasebench::backend::worker::protocol::error::Kind;
use phasebench::backend::worker::protocol::*;
use phasebench::backend::worker::serve::{Serving, serve};
use phasebench::backend::worker::settings;
use phasebench::backend::{Backend, Surroundings, onnx::OnnxBackend, onnx::library, worker::clock::KernelClock};
use tempfile::TempDir;
use tonic::{Code, Status};

/// ONNX Runtime served on a thread of this program.
struct Server {
    runtime: tokio::runtime::Runtime,
    client: Client,
    _folder: TempDir,
}

fn server() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let listen = format!("unix:{}/s", folder.path().display()).parse().unwrap();
    let serving = Serving { listen, token: None, exit_on_stdin_close: false };
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("protocol-cache");
    let located = library::locate(&phasebench::cache::root()).unwrap();
    library::select(&cache, &located.path).unwrap();
    let surroundings = Surroundings { clock: Arc::new(KernelClock), cache, seed: 0 };
    let make = move |asked: &Settings| {
        let backend = OnnxBackend::new("onnx", settings::onnx(asked)?, surroundings.clone());
        Ok(Box::new(backend) as Box<dyn Backend>)
    };
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        serve(&serving, Box::new(make), |address| tell.send(address.clone()).map_err(std::io::Error::other)).unwrap();
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let address = told.recv().unwrap();
    let client = runtime.block_on(async { open(&address, None).unwrap() });
    Server { runtime, client, _folder: folder }
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
    }
}

#[track_caller]
fn out_of_order<T: std::fmt::Debug>(answer: Result<T, Status>, words: &str) {
    let status = answer.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, words));
}

#[test]
fn messages_have_an_order() {
    let server = server();
    out_of_order(ask!(server, describe, DescribeRequest { settings: Some(cpu()) }), "the first message is Hello");
    let old = ask!(server, hello, HelloRequest { protocol_version: 0, client: String::new() });
    out_of_order(old, "this worker speaks version 1 of the protocol, the client up to 0");
    let newer = ask!(server, hello, HelloRequest { protocol_version: 9, client: String::new() }).unwrap();
    assert_eq!(newer.protocol_version, 1, "the highest that both speak");
    out_of_order(ask!(server, load, LoadRequest::default()), "no model is prepared");
    out_of_order(ask!(server, call, request(1, 2, None)), "no model is loaded");
    out_of_order(ask!(server, compile, CompileRequest::default()), "no model is loaded");
    out_of_order(ask!(server, unload, UnloadRequest {}), "no model is loaded");
    server.load();
    out_of_order(ask!(server, load, LoadRequest::default()), "a model is loaded already");
    out_of_order(server.prepare(&model(), ""), "a model is loaded; unload it before another is prepared");
    assert_eq!(ask!(server, compile, compiling()).unwrap(), CompileReply::default());
    assert_eq!(ask!(server, call, request(1, 2, None)).unwrap().error, None);
    assert_eq!(ask!(server, unload, UnloadRequest {}).unwrap().error, None);
    out_of_order(ask!(server, unload, UnloadRequest {}), "no model is loaded");
    // What was prepared can be loaded again.
    assert_eq!(ask!(server, load, LoadRequest::default()).unwrap().error, None);
    assert_eq!(ask!(server, call, request(2, 2, None)).unwrap().error, None);
    ask!(server, shutdown, ShutdownRequest {}).unwrap();
}

fn compiling() -> CompileRequest {
    let procedure = Procedure::Prefill.into();
    CompileRequest { shape: Some(Shape { procedure, batch: 1, prompt_tokens: 3, steps: 0 }) }
}

#[test]
fn refusals_have_a_kind_and_words() {
    let server = server();
    let hello = server.greet();
    assert!(hello.capabilities.is_some_and(|can| can.step_times && can.repeat && !can.compiles));
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
    refused(described.error, Kind::Unsupported, "provider cuda");
    assert!(described.fix.starts_with("phasebench setup onnxruntime"), "{}", described.fix);
    refused(server.prepare("/nonexistent", "").unwrap().error, Kind::Invalid, "/nonexistent");
    refused(server.prepare(&model(), "other").unwrap().error, Kind::Invalid, "other expected");
    server.load();
    let no_procedure = CallRequest { procedure: 0, ..request(1, 2, None) };
    let reply = ask!(server, call, no_procedure).unwrap();
    assert!(reply.session_usable);
    refused(reply.error, Kind::Invalid, "names no procedure");
    let too_long = ask!(server, call, request(2, 100_000, None)).unwrap();
    assert!(too_long.session_usable);
    refused(too_long.error, Kind::Invalid, "exceed the model's context");
    refused(ask!(server, compile, CompileRequest::default()).unwrap().error, Kind::Invalid, "names no procedure");
}

#[test]
fn a_looped_call_is_one_span_per_phase_and_repetition() {
    let server = server();
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

#[test]
fn the_clock_and_a_cancel_are_answered_while_a_call_runs() {
    let server = server();
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
                if busy.is_err_and(|status| status.message() == "another request is in flight") {
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
#[test]
fn a_client_that_leaves_stops_its_call() {
    let server = server();
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
                Err(busy) => assert_eq!(busy.message(), "another request is in flight"),
            }
        }
    });
    assert_eq!(reply.error, None);
}
