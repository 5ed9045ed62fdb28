//! Scenario file → plan: every combination of the axes, either as a cell or as a skipped one with its rule.

use std::collections::BTreeSet;

use serde_json::json;

use super::estimate::shortest_time;
use super::only::Only;
use super::{ModelFacts, PlanError};
use crate::hash::sha256_hex;
use crate::model::{Form, ModelSource};
use crate::record::plan::{Cell, CellId, FORMAT, Plan, PlannedSession, ReferencePlan, SessionKey, SkippedCell};
use crate::scenario::limits::{AskedCell, Limits, PromptSize, Refusal};
use crate::scenario::{BackendSettings, Prompt, Scenario, ScenarioFile};
use crate::terms::{Disturbed, Dtype, Mode, Procedure};
use crate::units::{Bytes, Nanos};

/// What a session needs besides weights and cache: the runtime's own structures and activations.
const SESSION_OVERHEAD: u64 = 64 << 20;

/// Expands a scenario file.
///
/// `facts` says what each model is, `budget` is the memory that resident sessions may take together, `only` what
/// is left of the matrix. Cells come in file order: backend, model, scenario, decode steps, procedure.
///
/// # Errors
/// A model without facts; more calls than any run makes.
pub fn expand(file: &ScenarioFile, facts: &[ModelFacts], budget: Bytes, only: &Only) -> Result<Plan, PlanError> {
    let mut plan = Plan {
        format: FORMAT,
        name: file.name.clone(),
        seed: file.seed,
        order: file.order,
        repetitions: file.repetitions,
        session_count: file.sessions,
        early_stop: file.early_stop,
        disturbed: disturbed(file),
        reference: reference(file),
        slowdown: None,
        modes: file.modes.clone(),
        fit: file.fit,
        timeout_ns: Nanos::from(file.timeout),
        degraded_rate: file.limits.degraded_rate,
        memory_budget_bytes: budget,
        sessions: Vec::new(),
        cells: Vec::new(),
        skipped: Vec::new(),
        workload: None,
        claims: Vec::new(),
    };
    for backend in &file.backends {
        for model in &file.models {
            let facts =
                facts.iter().find(|f| f.name == model.name).ok_or_else(|| PlanError::NoFacts(model.name.clone()))?;
            session(&mut plan, file, backend, model, facts, only);
        }
    }
    if let Some(why) = plan.impossible() {
        return Err(PlanError::Impossible(why));
    }
    let shortest = shortest_time(&plan, file, facts);
    if let Some(rule) = &mut plan.reference {
        rule.begins = is_long_enough(rule, shortest);
    }
    Ok(plan)
}

/// What is made of disturbed calls. Where a script tells all times, nothing outside of it can disturb a call.
fn disturbed(file: &ScenarioFile) -> Disturbed {
    let can_be = file.backends.iter().any(|backend| backend.engine.limits().can_be_disturbed());
    if can_be { file.disturbed } else { Disturbed::never() }
}

/// When the machine itself is measured. `None`: the file says never, or all time is scripted.
fn reference(file: &ScenarioFile) -> Option<ReferencePlan> {
    let limits = || file.backends.iter().map(|backend| backend.engine.limits());
    let wanted = !file.reference.every.is_zero() && limits().any(|limits| !limits.virtual_clock());
    let threads: BTreeSet<u32> = limits().filter_map(|limits| limits.threads()).collect();
    let (every_ns, share) = (Nanos::from(file.reference.every), file.reference.share);
    let boards = limits().any(|limits| limits.asks_for_board());
    wanted.then(|| ReferencePlan { threads: threads.into_iter().collect(), every_ns, share, begins: true, boards })
}

/// A run may be so many times as fast as its estimate, and the first measurement of the machine still keeps within its share.
const FASTER: f64 = 2.0;

