//! A model made ready on the server: uploaded from its folder or found in the server's own store, and how its prompts
//! become text.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use reqwest::Method;

use super::manage::{NAMESPACE, Shown};
use super::request::request;
use super::served::Served;
use super::speech::{Speech, Tokens, Words};
use super::{KnownServer, OllamaBackend, version, wire};
use crate::backend::{BackendError, CancelToken, Deadline, Prepared};
use crate::model::{self, ModelSource, Precision, gguf};
use crate::terms::Dtype;
use crate::terms::model::ServedShape;
use crate::units::Bytes;

impl OllamaBackend {
    /// Brings a folder's weights to the server, unless they are there, and checks that it counts the same parameters.
    pub(super) fn prepare_folder(&self, found: &KnownServer, model: &ModelSource) -> Result<Prepared, BackendError> {
        let failed = |why: &dyn std::fmt::Display| self.prepare_error(model, why);
        let cache = &self.surroundings.cache;
        let folder = model::materialise(&model.form, cache).map_err(|e| failed(&e))?;
        let precision = match self.settings.dtype {
            Dtype::F16 => Precision::F16,
            Dtype::F32 | Dtype::AsServed => Precision::F32,
        };
        let exported = gguf::export(&folder, precision, cache).map_err(|e| failed(&e))?;
        let tag =
            format!("{NAMESPACE}{}:{}-{}", tag_name(&model.name), self.settings.dtype.as_str(), &exported.sha256[..12]);
        let cancel = CancelToken::default();
        if found.server.digest(&tag, &cancel).map_err(|e| self.refused_for(model, &e))?.is_none() {
            found
                .server
                .create(&tag, &exported.path, &exported.sha256, &cancel)
                .map_err(|e| self.refused_for(model, &e))?;
        }
        let missing = || failed(&format!("the server took `{tag}` and does not have it"));
        let shown = found.server.show(&tag, &cancel).map_err(|e| self.refused_for(model, &e))?.ok_or_else(missing)?;
        let params = folder.parameters();
        if shown.params != Some(params) {
            let counted = shown.params.map_or_else(|| "none".to_owned(), |n| n.to_string());
            return Err(failed(&format!("the server counts {counted} parameters in `{tag}`, the folder has {params}")));
        }
        let architecture = folder.architecture().clone();
        let tokens = Tokens::new(folder.tokenizer().map_err(|e| failed(&e))?, &architecture, self.salt());
        let served = self.served(&tag, &shown, Speech::Tokenizer(Box::new(tokens))).map_err(|why| failed(&why))?;
        Ok(Prepared {
            model: model.name.clone(),
            weights_id: folder.weights_id().map_err(|e| failed(&e))?,
            dtype: self.settings.dtype,
            params: Some(params),
            bytes: Some(Bytes(exported.bytes)),
            path: Some(exported.path),
            shape: None,
            quantisation: shown.quantisation.clone(),
            inner: Box::new(served),
        })
    }

    /// A model that the server has and nobody else.
    pub(super) fn prepare_served(
        &self,
        found: &KnownServer,
        model: &ModelSource,
        tag: &str,
    ) -> Result<Prepared, BackendError> {
        let failed = |why: &dyn std::fmt::Display| self.prepare_error(model, why);
        let cancel = CancelToken::default();
        let shown = found.server.show(tag, &cancel).map_err(|e| self.refused_for(model, &e))?;
        let Some(shown) = shown else {
            let what = format!("the server at {} has no model `{tag}`", found.server.client().url());
            return Err(self.unavailable(&what, &format!("ollama pull {tag}")));
        };
        if shown.remote {
            return Err(failed(&format!("`{tag}` runs on another machine")));
        }
        let digest = found.server.digest(tag, &cancel).map_err(|e| self.refused_for(model, &e))?;
        let digest = digest.ok_or_else(|| failed(&format!("the server lists no digest of `{tag}`")))?;
        let words = self.words(found, tag, &shown, &cancel).map_err(|why| failed(&why))?;
        let served = self.served(tag, &shown, Speech::Words(words)).map_err(|why| failed(&why))?;
        Ok(Prepared {
            model: model.name.clone(),
            weights_id: format!("ollama-{}", digest.chars().take(16).collect::<String>()),
            dtype: Dtype::AsServed,
            params: shown.params,
            bytes: None,
            path: None,
            shape: Some(shape(&shown)),
            quantisation: shown.quantisation.clone(),
            inner: Box::new(served),
        })
    }

