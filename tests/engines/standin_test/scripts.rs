//! The scripted server: what it counts, what it times, what it keeps in memory.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::standin::fault::Fault;
use crate::standin::reply::monotonic_ns;
use crate::standin::scripted::model::{Model, Shape};
use crate::standin::scripted::{PrefixCache, Script, Scripted};
use crate::standin::{Pace, Server};
use crate::standin_test::client::{Answer, ask, send, write};

pub fn tiny() -> Model {
    let shape = Shape { architecture: "llama", parameters: 1_250_432, layers: 4, width: 128, heads: 4, context: 4096 };
    Model::new("tiny", &shape)
}

pub fn start(script: Script) -> (Arc<Scripted>, Server) {
    let model = Arc::new(Scripted::new(script, [tiny()]));
    let server = Server::scripted(&model).unwrap();
    (model, server)
}

/// At once, so that a test waits for nothing.
pub fn hasty() -> Script {
    Script { pace: Pace::AtOnce, ..Script::default() }
}

fn old() -> Script {
    Script { version: "0.24.0".to_owned(), ..hasty() }
}

pub fn post(server: &Server, path: &str, body: &Value) -> Answer {
    ask(server.address(), "POST", path, body.to_string().as_bytes())
}

pub fn get(server: &Server, path: &str) -> Value {
    ask(server.address(), "GET", path, b"").json()
}

fn call(prompt: &str, tokens: u64) -> Value {
    json!({
        "model": "tiny", "prompt": prompt, "raw": true, "truncate": false, "shift": false, "keep_alive": -1,
        "options": { "num_ctx": 1024, "num_predict": tokens, "num_batch": 512 },
    })
}

/// The lines of a reply that went well; the last is the one with the metrics.
fn lines(server: &Server, body: &Value) -> Vec<Value> {
    let answer = post(server, "/api/generate", body);
    assert_eq!((answer.status(), answer.chunks().1), (Some(200), true), "{}", answer.text());
    answer.lines().into_iter().map(Result::unwrap).collect()
}

fn last(server: &Server, body: &Value) -> Value {
    lines(server, body).pop().unwrap()
}

