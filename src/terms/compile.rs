//! What a compiler did.

use serde::{Deserialize, Serialize};

use super::Phase;
use crate::units::Nanos;

/// What a compiler did in one phase, counted over one call or one compile step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompileEvidence {
    /// The phase.
    pub phase: Phase,
    /// `eager`, or the compiler's backend that was asked for, e.g. `inductor`.
    pub backend_requested: String,
    /// What ran. `None`: nothing proves it.
    pub backend_actual: Option<String>,
    /// Calls made to the model.
    pub calls: u64,
    /// Executions of compiled code they led to: fewer mean that something ran uncompiled.
    pub executions: u64,
    /// Graphs compiled meanwhile.
    pub unique_graphs: u64,
    /// Places where a graph was broken.
    pub graph_breaks: u64,
    /// Compilations beyond the first of the phase.
    pub recompiles: u64,
    /// Guards that did not hold.
    pub guard_failures: u64,
    /// Graphs found in the compiler's cache on disk.
    pub cache_hits: u64,
    /// Graphs not found there.
    pub cache_misses: u64,
    /// Time spent compiling meanwhile.
    pub compile_ns: Nanos,
    /// Time of the phase, compilation included. `None`: a call's, whose span tells it.
    pub duration_ns: Option<Nanos>,
    /// Why graphs were broken or compiled again, in the engine's words.
    pub reasons: Vec<String>,
    /// Columns really computed where prompts are padded to a bucket. `None`: no buckets.
    pub bucket: Option<u32>,
}

impl CompileEvidence {
    /// What a phase that is not compiled calls its backend.
    pub const EAGER: &'static str = "eager";

    /// Whether a compiler was asked for.
    #[must_use]
    pub fn compiles(&self) -> bool {
        self.backend_requested != Self::EAGER
    }

    /// What speaks against every call having run as asked. `None`: all did.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let Self { phase, backend_requested: wanted, calls, executions, .. } = self;
        let reasons = if self.reasons.is_empty() { String::new() } else { format!(": {}", self.reasons.join("; ")) };
        match &self.backend_actual {
            None => Some(format!("{phase} was to run compiled by {wanted}, and nothing proves it{reasons}")),
            Some(actual) if actual != wanted => {
                Some(format!("{phase} was to run compiled by {wanted}, and ran {actual}{reasons}"))
            }
            Some(_) if executions < calls || *calls == 0 => {
                Some(format!("{phase}: {executions} executions of compiled code in {calls} calls{reasons}"))
            }
            Some(_) => None,
        }
    }
}
