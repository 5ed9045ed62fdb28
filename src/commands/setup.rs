//! `phasebench setup`: fetches a runtime into the cache and makes it the one in use.

use std::io::{self, Write};
use std::path::Path;

use crate::backend::BackendError;
use crate::backend::onnx::api;
use crate::backend::onnx::library::build::Build;
use crate::backend::onnx::library::source::{folder, library_in};
use crate::backend::onnx::library::{self, Inspected};
use crate::cli::{SetupCommand, SetupOnnxruntimeArgs, SetupTorchArgs};
use crate::commands::CommandError;
use crate::exit::Exit;
use crate::scenario::{Provider, is_version};
use crate::telemetry::nvml;
use crate::terminal::{Hidden, Results};
use crate::units::Bytes;

mod error;
mod fetch;
mod pins;
mod torch;

pub use error::SetupError;

/// Sets a runtime up.
///
/// # Errors
/// [`BackendError::Unavailable`] with what is missing and what helps.
pub fn execute(command: &SetupCommand, out: &mut dyn Write) -> Result<Exit, CommandError> {
    match command {
        SetupCommand::Onnxruntime(args) => execute_onnxruntime(args, out),
        SetupCommand::Torch(args) => execute_torch(args, out),
    }
}

fn execute_onnxruntime(args: &SetupOnnxruntimeArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let cache = crate::cache::root();
    let done = onnxruntime(args, &cache, &mut progress())
        .map_err(|error| unavailable(&cache, "onnx", error.to_string(), error.fix()))?;
    let Ready { library, before, selected } = done;
    let build = [(Provider::Cuda, " with CUDA"), (Provider::Openvino, " with OpenVINO")];
    let build = build.into_iter().find(|(provider, _)| library.has(*provider)).map_or(" for CPUs", |(_, words)| words);
    let state = match (selected, before) {
        (true, _) => is_ready(before),
        (false, true) => "was there already",
        (false, false) => "is ready",
    };
    writeln!(out, "ONNX Runtime {}{build} {state}", library.version)?;
    writeln!(out, "  {}", library.path.display())?;
    writeln!(out, "  sha256 {}", library.sha256)?;
    if !selected {
        writeln!(out, "  in a scenario file: {}", build_of(args).asked_for(&library.version))?;
    }
    Ok(Exit::Good)
}

fn execute_torch(args: &SetupTorchArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let cache = crate::cache::root();
    let (ready, before) = torch::setup(args, &cache, &mut progress())
        .map_err(|error| unavailable(&cache, "torch", error.to_string(), error.fix()))?;
    match ready {
        torch::Ready::Environment(environment) => {
            writeln!(out, "the torch environment {} {}", environment.id, is_ready(before))?;
            writeln!(out, "  {}", environment.python.display())?;
        }
        torch::Ready::Version(version, python) => {
            let before = if before { "was there already" } else { "is ready" };
            writeln!(out, "an environment with torch {version} {before}: torch: {{ version: {version} }}")?;
            writeln!(out, "  {}", python.display())?;
        }
        torch::Ready::Beside(packages) => {
            let before = if before { "were there already" } else { "are ready" };
            writeln!(out, "the worker's packages {} {before}; nothing was installed beside them", packages.id)?;
            writeln!(out, "  {}", packages.folder.display())?;
        }
        torch::Ready::Image(image) => {
            writeln!(out, "the image {} {}", image.tag, is_ready(before))?;
            writeln!(out, "  {}", image.image)?;
        }
    }
    Ok(Exit::Good)
}

/// Where people are told what is being done.
fn progress() -> impl Write {
    Results::new(io::stderr(), Hidden::Removed)
}

/// Why a runtime was not set up: the cache where nothing can be written into it, whatever came of that.
fn unavailable(cache: &Path, backend: &str, what: String, fix: String) -> CommandError {
    match crate::cache::writable(cache) {
        Err(refused) => refused.into(),
        Ok(()) => BackendError::Unavailable { backend: backend.to_owned(), what, fix }.into(),
    }
}

fn is_ready(before: bool) -> &'static str {
    if before { "was there already, and is the one in use" } else { "is ready" }
}

/// A library that was set up.
struct Ready {
    library: Inspected,
    /// It was unpacked before.
    before: bool,
    /// It is the one in use where a scenario names none.
    selected: bool,
}

fn onnxruntime(args: &SetupOnnxruntimeArgs, cache: &Path, progress: &mut dyn Write) -> Result<Ready, SetupError> {
    if let Some(path) = &args.library {
        let library = library::select(cache, path)?;
        return Ok(Ready { library, before: false, selected: true });
    }
    let build = build_of(args);
    let usual = if args.openvino { pins::OPENVINO } else { library::PINNED };
    let version = args.version.as_deref().unwrap_or(usual);
    if !is_version(version) || api::version(version).is_none() {
        return Err(SetupError::NoVersion { version: version.to_owned() });
    }
    let asked;
    let wheels = if version == library::PINNED && build != Build::Openvino {
        let words = if args.cuda { "CUDA" } else { "CPU" };
        let pinned = pins::wheels(std::env::consts::OS, std::env::consts::ARCH, args.cuda);
        pinned.ok_or(SetupError::NoBuild { build: words })?
    } else {
        asked =
            [pins::unpinned(version, build).ok_or_else(|| SetupError::NotWithCuda { version: version.to_owned() })?];
        &asked[..]
    };
    let folder = folder(cache, version, build);
    let before = fetch::is_whole(&folder, wheels);
    if !before {
        announce(wheels, &folder, args.cuda, progress);
        fetch::install(wheels, &folder, progress)?;
    }
    let path = library_in(&folder).unwrap_or_else(|| folder.join(format!("libonnxruntime.so.{version}")));
    let selected = args.version.is_none() && build != Build::Openvino;
    let library = if selected { library::select(cache, &path)? } else { library::inspect(&path)? };
    Ok(Ready { library, before, selected })
}

fn build_of(args: &SetupOnnxruntimeArgs) -> Build {
    match (args.cuda, args.openvino) {
        (true, _) => Build::Cuda,
        (false, true) => Build::Openvino,
        (false, false) => Build::Cpu,
    }
}

fn announce(wheels: &[pins::Wheel<'_>], folder: &Path, cuda: bool, progress: &mut dyn Write) {
    let total = |size: fn(&pins::Wheel<'_>) -> Bytes| Bytes(wheels.iter().map(|wheel| size(wheel).0).sum());
    let (download, disk) = (total(|wheel| wheel.size), total(|wheel| wheel.unpacked));
    let files = if wheels.len() == 1 { "file" } else { "files" };
    let about = if wheels.iter().all(|wheel| wheel.sha256.is_some()) { "" } else { "about " };
    let mut lines = vec![format!(
        "{} {files}, {about}{download} to download, {disk} on disk in {}",
        wheels.len(),
        folder.display()
    )];
    if folder.exists() {
        lines.push("what is there is incomplete or damaged, and is replaced".to_owned());
    }
    if let (true, Err(absent)) = (cuda, nvml::open()) {
        lines.push(format!("{absent}: it can be set up, but will not run"));
    }
    for line in lines {
        // Progress is for people; a closed standard error must not stop the work.
        let _ = writeln!(progress, "{line}");
    }
}
