//! Tokenizers and prompts: what becomes of a text, and how much of a file is read for it.

use std::fs;
use std::path::Path;

use phasebench::model::{Form, architecture, prompt, tokenizer, verify};
use phasebench::terms::model::Family;
use serde_json::{Value, json};

use super::{fixture, rewritten};

/// A folder of the gpt2 fixture whose `tokenizer.json` went through `change`.
fn with_tokenizer(change: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    let folder = rewritten(Family::Gpt2, |_| {});
    let text = fs::read_to_string(fixture(Family::Gpt2).join("tokenizer.json")).unwrap();
    let mut json: Value = serde_json::from_str(&text).unwrap();
    change(&mut json);
    fs::write(folder.path().join("tokenizer.json"), json.to_string()).unwrap();
    folder
}

#[test]
fn a_tokenizer_neither_cuts_nor_pads_a_prompt() {
    let text = "the quick brown fox ".repeat(20);
    let plain = tokenizer(&Form::Folder(fixture(Family::Gpt2))).unwrap();
    let expected = prompt::from_text(&plain, Some(0), &text).unwrap();
    let folder = with_tokenizer(|t| {
        t["truncation"] = json!({ "direction": "Right", "max_length": 64, "strategy": "LongestFirst", "stride": 0 });
        t["padding"] = json!({ "strategy": { "Fixed": 128 }, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "x" });
    });
    let form = Form::Folder(folder.path().to_owned());
    let set = tokenizer(&form).unwrap();
    assert_eq!(prompt::from_text(&set, Some(0), &text).unwrap(), expected);
    assert_eq!(prompt::from_text(&set, Some(0), "the").unwrap(), prompt::from_text(&plain, Some(0), "the").unwrap());
    assert_eq!(phasebench::model::tokenizer_switched_off(&form), ["truncation", "padding"]);
    assert!(phasebench::model::tokenizer_switched_off(&Form::Folder(fixture(Family::Gpt2))).is_empty());
}

#[test]
fn a_token_beyond_the_vocabulary_is_named() {
    let folder = with_tokenizer(|t| {
        let added = json!({ "id": 320, "content": "<|extra|>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true });
        t["added_tokens"].as_array_mut().unwrap().push(added);
    });
    let form = Form::Folder(folder.path().to_owned());
    let (tokenizer, architecture) = (tokenizer(&form).unwrap(), architecture(&form).unwrap());
    let ids = prompt::from_text(&tokenizer, Some(0), "a <|extra|> b").unwrap();
    let error = prompt::within_vocabulary(&tokenizer, &architecture, &ids).unwrap_err().to_string();
    assert_eq!(error, "token 320 (`<|extra|>`) is beyond the vocabulary of 320, so the model has no row for it");
    let ids = prompt::from_text(&tokenizer, Some(0), "a b").unwrap();
    assert!(prompt::within_vocabulary(&tokenizer, &architecture, &ids).is_ok());
}

/// What a prompt takes from a file does not depend on how long the file is, and no more is read than it takes.
#[test]
fn a_prompt_reads_only_the_beginning_of_its_file() {
    let tokenizer = tokenizer(&Form::Folder(fixture(Family::Gpt2))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("long.txt");
    let sentence = "na\u{ef}ve words, and the rain in Spain; ";
    fs::write(&file, sentence.repeat(40)).unwrap();
    let whole = prompt::from_text(&tokenizer, Some(0), &sentence.repeat(40)).unwrap();
    assert_eq!(prompt::from_file(&tokenizer, Some(0), &file, 40).unwrap(), whole[..40]);
    // What stands far behind is never looked at: here it is not even text.
    let mut long = sentence.repeat(20_000).into_bytes();
    long.extend([0xff; 100]);
    fs::write(&file, long).unwrap();
    assert_eq!(prompt::from_file(&tokenizer, Some(0), &file, 40).unwrap(), whole[..40]);
    for endless in ["/dev/zero", "/dev/null"] {
        let error = prompt::from_file(&tokenizer, Some(0), Path::new(endless), 40).unwrap_err().to_string();
        assert_eq!(error, format!("{endless}: is no regular file"));
    }
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let error = prompt::from_file(&tokenizer, Some(0), &pipe, 40).unwrap_err().to_string();
    assert!(error.ends_with("pipe: is no regular file"), "{error}");
}

#[test]
fn references_are_read_and_their_prompts_encode_to_their_ids() {
    for &family in Family::ALL {
        let references = verify::read(&fixture(family).join("reference.json")).unwrap();
        assert_eq!(references.len(), 6);
        assert!(references.iter().all(|r| r.steps.len() == 6));
        let form = Form::Folder(fixture(family));
        let (tokenizer, bos) = (tokenizer(&form).unwrap(), architecture(&form).unwrap().bos_id);
        for r in &references {
            assert_eq!(prompt::from_text(&tokenizer, bos, &r.prompt).unwrap(), r.prompt_ids);
        }
        assert!(references.iter().flat_map(|r| &r.steps).all(|s| s.token == s.top_ids[0] && s.top_ids.len() == 20));
    }
}
