//! The image the worker's image is built on: fetched where it is not there, and asked which Python it has.

use std::io::Write;

use bollard::errors::Error as DockerError;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt as _;

use super::error::{TorchError, say};
use super::image::failed;
use crate::backend::worker::launch::docker::engine::{DockerEngine, error_text};
use crate::backend::worker::launch::docker::question;
use crate::backend::worker::launch::package::DOCKERFILE;

/// The image that the Dockerfile names.
#[must_use]
pub fn default() -> &'static str {
    DOCKERFILE.lines().find_map(|line| line.strip_prefix("ARG BASE=")).unwrap_or_default().trim()
}

/// Makes sure that the engine has the image.
///
/// # Errors
/// [`TorchError::Build`] with the engine's words.
pub async fn fetch(engine: &DockerEngine, base: &str, progress: &mut dyn Write) -> Result<(), TorchError> {
    match engine.docker.inspect_image(base).await {
        Ok(_) => return Ok(()),
        Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => {}
        Err(error) => return Err(failed(&error_text(&error), "")),
    }
    say(progress, &format!("fetching the image {base}"));
    let options = CreateImageOptionsBuilder::default().from_image(base).build();
    let mut steps = Box::pin(engine.docker.create_image(Some(options), None, None));
    while let Some(step) = steps.next().await {
        step.map_err(|error| failed(&format!("cannot fetch {base}: {}", error_text(&error)), ""))?;
    }
    Ok(())
}

/// Version of the Python in it, e.g. `3.11`. `None`: it has none, and the Dockerfile installs one.
pub async fn python(engine: &DockerEngine, base: &str) -> Option<String> {
    let ask = "import sys; print('%d.%d' % sys.version_info[:2])";
    let version = question::ask(engine, base, ask).await.ok()?.trim().to_owned();
    version
        .split_once('.')
        .is_some_and(|(major, minor)| major == "3" && minor.parse::<u32>().is_ok())
        .then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dockerfile_names_an_image() {
        assert!(default().starts_with("python:3."), "{}", default());
    }
}
