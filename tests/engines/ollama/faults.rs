//! One timed call of a real run goes wrong, in every way a server can: it is recorded as what it was, nothing hangs or
//! panics, and all other calls are good.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use phasebench::record::Line;
use phasebench::terms::{Role, Status};

use crate::ollama::fixture::{Fixture, ONE, Scenario, assert_exit, failures, kind, script};
use crate::standin::Server;
use crate::standin::fault::Fault;
use crate::standin::http::Request;
use crate::standin::reply::Reply;
use crate::standin::scripted::Scripted;

/// The cold call is 0, so this is the second timed one.
const STRUCK: usize = 2;

/// Its number among the server's: the cold one is sent again on purpose.
const STRUCK_THERE: usize = STRUCK + 1;

/// Timed calls.
const CALLS: u32 = 4;

/// Faults report 5 ms for the prompt and 1 ms a step; a reply that comes sooner contradicts itself.
const REPORTED: Duration = Duration::from_millis(12);

/// A fault, the kind it is recorded as, and words of the record.
type Row = (fn() -> Fault, &'static str, &'static str);

const TOO_LONG: usize = 9 << 20;

const ROWS: [Row; 35] = [
    (Fault::reset_at_once, "incomplete", "the connection broke"),
    (Fault::reset_mid_body, "incomplete", "the connection broke"),
    (Fault::cut_stream, "incomplete", "the connection broke"),
    (Fault::cut_line, "incomplete", "the connection broke"),
    (Fault::no_done, "incomplete", "2 pieces came, but no line that says `done: true`"),
    (|| Fault::slow_first_byte(Duration::from_millis(30)), "ok", ""),
    (Fault::hang_at_once, "timeout", "no reply came in time"),
    (Fault::hang_mid_stream, "timeout", "the reply did not end in time"),
    (|| Fault::huge_line(TOO_LONG), "invariant", "a line of the reply is too long"),
    (|| Fault::no_newline(TOO_LONG), "invariant", "a line of the reply is too long"),
    (|| Fault::no_newline(1 << 16), "invariant", "line 3: no JSON"),
    (Fault::split_character, "ok", ""),
    (Fault::two_lines_in_one_packet, "ok", ""),
    (Fault::one_byte_packets, "ok", ""),
    (Fault::length_too_long, "incomplete", "the connection broke"),
    (Fault::length_too_short, "invariant", "line 2: no JSON"),
    (Fault::http_1_0, "ok", ""),
    (|| Fault::redirect("http://127.0.0.1:1/x"), "error", "a redirect, which is not followed"),
    (Fault::busy, "queued", "HTTP 503: server busy"),
    (Fault::runner_stopped, "crashed", "unexpectedly stopped"),
    (Fault::model_missing, "error", "HTTP 404: model 'phasebench/m1:"),
    (Fault::context_exceeded_plain, "error", "context exceeded: "),
    (Fault::context_exceeded_json, "error", "context exceeded: request (9004 tokens)"),
    (Fault::empty_body, "incomplete", "0 pieces came"),
    (Fault::escape_codes_in_plain_error, "error", "HTTP 500: redbell over"),
    (Fault::escape_codes_in_error, "error", "HTTP 500: redbell over"),
    (|| Fault::error_line("CUDA error: out of memory"), "oom", "out of memory"),
    (Fault::wrong_json, "invariant", "line 3: no JSON"),
    (Fault::done_twice, "invariant", "2 lines say `done: true`"),
    (Fault::no_metrics, "incomplete", "the final line has no prompt_eval_count"),
    (Fault::negative_durations, "invariant", "`total_duration` is -1000000"),
    (Fault::huge_number, "invariant", "line 3: no JSON"),
    (Fault::short_length, "incomplete", "2 of 3 tokens made, and the server says `length`"),
    (Fault::escape_codes_in_name, "ok", ""),
    (Fault::script_in_name, "ok", ""),
];

/// A server whose call of number [`STRUCK_THERE`] goes wrong.
fn server(model: &Arc<Scripted>, fault: Fault) -> Server {
    let (model, calls) = (model.clone(), AtomicUsize::new(0));
    let answer = move |request: &Request, reply: &mut Reply| {
        if is_call(request) && calls.fetch_add(1, Ordering::SeqCst) == STRUCK_THERE {
            reply.wait(REPORTED)?;
            return fault.play(request, reply);
        }
        model.answer(request, reply)
    };
    Server::start(answer).unwrap()
}

fn is_call(request: &Request) -> bool {
    request.path == "/api/generate" && request.json().is_ok_and(|body| body["prompt"].is_string())
}

fn check(&(fault, expected, words): &Row) {
    let fault = fault();
    let name = fault.name();
    let model = Arc::new(Scripted::new(script(), []));
    let server = server(&model, fault);
    let url = server.url();
    let fixture = Fixture::new(&Scenario { url: &url, models: ONE, prompt: 5, steps: 2, repetitions: CALLS, more: "" });
    let output = fixture.start().output().unwrap();
    assert_exit(&output, 0);
    let calls = fixture.calls();
    let timed: Vec<_> = calls.iter().filter(|call| call.role == Role::Timed).collect();
    assert_eq!(timed.len(), CALLS as usize, "{name}");
    // Of whatever role: where the machine paused, a short call comes before a timed one.
    let struck = &calls[STRUCK];
    assert_eq!(kind(struck), expected, "{name}: {:?}", struck.detail);
    let detail = struck.detail.as_deref().unwrap_or_default();
    assert!(detail.contains(words), "{name}: `{detail}`, expected `{words}`");
    // Its deadline is a second; the rest is room for a machine that is busy.
    assert!(struck.total_wall_ns.as_ms() < 30_000.0, "{name} took {}", struck.total_wall_ns);
    let others = calls.iter().filter(|call| call.call_id != struck.call_id);
    assert!(others.clone().all(|call| call.status == Status::Ok), "{name}: {:?}", failures(&calls));
    let loads = fixture.lines().iter().filter(|line| matches!(line, Line::Load(_))).count();
    assert_eq!(loads, 1 + usize::from(struck.session_lost), "{name}: loaded again where the session was lost");
    let lost = ["crashed", "oom"].contains(&expected) || name == "model missing";
    assert_eq!(struck.session_lost, lost, "{name}");
}

#[test]
fn every_fault_costs_one_call() {
    for row in &ROWS {
        check(row);
    }
}
