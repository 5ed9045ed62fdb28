//! What a backend's workers are and are told: an engine's settings as the protocol carries them, and ONNX Runtime's back
//! again in our own worker.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use super::protocol::Settings;
use crate::scenario::{
    ArgMax, CompileSettings, ConnectSettings, Launch, OnRecompile, OnnxSettings, Optimisation, Provider, Resources,
    RuntimeSource, TorchDevice, TorchSettings, TorchSource, WorkerSource,
};
use crate::terms::{Dtype, Phase};

/// What the workers of one backend are, and what they are told.
#[derive(Debug, Clone)]
pub struct Workers {
    /// Where they come from.
    pub origin: Origin,
    /// What each is told when it loads a model.
    pub settings: Settings,
    /// Element type asked for.
    pub dtype: Dtype,
    /// What a worker's evidence must name for a phase to be compiled. A phase that is not here may run as it likes.
    pub compiled: BTreeMap<Phase, String>,
}

/// Where a worker comes from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// Somebody else's at an address; see [`ConnectSettings`].
    Address {
        /// The address.
        address: String,
        /// Environment variable that holds the token it wants. `None`: none.
        token_env: Option<String>,
    },
    /// A container of the torch worker's image.
    TorchContainer {
        /// Somebody's own image. `None`: the one that `phasebench setup torch --docker` built.
        image: Option<String>,
        /// What it may use.
        resources: Resources,
        /// Where the model must run.
        device: TorchDevice,
    },
    /// A process in the torch worker's environment.
    TorchProcess,
    /// A process in an environment that `phasebench setup torch --version` made.
    TorchVersion(String),
    /// A process in somebody's own environment, by its interpreter.
    TorchPython(PathBuf),
    /// A child of this program: `phasebench worker onnx`.
    OurOnnx {
        /// Which ONNX Runtime it loads.
        source: RuntimeSource,
        /// Chooses between the builds of a version.
        provider: Provider,
    },
    /// Somebody else's program, with its arguments before `--listen`.
    Command(Vec<String>),
}

impl Origin {
    /// Whether its processes are started and ended here.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        !matches!(self, Self::Address { .. })
    }

    /// Most sessions at once: a worker at an address holds one model; of ours there are as many as models.
    #[must_use]
    pub fn max_resident(&self) -> Option<u32> {
        if self.is_ours() { None } else { Some(1) }
    }
}

impl Workers {
    /// The torch worker.
    #[must_use]
    pub fn torch(settings: &TorchSettings) -> Self {
        let (resources, device) = (settings.resources, settings.device);
        let origin = match (settings.launch, settings.source.clone()) {
            (Launch::Docker, TorchSource::Image(image)) => {
                Origin::TorchContainer { image: Some(image), resources, device }
            }
            (Launch::Docker, _) => Origin::TorchContainer { image: None, resources, device },
            (Launch::Process, TorchSource::Version(version)) => Origin::TorchVersion(version),
            (Launch::Process, TorchSource::Python(python)) => Origin::TorchPython(python),
            (Launch::Process, TorchSource::Selected | TorchSource::Image(_)) => Origin::TorchProcess,
        };
        Self { origin, settings: of_torch(settings), dtype: settings.dtype, compiled: compiled_phases(settings) }
    }

    /// ONNX Runtime in children of this program.
    #[must_use]
    pub fn onnx(settings: &OnnxSettings) -> Self {
        Self {
            origin: Origin::OurOnnx { source: settings.source.clone(), provider: settings.provider },
            settings: of_onnx(settings),
            dtype: settings.dtype,
            compiled: BTreeMap::new(),
        }
    }

    /// Somebody else's worker.
    #[must_use]
    pub fn of_others(settings: &ConnectSettings) -> Self {
        let origin = match settings.source.clone() {
            WorkerSource::Address { address, token_env } => Origin::Address { address, token_env },
            WorkerSource::Command(command) => Origin::Command(command),
        };
        Self { origin, settings: of_connect(settings), dtype: settings.dtype, compiled: BTreeMap::new() }
    }
}

/// Settings of the torch worker. A container is given one GPU, which is its first.
fn of_torch(settings: &TorchSettings) -> Settings {
    let device = match (settings.launch, settings.device) {
        (Launch::Docker, TorchDevice::Cuda(_)) => TorchDevice::Cuda(0),
        (_, device) => device,
    };
    Settings {
        device: device.to_string(),
        dtype: settings.dtype.as_str().to_owned(),
        threads: settings.threads,
        options: settings.compile.as_ref().map(compile_options).unwrap_or_default(),
    }
}

