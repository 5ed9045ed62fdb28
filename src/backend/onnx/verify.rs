//! Whether a loaded graph computes what a reference says: log-probabilities after the prompt and after every
//! decode step on the KV cache, fed with the reference's own tokens.

use std::path::Path;
use std::time::Duration;

use super::OnnxBackend;
use super::forward::ForwardError;
use super::session::OnnxSession;
use crate::backend::{Backend, BackendError, CancelToken, Deadline, Failure, Surroundings};
use crate::model::verify::{Agreement, compare};
use crate::model::{self, ModelSource};
use crate::scenario::{ArgMax, OnnxSettings};

/// How far the engine is from one prompt of the reference.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// The prompt, for people.
    pub prompt: String,
    /// Steps compared, the prefill among them.
    pub steps: usize,
    /// The differences.
    pub agreement: Agreement,
}

/// Why a model could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// No runtime, or no graph.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The reference cannot be read.
    #[error(transparent)]
    Reference(#[from] model::Error),
    /// The graph does not load.
    #[error("loading failed: {0}")]
    Load(Failure),
    /// The graph does not run.
    #[error("prompt {prompt:?}: {why}")]
    Forward {
        /// The prompt of the reference.
        prompt: String,
        /// The runtime's words.
        why: ForwardError,
    },
    /// There is nothing to compare.
    #[error("prompt {prompt:?}: no step to compare, or logits that are no numbers")]
    Nothing {
        /// The prompt of the reference.
        prompt: String,
    },
}

/// Exports a model, loads it and compares it with the reference at `reference`.
///
/// # Errors
/// See [`VerifyError`]. A large difference is no error; it is what is returned.
pub fn verify(
    source: &ModelSource,
    reference: &Path,
    settings: OnnxSettings,
    surroundings: Surroundings,
) -> Result<Vec<Verified>, VerifyError> {
    let references = model::verify::read(reference)?;
    let mut session = load(source, settings, surroundings)?;
    let mut verified = Vec::new();
    for reference in references {
        let prompt = reference.prompt;
        // What the last step chose is never fed in.
        let fed: Vec<_> = reference.steps.iter().map(|step| step.token).collect();
        let fed = &fed[..fed.len().saturating_sub(1)];
        let rows = session
            .teacher_forced(&[reference.prompt_ids], 0, &[fed])
            .map_err(|why| VerifyError::Forward { prompt: prompt.clone(), why })?;
        let logits = rows.into_iter().next().unwrap_or_default();
        let Some(agreement) = compare(&reference.steps, &logits) else {
            return Err(VerifyError::Nothing { prompt });
        };
        verified.push(Verified { prompt, steps: logits.len(), agreement });
    }
    Ok(verified)
}

/// Logits after each of several prompts and after each of the tokens fed to it: what another engine is compared with.
///
/// # Errors
/// See [`VerifyError`].
pub fn logits_along(
    source: &ModelSource,
    prompts: &[(Vec<u32>, Vec<u32>)],
    settings: OnnxSettings,
    surroundings: Surroundings,
) -> Result<Vec<Vec<Vec<f32>>>, VerifyError> {
    let mut session = load(source, settings, surroundings)?;
    let mut found = Vec::new();
    for (prompt, fed) in prompts {
        let rows = session.teacher_forced(std::slice::from_ref(prompt), 0, &[fed]);
        let rows = rows.map_err(|why| VerifyError::Forward { prompt: format!("{} tokens", prompt.len()), why })?;
        found.extend(rows);
    }
    Ok(found)
}

fn load(source: &ModelSource, settings: OnnxSettings, surroundings: Surroundings) -> Result<OnnxSession, VerifyError> {
    let settings = OnnxSettings { arg_max: ArgMax::Outside, ..settings };
    let mut backend = OnnxBackend::new("verify", settings, surroundings);
    backend.describe()?;
    let prepared = backend.prepare(source)?;
    let by = Deadline(Duration::from_secs(3600));
    backend.load_session(&prepared, by, &CancelToken::default()).map_err(VerifyError::Load)
}
