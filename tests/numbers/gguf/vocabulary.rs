//! Tokenizers: those that come with the file, and those that are refused.

use std::fs;

use phasebench::model::{Folder, Precision, gguf};
use phasebench::terms::model::Family;
use serde_json::{Value, json};

use super::{copy, edit, exported, fixture, refused};

/// How published models of each kind split text before BPE.
fn split(digits: &str) -> Value {
    let regex = [
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|",
        digits,
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ];
    json!({ "type": "Sequence", "pretokenizers": [
        { "type": "Split", "pattern": { "Regex": regex.concat() }, "behavior": "Isolated", "invert": false },
        { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false } ] })
}

#[test]
fn published_ways_to_split_text_are_known() {
    for (digits, ignore_merges, normalizer, pre) in [
        (r"\p{N}{1,3}", true, json!(null), "llama-bpe"),
        (r"\p{N}{1,3}", false, json!(null), "llama-bpe"),
        (r"\p{N}", false, json!({ "type": "NFC" }), "qwen2"),
    ] {
        let folder = copy(Family::Llama);
        edit(&folder.path().join("tokenizer.json"), |t| {
            t["pre_tokenizer"] = split(digits);
            t["model"]["ignore_merges"] = json!(ignore_merges);
            t["normalizer"] = normalizer;
            let merges = t["model"]["merges"].as_array_mut().unwrap();
            for merge in merges {
                *merge = json!(format!("{} {}", merge[0].as_str().unwrap(), merge[1].as_str().unwrap()));
            }
        });
        let file = exported(folder.path(), Precision::F32);
        assert_eq!(file.text("tokenizer.ggml.pre"), pre);
        let plain = exported(&fixture(Family::Llama), Precision::F32);
        assert_eq!(file.texts("tokenizer.ggml.merges"), plain.texts("tokenizer.ggml.merges"));
    }
}

#[test]
fn a_tokenizer_that_is_no_byte_level_bpe_is_refused_by_name() {
    let word_piece = json!({ "type": "WordPiece", "vocab": {} });
    for (pointer, value, message) in [
        ("/model", word_piece, "`model.type` is \"WordPiece\", supported: \"BPE\" (in GGUF)"),
        ("/model/byte_fallback", json!(true), "`model.byte_fallback` is true, supported: null, false (in GGUF)"),
        ("/model/end_of_word_suffix", json!("</w>"), "`model.end_of_word_suffix` is \"</w>\", supported: null, \"\""),
        ("/model/ignore_merges", json!(true), "`model.ignore_merges` is true, supported: null, false (in GGUF)"),
        ("/normalizer", json!({ "type": "Lowercase" }), "`normalizer` is {\"type\":\"Lowercase\"}, supported: null"),
        ("/pre_tokenizer", json!(null), "`pre_tokenizer` is null, supported: ByteLevel"),
        ("/pre_tokenizer/add_prefix_space", json!(true), "supported: ByteLevel without a prefix space"),
        ("/pre_tokenizer", split(r"\p{N}{2}"), "after the split of gpt2, llama 3 or qwen2"),
        ("/model/merges", json!([["e", "e", "e"]]), "merge [\"e\",\"e\",\"e\"] is not two tokens"),
        ("/model/merges", json!(null), "has no `model.merges` list"),
        ("/model/vocab", json!([]), "has no `model.vocab` object"),
        ("/model/vocab", json!({ "a": 2, "b": 2 }), "tokens \"a\" and \"b\" both have id 2"),
        ("/model/vocab", json!({ "a": 320 }), "token \"a\" has id 320, expected one below vocab_size (320)"),
        ("/model/vocab", json!({ "<|bos|>": 5 }), "token \"<|bos|>\" has two ids"),
    ] {
        let folder = copy(Family::Gpt2);
        edit(&folder.path().join("tokenizer.json"), |t| *t.pointer_mut(pointer).unwrap() = value);
        let error = refused(folder.path());
        assert!(error.contains("tokenizer.json: ") && error.contains(message), "{error}");
    }
    let folder = copy(Family::Gpt2);
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let error = gguf::export(&Folder::open(folder.path(), cache.path()).unwrap(), Precision::F32, cache.path());
    assert!(error.unwrap_err().to_string().contains("tokenizer.json: No such file"));
}

#[test]
fn rows_without_a_token_are_unused_ones() {
    let folder = copy(Family::Gpt2);
    edit(&folder.path().join("tokenizer.json"), |t| {
        let vocab = t["model"]["vocab"].as_object_mut().unwrap();
        vocab.retain(|_, id| id.as_u64().unwrap() < 317 && id != 300);
        vocab.insert("[PAD318]".to_owned(), json!(300));
        let added = t["added_tokens"].as_array_mut().unwrap();
        added.push(json!({ "id": 317, "content": "  ", "special": false }));
    });
    let file = exported(folder.path(), Precision::F32);
    let (tokens, types) = (file.texts("tokenizer.ggml.tokens"), file.numbers("tokenizer.ggml.token_type"));
    assert_eq!(tokens[317..], ["  ", "[[PAD318]]", "[PAD319]"], "no text is there twice");
    assert_eq!(types[299..301], [1, 1]);
    assert_eq!(types[316..], [1, 4, 5, 5]);
}
