//! Prompts as text, of an exact number of tokens, each with a leading part that no earlier prompt had.
//!
//! A server keeps the keys and values of earlier prompts and evaluates only what follows the longest common
//! beginning. The nonce comes first, right after BOS, so that nothing but BOS is ever common. Its number of tokens is
//! the same in every call of a model.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokenizers::Tokenizer;

use crate::hash::seeded;
use crate::model::prompt;
use crate::model::prompt::{ordinary_ids, to_text};
use crate::terms::model::Architecture;

/// With at least so many ordinary tokens one is enough for a nonce that does not come again in a session.
const PLENTY: usize = 4096;

/// Times a prompt is mended whose text does not encode to as many tokens as it was made of.
const MENDS: u32 = 64;

/// A prompt as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoken {
    /// The text.
    pub text: String,
    /// Tokens the server must count, BOS included. `None`: only the server can count them, and has not yet.
    pub tokens: Option<u32>,
    /// The nonce as it stands in the text, for the record.
    pub nonce: String,
    /// Leading tokens that prompts with different nonces may have in common, BOS included, at most.
    pub shared: u32,
}

/// How a model's prompts become text.
pub enum Speech {
    /// The folder's tokenizer counts.
    Tokenizer(Box<Tokens>),
    /// The server counts; words that it was seen to count as one token each make the prompts.
    Words(Words),
}

/// Prompts by the model's own tokenizer.
pub struct Tokens {
    tokenizer: Tokenizer,
    bos: Option<u32>,
    ordinary: Vec<u32>,
    nonce_tokens: usize,
}

/// Prompts of words that are one token each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// The words, the first of which begins every prompt.
    pub words: Vec<String>,
    /// Tokens the server adds: 1 with a BOS, else 0.
    pub added: u32,
    /// Counts of texts that the server has counted, by scenario.
    counted: BTreeMap<String, u32>,
}

impl Tokens {
    /// For a model folder's tokenizer. `salt` decides the order of nonces.
    #[must_use]
    pub fn new(tokenizer: Tokenizer, architecture: &Architecture, salt: u64) -> Self {
        let mut ordinary: Vec<u32> = ordinary_ids(architecture).collect();
        ordinary.shuffle(&mut ChaCha8Rng::seed_from_u64(salt));
        let nonce_tokens = if ordinary.len() >= PLENTY { 1 } else { 2 };
        Self { tokenizer, bos: architecture.bos_id, ordinary, nonce_tokens }
    }

    /// The tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The n-th nonce: digits in the base of the vocabulary, so that none comes twice before all have come.
    fn nonce(&self, number: u64, room: usize) -> Vec<u32> {
        let base = self.ordinary.len().max(1) as u64;
        let digits = self.nonce_tokens.min(room);
        let mut rest = number;
        let mut nonce = Vec::with_capacity(digits);
        for _ in 0..digits {
            let digit = usize::try_from(rest % base).unwrap_or(0);
            nonce.extend(self.ordinary.get(digit));
            rest /= base;
        }
        nonce
    }

    /// A prompt of exactly as many tokens as `ids`, whose first ones after BOS are the nonce.
    ///
    /// # Errors
    /// The prompt has no room for a nonce, or no text was found that encodes to so many tokens.
    fn speak(&self, ids: &[u32], number: u64) -> Result<Spoken, String> {
        let body = match (self.bos, ids.first()) {
            (Some(bos), Some(first)) if bos == *first => &ids[1..],
            _ => ids,
        };
        let nonce = self.nonce(number, body.len());
        if nonce.is_empty() {
            return Err(format!("a prompt of {} tokens has no room for a nonce after BOS", ids.len()));
        }
        let words = |e: crate::model::Error| e.to_string();
        let mut random = ChaCha8Rng::seed_from_u64(number);
        let mut wanted: Vec<u32> = nonce.iter().chain(&body[nonce.len()..]).copied().collect();
        for _ in 0..MENDS {
            let text = to_text(&self.tokenizer, &wanted).map_err(words)?;
            let found = prompt::from_text(&self.tokenizer, None, &text).map_err(words)?;
            if found.len() == body.len() {
                let nonce = to_text(&self.tokenizer, &nonce).map_err(words)?;
                let shared = usize::from(self.bos.is_some()) + self.nonce_tokens - 1;
                let (tokens, shared) = (u32::try_from(ids.len()).ok(), u32::try_from(shared).unwrap_or(u32::MAX));
                return Ok(Spoken { text, tokens, nonce, shared });
            }
            // Neighbours merged, or a token came apart: what the tokenizer makes of it is kept and fitted in length.
            wanted = found;
            wanted.truncate(body.len());
            while wanted.len() < body.len() {
                wanted.push(self.ordinary[random.random_range(0..self.ordinary.len())]);
            }
        }
        Err(format!("no text was found that the tokenizer encodes to {} tokens", ids.len()))
    }
}

impl Words {
    /// Words that one server counts as one token each.
    #[must_use]
    pub fn new(words: Vec<String>, added: u32) -> Self {
        Self { words, added, counted: BTreeMap::new() }
    }

    /// Two words after the fixed first one.
    fn nonce(&self, number: u64) -> [&str; 2] {
        let base = self.words.len().max(1) as u64;
        let word = |n: u64| self.words.get(usize::try_from(n % base).unwrap_or(0)).map_or("", String::as_str);
        [word(number), word(number / base)]
    }

