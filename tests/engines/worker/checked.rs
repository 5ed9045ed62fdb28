//! `worker check`: our own worker keeps every rule, and one that lies in one respect breaks the rule of that name.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use phasebench::backend::onnx::{OnnxBackend, library};
use phasebench::backend::worker::WorkerBackend;
use phasebench::backend::worker::check::{Finding, Verdict};
use phasebench::backend::worker::clock::{KernelClock, kernel};
use phasebench::backend::worker::protocol::worker_server::{Worker, WorkerServer};
use phasebench::backend::worker::protocol::*;
use phasebench::backend::worker::serve::service::Service;
use phasebench::backend::worker::settings::{self, Workers};
use phasebench::backend::{Backend, Surroundings};
use phasebench::clock::RealClock;
use phasebench::model::{Form, ModelSource};
use phasebench::scenario::ConnectSettings;
use phasebench::terms::model::{Family, Synthetic};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::Notify;
use tonic::{Code, Request, Response, Status};

use crate::worker::engines::{asked_for, not_asked_for};
use crate::worker::fake::Incoming;
use crate::worker::fixture::assert_exit;

/// Environment variable that names a Python with grpcio, grpcio-tools and numpy.
const TEMPLATE: &str = "PHASEBENCH_TEST_TEMPLATE";

/// Large enough for a call that can be interrupted, and that is long beside a message on a busy machine.
fn model() -> ModelSource {
    let made = Synthetic { vocab: 500, n_positions: 256, ..Synthetic::new(Family::Gpt2, 6, 256, 4) };
    ModelSource { name: "made".to_owned(), form: Form::Synthetic(made) }
}

fn surroundings() -> Surroundings {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("checked-cache");
    let located = library::locate(&phasebench::cache::root()).unwrap();
    library::select(&cache, &located.path).unwrap();
    Surroundings::new(Arc::new(RealClock::default()), cache, 0)
}

/// ONNX Runtime behind the protocol, with one lie.
struct Liar {
    lie: &'static str,
    honest: Arc<Service>,
    began: u64,
    /// Whether a load is under way.
    loading: AtomicBool,
    /// What the loaded model was compiled for.
    compiled: Mutex<Vec<Shape>>,
    /// The last call that was answered.
    answered: Mutex<CallReply>,
}

/// What a lie makes of a reply.
fn twisted(lie: &str, mut reply: CallReply) -> CallReply {
    match lie {
        "device" => reply.attribution.iter_mut().for_each(|found| found.actual = Some("cuda:0".to_owned())),
        "evidence" => reply.attribution.iter_mut().for_each(|found| found.evidence.clear()),
        "halved spans" => {
            let half = |begin: u64, end: u64| begin + end.saturating_sub(begin) / 2;
            if let Some(last) = reply.spans.last() {
                let begin = last.begin_ns;
                reply.step_ends_ns.iter_mut().for_each(|end| *end = half(begin, *end));
            }
            reply.spans.iter_mut().for_each(|span| span.end_ns = half(span.begin_ns, span.end_ns));
        }
        "token range" => {
            reply.tokens.iter_mut().filter_map(|row| row.ids.last_mut()).for_each(|id| *id = 4_000_000_000);
        }
        "log-probabilities" => {
            let places = reply.logprobs.iter_mut().flat_map(|row| &mut row.tokens);
            places.flat_map(|place| &mut place.logprobs).for_each(|value| *value -= 0.1);
        }
        "steps" => reply.steps_timed = reply.steps_timed.saturating_sub(1),
        "prompt count" => reply.prompt_tokens.iter_mut().for_each(|tokens| *tokens += 1),
        _ => {}
    }
    reply
}

type Answer<T> = Result<Response<T>, Status>;

/// What a worker says that compiles, and has no compiled passes without a cache.
fn nothing_uncached() -> Error {
    Error { kind: error::Kind::Unsupported.into(), message: "generation without a cache is eager only".to_owned() }
}

#[tonic::async_trait]
impl Worker for Liar {
    async fn hello(&self, request: Request<HelloRequest>) -> Answer<HelloReply> {
        let mut answer = self.honest.hello(request).await?;
        if ["no repeat", "stays"].contains(&self.lie) {
            answer.get_mut().capabilities.iter_mut().for_each(|offered| offered.repeat = false);
        }
        if ["compiles ahead", "nothing uncached"].contains(&self.lie) {
            answer.get_mut().capabilities.iter_mut().for_each(|offered| offered.compiles = true);
        }
        Ok(answer)
    }

