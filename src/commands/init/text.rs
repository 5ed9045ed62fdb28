//! What was found, as a scenario file with a word on every choice.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::path::Path;

use super::found::Found;
use crate::scenario::naming::free_name;
use crate::units::significant;

/// A scenario file over everything that can be measured here. Paths are absolute.
#[must_use]
pub fn text(found: &Found, url: &str) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    head(&mut text)
        .and_then(|()| models(&mut text, found))
        .and_then(|()| backends(&mut text, found, url))
        .unwrap_or_default();
    text
}

fn head(text: &mut String) -> fmt::Result {
    writeln!(
        text,
        "# Question: which engine is fastest on this machine, and how does it scale with model size?
# Written by `phasebench init` from what it found here. Change what you like: `phasebench plan FILE` shows what it would
# measure, `phasebench schema` is for your editor, docs/scenarios.md has every key.
version: 1
name: here
# Decides every random choice: order and prompts. The same seed gives the same plan.
seed: 42
# Engines take turns, so that a machine that drifts treats them alike.
order: interleaved
# Calls of each cell: until the interval is that narrow, at least and at most so many.
repetitions: {{ min: 5, max: 20, until_relative_ci: 0.03 }}
# Decode steps timed after each prompt.
gen_tokens: [64]
# Prefill and decode are timed apart, always.
modes: [prefill, kv_decode]
scenarios:
  - {{ name: short, prompt: {{ tokens: 16 }} }}
  - {{ name: long, prompt: {{ tokens: 128 }} }}"
    )
}

fn models(text: &mut String, found: &Found) -> fmt::Result {
    let served = found.ollama.iter().flatten().flatten();
    let none = found.folders.is_empty() && served.clone().next().is_none();
    writeln!(text, "models:")?;
    let mut taken = BTreeSet::new();
    for (folder, params) in &found.folders {
        let name = name_of(&folder.file_name().unwrap_or_default().to_string_lossy(), &mut taken);
        let millions = significant(*params as f64 / 1e6, 3);
        writeln!(text, "  # {millions} million parameters")?;
        writeln!(text, "  - {{ name: {name}, huggingface: {} }}", quoted(folder))?;
    }
    for tag in served {
        let name = name_of(tag, &mut taken);
        writeln!(text, "  # on the Ollama server only\n  - {{ name: {name}, ollama: {} }}", serde_json::json!(tag))?;
    }
    if none {
        writeln!(
            text,
            "  # No model folder was found, so two are made with random weights: they take as long as trained ones.
  - {{ name: gpt2-25m, synthetic: {{ family: gpt2, n_layer: 3, n_embd: 384, n_head: 2 }} }}
  - {{ name: gpt2-45m, synthetic: {{ family: gpt2, n_layer: 6, n_embd: 512, n_head: 8 }} }}"
        )?;
    }
    for (folder, why) in &found.refused {
        writeln!(text, "  # {} cannot be measured: {}", quoted(folder), one_line(why))?;
    }
    for file in &found.ggufs {
        writeln!(text, "  # {} is for a server: `ollama create`, then `ollama: NAME` here", quoted(file))?;
    }
    Ok(())
}

fn backends(text: &mut String, found: &Found, url: &str) -> fmt::Result {
    writeln!(text, "backends:")?;
    match &found.no_onnx {
        None => writeln!(text, "  - {{ name: onnx, onnx: {{ provider: cpu }} }}")?,
        Some(why) => {
            writeln!(text, "  # ONNX Runtime: {}\n  # - {{ name: onnx, onnx: {{ provider: cpu }} }}", one_line(why))?
        }
    }
    match &found.no_torch {
        None => {
            writeln!(
                text,
                "  - {{ name: torch, torch: {{}} }}\n  - {{ name: torch-compile, torch: {{ compile: {{}} }} }}"
            )?;
        }
        Some(why) => writeln!(text, "  # torch: {}\n  # - {{ name: torch, torch: {{}} }}", one_line(why))?,
    }
    let url = serde_json::json!(url);
    match &found.ollama {
        Some(Ok(_)) => writeln!(text, "  - {{ name: ollama, ollama: {{ url: {url} }} }}")?,
        Some(Err(why)) => {
            writeln!(text, "  # Ollama: {}\n  # - {{ name: ollama, ollama: {{ url: {url} }} }}", one_line(why))?;
        }
        None => {}
    }
    if found.no_onnx.is_some() && found.no_torch.is_some() && !matches!(found.ollama, Some(Ok(_))) {
        writeln!(
            text,
            "  # No engine was found. This one is a script: it shows what a report looks like and says nothing of this machine.
  - {{ name: simulated, simulated: {{}} }}"
        )?;
    }
    Ok(())
}

/// A name that nothing else has.
fn name_of(found: &str, taken: &mut BTreeSet<String>) -> String {
    let name = free_name(found, |name| taken.contains(name));
    taken.insert(name.clone());
    name
}

fn quoted(path: &Path) -> String {
    serde_json::json!(path.display().to_string()).to_string()
}

/// For a comment.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !c.is_control()).collect()
}
