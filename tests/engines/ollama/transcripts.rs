//! Every recorded call gets the verdict it deserves, and no recording is left out.

use std::collections::BTreeSet;
use std::path::Path;

use phasebench::backend::ollama::judge::{Asked, History, Verdict};
use phasebench::terms::{Degraded, Finish};
use phasebench::units::Nanos;
use serde_json::json;

use crate::ollama::asking::{VERSIONS, asked, client, clock_of, judged, post};
use crate::ollama::caching;
use crate::ollama::managing;
use crate::standin::replay::{Exchange, Replay};
use crate::standin::{Pace, Server};

/// What a reply must be taken for.
#[derive(Debug, Clone, Copy)]
struct Want {
    failure: Option<(Degraded, &'static str)>,
    steps: u32,
    finish: Option<Finish>,
}

/// All tokens that were asked for.
const fn whole(steps: u32) -> Want {
    Want { failure: None, steps, finish: Some(Finish::Length) }
}

/// Ended at a stop token: no failure of the server's.
const fn stopped(steps: u32) -> Want {
    Want { failure: None, steps, finish: Some(Finish::Stop) }
}

/// Does not count, for this reason, in these words among others.
const fn bad(want: Want, kind: Degraded, words: &'static str) -> Want {
    Want { failure: Some((kind, words)), ..want }
}

/// No final line came.
const fn cut(kind: Degraded, words: &'static str) -> Want {
    Want { failure: Some((kind, words)), steps: 0, finish: Some(Finish::Interrupted) }
}

/// A recording, the prompt tokens that were sent, the recordings before it in its session, and the verdict on each
/// version.
struct Row(&'static str, Option<u32>, &'static [&'static str], [Want; 2]);

/// A hit is told against two full prefills. Of most lengths only one was recorded, which then stands for both.
const FIRST: &[&str] = &["generate-length-stop", "generate-length-stop"];
const LONG: &[&str] = &["generate-long-nonce-1", "generate-long-nonce-1"];
const CACHED: &str = "that was sent before took";
const LOADED: &str = "the model was loaded";

fn rows() -> Vec<Row> {
    use Degraded::{CacheHit, Crashed, Error, Incomplete, Invariant, Queued, Reloaded, Truncated};
    let both = |want| [want; 2];
    let hit = |want| bad(want, CacheHit, CACHED);
    let load = |want| bad(want, Reloaded, LOADED);
    let refused = |words| both(cut(Error, words));
    let length = "and the server says `length`: not ended by a stop token";
    let unproven = |steps| Want { finish: None, ..whole(steps) };
    vec![
        Row("generate-length-stop", Some(30), &[], both(whole(31))),
        Row("generate-repeat-same-prompt", Some(30), FIRST, both(hit(whole(31)))),
        Row("generate-non-stream", Some(30), FIRST, both(hit(whole(31)))),
        Row("generate-logprobs", Some(30), FIRST, both(hit(whole(3)))),
        Row("generate-temperature", Some(30), FIRST, both(hit(whole(23)))),
        Row("generate-count-1", Some(30), &[], both(whole(0))),
        Row("generate-count-2", Some(30), &[], both(whole(1))),
        Row("error-unknown-option", Some(30), &[], both(whole(3))),
        Row("generate-long-nonce-1", Some(344), &[], both(whole(7))),
        Row("generate-long-repeat", Some(344), LONG, both(hit(whole(7)))),
        Row(
            "generate-long-nonce-2",
            Some(345),
            &["generate-long-nonce-1", "generate-long-repeat"],
            [whole(7), whole(7)],
        ),
        Row(
            "generate-long-nonce-tail",
            Some(348),
            &["generate-long-nonce-1", "generate-long-nonce-2"],
            both(hit(whole(7))),
        ),
        // An older prompt again: the old engine keeps only the last one, the new one all.
        Row(
            "generate-long-back-to-1",
            Some(344),
            &["generate-long-nonce-1", "generate-long-nonce-1", "generate-long-nonce-2"],
            [whole(7), hit(whole(7))],
        ),
        Row("generate-mid-128-warm", Some(197), &["generate-mid-128"], both(whole(127))),
        Row("generate-mid-128", Some(197), &[], both(load(whole(127)))),
        Row("generate-spm", Some(15), &[], both(load(whole(31)))),
        Row("generate-keepalive-option-change", Some(30), FIRST, both(load(whole(3)))),
        Row("after-runner-killed", Some(80), &["fault-runner-killed"], both(load(whole(3)))),
        Row("chat", None, &[], [whole(15), load(whole(15))]),
        Row("generate-eos-early", Some(30), &[], [load(stopped(24)), load(stopped(29))]),
        Row("generate-qwen2", Some(30), &[], both(load(stopped(21)))),
        Row("generate-stop-string", Some(30), &[], [stopped(7), stopped(3)]),
        Row("generate-stop-string", Some(30), FIRST, [hit(stopped(7)), hit(stopped(3))]),
        Row("generate-queued-behind-another", Some(81), &[], both(bad(whole(7), Queued, "neither load nor prefill"))),
        Row("generate-repeat-guard", Some(30), &[], both(cut(Incomplete, "no line that says `done: true`"))),
        // The server takes 0 for no limit; a reply of 995 tokens to a request for none contradicts it.
        Row(
            "generate-num-predict-0",
            Some(30),
            &[],
            [
                bad(whole(994), Invariant, "995 tokens made, 0 asked for"),
                bad(whole(993), Invariant, "994 tokens made, 0 asked for"),
            ],
        ),
        // `length`, and not what was asked for; on the newer server also with a load inside.
        Row("error-shift-only-false", Some(5), &[], [bad(unproven(1019), Incomplete, length), load(unproven(1018))]),
        Row(
            "error-context-truncated",
            Some(9004),
            &[],
            [
                bad(whole(3), Truncated, "9004 prompt tokens sent, 1024 evaluated"),
                bad(whole(3), Truncated, "9004 prompt tokens sent, 515 evaluated"),
            ],
        ),
        Row("error-context-exceeded", Some(9004), &[], refused("HTTP 400: context exceeded: ")),
        Row("error-missing-model", Some(30), &[], refused("HTTP 404: model 'nope' not found")),
        Row("error-bad-option", Some(30), &[], refused("HTTP 500: option \"temperature\" must be of type float32")),
        Row("error-bad-json", None, &[], refused("HTTP 400: unexpected EOF")),
        Row("error-think", Some(30), &[], refused("does not support thinking")),
        Row(
            "fault-runner-killed",
            Some(80),
            &[],
            [cut(Crashed, "HTTP 500: model runner has unexpectedly stopped"), cut(Crashed, "unexpected EOF")],
        ),
    ]
}

/// Tokens the recorded request asked for. Where it names no number, those that came.
fn target(exchange: &Exchange) -> u32 {
    let asked = exchange.request.body.as_ref().and_then(|body| body["options"]["num_predict"].as_u64());
    asked.map_or(0, |tokens| u32::try_from(tokens).unwrap())
}

/// Sends a recorded request to a server that answers as recorded, and judges what comes.
fn ask(version: &str, file: &str, sent: (Option<u32>, bool), pace: Pace, history: &mut History) -> Verdict {
    let (prompt, sent_before) = sent;
    let recorded = Exchange::recorded(version, file).unwrap();
    let server = Server::replay(Replay::new(pace).then(recorded.clone())).unwrap();
    let body = recorded.request.body.clone().unwrap_or_else(|| json!(null));
    let exchange = post(&client(&server), &recorded.request.path, &body);
    if pace == Pace::Kept {
        let since = |at: Option<Nanos>| at.unwrap().since(exchange.sent).0;
        let (first, last) = (&recorded.response.lines[0], recorded.response.lines.last().unwrap());
        assert!(since(exchange.headers) >= recorded.response.header_ns, "{file}");
        assert!(since(exchange.first_line) >= first.at_ns, "{file}");
        assert!(since(exchange.last_line) >= last.at_ns, "{file}");
        assert!(exchange.end >= exchange.last_line.unwrap(), "{file}");
    }
    let asked = Asked { sent_before, ..asked(prompt, target(&recorded)) };
    judged(&exchange, asked, version, history)
}

/// The prompt of a recorded request.
fn text(version: &str, file: &str) -> String {
    let request = Exchange::recorded(version, file).unwrap().request;
    request.body.and_then(|body| body["prompt"].as_str().map(str::to_owned)).unwrap_or_default()
}

/// Whether the server may keep a prompt that began like this one: the old engine has the last one, the new one all.
fn is_kept(version: &str, file: &str, before: &[&str]) -> bool {
    const BEGINNING: usize = 20;
    let text = text(version, file);
    let begins_alike = |earlier: &&&str| {
        let known = self::text(version, earlier);
        !known.is_empty() && known.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count() >= BEGINNING
    };
    if clock_of(version).host_prompt_cache {
        return before.iter().any(|earlier| begins_alike(&earlier));
    }
    before.last().is_some_and(|last| begins_alike(&last))
}

/// What sending a prompt again takes, from recordings: another one than that to be judged.
fn repeat_ms(version: &str, file: &str) -> f64 {
    let repeat = if file == "generate-long-repeat" { "generate-repeat-same-prompt" } else { "generate-long-repeat" };
    let recorded = Exchange::recorded(version, repeat).unwrap();
    let last: serde_json::Value = serde_json::from_str(&recorded.response.lines.last().unwrap().text).unwrap();
    last["prompt_eval_duration"].as_f64().unwrap() / 1e6
}

/// The prompt tokens that the table says were sent.
fn prompt_of(rows: &[Row], file: &str) -> Option<u32> {
    rows.iter().find(|row| row.0 == file).unwrap_or_else(|| panic!("no row for {file}")).1
}

#[test]
fn every_call_gets_its_verdict() {
    // Two short ones take their recorded time.
    const KEPT: [&str; 2] = ["generate-count-2", "error-unknown-option"];
    let rows = rows();
    for (place, version) in VERSIONS.into_iter().enumerate() {
        for Row(file, prompt, before, wants) in &rows {
            let mut history = History::default();
            for earlier in *before {
                ask(version, earlier, (prompt_of(&rows, earlier), false), Pace::AtOnce, &mut history);
            }
            history.repeats_ms = vec![repeat_ms(version, file)];
            let pace = if KEPT.contains(file) { Pace::Kept } else { Pace::AtOnce };
            let sent = (*prompt, is_kept(version, file, before));
            let verdict = ask(version, file, sent, pace, &mut history);
            let (want, at) = (wants[place], format!("{version} {file} after {before:?}: {:?}", verdict.failure));
            assert_eq!(verdict.failure.as_ref().map(|f| f.kind), want.failure.map(|(kind, _)| kind), "{at}");
            if let (Some(failure), Some((_, words))) = (&verdict.failure, want.failure) {
                assert!(failure.message.contains(words), "{at}, expected `{words}`");
            }
            assert_eq!((verdict.steps, verdict.finish), (want.steps, want.finish), "{at}");
            let gone =
                want.failure.is_some_and(|(kind, _)| kind == Degraded::Crashed) || *file == "error-missing-model";
            assert_eq!(verdict.lost, gone, "{at}");
        }
    }
}

#[test]
fn no_recording_is_left_out() {
    let rows = rows();
    let known: BTreeSet<&str> =
        rows.iter().map(|row| row.0).chain(managing::RECORDINGS).chain(caching::RECORDINGS).collect();
    let mut found = BTreeSet::new();
    for version in VERSIONS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/ollama").join(version);
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            found.extend(name.strip_suffix(".json").map(str::to_owned));
        }
    }
    let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(found, known);
}
