//! `phasebench models verify --ollama`, `--worker`: whether a server or a worker computes what ONNX Runtime and the reference
//! compute from the same folder.
//!
//! It decodes greedily and reports its most probable tokens. ONNX Runtime is fed the server's tokens, so every
//! step is comparable; the reference took its own, so it is compared as long as the tokens agree.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::allowed::Allowed;
use super::worker;
use crate::backend::Surroundings;
use crate::backend::ollama::manage::default_url;
use crate::backend::ollama::verify::{self as server, Greedy};
use crate::backend::onnx::verify as onnx;
use crate::cli::VerifyArgs;
use crate::clock::RealClock;
use crate::commands::CommandError;
use crate::exit::Exit;
use crate::model::verify::{Closeness, Reference, log_softmax, read};
use crate::model::{self, Form, ModelSource, prompt};
use crate::scenario::{OllamaSettings, OnnxSettings};
use crate::units::significant;

/// Prompts made where there is no reference, and their length.
const PROMPTS: (u64, usize) = (3, 12);

/// Largest difference of a log-probability between two engines: the server keeps its KV cache in half precision.
const ALLOWED: f64 = 2e-2;

#[derive(Debug, Serialize)]
struct Comparison {
    engine: String,
    against: String,
    prompts: usize,
    found: Closeness,
    allowed: f64,
    agrees: bool,
}

/// Compares and prints.
///
/// # Errors
/// No server, no runtime, a folder that cannot be read.
pub fn execute(args: &VerifyArgs, folder: &Path, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let source = ModelSource { name, form: Form::Folder(folder.to_owned()) };
    let reference = folder.join("reference.json");
    let references = if reference.is_file() { read(&reference)? } else { Vec::new() };
    let prompts = prompts(&source, &references)?;
    let surroundings = Surroundings::new(Arc::new(RealClock::default()), crate::cache::root(), 0);
    let asked = worker::asked(args);
    let (engine, greedy) = match &asked {
        Some(settings) => worker::greedy(settings, &source, &prompts, args.steps, &surroundings)?,
        None => of_server(args, &source, &prompts, &surroundings)?,
    };
    let fed: Vec<_> = greedy.iter().map(|g| (g.prompt_ids.clone(), all_but_last(g))).collect();
    let runtime = OnnxSettings { dtype: args.dtype, ..OnnxSettings::default() };
    let logits = onnx::logits_along(&source, &fed, runtime, surroundings)?;
    let allowed = match asked {
        Some(_) => Allowed::of(args.dtype).difference,
        None => ALLOWED.max(Allowed::of(args.dtype).difference),
    };
    let mut comparisons = vec![(format!("ONNX Runtime, {}", args.dtype.as_str()), with_runtime(&greedy, &logits))];
    if !references.is_empty() {
        comparisons.push(("reference.json".to_owned(), with_reference(&greedy, &references)));
    }
    let comparisons: Vec<Comparison> = comparisons
        .into_iter()
        .map(|(against, found)| {
            let found = found.unwrap_or(Closeness { steps: 0, values: 0, largest_difference: f64::INFINITY });
            let agrees = found.values > 0 && found.largest_difference <= allowed;
            Comparison { engine: engine.clone(), against, prompts: prompts.len(), found, allowed, agrees }
        })
        .collect();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&comparisons)?)?;
    } else {
        print(&comparisons, out)?;
    }
    Ok(if comparisons.iter().all(|c| c.agrees) { Exit::Good } else { Exit::CheckFailed })
}

/// What an Ollama server makes of the prompts, and what it is called.
fn of_server(
    args: &VerifyArgs,
    source: &ModelSource,
    prompts: &[Vec<u32>],
    surroundings: &Surroundings,
) -> Result<(String, Vec<Greedy>), CommandError> {
    let asked = OllamaSettings {
        url: args.ollama.clone().filter(|url| !url.is_empty()).unwrap_or_else(default_url),
        num_ctx: 512,
        dtype: args.dtype,
        temperature: 0.0,
        ..OllamaSettings::default()
    };
    let (version, greedy) = server::greedy(source, prompts, args.steps, asked, surroundings.clone())?;
    Ok((format!("Ollama {version}"), greedy))
}

/// The reference's prompts, or seeded ones.
fn prompts(source: &ModelSource, references: &[Reference]) -> Result<Vec<Vec<u32>>, CommandError> {
    if !references.is_empty() {
        return Ok(references.iter().map(|reference| reference.prompt_ids.clone()).collect());
    }
    let architecture = model::architecture(&source.form)?;
    let made = (0..PROMPTS.0).map(|seed| prompt::random_ids(&architecture, PROMPTS.1, seed));
    Ok(made.collect::<Result<_, _>>()?)
}

fn all_but_last(greedy: &Greedy) -> Vec<u32> {
    let tokens = greedy.steps.iter().map(|step| step.token);
    tokens.take(greedy.steps.len().saturating_sub(1)).collect()
}

fn together(found: impl Iterator<Item = Closeness>) -> Option<Closeness> {
    found.reduce(Closeness::and)
}

fn with_runtime(greedy: &[Greedy], logits: &[Vec<Vec<f32>>]) -> Option<Closeness> {
    let steps = greedy.iter().zip(logits).flat_map(|(greedy, rows)| greedy.steps.iter().zip(rows));
    together(steps.filter_map(|(step, row)| {
        let row = log_softmax(row)?;
        Closeness::of(&step.top, |id| row.get(id as usize).copied())
    }))
}

/// As far as the reference's tokens are the server's.
fn with_reference(greedy: &[Greedy], references: &[Reference]) -> Option<Closeness> {
    let steps = greedy.iter().zip(references).flat_map(|(greedy, reference)| {
        let mut agreed = true;
        greedy.steps.iter().zip(&reference.steps).take_while(move |(own, expected)| {
            let before = agreed;
            agreed &= own.token == expected.token;
            before
        })
    });
    together(steps.filter_map(|(own, expected)| {
        let place = |id: u32| expected.top_ids.iter().position(|&other| other == id);
        Closeness::of(&own.top, |id| expected.top_logprobs.get(place(id)?).copied())
    }))
}

fn print(comparisons: &[Comparison], out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "{:20}  {:20}  prompts  steps  values  largest |Δ log-prob|  allowed  agrees", "engine", "against")?;
    for c in comparisons {
        let largest = format!("{:.1e}", c.found.largest_difference);
        let agrees = if c.agrees { "yes" } else { "NO" };
        writeln!(
            out,
            "{:20}  {:20}  {:7}  {:5}  {:6}  {largest:>20}  {:>7}  {agrees}",
            c.engine,
            c.against,
            c.prompts,
            c.found.steps,
            c.found.values,
            significant(c.allowed, 1),
        )?;
    }
    Ok(())
}
