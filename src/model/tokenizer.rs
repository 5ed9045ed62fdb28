//! Tokenizers: read from a folder, or made for a synthetic model.
//!
//! A synthetic vocabulary is byte-level BPE: [`BOS`], [`EOS`], the 256 bytes, and from [`FIRST_WORD`] on words of
//! lower-case letters after a space: ` a` … ` z`, ` aa` … ` zz`, ` aaa` and so on. Every word extends a shorter one by
//! one letter and has the one merge that says so, therefore a word's text always encodes to its one id, under every
//! pre-tokenizer that keeps a space with the letters after it, and a sequence of words survives the way to text and
//! back. Words are printable, distinct and not special, so a server that streams text shows every one of them.

use std::path::Path;

use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

use super::guarded::guarded;
use super::{Error, Result, bounded};

/// Id of the token every sequence starts with.
pub const BOS: u32 = 0;
/// Id of the token that ends a sequence.
pub const EOS: u32 = 1;
/// Id of byte 0; the other bytes follow.
pub const FIRST_BYTE: u32 = 2;
/// Id of the first word; the words end where the vocabulary ends.
pub const FIRST_WORD: u32 = 258;

const LETTERS: usize = 26;
/// The letter that byte-level vocabularies write for a space.
const SPACE: char = 'Ġ';

/// The largest synthetic vocabulary: words of up to four letters.
pub const MAX_VOCAB: usize = FIRST_WORD as usize + LETTERS * (1 + LETTERS * (1 + LETTERS * (1 + LETTERS)));

/// Reads a `tokenizer.json`. Whether it says to cut or to pad texts makes no difference: a prompt is what its text gives.
///
/// # Errors
/// The file is missing or the tokenizers crate refuses it.
pub fn read(path: &Path) -> Result<Tokenizer> {
    let bytes = bounded::bytes(path, bounded::TOKENIZER)?;
    let mut tokenizer = guarded(|| Tokenizer::from_bytes(bytes)).map_err(|why| Error::malformed(path, why))?;
    let refused = |e: tokenizers::Error| Error::malformed(path, e);
    tokenizer.with_truncation(None).map_err(refused)?.with_padding(None);
    Ok(tokenizer)
}

/// What a `tokenizer.json` says that [`read`] switches off: `truncation`, `padding`. Empty: nothing, or it cannot be read.
#[must_use]
pub fn switched_off(path: &Path) -> Vec<String> {
    let text = bounded::bytes(path, bounded::TOKENIZER).unwrap_or_default();
    let said: Value = serde_json::from_slice(&text).unwrap_or_default();
    let keys = ["truncation", "padding"].into_iter().filter(|key| said.get(key).is_some_and(|value| !value.is_null()));
    keys.map(str::to_owned).collect()
}

/// The tokenizer of a synthetic model with this vocabulary.
///
/// # Errors
/// The tokenizers crate refuses what [`synthetic_json`] made.
pub fn synthetic(vocab: usize) -> Result<Tokenizer> {
    let text = synthetic_json(vocab).to_string();
    Tokenizer::from_bytes(text).map_err(|e| Error::Tokenizer(e.to_string()))
}

/// The `tokenizer.json` of a synthetic model. `vocab` lies between [`FIRST_WORD`] and [`MAX_VOCAB`].
#[must_use]
pub fn synthetic_json(vocab: usize) -> Value {
    let mut ids = Map::new();
    let mut merges = Vec::new();
    for text in ["<|bos|>", "<|eos|>"] {
        ids.insert(text.to_owned(), json!(ids.len()));
    }
    for letter in byte_letters() {
        ids.insert(letter.to_string(), json!(ids.len()));
    }
    for n in 0..vocab.saturating_sub(FIRST_WORD as usize) {
        let mut stem = format!("{SPACE}{}", word(n));
        ids.insert(stem.clone(), json!(ids.len()));
        if let Some(last) = stem.pop() {
            merges.push(json!([stem, last.to_string()]));
        }
    }
    let special = |id: u32, text: &str| {
        json!({ "id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true })
    };
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [special(BOS, "<|bos|>"), special(EOS, "<|eos|>")],
        "normalizer": null,
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "post_processor": null,
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": false,
            "vocab": ids,
            "merges": merges,
        },
    })
}

/// True for the ids a synthetic model should not produce: bos, eos, and bytes that are no printable ASCII.
///
/// A server that streams text holds back incomplete characters and ends at eos, so none of these may win.
#[must_use]
pub fn is_unprintable(id: usize) -> bool {
    let byte = id.checked_sub(FIRST_BYTE as usize);
    id < FIRST_WORD as usize && !byte.is_some_and(|b| (0x20..0x7f).contains(&b))
}

/// The n-th word without its space: all of one letter, then all of two.
fn word(n: usize) -> String {
    let (mut n, mut letters, mut count) = (n, 1, LETTERS);
    while n >= count {
        n -= count;
        letters += 1;
        count *= LETTERS;
    }
    let mut word = vec!['a'; letters];
    for letter in word.iter_mut().rev() {
        *letter = char::from(b'a' + u8::try_from(n % LETTERS).unwrap_or(0));
        n /= LETTERS;
    }
    word.into_iter().collect()
}

/// The letter that stands for each byte in byte-level vocabularies: itself where it can be printed, else the next
/// unused one from U+0100 on.
fn byte_letters() -> impl Iterator<Item = char> {
    let mut next = 0x100;
    (0..=u8::MAX).map(move |byte| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
        _ => {
            next += 1;
            char::from_u32(next - 1).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn words_count_like_an_odometer() {
        for (n, text) in [(0, "a"), (25, "z"), (26, "aa"), (701, "zz"), (702, "aaa"), (18_277, "zzz"), (18_278, "aaaa")]
        {
            assert_eq!(word(n), text);
        }
    }

    #[test]
    fn every_word_is_one_token_and_comes_back() {
        let tokenizer = synthetic(20_000).unwrap();
        assert_eq!(tokenizer.get_vocab_size(true), 20_000);
        for id in FIRST_WORD..20_000 {
            let text = tokenizer.decode(&[id], false).unwrap();
            let ids = tokenizer.encode(text.as_str(), false).unwrap();
            assert_eq!(ids.get_ids(), [id], "{text:?}");
        }
    }

    #[test]
    fn any_text_comes_back() {
        for vocab in [FIRST_WORD as usize, 300, 50_257] {
            let tokenizer = synthetic(vocab).unwrap();
            for text in ["the rain in Spain", " x\n\ty  z", "naïve – 漢字 🦀", "don't 12345", ""] {
                let ids = tokenizer.encode(text, false).unwrap();
                assert!(ids.get_ids().iter().all(|&id| id >= FIRST_BYTE && (id as usize) < vocab));
                assert_eq!(tokenizer.decode(ids.get_ids(), false).unwrap(), text);
            }
        }
    }

    #[test]
    fn bytes_keep_their_published_letters() {
        let letters: Vec<char> = byte_letters().collect();
        assert_eq!(letters.len(), 256);
        assert_eq!((letters[0], letters[32], letters[127], letters[173]), ('Ā', 'Ġ', 'ġ', 'Ń'));
        assert!(is_unprintable(BOS as usize) && is_unprintable(FIRST_BYTE as usize + 10));
        assert!(!is_unprintable(FIRST_BYTE as usize + 65) && !is_unprintable(FIRST_WORD as usize));
    }
}
