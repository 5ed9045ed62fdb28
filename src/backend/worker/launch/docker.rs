//! A worker in a container that can reach nothing and write nothing but its own folders.
//!
//! - [`engine`] finds the Docker engine, [`container`] says what a container may do.
//! - [`owner`] and [`leftovers`] find and remove what a killed phasebench left.
//! - [`log`] keeps the last of what the worker wrote.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use bollard::container::AttachContainerResults;
use bollard::errors::Error as DockerError;
use bollard::models::{ContainerCreateBody, ContainerState};
use bollard::query_parameters::{AttachContainerOptionsBuilder, WaitContainerOptionsBuilder};
use futures_util::StreamExt as _;
use tokio::io::AsyncWrite;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::container::{Blueprint, User};
use self::engine::{DockerEngine, EngineError, words};
use self::log::LastWords;
use super::installed::{Image, Record as _};
use super::package;
use super::{Address, Ended, LaunchError, Launcher, Running, Wanted};
use crate::backend::worker::connection::fits;
use crate::backend::worker::io::clean_up;
use crate::process::{is_in_group, kill, pids};
use crate::scenario::{Resources, TorchDevice};

pub mod container;
pub mod engine;
pub mod leftovers;
pub mod log;
pub mod owner;

/// Longest wait for the engine where a container must go.
const REMOVED_WITHIN: Duration = Duration::from_secs(20);
/// Longest wait for the end of a log after the end of its container.
const LOG_ENDS_WITHIN: Duration = Duration::from_secs(10);
/// Pause before an engine that cut a wait is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The command that makes the image.
const BUILD: &str = "phasebench setup torch --docker";

impl From<EngineError> for LaunchError {
    fn from(error: EngineError) -> Self {
        Self { what: error.to_string(), fix: error.fix() }
    }
}

/// Starts workers in containers of one image.
#[derive(Debug, Clone)]
pub struct DockerLauncher {
    /// `None`: the one that Docker's own client would ask.
    host: Option<String>,
    image: Image,
    resources: Resources,
    device: TorchDevice,
}

impl DockerLauncher {
    /// Containers of this image, with these limits.
    #[must_use]
    pub fn new(image: Image, resources: Resources, device: TorchDevice) -> Self {
        Self { host: None, image, resources, device }
    }

    /// The same in the engine at this address, whatever the environment says.
    #[must_use]
    pub fn at(self, host: &str) -> Self {
        Self { host: Some(host.to_owned()), ..self }
    }

    /// Containers of the image that `phasebench setup torch --docker` built.
    ///
    /// # Errors
    /// None was built, or by another version of this program.
    pub fn installed(cache: &Path, resources: Resources, device: TorchDevice) -> Result<Self, LaunchError> {
        let fault = |what: String| LaunchError { what, fix: BUILD.to_owned() };
        let image = Image::read(cache).ok_or_else(|| fault("no image of the torch worker was built".to_owned()))?;
        if image.sources != package::hash() {
            return Err(fault(format!("the worker in {} is not this version's", image.tag)));
        }
        Ok(Self::new(image, resources, device))
    }

    fn no_container(&self, engine: &DockerEngine, error: &DockerError) -> LaunchError {
        let why = words(error);
        if let Some(elsewhere) = engine.elsewhere(&why) {
            return elsewhere.into();
        }
        let (what, fix) = match error {
            DockerError::DockerResponseServerError { status_code: 404, .. } => {
                (format!("the engine at {} has no image {}", engine.host, self.image.tag), BUILD.to_owned())
            }
            _ => {
                (format!("docker cannot make a container of {}: {why}", self.image.tag), "phasebench doctor".to_owned())
            }
        };
        LaunchError { what, fix }
    }

    fn not_started(&self, error: &DockerError) -> LaunchError {
        let what = format!("docker cannot start a container of {}: {}", self.image.tag, words(error));
        let gpu = what.contains("could not select device driver");
        let fix = if gpu { "install the NVIDIA Container Toolkit" } else { "phasebench doctor" };
        LaunchError { what, fix: fix.to_owned() }
    }
}

