//! A scenario's settings as the protocol carries them, and ONNX Runtime's back again in our own worker.

use std::collections::{BTreeMap, HashMap};

use super::protocol::Settings;
use crate::spec::{
    ArgMax, CompileSpec, ConnectSpec, Dtype, Isolation, Launch, OnRecompile, OnnxSpec, Optimisation, Provider,
    TorchDevice, TorchSpec,
};
use crate::terms::Phase;

/// Settings of the torch worker. A container is given one GPU, which is its first.
#[must_use]
pub fn of_torch(spec: &TorchSpec) -> Settings {
    let device = match (spec.launch, spec.device) {
        (Launch::Docker, TorchDevice::Cuda(_)) => TorchDevice::Cuda(0),
        (_, device) => device,
    };
    Settings {
        device: device.to_string(),
        dtype: spec.dtype.as_str().to_owned(),
        threads: spec.threads,
        options: spec.compile.as_ref().map(compile_options).unwrap_or_default(),
    }
}

fn compile_options(spec: &CompileSpec) -> HashMap<String, String> {
    let mut options = HashMap::new();
    let mut set = |key: &str, value: String| options.insert(format!("compile.{key}"), value);
    set("prefill", spec.prefill.to_string());
    set("decode", spec.decode.to_string());
    set("backend", spec.backend.as_str().to_owned());
    set("mode", spec.mode.as_str().to_owned());
    set("dynamic", spec.dynamic.as_str().to_owned());
    set("fullgraph", spec.fullgraph.to_string());
    let on_recompile = match spec.on_recompile {
        OnRecompile::Fail => "fail",
        OnRecompile::Record => "record",
    };
    set("on_recompile", on_recompile.to_owned());
    if !spec.buckets.is_empty() {
        set("buckets", spec.buckets.iter().map(u32::to_string).collect::<Vec<_>>().join(","));
    }
    if let Some(limit) = spec.recompile_limit {
        set("recompile_limit", limit.to_string());
    }
    options
}

/// What the worker's evidence must name for a phase to be compiled. A phase that is not here may run as it likes.
#[must_use]
pub fn compiled_phases(spec: &TorchSpec) -> BTreeMap<Phase, String> {
    let Some(compile) = &spec.compile else { return BTreeMap::new() };
    [(Phase::Prefill, compile.prefill), (Phase::KvDecode, compile.decode)]
        .into_iter()
        .filter(|(_, compiled)| *compiled)
        .map(|(phase, _)| (phase, compile.backend.as_str().to_owned()))
        .collect()
}

/// Settings of a worker at an address.
#[must_use]
pub fn of_connect(spec: &ConnectSpec) -> Settings {
    Settings {
        device: spec.device.clone(),
        dtype: spec.dtype.as_str().to_owned(),
        threads: spec.threads,
        options: spec.options.iter().cloned().collect(),
    }
}

/// Settings of our own ONNX Runtime worker.
#[must_use]
pub fn of_onnx(spec: &OnnxSpec) -> Settings {
    let device = match spec.provider {
        Provider::Cpu => "cpu".to_owned(),
        Provider::Cuda => format!("cuda:{}", spec.device),
    };
    let optimisation = OPTIMISATION.iter().find(|(_, level)| *level == spec.optimisation).map_or("", |(name, _)| name);
    let arg_max = ARG_MAX.iter().find(|(_, place)| *place == spec.arg_max).map_or("", |(name, _)| name);
    let options = [("optimisation", optimisation), ("arg_max", arg_max)];
    Settings {
        device,
        dtype: spec.dtype.as_str().to_owned(),
        threads: spec.threads,
        options: options.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
    }
}

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
pub fn onnx(settings: &Settings) -> Result<OnnxSpec, String> {
    let (provider, device) = match settings.device.split_once(':') {
        None if settings.device == "cpu" => (Provider::Cpu, Ok(0)),
        None if settings.device == "cuda" => (Provider::Cuda, Ok(0)),
        Some(("cuda", index)) => (Provider::Cuda, index.parse()),
        _ => return Err(format!("unknown device `{}`, known: cpu, cuda, cuda:N", settings.device)),
    };
    let dtype = match settings.dtype.as_str() {
        "f32" => Dtype::F32,
        "f16" => Dtype::F16,
        other => return Err(format!("unknown dtype `{other}`, known: f32, f16")),
    };
    let mut spec = OnnxSpec {
        provider,
        device: device.map_err(|_| format!("unknown device `{}`, known: cpu, cuda, cuda:N", settings.device))?,
        threads: settings.threads,
        optimisation: Optimisation::All,
        dtype,
        arg_max: ArgMax::Outside,
        isolation: Isolation::None,
    };
    if spec.threads == Some(0) {
        return Err("threads is 0, allowed: 1 or more, or none for the engine's choice".to_owned());
    }
    for (key, value) in settings.options.iter().collect::<BTreeMap<_, _>>() {
        match key.as_str() {
            "optimisation" => spec.optimisation = word(key, value, &OPTIMISATION)?,
            "arg_max" => spec.arg_max = word(key, value, &ARG_MAX)?,
            _ => return Err(format!("unknown option `{key}`, known: arg_max, optimisation")),
        }
    }
    Ok(spec)
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
    use crate::spec::{CompileBackend, CompileMode, Dynamic, Resources};

    fn torch(compile: Option<CompileSpec>) -> TorchSpec {
        TorchSpec {
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
        let alone = of_torch(&TorchSpec { launch: Launch::Docker, ..torch(None) });
        assert_eq!(alone.device, "cuda:0", "a container has the one GPU that was asked for");
        assert!(compiled_phases(&torch(None)).is_empty());
        let spec = torch(Some(CompileSpec {
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
        let told: BTreeMap<_, _> = of_torch(&spec).options.into_iter().collect();
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
        assert_eq!(compiled_phases(&spec), [(Phase::KvDecode, "aot_eager".to_owned())].into());
    }

    #[test]
    fn onnx_arrives_as_it_was_sent() {
        for provider in [Provider::Cpu, Provider::Cuda] {
            for (_, optimisation) in OPTIMISATION {
                for (_, arg_max) in ARG_MAX {
                    let device = if provider == Provider::Cuda { 2 } else { 0 };
                    let (threads, dtype, isolation) = (Some(2), Dtype::F16, Isolation::None);
                    let spec = OnnxSpec { provider, device, threads, optimisation, dtype, arg_max, isolation };
                    assert_eq!(onnx(&of_onnx(&spec)).unwrap(), spec);
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
            (Settings { device: "tpu".to_owned(), ..cpu.clone() }, "unknown device `tpu`, known: cpu, cuda, cuda:N"),
            (
                Settings { device: "cuda:x".to_owned(), ..cpu.clone() },
                "unknown device `cuda:x`, known: cpu, cuda, cuda:N",
            ),
            (Settings { dtype: "bf16".to_owned(), ..cpu.clone() }, "unknown dtype `bf16`, known: f32, f16"),
            (
                Settings { threads: Some(0), ..cpu.clone() },
                "threads is 0, allowed: 1 or more, or none for the engine's choice",
            ),
            (with("speed", "fast"), "unknown option `speed`, known: arg_max, optimisation"),
            (with("arg_max", "both"), "option arg_max is `both`, known: outside, inside"),
        ] {
            assert_eq!(onnx(&settings), Err(expected.to_owned()));
        }
    }
}
