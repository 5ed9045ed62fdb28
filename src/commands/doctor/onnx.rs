//! Every ONNX Runtime that is here: the one in use as its backend describes it, those beside it that a scenario file can name.

use std::path::Path;
use std::sync::Arc;

use super::finding::{Finding, Kind};
use crate::backend::onnx::OnnxBackend;
use crate::backend::onnx::library;
use crate::backend::onnx::library::source::{Fetched, fetched, find};
use crate::backend::{Backend, BackendError, Surroundings};
use crate::clock::RealClock;
use crate::record::manifest::Gpus;
use crate::scenario::{OnnxSettings, Provider, RuntimeSource};

/// What there is, with `gpus` deciding whether CUDA is looked for at all.
pub(super) fn findings(gpus: &Gpus, cache: &Path) -> Vec<Finding> {
    let mut findings = vec![selected("onnx, provider cpu", Provider::Cpu, cache), cuda(gpus, cache)];
    let in_use = library::locate(cache).ok().and_then(|located| located.path.canonicalize().ok());
    let beside = fetched(cache).into_iter().filter(|runtime| runtime.path.canonicalize().ok() != in_use);
    findings.extend(beside.map(one_beside));
    findings.extend(of_python(cache));
    findings
}

/// Asks the backend itself, as a run does before its first call.
fn selected(name: &'static str, provider: Provider, cache: &Path) -> Finding {
    let settings = OnnxSettings { provider, ..OnnxSettings::default() };
    let surroundings = Surroundings::new(Arc::new(RealClock::default()), cache.to_owned(), 0);
    match OnnxBackend::new("onnx", settings, surroundings).describe() {
        Ok(description) => Finding::backend(name, &description),
        Err(BackendError::Unavailable { what, fix, .. }) => Finding::missing(Kind::Backend, name, what, Some(fix)),
        Err(error) => Finding::missing(Kind::Backend, name, error.to_string(), None),
    }
}

/// As [`selected`]; but where the driver shows no GPU, that comes first.
fn cuda(gpus: &Gpus, cache: &Path) -> Finding {
    const NAME: &str = "onnx, provider cuda";
    match &gpus.absent {
        Some(absent) => {
            let fix = "nvidia-smi -L   (lists the GPUs that the driver shows; in a container: --gpus all)\n  \
                       phasebench setup onnxruntime --cuda   (once one is listed)";
            Finding::missing(Kind::Backend, NAME, absent.clone(), Some(fix.to_owned()))
        }
        None => selected(NAME, Provider::Cuda, cache),
    }
}

/// One that was fetched and is not in use: a process can load one, so it is known by what was unpacked.
fn one_beside(runtime: Fetched) -> Finding {
    let Fetched { version, build, path, whole } = runtime;
    let name = format!("onnx, {version} {}", build.word());
    if whole {
        let detail = format!("{}; in a scenario file: {}", path.display(), build.asked_for(&version));
        return Finding::ready(Kind::Backend, name, detail);
    }
    let again = format!("phasebench setup onnxruntime --version {version}{}", build.flag());
    let detail = format!("{} is not what was unpacked", path.display());
    Finding::missing(Kind::Backend, name, detail, Some(again))
}

/// That of the Python in use here. `None`: it has none, which is no loss.
fn of_python(cache: &Path) -> Option<Finding> {
    let located = find(cache, &RuntimeSource::Python("python3".into()), Provider::Cpu).ok()?;
    let detail = format!("{}; in a scenario file: onnx: {{ python: python3 }}", located.path.display());
    Some(Finding::ready(Kind::Backend, "onnx, of python3", detail))
}
