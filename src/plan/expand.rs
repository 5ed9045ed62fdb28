//! Scenario file → plan: every combination of the axes, either as a cell or as a skipped one with its rule.

use serde_json::json;

use super::only::Only;
use super::{Cell, CellId, FORMAT, ModelFacts, Plan, PlanError, PlannedSession, SessionKey, SkippedCell};
use crate::hash::sha256_hex;
use crate::model::{Form, ModelSource};
use crate::scenario::{BackendSettings, Dtype, Engine, Prompt, Provider, Scenario, ScenarioFile};
use crate::terms::{Mode, Procedure};
use crate::units::{Bytes, Nanos};

/// What a session needs besides weights and cache: the runtime's own structures and activations.
const SESSION_OVERHEAD: u64 = 64 << 20;

/// Expands a scenario file.
///
/// `facts` says what each model is, `budget` is the memory that resident sessions may take together, `only` what
/// is left of the matrix. Cells come in file order: backend, model, scenario, decode steps, procedure.
///
/// # Errors
/// A model without facts.
pub fn expand(file: &ScenarioFile, facts: &[ModelFacts], budget: Bytes, only: &Only) -> Result<Plan, PlanError> {
    let mut plan = Plan {
        format: FORMAT,
        name: file.name.clone(),
        seed: file.seed,
        order: file.order,
        repetitions: file.repetitions,
        early_stop: file.early_stop,
        modes: file.modes.clone(),
        fit: file.fit,
        timeout_ns: Nanos::from(file.timeout),
        degraded_rate: file.limits.degraded_rate,
        memory_budget_bytes: budget,
        sessions: Vec::new(),
        cells: Vec::new(),
        skipped: Vec::new(),
    };
    for backend in &file.backends {
        for model in &file.models {
            let facts =
                facts.iter().find(|f| f.name == model.name).ok_or_else(|| PlanError::NoFacts(model.name.clone()))?;
            session(&mut plan, file, backend, model, facts, only);
        }
    }
    Ok(plan)
}

/// Adds everything that one backend does with one model.
fn session(
    plan: &mut Plan,
    file: &ScenarioFile,
    backend: &BackendSettings,
    model: &ModelSource,
    facts: &ModelFacts,
    only: &Only,
) {
    let key = SessionKey { backend: backend.name.clone(), model: model.name.clone() };
    let mut resident: Option<Bytes> = None;
    for scenario in &file.scenarios {
        for (procedure, steps) in calls(&file.modes, &scenario.gen_tokens) {
            let served = matches!(model.form, Form::Served(_));
            let dtype = if served { Dtype::AsServed } else { backend.engine.dtype() };
            let cell = cell(&key, dtype, scenario, procedure, steps);
            let needed = resident_bytes(&backend.engine, facts, scenario, &cell);
            let rule = skipped(file, only, &cell)
                .or_else(|| unsupported(&backend.engine, &model.form, scenario, &cell))
                .or_else(|| past_buckets(&backend.engine, facts, &cell))
                .or_else(|| too_large(&backend.engine, facts, plan.memory_budget_bytes, &cell, needed));
            match rule {
                Some((rule, reason)) => {
                    plan.skipped.push(SkippedCell { cell, rule: rule.to_owned(), reason });
                }
                None => {
                    resident = resident.max(Some(needed));
                    plan.cells.push(cell);
                }
            }
        }
    }
    if let Some(resident_bytes) = resident {
        plan.sessions.push(PlannedSession {
            key,
            warmups: backend.warmups,
            resident_bytes,
            may_stop_early: backend.engine.may_stop_early(),
            max_resident: match &backend.engine {
                Engine::Onnx(_) | Engine::Torch(_) => None,
                // One worker holds one model.
                Engine::Worker(_) => Some(1),
                Engine::Ollama(ollama) => ollama.max_resident,
                Engine::Simulated(script) => script.max_resident,
            },
        });
    }
}

/// The calls that time the modes: one prefill serves prefill and decode, so the two share a cell.
fn calls(modes: &[Mode], gen_tokens: &[u32]) -> Vec<(Procedure, u32)> {
    let decodes = modes.contains(&Mode::KvDecode);
    let mut calls = Vec::new();
    if modes.contains(&Mode::Prefill) && !decodes {
        calls.push((Procedure::Prefill, 0));
    }
    for &steps in gen_tokens {
        if decodes {
            calls.push((Procedure::PrefillDecode, steps));
        }
        if modes.contains(&Mode::GenerateUncached) {
            calls.push((Procedure::Uncached, steps));
        }
    }
    calls
}

