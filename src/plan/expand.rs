//! Scenario file → plan: every combination of the axes, either as a cell or as a skipped one with its rule.

use serde_json::json;

use super::only::Only;
use super::{Cell, CellId, FORMAT, ModelFacts, Plan, PlanError, PlannedSession, SessionKey, SkippedCell};
use crate::hash::sha256_hex;
use crate::model::ModelSource;
use crate::spec::{BackendSpec, Dtype, Engine, Prompt, Provider, Scenario, Spec};
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
pub fn expand(spec: &Spec, facts: &[ModelFacts], budget: Bytes, only: &Only) -> Result<Plan, PlanError> {
    let mut plan = Plan {
        format: FORMAT,
        name: spec.name.clone(),
        seed: spec.seed,
        order: spec.order,
        repetitions: spec.repetitions,
        early_stop: spec.early_stop,
        modes: spec.modes.clone(),
        fit: spec.fit,
        timeout_ns: Nanos::from(spec.timeout),
        degraded_rate: spec.limits.degraded_rate,
        memory_budget_bytes: budget,
        sessions: Vec::new(),
        cells: Vec::new(),
        skipped: Vec::new(),
    };
    for backend in &spec.backends {
        for model in &spec.models {
            let facts =
                facts.iter().find(|f| f.name == model.name).ok_or_else(|| PlanError::NoFacts(model.name.clone()))?;
            session(&mut plan, spec, backend, model, facts, only);
        }
    }
    Ok(plan)
}

/// Adds everything that one backend does with one model.
fn session(plan: &mut Plan, spec: &Spec, backend: &BackendSpec, model: &ModelSource, facts: &ModelFacts, only: &Only) {
    let key = SessionKey { backend: backend.name.clone(), model: model.name.clone() };
    let mut resident: Option<Bytes> = None;
    for scenario in &spec.scenarios {
        for (procedure, steps) in calls(&spec.modes, &scenario.gen_tokens) {
            let cell = cell(&key, backend.engine.dtype(), scenario, procedure, steps);
            let needed = resident_bytes(&backend.engine, facts, scenario, &cell);
            match skipped(spec, only, facts, plan.memory_budget_bytes, &cell, needed) {
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
            max_resident: match &backend.engine {
                Engine::Onnx(_) => None,
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

/// The first rule that leaves a cell out, with its reason.
fn skipped(
    spec: &Spec,
    only: &Only,
    facts: &ModelFacts,
    budget: Bytes,
    cell: &Cell,
    needed: Bytes,
) -> Option<(&'static str, String)> {
    if !only.keeps(cell) {
        return Some(("only", format!("not selected by --only {only}")));
    }
    let matches = |selector: &Option<String>, name: &str| selector.as_deref().is_none_or(|s| s == name);
    let rule = spec.skip.iter().find(|rule| {
        matches(&rule.model, &cell.session.model)
            && matches(&rule.backend, &cell.session.backend)
            && matches(&rule.scenario, &cell.scenario)
    });
    if let Some(rule) = rule {
        return Some(("skip", rule.reason.clone()));
    }
    // The token that the prefill itself yields is fed to the first decode step and takes a position too.
    if let Some(prompt) = cell.prompt_tokens
        && u64::from(prompt) + u64::from(cell.gen_tokens) > facts.n_positions
    {
        let reason = format!(
            "{prompt} prompt tokens and {} decode steps exceed the context of {}",
            cell.gen_tokens, facts.n_positions
        );
        return Some(("context_exceeded", reason));
    }
    (needed > budget).then(|| ("memory", format!("needs about {needed}, allowed: {budget} (limits.memory)")))
}

/// Memory a session is expected to take while it is called as this cell says. An estimate for keeping sessions
/// resident together, on the safe side.
///
/// ONNX Runtime on CPU keeps packed copies of the matrices beside the weights, 2.2 times the weights in all, and
/// returns a step's KV cache as a new tensor while the old one is still its input.
fn resident_bytes(engine: &Engine, facts: &ModelFacts, scenario: &Scenario, cell: &Cell) -> Bytes {
    let weights = facts.weights_bytes(cell.dtype).0;
    let cached_tokens = match cell.procedure {
        Procedure::Uncached => 0,
        Procedure::Prefill | Procedure::PrefillDecode => {
            let prompt = cell.prompt_tokens.map_or_else(|| most_tokens(&scenario.prompt), u64::from);
            (prompt + u64::from(cell.gen_tokens)).min(facts.n_positions)
        }
    };
    let cache =
        facts.kv_bytes_per_token(cell.dtype).0.saturating_mul(cached_tokens).saturating_mul(u64::from(cell.batch));
    let (weights, cache) = match engine {
        Engine::Onnx(onnx) if onnx.provider == Provider::Cpu => (weights / 5 * 11, cache.saturating_mul(2)),
        Engine::Onnx(_) => (weights, cache.saturating_mul(2)),
        Engine::Simulated(_) => (weights, cache),
    };
    Bytes(weights.saturating_add(cache).saturating_add(SESSION_OVERHEAD))
}

/// A bound on a text's tokens before it is tokenised: no token stands for less than a byte, and BOS comes first.
fn most_tokens(prompt: &Prompt) -> u64 {
    let bytes = match prompt {
        Prompt::Text(text) => text.len(),
        Prompt::Texts { texts, .. } => texts.iter().map(String::len).max().unwrap_or(0),
        Prompt::Tokens(tokens) | Prompt::File { tokens, .. } => *tokens as usize,
    };
    bytes as u64 + 1
}
