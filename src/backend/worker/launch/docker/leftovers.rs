//! Containers of ours whose process is gone, workers and others: found by their labels, removed whatever they do.

use std::collections::HashMap;

use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};

use super::engine::{DockerEngine, error_text};
use super::owner::Owner;

/// Label of everything of ours in an engine; its value says what it is.
pub const OURS: &str = "phasebench";
/// Value of [`OURS`] on a worker's container.
pub const WORKER: &str = "worker";
/// Label with the [`Owner`], on every container of ours.
pub const OWNER: &str = "phasebench.owner";
/// Label with the name of the run.
pub const RUN: &str = "phasebench.run";

/// A container that nobody will remove but we.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Its id.
    pub container: String,
    /// The run it was made for. Empty: it was no worker's.
    pub run: String,
    /// Process that made it.
    pub owner_pid: u32,
    /// The engine's words for its state, e.g. `Up 5 minutes`.
    pub status: String,
}

/// Lists the containers whose owner is gone.
///
/// # Errors
/// The engine's words.
pub async fn list(engine: &DockerEngine) -> Result<Vec<Leftover>, String> {
    let filters = HashMap::from([("label", vec![OURS.to_owned(), OWNER.to_owned()])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let found = engine.docker.list_containers(Some(options)).await.map_err(|error| error_text(&error))?;
    let leftovers = found.into_iter().filter_map(|container| {
        let labels = container.labels.unwrap_or_default();
        let owner: Owner = labels.get(OWNER)?.parse().ok()?;
        owner.is_gone().then(|| Leftover {
            container: container.id.unwrap_or_default(),
            run: labels.get(RUN).cloned().unwrap_or_default(),
            owner_pid: owner.pid(),
            status: container.status.unwrap_or_default(),
        })
    });
    Ok(leftovers.filter(|leftover| !leftover.container.is_empty()).collect())
}

/// Ends a container and removes it. One that is gone already is no error.
///
/// # Errors
/// The engine's words.
pub async fn remove(engine: &DockerEngine, container: &str) -> Result<(), String> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    match engine.docker.remove_container(container, Some(options)).await {
        // 409: somebody else is removing it right now.
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404 | 409, .. }) | Ok(()) => Ok(()),
        Err(error) => Err(error_text(&error)),
    }
}

/// Removes every leftover; one that cannot be removed does not keep the others.
///
/// # Errors
/// The engine's words for the first that could not be removed.
pub async fn sweep(engine: &DockerEngine) -> Result<Vec<Leftover>, String> {
    let leftovers = list(engine).await?;
    let mut failed = None;
    for leftover in &leftovers {
        if let Err(why) = remove(engine, &leftover.container).await {
            failed = failed.or(Some(why));
        }
    }
    failed.map_or(Ok(leftovers), Err)
}
