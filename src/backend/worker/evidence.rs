//! What proves that compiled code ran. The worker says so itself; here its own counts are held against that.

use std::collections::BTreeMap;

use super::protocol as wire;
use super::reply::phase;
use super::text::clean;
use crate::backend::{Failure, Reply};
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
