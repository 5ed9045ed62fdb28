//! Replies as workers may send them: right, partial, and wrong in every field.

use super::*;
use crate::backend::SpanClock;
use crate::backend::worker::clock::{Pair, RoundTrip, source};
use crate::backend::worker::protocol::error::Kind;

/// The run's clock is the worker's, exactly.
fn mapping() -> Mapping {
    let (now, ours) = (Nanos(50), source());
    let ours = wire::ClockSource { boot_id: "boot".to_owned(), namespace_offset_ns: 0, ..ours };
    let trips = [RoundTrip { sent: now, worker: 50, received: now }];
    let mapping = Mapping::find(Some(&ours), &ours, Pair { run: now, kernel: 50, error: Nanos(0) }, &trips);
    mapping.unwrap()
}

fn call() -> Call {
    Call {
        procedure: Procedure::PrefillDecode,
        scenario: "test".to_owned(),
        prompts: vec![vec![1, 2, 3], vec![4, 5]],
        texts: None,
        padded_to: 3,
        steps: 2,
        index: 0,
        attempt: 0,
        seed: 0,
    }
}

fn span(phase: wire::Phase, begin_ns: u64, end_ns: u64) -> wire::Span {
    wire::Span { phase: phase.into(), begin_ns, end_ns, device_ns: None }
}

fn good() -> wire::CallReply {
    let row = |ids: &[u32]| wire::Prompt { ids: ids.to_vec() };
    wire::CallReply {
        session_usable: true,
        spans: vec![span(wire::Phase::Prefill, 110, 120), span(wire::Phase::KvDecode, 120, 140)],
        steps_timed: 2,
        tokens: vec![row(&[7, 8, 9]), row(&[1, 2, 3])],
        prompt_tokens: vec![3, 2],
        step_ends_ns: vec![130, 140],
        durations_ns: [("outside_engine".to_owned(), 4), ("gap".to_owned(), 1)].into(),
        attribution: Some(wire::Attribution {
            requested: "cpu".to_owned(),
            actual: Some("cpu".to_owned()),
            evidence: [("nodes".to_owned(), "\u{1b}[31m12".to_owned())].into(),
        }),
        ..Default::default()
    }
}

fn judged(reply: wire::CallReply, compiled: &BTreeMap<Phase, String>) -> Outcome {
    let (call, window) = (call(), (Nanos(100), Nanos(150)));
    outcome(reply, &Asked { call: &call, compiled, vocabulary: 10, mapping: mapping(), window })
}

fn eager() -> BTreeMap<Phase, String> {
    BTreeMap::new()
}

#[test]
fn a_good_reply_says_what_it_says() {
    let outcome = judged(good(), &eager());
    assert_eq!((outcome.failure, outcome.session_usable), (None, true));
    let reply = outcome.reply.unwrap();
    let times: Vec<_> = reply.spans.iter().map(|span| (span.phase, span.begin.0, span.end.0, span.clock)).collect();
    let exact = SpanClock::Exact;
    assert_eq!(times, [(Phase::Prefill, 110, 120, exact), (Phase::KvDecode, 120, 140, exact)]);
    assert_eq!((reply.steps_timed, reply.finish, reply.outside_engine), (2, Some(Finish::Length), Some(Nanos(4))));
    assert_eq!(reply.engine_durations, [("gap".to_owned(), Nanos(1))].into());
    assert_eq!((reply.tokens.len(), reply.new_tokens), (2, vec![3, 3]));
    assert_eq!(reply.prompt_tokens, Some(vec![3, 2]));
    assert_eq!(reply.step_ends, [Nanos(130), Nanos(140)]);
    assert_eq!(reply.attribution.evidence.shown["nodes"], "12");
}

