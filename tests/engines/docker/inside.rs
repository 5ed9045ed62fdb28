//! What a worker can do, asked from inside its container.

use std::fs;
use std::net::TcpListener;

use phasebench::scenario::Resources;
use phasebench::units::Bytes;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use crate::docker::fixture::Rig;

/// Tries everything a worker must not be able to do, and what it must; writes what came of it.
const TRY: &str = r##"
import ctypes, json, mmap, os, socket, subprocess, sys, threading

def attempt(action):
    try:
        action()
        return "done"
    except OSError as error:
        return error.strerror or str(error)

def connect(host, port):
    def action():
        with socket.socket() as s:
            s.settimeout(5)
            s.connect((host, port))
    return action

def write(path):
    return lambda: open(path, "w").close()

def run_from(folder):
    def action():
        with open(f"{folder}/tool", "w") as tool:
            tool.write("#!/bin/sh\nexit 0\n")
        os.chmod(f"{folder}/tool", 0o700)
        subprocess.run([f"{folder}/tool"], check=True)
    return action

def mounted(folder):
    for line in open("/proc/self/mounts"):
        source, target, kind, options, *_ = line.split()
        if target == folder:
            return [kind, *sorted(options.split(","))]

def threads():
    started, stop = 0, threading.Event()
    try:
        while started < 1000:
            threading.Thread(target=stop.wait, daemon=True).start()
            started += 1
    except RuntimeError:
        pass
    stop.set()
    return started

port = int(open("/model/config.json").read())
status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
found = {
    "interfaces": sorted(os.listdir("/sys/class/net")),
    "outside": attempt(connect("192.0.2.1", 80)),
    "host": attempt(connect("127.0.0.1", port)),
    "root": attempt(write("/new")),
    "usr": attempt(write("/usr/bin/new")),
    "model": attempt(write("/model/new")),
    "tmp": attempt(run_from("/tmp")),
    "cache": attempt(run_from("/cache")),
    "cache_mount": mounted("/cache"),
    "folder": attempt(write("/run/phasebench/new")),
    "setuid": attempt(lambda: os.setuid(0)),
    "chroot": attempt(lambda: os.chroot("/tmp")),
    "mount": ctypes.CDLL(None, use_errno=True).mount(b"none", b"/tmp", b"tmpfs", 0, None),
    "uid": os.getuid(),
    "gid": os.getgid(),
    "groups": [group for group in os.getgroups() if group == 0],
    "capabilities": [status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
    "no_new_privileges": status["NoNewPrivs"],
    "seccomp": status["Seccomp"],
    "arguments": sys.argv[1:],
    "environment": dict(os.environ),
    "threads": threads(),
}
with open("/run/phasebench/found.json", "w") as file:
    json.dump(found, file)
"##;

#[tokio::test]
async fn it_reaches_nothing_and_writes_only_to_its_own_folders() {
    let Some(rig) = Rig::new().await else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let model = rig.model();
    let (folder, mut worker) = {
        let folder = rig.worker(TRY);
        let resources = Resources { memory: Some(Bytes(256 << 20)), cpus: Some(1), pids: Some(40) };
        let launcher = phasebench::backend::worker::launch::docker::DockerLauncher::new(
            rig.image.clone(),
            resources,
            phasebench::scenario::TorchDevice::Cpu,
        );
        fs::write(model.join("config.json"), listener.local_addr().unwrap().port().to_string()).unwrap();
        let worker = crate::docker::fixture::launch(&launcher, &folder, &model).await.unwrap();
        (folder, worker)
    };
    let ended = worker.ended().await;
    assert_eq!(ended.code, Some(0), "{}", worker.last_words());
    let found: Value = serde_json::from_slice(&fs::read(folder.join("found.json")).unwrap()).unwrap();

    assert_eq!(found["interfaces"], serde_json::json!(["lo"]), "{found:#}");
    assert_eq!(found["outside"], "Network is unreachable");
    assert_eq!(found["host"], "Connection refused");
    for place in ["root", "usr", "model"] {
        assert_eq!(found[place], "Read-only file system", "{place}");
    }
    for place in ["tmp", "cache", "folder"] {
        assert_eq!(found[place], "done", "{place}");
    }
    // The compiler's cache is memory of a bounded size, and nobody else's.
    let cache: Vec<_> = found["cache_mount"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for option in ["tmpfs", "nodev", "nosuid", "size=2097152k", "mode=700"] {
        assert!(cache.contains(&option), "{option}: {cache:?}");
    }
    assert!(!cache.contains(&"noexec"));
    for way in ["setuid", "chroot"] {
        assert_eq!(found[way], "Operation not permitted", "{way}");
    }
    assert_eq!(found["mount"], -1);
    for set in found["capabilities"].as_array().unwrap() {
        assert_eq!(set, "0000000000000000");
    }
    assert_eq!(found["no_new_privileges"], "1");
    assert_eq!(found["seccomp"], "2");
    assert_ne!(found["uid"], 0);
    assert_ne!(found["gid"], 0);
    assert_eq!(found["groups"], serde_json::json!([]));
    assert!(found["threads"].as_u64().unwrap() < 40, "{}", found["threads"]);
    let arguments: Vec<_> = found["arguments"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(arguments[..2], ["--listen", "unix:/run/phasebench/worker.sock"]);
    for (name, value) in [("HOME", "/tmp"), ("TORCHINDUCTOR_CACHE_DIR", "/cache")] {
        assert_eq!(found["environment"][name], value);
    }
    worker.kill().await;
}

#[tokio::test]
async fn its_socket_answers_and_its_places_are_told() {
    const ANSWER: &str = r#"
import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[2].removeprefix("unix:"))
server.listen()
print("listening")
connection, _ = server.accept()
connection.sendall(b"hello")
sys.stdin.read()
"#;
    let Some(rig) = Rig::new().await else { return };
    let (folder, mut worker) = rig.launch(ANSWER, Resources { cpus: Some(1), ..Resources::default() }).await;
    crate::docker::fixture::until_said(&*worker, "listening").await;
    let phasebench::backend::worker::launch::Address::Unix(socket) = worker.address().clone() else {
        unreachable!("a container has no other way out")
    };
    assert_eq!(socket, folder.join("worker.sock"));
    assert_eq!(worker.token(), None);
    let mut text = [0; 5];
    tokio::net::UnixStream::connect(&socket).await.unwrap().read_exact(&mut text).await.unwrap();
    assert_eq!(&text, b"hello");

    let model = rig.model();
    assert_eq!(worker.inside(&model.join("config.json")), std::path::Path::new("/model/config.json"));
    assert_eq!(worker.inside(&folder), std::path::Path::new("/run/phasebench"));
    let facts = worker.facts();
    assert_eq!((facts["launch"].as_str(), facts["limit_cpus"].as_str()), ("docker", "1"));
    assert!(facts["image_digest"].starts_with("sha256:"));
    assert!(!facts.contains_key("limit_memory_bytes"));
    assert!(!worker.pids().is_empty());
    let container = rig.container(&folder).await;
    worker.kill().await;
    assert!(!rig.has(&container).await);
    assert!(worker.pids().is_empty());
}
