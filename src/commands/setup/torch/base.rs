//! The image the worker's image is built on: fetched where it is not there, and asked which Python it has.

use std::collections::HashMap;
use std::io::Write;

use bollard::errors::Error as DockerError;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{AttachContainerOptionsBuilder, CreateImageOptionsBuilder};
use futures_util::StreamExt as _;

use super::error::{TorchError, say};
use super::image::failed;
use crate::backend::worker::launch::docker::engine::{DockerEngine, error_text};
use crate::backend::worker::launch::docker::leftovers::{self, OURS, OWNER};
use crate::backend::worker::launch::docker::owner::Owner;
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
    let request = ContainerCreateBody {
        image: Some(base.to_owned()),
        entrypoint: Some(["python3", "-c", ask].map(str::to_owned).to_vec()),
        attach_stdout: Some(true),
        labels: Some(labels()),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            readonly_rootfs: Some(true),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let container = engine.docker.create_container(None, request).await.ok()?.id;
    let answer = output(engine, &container).await;
    // One that cannot be removed is no reason to give up what it said.
    let _ = leftovers::remove(engine, &container).await;
    let version = answer.ok()?.trim().to_owned();
    version
        .split_once('.')
        .is_some_and(|(major, minor)| major == "3" && minor.parse::<u32>().is_ok())
        .then_some(version)
}

/// It is found and removed later where this program is killed meanwhile.
fn labels() -> HashMap<String, String> {
    let labels = [(OURS, "question".to_owned()), (OWNER, Owner::this().to_string())];
    labels.map(|(name, value)| (name.to_owned(), value)).into()
}

async fn output(engine: &DockerEngine, container: &str) -> Result<String, DockerError> {
    let options = AttachContainerOptionsBuilder::default().stream(true).stdout(true).build();
    let mut attached = engine.docker.attach_container(container, Some(options)).await?;
    engine.docker.start_container(container, None).await?;
    let mut text = String::new();
    while let Some(Ok(part)) = attached.output.next().await {
        text.push_str(&part.to_string());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dockerfile_names_an_image() {
        assert!(default().starts_with("python:3."), "{}", default());
    }
}
