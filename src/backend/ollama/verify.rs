//! What a server computes: greedy tokens with the log-probabilities it reports for them.
//!
//! The server shows tokens as text, so text is mapped back to ids; tokens that share their text, or that are no text
//! by themselves, cannot be told apart and are left out.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokenizers::Tokenizer;

use super::request::request;
use super::served::Served;
use super::speech::Speech;
use super::{OllamaBackend, wire};
use crate::backend::http::ClientError;
use crate::backend::{Backend, BackendError, CancelToken, Deadline, Surroundings};
use crate::model::{self, ModelSource, prompt};
use crate::scenario::OllamaSettings;

/// Most probable tokens a server reports at every step.
const TOP: usize = 20;

/// What a server made of one prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Greedy {
    /// The prompt, bos included.
    pub prompt_ids: Vec<u32>,
    /// The steps in order; the first falls out of the prefill. Ends where the server could not show a token.
    pub steps: Vec<GreedyStep>,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct GreedyStep {
    /// The token chosen.
    pub token: u32,
    /// The most probable tokens with their natural log-probabilities.
    pub top: Vec<(u32, f64)>,
}

/// Why a server could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// No server, or no model on it.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The folder gives no prompt.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// The server did not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The answer is not what it should be.
    #[error("prompt of {tokens} tokens: {why}")]
    Reply {
        /// The prompt's length.
        tokens: usize,
        /// What is wrong.
        why: String,
    },
}

/// Lets a server decode greedily after each prompt. Also returns the server's version.
///
/// # Errors
/// See [`VerifyError`].
pub fn greedy(
    source: &ModelSource,
    prompts: &[Vec<u32>],
    steps: u32,
    settings: OllamaSettings,
    surroundings: Surroundings,
) -> Result<(String, Vec<Greedy>), VerifyError> {
    let settings = OllamaSettings { temperature: 0.0, ..settings };
    let mut backend = OllamaBackend::new("ollama", settings.clone(), surroundings);
    let version = backend.describe()?.version.unwrap_or_default();
    let prepared = backend.prepare(source)?;
    let found = backend.found()?;
    let why = |why: &str| VerifyError::Reply { tokens: 0, why: why.to_owned() };
    let served = prepared.inner.downcast_ref::<Served>().ok_or_else(|| why("prepared for another engine"))?;
    let speech = served.speech.borrow();
    let Speech::Tokenizer(tokens) = &*speech else { return Err(why("the model has no folder")) };
    let bos = model::architecture(&source.form)?.bos_id;
    let ids = ids_by_text(tokens.tokenizer());
    let mut made = Vec::new();
    for prompt_ids in prompts {
        let failed = |why: String| VerifyError::Reply { tokens: prompt_ids.len(), why };
        let body_ids =
            if prompt_ids.first().copied() == bos { prompt_ids.get(1..).unwrap_or_default() } else { prompt_ids };
        let text = prompt::to_text(tokens.tokenizer(), body_ids)?;
        let mut body = request(&settings, served, &text, steps, 1);
        body["logprobs"] = json!(true);
        body["top_logprobs"] = json!(TOP);
        let by = Deadline(Duration::from_secs(600));
        let client = found.server.client();
        let exchange = client.exchange(Method::POST, "/api/generate", Some(&body), by, &CancelToken::default());
        client.succeeded("/api/generate", &exchange, by)?;
        let stream = wire::read(exchange.lines());
        let counted = stream.metrics.as_ref().and_then(|metrics| metrics.prompt_eval_count);
        if let Some(error) = stream.error.or(stream.malformed) {
            return Err(failed(error));
        }
        if counted.map(|count| count as usize) != Some(prompt_ids.len()) {
            return Err(failed(format!("the server evaluated {counted:?} tokens of it")));
        }
        let steps = stream.logprobs.iter().map_while(|entry| step(entry, &ids)).collect();
        made.push(Greedy { prompt_ids: prompt_ids.clone(), steps });
    }
    let unloaded = found.server.unload(&served.tag, Deadline(Duration::from_secs(60)), &CancelToken::default());
    unloaded.map_err(VerifyError::Client)?;
    Ok((version, made))
}

/// One entry of `logprobs`. `None`: the chosen token's text is no token's, or more than one's.
fn step(entry: &Value, ids: &BTreeMap<String, Option<u32>>) -> Option<GreedyStep> {
    let id = |entry: &Value| ids.get(entry["token"].as_str()?).copied().flatten();
    let top = entry["top_logprobs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let top = top.iter().filter_map(|entry| Some((id(entry)?, entry["logprob"].as_f64()?))).collect();
    Some(GreedyStep { token: id(entry)?, top })
}

/// Every text that is one token's, and which one. `None`: it is several tokens' text.
fn ids_by_text(tokenizer: &Tokenizer) -> BTreeMap<String, Option<u32>> {
    let mut ids: BTreeMap<String, Option<u32>> = BTreeMap::new();
    let size = u32::try_from(tokenizer.get_vocab_size(true)).unwrap_or(u32::MAX);
    for id in 0..size {
        let Some(text) = prompt::token_text(tokenizer, id) else { continue };
        ids.entry(text).and_modify(|known| *known = None).or_insert(Some(id));
    }
    ids
}
