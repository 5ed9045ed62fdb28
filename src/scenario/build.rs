//! Typed values from a tree that was checked.
//!
//! `None` everywhere means: not there, or wrong in a way that [`super::check`] has reported.

use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::node::Node;
use super::quantity;
use super::{
    BackendSettings, CompileSettings, ConnectSettings, EarlyStop, Engine, Fault, FitAxis, Law, Limits, OllamaSettings,
    OnnxSettings, Prompt, Provider, Repetitions, Resources, Scenario, ScenarioFile, SimulatedSettings, SkipRule,
    TelemetrySettings, TorchDevice, TorchSettings,
};
use crate::model::{Form, ModelSource};
use crate::terms::Mode;
use crate::units::Bytes;

/// The whole file. `base` is the folder that relative paths start from.
pub fn file(root: &Node, base: &Path) -> Option<ScenarioFile> {
    let mut modes: Vec<Mode> = words(root.get("modes")?)?;
    modes.sort_unstable();
    let decodes = modes.iter().any(|mode| *mode != Mode::Prefill);
    let default_steps: Vec<u32> = if decodes { wholes(root.get("gen_tokens")?)? } else { Vec::new() };
    let warmups = root.get("warmups")?.whole()?;
    Some(ScenarioFile {
        name: text(root, "name")?,
        seed: root.get("seed")?.whole()?,
        order: word(root.get("order")?)?,
        repetitions: repetitions(root.get("repetitions")?)?,
        early_stop: early_stop(root.get("early_stop")?)?,
        modes,
        fit: word::<FitAxis>(root.get("fit")?.get("x")?)?,
        timeout: duration(root, "timeout")?,
        scenarios: each(root, "scenarios", |n| scenario(n, base, decodes, &default_steps))?,
        models: each(root, "models", |n| model(n, base))?,
        backends: each(root, "backends", |n| backend(n, warmups))?,
        skip: each(root, "skip", skip)?,
        limits: limits(root.get("limits")?)?,
        telemetry: optional(root, "telemetry", telemetry)?,
    })
}

fn each<T>(root: &Node, key: &str, build: impl Fn(&Node) -> Option<T>) -> Option<Vec<T>> {
    root.get(key)?.items().iter().map(build).collect()
}

fn text(node: &Node, key: &str) -> Option<String> {
    node.get(key)?.text().map(str::to_owned)
}

/// A value of an enum by its serialized name.
fn word<T: DeserializeOwned>(node: &Node) -> Option<T> {
    serde_json::from_value(node.text()?.into()).ok()
}

fn words<T: DeserializeOwned>(node: &Node) -> Option<Vec<T>> {
    node.items().iter().map(word).collect()
}

fn wholes<T: TryFrom<i128>>(node: &Node) -> Option<Vec<T>> {
    node.items().iter().map(Node::whole).collect()
}

fn number(node: &Node, key: &str) -> Option<f64> {
    node.get(key)?.number()
}

fn duration(node: &Node, key: &str) -> Option<Duration> {
    quantity::duration(node.get(key)?.text()?).ok()
}

/// `Some(None)` where an optional key is absent.
fn optional<T>(node: &Node, key: &str, build: impl Fn(&Node) -> Option<T>) -> Option<Option<T>> {
    match node.get(key) {
        None => Some(None),
        Some(value) => build(value).map(Some),
    }
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

fn early_stop(node: &Node) -> Option<EarlyStop> {
    Some(EarlyStop {
        retries: node.get("retries")?.whole()?,
        min_steps: node.get("min_steps")?.whole()?,
        scale: node.get("scale")?.flag()?,
    })
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
        name: text(node, "name")?,
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
        Form::Served(text(node, "ollama")?)
    };
    Some(ModelSource { name: text(node, "name")?, form })
}

fn backend(node: &Node, default_warmups: u32) -> Option<BackendSettings> {
    let engine = if let Some(settings) = node.get("onnx") {
        Engine::Onnx(onnx(settings)?)
    } else if let Some(settings) = node.get("ollama") {
        Engine::Ollama(ollama(settings)?)
    } else if let Some(settings) = node.get("torch") {
        Engine::Torch(torch(settings)?)
    } else if let Some(settings) = node.get("worker") {
        Engine::Worker(worker(settings)?)
    } else {
        Engine::Simulated(Box::new(simulated(node.get("simulated")?)?))
    };
    Some(BackendSettings {
        name: text(node, "name")?,
        warmups: optional(node, "warmups", Node::whole)?.unwrap_or(default_warmups),
        engine,
    })
}