#[tonic::async_trait]
impl Launcher for DockerLauncher {
    async fn launch(&self, wanted: Wanted<'_>) -> Result<Box<dyn Running>, LaunchError> {
        let engine = match &self.host {
            Some(host) => engine::connect_to(host).await?,
            None => engine::connect().await?,
        };
        engine.check_users().await?;
        // Where this fails the engine is in trouble, and what follows says which.
        let _ = leftovers::sweep(&engine).await;
        let socket = wanted.folder.join(container::SOCKET);
        fits(&socket).map_err(|what| LaunchError { what, fix: "a shorter TMPDIR".to_owned() })?;
        let user = User::for_caller();
        give_folder(wanted.folder, user)?;
        let blueprint = Blueprint {
            image: &self.image.image,
            folder: wanted.folder,
            model: wanted.model,
            user,
            resources: self.resources,
            device: self.device,
            run: wanted.run,
        };
        let made = Container::make(engine.clone(), blueprint.request()).await;
        let container = made.map_err(|error| self.no_container(&engine, &error))?;
        let attached = match container.attach_and_start().await {
            Ok(attached) => attached,
            Err(error) => {
                container.remove().await;
                return Err(self.not_started(&error));
            }
        };
        let last_words = LastWords::default();
        let log = log::follow(attached.output, last_words.clone());
        let (tell, ending) = watch::channel(None);
        tokio::spawn(observe(container.engine.clone(), container.id.clone(), last_words.clone(), log, tell));
        Ok(Box::new(DockerWorker {
            facts: self.facts(&container, &blueprint),
            address: Address::Unix(socket),
            places: places(wanted),
            container,
            last_words,
            _stdin: Mutex::new(attached.input),
            ending,
            ended: None,
        }))
    }
}

impl DockerLauncher {
    /// What is the same for every container of a run: the stack is compared by it.
    fn facts(&self, container: &Container, blueprint: &Blueprint<'_>) -> BTreeMap<String, String> {
        let mut facts = BTreeMap::from([
            ("launch".to_owned(), "docker".to_owned()),
            ("image".to_owned(), self.image.tag.clone()),
            ("image_digest".to_owned(), self.image.image.clone()),
            ("docker_version".to_owned(), container.engine.version.clone()),
            ("docker_api_version".to_owned(), container.engine.api.clone()),
            ("container_user".to_owned(), format!("{}:{}", blueprint.user.uid, blueprint.user.gid)),
            ("limit_pids".to_owned(), blueprint.pids().to_string()),
        ]);
        facts.extend(self.resources.memory.map(|bytes| ("limit_memory_bytes".to_owned(), bytes.0.to_string())));
        facts.extend(self.resources.cpus.map(|cpus| ("limit_cpus".to_owned(), cpus.to_string())));
        facts
    }
}

/// Where the host's folders are in the container.
fn places(wanted: Wanted<'_>) -> Vec<(PathBuf, &'static str)> {
    let mut places = vec![(wanted.folder.to_owned(), container::FOLDER)];
    places.extend(wanted.model.map(|model| (model.to_owned(), container::MODEL)));
    places
}

/// Lets the container's user into the worker's folder.
fn give_folder(folder: &Path, user: User) -> Result<(), LaunchError> {
    let refused = |error: &std::io::Error| LaunchError {
        what: format!("cannot give {} to user {}: {error}", folder.display(), user.uid),
        fix: "make it writable for the user who runs phasebench".to_owned(),
    };
    let owner = fs::metadata(folder).map_err(|error| refused(&error))?.uid();
    if owner == user.uid {
        return Ok(());
    }
    chown(folder, Some(user.uid), Some(user.gid)).map_err(|error| refused(&error))
}

/// A container that is removed when it is dropped, as far as an engine and a runtime are there to do it.
struct Container {
    engine: DockerEngine,
    id: String,
    removed: bool,
}

impl Container {
    /// Made to the end, whoever gives up meanwhile: one whose id nobody heard of could not be removed.
    async fn make(engine: DockerEngine, request: ContainerCreateBody) -> Result<Self, DockerError> {
        let (tell, made) = oneshot::channel();
        clean_up(async move {
            let made = engine.docker.create_container(None, request).await;
            // Dropped, and so removed, where nobody waits any more.
            drop(tell.send(made.map(|made| Self { engine, id: made.id, removed: false })));
        });
        made.await.unwrap_or(Err(DockerError::RequestTimeoutError))
    }

    /// Attached first, so that not a word is lost.
    async fn attach_and_start(&self) -> Result<AttachContainerResults, DockerError> {
        let options = AttachContainerOptionsBuilder::default().stream(true).stdin(true).stdout(true).stderr(true);
        let attached = self.engine.docker.attach_container(&self.id, Some(options.build())).await?;
        self.engine.docker.start_container(&self.id, None).await?;
        Ok(attached)
    }

    async fn remove(mut self) {
        self.remove_now().await;
    }

    /// Ends and removes it. Where the engine does not answer, its processes are ended at least.
    async fn remove_now(&mut self) {
        let removed = timeout(REMOVED_WITHIN, leftovers::remove(&self.engine, &self.id)).await;
        if !matches!(removed, Ok(Ok(()))) {
            self.processes().into_iter().for_each(kill);
        }
        self.removed = true;
    }

