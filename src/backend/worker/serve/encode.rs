//! What an engine of this program says, as messages. Its times are on the kernel's clock already.

use std::collections::BTreeMap;

use crate::backend::worker::protocol as wire;
use crate::backend::worker::protocol::error::Kind;
use crate::backend::worker::reply::{OUTSIDE_ENGINE, PLACEMENT_PROOF};
use crate::backend::worker::text::message;
use crate::backend::{Description, Failure, LoadReport, Outcome, Reply};
use crate::terms::{Attribution, CompileEvidence, Degraded, Phase};
use crate::units::{Bytes, Nanos};

/// An error in an engine's words.
#[must_use]
pub fn error(kind: Kind, words: &str) -> wire::Error {
    wire::Error { kind: kind.into(), message: message(words) }
}

/// A failure. `began`: whether the engine took the request up at all.
#[must_use]
pub fn failure(failure: &Failure, began: bool) -> wire::Error {
    let kind = match failure.kind {
        Degraded::Oom => Kind::Oom,
        Degraded::CompileFailed => Kind::CompileFailed,
        Degraded::Fallback => Kind::Fallback,
        Degraded::Incomplete | Degraded::Timeout => Kind::Cancelled,
        Degraded::Error if !began => Kind::Invalid,
        _ => Kind::Internal,
    };
    error(kind, &failure.message)
}

/// An engine that cannot be had.
#[must_use]
pub fn undescribed(kind: Kind, why: &str, fix: &str) -> wire::DescribeReply {
    wire::DescribeReply { error: Some(error(kind, why)), fix: fix.to_owned(), ..Default::default() }
}

/// What an engine is.
#[must_use]
pub fn description(found: Description) -> wire::DescribeReply {
    wire::DescribeReply {
        error: None,
        fix: String::new(),
        engine: found.engine,
        engine_version: found.version.unwrap_or_default(),
        facts: found.facts.into_iter().collect(),
        boundary: found.boundary.into_iter().map(|(mode, text)| (mode.as_str().to_owned(), text)).collect(),
    }
}

/// What a load proved.
#[must_use]
pub fn loaded(report: &LoadReport) -> wire::LoadReply {
    let part = |(name, time): (String, Nanos)| wire::Part { name, duration_ns: time.0 };
    let proof = report.proof.map(|time| (PLACEMENT_PROOF.to_owned(), time));
    let memory = |rss: Option<Bytes>, device: Option<Bytes>| wire::Memory {
        host_rss_bytes: rss.map(|rss| rss.0),
        device_used_bytes: device.map(|device| device.0),
        ..Default::default()
    };
    wire::LoadReply {
        error: None,
        parts: report.parts.iter().cloned().chain(proof).map(part).collect(),
        attribution: Some(attribution(&report.attribution)),
        before: Some(memory(report.host_rss_before, report.device_bytes.map(|_| Bytes(0)))),
        after: Some(memory(report.host_rss_after, report.device_bytes)),
    }
}

fn attribution(found: &Attribution) -> wire::Attribution {
    wire::Attribution {
        requested: found.requested.clone(),
        actual: found.actual.clone(),
        evidence: BTreeMap::<String, String>::from(found.evidence.clone()).into_iter().collect(),
    }
}

/// What came of a call.
#[must_use]
pub fn outcome(outcome: Outcome) -> wire::CallReply {
    let began = outcome.reply.is_some() || !outcome.session_usable;
    let error = outcome.failure.as_ref().map(|found| failure(found, began));
    let reply = outcome.reply.map(reply).unwrap_or_default();
    wire::CallReply { error, session_usable: outcome.session_usable, ..reply }
}

fn reply(found: Reply) -> wire::CallReply {
    let span = |span: crate::backend::Span| wire::Span {
        phase: phase(span.phase).into(),
        begin_ns: span.begin.0,
        end_ns: span.end.0,
        device_ns: span.device.map(|time| time.0),
    };
    let outside = found.outside_engine.map(|time| (OUTSIDE_ENGINE.to_owned(), time));
    wire::CallReply {
        error: None,
        session_usable: true,
        spans: found.spans.into_iter().map(span).collect(),
        steps_timed: found.steps_timed,
        tokens: found.tokens.into_iter().map(|ids| wire::Prompt { ids }).collect(),
        prompt_tokens: found.prompt_tokens.unwrap_or_default(),
        step_ends_ns: found.step_ends.iter().map(|end| end.0).collect(),
        durations_ns: found.engine_durations.into_iter().chain(outside).map(|(name, time)| (name, time.0)).collect(),
        memory: Some(wire::Memory {
            host_rss_bytes: found.memory.host_rss.map(|bytes| bytes.0),
            host_peak_bytes: found.memory.host_peak.map(|bytes| bytes.0),
            device_used_bytes: found.memory.device_used.map(|bytes| bytes.0),
            kv_bytes: found.memory.kv.map(|bytes| bytes.0),
        }),
        attribution: Some(attribution(&found.attribution)),
        phases: found.compile.iter().map(evidence).collect(),
        logprobs: Vec::new(),
    }
}

/// The most probable tokens for every new token of a row.
#[must_use]
pub fn logprobs(row: &[Vec<(u32, f64)>]) -> wire::RowLogprobs {
    let token = |best: &Vec<(u32, f64)>| {
        let (ids, logprobs) = best.iter().copied().unzip();
        wire::TokenLogprobs { ids, logprobs }
    };
    wire::RowLogprobs { tokens: row.iter().map(token).collect() }
}

fn phase(phase: Phase) -> wire::Phase {
    match phase {
        Phase::Prefill => wire::Phase::Prefill,
        Phase::KvDecode => wire::Phase::KvDecode,
        Phase::GenerateUncached => wire::Phase::GenerateUncached,
    }
}

/// What a compiler did.
#[must_use]
pub fn evidence(found: &CompileEvidence) -> wire::PhaseEvidence {
    wire::PhaseEvidence {
        phase: phase(found.phase).into(),
        requested: found.backend_requested.clone(),
        actual: found.backend_actual.clone(),
        calls: found.calls,
        executions: found.executions,
        unique_graphs: found.unique_graphs,
        graph_breaks: found.graph_breaks,
        recompiles: found.recompiles,
        guard_failures: found.guard_failures,
        cache_hits: found.cache_hits,
        cache_misses: found.cache_misses,
        compile_ns: found.compile_ns.0,
        duration_ns: found.duration_ns.unwrap_or_default().0,
        reasons: found.reasons.clone(),
        bucket: found.bucket.unwrap_or(0),
    }
}
