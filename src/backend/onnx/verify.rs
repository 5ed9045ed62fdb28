//! Whether a loaded graph computes what a reference says: log-probabilities after the prompt and after every
//! decode step on the KV cache, fed with the reference's own tokens.

use std::path::Path;
use std::time::Duration;

use ort::session::RunOptions;

use super::OnnxBackend;
use super::batch::Batch;
use super::forward::{ForwardError, Pass, logits};
use super::session::OnnxSession;
use crate::backend::{Backend, BackendError, Call, CancelToken, Deadline, Failure, Probed, Session, Surroundings};
use crate::model::verify::{Agreement, compare, log_softmax};
use crate::model::{self, ModelSource};
use crate::scenario::{ArgMax, OnnxSettings};
use crate::terms::{Degraded, Procedure};

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
        let rows = teacher_forced(&mut session, &[reference.prompt_ids], 0, &[fed])
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
        let rows = teacher_forced(&mut session, std::slice::from_ref(prompt), 0, &[fed]);
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

/// Makes a call, then tells for each of its tokens which were the most probable ones, on the KV cache.
///
/// # Errors
/// The call failed, has no cache, or the runtime's words.
pub fn probe(session: &mut OnnxSession, call: &Call, top: u32, by: Deadline) -> Result<Probed, Failure> {
    let error = |why: &str| Failure::new(Degraded::Error, why);
    if call.procedure == Procedure::Uncached {
        return Err(error("a generation without a cache is not probed"));
    }
    let outcome = session.call(call, by, &CancelToken::default());
    if let Some(failure) = outcome.failure {
        return Err(failure);
    }
    let tokens = outcome.reply.unwrap_or_default().tokens;
    // What the last pass chose is never fed in.
    let fed: Vec<&[u32]> = tokens.iter().map(|row| row.split_last().map_or(&[][..], |(_, fed)| fed)).collect();
    let padded_to = usize::try_from(call.padded_to).unwrap_or(usize::MAX);
    let logits = teacher_forced(session, &call.prompts, padded_to, &fed).map_err(|why| error(&why.to_string()))?;
    let best = |logits: &Vec<f32>| {
        let row = log_softmax(logits).ok_or_else(|| error("the logits are no numbers"))?;
        let mut ranked: Vec<(u32, f64)> = (0..).zip(row).collect();
        ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        ranked.truncate(usize::try_from(top).unwrap_or(usize::MAX));
        Ok(ranked)
    };
    logits.iter().map(|row| row.iter().map(best).collect()).collect()
}

/// Logits per row and step: after the prompt, then after each of the row's `fed` tokens on the KV cache.
/// All rows are fed equally many. Prompts are padded on the left to the longest, or to `padded_to` if that is more.
///
/// # Errors
/// The runtime's words.
pub fn teacher_forced(
    session: &mut OnnxSession,
    prompts: &[Vec<u32>],
    padded_to: usize,
    fed: &[&[u32]],
) -> Result<Vec<Vec<Vec<f32>>>, ForwardError> {
    let length = prompts.iter().map(Vec::len).max().unwrap_or(0).max(padded_to);
    let steps = fed.iter().map(|tokens| tokens.len()).min().unwrap_or(0);
    let graph = &mut session.graph;
    let options = RunOptions::new()?;
    let mut batch = Batch::new(prompts, length, steps);
    let (mut past, mut present) = (graph.empty_cache(prompts.len())?, Vec::new());
    let mut found = vec![Vec::with_capacity(steps + 1); prompts.len()];
    for step in 0..=steps {
        if step > 0 {
            let tokens: Vec<_> = fed.iter().map(|row| i64::from(row[step - 1])).collect();
            batch.step(&tokens);
            std::mem::swap(&mut past, &mut present);
        }
        let pass = Pass { view: batch.view(), past: &past, options: &options, clock: &*session.clock };
        let answer = graph.forward(&pass, &mut present)?;
        for (row, logits) in found.iter_mut().zip(logits(&answer.value, prompts.len())?) {
            row.push(logits);
        }
    }
    Ok(found)
}