    /// Its processes, known by their control group, which has the container's id in its name. Empty where the engine
    /// runs on another kernel.
    fn processes(&self) -> Vec<u32> {
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

/// A worker in its container.
struct DockerWorker {
    container: Container,
    address: Address,
    places: Vec<(PathBuf, &'static str)>,
    facts: BTreeMap<String, String>,
    last_words: LastWords,
    /// Never written to: the worker ends when it is closed.
    _stdin: Mutex<Pin<Box<dyn AsyncWrite + Send>>>,
    /// Filled when the container has ended and its log is read.
    ending: watch::Receiver<Option<Ended>>,
    /// How it ended, once that is settled.
    ended: Option<Ended>,
}

/// Waits for a container's end by itself, so that whoever asks may give up and ask again.
async fn observe(
    engine: DockerEngine,
    container: String,
    last_words: LastWords,
    mut log: JoinHandle<()>,
    tell: watch::Sender<Option<Ended>>,
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
async fn end_of(engine: &DockerEngine, container: &str, last_words: &LastWords) -> Ended {
    loop {
        let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
        // What a wait answers is not told apart: a cut connection and an exit look alike at times. The state is.
        let _ = Box::pin(engine.docker.wait_container(container, Some(options))).next().await;
        match state(engine, container).await {
            Ok(state) if state.running == Some(true) => tokio::time::sleep(ASK_AGAIN_AFTER).await,
            Ok(state) => return ended(&state),
            Err(error) => {
                last_words.push_line(&format!("docker engine at {}: {}", engine.host, words(&error)));
                return Ended::default();
            }
        }
    }
}

async fn state(engine: &DockerEngine, container: &str) -> Result<ContainerState, DockerError> {
    let found = engine.docker.inspect_container(container, None).await?;
    Ok(found.state.unwrap_or_default())
}

/// The engine reports a signal as the shell does: 128 and its number.
fn ended(state: &ContainerState) -> Ended {
    let code = state.exit_code.and_then(|code| i32::try_from(code).ok());
    let signal = code.filter(|code| (129..=128 + 64).contains(code)).map(|code| code - 128);
    Ended {
        code: if signal.is_some() { None } else { code },
        signal,
        // Set as well where a compiler's process was killed and the worker went on.
        out_of_memory: state.oom_killed == Some(true) && code != Some(0),
    }
}

#[tonic::async_trait]
impl Running for DockerWorker {
    fn address(&self) -> &Address {
        &self.address
    }

    fn token(&self) -> Option<&str> {
        None
    }

    fn pids(&self) -> Vec<u32> {
        self.container.processes()
    }

    fn facts(&self) -> BTreeMap<String, String> {
        self.facts.clone()
    }

    fn inside(&self, path: &Path) -> PathBuf {
        let inside = |(outside, inside): &(PathBuf, &str)| {
            path.strip_prefix(outside).ok().map(|rest| match rest.as_os_str().is_empty() {
                true => PathBuf::from(inside),
                false => Path::new(inside).join(rest),
            })
        };
        self.places.iter().find_map(inside).unwrap_or_else(|| path.to_owned())
    }

    fn last_words(&self) -> String {
        self.last_words.text()
    }

    async fn ended(&mut self) -> Ended {
        if let Some(ended) = self.ended {
            return ended;
        }
        let observed = self.ending.wait_for(Option::is_some).await;
        // Closed without an answer only where the runtime is going down.
        let ended = observed.map_or(None, |ended| *ended).unwrap_or_default();
        self.ended = Some(ended);
        ended
    }

    async fn kill(&mut self) {
        if self.container.removed {
            return;
        }
        if self.ended.is_none() {
            // A container that ended by itself did so for a reason worth keeping; one that runs ends by our signal.
            let found = timeout(REMOVED_WITHIN, state(&self.container.engine, &self.container.id)).await;
            self.ended = match found {
                Ok(Ok(state)) if state.running != Some(true) => Some(ended(&state)),
                _ => Some(Ended { signal: Some(libc::SIGKILL), ..Ended::default() }),
            };
        }
        self.container.remove_now().await;
        // What it wrote last is read by then.
        let _ = timeout(REMOVED_WITHIN, self.ending.wait_for(Option::is_some)).await;
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
        assert_eq!(ended(&state(3, false)), Ended { code: Some(3), ..Ended::default() });
        assert_eq!(ended(&state(137, false)), Ended { signal: Some(9), ..Ended::default() });
        assert_eq!(ended(&state(137, true)), Ended { signal: Some(9), out_of_memory: true, ..Ended::default() });
        assert_eq!(ended(&state(255, false)), Ended { code: Some(255), ..Ended::default() });
        assert_eq!(ended(&state(0, true)), Ended { code: Some(0), ..Ended::default() });
        assert_eq!(ended(&ContainerState::default()), Ended::default());
    }
}