    fn served(&self, tag: &str, shown: &Shown, speech: Speech) -> Result<Served, String> {
        let format = shown.format.as_deref().unwrap_or_default();
        let runner = version::Runner::of_format(format).ok_or_else(|| {
            format!("`{tag}` is stored as `{format}`, whose decode clock is not known; known: gguf, safetensors")
        })?;
        let longest = shown.context_length.and_then(|n| u32::try_from(n).ok()).unwrap_or(self.settings.num_ctx);
        Ok(Served {
            tag: tag.to_owned(),
            runner,
            context: self.settings.num_ctx.min(longest),
            speech: Rc::new(RefCell::new(speech)),
            nonces: Rc::new(Cell::new(self.salt() & 0xffff)),
            history: Rc::default(),
            size: Rc::default(),
        })
    }

    /// Finds words that the server counts as one token each, by asking it to count.
    fn words(&self, found: &KnownServer, tag: &str, shown: &Shown, cancel: &CancelToken) -> Result<Words, String> {
        let speech = Speech::Words(Words::new(Vec::new(), 0));
        let served = self.served(tag, shown, speech)?;
        let count = |words: &[&str]| -> Result<u32, String> {
            let body = request(&self.settings, &served, &words.join(" "), 1, 1);
            let by = Deadline(Duration::from_secs(600));
            let exchange = found.server.client().exchange(Method::POST, "/api/generate", Some(&body), by, cancel);
            found.server.client().succeeded("/api/generate", &exchange, by).map_err(|e| e.to_string())?;
            let reply = wire::read(exchange.lines());
            if let Some(words) = reply.error.or(reply.malformed) {
                return Err(format!("`{tag}` answers a prompt with: {words}"));
            }
            let counted = reply.metrics.and_then(|metrics| metrics.prompt_eval_count);
            counted.ok_or_else(|| format!("`{tag}` does not say how many tokens a prompt has"))
        };
        let first = COMMON_WORDS[0];
        let alone = count(&[first])?;
        let added = (2 * alone).saturating_sub(count(&[first, first])?);
        if alone != added + 1 {
            return Err(format!("`{tag}` counts `{first}` as {} tokens", alone.saturating_sub(added)));
        }
        let mut single = Vec::new();
        keep_single(&COMMON_WORDS[1..], alone, &mut |words| count(&[&[first], words].concat()), &mut single)?;
        if single.len() < 16 {
            return Err(format!(
                "`{tag}` counts only {} of {} common words as one token",
                single.len(),
                COMMON_WORDS.len()
            ));
        }
        let words = std::iter::once(first).chain(single).map(str::to_owned).collect();
        Ok(Words::new(words, added))
    }
}

/// Common words, short ones: one token each in nearly every vocabulary.
const COMMON_WORDS: [&str; 64] = [
    "the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "was", "with", "be", "by", "on", "not", "he",
    "his", "but", "at", "are", "this", "have", "from", "or", "had", "an", "they", "which", "one", "you", "were", "all",
    "her", "she", "there", "would", "their", "we", "him", "been", "has", "when", "who", "will", "no", "more", "if",
    "out", "so", "up", "said", "what", "its", "about", "than", "into", "them", "can", "only", "other", "time", "new",
    "some",
];

/// Keeps the words that count as one token each after the first word, halving where a group does not add up.
fn keep_single<'a>(
    words: &[&'a str],
    before: u32,
    count: &mut dyn FnMut(&[&str]) -> Result<u32, String>,
    kept: &mut Vec<&'a str>,
) -> Result<(), String> {
    if words.is_empty() {
        return Ok(());
    }
    if usize::try_from(count(words)?.saturating_sub(before)) == Ok(words.len()) {
        kept.extend(words);
    } else if words.len() > 1 {
        let (left, right) = words.split_at(words.len() / 2);
        keep_single(left, before, count, kept)?;
        keep_single(right, before, count, kept)?;
    }
    Ok(())
}

/// A model's name as a tag may hold it.
fn tag_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c.to_ascii_lowercase() } else { '-' }).collect()
}

fn shape(shown: &Shown) -> ServedShape {
    ServedShape {
        architecture: shown.architecture.clone(),
        n_layer: shown.n_layer,
        n_embd: shown.n_embd,
        n_head: shown.n_head,
        n_kv_head: shown.n_kv_head,
        n_positions: shown.context_length,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn words_of_more_than_one_token_are_left_out() {
        let words = ["a", "bb", "c", "ddd", "e"];
        let mut asked = 0;
        let mut count = |words: &[&str]| {
            asked += 1;
            Ok(2 + words.iter().map(|word| u32::try_from(word.len()).unwrap()).sum::<u32>())
        };
        let mut kept = Vec::new();
        keep_single(&words, 2, &mut count, &mut kept).unwrap();
        assert_eq!(kept, ["a", "c", "e"]);
        assert!(asked <= 9, "{asked}");
    }

    #[test]
    fn names_become_tags() {
        assert_eq!(tag_name("GPT2_25m.v1"), "gpt2-25m-v1");
    }
}