fn cell(session: &SessionKey, dtype: Dtype, scenario: &Scenario, procedure: Procedure, gen_tokens: u32) -> Cell {
    let prompt_tokens = match &scenario.prompt {
        Prompt::Tokens(tokens) | Prompt::File { tokens, .. } => Some(*tokens),
        Prompt::Texts { pad_to, .. } => *pad_to,
        Prompt::Text(_) => None,
    };
    let key = json!({
        "backend": session.backend,
        "batch": scenario.batch,
        "dtype": dtype.as_str(),
        "gen_tokens": gen_tokens,
        "model": session.model,
        "procedure": procedure.as_str(),
        "prompt_tokens": prompt_tokens,
        "scenario": scenario.name,
    });
    Cell {
        id: CellId(sha256_hex(key.to_string().as_bytes())[..12].to_owned()),
        session: session.clone(),
        dtype,
        scenario: scenario.name.clone(),
        batch: scenario.batch,
        prompt_tokens,
        gen_tokens,
        procedure,
    }
}

/// What leaves a cell out: the rule's name and its reason.
type Reason = (&'static str, String);

/// The command line's filter and the file's own rules.
fn skipped(file: &ScenarioFile, only: &Only, cell: &Cell) -> Option<Reason> {
    if !only.keeps(cell) {
        return Some(("only", format!("not selected by --only {only}")));
    }
    let matches = |selector: &Option<String>, name: &str| selector.as_deref().is_none_or(|s| s == name);
    let rule = file.skip.iter().find(|rule| {
        matches(&rule.model, &cell.session.model)
            && matches(&rule.backend, &cell.session.backend)
            && matches(&rule.scenario, &cell.scenario)
    });
    rule.map(|rule| ("skip", rule.reason.clone()))
}

/// What an engine cannot be asked for, whatever the model's size.
fn unsupported(engine: &Engine, form: &Form, scenario: &Scenario, cell: &Cell) -> Option<Reason> {
    let served = matches!(form, Form::Served(_));
    if let Engine::Torch(torch) = engine
        && torch.compile.is_some()
        && cell.procedure == Procedure::Uncached
    {
        let reason = "without a cache every step has another length, which would be compiled anew";
        return Some(("mode_unsupported", reason.to_owned()));
    }
    let Engine::Ollama(_) = engine else {
        let reason = || format!("only an Ollama server has this model, and the engine is {}", engine.kind());
        return served.then(|| ("no_source", reason()));
    };
    if cell.procedure == Procedure::Uncached {
        return Some(("mode_unsupported", "an Ollama server always decodes on its KV cache".to_owned()));
    }
    if cell.batch > 1 || matches!(scenario.prompt, Prompt::Texts { pad_to: Some(_), .. }) {
        return Some(("batch_unsupported", "an Ollama server takes one row per call, without padding".to_owned()));
    }
    if served && matches!(scenario.prompt, Prompt::File { .. }) {
        let reason = "a file is cut to a number of tokens, and only the server has this model's tokenizer";
        return Some(("no_tokenizer", reason.to_owned()));
    }
    // Without its own first token a prompt would be found in the server's cache.
    let shortest = if served { SHORTEST_BY_WORDS } else { SHORTEST_BY_TOKENS };
    let prompt = cell.prompt_tokens.filter(|&prompt| prompt < shortest)?;
    let reason = format!("{prompt} prompt tokens have no room for BOS and a nonce: at least {shortest} are needed");
    Some(("prompt_too_short", reason))
}

/// A prompt that no bucket holds, or a bucket that the model cannot take. A text's length is not known here.
fn past_buckets(engine: &Engine, facts: &ModelFacts, cell: &Cell) -> Option<Reason> {
    let Engine::Torch(torch) = engine else { return None };
    let longest = torch.compile.as_ref()?.buckets.iter().copied().max()?;
    if let Some(context) = facts.n_positions.filter(|&context| u64::from(longest) > context) {
        let reason = format!("a bucket of {longest} tokens exceeds the context of {context}");
        return Some(("context_exceeded", reason));
    }
    let prompt = cell.prompt_tokens.filter(|&prompt| prompt > longest)?;
    Some(("prompt_too_long", format!("{prompt} prompt tokens exceed the largest bucket, {longest}")))
}

/// BOS and a nonce of one token.
const SHORTEST_BY_TOKENS: u32 = 2;

/// BOS, a first word and a nonce of two, where only the server can tokenise.
const SHORTEST_BY_WORDS: u32 = 4;

/// What does not fit into the context or into memory.
fn too_large(engine: &Engine, facts: &ModelFacts, budget: Bytes, cell: &Cell, needed: Bytes) -> Option<Reason> {
    // The token that the prefill itself yields is fed to the first decode step and takes a position too. A server
    // counts one more: the token it returns last.
    let (context, last) = match engine {
        Engine::Ollama(ollama) => {
            let asked = u64::from(ollama.num_ctx);
            (Some(facts.n_positions.map_or(asked, |longest| longest.min(asked))), 1)
        }
        Engine::Onnx(_) | Engine::Torch(_) | Engine::Worker(_) | Engine::Simulated(_) => (facts.n_positions, 0),
    };
    let prompt = cell.prompt_tokens.or_else(|| facts.text_tokens.get(&cell.scenario).copied());
    if let (Some(prompt), Some(context)) = (prompt, context)
        && u64::from(prompt) + u64::from(cell.gen_tokens) + last > context
    {
        let steps = cell.gen_tokens;
        let reason = format!("{prompt} prompt tokens and {steps} decode steps exceed the context of {context}");
        return Some(("context_exceeded", reason));
    }
    (needed > budget).then(|| ("memory", format!("needs about {needed}, allowed: {budget} (limits.memory)")))
}

/// Memory a session is expected to take while it is called as this cell says. An estimate for keeping sessions
/// resident together, on the safe side.
///
/// ONNX Runtime on CPU keeps packed copies of the matrices beside the weights, 2.2 times the weights in all, and
/// returns a step's KV cache as a new tensor while the old one is still its input. An Ollama server allocates the
/// whole context in 16-bit floats. What only a server knows of a model is left out.
fn resident_bytes(engine: &Engine, facts: &ModelFacts, scenario: &Scenario, cell: &Cell) -> Bytes {
    let weights = facts.weights_bytes(cell.dtype).map_or(0, |bytes| bytes.0);
    let longest = facts.n_positions.unwrap_or(u64::MAX);
    let cached_tokens = match (engine, cell.procedure) {
        (Engine::Ollama(ollama), _) => longest.min(u64::from(ollama.num_ctx)),
        (_, Procedure::Uncached) => 0,
        (_, Procedure::Prefill | Procedure::PrefillDecode) => {
            let prompt = cell.prompt_tokens.map_or_else(|| most_tokens(&scenario.prompt), u64::from);
            (prompt + u64::from(cell.gen_tokens)).min(longest)
        }
    };
    let cache = |dtype| {
        let per_token = facts.kv_bytes_per_token(dtype).map_or(0, |bytes| bytes.0);
        per_token.saturating_mul(cached_tokens).saturating_mul(u64::from(cell.batch))
    };
    let (weights, cache) = match engine {
        Engine::Onnx(onnx) if onnx.provider == Provider::Cpu => (weights / 5 * 11, cache(cell.dtype).saturating_mul(2)),
        Engine::Onnx(_) => (weights, cache(cell.dtype).saturating_mul(2)),
        Engine::Ollama(_) => (weights, cache(Dtype::F16)),
        // The interpreter and its libraries, and a static cache.
        Engine::Torch(_) | Engine::Worker(_) => (weights.saturating_add(TORCH_PROCESS), cache(cell.dtype)),
        Engine::Simulated(_) => (weights, cache(cell.dtype)),
    };
    Bytes(weights.saturating_add(cache).saturating_add(SESSION_OVERHEAD))
}

/// Resident set of a torch worker before it has a model: measured 0.6 GB with transformers, more once it compiled.
const TORCH_PROCESS: u64 = 1 << 30;

/// A bound on a text's tokens before it is tokenised: no token stands for less than a byte, and BOS comes first.
fn most_tokens(prompt: &Prompt) -> u64 {
    let bytes = match prompt {
        Prompt::Text(text) => text.len(),
        Prompt::Texts { texts, .. } => texts.iter().map(String::len).max().unwrap_or(0),
        Prompt::Tokens(tokens) | Prompt::File { tokens, .. } => *tokens as usize,
    };
    bytes as u64 + 1
}
