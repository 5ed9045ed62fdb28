//! Nothing is left of a run that was killed.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use bollard::models::ContainerCreateBody;
use phasebench::backend::worker::launch::docker::leftovers::{OURS, OWNER, WORKER, remove};
use phasebench::backend::worker::launch::docker::owner::Owner;
use phasebench::scenario::Resources;

use crate::docker::fixture::{Rig, until, until_said};

/// Ends only by a signal from outside its container: as the first process there it ignores all others.
const STUBBORN: &str = "import signal\nprint('ready')\nwhile True:\n    signal.pause()\n";
/// Ends as workers do, when its standard input is closed.
const OBEDIENT: &str = "import sys\nprint('ready')\nsys.stdin.read()\n";

/// Set in the child, to the script it launches.
const CHILD: &str = "PHASEBENCH_TEST_DOCKER_CHILD";

/// Not a test but the program that [`killed`] kills.
#[tokio::test]
async fn child_that_launches_and_waits() {
    let Ok(script) = std::env::var(CHILD) else { return };
    let Some(rig) = Rig::new().await else { return };
    let (folder, mut worker) = rig.launch(&script, Resources::default()).await;
    until_said(&*worker, "ready").await;
    eprintln!("container {}", rig.container(&folder).await);
    worker.ended().await;
}

/// Launches a worker from another process, kills that with SIGKILL, and tells the container.
fn killed(script: &str) -> String {
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "docker::leftovers::child_that_launches_and_waits", "--nocapture"])
        .env(CHILD, script)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let container = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("container ").map(str::to_owned));
    child.kill().unwrap();
    child.wait().unwrap();
    container.unwrap()
}

#[tokio::test]
async fn the_next_start_removes_what_a_killed_run_left_and_nothing_else() {
    let Some(rig) = Rig::alone().await else { return };
    // Alike in all but the machine, so nobody here can tell whether its owner lives.
    let owner = Owner::this().to_string();
    let (_, process) = owner.split_once('/').unwrap();
    let labels = [(OURS, WORKER.to_owned()), (OWNER, format!("elsewhere/{process}9"))];
    let body = ContainerCreateBody {
        image: Some(rig.image.image.clone()),
        labels: Some(labels.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()),
        ..ContainerCreateBody::default()
    };
    let foreign = rig.engine.docker.create_container(None, body).await.unwrap().id;
    let (alive_folder, mut alive) = rig.launch(STUBBORN, Resources::default()).await;
    let left = killed(STUBBORN);
    assert!(rig.has(&left).await);
    // No worker's, but of a setup that was killed: nobody else started when the machine did.
    let (before, _) = owner.rsplit_once('/').unwrap();
    let labels = [(OURS, "question".to_owned()), (OWNER, format!("{before}/1"))];
    let body = ContainerCreateBody {
        image: Some(rig.image.image.clone()),
        labels: Some(labels.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()),
        ..ContainerCreateBody::default()
    };
    let question = rig.engine.docker.create_container(None, body).await.unwrap().id;

    let (next_folder, mut next) = rig.launch(OBEDIENT, Resources::default()).await;
    assert!(!rig.has(&left).await && !rig.has(&question).await);
    assert!(rig.has(&foreign).await);
    // Fails where there is none.
    rig.container(&alive_folder).await;
    rig.container(&next_folder).await;
    next.kill().await;
    alive.kill().await;
    remove(&rig.engine, &foreign).await.unwrap();
}

#[tokio::test]
async fn a_worker_ends_with_the_process_that_launched_it_and_doctor_cleans_up() {
    let Some(rig) = Rig::alone().await else { return };
    let left = killed(OBEDIENT);
    until("the worker has ended", async || {
        let found = rig.engine.docker.inspect_container(&left, None).await;
        found.unwrap().state.and_then(|state| state.running) == Some(false)
    })
    .await;

    let cleaned = |left: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_phasebench")).args(["doctor", "--clean"]).output().unwrap();
        assert!(output.status.success());
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(told.contains(left), "{told}");
    };
    let removed = |container: &str| format!("removed container {} of run test-run", &container[..12]);
    cleaned(&removed(&left));
    assert!(!rig.has(&left).await);
    // One that does not end with its owner; the next launch would remove it too.
    let stubborn = killed(STUBBORN);
    cleaned(&removed(&stubborn));
    assert!(!rig.has(&stubborn).await);
    cleaned("no container is left");
}
