//! What a worker answers, checked and turned into what the program knows. Nothing a worker says is believed without
//! bounds: a reply that cannot be is a failed call, never a number.

use std::collections::{BTreeMap, HashMap};

use super::clock::Mapping;
use super::evidence;
use super::protocol as wire;
use super::text::{MOST_ENTRIES, clean, map};
use super::words::{failure, phase, phases};
use crate::backend::{Call, Failure, LoadReport, Memory, Outcome, Probed, Reply, Span};
use crate::terms::{Attribution, Degraded, Finish, Phase, Procedure};
use crate::units::{Bytes, Nanos};

/// Engine duration that is the decode phase's time outside the engine, see [`Reply::outside_engine`].
pub const OUTSIDE_ENGINE: &str = "outside_engine";

/// Part of a load that is no part of it, see [`LoadReport::proof`].
pub const PLACEMENT_PROOF: &str = "placement_proof";

/// What a reply is held against.
pub struct Asked<'a> {
    /// The call.
    pub call: &'a Call,
    /// Phases that were to be compiled, and with what.
    pub compiled: &'a BTreeMap<Phase, String>,
    /// Tokens that the model knows.
    pub vocabulary: usize,
    /// The worker's clock.
    pub mapping: Mapping,
    /// When the call was sent and its answer there, on the run's clock.
    pub window: (Nanos, Nanos),
}

/// What came of a call.
#[must_use]
pub fn outcome(reply: wire::CallReply, asked: &Asked<'_>) -> Outcome {
    let session_usable = reply.session_usable;
    let failure = reply.error.as_ref().map(failure);
    let whole = failure.is_none();
    match convert(reply, asked, whole) {
        Ok(reply) => {
            let failure = failure.or_else(|| evidence::fallen_back(&reply, asked.compiled));
            Outcome { reply: Some(reply), failure, session_usable }
        }
        Err(why) => {
            let failure = failure.unwrap_or_else(|| {
                Failure::new(Degraded::Invariant, &format!("the worker's reply contradicts itself or the call: {why}"))
            });
            Outcome { reply: None, failure: Some(failure), session_usable }
        }
    }
}

fn convert(reply: wire::CallReply, asked: &Asked<'_>, whole: bool) -> Result<Reply, String> {
    let call = asked.call;
    let steps = reply.steps_timed;
    if steps > call.steps {
        return Err(format!("{steps} decode steps timed, {} asked for", call.steps));
    }
    let spans = spans(&reply.spans, steps, asked, whole)?;
    let step_ends = step_ends(&reply.step_ends_ns, steps, &spans, asked.mapping)?;
    let tokens = tokens(reply.tokens, steps, asked, whole)?;
    let rows = call.prompts.len();
    if !reply.prompt_tokens.is_empty() && reply.prompt_tokens.len() != rows {
        return Err(format!("prompt tokens of {} rows, {rows} asked for", reply.prompt_tokens.len()));
    }
    let mut engine_durations = durations(reply.durations_ns);
    let compile = reply.phases.into_iter().map(|phase| evidence::of(phase, false));
    Ok(Reply {
        outside_engine: engine_durations.remove(OUTSIDE_ENGINE),
        spans,
        engine_durations,
        steps_timed: steps,
        prompt_tokens: Some(reply.prompt_tokens).filter(|rows| !rows.is_empty()),
        prompt_cached: None,
        new_tokens: tokens.iter().map(|row| count(row.len())).collect(),
        tokens,
        finish: Some(if whole && steps == call.steps { Finish::Length } else { Finish::Interrupted }),
        attribution: reply.attribution.map(attribution).unwrap_or_default(),
        step_ends,
        round_trip: None,
        scripted_foreign_cpu: None,
        memory: reply.memory.map(memory).unwrap_or_default(),
        compile: compile.take(evidence::MOST).collect::<Result<_, _>>()?,
    })
}

/// The phases of the call in order, each inside what comes before and after it, all inside the call as we saw it.
fn spans(found: &[wire::Span], steps: u32, asked: &Asked<'_>, whole: bool) -> Result<Vec<Span>, String> {
    let expected = phases(asked.call.procedure);
    let told: Vec<Option<Phase>> = found.iter().map(|span| phase(span.phase())).collect();
    let in_order = told.len() <= expected.len() && told.iter().zip(expected).all(|(told, phase)| *told == Some(*phase));
    // A decode of no steps takes no time and need not be told.
    let needed = expected.iter().filter(|&&phase| phase == Phase::Prefill || steps > 0).count();
    if !in_order || (whole && told.len() < needed) {
        let names = |phases: &[Phase]| phases.iter().map(|phase| phase.as_str()).collect::<Vec<_>>().join(", ");
        let told: Vec<Phase> = told.into_iter().flatten().take(4).collect();
        return Err(format!("{} phases timed ({}), expected {}", found.len(), names(&told), names(expected)));
    }
    let slack = asked.mapping.uncertainty;
    let (sent, received) = asked.window;
    let mut last = sent;
    let mut spans = Vec::with_capacity(found.len());
    for (span, &phase) in found.iter().zip(expected) {
        if span.end_ns < span.begin_ns {
            return Err(format!("{phase} ends before it begins"));
        }
        let (begin, end) = (asked.mapping.run(span.begin_ns), asked.mapping.run(span.end_ns));
        if begin + slack < last {
            return Err(format!("{phase} begins {} before what comes before it has ended", last.since(begin)));
        }
        last = end;
        spans.push(Span {
            phase,
            begin,
            end,
            clock: asked.mapping.clock,
            uncertainty: slack,
            mean_power_w: None,
            device: span.device_ns.map(Nanos),
        });
    }
    if last > received + slack {
        return Err(format!("the last phase ends {} after the answer was there", last.since(received)));
    }
    Ok(spans)
}

