//! A healthy server from the scenario file to the report, and what may happen to one on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use phasebench::backend::CancelToken;
use phasebench::backend::ollama::manage;
use phasebench::record::given_up::given_up;
use phasebench::record::{CallRecord, Line, Rule};
use phasebench::terms::{Degraded, Finish, Phase, Procedure, Role, Status};
use serde_json::{Value, json};

use crate::in_time::once_within;
use crate::ollama::asking::{BY, models};
use crate::ollama::fixture::{Fixture, ONE, Scenario, TWO, assert_exit, failures, kind, printed, script};
use crate::standin::Server;
use crate::standin::http::Request;
use crate::standin::reply::Reply;
use crate::standin::scripted::{Script, Scripted};

const STEPS: u32 = 8;

fn scenario<'a>(url: &'a str, models: &'a str, more: &'a str) -> Scenario<'a> {
    Scenario { url, models, prompt: 9, steps: STEPS, repetitions: 4, more }
}

/// The bodies of all requests to generate, loads and unloads among them.
fn generated(server: &Server) -> Vec<Value> {
    let requests = server.requests().into_iter().filter(|request| request.path == "/api/generate");
    requests.map(|request| request.json().unwrap()).collect()
}

fn is_call(body: &Value) -> bool {
    body["prompt"].is_string()
}

/// The options that make a server load a model again.
fn load_options(body: &Value) -> Value {
    let options = &body["options"];
    let of = |key: &str| options[key].clone();
    json!([of("num_ctx"), of("num_batch"), of("num_gpu"), of("num_thread"), body["shift"], body["keep_alive"]])
}

#[test]
fn a_signal_is_heard_within_a_second_while_a_model_never_leaves() {
    once_within(Duration::from_secs(1), signalled_while_a_model_never_leaves);
}

/// From the signal to the end of the program.
fn signalled_while_a_model_never_leaves() -> Duration {
    let model = Arc::new(Scripted::new(Script { polls_until_gone: u32::MAX, ..script() }, []));
    let server = Server::scripted(&model).unwrap();
    let url = server.url();
    let fixture = Fixture::new(&scenario(&url, ONE, ""));
    let mut command = fixture.start();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let leaves = |bodies: &[Value]| bodies.iter().skip_while(|body| !is_call(body)).any(|body| body["keep_alive"] == 0);
    while !leaves(&generated(&server)) {
        assert!(child.try_wait().unwrap().is_none(), "ended before the model was to leave");
        std::thread::yield_now();
    }
    // SAFETY: a signal to a process we started and have not waited for.
    assert_eq!(unsafe { libc::kill(i32::try_from(child.id()).unwrap(), libc::SIGTERM) }, 0);
    let sent = Instant::now();
    // Every call was made: the run is complete whatever the server does with its memory.
    assert_eq!(child.wait().unwrap().code(), Some(0));
    sent.elapsed()
}

#[test]
fn a_healthy_server_is_measured_to_the_report() {
    let model = Arc::new(Scripted::new(script(), []));
    let server = Server::scripted(&model).unwrap();
    let url = server.url();
    let fixture = Fixture::new(&scenario(&url, TWO, ""));
    assert_exit(&fixture.start().output().unwrap(), 0);
    let calls = fixture.calls();
    assert!(calls.iter().all(|call| call.status.is_ok()), "{:?}", failures(&calls));
    assert_eq!(calls.iter().filter(|call| call.role == Role::Timed).count(), 2 * 4);
    calls.iter().filter(|call| call.role != Role::Rewarm).for_each(right);
    assert_eq!(nonces(&calls).len(), calls.len(), "every call begins as none before");
    requests_are_as_documented(&generated(&server));
    assert_eq!(model.models().len(), 2, "one upload for each model: {:?}", model.models());
    assert!(model.models().iter().all(|name| name.starts_with("phasebench/")));
    assert!(model.loaded().is_empty(), "nothing is left in the server's memory");

    for command in [&["validate", "run"][..], &["analyze", "run"], &["report", "run"]] {
        assert_exit(&fixture.command(command).output().unwrap(), 0);
    }
    let report = std::fs::read_to_string(fixture.run.join("report.html")).unwrap();
    for text in ["Ollama", "0.33.0-rc2", "m1", "m2", "eval_duration"] {
        assert!(report.contains(text), "the report names {text}");
    }
    // A second run finds its models there.
    assert_exit(&fixture.command(&["run", "scenario.yaml", "--out", "again"]).output().unwrap(), 0);
    assert_eq!(server.count("POST", "/api/create"), 2);
}

