//! Requests to a server as a client timed them: what the tools that send them have in common.
//!
//! The time to a first token is not prefill: queue, transport and the first token's own step are in it. What lies between chunks of a
//! stream is not a token's time, for a chunk may hold several; only the sum of all of it counts here, over the steps that the
//! tokens counted give.

use std::collections::{BTreeMap, BTreeSet};

use crate::terms::{Degraded, Mode, Procedure};
use crate::units::Nanos;

use super::sheet::{Sample, Series, ToldEngine, ToldModel};

/// What the time of each mode includes where a client timed a stream.
pub(super) fn boundary() -> BTreeMap<Mode, String> {
    let texts = [
        (
            Mode::Ttft,
            "from sending the request to the first chunk with text, by the client's clock: queue, network, prefill and the first \
             token's own step",
        ),
        (
            Mode::AfterFirst,
            "from the first chunk to the last, by the client's clock, over the tokens counted less one: chunks are not tokens, and \
             waiting for other requests is in it",
        ),
        (Mode::Request, "from sending the request to its last chunk, by the client's clock"),
        (Mode::Whole, "the whole request by the client's clock; prefill and decode cannot be told apart"),
    ];
    texts.into_iter().map(|(mode, text)| (mode, text.to_owned())).collect()
}

/// How a load is named: how many requests at once, and at which rate.
pub(super) fn load(at_once: Option<u32>, rate: Option<f64>) -> String {
    let mut name = match at_once {
        Some(n) => format!("{n} at once"),
        None => "any number at once".to_owned(),
    };
    if let Some(rate) = rate.filter(|rate| rate.is_finite()) {
        name.push_str(&format!(", {rate} requests/s"));
    }
    name
}

/// A label on figures of requests that shared the server. `None`: they came one by one.
pub(super) fn concurrency_note(at_once: Option<u32>) -> Option<String> {
    match at_once {
        Some(1) => None,
        Some(n) => Some(format!(
            "up to {n} requests at once: their times hold waiting for each other, and say nothing of one alone"
        )),
        None => Some("requests without a limit at once: their times hold waiting for each other".to_owned()),
    }
}

/// A request that a client timed to its first token and to its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streamed {
    pub(super) first: Nanos,
    /// From the first token to the last.
    pub(super) after: Option<Nanos>,
    pub(super) prompt: Option<u32>,
    pub(super) new: Option<u32>,
    pub(super) begin: Option<Nanos>,
}

impl Streamed {
    /// As a call. Without a time after the first token there is only that one.
    pub(super) fn sample(self, place: String) -> Sample {
        let after = self.after.map(|after| (Mode::AfterFirst, after));
        Sample {
            place,
            outcome: Ok([(Mode::Ttft, self.first)].into_iter().chain(after).collect()),
            begin: self.begin,
            prompt: self.prompt,
            new: self.new,
            steps: after.and(self.new).and_then(|new| new.checked_sub(1)).filter(|&steps| steps > 0),
        }
    }
}

/// A request that failed: it is in no figure, and counted.
pub(super) fn failed(place: String, kind: Degraded, why: &str) -> Sample {
    let why = why.lines().last().unwrap_or_default().trim();
    let why = if why.is_empty() { "the file gives no reason" } else { why };
    let outcome = Err((kind, why.chars().take(200).collect()));
    Sample { place, outcome, begin: None, prompt: None, new: None, steps: None }
}

/// One cell of requests: named by what they ask for where that is the same for all.
pub(super) fn series(place: &str, engine: ToldEngine, model: ToldModel, load: &str, samples: Vec<Sample>) -> Series {
    let good = || samples.iter().filter(|sample| sample.outcome.is_ok());
    let prompt_tokens = same(good().map(|sample| sample.prompt));
    let new = same(good().map(|sample| sample.new));
    let told = good().any(|sample| sample.new.is_some() || sample.prompt.is_some());
    let lengths = match (prompt_tokens, new) {
        (Some(prompt), Some(new)) => format!("{prompt}→{new} tokens"),
        _ if told => "mixed lengths".to_owned(),
        _ => "lengths not told".to_owned(),
    };
    Series {
        place: place.to_owned(),
        engine,
        model,
        scenario: format!("{lengths}, {load}"),
        procedure: Procedure::PrefillDecode,
        batch: 1,
        prompt_tokens,
        gen_tokens: new.filter(|_| prompt_tokens.is_some()).map_or(0, |new| new.saturating_sub(1)),
        samples,
        stated: Vec::new(),
    }
}

/// What all say, if they say the same.
fn same(values: impl Iterator<Item = Option<u32>>) -> Option<u32> {
    let distinct: BTreeSet<Option<u32>> = values.take(1_000_000).collect();
    if distinct.len() == 1 { distinct.into_iter().next().flatten() } else { None }
}