    fn speak(&self, scenario: &str, row: &Row<'_>, number: u64) -> Result<Spoken, String> {
        let first = self.words.first().ok_or("the server counts no word as one token")?;
        let nonce = self.nonce(number);
        // The fixed first word, and one of the nonce's two.
        let shared = self.added + 2;
        if let Some(text) = row.text {
            let tokens = self.counted.get(scenario).copied();
            let nonce = format!("{first} {} {}", nonce[0], nonce[1]);
            return Ok(Spoken { text: format!("{nonce} {text}"), tokens, nonce, shared });
        }
        let words = row.tokens.saturating_sub(self.added) as usize;
        if words < 3 {
            return Err(format!("a prompt of {} tokens has no room for a nonce after the first word", row.tokens));
        }
        let mut random = ChaCha8Rng::seed_from_u64(seeded(0, &["words", scenario]));
        let mut said = vec![first.as_str(), nonce[0], nonce[1]];
        said.extend((3..words).map(|_| self.words[random.random_range(0..self.words.len())].as_str()));
        Ok(Spoken { text: said.join(" "), tokens: Some(row.tokens), nonce: nonce.join(" "), shared })
    }

    /// Remembers what the server counted of a scenario's text.
    pub fn learn(&mut self, scenario: &str, tokens: u32) {
        self.counted.entry(scenario.to_owned()).or_insert(tokens);
    }
}

/// What a call says about its one row.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Token ids, BOS included; empty where only the server has a tokenizer.
    pub ids: &'a [u32],
    /// The text, where the scenario gave one.
    pub text: Option<&'a str>,
    /// Tokens asked for, where the scenario gave a count.
    pub tokens: u32,
}

impl Speech {
    /// Leading tokens that all prompts have in common, which a server that keeps prompts evaluates only once.
    #[must_use]
    pub fn always_shared(&self) -> u32 {
        match self {
            Self::Tokenizer(tokens) => u32::from(tokens.bos.is_some()),
            // And the fixed first word.
            Self::Words(words) => words.added + 1,
        }
    }

    /// The text of a call's row with the nonce of this number.
    ///
    /// # Errors
    /// There is no such text; in words.
    pub fn speak(&self, scenario: &str, row: &Row<'_>, number: u64) -> Result<Spoken, String> {
        match self {
            Self::Tokenizer(tokens) => tokens.speak(row.ids, number),
            Self::Words(words) => words.speak(scenario, row, number),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::tokenizer;
    use crate::terms::model::{Family, Synthetic};

    fn tokens(vocab: usize) -> (Tokens, Architecture) {
        let architecture = Synthetic { vocab, ..Synthetic::new(Family::Gpt2, 1, 4, 2) }.architecture().unwrap();
        (Tokens::new(tokenizer::synthetic(vocab).unwrap(), &architecture, 5), architecture)
    }

    #[test]
    fn every_prompt_is_exact_and_begins_as_none_before() {
        for vocab in [300, 50_257] {
            let (speech, architecture) = tokens(vocab);
            let ids = prompt::random_ids(&architecture, 17, 3).unwrap();
            let mut begins = BTreeSet::new();
            for number in 0..500 {
                let spoken = speech.speak(&ids, number).unwrap();
                assert_eq!(spoken.tokens, Some(17));
                let found = prompt::from_text(&speech.tokenizer, speech.bos, &spoken.text).unwrap();
                assert_eq!(found.len(), 17, "{:?}", spoken.text);
                assert_eq!(found[1 + speech.nonce_tokens..], ids[1 + speech.nonce_tokens..]);
                assert!(begins.insert(found[1..=speech.nonce_tokens].to_vec()), "nonce {number} came before");
            }
        }
    }

    #[test]
    fn the_shortest_prompt_is_bos_and_a_nonce() {
        let (speech, _) = tokens(50_257);
        assert_eq!(speech.speak(&[tokenizer::BOS, 300], 1).unwrap().tokens, Some(2));
        assert!(speech.speak(&[tokenizer::BOS], 1).unwrap_err().contains("no room for a nonce"));
    }

    #[test]
    fn words_make_exact_prompts_too() {
        let words = Words::new(["the", "a", "of", "to"].map(str::to_owned).to_vec(), 1);
        let row = Row { ids: &[], text: None, tokens: 9 };
        let spoken = words.speak("s", &row, 6).unwrap();
        assert_eq!(spoken.text.split(' ').count(), 8);
        assert!(spoken.text.starts_with("the of a "), "{}", spoken.text);
        assert_ne!(spoken, words.speak("s", &row, 7).unwrap());
        assert!(words.speak("s", &Row { tokens: 3, ..row }, 0).is_err());
    }

    #[test]
    fn a_text_is_counted_by_the_server_once() {
        let mut words = Words::new(["the", "a"].map(str::to_owned).to_vec(), 0);
        let row = Row { ids: &[], text: Some("hello there"), tokens: 0 };
        assert_eq!(words.speak("s", &row, 0).unwrap().tokens, None);
        words.learn("s", 7);
        assert_eq!(words.speak("s", &row, 1).unwrap().tokens, Some(7));
    }
}