fn compile_options(settings: &CompileSettings) -> HashMap<String, String> {
    let mut options = HashMap::new();
    let mut set = |key: &str, value: String| options.insert(format!("compile.{key}"), value);
    set("prefill", settings.prefill.to_string());
    set("decode", settings.decode.to_string());
    set("backend", settings.backend.as_str().to_owned());
    set("mode", settings.mode.as_str().to_owned());
    set("dynamic", settings.dynamic.as_str().to_owned());
    set("fullgraph", settings.fullgraph.to_string());
    let on_recompile = match settings.on_recompile {
        OnRecompile::Fail => "fail",
        OnRecompile::Record => "record",
    };
    set("on_recompile", on_recompile.to_owned());
    if !settings.buckets.is_empty() {
        set("buckets", settings.buckets.iter().map(u32::to_string).collect::<Vec<_>>().join(","));
    }
    if let Some(limit) = settings.recompile_limit {
        set("recompile_limit", limit.to_string());
    }
    options
}

/// What the worker's evidence must name for a phase to be compiled. A phase that is not here may run as it likes.
fn compiled_phases(settings: &TorchSettings) -> BTreeMap<Phase, String> {
    let Some(compile) = &settings.compile else { return BTreeMap::new() };
    [(Phase::Prefill, compile.prefill), (Phase::KvDecode, compile.decode)]
        .into_iter()
        .filter(|(_, compiled)| *compiled)
        .map(|(phase, _)| (phase, compile.backend.as_str().to_owned()))
        .collect()
}

/// Settings of somebody else's worker.
fn of_connect(settings: &ConnectSettings) -> Settings {
    Settings {
        device: settings.device.clone(),
        dtype: settings.dtype.as_str().to_owned(),
        threads: settings.threads,
        options: settings.options.iter().cloned().collect(),
    }
}

/// Settings of our own ONNX Runtime worker.
#[must_use]
pub fn of_onnx(settings: &OnnxSettings) -> Settings {
    let word = settings.provider.word();
    let device = if settings.provider.is_indexed() { format!("{word}:{}", settings.device) } else { word.to_owned() };
    let optimisation =
        OPTIMISATION.iter().find(|(_, level)| *level == settings.optimisation).map_or("", |(name, _)| name);
    let arg_max = ARG_MAX.iter().find(|(_, place)| *place == settings.arg_max).map_or("", |(name, _)| name);
    let options = [("optimisation", optimisation), ("arg_max", arg_max)];
    let ours = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let theirs =
        settings.provider_options.iter().map(|(key, value)| (format!("{PROVIDER_OPTION}{key}"), value.clone()));
    Settings {
        device,
        dtype: settings.dtype.as_str().to_owned(),
        threads: settings.threads,
        options: ours.into_iter().chain(theirs).collect(),
    }
}

/// How an option that is the provider's own begins.
const PROVIDER_OPTION: &str = "provider.";

const OPTIMISATION: [(&str, Optimisation); 4] = [
    ("disabled", Optimisation::Disabled),
    ("basic", Optimisation::Basic),
    ("extended", Optimisation::Extended),
    ("all", Optimisation::All),
];

const ARG_MAX: [(&str, ArgMax); 2] = [("outside", ArgMax::Outside), ("inside", ArgMax::Inside)];

/// The inverse of [`of_onnx`]; what a client leaves out is as in a scenario file.
///
/// # Errors
/// What is not known, and what is.
pub fn onnx(settings: &Settings) -> Result<OnnxSettings, String> {
    let (provider, device) = provider(&settings.device).ok_or_else(|| {
        format!("unknown device `{}`, known: cpu, cuda, cuda:N, or another provider's name", settings.device)
    })?;
    let dtype = match settings.dtype.as_str() {
        "f32" => Dtype::F32,
        "f16" => Dtype::F16,
        other => return Err(format!("unknown dtype `{other}`, known: f32, f16")),
    };
    let mut onnx = OnnxSettings { provider, device, threads: settings.threads, dtype, ..OnnxSettings::default() };
    if settings.threads == Some(0) {
        return Err("threads is 0, allowed: 1 or more, or none for the engine's choice".to_owned());
    }
    for (key, value) in settings.options.iter().collect::<BTreeMap<_, _>>() {
        match key.as_str() {
            "optimisation" => onnx.optimisation = word(key, value, &OPTIMISATION)?,
            "arg_max" => onnx.arg_max = word(key, value, &ARG_MAX)?,
            _ => match key.strip_prefix(PROVIDER_OPTION) {
                Some(option) => onnx.provider_options.push((option.to_owned(), value.clone())),
                None => {
                    return Err(format!(
                        "unknown option `{key}`, known: arg_max, optimisation, planned_calls, provider.*"
                    ));
                }
            },
        }
    }
    Ok(onnx)
}

