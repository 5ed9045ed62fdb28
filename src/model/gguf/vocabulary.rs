//! A byte-level BPE `tokenizer.json` as the lists that GGUF holds.

use std::collections::HashSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::model::{Error, Result};
use crate::terms::model::Architecture;

/// Token type: ordinary text, its bytes written as letters.
const NORMAL: i32 = 1;
/// Token type: a sign to the model, no text.
const CONTROL: i32 = 3;
/// Token type: text that is a token whatever stands around it.
const USER_DEFINED: i32 = 4;
/// Token type: a row of the embedding that no text leads to.
const UNUSED: i32 = 5;

/// How llama 3 and qwen2 split text before BPE: all but their rule for digits, which differs.
const SPLIT: (&str, &str) =
    (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|", r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+");
/// Their rules for digits, under the names llama.cpp has for these ways of splitting.
const DIGITS: [(&str, &str); 2] = [("llama-bpe", r"\p{N}{1,3}"), ("qwen2", r"\p{N}")];

/// A tokenizer in the file's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Vocabulary {
    /// Every token's text, by id; as many as the embedding has rows.
    pub(super) tokens: Vec<String>,
    /// Every token's type.
    pub(super) types: Vec<i32>,
    /// The merges in order, each two tokens with a space between.
    pub(super) merges: Vec<String>,
    /// What llama.cpp calls the way text is split before BPE.
    pub(super) pre: &'static str,
}

/// Reads the text of a `tokenizer.json`; `path` is only named in errors.
///
/// Embedding rows without a token become unused tokens.
///
/// # Errors
/// The text is malformed, the tokenizer is no byte-level BPE, or one that llama.cpp would not reproduce.
pub(super) fn read(path: &Path, text: &[u8], arch: &Architecture) -> Result<Vocabulary> {
    let json = serde_json::from_slice(text).map_err(|e| Error::malformed(path, format!("not JSON: {e}")))?;
    let source = Source { path, json: &json };
    source.only("/model/type", &[json!("BPE")])?;
    source.only("/model/byte_fallback", &[json!(null), json!(false)])?;
    source.only("/model/dropout", &[json!(null), json!(0.0)])?;
    source.only("/model/continuing_subword_prefix", &[json!(null), json!("")])?;
    source.only("/model/end_of_word_suffix", &[json!(null), json!("")])?;
    source.only("/normalizer", &[json!(null), json!({ "type": "NFC" })])?;
    let pre = source.pre()?;
    // Llama.cpp takes a whole token before it merges if, and only if, text is split as llama 3 does.
    if pre != "llama-bpe" {
        source.only("/model/ignore_merges", &[json!(null), json!(false)])?;
    }
    let (tokens, types) = source.tokens(arch)?;
    Ok(Vocabulary { tokens, types, merges: source.merges()?, pre })
}

/// A `tokenizer.json`, with its path for errors.
struct Source<'a> {
    path: &'a Path,
    json: &'a Value,
}

