//! Whether a reply is what was asked for. Each refusal names its evidence; nothing here talks to a server.
//!
//! What cannot be told from one reply is told from the session's own history: a reload or another client's turn shows
//! where a warm call has almost nothing. A prefix-cache hit leaves the count of prompt tokens as it is and collapses the
//! duration, where the server does not count it; but a short duration alone proves none. What was never sent cannot
//! be cached beyond what all prompts share, so only a prompt that may have been sent before is judged by its time, against
//! both what is known to have been evaluated and a repeat made on purpose.

use super::version::{Runner, ServerClock};
use super::wire::{self, Metrics, Stream};
use crate::backend::Failure;
use crate::backend::http::Exchange;
use crate::backend::http::judge::{prompt_count, token_count, transport};
use crate::stats::reuse::{self, Piece};
use crate::stats::summary::median;
use crate::terms::{Degraded, Finish};
use crate::units::Nanos;

/// Looking at a loaded model takes milliseconds, or a hundred with a large vocabulary, which some versions read every
/// time. Added to three times the session's usual.
const SHORTEST_RELOAD_MS: f64 = 100.0;

/// A load inside the session's first call takes at least this share of the load before it.
const RELOAD_OF_LOAD: f64 = 0.5;

/// A load takes at least so long where there was none to compare with: a polling interval of the server.
const LOAD_POLL_MS: f64 = 250.0;

/// Time of a request outside of load, prefill and decode that needs no explanation.
const PLAIN_REST_MS: f64 = 100.0;

/// Allowance per new token for sampling, which some clocks leave out of the decode time.
const REST_PER_TOKEN_MS: f64 = 10.0;

/// What a request asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Prompt tokens sent, BOS included. `None`: only the server can count them, and this prompt is its first.
    pub prompt: Option<u32>,
    /// `num_predict`.
    pub tokens: u32,
    /// What runs the model.
    pub runner: Runner,
    /// Whether the server may still keep a prompt that began like this one.
    pub sent_before: bool,
    /// Tokens that this prompt may have in common with any other; so many cached ones are no hit.
    pub shared: u32,
}

/// A call of the session that went well.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Past {
    /// Its prefill: prompt tokens and time.
    pub prefill: Piece,
    /// The server's `load_duration`.
    pub load_ms: f64,
    /// Time outside of load, prefill and decode.
    pub rest_ms: f64,
}

/// What has been seen of a model: it outlives a load, since a full prefill takes as long after the next one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// How long its last load took. `None`: not known.
    pub load_ms: Option<f64>,
    /// Its calls that went well, in order.
    pub calls: Vec<Past>,
    /// Prefills of prompts sent again on purpose, right after the same. Unit: milliseconds.
    pub repeats_ms: Vec<f64>,
}

impl History {
    fn typical(&self, of: impl Fn(&Past) -> Option<f64>) -> Option<f64> {
        median(&self.calls.iter().filter_map(of).collect::<Vec<_>>())
    }
}

/// What a reply proved, and why it does not count if it does not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    /// What was read of the reply.
    pub stream: Stream,
    /// Why it does not count. An early stop is no failure here: whoever made the plan decides about it.
    pub failure: Option<Failure>,
    /// Decode steps that the decode clock covers.
    pub steps: u32,
    /// How it ended. `None`: it did not say.
    pub finish: Option<Finish>,
    /// Whether the model is gone from the server as far as the reply tells.
    pub lost: bool,
}

/// Judges a reply against what was asked and against the session's history.
#[must_use]
pub fn judge(exchange: &Exchange, asked: Asked, clock: &ServerClock, history: &History) -> Verdict {
    let stream = if exchange.status == Some(200) { wire::read(exchange.lines()) } else { Stream::default() };
    let mut verdict = Verdict { stream, ..Verdict::default() };
    let failure = transport(exchange, verdict.stream.error.as_deref()).or_else(|| match &verdict.stream.metrics {
        Some(_) if verdict.stream.final_lines > 1 => {
            failure(Degraded::Invariant, &format!("{} lines say `done: true`", verdict.stream.final_lines))
        }
        Some(metrics) => complete(metrics, asked).or_else(|| content(metrics, asked, clock, history)),
        None => Some(unfinished(&verdict.stream)),
    });
    if let Some(metrics) = &verdict.stream.metrics {
        let made = metrics.eval_count.unwrap_or(0);
        verdict.steps = asked.runner.steps_timed(made);
        verdict.finish = match metrics.done_reason.as_deref() {
            Some("stop") => Some(Finish::Stop),
            Some("length") if made >= asked.tokens => Some(Finish::Length),
            _ => None,
        };
    } else {
        verdict.finish = Some(Finish::Interrupted);
    }
    verdict.lost = failure.as_ref().is_some_and(|f| matches!(f.kind, Degraded::Crashed | Degraded::Oom))
        || exchange.status == Some(404);
    verdict.failure = failure;
    verdict
}

/// What the history keeps of a call that went well.
#[must_use]
pub fn remembered(metrics: &Metrics, asked: Asked) -> Option<Past> {
    Some(Past {
        prefill: prefill(metrics, asked)?,
        load_ms: metrics.load.map_or(0.0, Nanos::as_ms),
        rest_ms: rest_ms(metrics).unwrap_or(0.0),
    })
}

