//! Prompts A, B, A, A: which of them came from a cache is told by duration, whatever the count says.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use phasebench::backend::ollama::judge::History;
use phasebench::backend::{Call, CancelToken};
use phasebench::terms::{Degraded, Procedure};
use serde_json::{Value, json};

use crate::ollama::asking::{BY, asked, client, judged, post};
use crate::ollama::managing;
use crate::standin::Server;
use crate::standin::http::Request;
use crate::standin::reply::Reply;

/// Recordings that hold the metrics of several calls.
pub const RECORDINGS: [&str; 2] = ["aba", "aba-cacheram0"];

/// Metrics as recorded, as the last lines of replies that a server sends in turn.
fn verdicts(version: &str, name: &str) -> Vec<Option<Degraded>> {
    let path = format!("tests/data/ollama/{version}/{name}.json");
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let recorded: Vec<Value> = serde_json::from_str(&text).unwrap();
    let lines: Vec<String> = recorded.iter().map(|metrics| format!("{}\n", last_line(metrics))).collect();
    let server = Server::start(move |request, reply| {
        let call: usize = request.json().unwrap()["prompt"].as_str().unwrap().parse().unwrap();
        reply.stream_head();
        reply.line(&lines[call])?;
        reply.end()
    })
    .unwrap();
    let (client, mut history) = (client(&server), History::default());
    let mut ask = |call: usize| {
        let exchange = post(&client, "/api/generate", &json!({ "prompt": call.to_string() }));
        let count = u32::try_from(recorded[call]["prompt_eval_count"].as_u64().unwrap()).unwrap();
        judged(&exchange, asked(Some(count), 4), version, &mut history).failure.map(|failure| failure.kind)
    };
    (0..recorded.len()).map(&mut ask).collect()
}

/// Recorded metrics, with what they leave out: the line's other fields, and a total without a rest.
fn last_line(metrics: &Value) -> Value {
    let mut line = json!({ "model": "m", "response": "", "done": true });
    let fields = line.as_object_mut().unwrap();
    fields.extend(metrics.as_object().unwrap().clone());
    let time = |key: &str| metrics[key].as_u64().unwrap();
    fields.insert("total_duration".to_owned(), json!(time("prompt_eval_duration") + time("eval_duration")));
    line
}

#[test]
fn a_cached_prompt_is_told_by_its_duration() {
    let (fresh, hit) = (None, Some(Degraded::CacheHit));
    for (version, name, expected) in [
        ("v0.24.0", "aba", [fresh, fresh, fresh, hit]),
        ("v0.33.0-rc2", "aba", [fresh, fresh, hit, hit]),
        ("v0.33.0-rc2", "aba-cacheram0", [fresh, fresh, fresh, hit]),
    ] {
        assert_eq!(verdicts(version, name), expected, "{version} {name}");
    }
}

/// The first prefill of a shape may be slow, and so may one later: others are not taken for cached because of it.
#[test]
fn one_slow_prefill_is_no_measure() {
    // Steps of 8 ms: a short prompt's prefill lasts no longer than a few of them, as a cached one's does.
    const PREFILLS: [(u32, u64); 11] =
        [(9, 60), (9, 61), (9, 20), (20, 70), (20, 22), (20, 21), (20, 23), (9, 19), (30, 90), (30, 91), (30, 24)];
    let calls = AtomicUsize::new(0);
    let answer = move |request: &Request, reply: &mut Reply| {
        let body = request.json().unwrap_or_default();
        match request.path.as_str() {
            "/api/version" => reply.json(200, &json!({ "version": "0.24.0" })),
            "/api/ps" => reply.json(200, &json!({ "models": [] })),
            _ if body["prompt"].is_null() => reply.json(200, &json!({ "done": true, "done_reason": "load" })),
            _ => {
                let (tokens, prefill) = PREFILLS[calls.fetch_add(1, Ordering::SeqCst)];
                let times = json!({ "prompt_eval_duration": prefill * 1_000_000, "eval_duration": 16_000_000 });
                let mut line = last_line(&times);
                line["prompt_eval_count"] = json!(tokens);
                line["eval_count"] = json!(3);
                line["done_reason"] = json!("length");
                reply.json(200, &line)
            }
        }
    };
    let server = Server::start(answer).unwrap();
    let mut session = managing::session(&server);
    for (index, (tokens, _)) in (0..).zip(PREFILLS) {
        let call = Call {
            procedure: Procedure::PrefillDecode,
            scenario: tokens.to_string(),
            prompts: vec![Vec::new()],
            texts: None,
            padded_to: tokens,
            steps: 2,
            index,
            attempt: 0,
            seed: 0,
        };
        let outcome = session.call(&call, BY, &CancelToken::default());
        assert_eq!(outcome.failure, None, "call {index}");
    }
}
