//! A container from its making to its removal, and how it ended.

use std::time::Duration;

use bollard::container::AttachContainerResults;
use bollard::errors::Error as DockerError;
use bollard::models::{ContainerCreateBody, ContainerState};
use bollard::query_parameters::{AttachContainerOptionsBuilder, WaitContainerOptionsBuilder};
use futures_util::StreamExt as _;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::engine::{DockerEngine, error_text};
use super::leftovers;
use super::log::LastWords;
use crate::backend::worker::io::clean_up;
use crate::backend::worker::launch::WorkerEnd;
use crate::process::{is_in_group, kill, pids};

/// Longest wait for the engine where a container must go.
pub const REMOVED_WITHIN: Duration = Duration::from_secs(20);
/// Longest wait for the end of a log after the end of its container.
const LOG_ENDS_WITHIN: Duration = Duration::from_secs(10);
/// Pause before an engine that cut a wait is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// A container that is removed when it is dropped, as far as an engine and a runtime are there to do it.
pub struct Container {
    /// Where it is.
    pub engine: DockerEngine,
    /// Its name there.
    pub id: String,
    /// Whether its end was seen to.
    pub removed: bool,
}

impl Container {
    /// Made to the end, whoever gives up meanwhile: one whose id nobody heard of could not be removed.
    pub async fn make(engine: DockerEngine, request: ContainerCreateBody) -> Result<Self, DockerError> {
        let (tell, made) = oneshot::channel();
        clean_up(async move {
            let made = engine.docker.create_container(None, request).await;
            // Dropped, and so removed, where nobody waits any more.
            drop(tell.send(made.map(|made| Self { engine, id: made.id, removed: false })));
        });
        made.await.unwrap_or(Err(DockerError::RequestTimeoutError))
    }

    /// Attached first, so that not a word is lost.
    pub async fn attach_and_start(&self) -> Result<AttachContainerResults, DockerError> {
        let options = AttachContainerOptionsBuilder::default().stream(true).stdin(true).stdout(true).stderr(true);
        let attached = self.engine.docker.attach_container(&self.id, Some(options.build())).await?;
        self.engine.docker.start_container(&self.id, None).await?;
        Ok(attached)
    }

    pub async fn remove(mut self) {
        self.remove_now().await;
    }

    /// Ends and removes it. Where the engine does not answer, its processes are ended at least.
    pub async fn remove_now(&mut self) {
        let removed = timeout(REMOVED_WITHIN, leftovers::remove(&self.engine, &self.id)).await;
        if !matches!(removed, Ok(Ok(()))) {
            self.processes().into_iter().for_each(kill);
        }
        self.removed = true;
    }

    /// Its processes, known by their control group, which has the container's id in its name. Empty where the engine
    /// runs on another kernel.
    pub fn processes(&self) -> Vec<u32> {
        pids().filter(|&pid| is_in_group(pid, &self.id)).collect()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.removed {
            return;
        }
        let (engine, id) = (self.engine.clone(), std::mem::take(&mut self.id));
        // Where this fails the next start removes it.
        clean_up(async move { drop(leftovers::remove(&engine, &id).await) });
    }
}

/// Waits for a container's end by itself, so that whoever asks may give up and ask again.
pub async fn observe(
    engine: DockerEngine,
    container: String,
    last_words: LastWords,
    mut log: JoinHandle<()>,
    tell: watch::Sender<Option<WorkerEnd>>,
) {
    let ended = end_of(&engine, &container, &last_words).await;
    // The log comes by another connection, and its end after the container's.
    if timeout(LOG_ENDS_WITHIN, &mut log).await.is_err() {
        log.abort();
    }
    // Nobody listens any more where the worker was dropped.
    let _ = tell.send(Some(ended));
}

/// Waits until the engine says that a container has ended, or until there is nobody left to say so.
async fn end_of(engine: &DockerEngine, container: &str, last_words: &LastWords) -> WorkerEnd {
    loop {
        let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
        // What a wait answers is not told apart: a cut connection and an exit look alike at times. The state is.
        let _ = Box::pin(engine.docker.wait_container(container, Some(options))).next().await;
        match state(engine, container).await {
            Ok(state) if state.running == Some(true) => tokio::time::sleep(ASK_AGAIN_AFTER).await,
            Ok(state) => return ended(&state),
            Err(error) => {
                last_words.push_line(&format!("docker engine at {}: {}", engine.host, error_text(&error)));
                return WorkerEnd::default();
            }
        }
    }
}

pub async fn state(engine: &DockerEngine, container: &str) -> Result<ContainerState, DockerError> {
    let found = engine.docker.inspect_container(container, None).await?;
    Ok(found.state.unwrap_or_default())
}

/// The engine reports a signal as the shell does: 128 and its number.
pub fn ended(state: &ContainerState) -> WorkerEnd {
    let code = state.exit_code.and_then(|code| i32::try_from(code).ok());
    let signal = code.filter(|code| (129..=128 + 64).contains(code)).map(|code| code - 128);
    WorkerEnd {
        code: if signal.is_some() { None } else { code },
        signal,
        // Set as well where a compiler's process was killed and the worker went on.
        out_of_memory: state.oom_killed == Some(true) && code != Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(exit_code: i64, oom_killed: bool) -> ContainerState {
        ContainerState { exit_code: Some(exit_code), oom_killed: Some(oom_killed), ..ContainerState::default() }
    }

    #[test]
    fn a_signal_is_told_from_an_exit_code() {
        assert_eq!(ended(&state(3, false)), WorkerEnd { code: Some(3), ..WorkerEnd::default() });
        assert_eq!(ended(&state(137, false)), WorkerEnd { signal: Some(9), ..WorkerEnd::default() });
        assert_eq!(
            ended(&state(137, true)),
            WorkerEnd { signal: Some(9), out_of_memory: true, ..WorkerEnd::default() }
        );
        assert_eq!(ended(&state(255, false)), WorkerEnd { code: Some(255), ..WorkerEnd::default() });
        assert_eq!(ended(&state(0, true)), WorkerEnd { code: Some(0), ..WorkerEnd::default() });
        assert_eq!(ended(&ContainerState::default()), WorkerEnd::default());
    }
}
