//! How a worker ended, as its container's launcher tells it.

use std::time::Duration;

use bollard::query_parameters::KillContainerOptions;
use phasebench::backend::worker::launch::WorkerEnd;
use phasebench::scenario::Resources;
use phasebench::terms::Degraded;
use phasebench::units::Bytes;

use crate::docker::fixture::{Rig, until_said};

const WAIT: &str = "import sys\nprint('ready')\nsys.stdin.read()\n";

#[tokio::test]
async fn an_exit_code_and_the_last_words_are_kept() {
    const SCRIPT: &str = "import sys\nprint('the reason', file=sys.stderr)\nsys.exit(7)\n";
    let Some(rig) = Rig::new().await else { return };
    let (folder, mut worker) = rig.launch(SCRIPT, Resources::default()).await;
    assert_eq!(worker.ended().await, WorkerEnd { code: Some(7), ..WorkerEnd::default() });
    assert_eq!(worker.last_words(), "the reason\n");
    assert_eq!(worker.ended().await.kind(), Degraded::Crashed);
    let container = rig.container(&folder).await;
    assert!(rig.has(&container).await);
    worker.kill().await;
    worker.kill().await;
    assert!(!rig.has(&container).await);
    assert_eq!(worker.ended().await.code, Some(7));
}

#[tokio::test]
async fn a_worker_that_writes_without_end_neither_blocks_nor_fills_the_disk() {
    const SCRIPT: &str = "
import sys
line = 'x' * 1023 + '\\n'
for _ in range(100 * 1024):
    sys.stderr.write(line)
print('the end', file=sys.stderr)
";
    let Some(rig) = Rig::new().await else { return };
    let (_, mut worker) = rig.launch(SCRIPT, Resources::default()).await;
    assert_eq!(worker.ended().await.code, Some(0));
    let words = worker.last_words();
    assert!(words.len() <= 64 << 10 && words.ends_with("the end\n"), "{} bytes", words.len());
    worker.kill().await;
}

#[tokio::test]
async fn a_kill_from_outside_is_seen_while_it_is_waited_for() {
    let Some(rig) = Rig::new().await else { return };
    let (folder, mut worker) = rig.launch(WAIT, Resources::default()).await;
    until_said(&*worker, "ready").await;
    // A wait that is dropped is no end.
    assert!(tokio::time::timeout(Duration::from_millis(50), worker.ended()).await.is_err());
    let container = rig.container(&folder).await;
    let (ended, killed) =
        tokio::join!(worker.ended(), rig.engine.docker.kill_container(&container, None::<KillContainerOptions>));
    killed.unwrap();
    assert_eq!(ended, WorkerEnd { signal: Some(9), ..WorkerEnd::default() });
    worker.kill().await;
    assert!(!rig.has(&container).await);
}

#[tokio::test]
async fn a_worker_over_its_memory_limit_is_out_of_memory() {
    const SCRIPT: &str = "
print('taking')
held = []
while True:
    held.append(bytearray(8 << 20))
";
    let Some(rig) = Rig::new().await else { return };
    let resources = Resources { memory: Some(Bytes(64 << 20)), ..Resources::default() };
    let (_, mut worker) = rig.launch(SCRIPT, resources).await;
    let ended = worker.ended().await;
    assert!(ended.out_of_memory && ended.signal == Some(9), "{ended:?}");
    assert_eq!(ended.kind(), Degraded::Oom);
    assert_eq!(worker.facts()["limit_memory_bytes"], (64 << 20).to_string());
    worker.kill().await;
}

#[tokio::test]
async fn our_kill_ends_everything_and_says_by_which_signal() {
    const SCRIPT: &str = "
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen(['python3', '-c', 'import signal; signal.pause()'])
print('ready')
signal.pause()
";
    let Some(rig) = Rig::new().await else { return };
    let (_, mut worker) = rig.launch(SCRIPT, Resources::default()).await;
    until_said(&*worker, "ready").await;
    let pids = worker.pids();
    assert_eq!(pids.len(), 2, "{pids:?}");
    worker.kill().await;
    assert_eq!(worker.ended().await, WorkerEnd { signal: Some(9), ..WorkerEnd::default() });
    assert!(worker.pids().is_empty());
}
