//! What proves that compiled code ran. The worker says so itself; here its own counts are held against that.

use std::collections::BTreeMap;

use super::protocol as wire;
use super::text::clean;
use super::words::{failure, phase};
use crate::backend::{CompileFailure, Failure, Outcome, Reply};
use crate::terms::{CompileEvidence, Degraded, Phase};
use crate::units::Nanos;

/// Most phases one call can have evidence of.
pub const MOST: usize = 3;

/// Most reasons that are kept.
const MOST_REASONS: usize = 8;

/// One phase's evidence. `compiling`: it is of a Compile, whose phases have a time of their own.
///
/// # Errors
/// The phase is none of this protocol's.
pub fn of(found: wire::PhaseEvidence, compiling: bool) -> Result<CompileEvidence, String> {
    let phase = phase(found.phase()).ok_or_else(|| format!("evidence of the unknown phase {}", found.phase))?;
    Ok(CompileEvidence {
        phase,
        backend_requested: clean(&found.requested),
        backend_actual: found.actual.map(|actual| clean(&actual)).filter(|actual| !actual.is_empty()),
        calls: found.calls,
        executions: found.executions,
        unique_graphs: found.unique_graphs,
        graph_breaks: found.graph_breaks,
        recompiles: found.recompiles,
        guard_failures: found.guard_failures,
        cache_hits: found.cache_hits,
        cache_misses: found.cache_misses,
        compile_ns: Nanos(found.compile_ns),
        duration_ns: compiling.then_some(Nanos(found.duration_ns)),
        reasons: found.reasons.iter().take(MOST_REASONS).map(|reason| clean(reason)).collect(),
        bucket: Some(found.bucket).filter(|&bucket| bucket > 0),
    })
}

/// What a Compile did. `stopped`: why it was asked to stop. `None`: nobody asked.
///
/// # Errors
/// It did not do what was asked; what it proved all the same is kept.
pub fn of_compile(reply: wire::CompileReply, stopped: Option<Failure>) -> Result<Vec<CompileEvidence>, CompileFailure> {
    let phases = reply.phases.into_iter().take(MOST).map(|phase| of(phase, true)).collect::<Result<Vec<_>, _>>();
    let failure = reply.error.as_ref().map(|error| stopped.unwrap_or_else(|| failure(error)));
    let (phases, failure) = match (phases, failure) {
        (Ok(phases), None) => return Ok(phases),
        (Ok(phases), Some(failure)) => (phases, failure),
        (Err(why), failure) => (Vec::new(), failure.unwrap_or_else(|| Failure::new(Degraded::Invariant, &why))),
    };
    Err(CompileFailure { failure, phases, session_usable: true })
}

/// Adds the engine's reasons to a fallback that came without any: it gave them when it compiled.
pub fn recall(outcome: &mut Outcome, broken: &BTreeMap<Phase, Vec<String>>) {
    let Some(failure) = outcome.failure.as_mut().filter(|failure| failure.kind == Degraded::Fallback) else { return };
    let found = outcome.reply.iter().flat_map(|reply| &reply.compile);
    let silent = found.filter(|evidence| evidence.reasons.is_empty() && evidence.complaint().is_some());
    let reasons: Vec<String> = silent.filter_map(|evidence| broken.get(&evidence.phase)).flatten().cloned().collect();
    if !reasons.is_empty() {
        let words = format!("{}; said when it was compiled: {}", failure.message, reasons.join("; "));
        *failure = Failure::new(failure.kind, &words);
    }
}

/// Whether a phase that was to be compiled is not proved to have run compiled, whatever the worker calls it.
#[must_use]
pub fn fallen_back(reply: &Reply, compiled: &BTreeMap<Phase, String>) -> Option<Failure> {
    let why = reply.spans.iter().find_map(|span| {
        let found = reply.compile.iter().find(|evidence| evidence.phase == span.phase);
        match (compiled.get(&span.phase), found) {
            (Some(wanted), None) => {
                Some(format!("{} was to run compiled by {wanted}, and nothing proves it", span.phase))
            }
            (Some(wanted), Some(found)) if found.backend_requested != *wanted => {
                let asked = &found.backend_requested;
                Some(format!("{} was to run compiled by {wanted}, and the worker ran {asked}", span.phase))
            }
            (_, Some(found)) if found.compiles() => found.complaint(),
            _ => None,
        }
    })?;
    Some(Failure::new(Degraded::Fallback, &why))
}
