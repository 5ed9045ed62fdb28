//! Asks an image what Python it has: a container without network, rights or a writable file answers, and is gone again.

use std::collections::HashMap;

use bollard::errors::Error as DockerError;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::AttachContainerOptionsBuilder;
use futures_util::StreamExt as _;

use super::engine::DockerEngine;
use super::leftovers::{self, OURS, OWNER};
use super::owner::Owner;

/// What its `python3` prints when it is given some lines.
///
/// # Errors
/// The engine's words: no such image, or no such program in it.
pub async fn ask(engine: &DockerEngine, image: &str, lines: &str) -> Result<String, DockerError> {
    let request = ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: Some(["python3", "-c", lines].map(str::to_owned).to_vec()),
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
    let container = engine.docker.create_container(None, request).await?.id;
    let answer = output(engine, &container).await;
    // One that cannot be removed is no reason to give up what it said.
    let _ = leftovers::remove(engine, &container).await;
    answer
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
