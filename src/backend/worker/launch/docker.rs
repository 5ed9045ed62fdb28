//! A worker in a container that can reach nothing and write nothing but its own folders.
//!
//! - [`engine`] finds the Docker engine, [`container`] says what a container may do.
//! - [`owner`] and [`leftovers`] find and remove what a killed phasebench left.
//! - [`question`] asks an image of somebody's own what it has.
//! - `lifetime` makes, watches and removes one container.
//! - [`log`] keeps the last of what the worker wrote.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bollard::errors::Error as DockerError;
use tokio::io::AsyncWrite;
use tokio::sync::{OnceCell, watch};
use tokio::time::timeout;

use self::container::{Blueprint, Brought, User};
use self::engine::{DockerEngine, EngineError, error_text};
use self::lifetime::{Container, REMOVED_WITHIN, ended, observe, state};
use self::log::LastWords;
use super::installed::{Image, Record as _};
use super::package;
use super::{Address, LaunchError, Launcher, Running, Wanted, WorkerEnd};
use crate::backend::worker::connection::fits;
use crate::backend::worker::torch::beside::{self, Known, Packages};
use crate::scenario::{Resources, TorchDevice};

pub mod container;
pub mod engine;
pub mod leftovers;
mod lifetime;
pub mod log;
pub mod owner;
pub mod question;

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
    image: WorkerImage,
    resources: Resources,
    device: TorchDevice,
}

/// What containers are made of.
#[derive(Debug, Clone)]
enum WorkerImage {
    /// The one that `phasebench setup torch --docker` built.
    Ours(Image),
    /// Somebody's own, by its name; what it lacks is brought from this cache. It is asked once what it has.
    Others { name: String, cache: PathBuf, asked: Arc<OnceCell<Others>> },
}

/// What was found of somebody's own image.
#[derive(Debug, Clone)]
struct Others {
    /// Content hash by which the engine knows it.
    id: String,
    known: Known,
    brought: Brought,
    packages: String,
}

impl DockerLauncher {
    /// Containers of this image, with these limits.
    #[must_use]
    pub fn new(image: Image, resources: Resources, device: TorchDevice) -> Self {
        Self { host: None, image: WorkerImage::Ours(image), resources, device }
    }

    /// Containers of somebody's own image, which need not be there yet.
    #[must_use]
    pub fn of_others(cache: &Path, name: &str, resources: Resources, device: TorchDevice) -> Self {
        let image = WorkerImage::Others { name: name.to_owned(), cache: cache.to_owned(), asked: Arc::default() };
        Self { host: None, image, resources, device }
    }

    fn name(&self) -> &str {
        match &self.image {
            WorkerImage::Ours(image) => &image.tag,
            WorkerImage::Others { name, .. } => name,
        }
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
        let why = error_text(error);
        if let Some(elsewhere) = engine.elsewhere(&why) {
            return elsewhere.into();
        }
        let (what, fix) = match error {
            DockerError::DockerResponseServerError { status_code: 404, .. } => {
                (format!("the engine at {} has no image {}", engine.host, self.name()), self.fetch())
            }
            _ => (format!("docker cannot make a container of {}: {why}", self.name()), "phasebench doctor".to_owned()),
        };
        LaunchError { what, fix }
    }

    /// What makes the image be there.
    fn fetch(&self) -> String {
        match &self.image {
            WorkerImage::Ours(_) => BUILD.to_owned(),
            WorkerImage::Others { name, .. } => format!("docker pull {name}"),
        }
    }

    /// Somebody's own image, asked once. `None`: it is ours.
    async fn others(&self, engine: &DockerEngine) -> Result<Option<&Others>, LaunchError> {
        match &self.image {
            WorkerImage::Ours(_) => Ok(None),
            WorkerImage::Others { name, cache, asked } => {
                asked.get_or_try_init(|| self.look_into(engine, name, cache)).await.map(Some)
            }
        }
    }

    async fn look_into(&self, engine: &DockerEngine, name: &str, cache: &Path) -> Result<Others, LaunchError> {
        let found = engine.docker.inspect_image(name).await.map_err(|error| self.no_container(engine, &error))?;
        let id = found.id.unwrap_or_else(|| name.to_owned());
        let says = question::ask(engine, &id, beside::ASK).await.map_err(|error| LaunchError {
            what: format!("the image {name} has no python3 that runs: {}", error_text(&error)),
            fix: "an image with python3, torch and numpy".to_owned(),
        })?;
        let whose = format!("the image {name}");
        let known = beside::judge(&whose, &says)?;
        let packages = Packages::of(cache, &known.version).require(&whose, &known.version)?;
        let worker = beside::worker(cache).map_err(|error| LaunchError {
            what: format!("the worker cannot be written into the cache: {error}"),
            fix: "phasebench doctor".to_owned(),
        })?;
        let brought = Brought { worker, packages: packages.folder };
        Ok(Others { id, known, brought, packages: packages.id })
    }

    fn not_started(&self, error: &DockerError) -> LaunchError {
        let what = format!("docker cannot start a container of {}: {}", self.name(), error_text(error));
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
        let others = self.others(&engine).await?;
        let image = match &self.image {
            WorkerImage::Ours(image) => &image.image,
            WorkerImage::Others { name, .. } => others.map_or(name, |others| &others.id),
        };
        let blueprint = Blueprint {
            image,
            folder: wanted.folder,
            model: wanted.model,
            user,
            resources: self.resources,
            device: self.device,
            run: wanted.run,
            brought: others.map(|others| &others.brought),
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
            facts: self.facts(&container, &blueprint, others),
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
    fn facts(
        &self,
        container: &Container,
        blueprint: &Blueprint<'_>,
        others: Option<&Others>,
    ) -> BTreeMap<String, String> {
        let mut facts = BTreeMap::from([
            ("launch".to_owned(), "docker".to_owned()),
            ("image".to_owned(), self.name().to_owned()),
            ("image_digest".to_owned(), blueprint.image.to_owned()),
            ("docker_version".to_owned(), container.engine.version.clone()),
            ("docker_api_version".to_owned(), container.engine.api.clone()),
            ("container_user".to_owned(), format!("{}:{}", blueprint.user.uid, blueprint.user.gid)),
            ("limit_pids".to_owned(), blueprint.pids().to_string()),
        ]);
        if let Some(others) = others {
            let Known { version, torch, numpy } = &others.known;
            let environment = format!("{}, Python {version}, torch {torch}, numpy {numpy}", self.name());
            facts.extend([("environment".to_owned(), environment), ("beside".to_owned(), others.packages.clone())]);
        }
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
    ending: watch::Receiver<Option<WorkerEnd>>,
    /// How it ended, once that is settled.
    ended: Option<WorkerEnd>,
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

    async fn ended(&mut self) -> WorkerEnd {
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
                _ => Some(WorkerEnd { signal: Some(libc::SIGKILL), ..WorkerEnd::default() }),
            };
        }
        self.container.remove_now().await;
        // What it wrote last is read by then.
        let _ = timeout(REMOVED_WITHIN, self.ending.wait_for(Option::is_some)).await;
    }
}