fn onnx(node: &Node) -> Option<OnnxSettings> {
    Some(OnnxSettings {
        provider: word(node.get("provider")?)?,
        device: optional(node, "device", Node::whole)?.unwrap_or(0),
        threads: optional(node, "threads", Node::whole)?,
        optimisation: word(node.get("optimisation")?)?,
        dtype: word(node.get("dtype")?)?,
        arg_max: word(node.get("arg_max")?)?,
        isolation: word(node.get("isolation")?)?,
    })
}

fn torch(node: &Node) -> Option<TorchSettings> {
    let device = match word(node.get("device")?)? {
        Provider::Cpu => TorchDevice::Cpu,
        Provider::Cuda => TorchDevice::Cuda(optional(node, "gpu", Node::whole)?.unwrap_or(0)),
    };
    let resources = node.get("resources")?;
    Some(TorchSettings {
        launch: word(node.get("launch")?)?,
        resources: Resources {
            memory: optional(resources, "memory", bytes)?,
            cpus: optional(resources, "cpus", Node::whole)?,
            pids: optional(resources, "pids", Node::whole)?,
        },
        device,
        dtype: word(node.get("dtype")?)?,
        threads: optional(node, "threads", Node::whole)?,
        compile: optional(node, "compile", compile)?,
    })
}

fn compile(node: &Node) -> Option<CompileSettings> {
    Some(CompileSettings {
        prefill: node.get("prefill")?.flag()?,
        decode: node.get("decode")?.flag()?,
        backend: word(node.get("backend")?)?,
        mode: word(node.get("mode")?)?,
        dynamic: word(node.get("dynamic")?)?,
        buckets: wholes(node.get("buckets")?)?,
        fullgraph: node.get("fullgraph")?.flag()?,
        on_recompile: word(node.get("on_recompile")?)?,
        recompile_limit: optional(node, "recompile_limit", Node::whole)?,
    })
}

fn worker(node: &Node) -> Option<ConnectSettings> {
    let owned = |n: &Node| n.text().map(str::to_owned);
    Some(ConnectSettings {
        address: text(node, "address")?,
        token_env: optional(node, "token_env", owned)?,
        device: text(node, "device")?,
        dtype: word(node.get("dtype")?)?,
        threads: optional(node, "threads", Node::whole)?,
        options: each(node, "options", |option| {
            option.text()?.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()))
        })?,
    })
}

fn ollama(node: &Node) -> Option<OllamaSettings> {
    Some(OllamaSettings {
        url: text(node, "url")?,
        device: word(node.get("device")?)?,
        num_ctx: node.get("num_ctx")?.whole()?,
        num_batch: node.get("num_batch")?.whole()?,
        threads: optional(node, "threads", Node::whole)?,
        dtype: word(node.get("dtype")?)?,
        temperature: number(node, "temperature")?,
        max_resident: optional(node, "max_resident", Node::whole)?,
    })
}

fn simulated(node: &Node) -> Option<SimulatedSettings> {
    Some(SimulatedSettings {
        load: law(node.get("load")?)?,
        prefill_per_token: law(node.get("prefill_per_token")?)?,
        decode_per_step: law(node.get("decode_per_step")?)?,
        noise: number(node, "noise")?,
        autocorrelation: number(node, "autocorrelation")?,
        cold_factor: number(node, "cold_factor")?,
        cold_shape_factor: number(node, "cold_shape_factor")?,
        drift_per_call: number(node, "drift_per_call")?,
        early_stop_rate: number(node, "early_stop_rate")?,
        faults: each(node, "faults", fault)?,
        power_w: optional(node, "power_w", Node::number)?,
        max_resident: optional(node, "max_resident", Node::whole)?,
        pace: word(node.get("pace")?)?,
    })
}

fn law(node: &Node) -> Option<Law> {
    Some(Law { base: duration(node, "base")?, exponent: number(node, "exponent")? })
}

fn fault(node: &Node) -> Option<Fault> {
    let name = |n: &Node| n.text().map(str::to_owned);
    Some(Fault {
        kind: word(node.get("kind")?)?,
        model: optional(node, "model", name)?,
        scenario: optional(node, "scenario", name)?,
        every: node.get("every")?.whole()?,
    })
}

fn skip(node: &Node) -> Option<SkipRule> {
    let name = |n: &Node| n.text().map(str::to_owned);
    Some(SkipRule {
        model: optional(node, "model", name)?,
        backend: optional(node, "backend", name)?,
        scenario: optional(node, "scenario", name)?,
        reason: text(node, "reason")?,
    })
}

fn bytes(node: &Node) -> Option<Bytes> {
    quantity::bytes(node.text()?).ok()
}

fn limits(node: &Node) -> Option<Limits> {
    Some(Limits { degraded_rate: number(node, "degraded_rate")?, memory: optional(node, "memory", bytes)? })
}
