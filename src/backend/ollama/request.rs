//! What a generate request says: the model, the prompt, and the options that decide whether the server loads it again.

use serde_json::{Value, json};

use super::served::Served;
use crate::scenario::{OllamaDevice, OllamaSettings};

/// The options that make the server load a model again where they differ; the same in every request of a session.
#[must_use]
pub fn load_options(settings: &OllamaSettings, context: u32) -> Value {
    let layers = match settings.device {
        OllamaDevice::Cpu => 0,
        OllamaDevice::Gpu => 999,
        OllamaDevice::Any => -1,
    };
    let mut options = json!({ "num_ctx": context, "num_batch": settings.num_batch, "num_gpu": layers });
    if let Some(threads) = settings.threads {
        options["num_thread"] = json!(threads);
    }
    options
}

/// A generate request. Raw and without stop words; cutting and shifting are refused rather than silent.
#[must_use]
pub fn request(settings: &OllamaSettings, model: &Served, prompt: &str, tokens: u32, seed: u64) -> Value {
    let mut options = load_options(settings, model.context);
    for (key, value) in [
        ("num_predict", json!(tokens)),
        ("temperature", json!(settings.temperature)),
        ("top_k", json!(40)),
        ("top_p", json!(0.9)),
        ("repeat_penalty", json!(1.0)),
        // The server reads a signed 32-bit number.
        ("seed", json!(seed & 0x7fff_ffff)),
        ("stop", json!([])),
        ("draft_num_predict", json!(0)),
    ] {
        options[key] = value;
    }
    json!({
        "model": model.tag, "prompt": prompt, "raw": true, "stream": true, "think": false, "truncate": false,
        "shift": false, "keep_alive": -1, "options": options,
    })
}