impl<'a> Source<'a> {
    /// The value at a JSON pointer, null where there is none.
    fn get(&self, pointer: &str) -> &'a Value {
        self.json.pointer(pointer).unwrap_or(&Value::Null)
    }

    fn malformed(&self, message: impl ToString) -> Error {
        Error::malformed(self.path, message)
    }

    fn unsupported(&self, pointer: &str, supported: impl Into<String>) -> Error {
        Error::Unsupported {
            path: self.path.to_owned(),
            key: pointer.trim_start_matches('/').replace('/', "."),
            value: self.get(pointer).to_string(),
            supported: format!("{} (in GGUF)", supported.into()),
        }
    }

    fn only(&self, pointer: &str, allowed: &[Value]) -> Result<()> {
        if allowed.contains(self.get(pointer)) {
            return Ok(());
        }
        let allowed: Vec<_> = allowed.iter().map(Value::to_string).collect();
        Err(self.unsupported(pointer, allowed.join(", ")))
    }

    fn pre(&self) -> Result<&'static str> {
        let byte_level = |value: &Value, splits: bool| {
            value["type"] == "ByteLevel"
                && value["add_prefix_space"] == false
                && value["use_regex"].as_bool().unwrap_or(true) == splits
        };
        let found = self.get("/pre_tokenizer");
        if byte_level(found, true) {
            return Ok("gpt-2");
        }
        if let Some([split, bytes]) = found["pretokenizers"].as_array().map(Vec::as_slice) {
            let plain = split["type"] == "Split" && split["behavior"] == "Isolated" && split["invert"] != true;
            let regex = split["pattern"]["Regex"].as_str().unwrap_or_default();
            let digits = regex.strip_prefix(SPLIT.0).and_then(|rest| rest.strip_suffix(SPLIT.1));
            let known = DIGITS.iter().find(|(_, rule)| digits == Some(*rule));
            if let Some(&(name, _)) = known.filter(|_| plain && byte_level(bytes, false)) {
                return Ok(name);
            }
        }
        let supported = "ByteLevel without a prefix space, after the split of gpt2, llama 3 or qwen2";
        Err(self.unsupported("/pre_tokenizer", supported))
    }

    /// Text and type of every id.
    fn tokens(&self, arch: &Architecture) -> Result<(Vec<String>, Vec<i32>)> {
        let ordinary = self.get("/model/vocab").as_object();
        let ordinary = ordinary.ok_or_else(|| self.malformed("has no `model.vocab` object"))?;
        let mut tokens: Vec<Option<(&str, i32)>> = vec![None; arch.vocab];
        for (text, id) in ordinary {
            self.place(&mut tokens, id, text, NORMAL)?;
        }
        for added in self.get("/added_tokens").as_array().into_iter().flatten() {
            let Some(text) = added["content"].as_str() else {
                return Err(self.malformed(format!("added token {added} has no `content`")));
            };
            let kind = if added["special"] == true { CONTROL } else { USER_DEFINED };
            self.place(&mut tokens, &added["id"], text, kind)?;
        }
        let mut texts = HashSet::new();
        for (text, _) in tokens.iter().flatten() {
            if !texts.insert(*text) {
                return Err(self.malformed(format!("token {text:?} has two ids")));
            }
        }
        let special = |id| u32::try_from(id).is_ok_and(|id| arch.is_special(id));
        let all = tokens.iter().enumerate().map(|(id, token)| match token {
            Some((text, _)) if special(id) => ((*text).to_owned(), CONTROL),
            Some((text, kind)) => ((*text).to_owned(), *kind),
            None => (filler(id, &texts), UNUSED),
        });
        Ok(all.unzip())
    }

    /// Puts a token in its place. An added token may stand among the ordinary ones as well.
    fn place(&self, tokens: &mut [Option<(&'a str, i32)>], id: &Value, text: &'a str, kind: i32) -> Result<()> {
        let rows = tokens.len();
        let place = id.as_u64().and_then(|id| usize::try_from(id).ok()).and_then(|id| tokens.get_mut(id));
        match place {
            None => Err(self.malformed(format!("token {text:?} has id {id}, expected one below vocab_size ({rows})"))),
            Some(Some((other, _))) if *other != text => {
                Err(self.malformed(format!("tokens {other:?} and {text:?} both have id {id}")))
            }
            Some(place) => {
                *place = Some((text, kind));
                Ok(())
            }
        }
    }

    fn merges(&self) -> Result<Vec<String>> {
        let merges = self.get("/model/merges").as_array();
        let merges = merges.ok_or_else(|| self.malformed("has no `model.merges` list"))?;
        let joined = merges.iter().map(|merge| {
            // Older files hold one text, newer ones a pair.
            let text = match merge.as_array().map(Vec::as_slice) {
                Some([Value::String(left), Value::String(right)]) => Some(format!("{left} {right}")),
                _ => merge.as_str().map(str::to_owned),
            };
            let text = text.filter(|text| text.matches(' ').count() == 1);
            text.ok_or_else(|| self.malformed(format!("merge {merge} is not two tokens without a space in them")))
        });
        joined.collect()
    }
}

/// The text of an id that no token has; printable and different from every other.
fn filler(id: usize, texts: &HashSet<&str>) -> String {
    let mut text = format!("[PAD{id}]");
    while texts.contains(text.as_str()) {
        text = format!("[{text}]");
    }
    text
}
