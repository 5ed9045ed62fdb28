//! Containers whose worker is a Python script of the test, made by the launcher that runs use.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bollard::models::MountPoint;
use bollard::query_parameters::{BuildImageOptionsBuilder, ListContainersOptionsBuilder};
use futures_util::StreamExt as _;
use phasebench::backend::worker::launch::docker::DockerLauncher;
use phasebench::backend::worker::launch::docker::engine::{self, DockerEngine};
use phasebench::backend::worker::launch::installed::{Image, Record as _};
use phasebench::backend::worker::launch::{LaunchError, Launcher as _, Running, Wanted, package};
use phasebench::scenario::{Resources, TorchDevice};
use tempfile::TempDir;
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The image that `phasebench setup torch --docker` built: what is asked for and not set up is an error, not left out.
pub fn built() -> Image {
    let image = Image::read(&phasebench::cache::root()).filter(|image| image.sources == package::hash());
    image.expect("this version's image was not built: phasebench setup torch --docker")
}

/// Runs the script that the test left in the worker's folder.
const DOCKERFILE: &str = r#"
ARG BASE
FROM ${BASE}
ENTRYPOINT ["python3", "-u", "-c", "exec(compile(open('/run/phasebench/worker.py').read(), 'worker.py', 'exec'))"]
"#;

/// Longest wait for something that must happen.
pub const SOON: Duration = Duration::from_secs(30);

/// Built by the first test that needs it.
static IMAGE: OnceCell<Image> = OnceCell::const_new();

/// Every launch removes what killed processes left: a test that looks at that has the engine to itself.
static TURNS: RwLock<()> = RwLock::const_new(());

/// A test's turn with the engine.
pub enum Turn {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

impl Turn {
    pub async fn shared() -> Self {
        Self::Shared { _guard: TURNS.read().await }
    }

    async fn alone() -> Self {
        Self::Alone { _guard: TURNS.write().await }
    }
}

/// An engine, an image, and folders as a run makes them.
pub struct Rig {
    pub engine: DockerEngine,
    pub image: Image,
    folder: TempDir,
    _turn: Turn,
}

impl Rig {
    /// `None`, and says so, where these tests are not asked for.
    pub async fn new() -> Option<Self> {
        Self::with(Turn::shared().await).await
    }

    /// The same, with no other test at work.
    pub async fn alone() -> Option<Self> {
        Self::with(Turn::alone().await).await
    }

    async fn with(turn: Turn) -> Option<Self> {
        let Some(base) = std::env::var("PHASEBENCH_TEST_DOCKER").ok().filter(|base| !base.is_empty()) else {
            eprintln!("not run: PHASEBENCH_TEST_DOCKER is not set");
            return None;
        };
        let engine = engine::connect().await.unwrap();
        let base = if base == "1" { built().tag } else { base };
        let image = IMAGE
            .get_or_init(|| async {
                let tag = "phasebench-test:script";
                build(&engine, tag, DOCKERFILE, &[("BASE", &base)], &[]).await;
                image(&engine, tag).await
            })
            .await
            .clone();
        Some(Self { image, engine, folder: tempfile::tempdir().unwrap(), _turn: turn })
    }

    /// Folder of one worker with this script in it.
    pub fn worker(&self, script: &str) -> PathBuf {
        let folder = tempfile::Builder::new().prefix("w").tempdir_in(self.folder.path()).unwrap().keep();
        fs::write(folder.join("worker.py"), script).unwrap();
        folder
    }

    pub async fn launch(&self, script: &str, resources: Resources) -> (PathBuf, Box<dyn Running>) {
        let folder = self.worker(script);
        let launcher = DockerLauncher::new(self.image.clone(), resources, TorchDevice::Cpu);
        let worker = launch(&launcher, &folder, &self.model()).await.unwrap();
        (folder, worker)
    }

    /// A model folder with one file.
    pub fn model(&self) -> PathBuf {
        let model = self.folder.path().join("model");
        fs::create_dir_all(&model).unwrap();
        fs::write(model.join("config.json"), "{}").unwrap();
        model
    }

    /// The container that was made for a worker's folder.
    pub async fn container(&self, folder: &Path) -> String {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let found = self.engine.docker.list_containers(Some(options)).await.unwrap();
        let is_for = |mount: &MountPoint| mount.source.as_deref() == folder.to_str();
        let found = found.into_iter().find(|found| found.mounts.iter().flatten().any(is_for));
        found.and_then(|found| found.id).unwrap()
    }

    /// Whether the engine has this container, running or not.
    pub async fn has(&self, container: &str) -> bool {
        containers(&self.engine).await.iter().any(|found| found == container)
    }
}

pub async fn launch(launcher: &DockerLauncher, folder: &Path, model: &Path) -> Result<Box<dyn Running>, LaunchError> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
    let compiler_cache = folder.with_extension("cache");
    fs::create_dir_all(&compiler_cache).unwrap();
    launcher.launch(Wanted { folder, model: Some(model), run: "test-run", compiler_cache: &compiler_cache }).await
}

/// Ids of all containers.
pub async fn containers(engine: &DockerEngine) -> Vec<String> {
    let options = ListContainersOptionsBuilder::default().all(true).build();
    engine.docker.list_containers(Some(options)).await.unwrap().into_iter().filter_map(|found| found.id).collect()
}

/// Builds an image from a Dockerfile and some files.
pub async fn build(
    engine: &DockerEngine,
    tag: &str,
    dockerfile: &str,
    arguments: &[(&str, &str)],
    files: &[(&str, Vec<u8>)],
) {
    let mut archive = tar::Builder::new(Vec::new());
    let dockerfile = ("Dockerfile", dockerfile.as_bytes().to_vec());
    for (path, content) in files.iter().chain([&dockerfile]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        archive.append_data(&mut header, path, content.as_slice()).unwrap();
    }
    let arguments: HashMap<&str, &str> = arguments.iter().copied().collect();
    let options = BuildImageOptionsBuilder::default().t(tag).buildargs(&arguments).rm(true).build();
    let context = bollard::body_full(archive.into_inner().unwrap().into());
    let mut steps = Box::pin(engine.docker.build_image(options, None, Some(context)));
    while let Some(step) = steps.next().await {
        let step = step.unwrap();
        assert!(step.error_detail.is_none(), "{step:?}");
    }
}

pub async fn image(engine: &DockerEngine, tag: &str) -> Image {
    let id = engine.docker.inspect_image(tag).await.unwrap().id.unwrap();
    Image { image: id, tag: tag.to_owned(), sources: String::new(), base: None }
}

/// Waits until something holds; fails where it does not come to.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !holds().await {
        assert!(Instant::now() < end, "{what}: not within {SOON:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a worker has written a text.
pub async fn until_said(worker: &dyn Running, text: &str) {
    until(text, async || worker.last_words().contains(text)).await;
}
