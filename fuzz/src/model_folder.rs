//! A model folder: `config.json`, `tokenizer.json`, and a `header` that is put before weights which are zeros. What an input
//! leaves out is given: a small GPT-2, and the header that its configuration wants.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;

use phasebench::backend::ollama::speech::{Row, Speech, Tokens};
use phasebench::model::onnx::{Options, Weights};
use phasebench::model::{Folder, Precision, cache_shape, config, gguf, onnx, prompt, tensors, tokenizer, verify};
use phasebench::terms::model::Architecture;
use serde_json::{Map, Value, json};

use super::parts::Parts;
use super::scratch;

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const INDEX: &str = "model.safetensors.index.json";
const WEIGHTS: &str = "model.safetensors";
const REFERENCE: &str = "reference.json";
/// The header of [`WEIGHTS`], without its length.
const HEADER: &str = "header";

const GIVEN_CONFIG: &[u8] = include_bytes!("../model/config.json");
const GIVEN_TOKENIZER: &[u8] = include_bytes!("../model/tokenizer.json");

/// Most weights that are really there. Unit: bytes.
const MOST_WEIGHTS: u64 = 1 << 20;

pub fn read(data: &[u8]) {
    let parts = Parts::of(data, CONFIG);
    scratch::folder(|folder| {
        scratch::write(&folder.join(CONFIG), parts.get(CONFIG).unwrap_or(GIVEN_CONFIG));
        scratch::write(&folder.join(TOKENIZER), parts.get(TOKENIZER).unwrap_or(GIVEN_TOKENIZER));
        for name in [INDEX, WEIGHTS, REFERENCE] {
            if let Some(content) = parts.get(name) {
                scratch::write(&folder.join(name), content);
            }
        }
        let architecture = config::read(&folder.join(CONFIG));
        if parts.get(WEIGHTS).is_none() && parts.get(INDEX).is_none() {
            let header = parts.get(HEADER).map(<[u8]>::to_vec);
            let wanted = || architecture.as_ref().ok().map(header_of).unwrap_or_default();
            weights(&folder.join(WEIGHTS), &header.unwrap_or_else(wanted));
        }
        drop(cache_shape::read(folder).map(|shape| format!("{shape:?}")));
        drop(verify::read(&folder.join(REFERENCE)).map_err(|error| error.to_string()));
        match architecture {
            Ok(architecture) => spoken(folder, &architecture),
            Err(error) => drop(error.to_string()),
        }
        opened(folder);
    });
}

/// The header that an architecture wants, of f32 tensors. Empty: they would take too much.
fn header_of(architecture: &Architecture) -> Vec<u8> {
    if architecture.parameters().saturating_mul(4) > MOST_WEIGHTS || architecture.n_layer > 64 {
        return Vec::new();
    }
    let mut header = Map::new();
    let mut begin = 0;
    for tensor in tensors::expected(architecture) {
        let end = begin + 4 * tensor.elements();
        header.insert(tensor.name, json!({ "dtype": "F32", "shape": tensor.shape, "data_offsets": [begin, end] }));
        begin = end;
    }
    Value::Object(header).to_string().into_bytes()
}

/// A file with this header and as many zeros as it promises, where they are not too many.
fn weights(path: &Path, header: &[u8]) {
    let promised =
        serde_json::from_slice::<safetensors::tensor::Metadata>(header).map_or(0, |found| found.data_len() as u64);
    let length = header.len() as u64;
    let written = File::create(path).and_then(|mut file| {
        file.write_all(&length.to_le_bytes())?;
        file.write_all(header)?;
        file.set_len(8 + length + promised.min(MOST_WEIGHTS))
    });
    drop(written);
}

/// Prompts by the folder's tokenizer, as engines get them.
fn spoken(folder: &Path, architecture: &Architecture) {
    black_box(architecture.parameters());
    let mut ids = prompt::random_ids(architecture, 17, 1).unwrap_or_default();
    let path = folder.join(TOKENIZER);
    drop(tokenizer::switched_off(&path));
    let found = match tokenizer::read(&path) {
        Ok(found) => found,
        Err(error) => return drop(error.to_string()),
    };
    for text in ["", "the rain in Spain", " naïve – 漢字 🦀\n\tdon't 12345"] {
        if let Ok(found_ids) = prompt::from_text(&found, architecture.bos_id, text) {
            drop(prompt::within_vocabulary(&found, architecture, &found_ids));
            drop(prompt::to_text(&found, &found_ids));
            ids = if ids.is_empty() { found_ids } else { ids };
        }
    }
    let speech = Speech::Tokenizer(Box::new(Tokens::new(found, architecture, 5)));
    let row = Row { ids: &ids, text: None, tokens: 17 };
    drop(speech.speak("scenario", &row, 3));
}

/// What exporters make of the folder.
fn opened(folder: &Path) {
    let found = match Folder::open(folder, folder) {
        Ok(found) => found,
        Err(error) => return drop(error.to_string()),
    };
    if found.bytes() > MOST_WEIGHTS {
        return;
    }
    drop((found.parameters(), found.unused().to_vec(), found.subnormal_share()));
    let out = folder.join("out");
    if fs::create_dir(&out).is_ok() {
        drop(gguf::write(&found, Precision::F16, &out).map_err(|error| error.to_string()));
        drop(onnx::write(&found, Options::default(), Weights::Inside, &out).map_err(|error| error.to_string()));
    }
}