    async fn read_clock(&self, _: Request<ReadClockRequest>) -> Answer<ReadClockReply> {
        let pace = if self.lie == "clock 0.99" { 0.99 } else { 1.0 };
        let now_ns = self.began + ((kernel() - self.began) as f64 * pace) as u64;
        Ok(Response::new(ReadClockReply { now_ns }))
    }

    async fn describe(&self, request: Request<DescribeRequest>) -> Answer<DescribeReply> {
        let mut answer = self.honest.describe(request).await?;
        if self.lie == "unknown option" {
            answer.get_mut().error.iter_mut().for_each(|error| error.set_kind(error::Kind::Unsupported));
        }
        Ok(answer)
    }

    async fn prepare(&self, request: Request<PrepareRequest>) -> Answer<PrepareReply> {
        self.honest.prepare(request).await
    }

    async fn load(&self, request: Request<LoadRequest>) -> Answer<LoadReply> {
        self.compiled.lock().unwrap().clear();
        self.loading.store(true, Ordering::Relaxed);
        let answer = self.honest.load(request).await;
        self.loading.store(false, Ordering::Relaxed);
        match answer {
            Err(_) if self.lie == "state" => Ok(Response::new(LoadReply::default())),
            answer => answer,
        }
    }

    async fn compile(&self, request: Request<CompileRequest>) -> Answer<CompileReply> {
        let procedure = request.get_ref().shape.map(|shape| shape.procedure());
        if self.lie == "nothing uncached" && procedure == Some(Procedure::Uncached) {
            return Ok(Response::new(CompileReply { error: Some(nothing_uncached()), ..CompileReply::default() }));
        }
        self.compiled.lock().unwrap().extend(request.get_ref().shape);
        self.honest.compile(request).await
    }

    async fn call(&self, request: Request<CallRequest>) -> Answer<CallReply> {
        if self.lie == "nothing uncached" && request.get_ref().procedure() == Procedure::Uncached {
            let error = Some(nothing_uncached());
            return Ok(Response::new(CallReply { error, session_usable: true, ..CallReply::default() }));
        }
        if self.lie == "stays" {
            // It goes on, whoever waits for it.
            let honest = self.honest.clone();
            return tokio::spawn(async move { honest.call(request).await }).await.unwrap();
        }
        let shape = Shape {
            procedure: request.get_ref().procedure,
            batch: u32::try_from(request.get_ref().prompts.len()).unwrap(),
            prompt_tokens: request.get_ref().padded_to,
            steps: request.get_ref().steps,
        };
        let is_compiled = self.lie != "compiles ahead" || self.compiled.lock().unwrap().contains(&shape);
        match self.honest.call(request).await {
            Ok(answer) if answer.get_ref().error.is_none() && !is_compiled => {
                let why = Error { kind: error::Kind::Recompile.into(), message: format!("not compiled: {shape:?}") };
                Ok(Response::new(CallReply { error: Some(why), session_usable: true, ..CallReply::default() }))
            }
            // Two calls at once, as it seems.
            Err(status) if self.lie == "second client" && status.message().contains("in flight") => {
                Ok(Response::new(self.answered.lock().unwrap().clone()))
            }
            Err(status) => Err(status),
            Ok(answer) => {
                let reply = twisted(self.lie, answer.into_inner());
                *self.answered.lock().unwrap() = reply.clone();
                Ok(Response::new(reply))
            }
        }
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Answer<CancelReply> {
        if self.lie == "cancel ignored" && request.get_ref().call_id != u64::MAX {
            return Ok(Response::new(CancelReply { in_flight: true }));
        }
        if self.lie == "load goes on" && self.loading.load(Ordering::Relaxed) {
            return Ok(Response::new(CancelReply { in_flight: true }));
        }
        self.honest.cancel(request).await
    }

    async fn unload(&self, request: Request<UnloadRequest>) -> Answer<UnloadReply> {
        self.honest.unload(request).await
    }

    async fn shutdown(&self, request: Request<ShutdownRequest>) -> Answer<ShutdownReply> {
        self.honest.shutdown(request).await
    }
}

/// Serves a liar for as long as this program runs; its address.
fn served(lie: &'static str, folder: &Path) -> String {
    let socket = folder.join("s");
    let (tell, told) = std::sync::mpsc::channel();
    let at = socket.clone();
    thread::spawn(move || {
        let around = Surroundings { clock: Arc::new(KernelClock), ..surroundings() };
        let make = move |asked: &Settings| {
            let backend = OnnxBackend::new("onnx", settings::onnx(asked)?, around.clone());
            Ok(Box::new(backend) as Box<dyn Backend>)
        };
        let honest = Service::start(Box::new(make), Arc::new(Notify::new())).unwrap();
        let (honest, loading) = (Arc::new(honest), AtomicBool::new(false));
        let liar =
            Liar { lie, honest, began: kernel(), loading, compiled: Mutex::default(), answered: Mutex::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = Incoming(UnixListener::bind(&at).unwrap());
            tell.send(()).unwrap();
            let server = tonic::transport::Server::builder();
            server.serve_with_incoming(WorkerServer::new(liar), listener).await.unwrap();
        });
    });
    told.recv().unwrap();
    format!("unix:{}", socket.display())
}

