//! What can be said of a reply without knowing whose it is: how the exchange ended, what a refusal means, whether as
//! much was done as was asked for.

use super::client::{Exchange, ExchangeEnd};
use super::refusal::{error_of, is_out_of_memory};
use crate::backend::Failure;
use crate::terms::Degraded;

/// No reply, half a reply, or a refusal. `error`: the server's words inside a reply that began well. `None`: the reply
/// came whole, and what is in it decides.
#[must_use]
pub fn transport(exchange: &Exchange, error: Option<&str>) -> Option<Failure> {
    let failure = |kind, message: &str| Some(Failure::new(kind, message));
    match (&exchange.ended, exchange.status) {
        (ExchangeEnd::Cancelled, _) => failure(Degraded::Incomplete, "cancelled"),
        (ExchangeEnd::TimedOut, _) => {
            let came = if exchange.first_line.is_some() { "the reply did not end" } else { "no reply came" };
            failure(Degraded::Timeout, &format!("{came} in time"))
        }
        (ExchangeEnd::Unreachable(why), _) => {
            failure(Degraded::Crashed, &format!("the server cannot be reached: {why}"))
        }
        (ExchangeEnd::TooLong(what), _) => {
            failure(Degraded::Invariant, &format!("{what} of the reply is too long to be one"))
        }
        // An error line says more than the broken connection that follows it.
        _ if error.is_some() => Some(refused(error.unwrap_or_default(), 200)),
        (ExchangeEnd::Cut(why), _) => failure(Degraded::Incomplete, &format!("the connection broke: {why}")),
        (ExchangeEnd::Broken, _) | (ExchangeEnd::Whole, None) => failure(Degraded::Incomplete, "the connection broke"),
        (ExchangeEnd::Whole, Some(200)) => None,
        (ExchangeEnd::Whole, Some(status @ 300..=399)) => {
            failure(Degraded::Error, &format!("HTTP {status}: a redirect, which is not followed"))
        }
        (ExchangeEnd::Whole, Some(status)) => Some(refused(&error_of(&exchange.body), status)),
    }
}

/// The server's words as a kind.
#[must_use]
pub fn refused(words: &str, status: u16) -> Failure {
    let lower = words.to_lowercase();
    let says = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    let kind = if is_out_of_memory(words) {
        Degraded::Oom
    // The same words mean a broken request where the client is to blame.
    } else if status / 100 != 4 && says(&["unexpectedly stopped", "unexpected eof", "runner process has terminated"]) {
        Degraded::Crashed
    } else if status == 503 {
        Degraded::Queued
    } else {
        Degraded::Error
    };
    let what = if says(&["exceed"]) && says(&["context"]) { "context exceeded: " } else { "" };
    Failure::new(kind, &format!("HTTP {status}: {what}{words}"))
}

/// Whether as many prompt tokens were evaluated as were sent.
#[must_use]
pub fn prompt_count(sent: u32, evaluated: u32) -> Option<Failure> {
    let kind = match evaluated.cmp(&sent) {
        std::cmp::Ordering::Less => Degraded::Truncated,
        std::cmp::Ordering::Equal => return None,
        std::cmp::Ordering::Greater => Degraded::Invariant,
    };
    Some(Failure::new(kind, &format!("{sent} prompt tokens sent, {evaluated} evaluated")))
}

/// Whether as many new tokens were made as were asked for. `reason`: why the server says it ended. That it reached the
/// length is believed only with the count: servers also say so when the context ended first.
#[must_use]
pub fn token_count(made: u32, asked: u32, reason: Option<&str>) -> Option<Failure> {
    if made > asked {
        return Some(Failure::new(Degraded::Invariant, &format!("{made} tokens made, {asked} asked for")));
    }
    if made == asked || reason == Some("stop") {
        return None;
    }
    let reason = reason.unwrap_or("nothing");
    let why = format!("{made} of {asked} tokens made, and the server says `{reason}`: not ended by a stop token");
    Some(Failure::new(Degraded::Incomplete, &why))
}
