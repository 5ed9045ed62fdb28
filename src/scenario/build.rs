//! Typed values from a tree that was checked.
//!
//! `None` everywhere means: not there, or wrong in a way that [`super::check`] has reported.

use std::path::Path;

use super::node::Node;
use super::typed::{bytes, duration, each, number, optional, optional_text, owned, wholes, word, words};
use super::{
    BackendSettings, NamedFile, Prompt, ReferenceSettings, RunLimits, Scenario, ScenarioFile, SkipRule,
    TelemetrySettings, engine,
};
use crate::model::{Form, ModelSource};
use crate::terms::{Disturbed, EarlyStop, FitAxis, Mode, Repetitions, SessionCount};

/// The whole file. `base` is the folder that relative paths start from.
pub fn file(root: &Node, base: &Path) -> Option<ScenarioFile> {
    let mut modes: Vec<Mode> = words(root.get("modes")?)?;
    modes.sort_unstable();
    let decodes = modes.iter().any(|mode| *mode != Mode::Prefill);
    let default_steps: Vec<u32> = if decodes { wholes(root.get("gen_tokens")?)? } else { Vec::new() };
    let warmups = root.get("warmups")?.whole()?;
    let sessions = sessions(root.get("sessions")?)?;
    Some(ScenarioFile {
        name: owned(root, "name")?,
        seed: root.get("seed")?.whole()?,
        order: word(root.get("order")?)?,
        repetitions: repetitions(root.get("repetitions")?)?,
        sessions,
        early_stop: early_stop(root.get("early_stop")?)?,
        disturbed: disturbed(root.get("disturbed")?)?,
        modes,
        fit: word::<FitAxis>(root.get("fit")?.get("x")?)?,
        timeout: duration(root, "timeout")?,
        scenarios: each(root, "scenarios", |n| scenario(n, base, decodes, &default_steps))?,
        scenario_places: each(root, "scenarios", |n| Some(n.at))?,
        models: each(root, "models", |n| model(n, base))?,
        model_places: each(root, "models", |n| Some(n.at))?,
        backends: each(root, "backends", |n| backend(n, base, warmups, sessions))?,
        skip: each(root, "skip", skip)?,
        limits: limits(root.get("limits")?)?,
        reference: reference(root.get("reference")?)?,
        telemetry: optional(root, "telemetry", telemetry)?,
        workload: optional(root, "workload", |node| named(node, base))?,
        claims: optional(root, "claims", |node| named(node, base))?,
    })
}

fn named(node: &Node, base: &Path) -> Option<NamedFile> {
    Some(NamedFile { path: base.join(node.text()?), at: node.at })
}

fn repetitions(node: &Node) -> Option<Repetitions> {
    if let Some(fixed) = node.get("fixed") {
        return fixed.whole().map(Repetitions::Fixed);
    }
    Some(Repetitions::Adaptive {
        min: node.get("min")?.whole()?,
        max: node.get("max")?.whole()?,
        until_relative_ci: number(node, "until_relative_ci")?,
    })
}

fn sessions(node: &Node) -> Option<SessionCount> {
    if let Some(count) = node.whole() {
        return Some(SessionCount { min: count, max: count });
    }
    Some(SessionCount { min: node.get("min")?.whole()?, max: node.get("max")?.whole()? })
}

fn early_stop(node: &Node) -> Option<EarlyStop> {
    Some(EarlyStop {
        retries: node.get("retries")?.whole()?,
        min_steps: node.get("min_steps")?.whole()?,
        scale: node.get("scale")?.flag()?,
    })
}

fn disturbed(node: &Node) -> Option<Disturbed> {
    Some(Disturbed {
        retry: node.get("retry")?.whole()?,
        foreign_cpu: number(node, "foreign_cpu")?,
        wait_quiet_ns: duration(node, "wait_quiet")?.into(),
    })
}

fn reference(node: &Node) -> Option<ReferenceSettings> {
    Some(ReferenceSettings { every: duration(node, "every")?, share: number(node, "share")? })
}

fn telemetry(node: &Node) -> Option<TelemetrySettings> {
    Some(TelemetrySettings {
        period: duration(node, "period")?,
        idle: duration(node, "idle")?,
        looped: duration(node, "looped")?,
        calibrate: node.get("calibrate")?.flag()?,
        sensors: optional(node, "sensors", words)?,
    })
}

fn scenario(node: &Node, base: &Path, decodes: bool, default_steps: &[u32]) -> Option<Scenario> {
    let own = optional(node, "gen_tokens", wholes)?.filter(|_| decodes);
    let prompt_node = node.get("prompt")?;
    let texts = prompt_node.get("texts").map_or(1, |texts| texts.items().len());
    Some(Scenario {
        name: owned(node, "name")?,
        prompt: prompt(prompt_node, base)?,
        batch: optional(node, "batch", Node::whole)?.or(u32::try_from(texts).ok())?,
        gen_tokens: own.unwrap_or_else(|| default_steps.to_vec()),
    })
}

fn prompt(node: &Node, base: &Path) -> Option<Prompt> {
    let pad_to = optional(node, "pad_to", Node::whole)?;
    if let Some(path) = node.get("file") {
        return Some(Prompt::File { path: base.join(path.text()?), tokens: node.get("tokens")?.whole()? });
    }
    if let Some(texts) = node.get("texts") {
        let texts = texts.items().iter().map(|t| t.text().map(str::to_owned));
        return Some(Prompt::Texts { texts: texts.collect::<Option<_>>()?, pad_to });
    }
    if let Some(only) = node.get("text") {
        let only = only.text()?.to_owned();
        return Some(match pad_to {
            None => Prompt::Text(only),
            Some(_) => Prompt::Texts { texts: vec![only], pad_to },
        });
    }
    node.get("tokens")?.whole().map(Prompt::Tokens)
}

fn model(node: &Node, base: &Path) -> Option<ModelSource> {
    let form = if let Some(recipe) = node.get("synthetic") {
        Form::Synthetic(super::recipe::build(recipe)?)
    } else if let Some(folder) = node.get("huggingface") {
        Form::Folder(base.join(folder.text()?))
    } else {
        Form::Served(owned(node, "ollama")?)
    };
    Some(ModelSource { name: owned(node, "name")?, form })
}

fn backend(node: &Node, base: &Path, default_warmups: u32, sessions: SessionCount) -> Option<BackendSettings> {
    let (engine, section) = engine::named(node).next()?;
    let built = (engine.build)(section)?;
    // Sessions of an engine in this process would share it, unless that is what was asked for.
    let apart = sessions.is_several() && section.get("isolation").is_none();
    Some(BackendSettings {
        name: owned(node, "name")?,
        warmups: optional(node, "warmups", Node::whole)?.unwrap_or(default_warmups),
        engine: if apart { built.apart() } else { built }.below(base),
    })
}

fn skip(node: &Node) -> Option<SkipRule> {
    Some(SkipRule {
        model: optional_text(node, "model")?,
        backend: optional_text(node, "backend")?,
        scenario: optional_text(node, "scenario")?,
        reason: owned(node, "reason")?,
    })
}

fn limits(node: &Node) -> Option<RunLimits> {
    Some(RunLimits { degraded_rate: number(node, "degraded_rate")?, memory: optional(node, "memory", bytes)? })
}
