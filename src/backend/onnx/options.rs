//! How sessions are set. Most settings cannot be read back from the runtime, so what is set is what is recorded.

use std::collections::BTreeMap;

use ort::environment::Environment;
use ort::ep;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use super::api::TELLS_ASSIGNMENT;
use super::raw;
use crate::model;
use crate::scenario::{OnnxSettings, Optimisation, Provider};

/// Configuration entries of every session, with why.
const ENTRIES: [(&str, &str); 2] = [
    // Threads wait for work busily while a call runs, as the runtime does by default: fastest.
    ("session.intra_op.allow_spinning", "1"),
    // They stop when the call returns: a resident session that is not measured must not load the machine.
    ("session.force_spinning_stop", "1"),
];

/// Entry that has the runtime keep a record of where it assigned nodes, in versions that know it.
const RECORD: (&str, &str) = ("session.record_ep_graph_assignment_info", "1");

/// Entries of a session of this version of the interface.
fn entries(api: u32) -> impl Iterator<Item = (&'static str, &'static str)> {
    (api >= TELLS_ASSIGNMENT).then_some(RECORD).into_iter().chain(ENTRIES)
}

/// A builder with everything the scenario says, for one session.
///
/// # Errors
/// The runtime's words; for CUDA this is where a provider that cannot be loaded shows.
pub fn builder(environment: &Environment, settings: &OnnxSettings, api: u32) -> ort::Result<SessionBuilder> {
    let level = match settings.optimisation {
        Optimisation::Disabled => GraphOptimizationLevel::Disable,
        Optimisation::Basic => GraphOptimizationLevel::Level1,
        Optimisation::Extended => GraphOptimizationLevel::Level2,
        Optimisation::All => GraphOptimizationLevel::All,
    };
    let threads = usize::try_from(threads(settings)).unwrap_or(usize::MAX);
    let mut builder = SessionBuilder::new(environment)?
        .with_optimization_level(level)?
        .with_parallel_execution(false)?
        .with_intra_threads(threads)?;
    for (key, value) in entries(api) {
        builder = builder.with_config_entry(key, value)?;
    }
    // The crate turns the runtime's arena off unless asked; without it every step pays for `malloc`. The CPU's provider serves
    // whatever the one asked for does not.
    builder = builder.with_execution_providers([ep::CPU::default().with_arena_allocator(true).build()])?;
    if settings.provider != Provider::Cpu {
        raw::append(&mut builder, settings.provider, &provider_options(settings), api).map_err(ort::Error::new)?;
    }
    Ok(builder)
}

/// Options that the provider is given: ours, then the scenario's, which win.
fn provider_options(settings: &OnnxSettings) -> Vec<(String, String)> {
    let mut ours = Vec::new();
    if settings.provider.is_indexed() {
        ours.push(("device_id", settings.device.to_string()));
    }
    match settings.provider {
        // The runtime computes f32 in TF32 unless told not to.
        Provider::Cuda => ours.push(("use_tf32", "0".to_owned())),
        // It has threads of its own.
        Provider::Openvino => ours.push(("num_of_threads", threads(settings).to_string())),
        _ => {}
    }
    let asked = &settings.provider_options;
    let ours = ours.into_iter().map(|(key, value)| (key.to_owned(), value));
    ours.filter(|(key, _)| !asked.iter().any(|(own, _)| own == key)).chain(asked.iter().cloned()).collect()
}

/// Threads inside an operator: those asked for, else as many as physical cores that this process may use.
///
/// Always a number. Left to the runtime, it ties every thread but the caller's to a core of its own; the caller's then
/// shares one of them whenever the system puts it there, and a call takes twice as long for as long as that lasts.
fn threads(settings: &OnnxSettings) -> u32 {
    settings.threads.unwrap_or_else(|| {
        let usable = std::thread::available_parallelism().map_or(1, usize::from);
        let cores = sysinfo::System::physical_core_count().map_or(usable, |cores| cores.min(usable));
        u32::try_from(cores.max(1)).unwrap_or(u32::MAX)
    })
}

/// Its provider has no option for it; the variable is TensorRT's own.
fn tensorrt_tf32() -> &'static str {
    match std::env::var("NVIDIA_TF32_OVERRIDE").as_deref() {
        Ok("0") => "off",
        _ => "on where the board has it: NVIDIA_TF32_OVERRIDE is not 0",
    }
}

/// What [`builder`] sets, for the manifest.
#[must_use]
pub fn facts(settings: &OnnxSettings, api: u32) -> BTreeMap<String, String> {
    let threads = match settings.threads {
        Some(asked) => asked.to_string(),
        None => format!("{}: as many as physical cores", threads(settings)),
    };
    let level = match settings.optimisation {
        Optimisation::Disabled => "disabled",
        Optimisation::Basic => "basic",
        Optimisation::Extended => "extended",
        Optimisation::All => "all",
    };
    let mut facts: BTreeMap<_, _> = entries(api).map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    for (key, value) in [
        ("provider", settings.provider.name().to_owned()),
        ("intra_op_threads", threads),
        ("execution_mode", "sequential".to_owned()),
        ("cpu_memory_arena", "on".to_owned()),
        ("graph_optimisation", level.to_owned()),
        ("dtype", settings.dtype.as_str().to_owned()),
    ] {
        facts.insert(key.to_owned(), value);
    }
    if settings.provider.is_indexed() {
        facts.insert("device".to_owned(), settings.device.to_string());
    }
    match settings.provider {
        Provider::Cuda => drop(facts.insert("tf32".to_owned(), "off".to_owned())),
        Provider::Tensorrt => drop(facts.insert("tf32".to_owned(), tensorrt_tf32().to_owned())),
        _ => {}
    }
    if settings.provider != Provider::Cpu {
        let options = provider_options(settings).into_iter();
        facts.extend(options.map(|(key, value)| (format!("provider_options.{key}"), value)));
    }
    facts
}

/// Builds and drops a session of one node, to see whether the provider and the device really start.
///
/// # Errors
/// The runtime's words.
pub fn preflight(environment: &Environment, settings: &OnnxSettings, api: u32) -> ort::Result<()> {
    builder(environment, settings, api)?.commit_from_memory(&model::onnx::smallest())?;
    Ok(())
}