fn checked(lie: &'static str) -> Vec<Finding> {
    checked_with(lie, &[])
}

/// The same with options.
fn checked_with(lie: &'static str, options: &[(&str, &str)]) -> Vec<Finding> {
    let folder = tempfile::tempdir().unwrap();
    let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let settings = ConnectSettings { options, ..ConnectSettings::at(&served(lie, folder.path())) };
    let workers = Workers::of_others(&settings);
    let mut backend = WorkerBackend::new("liar", workers, &surroundings());
    backend.check(&model(), &mut |_| {}).unwrap()
}

#[test]
fn our_own_worker_keeps_every_rule() {
    // Also one of which no call goes on for ever, which is left, and stopped, in its longest; and one that has to compile first.
    for what in ["none", "no repeat", "compiles ahead"] {
        let findings = checked(what);
        let not_kept: Vec<_> = findings.iter().filter(|finding| finding.verdict != Verdict::Pass).collect();
        assert_eq!(not_kept.iter().map(|finding| finding.rule).collect::<Vec<_>>(), ["token"], "{not_kept:#?}");
        assert!(findings.len() > 15, "{findings:#?}");
    }
}

/// What an engine does not have as it is set is its to refuse; what it does not have at all it must not offer.
#[test]
fn what_is_refused_for_an_option_is_left_out_and_said() {
    let refused = "UNCACHED is refused as it is set (generation without a cache is eager only)";
    let findings = checked_with("nothing uncached", &[("optimisation", "all")]);
    let not_kept: Vec<_> = findings.iter().filter(|finding| finding.verdict != Verdict::Pass).collect();
    assert_eq!(not_kept.iter().map(|finding| finding.rule).collect::<Vec<_>>(), ["token"], "{not_kept:#?}");
    let tokens = findings.iter().find(|finding| finding.rule == "tokens").unwrap();
    assert!(tokens.words.ends_with(refused), "{tokens:?}");
    let findings = checked("nothing uncached");
    let broken: Vec<_> = findings.iter().filter(|f| f.verdict == Verdict::Fail).map(|f| f.rule).collect();
    assert_eq!(broken, ["tokens", "steps", "prompt tokens", "repeatable", "padding", "spans"], "{findings:#?}");
}

/// The rule that a lie breaks, and what is said.
#[track_caller]
fn breaks(lie: &'static str, rule: &str, words: &str) {
    let findings = checked(lie);
    let broken: BTreeSet<_> = findings.iter().filter(|f| f.verdict == Verdict::Fail).map(|f| f.rule).collect();
    let found = findings.iter().find(|finding| finding.rule == rule).unwrap();
    assert!(found.verdict == Verdict::Fail && found.words.contains(words), "{lie}: {found:?}, broken: {broken:?}");
    // What else may break with it: all of them hold tokens against something, or stop calls.
    let beside: &[&str] = match lie {
        "clock 0.99" => &["spans"],
        "token range" => &["repeatable", "reference", "padding"],
        "cancel ignored" => &["leaving", "loading"],
        _ => &[],
    };
    let others: Vec<_> = broken.iter().filter(|other| **other != rule && !beside.contains(other)).collect();
    assert!(others.is_empty(), "{lie}: {others:?} of {findings:#?}");
}

macro_rules! lies {
    ($($name:ident: $lie:literal breaks $rule:literal, $words:literal;)+) => {
        $(#[test]
        fn $name() {
            breaks($lie, $rule, $words);
        })+
    };
}

