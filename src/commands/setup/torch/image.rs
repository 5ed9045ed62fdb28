//! The worker's image: built by the engine from the sources this program carries.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use bollard::models::BuildInfo;
use bollard::query_parameters::{BuildImageOptionsBuilder, RemoveImageOptions};
use futures_util::StreamExt as _;

use super::error::{TorchError, check_space};
use super::file_server::FileServer;
use super::pip::Python;
use crate::backend::worker::launch::docker::engine::{self, DockerEngine, error_text};
use crate::backend::worker::launch::docker::leftovers::OURS;
use crate::backend::worker::launch::installed::{Image, Record as _};
use crate::backend::worker::launch::package;
use crate::units::Bytes;

/// What the image and the containers that make it take at most. Unit: bytes.
const NEEDED: Bytes = Bytes(13_000_000_000);

/// What is to be built, and from what.
#[derive(Debug, Clone, Copy)]
pub struct ImageOrder<'a> {
    /// Cache folder.
    pub cache: &'a Path,
    /// Folder with wheels for the base's Python, which is served to the builder. `None`: it fetches its own.
    pub wheels: Option<&'a Path>,
    /// Image it is built on. `None`: the one the Dockerfile names.
    pub base: Option<&'a str>,
    /// Python that serves the wheels.
    pub python: &'a Python,
}

/// The image in use, if the engine has it and it is of this program's sources on this base.
#[must_use]
pub async fn existing(engine: &DockerEngine, cache: &Path, base: Option<&str>) -> Option<Image> {
    let image = Image::read(cache)?;
    let wanted = image.sources == package::hash() && image.base.as_deref() == base;
    (wanted && engine.docker.inspect_image(&image.image).await.is_ok()).then_some(image)
}

/// Builds the image and makes it the one in use.
///
/// # Errors
/// See [`TorchError`].
pub async fn build(
    engine: &DockerEngine,
    order: ImageOrder<'_>,
    progress: &mut dyn Write,
) -> Result<Image, TorchError> {
    let before = Image::read(order.cache);
    let serve =
        |wheels| FileServer::start(order.python, wheels).map_err(|error| TorchError::io("serve", wheels, &error));
    let server = order.wheels.map(serve).transpose()?;
    let sources = package::hash();
    let tag = format!("phasebench-torch:{}", &sources[..12]);
    let mut arguments = HashMap::new();
    arguments.extend(order.base.map(|base| ("BASE".to_owned(), base.to_owned())));
    if let Some(server) = &server {
        let links = format!("--no-index --find-links http://127.0.0.1:{}/ --trusted-host 127.0.0.1", server.port);
        arguments.insert("PIP_OPTIONS".to_owned(), links);
    }
    let options = BuildImageOptionsBuilder::default()
        .t(&tag)
        .networkmode("host")
        .buildargs(&arguments)
        .labels(&HashMap::from([(OURS, "image"), ("phasebench.sources", sources.as_str())]))
        .rm(true)
        .forcerm(true)
        .build();
    let context = bollard::body_full(context()?.into());
    let mut stream = Box::pin(engine.docker.build_image(options, None, Some(context)));
    let mut last = String::new();
    while let Some(step) = stream.next().await {
        let step = step.map_err(|error| failed(&error_text(&error), &last))?;
        show(step, &mut last, progress)?;
    }
    let built = engine.docker.inspect_image(&tag).await.map_err(|error| failed(&error_text(&error), &last))?;
    let id = built.id.ok_or_else(|| failed("the engine does not say what it built", &last))?;
    let image = Image { image: id, tag, sources, base: order.base.map(str::to_owned) };
    image.write(order.cache).map_err(|error| TorchError::io("write", order.cache, &error))?;
    remove_previous(engine, before, &image).await;
    Ok(image)
}

/// What the builder says, line by line; an error in it ends the build.
fn show(step: BuildInfo, last: &mut String, progress: &mut dyn Write) -> Result<(), TorchError> {
    if let Some(error) = step.error_detail {
        return Err(failed(&error.message.unwrap_or_default(), last));
    }
    for line in step.stream.iter().chain(&step.status).flat_map(|text| text.lines()) {
        let line = crate::backend::text::clean(line);
        if !line.is_empty() {
            // Progress is for people; a closed standard error must not stop the work.
            let _ = writeln!(progress, "  {line}");
            *last = line;
        }
    }
    Ok(())
}

/// A build that failed, with the engine's reason and the builder's last line.
#[must_use]
pub fn failed(why: &str, last: &str) -> TorchError {
    TorchError::Build { why: why.to_owned(), last: last.to_owned() }
}

/// Whether the engine's host network is this machine's, so that its builder reaches our file server; and whether its
/// disk has room.
///
/// # Errors
/// [`TorchError::NoSpace`], or the engine's words.
pub async fn is_near(engine: &DockerEngine) -> Result<bool, TorchError> {
    let info = engine.docker.info().await.map_err(|error| failed(&error_text(&error), ""))?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let near = info.kernel_version.as_deref() == Some(kernel.trim()) && info.name.as_deref() == Some(name.trim());
    if near && let Some(root) = info.docker_root_dir {
        check_space(Path::new(&root), NEEDED)?;
    }
    Ok(near)
}

/// The sources as the builder takes them. Times are 0, so that what did not change is not built again.
fn context() -> Result<Vec<u8>, TorchError> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut write = || {
        for (path, content) in package::files() {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, path, content)?;
        }
        archive.finish()
    };
    write().map_err(|error| failed(&error.to_string(), ""))?;
    archive.into_inner().map_err(|error| failed(&error.to_string(), ""))
}

/// An image that was in use before would stay for ever. One that is used elsewhere stays.
async fn remove_previous(engine: &DockerEngine, before: Option<Image>, now: &Image) {
    if let Some(before) = before.filter(|before| before.image != now.image) {
        let _ = engine.docker.remove_image(&before.image, None::<RemoveImageOptions>, None).await;
    }
}

/// Asks the engine that Docker's own client would ask.
///
/// # Errors
/// [`TorchError::Engine`].
pub async fn connect() -> Result<DockerEngine, TorchError> {
    Ok(engine::connect().await?)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_context_holds_what_the_dockerfile_copies() {
        let bytes = context().unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let names: Vec<_> =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(names.len(), package::files().len());
        assert!(names.iter().any(|name| name == "Dockerfile") && names.iter().any(|name| name == "requirements.lock"));
        assert_eq!(bytes, context().unwrap());
    }

    #[test]
    fn an_error_of_the_builder_ends_the_build_with_its_last_line() {
        let (mut last, mut shown) = (String::new(), Vec::new());
        let step =
            BuildInfo { stream: Some("Step 1/2\n\u{1b}[31mCollecting torch\n".to_owned()), ..BuildInfo::default() };
        show(step, &mut last, &mut shown).unwrap();
        assert_eq!(String::from_utf8(shown).unwrap(), "  Step 1/2\n  Collecting torch\n");
        let detail = bollard::models::ErrorDetail { message: Some("pip failed".to_owned()), ..Default::default() };
        let step = BuildInfo { error_detail: Some(detail), ..BuildInfo::default() };
        let error = show(step, &mut last, &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "the image could not be built: pip failed; before that: Collecting torch");
    }
}