/// Whether a run of at least this estimate has the time to measure the machine before anything is loaded.
#[expect(clippy::cast_precision_loss, reason = "2^53 ns is 104 days")]
fn is_long_enough(rule: &ReferencePlan, shortest: Nanos) -> bool {
    rule.share * shortest.0 as f64 >= FASTER * rule.takes(ReferencePlan::KERNELS.0).0 as f64
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
    let limits = backend.engine.limits();
    let served = matches!(model.form, Form::Served(_));
    let dtype = if served { Dtype::AsServed } else { limits.dtype() };
    let mut resident: Option<Bytes> = None;
    for scenario in &file.scenarios {
        for (procedure, steps) in calls(&file.modes, &scenario.gen_tokens) {
            let cell = cell(&key, dtype, scenario, procedure, steps);
            let needed = resident_bytes(limits, facts, scenario, &cell);
            let size = PromptSize { rows: cell.batch, tokens: cell.prompt_tokens };
            let asked = AskedCell { served, context: facts.n_positions, procedure, prompt: &scenario.prompt, size };
            let refusal = skipped(file, only, &cell)
                .or_else(|| limits.refusal(&asked))
                .or_else(|| past_context(limits, facts, &cell))
                .or_else(|| past_memory(plan.memory_budget_bytes, needed));
            match refusal {
                Some(Refusal { rule, reason }) => {
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
            may_stop_early: limits.may_stop_early(),
            max_resident: limits.max_resident(),
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

/// The command line's filter and the file's own rules.
fn skipped(file: &ScenarioFile, only: &Only, cell: &Cell) -> Option<Refusal> {
    if !only.keeps(cell) {
        return Some(Refusal::new("only", format!("not selected by --only {only}")));
    }
    let matches = |selector: &Option<String>, name: &str| selector.as_deref().is_none_or(|s| s == name);
    let rule = file.skip.iter().find(|rule| {
        matches(&rule.model, &cell.session.model)
            && matches(&rule.backend, &cell.session.backend)
            && matches(&rule.scenario, &cell.scenario)
    });
    rule.map(|rule| Refusal::new("skip", &rule.reason))
}

/// What does not fit into the context.
fn past_context(limits: &dyn Limits, facts: &ModelFacts, cell: &Cell) -> Option<Refusal> {
    let context = [facts.n_positions, limits.context().allocated()].into_iter().flatten().min()?;
    let prompt = cell.prompt_tokens.or_else(|| facts.text_tokens.get(&cell.scenario).copied())?;
    let steps = cell.gen_tokens;
    // The token that the prefill itself yields is fed to the first decode step and takes a position too.
    let positions = u64::from(prompt) + u64::from(steps) + limits.context().besides();
    (positions > context).then(|| {
        let reason = format!("{prompt} prompt tokens and {steps} decode steps exceed the context of {context}");
        Refusal::new("context_exceeded", reason)
    })
}

fn past_memory(budget: Bytes, needed: Bytes) -> Option<Refusal> {
    let reason = || format!("needs about {needed}, allowed: {budget} (limits.memory)");
    (needed > budget).then(|| Refusal::new("memory", reason()))
}

/// Memory a session is expected to take while it is called as this cell says. An estimate for keeping sessions
/// resident together, on the safe side. What only a server knows of a model is left out.
fn resident_bytes(limits: &dyn Limits, facts: &ModelFacts, scenario: &Scenario, cell: &Cell) -> Bytes {
    let weights = facts.weights_bytes(cell.dtype).unwrap_or(Bytes(0));
    let per_token = facts.kv_bytes_per_token(limits.cache_dtype(cell.dtype)).map_or(0, |bytes| bytes.0);
    let cached = cached_tokens(limits, facts, scenario, cell);
    let cache = per_token.saturating_mul(cached).saturating_mul(u64::from(cell.batch));
    Bytes(limits.resident(weights, Bytes(cache)).0.saturating_add(SESSION_OVERHEAD))
}

/// Tokens of one row that there is a KV cache for.
fn cached_tokens(limits: &dyn Limits, facts: &ModelFacts, scenario: &Scenario, cell: &Cell) -> u64 {
    let longest = facts.n_positions.unwrap_or(u64::MAX);
    if let Some(allocated) = limits.context().allocated() {
        return longest.min(allocated);
    }
    match cell.procedure {
        Procedure::Uncached => 0,
        Procedure::Prefill | Procedure::PrefillDecode => {
            let prompt = cell.prompt_tokens.map_or_else(|| most_tokens(&scenario.prompt), u64::from);
            (prompt + u64::from(cell.gen_tokens)).min(longest)
        }
    }
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