lies! {
    a_clock_that_runs_slow: "clock 0.99" breaks "clock", "it runs at 0.9";
    another_device: "device" breaks "device", "cuda:0 ran";
    a_label_without_evidence: "evidence" breaks "evidence", "a label proves nothing";
    halved_spans: "halved spans" breaks "spans", "lies in no phase";
    a_token_beyond_the_vocabulary: "token range" breaks "tokens", "the id 4000000000, and the model knows 500";
    a_load_too_many: "state" breaks "order", "Load while a model is loaded is answered, expected FAILED_PRECONDITION";
    a_cancel_ignored: "cancel ignored" breaks "cancel", "the call did not end within 2 s";
    a_client_that_left_unheard: "stays" breaks "leaving", "goes on although its client has closed the connection";
    a_load_that_goes_on: "load goes on" breaks "loading", "Cancel of a Load said `in flight`, and it came to its end";
    an_unknown_option_called_unsupported: "unknown option" breaks "invalid", "UNSUPPORTED";
    a_second_client: "second client" breaks "one client", "a second client's Call is answered";
    steps_left_out: "steps" breaks "steps", "4 steps timed, 5 asked for";
    log_probabilities_of_another_model: "log-probabilities" breaks "reference", "differ from ONNX Runtime's by at most 0.1";
    prompt_tokens_made_up: "prompt count" breaks "prompt tokens", "prompts of 8 and 5 tokens";
}

/// `models verify --worker` holds the log-probabilities against the folder's reference and ONNX Runtime.
#[test]
fn a_worker_s_log_probabilities_are_verified() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/same-weights/tiny-gpt2");
    for (lie, code, agrees) in [("none", 0, true), ("log-probabilities", 1, false)] {
        let folder = tempfile::tempdir().unwrap();
        let address = served(lie, folder.path());
        let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
        command.args(["models", "verify"]).arg(&model).args(["--worker", &address, "--json"]);
        let output = command.env("PHASEBENCH_CACHE", surroundings().cache).output().unwrap();
        assert_exit(&output, code);
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let against: Vec<_> = found.as_array().unwrap().iter().map(|one| (&one["against"], &one["agrees"])).collect();
        assert_eq!(against.len(), 2, "{found:#}");
        assert!(against.iter().all(|(_, found)| **found == agrees), "{found:#}");
    }
}

/// A worker that is started for it, set as asked.
#[test]
fn a_program_s_log_probabilities_are_verified_on_the_device_that_is_asked_for() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/same-weights/tiny-gpt2");
    let verified = |more: &[&str], code: i32| {
        let mut command = Command::new(PHASEBENCH);
        command.args(["models", "verify"]).arg(&model).args(more).args(["--", PHASEBENCH, "worker", "onnx"]);
        let output = command.env("PHASEBENCH_CACHE", surroundings().cache).output().unwrap();
        assert_exit(&output, code);
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let said = verified(&["--option", "optimisation=basic"], 0);
    assert!(said.contains("ONNX Runtime, f32") && !said.contains("NO"), "{said}");
    for (more, words) in [
        (["--device", "tpu"], "unknown device `tpu`"),
        (["--option", "arg_max=both"], "option arg_max is `both`, known: outside, inside"),
    ] {
        let said = verified(&more, 7);
        assert!(said.contains(words), "{said}");
    }
}

/// What is refused says why it is, for a status alone tells nobody what to do.
#[test]
fn a_status_is_a_refusal_only_where_it_is_one_for_the_order() {
    use phasebench::backend::worker::check::bench::out_of_order;
    assert_eq!(out_of_order::<()>("Load", Err(Status::failed_precondition("not now"))), Ok(()));
    let error = out_of_order::<()>("Load", Err(Status::new(Code::Internal, "broken"))).unwrap_err();
    assert_eq!(error, "Load ends with Internal (broken), expected FAILED_PRECONDITION");
}