/// Tokens, steps and spans as scripted: 200 µs a step, 50 µs a token of the prompt.
fn right(call: &CallRecord) {
    let (id, tokens) = (&call.call_id, &call.tokens);
    // The beginning of all prompts is evaluated once after a load, and kept.
    let cached = (call.role != Role::Cold).then_some(1);
    let evaluated = (tokens.prompt_sent, tokens.prompt_evaluated, tokens.prompt_cached);
    assert_eq!(evaluated, (Some(9), Some(9 - cached.unwrap_or(0)), cached), "{id}");
    assert_eq!((tokens.decode_steps_timed, tokens.new_tokens), (STEPS, Some(STEPS + 1)), "{id}");
    assert_eq!(call.finish, Some(Finish::Length), "{id}");
    let spans: Vec<_> = call.spans.iter().map(|span| (span.phase, span.duration().0, span.reconstructed)).collect();
    assert_eq!(spans, [(Phase::Prefill, 9 * 50_000, true), (Phase::KvDecode, 8 * 200_000, true)], "{id}");
    assert_eq!(call.attribution.actual.as_deref(), Some("cpu"), "{id}");
    assert_eq!(call.attribution.evidence.shown["server.version"], "0.33.0-rc2", "{id}");
    for name in ["total_duration", "load_duration", "prompt_eval_duration", "eval_duration", "client_last_line"] {
        assert!(call.engine_ns[name].0 > 0, "{id}: {name}");
    }
}

fn nonces(calls: &[CallRecord]) -> BTreeSet<(&str, &str)> {
    calls.iter().map(|call| (call.session.model.as_str(), call.attribution.evidence.shown["nonce"].as_str())).collect()
}

fn requests_are_as_documented(bodies: &[Value]) {
    let (mut prompts, mut repeats) = (BTreeSet::new(), 0);
    for body in bodies.iter().filter(|body| body["keep_alive"] != 0) {
        let first = bodies.iter().find(|first| first["model"] == body["model"] && first["keep_alive"] != 0).unwrap();
        assert_eq!(load_options(body), load_options(first), "a differing option would load the model again");
        assert_eq!((&body["keep_alive"], &body["shift"]), (&json!(-1), &json!(false)));
        if !is_call(body) {
            continue;
        }
        let expected = json!({ "raw": true, "stream": true, "think": false, "truncate": false });
        expected.as_object().unwrap().iter().for_each(|(key, value)| assert_eq!(body[key], *value, "{key}"));
        let expected = json!({ "stop": [], "temperature": 1.0, "draft_num_predict": 0 });
        let options = &body["options"];
        let first = prompts.insert((body["model"].to_string(), body["prompt"].to_string()));
        if !first {
            assert_eq!(options["num_predict"], 2, "only what is sent again on purpose comes twice");
            repeats += 1;
            continue;
        }
        // The short calls that end an idle gap make 4 steps.
        assert!([STEPS + 1, 5].map(|tokens| json!(tokens)).contains(&options["num_predict"]), "{options}");
        expected.as_object().unwrap().iter().for_each(|(key, value)| assert_eq!(options[key], *value, "{key}"));
    }
    assert!(prompts.len() >= 10, "{}", prompts.len());
    assert_eq!(repeats, 2, "one for each load");
}

#[test]
fn an_early_stop_is_tried_again_with_another_beginning() {
    // The cold call is 0, its repeat 1; the second timed call ends after 5 of 9 tokens, and so does its first retry.
    let stop_early = Box::new(|call| [3, 4].contains(&call).then_some(5));
    let model = Arc::new(Scripted::new(Script { stop_early, ..script() }, []));
    let server = Server::scripted(&model).unwrap();
    let url = server.url();
    let fixture = Fixture::new(&scenario(&url, ONE, ""));
    assert_exit(&fixture.start().output().unwrap(), 0);
    let calls = fixture.calls();
    let mut tries: BTreeMap<u32, Vec<&CallRecord>> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.role == Role::Timed) {
        tries.entry(call.index).or_default().push(call);
    }
    assert_eq!(tries.len(), 4);
    let mut early = 0;
    for tries in tries.values() {
        let (last, before) = tries.split_last().unwrap();
        assert_eq!((kind(last).as_str(), last.tokens.decode_steps_timed), ("ok", STEPS), "{}", last.call_id);
        for (attempt, call) in (0..).zip(before) {
            let found = (call.attempt, kind(call), call.tokens.decode_steps_timed, call.finish);
            assert_eq!(found, (attempt, "too_short".to_owned(), 4, Some(Finish::Stop)), "{}", call.call_id);
            early += 1;
        }
    }
    // A short call that ends an idle gap is not cut, and may have taken the place of one.
    assert!((1..=2).contains(&early), "{early}");
    assert_eq!(nonces(&calls).len(), calls.len(), "a retry begins anew");
}

