//! How engines fail: one call or load, the compiling of one shape, or the engine as a whole.

use crate::secret::without_passwords;
use crate::terms::{CompileEvidence, Degraded};

/// Why a call or load failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct Failure {
    /// The kind it is recorded as.
    pub kind: Degraded,
    /// The engine's words, bounded, without terminal escapes.
    pub message: String,
}

impl Failure {
    /// Longest message kept.
    const MAX: usize = 2000;

    /// A failure with the engine's words made harmless: control characters and passwords out, length bounded.
    #[must_use]
    pub fn new(kind: Degraded, message: &str) -> Self {
        let clean =
            without_passwords(message).chars().filter(|c| !c.is_control() || *c == '\n').take(Self::MAX).collect();
        Self { kind, message: clean }
    }
}

/// A shape that was not compiled as asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{failure}")]
pub struct CompileFailure {
    /// What went wrong.
    pub failure: Failure,
    /// What the compiler did all the same, as far as it is told: graph breaks, time, the engine's reasons.
    pub phases: Vec<CompileEvidence>,
    /// Whether the session can take calls.
    pub session_usable: bool,
}

/// Why an engine cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// Something it needs is not here.
    #[error("backend `{backend}`: {what}\n  try: {fix}")]
    Unavailable {
        /// The backend's name in the scenario file.
        backend: String,
        /// What is missing.
        what: String,
        /// The command or setting that helps.
        fix: String,
    },
    /// A model could not be made ready.
    #[error("model `{model}` for backend `{backend}`: {why}")]
    Prepare {
        /// The model's name.
        model: String,
        /// The backend's name.
        backend: String,
        /// What went wrong.
        why: String,
    },
    /// The engine could not free a session.
    #[error("backend `{backend}`: {why}")]
    Close {
        /// The backend's name.
        backend: String,
        /// The engine's words.
        why: String,
    },
}