/// What the page shows of the template is the template.
#[test]
fn the_page_shows_the_template_as_it_is() {
    let read = |path: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let (page, template) = (read("docs/worker-protocol.md"), read("backends/template/worker.py"));
    let sample = page.split_once("```python\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
    assert!(sample.contains("class Engine:") && sample.contains("def placed"), "{sample}");
    assert!(template.contains(sample), "docs/worker-protocol.md shows something else than backends/template/worker.py");
}

/// A fresh folder with the template, the toy on it, and the protocol's code: from three files alone.
fn on_the_template(python: &str) -> TempDir {
    let (folder, root) = (tempfile::tempdir().unwrap(), Path::new(env!("CARGO_MANIFEST_DIR")));
    for file in ["backends/template/worker.py", "backends/template/toy.py", "backends/proto/worker.proto"] {
        let path = root.join(file);
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let made = ["-m", "grpc_tools.protoc", "-I.", "--python_out=.", "--grpc_python_out=.", "worker.proto"];
    said_in(&folder, python, &made, 0);
    folder
}

/// What a program prints that is started in a folder.
#[track_caller]
fn said_in(folder: &TempDir, program: &str, arguments: &[&str], code: i32) -> String {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder.path()).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().unwrap();
    assert_exit(&output, code);
    String::from_utf8(output.stdout).unwrap()
}

const PHASEBENCH: &str = env!("CARGO_BIN_EXE_phasebench");

/// The template, a toy engine on it, keeps every rule.
#[test]
fn a_toy_on_the_template_keeps_every_rule_and_is_measured_beside_onnx() {
    if let Err(why) = asked_for(TEMPLATE) {
        return not_asked_for("a toy engine on the template", &why);
    }
    let python = std::env::var(TEMPLATE).unwrap();
    let folder = on_the_template(&python);
    let run = |arguments: &[&str]| said_in(&folder, PHASEBENCH, arguments, 0);
    let said = run(&["worker", "check", "--", &python, "toy.py"]);
    assert!(said.contains("PASS  reference") && said.contains(" 0 broken, "), "{said}");
    // On a fast machine its load is through before anything can be asked of it.
    let mut not_tried = said.lines().filter(|line| line.starts_with("----"));
    assert!(not_tried.all(|line| line.ends_with("a load ends before a Cancel can reach it")), "{said}");
    let scenario = format!(
        "version: 1\nname: toy\nseed: 1\nwarmups: 1\nrepetitions: {{ fixed: 5 }}\ngen_tokens: [8]\n\
         scenarios: [{{ name: p, prompt: {{ tokens: 8 }} }}]\n\
         models: [{{ name: m, synthetic: {{ family: gpt2, n_layer: 2, n_embd: 64, n_head: 2, vocab: 400 }} }}]\n\
         backends:\n  - {{ name: toy, worker: {{ command: [\"{python}\", toy.py] }} }}\n  - {{ name: onnx, onnx: {{}} }}\n"
    );
    std::fs::write(folder.path().join("toy.yaml"), scenario).unwrap();
    run(&["run", "toy.yaml", "--out", "run"]);
    run(&["analyze", "run"]);
    run(&["validate", "run"]);
    let table = std::fs::read_to_string(folder.path().join("run/analysis/summary_by_model_backend_mode.csv")).unwrap();
    let rows: Vec<_> = table.lines().filter(|line| line.contains(",toy,")).collect();
    assert!(rows.len() == 3 && rows.iter().all(|row| row.contains(",attributed,")), "{table}");
}

/// An engine that makes a folder when it loads, and tells whether its weights were freed.
const CAREFUL: &str = "
import os, weakref
from pathlib import Path
from toy import Toy
from worker import serve

class Careful(Toy):
    def load(self, path, settings):
        super().load(path, settings)
        self.held = weakref.ref(self.weights['wte.weight'])
        os.makedirs('made', exist_ok=True)

    def unload(self):
        super().unload()
        Path('made/freed').write_text(str(self.held() is None))

serve(Careful())
";

#[test]
fn a_toy_on_the_template_frees_its_model_and_leaves_files_to_its_user() {
    if let Err(why) = asked_for(TEMPLATE) {
        return not_asked_for("a toy engine that frees its model", &why);
    }
    let python = std::env::var(TEMPLATE).unwrap();
    let folder = on_the_template(&python);
    std::fs::write(folder.path().join("careful.py"), CAREFUL).unwrap();
    said_in(&folder, PHASEBENCH, &["worker", "check", "--", &python, "careful.py"], 0);
    let made = folder.path().join("made");
    assert_eq!(std::fs::read_to_string(made.join("freed")).unwrap(), "True");
    let mode = std::fs::metadata(&made).unwrap().permissions().mode();
    assert_eq!(mode & 0o700, 0o700, "{mode:o}");
}

/// In a time namespace the clock is the kernel's, moved by what the namespace says.
#[test]
fn a_toy_on_the_template_tells_its_time_namespace() {
    if let Err(why) = asked_for(TEMPLATE) {
        return not_asked_for("the template in a time namespace", &why);
    }
    let python = std::env::var(TEMPLATE).unwrap();
    let folder = on_the_template(&python);
    std::fs::write(folder.path().join("offsets"), "monotonic  -3 250000000\nboottime  7 0\n").unwrap();
    let program = "import worker; worker.OFFSETS = worker.Path('offsets'); print(worker.clock().namespace_offset_ns)";
    assert_eq!(said_in(&folder, &python, &["-c", program], 0), "-2750000000\n");
}
