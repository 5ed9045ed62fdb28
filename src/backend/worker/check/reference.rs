//! What the worker computes, held against ONNX Runtime on the same folder: its log-probabilities where it tells them, else
//! the tokens that it chooses. ONNX Runtime is fed the worker's tokens, so that every step is comparable.

use std::sync::Arc;

use super::bench::Bench;
use super::finding::Tried;
use crate::backend::onnx::verify::{VerifyError, logits_along};
use crate::backend::worker::protocol::{CallReply, CallRequest, Procedure};
use crate::backend::{BackendError, Surroundings};
use crate::model::verify::{Closeness, log_softmax};
use crate::scenario::OnnxSettings;
use crate::terms::Dtype;
use crate::units::significant;

/// Prompts compared.
const PROMPTS: u32 = 3;

/// Decode steps of each.
const STEPS: u32 = 16;

/// Most probable tokens compared at each step.
const TOP: u32 = 8;

/// A prompt and what the worker answered.
pub type Probed = (Vec<u32>, CallReply);

/// Largest difference of a log-probability.
fn allowed(dtype: Dtype) -> f64 {
    match dtype {
        Dtype::F32 => 1e-4,
        Dtype::F16 | Dtype::AsServed => 2e-2,
    }
}

/// What the worker answers to some prompts, and whether it tells log-probabilities.
pub async fn ask(bench: Arc<Bench>) -> (Result<Vec<Probed>, String>, bool) {
    let tells = bench.live.who.capabilities.logprobs;
    let mut probed = Vec::new();
    for salt in 0..PROMPTS {
        let prompt = bench.prompt(5 + salt, salt);
        let request = bench.request_of(bench.procedure(), std::slice::from_ref(&prompt), STEPS);
        let top_logprobs = if tells { TOP } else { 0 };
        match bench.good(CallRequest { top_logprobs, ..request }).await {
            Ok(answered) => probed.push((prompt, answered.reply)),
            Err(why) => return (Err(why), tells),
        }
    }
    (Ok(probed), tells)
}

/// Holds them against ONNX Runtime.
pub fn judge(
    bench: &Bench,
    probed: Result<Vec<Probed>, String>,
    tells: bool,
    dtype: Dtype,
    surroundings: Surroundings,
) -> Tried {
    let probed = match probed {
        Ok(probed) => probed,
        Err(why) => return Tried::Fail(why),
    };
    let mut fed = Vec::new();
    for (prompt, reply) in &probed {
        let Some(row) = reply.tokens.first() else { return Tried::Fail("no tokens of the row".to_owned()) };
        if row.ids.iter().any(|&id| id >= bench.model.vocabulary) {
            return Tried::Fail("a token is none of the model's".to_owned());
        }
        fed.push((prompt.clone(), row.ids[..row.ids.len().saturating_sub(1)].to_vec()));
    }
    let settings = OnnxSettings { dtype, ..OnnxSettings::default() };
    let logits = match logits_along(&bench.model.source, &fed, settings, surroundings) {
        Ok(logits) => logits,
        Err(VerifyError::Backend(BackendError::Unavailable { what, fix, .. })) => {
            return Tried::Not(format!("no ONNX Runtime to hold it against: {what}; try: {fix}"));
        }
        Err(error) => return Tried::Not(format!("ONNX Runtime cannot run this model: {error}")),
    };
    let of =
        |(reply, rows): (&CallReply, &Vec<Vec<f32>>)| if tells { told(reply, rows) } else { Ok(chosen(reply, rows)) };
    let found = probed.iter().map(|(_, reply)| reply).zip(&logits).map(of).collect::<Result<Vec<_>, _>>();
    let found = match found {
        Ok(found) => found.into_iter().flatten().reduce(Closeness::and),
        Err(why) => return Tried::Fail(why),
    };
    verdict(found, tells, allowed(dtype), bench.procedure())
}

fn verdict(found: Option<Closeness>, tells: bool, allowed: f64, procedure: Procedure) -> Tried {
    let Some(found) = found else { return Tried::Fail("there is nothing to compare".to_owned()) };
    let what = if tells { "log-probabilities" } else { "tokens" };
    let (largest, steps) = (significant(found.largest_difference, 2), found.steps);
    let words = match tells {
        true => format!("{} {what} of {steps} steps differ from ONNX Runtime's by at most {largest}", found.values),
        false => format!(
            "{steps} {what} are at most {largest} less probable in ONNX Runtime than the most probable one; \
             log-probabilities are not told"
        ),
    };
    let words = format!("{words} ({})", procedure.as_str_name());
    if found.largest_difference <= allowed {
        Tried::Pass(words)
    } else {
        Tried::Fail(format!("{words}; {} is allowed", significant(allowed, 1)))
    }
}

/// Of the log-probabilities that the worker tells.
fn told(reply: &CallReply, rows: &[Vec<f32>]) -> Result<Option<Closeness>, String> {
    let [row] = &reply.logprobs[..] else {
        return Err(format!("log-probabilities of {} rows, 1 asked for", reply.logprobs.len()));
    };
    if row.tokens.len() != rows.len() {
        return Err(format!("log-probabilities of {} tokens, {} expected", row.tokens.len(), rows.len()));
    }
    let chosen = reply.tokens.first().map(|row| &row.ids[..]).unwrap_or_default();
    let mut all = None;
    for ((place, row), id) in row.tokens.iter().zip(rows).zip(chosen) {
        if place.ids.len() != place.logprobs.len() || place.ids.is_empty() {
            let (ids, values) = (place.ids.len(), place.logprobs.len());
            return Err(format!("{ids} ids and {values} log-probabilities at one place"));
        }
        if place.ids[0] != *id {
            return Err(format!("token {id} is chosen where {} is told to be the most probable", place.ids[0]));
        }
        let top: Vec<(u32, f64)> = place.ids.iter().copied().zip(place.logprobs.iter().copied()).collect();
        all = together(all, close(&top, row));
    }
    Ok(all)
}

/// Of the tokens alone: how much less probable than the best one each is by ONNX Runtime.
fn chosen(reply: &CallReply, rows: &[Vec<f32>]) -> Option<Closeness> {
    let chosen = reply.tokens.first().map(|row| &row.ids[..]).unwrap_or_default();
    let mut all = None;
    for (&id, row) in chosen.iter().zip(rows) {
        let best = log_softmax(row)?.into_iter().fold(f64::NEG_INFINITY, f64::max);
        all = together(all, close(&[(id, best)], row));
    }
    all
}

fn close(top: &[(u32, f64)], row: &[f32]) -> Option<Closeness> {
    let row = log_softmax(row)?;
    Closeness::of(top, |id| row.get(id as usize).copied())
}

fn together(one: Option<Closeness>, other: Option<Closeness>) -> Option<Closeness> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.and(other)),
        (one, other) => one.or(other),
    }
}
