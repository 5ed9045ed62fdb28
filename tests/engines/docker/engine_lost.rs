//! The engine ends while a worker runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use phasebench::backend::worker::launch::docker::DockerLauncher;
use phasebench::backend::worker::launch::docker::engine::{self, DockerEngine};
use phasebench::backend::worker::launch::installed::Image;
use phasebench::scenario::{Resources, TorchDevice};
use tempfile::TempDir;

use crate::docker::fixture::{build, image, launch, until_said};

/// An engine of this test's own.
struct Private {
    data: TempDir,
    host: String,
}

impl Private {
    /// `None`, and says so, where none can be started.
    fn start() -> Option<Self> {
        if std::env::var_os("PHASEBENCH_TEST_DOCKER").is_none() {
            eprintln!("not run: PHASEBENCH_TEST_DOCKER is not set");
            return None;
        }
        // SAFETY: takes nothing and cannot fail.
        if unsafe { libc::geteuid() } != 0 || Command::new("dockerd").arg("--version").output().is_err() {
            crate::not_run::not_run(
                "an engine that ends while it is used",
                "an engine of one's own needs root and dockerd",
            );
            return None;
        }
        let data = tempfile::tempdir().unwrap();
        let output = script("start", data.path()).arg("--bare").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let host = text.trim().strip_prefix("export DOCKER_HOST=").unwrap().to_owned();
        Some(Self { data, host })
    }

    fn stop(&self) {
        assert!(script("stop", self.data.path()).status().unwrap().success());
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // A failed test must not leave it.
        let _ = script("stop", self.data.path()).status();
    }
}

fn script(what: &str, data: &Path) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/docker-engine"));
    command.args([what, "--data"]).arg(data);
    command
}

/// A program and every library it is linked to, by their path in an image.
fn with_libraries(program: &str) -> Vec<(String, Vec<u8>)> {
    let listed = String::from_utf8(Command::new("ldd").arg(program).output().unwrap().stdout).unwrap();
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
    let files = libraries.chain([PathBuf::from(program)]);
    files.map(|file| (file.display().to_string()[1..].to_owned(), std::fs::read(&file).unwrap())).collect()
}

/// An image with nothing but a shell and `sleep` of this machine.
async fn small_image(engine: &DockerEngine) -> Image {
    let files: Vec<_> = ["/bin/sh", "/bin/sleep"].into_iter().flat_map(with_libraries).collect();
    let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(path, content)| (path.as_str(), content.clone())).collect();
    let copies: String = files.iter().map(|(path, _)| format!("COPY {path} /{path}\n")).collect();
    // In a loop: a first process that is waiting for a child ends with it, not by the signal that stops it.
    let entry = r#"["/bin/sh", "-c", "echo ready; while true; do /bin/sleep 1; done", "worker"]"#;
    build(engine, "small", &format!("FROM scratch\n{copies}ENTRYPOINT {entry}\n"), &[], &files).await;
    image(engine, "small").await
}

#[tokio::test]
async fn an_engine_that_stops_ends_the_worker_and_later_launches_say_so() {
    let Some(private) = Private::start() else { return };
    let engine = engine::connect_to(&private.host).await.unwrap();
    let image = small_image(&engine).await;
    let launcher = DockerLauncher::new(image, Resources::default(), TorchDevice::Cpu).at(&private.host);
    let folders = tempfile::tempdir().unwrap();
    let (folder, model) = (folders.path().join("w"), folders.path().join("m"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::create_dir(&model).unwrap();
    let mut worker = launch(&launcher, &folder, &model).await.unwrap();
    until_said(&*worker, "ready").await;
    assert!(!worker.pids().is_empty());

    let waiting = tokio::time::timeout(Duration::from_secs(60), worker.ended());
    let (ended, ()) =
        tokio::join!(waiting, async { tokio::task::spawn_blocking(move || private.stop()).await.unwrap() });
    let ended = ended.unwrap();
    assert!(!ended.out_of_memory);
    assert!(worker.pids().is_empty());
    worker.kill().await;

    let error = launch(&launcher, &folder, &model).await.err().unwrap();
    assert!(error.what.contains("cannot be reached"), "{error}");
    assert!(error.fix.contains("DOCKER_HOST"), "{}", error.fix);
}
