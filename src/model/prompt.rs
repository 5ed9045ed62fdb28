//! Prompts of an exact number of tokens, the leading bos included.

use std::io::Read as _;
use std::ops::Range;
use std::path::Path;

use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokenizers::Tokenizer;

use super::guarded::guarded;
use super::{Error, Result, bounded, tokenizer};
use crate::terms::model::Architecture;

/// With fewer words than this a prompt is made of bytes, lest it repeat itself.
const FEWEST_WORDS: u32 = 26;

/// `n` token ids: bos, then random ordinary ones. The same seed gives the same ids, whatever the weights.
///
/// Ordinary ids are the words of a synthetic vocabulary. In a trained one they are the ids from the same place up to
/// the first bos or eos: special and unused tokens stand at the end of every vocabulary that is not sorted so already.
/// `bos_id: None` leaves bos out.
///
/// # Errors
/// `n` is 0.
pub fn random_ids(arch: &Architecture, n: usize, seed: u64) -> Result<Vec<u32>> {
    if n == 0 {
        return Err(Error::PromptLength { wanted: 0, found: "the shortest has 1".to_owned() });
    }
    let ordinary = ordinary_ids(arch);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut ids: Vec<u32> = arch.bos_id.into_iter().collect();
    while ids.len() < n {
        ids.push(random.random_range(ordinary.clone()));
    }
    Ok(ids)
}

/// The ids of a text, bos first.
///
/// Text that spells a special token is that token. `bos: None` leaves bos out.
///
/// # Errors
/// The tokenizer refuses, or nothing comes out.
pub fn from_text(tokenizer: &Tokenizer, bos: Option<u32>, text: &str) -> Result<Vec<u32>> {
    let encoded = guarded(|| tokenizer.encode_fast(text, false)).map_err(Error::Tokenizer)?;
    let ids: Vec<u32> = bos.into_iter().chain(encoded.get_ids().iter().copied()).collect();
    if ids.is_empty() {
        return Err(Error::PromptLength { wanted: 1, found: "the text has none".to_owned() });
    }
    Ok(ids)
}

/// Fewest bytes of a file that are looked at.
const FIRST_LOOK: u64 = 1 << 14;
/// Most bytes of a file that are looked at, and most for each token besides.
const MOST: (u64, u64) = (1 << 22, 1 << 10);

/// The first `n` ids of a text file, bos first.
///
/// No more of the file is read than that takes: the beginning is read until twice as much of it gives the same ids.
///
/// # Errors
/// The file cannot be read, is no regular file, is not UTF-8, or has fewer tokens; the number found is named.
pub fn from_file(tokenizer: &Tokenizer, bos: Option<u32>, path: &Path, n: usize) -> Result<Vec<u32>> {
    let most = MOST.0.saturating_add(MOST.1.saturating_mul(n as u64));
    let mut length = FIRST_LOOK.max(8 * n as u64).min(most);
    let mut before: Option<Vec<u32>> = None;
    loop {
        let beginning = Beginning::read(path, length)?;
        let mut ids = from_text(tokenizer, bos, &beginning.text)?;
        let found = ids.len();
        ids.truncate(n);
        let enough = n > 0 && found >= n;
        if enough && (beginning.whole || before.as_ref() == Some(&ids)) {
            return Ok(ids);
        }
        if beginning.whole || length == most {
            let place = if beginning.whole { String::new() } else { format!(" in its first {} MiB", most >> 20) };
            let found = format!("{} has {found}{place}", path.display());
            return Err(Error::PromptLength { wanted: n, found });
        }
        before = enough.then_some(ids);
        length = (2 * length).min(most);
    }
}

/// The beginning of a text file, up to a whole character.
struct Beginning {
    text: String,
    /// Whether that is all of it.
    whole: bool,
}