/// A server whose answers to these requests come from `instead` once `calls` calls were made, where it gives one.
fn changing(
    model: &Arc<Scripted>,
    after: u64,
    instead: impl Fn(&Request, &mut Reply) -> Option<std::io::Result<()>> + Send + Sync + 'static,
) -> Server {
    let (model, calls) = (model.clone(), AtomicU64::new(0));
    let answer = move |request: &Request, reply: &mut Reply| {
        if request.path == "/api/generate" && request.json().is_ok_and(|body| is_call(&body)) {
            calls.fetch_add(1, Ordering::SeqCst);
        } else if calls.load(Ordering::SeqCst) >= after
            && let Some(answered) = instead(request, reply)
        {
            return answered;
        }
        model.answer(request, reply)
    };
    Server::start(answer).unwrap()
}

#[test]
fn a_server_that_becomes_another_ends_its_measurement() {
    let model = Arc::new(Scripted::new(script(), []));
    let server = changing(&model, 4, |request, reply| {
        (request.path == "/api/version").then(|| reply.json(200, &json!({ "version": "0.34.0" })))
    });
    let url = server.url();
    let fixture = Fixture::new(&scenario(&url, ONE, ""));
    let output = fixture.start().output().unwrap();
    assert_exit(&output, 3);
    let calls = fixture.calls();
    let kinds: Vec<String> = calls.iter().map(kind).collect();
    assert_eq!(kinds, ["ok", "ok", "stack_changed"]);
    let detail = calls[2].detail.as_deref().unwrap();
    assert_eq!(detail, "the server was 0.33.0-rc2 and is 0.34.0");
    let lines = fixture.lines();
    let failed = lines
        .iter()
        .filter(|line| matches!(line, Line::Load(load) if load.status == Status::Degraded(Degraded::StackChanged)));
    assert_eq!(failed.count(), 2, "it is looked for, and not measured as what it was");
    let given_up = |line: &Line| matches!(line, Line::Decision(decision) if decision.rule == Rule::LoadFailed);
    assert!(lines.iter().any(given_up));
}

#[test]
fn a_model_that_others_unload_is_loaded_again() {
    let model = Arc::new(Scripted::new(script(), []));
    let (other, done): (Arc<OnceLock<manage::Server>>, _) = (Arc::default(), AtomicU64::new(0));
    let client = other.clone();
    let server = changing(&model, 4, move |request, _| {
        if request.path == "/api/ps" && done.fetch_add(1, Ordering::SeqCst) == 0 {
            let client = client.get().unwrap();
            for loaded in client.resident(&CancelToken::default()).unwrap() {
                client.unload(&loaded.name, BY, &CancelToken::default()).unwrap();
            }
        }
        None
    });
    other.set(models(&server)).ok().unwrap();
    let url = server.url();
    let fixture = Fixture::new(&scenario(&url, ONE, ""));
    assert_exit(&fixture.start().output().unwrap(), 0);
    let calls = fixture.calls();
    assert_eq!(calls.iter().filter(|call| call.role == Role::Timed).count(), 4);
    assert_eq!(kind(&calls[2]), "reloaded", "{:?}", calls[2].detail);
    assert_eq!(failures(&calls).len(), 1, "{:?}", failures(&calls));
    let loads: Vec<_> = fixture.lines().into_iter().filter(|line| matches!(line, Line::Load(_))).collect();
    assert_eq!(loads.len(), 2);
    assert_eq!(calls.iter().filter(|call| call.role == Role::Cold).count(), 2, "and is cold again");
    assert!(model.loaded().is_empty());
}

/// Retries of the transport, or a second client of ours, would count twice what was asked once.
#[test]
fn every_call_is_one_request() {
    let model = Arc::new(Scripted::new(script(), []));
    let server = Server::scripted(&model).unwrap();
    let url = server.url();
    let fixture = Fixture::new(&scenario(&url, ONE, ""));
    assert_exit(&fixture.start().output().unwrap(), 0);
    // And one that is sent again on purpose.
    assert_eq!(generated(&server).iter().filter(|body| is_call(body)).count(), fixture.calls().len() + 1);
}

#[test]
fn a_server_that_is_not_there_is_named_with_its_cure() {
    let url = {
        let model = Arc::new(Scripted::new(script(), []));
        Server::scripted(&model).unwrap().url()
    };
    let fixture = Fixture::new(&scenario(&url, ONE, ""));
    let output = fixture.start().output().unwrap();
    assert_exit(&output, 7);
    let message = String::from_utf8_lossy(&output.stderr);
    let serve = format!("try: OLLAMA_HOST={} ollama serve", url.trim_start_matches("http://"));
    assert!(message.contains(&url) && message.contains(&serve), "{message}");
    assert!(!fixture.run.exists());
}

