//! What the protocol calls things, in our words.

use super::protocol as wire;
use super::protocol::error::Kind;
use super::text::message;
use crate::backend::Failure;
use crate::terms::{Degraded, Phase, Procedure};

/// An engine's error.
#[must_use]
pub fn failure(error: &wire::Error) -> Failure {
    let kind = match error.kind() {
        Kind::Oom => Degraded::Oom,
        Kind::CompileFailed | Kind::Recompile => Degraded::CompileFailed,
        Kind::Cancelled => Degraded::Incomplete,
        Kind::Fallback => Degraded::Fallback,
        Kind::Unspecified | Kind::Unsupported | Kind::Invalid | Kind::Internal => Degraded::Error,
    };
    let words = message(&error.message);
    Failure::new(kind, if words.is_empty() { "the worker gives no reason" } else { &words })
}

/// Phases of a procedure, in order.
#[must_use]
pub fn phases(procedure: Procedure) -> &'static [Phase] {
    match procedure {
        Procedure::Prefill => &[Phase::Prefill],
        Procedure::PrefillDecode => &[Phase::Prefill, Phase::KvDecode],
        Procedure::Uncached => &[Phase::GenerateUncached],
    }
}

/// The phase of a message. `None`: not one of this version.
#[must_use]
pub fn phase(phase: wire::Phase) -> Option<Phase> {
    match phase {
        wire::Phase::Unspecified => None,
        wire::Phase::Prefill => Some(Phase::Prefill),
        wire::Phase::KvDecode => Some(Phase::KvDecode),
        wire::Phase::GenerateUncached => Some(Phase::GenerateUncached),
    }
}