fn prefill(metrics: &Metrics, asked: Asked) -> Option<Piece> {
    let (size, ms) = (metrics.prompt_eval_count?, metrics.prompt_eval?.as_ms());
    Some(Piece { size, ms, asked_before: asked.sent_before })
}

/// Time of the request that is neither load nor prefill nor decode. `None`: no total.
fn rest_ms(metrics: &Metrics) -> Option<f64> {
    let parts = [metrics.load, metrics.prompt_eval, metrics.eval];
    let known = parts.into_iter().flatten().fold(Nanos(0), |sum, part| sum + part);
    Some(metrics.total?.since(known).as_ms())
}

fn failure(kind: Degraded, message: &str) -> Option<Failure> {
    Some(Failure::new(kind, message))
}

/// A reply without a final line.
fn unfinished(stream: &Stream) -> Failure {
    match &stream.malformed {
        Some(why) => Failure::new(Degraded::Invariant, why),
        None => {
            let why = format!("{} pieces came, but no line that says `done: true`: no metrics", stream.pieces);
            Failure::new(Degraded::Incomplete, &why)
        }
    }
}

/// Whether the metrics are all there.
fn complete(metrics: &Metrics, asked: Asked) -> Option<Failure> {
    let steps = asked.runner.steps_timed(metrics.eval_count.unwrap_or(0));
    let missing = [
        ("prompt_eval_count", metrics.prompt_eval_count.is_none()),
        ("prompt_eval_duration", metrics.prompt_eval.is_none()),
        ("eval_count", metrics.eval_count.is_none()),
        ("eval_duration", metrics.eval.is_none() && steps > 0),
        ("total_duration", metrics.total.is_none()),
    ];
    let missing: Vec<_> = missing.into_iter().filter(|(_, missing)| *missing).map(|(name, _)| name).collect();
    if missing.is_empty() {
        return None;
    }
    failure(Degraded::Incomplete, &format!("the final line has no {}", missing.join(", ")))
}

/// Whether complete metrics are of the work that was asked for.
fn content(metrics: &Metrics, asked: Asked, clock: &ServerClock, history: &History) -> Option<Failure> {
    if let Some(why) = clock.blocklisted {
        return failure(Degraded::BlocklistedClock, why);
    }
    let (evaluated, made) = (metrics.prompt_eval_count?, metrics.eval_count?);
    asked
        .prompt
        .and_then(|sent| prompt_count(sent, evaluated))
        .or_else(|| reloaded(metrics, history))
        .or_else(|| queued(metrics, history))
        .or_else(|| cache_hit(metrics, asked, history))
        .or_else(|| token_count(made, asked.tokens, metrics.done_reason.as_deref()))
}

fn reloaded(metrics: &Metrics, history: &History) -> Option<Failure> {
    let load = metrics.load?.as_ms();
    let usual = history.typical(|past| Some(past.load_ms));
    let (limit, than) = match (usual, history.load_ms) {
        (Some(usual), _) => (SHORTEST_RELOAD_MS + 3.0 * usual, format!("{usual:.1} ms in a usual one")),
        (None, Some(load)) => (RELOAD_OF_LOAD * load, format!("{load:.0} ms in the load before it")),
        (None, None) => (LOAD_POLL_MS, "milliseconds where a model is loaded".to_owned()),
    };
    if load <= limit {
        return None;
    }
    failure(Degraded::Reloaded, &format!("load_duration {load:.0} ms inside the call, {than}: the model was loaded"))
}

fn queued(metrics: &Metrics, history: &History) -> Option<Failure> {
    let rest = rest_ms(metrics)?;
    let sampling = f64::from(metrics.eval_count?) * REST_PER_TOKEN_MS;
    let usual = history.typical(|past| Some(past.rest_ms));
    if rest <= PLAIN_REST_MS + usual.map_or(sampling, |usual| 3.0 * usual) {
        return None;
    }
    let usual = usual.map_or_else(String::new, |usual| format!(", {usual:.0} ms in a usual call"));
    failure(Degraded::Queued, &format!("{rest:.0} ms of the request are neither load nor prefill nor decode{usual}"))
}

fn cache_hit(metrics: &Metrics, asked: Asked, history: &History) -> Option<Failure> {
    let this = prefill(metrics, asked)?;
    if let Some(cached) = metrics.prompt_eval_cached_count {
        let why = format!("{cached} of {} prompt tokens came from the server's cache", this.size);
        return (cached > asked.shared).then(|| Failure::new(Degraded::CacheHit, &why));
    }
    if !asked.sent_before {
        return None;
    }
    let all: Vec<Piece> = history.calls.iter().map(|past| past.prefill).chain([this]).collect();
    if reuse::judge_one(&history.repeats_ms, &this, &all) != reuse::Verdict::Reused {
        return None;
    }
    let known = |ms: Option<f64>| ms.map_or_else(|| "an unknown time".to_owned(), |ms| format!("{ms:.2} ms"));
    let (repeat, fastest) = (reuse::shortest(&history.repeats_ms), reuse::shortest_done(&this, &all));
    let why = format!(
        "a prompt of {} tokens that was sent before took {:.2} ms; a repeat takes {}, evaluating it at least {}",
        this.size,
        this.ms,
        known(repeat),
        known(fastest),
    );
    failure(Degraded::CacheHit, &why)
}