/// The server goes away after some calls and comes back: what was given up meanwhile is measured by a resumed run.
#[test]
fn a_cell_given_up_for_an_outage_is_open_again_on_resume() {
    let (model, calls) = (Arc::new(Scripted::new(script(), [])), AtomicU64::new(0));
    let away = Arc::new(AtomicBool::new(false));
    let is_away = away.clone();
    let answer = move |request: &Request, reply: &mut Reply| {
        if request.path == "/api/generate" && request.json().is_ok_and(|body| is_call(&body)) {
            is_away.fetch_or(calls.fetch_add(1, Ordering::SeqCst) == 3, Ordering::SeqCst);
        }
        if is_away.load(Ordering::SeqCst) {
            return Err(std::io::ErrorKind::ConnectionReset.into());
        }
        model.answer(request, reply)
    };
    let server = Server::start(answer).unwrap();
    let url = server.url();
    let fixture = Fixture::new(&scenario(&url, TWO, ""));
    let output = fixture.start().output().unwrap();
    assert_exit(&output, 3);
    let words = printed(&output);
    assert!(words.contains("waiting for it, ") && words.contains(" left"), "{words}");
    assert_eq!(words.matches("waiting for it").count(), 1, "waited for in vain once, not for every load: {words}");
    let plan = fixture.plan();
    assert_eq!(given_up(&fixture.lines(), &plan).len(), 2);

    away.store(false, Ordering::SeqCst);
    let resumed = fixture.command(&["run", "--resume", "run"]).output().unwrap();
    assert_exit(&resumed, 0);
    let timed = fixture.calls().into_iter().filter(|call| call.role == Role::Timed && call.status.is_ok()).count();
    assert!(timed >= 2 * 4 - 1, "{timed}: all but the call that the outage struck");
    assert_eq!(given_up(&fixture.lines(), &plan), [], "nothing stands given up");
    assert_exit(&fixture.command(&["validate", "run"]).output().unwrap(), 0);
    // And is complete now.
    let before = fixture.lines().len();
    assert_exit(&fixture.command(&["run", "--resume", "run"]).output().unwrap(), 0);
    assert_eq!(fixture.lines().len(), before);
}

/// A processor whose counter stands still: nothing can be measured with it, but phases are too short for it.
fn with_package(fixture: &Fixture) -> std::path::PathBuf {
    let root = fixture.path().join("sysfs");
    let zone = root.join("sys/class/powercap/intel-rapl:0");
    std::fs::create_dir_all(&zone).unwrap();
    for (file, text) in [("name", "package-0"), ("energy_uj", "5000000"), ("max_energy_range_uj", "262143328850")] {
        std::fs::write(zone.join(file), format!("{text}\n")).unwrap();
    }
    root
}

#[test]
fn repetitions_for_the_sensor_are_attributed_and_survive_early_stops() {
    // The first calls are those of the cell; after them one in fifteen ends after 5 of 9 tokens.
    let stop_early = Box::new(|call| (call > 30 && call % 15 == 0).then_some(5));
    let model = Arc::new(Scripted::new(Script { stop_early, ..script() }, []));
    let server = Server::scripted(&model).unwrap();
    let url = server.url();
    let more = "telemetry: { period: 20ms, idle: 0s, looped: 300ms, calibrate: false }\nearly_stop: { min_steps: 4 }\n";
    let fixture = Fixture::new(&scenario(&url, ONE, more));
    let root = with_package(&fixture);
    assert_exit(&fixture.start().env("PHASEBENCH_SYSFS_ROOT", root).output().unwrap(), 0);
    let lines = fixture.lines();
    let loops = lines.iter().filter_map(|line| if let Line::Loop(one) = line { Some(one) } else { None });
    let mut procedures = Vec::new();
    for record in loops {
        assert!(record.status.is_ok(), "{:?}: {:?}", record.status, record.detail);
        assert_eq!(record.attribution.actual.as_deref(), Some("cpu"), "{:?}", record.attribution);
        assert_eq!(record.attribution.evidence.shown["server.version"], "0.33.0-rc2");
        assert_eq!(record.windows.len(), 5);
        let early: u32 = record.windows.iter().map(|window| window.early_stops).sum();
        procedures.push((record.procedure, early > 0));
    }
    assert_eq!(procedures, [(Procedure::Prefill, false), (Procedure::PrefillDecode, true)]);
}