impl Beginning {
    fn read(path: &Path, length: u64) -> Result<Self> {
        let (file, _) = bounded::open(path)?;
        let mut bytes = Vec::new();
        file.take(length + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
        bounded::refuse_pointer(path, &bytes)?;
        let whole = bytes.len() as u64 <= length;
        let readable = match std::str::from_utf8(&bytes) {
            Ok(text) => text.len(),
            // A character that the cut divides.
            Err(error) if !whole && error.error_len().is_none() => error.valid_up_to(),
            Err(error) => return Err(Error::malformed(path, format!("not UTF-8: {error}"))),
        };
        bytes.truncate(readable);
        let text = String::from_utf8(bytes).map_err(|e| Error::malformed(path, e))?;
        Ok(Self { text, whole })
    }
}

/// Refuses ids that the model has no row for: a tokenizer may have tokens that were added after the model was made.
///
/// # Errors
/// The first such id, with its token.
pub fn within_vocabulary(tokenizer: &Tokenizer, arch: &Architecture, ids: &[u32]) -> Result<()> {
    let Some(&id) = ids.iter().find(|&&id| id as usize >= arch.vocab) else {
        return Ok(());
    };
    let token = tokenizer.id_to_token(id).unwrap_or_default();
    Err(Error::BeyondVocabulary { id, token, vocab: arch.vocab })
}

/// The text of token ids; special ones are left out.
///
/// # Errors
/// The tokenizer refuses.
pub fn to_text(tokenizer: &Tokenizer, ids: &[u32]) -> Result<String> {
    guarded(|| tokenizer.decode(ids, true)).map_err(Error::Tokenizer)
}

/// The text of one token, special or not. `None`: it has none.
#[must_use]
pub fn token_text(tokenizer: &Tokenizer, id: u32) -> Option<String> {
    guarded(|| tokenizer.decode(&[id], false)).ok()
}

/// Ids that are neither special nor bytes, as far as a vocabulary has such; never empty.
pub fn ordinary_ids(arch: &Architecture) -> Range<u32> {
    let vocab = u32::try_from(arch.vocab).unwrap_or(u32::MAX);
    let specials = || arch.bos_id.iter().chain(&arch.eos_ids).copied();
    let first = tokenizer::FIRST_WORD;
    let end = specials().filter(|&id| id >= first).fold(vocab, u32::min);
    if end >= first + FEWEST_WORDS {
        return first..end;
    }
    // Printable bytes where they stand in a synthetic vocabulary, the space left out because it joins a word.
    let printable = tokenizer::FIRST_BYTE + 0x21..tokenizer::FIRST_BYTE + 0x7f;
    if vocab >= printable.end { printable } else { 0..vocab.max(1) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;

    use super::*;
    use crate::terms::model::{Family, Synthetic};

    fn recipe(vocab: usize) -> Synthetic {
        Synthetic { vocab, ..Synthetic::new(Family::Gpt2, 1, 4, 2) }
    }

    #[test]
    fn random_prompts_are_exact_reproducible_and_survive_text() {
        for vocab in [258, 259, 290, 300, 50_257] {
            let arch = recipe(vocab).architecture().unwrap();
            let tokenizer = tokenizer::synthetic(vocab).unwrap();
            for n in [1, 2, 9, 512] {
                let ids = random_ids(&arch, n, 7).unwrap();
                assert_eq!(ids, random_ids(&arch, n, 7).unwrap());
                assert_eq!((ids.len(), ids[0]), (n, tokenizer::BOS));
                assert!(ids[1..].iter().all(|&id| !arch.is_special(id)));
                let text = to_text(&tokenizer, &ids).unwrap();
                assert_eq!(from_text(&tokenizer, arch.bos_id, &text).unwrap(), ids, "vocabulary {vocab}, {n} tokens");
            }
            assert_ne!(random_ids(&arch, 64, 1).unwrap(), random_ids(&arch, 64, 2).unwrap());
        }
    }

    #[test]
    fn special_and_unused_ids_of_trained_vocabularies_are_avoided() {
        for (vocab, bos, eos, last) in [(50_257, 50_256, 50_256, 50_256), (151_936, 151_643, 151_645, 151_643)] {
            let mut arch = recipe(300).architecture().unwrap();
            (arch.vocab, arch.bos_id, arch.eos_ids) = (vocab, Some(bos), vec![eos]);
            assert_eq!(ordinary_ids(&arch), tokenizer::FIRST_WORD..last);
        }
    }

    #[test]
    fn a_file_is_cut_or_too_short() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), " ab cd ef gh").unwrap();
        let tokenizer = tokenizer::synthetic(2000).unwrap();
        let ids = from_file(&tokenizer, Some(0), file.path(), 3).unwrap();
        assert_eq!(to_text(&tokenizer, &ids).unwrap(), " ab cd");
        assert_eq!(from_file(&tokenizer, Some(0), file.path(), 5).unwrap().len(), 5);
        let error = from_file(&tokenizer, Some(0), file.path(), 6).unwrap_err().to_string();
        assert_eq!(error, format!("a prompt of 6 tokens was asked for, {} has 5", file.path().display()));
        assert!(random_ids(&recipe(300).architecture().unwrap(), 0, 0).is_err());
        assert!(from_text(&tokenizer, None, "").is_err());
    }
}