fn step_ends(found: &[u64], steps: u32, spans: &[Span], mapping: Mapping) -> Result<Vec<Nanos>, String> {
    if found.is_empty() {
        return Ok(Vec::new());
    }
    if found.len() != steps as usize {
        return Err(format!("ends of {} steps, {steps} timed", found.len()));
    }
    let ends: Vec<Nanos> = found.iter().map(|&end| mapping.run(end)).collect();
    let inside = spans.last().is_some_and(|span| ends.iter().all(|&end| end >= span.begin && end <= span.end));
    if !inside || !ends.is_sorted() {
        return Err("the steps' ends are not in order inside their phase".to_owned());
    }
    Ok(ends)
}

fn tokens(found: Vec<wire::Prompt>, steps: u32, asked: &Asked<'_>, whole: bool) -> Result<Vec<Vec<u32>>, String> {
    let call = asked.call;
    let rows = call.prompts.len();
    let made = made(call.procedure, steps);
    let fits = |row: &wire::Prompt| if whole { count(row.ids.len()) == made } else { count(row.ids.len()) <= made };
    if (whole && found.len() != rows) || found.len() > rows || !found.iter().all(fits) {
        return Err(format!("expected {made} new tokens in each of {rows} rows"));
    }
    known(found.iter().flat_map(|row| &row.ids), asked.vocabulary)?;
    Ok(found.into_iter().map(|row| row.ids).collect())
}

/// Whether every id names a token.
fn known<'a>(mut ids: impl Iterator<Item = &'a u32>, vocabulary: usize) -> Result<(), String> {
    let stray = ids.find(|&&id| usize::try_from(id).is_ok_and(|id| id >= vocabulary));
    stray.map_or(Ok(()), |id| Err(format!("a new token has the id {id}, and the model knows {vocabulary} tokens")))
}

/// The most probable tokens of a probe.
///
/// # Errors
/// Not so many as the call makes, not as many ids as log-probabilities, or an id that names no token:
/// [`Degraded::Invariant`].
pub fn probed(found: &[wire::RowLogprobs], call: &Call, vocabulary: usize) -> Result<Probed, Failure> {
    let made = made(call.procedure, call.steps);
    let (rows, whole) = (call.prompts.len(), |row: &wire::RowLogprobs| count(row.tokens.len()) == made);
    let paired = |token: &wire::TokenLogprobs| token.ids.len() == token.logprobs.len();
    if found.len() != rows || !found.iter().all(|row| whole(row) && row.tokens.iter().all(paired)) {
        let why = format!("expected log-probabilities of {made} new tokens in each of {rows} rows");
        return Err(Failure::new(Degraded::Invariant, &why));
    }
    known(found.iter().flat_map(|row| &row.tokens).flat_map(|token| &token.ids), vocabulary)
        .map_err(|why| Failure::new(Degraded::Invariant, &why))?;
    let token = |token: &wire::TokenLogprobs| token.ids.iter().copied().zip(token.logprobs.iter().copied()).collect();
    Ok(found.iter().map(|row| row.tokens.iter().map(token).collect()).collect())
}

/// New tokens per row.
fn made(procedure: Procedure, steps: u32) -> u32 {
    match procedure {
        Procedure::Prefill => 1,
        Procedure::PrefillDecode => steps.saturating_add(1),
        Procedure::Uncached => steps,
    }
}

fn durations(found: HashMap<String, u64>) -> BTreeMap<String, Nanos> {
    let sorted: BTreeMap<String, u64> = found.into_iter().collect();
    sorted.into_iter().take(MOST_ENTRIES).map(|(name, time)| (clean(&name), Nanos(time))).collect()
}

/// What proves where work ran.
#[must_use]
pub fn attribution(found: wire::Attribution) -> Attribution {
    Attribution {
        requested: clean(&found.requested),
        actual: found.actual.map(|actual| clean(&actual)).filter(|actual| !actual.is_empty()),
        evidence: map(found.evidence).into(),
    }
}

fn memory(found: wire::Memory) -> Memory {
    Memory {
        host_rss: found.host_rss_bytes.map(Bytes),
        host_peak: found.host_peak_bytes.map(Bytes),
        device_used: found.device_used_bytes.map(Bytes),
        kv: found.kv_bytes.map(Bytes),
    }
}

/// What a load proved; `before` are the parts of starting the worker.
#[must_use]
pub fn loaded(reply: wire::LoadReply, before: Vec<(String, Nanos)>) -> LoadReport {
    let (proof, engine): (Vec<_>, Vec<_>) =
        reply.parts.into_iter().take(MOST_ENTRIES).partition(|part| part.name == PLACEMENT_PROOF);
    let (rss, device) = (|m: &wire::Memory| m.host_rss_bytes, |m: &wire::Memory| m.device_used_bytes);
    let (first, last) = (reply.before.unwrap_or_default(), reply.after.unwrap_or_default());
    LoadReport {
        parts: before
            .into_iter()
            .chain(engine.into_iter().map(|part| (clean(&part.name), Nanos(part.duration_ns))))
            .collect(),
        attribution: reply.attribution.map(attribution).unwrap_or_default(),
        host_rss_before: rss(&first).map(Bytes),
        host_rss_after: rss(&last).map(Bytes),
        device_bytes: device(&last).map(|after| Bytes(after.saturating_sub(device(&first).unwrap_or(0)))),
        proof: proof.first().map(|part| Nanos(part.duration_ns)),
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