/// `cuda:1` → the provider and its device.
fn provider(device: &str) -> Option<(Provider, u32)> {
    let (word, index) = device.split_once(':').map_or((device, None), |(word, index)| (word, Some(index)));
    let provider = Provider::of_word(word)?;
    match index {
        None => Some((provider, 0)),
        Some(index) if provider.is_indexed() => Some((provider, index.parse().ok()?)),
        Some(_) => None,
    }
}

fn word<T: Copy>(key: &str, value: &str, known: &[(&str, T)]) -> Result<T, String> {
    known.iter().find(|(name, _)| *name == value).map(|(_, found)| *found).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        format!("option {key} is `{value}`, known: {}", names.join(", "))
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::scenario::{CompileBackend, CompileMode, Dynamic, Isolation};

    fn torch(compile: Option<CompileSettings>) -> TorchSettings {
        TorchSettings {
            source: TorchSource::Selected,
            launch: Launch::Process,
            resources: Resources::default(),
            device: TorchDevice::Cuda(1),
            dtype: Dtype::F16,
            threads: Some(3),
            compile,
        }
    }

    #[test]
    fn torch_is_told_everything() {
        let eager = of_torch(&torch(None));
        assert_eq!((eager.device.as_str(), eager.dtype.as_str(), eager.threads), ("cuda:1", "f16", Some(3)));
        assert!(eager.options.is_empty());
        let alone = of_torch(&TorchSettings { launch: Launch::Docker, ..torch(None) });
        assert_eq!(alone.device, "cuda:0", "a container has the one GPU that was asked for");
        assert!(compiled_phases(&torch(None)).is_empty());
        let settings = torch(Some(CompileSettings {
            prefill: false,
            decode: true,
            backend: CompileBackend::AotEager,
            mode: CompileMode::Default,
            dynamic: Dynamic::Auto,
            buckets: vec![16, 64],
            fullgraph: true,
            on_recompile: OnRecompile::Record,
            recompile_limit: Some(4),
        }));
        let told: BTreeMap<_, _> = of_torch(&settings).options.into_iter().collect();
        let expected = [
            ("backend", "aot_eager"),
            ("buckets", "16,64"),
            ("decode", "true"),
            ("dynamic", "auto"),
            ("fullgraph", "true"),
            ("mode", "default"),
            ("on_recompile", "record"),
            ("prefill", "false"),
            ("recompile_limit", "4"),
        ];
        assert_eq!(told, expected.map(|(key, value)| (format!("compile.{key}"), value.to_owned())).into());
        assert_eq!(compiled_phases(&settings), [(Phase::KvDecode, "aot_eager".to_owned())].into());
    }

    #[test]
    fn onnx_arrives_as_it_was_sent() {
        for provider in [Provider::Cpu, Provider::Cuda, Provider::Openvino, Provider::Tensorrt] {
            for (_, optimisation) in OPTIMISATION {
                for (_, arg_max) in ARG_MAX {
                    let settings = OnnxSettings {
                        // The library is told on the worker's command line.
                        source: RuntimeSource::Selected,
                        provider,
                        provider_options: vec![("precision".to_owned(), "FP32".to_owned())],
                        device: if provider.is_indexed() { 2 } else { 0 },
                        threads: Some(2),
                        optimisation,
                        dtype: Dtype::F16,
                        arg_max,
                        isolation: Isolation::None,
                    };
                    assert_eq!(onnx(&of_onnx(&settings)).unwrap(), settings);
                }
            }
        }
    }

    #[test]
    fn what_onnx_does_not_know_is_refused_by_name() {
        let cpu = Settings { device: "cpu".to_owned(), dtype: "f32".to_owned(), ..Settings::default() };
        let with =
            |key: &str, value: &str| Settings { options: [(key.to_owned(), value.to_owned())].into(), ..cpu.clone() };
        for (settings, expected) in [
            (
                Settings { device: "tpu".to_owned(), ..cpu.clone() },
                "unknown device `tpu`, known: cpu, cuda, cuda:N, or another provider's name",
            ),
            (
                Settings { device: "cuda:x".to_owned(), ..cpu.clone() },
                "unknown device `cuda:x`, known: cpu, cuda, cuda:N, or another provider's name",
            ),
            (Settings { dtype: "bf16".to_owned(), ..cpu.clone() }, "unknown dtype `bf16`, known: f32, f16"),
            (
                Settings { threads: Some(0), ..cpu.clone() },
                "threads is 0, allowed: 1 or more, or none for the engine's choice",
            ),
            (with("speed", "fast"), "unknown option `speed`, known: arg_max, optimisation, planned_calls, provider.*"),
            (with("arg_max", "both"), "option arg_max is `both`, known: outside, inside"),
        ] {
            assert_eq!(onnx(&settings), Err(expected.to_owned()));
        }
    }
}
