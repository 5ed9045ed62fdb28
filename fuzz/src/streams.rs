//! A server's reply: its bytes in chunks, cut into lines and events, and judged as an Ollama server's.
//!
//! The first byte says how the reply ended and which version of the server sent it, the second how long its chunks are.

use std::hint::black_box;

use phasebench::backend::http::client::{Arriving, LONGEST_LINE};
use phasebench::backend::http::clocks::{Clocks, Durations};
use phasebench::backend::http::events::{Event, Events};
use phasebench::backend::http::refusal::error_of;
use phasebench::backend::http::{Exchange, ExchangeEnd, judge as transport};
use phasebench::backend::ollama::judge::{self, Asked, History};
use phasebench::backend::ollama::manage::{residents, shown};
use phasebench::backend::ollama::placement::attribution;
use phasebench::backend::ollama::session::{durations, spans};
use phasebench::backend::ollama::version::{self, Runner, ServerClock};
use phasebench::backend::ollama::wire::Metrics;
use phasebench::backend::{Outcome, Reply};
use phasebench::scenario::OllamaDevice;
use phasebench::terms::Procedure;
use phasebench::units::Nanos;
use serde_json::Value;

use super::measured;

const VERSIONS: [&str; 4] = ["0.6.0", "0.12.5", "v0.24.0", "0.33.0-rc2"];
const STATUSES: [u16; 4] = [200, 200, 404, 503];

pub fn read(data: &[u8]) {
    let [how, size, body @ ..] = data else { return };
    let size = usize::from(*size).max(1);
    events(body, size);
    let exchange = exchange(body, size, *how);
    drop(error_of(&exchange.body));
    drop(transport::transport(&exchange, None));
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        management(&value);
    }
    let version = VERSIONS[usize::from(how / 4 % 4)];
    if let Some(clock) = version::release(version).as_ref().and_then(version::clock) {
        judged(&exchange, &clock);
    }
}

/// The body as server-sent events.
fn events(body: &[u8], size: usize) {
    let (mut events, mut found) = (Events::new(LONGEST_LINE), Vec::new());
    for chunk in body.chunks(size) {
        if events.take(chunk, &mut found).is_err() {
            return;
        }
    }
    let whole = events.finish();
    let all: Vec<Event> = found.into_iter().chain(whole.ok().flatten()).collect();
    drop(all.iter().map(|event| serde_json::from_slice::<Value>(&event.data)).collect::<Vec<_>>());
    black_box(all.iter().any(Event::is_done));
}

/// The body as it arrives, a microsecond between chunks.
fn exchange(body: &[u8], size: usize, how: u8) -> Exchange {
    let ended = match how / 16 {
        0 => ExchangeEnd::Cut("reset by peer".to_owned()),
        1 => ExchangeEnd::TimedOut,
        _ => ExchangeEnd::Whole,
    };
    let mut exchange = Exchange {
        sent: Nanos(1_000),
        headers: Some(Nanos(2_000)),
        status: Some(STATUSES[usize::from(how % 4)]),
        ended,
        ..Exchange::default()
    };
    let (mut arriving, mut now) = (Arriving::default(), Nanos(3_000));
    for chunk in body.chunks(size) {
        now = now + Nanos(1_000);
        if let Some(enough) = arriving.take(chunk, now, &mut exchange) {
            exchange.ended = enough;
            break;
        }
    }
    exchange.end = now;
    exchange
}

/// The replies to management requests.
fn management(value: &Value) {
    drop(shown(value));
    let Some(clock) = version::release("0.24.0").as_ref().and_then(version::clock) else { return };
    for resident in residents(value).unwrap_or_default() {
        drop(attribution(OllamaDevice::Gpu, "0.24.0", &clock, Some(&resident), Some(1 << 20)));
    }
}

/// A few calls in a row that all get this reply: what is judged by what came before is judged too.
fn judged(exchange: &Exchange, clock: &ServerClock) {
    let (mut history, mut clocks) = (History { load_ms: Some(100.0), ..History::default() }, Clocks::default());
    for (call, runner) in [Runner::Gguf, Runner::Gguf, Runner::Mlx, Runner::Gguf].into_iter().enumerate() {
        let asked = Asked { prompt: Some(16), tokens: 33, runner, sent_before: call % 2 == 1, shared: 1 };
        let verdict = judge::judge(exchange, asked, clock, &history);
        let Some(metrics) = verdict.stream.metrics.clone() else { return };
        drop(clocks.contradiction(&compared(&metrics, exchange, verdict.steps)));
        history.calls.extend(judge::remembered(&metrics, asked));
        let reply = Reply {
            spans: spans(&metrics, exchange, verdict.steps),
            engine_durations: durations(&metrics, exchange),
            steps_timed: verdict.steps,
            prompt_tokens: metrics.prompt_eval_count.map(|count| vec![count]),
            prompt_cached: metrics.prompt_eval_cached_count,
            new_tokens: metrics.eval_count.into_iter().collect(),
            finish: verdict.finish,
            ..Reply::default()
        };
        let outcome = Outcome { reply: Some(reply), failure: verdict.failure, session_usable: !verdict.lost };
        measured::measured(outcome, Procedure::PrefillDecode, 1, 32);
    }
}

fn compared(metrics: &Metrics, exchange: &Exchange, steps: u32) -> Durations {
    Durations {
        total: metrics.total,
        load: metrics.load,
        prefill: metrics.prompt_eval,
        decode: metrics.eval,
        steps,
        left_out_per_step: Nanos(1_000_000),
        to_first: exchange.first_line.unwrap_or(exchange.end).since(exchange.sent),
        to_last: exchange.last_line.unwrap_or(exchange.end).since(exchange.sent),
    }
}
