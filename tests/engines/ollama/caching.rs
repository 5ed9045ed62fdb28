//! Prompts A, B, A, A: which of them came from a cache is told by duration, whatever the count says.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use phasebench::backend::ollama::judge::{Asked, History};
use phasebench::backend::{Call, CancelToken, Outcome};
use phasebench::terms::kept_prompt::REPEATED_PREFILL;
use phasebench::terms::{Degraded, Procedure};
use serde_json::{Value, json};

use crate::ollama::asking::{BY, asked, client, clock_of, judged, post};
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
    let repeat = recorded[recorded.len() - 1]["prompt_eval_duration"].as_f64().unwrap() / 1e6;
    let (client, mut history) = (client(&server), History { repeats_ms: vec![repeat], ..History::default() });
    let keeps_all = clock_of(version).host_prompt_cache;
    let mut ask = |call: usize| {
        let exchange = post(&client, "/api/generate", &json!({ "prompt": call.to_string() }));
        let count = u32::try_from(recorded[call]["prompt_eval_count"].as_u64().unwrap()).unwrap();
        // A, B, A, A: the third comes again after another one, the fourth right after the same.
        let sent_before = [false, false, keeps_all, true][call];
        let asked = Asked { sent_before, ..asked(Some(count), 4) };
        judged(&exchange, asked, version, &mut history).failure.map(|failure| failure.kind)
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

/// A reply's times, as the server says them. Unit: milliseconds.
#[derive(Debug, Clone, Copy)]
struct Said {
    prefill: f64,
    decode: f64,
    total: f64,
}

/// What a server says of a prefill that took so many milliseconds.
type Saying = fn(f64) -> Said;

/// What the calls of a session come to on a server that takes `passes` ms for a prompt and 8 for two steps, and says
/// `says`. The call of number 1 is the repeat that the session makes.
fn outcomes(calls: u32, passes: fn(usize) -> u64, says: Saying) -> (Vec<Outcome>, Vec<Value>) {
    let made = AtomicUsize::new(0);
    let answer = move |request: &Request, reply: &mut Reply| {
        let body = request.json().unwrap_or_default();
        match request.path.as_str() {
            "/api/version" => reply.json(200, &json!({ "version": "0.33.0" })),
            "/api/ps" => reply.json(200, &json!({ "models": [] })),
            _ if body["prompt"].is_null() => reply.json(200, &json!({ "done": true, "done_reason": "load" })),
            _ => {
                let prefill = passes(made.fetch_add(1, Ordering::SeqCst));
                let tokens = body["options"]["num_predict"].as_u64().unwrap();
                let said = says(Duration::from_millis(prefill).as_secs_f64() * 1e3);
                let ns = |ms: f64| Value::from((ms * 1e6) as u64);
                reply.stream_head();
                reply.wait(Duration::from_millis(prefill))?;
                reply.line("{\"response\":\" a\",\"done\":false}\n")?;
                reply.wait(Duration::from_millis(prefill + 8))?;
                let line = json!({
                    "response": "", "done": true, "done_reason": "length", "prompt_eval_count": 9, "eval_count": tokens,
                    "prompt_eval_duration": ns(said.prefill), "eval_duration": ns(said.decode), "total_duration": ns(said.total),
                });
                reply.line(&format!("{line}\n"))?;
                reply.end()
            }
        }
    };
    let server = Server::start(answer).unwrap();
    let mut session = managing::session(&server);
    let made = (0..calls).map(|index| {
        let call = Call {
            procedure: Procedure::PrefillDecode,
            scenario: "p".to_owned(),
            prompts: vec![Vec::new()],
            texts: None,
            padded_to: 9,
            steps: 2,
            index,
            attempt: 0,
            seed: 0,
        };
        session.ready();
        session.call(&call, BY, &CancelToken::default())
    });
    let made = made.collect();
    let asked = server.requests().into_iter().filter_map(|request| request.json().ok());
    (made, asked.filter(|body| body["prompt"].is_string()).collect())
}

/// Two prefills stalled before a third was known, and ten right ones were refused because of them.
#[test]
fn stalled_prefills_make_no_hits_of_the_others() {
    let passes = |call: usize| if [2, 3].contains(&call) { 300 } else { 5 };
    let (made, asked) = outcomes(12, passes, |prefill| Said { prefill, decode: 8.0, total: prefill + 8.0 });
    for (index, outcome) in made.iter().enumerate() {
        assert_eq!(outcome.failure, None, "call {index}");
    }
    // What a hit takes is measured once, by the same prompt again.
    assert_eq!(asked.len(), 13);
    assert_eq!(asked[0]["prompt"], asked[1]["prompt"]);
    assert_eq!(asked[1]["options"]["num_predict"], 2);
    let prompts: BTreeSet<&str> = asked.iter().map(|body| body["prompt"].as_str().unwrap()).collect();
    assert_eq!(prompts.len(), 12, "no other prompt comes twice");
    let measured: Vec<bool> = made
        .iter()
        .map(|outcome| outcome.reply.as_ref().unwrap().engine_durations.contains_key(REPEATED_PREFILL))
        .collect();
    assert_eq!(measured.iter().position(|&is| is), Some(1));
    assert_eq!(measured.iter().filter(|&&is| is).count(), 1);
    // All prompts begin with the same word, which is evaluated once.
    let cached: Vec<Option<u32>> = made.iter().map(|outcome| outcome.reply.as_ref().unwrap().prompt_cached).collect();
    assert_eq!(cached[..3], [None, Some(1), Some(1)]);
}

/// Some programs answer as the server does and send anything under its names: no figure comes of it.
#[test]
fn what_only_imitates_the_server_is_not_believed() {
    let imitations: [(&str, Saying); 5] = [
        ("1 ns", |_| Said { prefill: 1e-6, decode: 1e-6, total: 1e-6 }),
        ("ms for ns", |prefill| Said { prefill: prefill * 1e-6, decode: 8e-6, total: (prefill + 8.0) * 1e-6 }),
        ("µs for ns", |prefill| Said { prefill: prefill * 1e-3, decode: 8e-3, total: (prefill + 8.0) * 1e-3 }),
        ("constants", |_| Said { prefill: 2.0, decode: 2.0, total: 4.0 }),
        ("more than passed", |_| Said { prefill: 500.0, decode: 20.0, total: 520.0 }),
    ];
    for (name, says) in imitations {
        let (made, _) = outcomes(6, |_| 40, says);
        // That too little passed is known once a cold call, its repeat and another one lack it.
        let known = usize::from(["constants", "µs for ns"].contains(&name));
        for (index, outcome) in made.iter().enumerate().skip(known) {
            let kind = outcome.failure.as_ref().map(|failure| failure.kind);
            assert_eq!(kind, Some(Degraded::Invariant), "{name}, call {index}: {:?}", outcome.failure);
        }
    }
}