#[test]
fn the_counts_and_times_add_up() {
    let (model, server) = start(hasty());
    let mut all = lines(&server, &call("abcd the quick fox", 8));
    let metrics = all.pop().unwrap();
    let words: Vec<&str> = all.iter().map(|line| line["response"].as_str().unwrap()).collect();
    assert_eq!(words, [" w0", " w1", " w2", " w3", " w4", " w5", " w6", " w7"]);
    assert!(all.iter().all(|line| line["done"] == false && line["model"] == "tiny"));
    // 5 ms to load, 5 tokens of 50 µs, 7 steps of 200 µs, 100 µs besides.
    let expected = json!({
        "model": "tiny", "created_at": metrics["created_at"], "response": "", "done": true, "done_reason": "length",
        "total_duration": 6_750_000, "load_duration": 5_000_000, "prompt_eval_count": 5,
        "prompt_eval_duration": 250_000, "eval_count": 8, "eval_duration": 1_400_000,
    });
    assert_eq!(metrics, expected);
    // What follows is warm.
    assert_eq!(last(&server, &call("abcd the quick fox", 8))["load_duration"], 500_000);
    assert_eq!((model.calls(), model.loaded(), server.count("POST", "/api/generate")), (2, set(&["tiny:latest"]), 2));
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn one_token_has_no_step() {
    for (script, expected) in [(hasty(), json!(1000)), (old(), Value::Null)] {
        let (_, server) = start(script);
        let metrics = last(&server, &call("a", 1));
        assert_eq!((&metrics["eval_count"], &metrics["eval_duration"]), (&json!(1), &expected));
    }
}

#[test]
fn a_known_prefix_takes_no_time_but_counts() {
    let b = "b the quick brown fox";
    // A, A, B, A: evaluated tokens of each, in units of 50 µs.
    for (cache, expected) in [
        (PrefixCache::Off, [5, 5, 6, 5]),
        (PrefixCache::LastPrompt, [5, 1, 5, 4]),
        (PrefixCache::EveryPrompt, [5, 1, 5, 1]),
    ] {
        let (_, server) = start(Script { prefix_cache: cache, ..hasty() });
        let found = ["a the quick fox", "a the quick fox", b, "a the quick fox"].map(|prompt| {
            let metrics = last(&server, &call(prompt, 2));
            assert_eq!(metrics["prompt_eval_count"], prompt.split(' ').count() + 1);
            metrics["prompt_eval_duration"].as_u64().unwrap() / 50_000
        });
        assert_eq!(found, expected, "{cache:?}");
    }
}

#[test]
fn early_stops_come_where_they_are_scripted() {
    let stop_early = Box::new(|call| (call == 1).then_some(3));
    let (_, server) = start(Script { stop_early, ..hasty() });
    let found = [0, 1, 2].map(|_| {
        let mut all = lines(&server, &call("a", 6));
        let metrics = all.pop().unwrap();
        (all.len(), metrics["eval_count"].as_u64().unwrap(), metrics["done_reason"].as_str().unwrap().to_owned())
    });
    let length = || (6, 6, "length".to_owned());
    // The token that ends the text is counted and has no line.
    assert_eq!(found, [length(), (2, 3, "stop".to_owned()), length()]);
}

#[test]
fn a_context_has_an_end() {
    for (script, room, text) in [
        (hasty(), 1019, "{\"error\":{\"code\":400,\"message\":\"request (1025 tokens)"),
        (old(), 1020, "the input length exceeds the context length"),
    ] {
        let (_, server) = start(script);
        // As recorded: the reason is `length`, the number another.
        let metrics = last(&server, &call("a b c d", 2000));
        assert_eq!((&metrics["done_reason"], &metrics["eval_count"]), (&json!("length"), &json!(room)));
        let answer = post(&server, "/api/generate", &call(&"a ".repeat(1024), 4));
        assert_eq!(answer.status(), Some(400));
        assert!(answer.json()["error"].as_str().unwrap().starts_with(text), "{}", answer.text());
        let mut truncated = call(&"a ".repeat(1024), 4);
        truncated["truncate"] = json!(true);
        assert!(last(&server, &truncated)["prompt_eval_count"].as_u64().unwrap() <= 1024);
    }
}

#[test]
fn a_model_is_loaded_listed_and_unloaded() {
    let (model, server) = start(Script { vram_share: 0.5, polls_until_gone: 2, ..hasty() });
    let listed = || get(&server, "/api/ps")["models"].as_array().unwrap().clone();
    assert!(listed().is_empty());
    let load = json!({ "model": "tiny", "keep_alive": -1, "options": { "num_ctx": 1024 } });
    let reply = post(&server, "/api/generate", &load).json();
    assert_eq!((&reply["done_reason"], reply.get("total_duration")), (&json!("load"), None));
    let entry = listed().pop().unwrap();
    assert_eq!((&entry["name"], &entry["context_length"]), (&json!("tiny:latest"), &json!(1024)));
    assert_eq!(entry["size"].as_u64().unwrap(), 2 * entry["size_vram"].as_u64().unwrap());

    // Another option, another load; no layer on the GPU, nothing in its memory.
    let mut on_cpu = call("a", 2);
    on_cpu["options"]["num_gpu"] = json!(0);
    assert_eq!(last(&server, &on_cpu)["load_duration"], 5_000_000);
    assert_eq!(last(&server, &on_cpu)["load_duration"], 500_000);
    assert_eq!(listed()[0]["size_vram"], 0);

    let unload = json!({ "model": "tiny", "keep_alive": 0 });
    assert_eq!(post(&server, "/api/generate", &unload).json()["done_reason"], "unload");
    assert_eq!([listed().len(), listed().len(), listed().len()], [1, 1, 0]);
    assert_eq!((model.loaded(), model.calls()), (set(&[]), 2));
}

#[test]
fn logprobs_and_whole_replies_come_when_asked_for() {
    let (_, server) = start(hasty());
    let mut body = call("a", 2);
    body["logprobs"] = json!(true);
    body["top_logprobs"] = json!(2);
    let all = lines(&server, &body);
    let entry = &all[1]["logprobs"][0];
    assert_eq!((&entry["token"], &entry["logprob"], &entry["bytes"]), (&json!(" w1"), &json!(-0.5), &json!(b" w1")));
    assert_eq!(entry["top_logprobs"].as_array().unwrap().len(), 2);
    assert_eq!(all[2].get("logprobs"), None);

    body["stream"] = json!(false);
    let whole = post(&server, "/api/generate", &body);
    let found = whole.json();
    assert_eq!((&found["response"], &found["eval_count"]), (&json!(" w0 w1"), &json!(2)));
    assert_eq!(found["logprobs"].as_array().unwrap().len(), 2);
    assert!(!whole.is_chunked());
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let (_, server) = start(hasty());
    let missing = json!({ "model": "nope", "prompt": "a" });
    let mut thinking = call("a", 2);
    thinking["think"] = json!(true);
    for (body, status, text) in [
        ("{\"model\": ".to_owned(), 400, "unexpected EOF"),
        (missing.to_string(), 404, "model 'nope' not found"),
        (json!({ "model": "nope" }).to_string(), 404, "model 'nope' not found"),
        (thinking.to_string(), 400, "\"tiny\" does not support thinking"),
    ] {
        let answer = ask(server.address(), "POST", "/api/generate", body.as_bytes());
        assert_eq!((answer.status(), &answer.json()["error"]), (Some(status), &json!(text)));
    }
    assert_eq!(post(&server, "/api/none", &json!({})).status(), Some(404));
}

#[test]
fn calls_go_wrong_by_turn_or_by_rule() {
    let go_wrong = Box::new(|call| (call == 3).then(Fault::busy));
    let (model, server) = start(Script { go_wrong, ..hasty() });
    model.fail_next_call(Fault::reset_at_once());
    model.fail_next_call(Fault::runner_stopped());
    model.fail_next_load(Fault::model_missing());
    assert_eq!(post(&server, "/api/generate", &json!({ "model": "tiny" })).status(), Some(404));
    let found = [0; 5].map(|_| post(&server, "/api/generate", &call("a", 2)).status());
    assert_eq!(found, [None, Some(500), Some(200), Some(503), Some(200)]);
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let (_, server) = start(hasty());
    let body = call("a", 2).to_string();
    let mut stream = send(server.address(), "GET", "/api/version", b"", "keep-alive");
    write(&mut stream, "POST", "/api/generate", body.as_bytes(), "keep-alive");
    write(&mut stream, "GET", "/api/version", b"", "close");
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    assert_eq!(all.matches("HTTP/1.1 200 OK").count(), 3, "{all}");
    let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/api/version", "/api/generate", "/api/version"]);
    assert_eq!(server.requests()[1].json().unwrap(), call("a", 2));
    let lines: Vec<usize> = server.replies().iter().map(|stamps| stamps.lines).collect();
    assert_eq!(lines, [1, 3, 1]);
}

#[test]
fn a_kept_pace_takes_its_time_and_is_stamped() {
    let (_, server) = start(Script { stamped: true, ..Script::default() });
    let (begin, begin_ns) = (Instant::now(), monotonic_ns());
    let metrics = last(&server, &call("a b c", 4));
    let (end, end_ns) = (begin.elapsed(), monotonic_ns());
    let nanos = |name: &str| metrics[name].as_u64().unwrap();
    assert!(end >= Duration::from_nanos(nanos("total_duration")), "{end:?}");
    let (first_ns, last_ns) = (nanos("standin_first_ns"), nanos("standin_last_ns"));
    let before_first = nanos("total_duration") - nanos("eval_duration");
    assert!(begin_ns + before_first <= first_ns, "{begin_ns} {first_ns}");
    assert!(first_ns < last_ns && last_ns <= end_ns, "{first_ns} {last_ns} {end_ns}");
    let stamps = &server.replies()[0];
    assert_eq!((stamps.path.as_str(), stamps.lines), ("/api/generate", 5));
    assert!(begin < stamps.first.unwrap() && stamps.first < stamps.last && stamps.last.unwrap() <= begin + end);
}

/// An hour of script does not hold up the end.
#[test]
fn dropping_the_server_ends_what_is_under_way() {
    let (_, server) = start(Script { step: Duration::from_secs(3600), ..Script::default() });
    let body = call("a", 4).to_string();
    let mut stream = send(server.address(), "POST", "/api/generate", body.as_bytes(), "close");
    // The first line is on its way: the server waits for the second.
    stream.read_exact(&mut [0; 100]).unwrap();
    let url = server.url();
    drop(server);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(!rest.ends_with(b"0\r\n\r\n"));
    assert!(std::net::TcpStream::connect(url.strip_prefix("http://").unwrap()).is_err(), "nobody listens any more");
}