/// Changes a good reply, and what is then said of it.
type Wrong = (fn(&mut wire::CallReply), &'static str);

const WRONG: [Wrong; 15] = [
    (|r| r.spans[1].phase = 99, "2 phases timed (prefill), expected prefill, kv_decode"),
    (|r| r.spans.swap(0, 1), "2 phases timed (kv_decode, prefill), expected prefill, kv_decode"),
    (|r| r.spans.truncate(1), "1 phases timed (prefill), expected prefill, kv_decode"),
    (|r| r.spans.extend(vec![span(wire::Phase::KvDecode, 140, 141); 100]), "102 phases timed"),
    (|r| r.spans[0].end_ns = 109, "prefill ends before it begins"),
    (|r| r.spans[0].begin_ns = 99, "prefill begins 0.0 µs before what comes before it has ended"),
    (|r| r.spans[1].begin_ns = 119, "kv_decode begins 0.0 µs before what comes before it has ended"),
    (|r| r.spans[1].end_ns = 9000, "the last phase ends 8.8 µs after the answer was there"),
    (|r| r.steps_timed = 3, "3 decode steps timed, 2 asked for"),
    (|r| r.step_ends_ns = vec![1; 1000], "ends of 1000 steps, 2 timed"),
    (|r| r.step_ends_ns = vec![135, 130], "the steps' ends are not in order inside their phase"),
    (|r| r.tokens.truncate(1), "expected 3 new tokens in each of 2 rows"),
    (|r| r.tokens[1].ids = vec![1; 5000], "expected 3 new tokens in each of 2 rows"),
    (|r| r.tokens[1].ids[2] = 4_000_000_000, "a new token has the id 4000000000, and the model knows 10 tokens"),
    (|r| r.prompt_tokens = vec![3; 70], "prompt tokens of 70 rows, 2 asked for"),
];

#[test]
fn a_reply_that_cannot_be_is_a_failed_call() {
    for (change, expected) in WRONG {
        let mut reply = good();
        change(&mut reply);
        let outcome = judged(reply, &eager());
        let failure = outcome.failure.unwrap();
        assert_eq!((outcome.reply, failure.kind), (None, Degraded::Invariant), "{expected}");
        let begin = format!("the worker's reply contradicts itself or the call: {expected}");
        assert!(failure.message.starts_with(&begin), "{failure}");
    }
}

#[test]
fn a_failed_call_keeps_what_it_proved() {
    let mut reply = good();
    reply.error = Some(wire::Error { kind: Kind::Oom.into(), message: "no \u{7}memory".to_owned() });
    (reply.session_usable, reply.steps_timed) = (false, 1);
    reply.spans[1].end_ns = 130;
    reply.step_ends_ns = vec![130];
    reply.tokens.iter_mut().for_each(|row| row.ids.truncate(2));
    let outcome = judged(reply, &eager());
    assert_eq!(outcome.failure.unwrap().to_string(), "oom: no memory");
    assert!(!outcome.session_usable);
    let reply = outcome.reply.unwrap();
    assert_eq!((reply.steps_timed, reply.finish), (1, Some(Finish::Interrupted)));
}

#[test]
fn errors_are_what_they_are_called() {
    for (kind, expected) in [
        (Kind::Unspecified as i32, Degraded::Error),
        (Kind::Oom as i32, Degraded::Oom),
        (Kind::Unsupported as i32, Degraded::Error),
        (Kind::CompileFailed as i32, Degraded::CompileFailed),
        (Kind::Recompile as i32, Degraded::CompileFailed),
        (Kind::Invalid as i32, Degraded::Error),
        (Kind::Internal as i32, Degraded::Error),
        (Kind::Cancelled as i32, Degraded::Incomplete),
        (Kind::Fallback as i32, Degraded::Fallback),
        (4711, Degraded::Error),
    ] {
        assert_eq!(failure(&wire::Error { kind, message: "why".to_owned() }).kind, expected, "{kind}");
    }
    assert_eq!(failure(&wire::Error::default()).message, "the worker gives no reason");
}

fn compiled(change: impl Fn(&mut wire::PhaseEvidence)) -> wire::CallReply {
    let evidence = |phase: wire::Phase, calls: u64| wire::PhaseEvidence {
        phase: phase.into(),
        requested: "inductor".to_owned(),
        actual: Some("inductor".to_owned()),
        calls,
        executions: calls,
        ..Default::default()
    };
    let mut decode = evidence(wire::Phase::KvDecode, 2);
    change(&mut decode);
    wire::CallReply { phases: vec![evidence(wire::Phase::Prefill, 1), decode], ..good() }
}

/// A worker that notices nothing: its own counts tell.
#[test]
fn what_is_not_proved_to_be_compiled_is_a_fallback() {
    let both: BTreeMap<_, _> = [Phase::Prefill, Phase::KvDecode].map(|phase| (phase, "inductor".to_owned())).into();
    assert_eq!(judged(compiled(|_| {}), &both).failure, None);
    let said = |reply: wire::CallReply, asked: &BTreeMap<Phase, String>| {
        let outcome = judged(reply, asked);
        assert!(outcome.reply.is_some(), "what was measured is kept");
        outcome.failure.unwrap().to_string()
    };
    let unproved = "fallback: kv_decode was to run compiled by inductor, and ";
    let fewer = compiled(|e| (e.executions, e.reasons) = (1, vec!["limit hit".to_owned()]));
    assert_eq!(said(fewer, &both), "fallback: kv_decode: 1 executions of compiled code in 2 calls: limit hit");
    assert!(said(compiled(|e| (e.calls, e.executions) = (0, 0)), &eager()).contains("0 executions"));
    assert_eq!(said(compiled(|e| e.actual = None), &eager()), format!("{unproved}nothing proves it"));
    assert_eq!(said(compiled(|e| e.actual = Some("eager".to_owned())), &eager()), format!("{unproved}ran eager"));
    let other = said(compiled(|e| e.requested = "eager".to_owned()), &both);
    assert_eq!(other, format!("{unproved}the worker ran eager"));
    let silent = said(good(), &both);
    assert_eq!(silent, "fallback: prefill was to run compiled by inductor, and nothing proves it");
    // Eager where eager was asked for is no fallback.
    assert_eq!(judged(compiled(|e| (e.requested, e.actual) = ("eager".to_owned(), None)), &eager()).failure, None);
}

#[test]
fn evidence_of_an_unknown_phase_is_refused() {
    let outcome = judged(compiled(|e| e.phase = 77), &eager());
    assert_eq!(outcome.failure.unwrap().kind, Degraded::Invariant);
}
