//! Another user of the machine cannot use a worker.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use phasebench::backend::RunWorkers;
use phasebench::backend::onnx::library;
use phasebench::backend::worker::connection::{TOKEN_VARIABLE, open};
use phasebench::backend::worker::io::Io;
use phasebench::backend::worker::launch::Address;
use phasebench::backend::worker::launch::process::{READY, TRANSPORT_VARIABLE};
use phasebench::backend::worker::protocol::HelloRequest;
use tonic::Code;

use crate::worker::fixture::{Fixture, REPETITIONS, assert_exit};

/// Asked for by the test program started again as somebody else: which socket.
const SOCKET: &str = "PHASEBENCH_TEST_SOCKET";

/// Our own worker, and where it says that it listens.
struct Serving {
    worker: Child,
    address: Address,
}

impl Serving {
    fn start(listen: &str, token: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
        command.args(["worker", "onnx", "--exit-on-stdin-close", "--listen", listen]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).env_remove(TOKEN_VARIABLE);
        command.envs(token.map(|token| (TOKEN_VARIABLE, token)));
        let mut worker = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(worker.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.strip_prefix(READY).unwrap_or_else(|| panic!("{line}")).trim().parse().unwrap();
        Self { worker, address }
    }

    /// The gRPC status of a Hello with this token.
    fn hello(&self, token: Option<&str>) -> Code {
        let (address, token) = (self.address.clone(), token.map(str::to_owned));
        let asked = async move {
            let mut client = open(&address, token.as_deref()).unwrap();
            client.hello(HelloRequest { protocol_version: 1, client: "test".to_owned() }).await
        };
        let answer = Io::start().unwrap().wait(asked).unwrap();
        answer.err().map_or(Code::Ok, |status| status.code())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.worker.stdin.take());
        drop(self.worker.wait());
    }
}

/// The other user's part of the next test.
#[test]
fn somebody_else() {
    let Some(socket) = std::env::var_os(SOCKET) else { return };
    let refused = std::os::unix::net::UnixStream::connect(Path::new(&socket)).map(drop);
    let refused = refused.map_err(|error| error.raw_os_error());
    std::process::exit(if refused == Err(Some(libc::EACCES)) { 0 } else { 1 });
}

#[test]
fn another_user_cannot_reach_the_socket() {
    // SAFETY: reads the caller's own id.
    if unsafe { libc::geteuid() } != 0 {
        return crate::not_run::not_run("another user cannot reach the socket", "only root can become another user");
    }
    let run = RunWorkers::default().folder().unwrap();
    let folder = run.worker().unwrap();
    let serving = Serving::start(&format!("unix:{}/s", folder.path().display()), None);
    assert_eq!(serving.hello(None), Code::Ok);
    // Where somebody else may execute it.
    let open = tempfile::Builder::new().prefix("open").permissions(mode(0o755)).tempdir_in("/tmp").unwrap();
    let program = open.path().join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let Address::Unix(socket) = &serving.address else { panic!("{}", serving.address) };
    let mut other = Command::new(&program);
    other
        .args(["--exact", "worker::security::somebody_else"])
        .env(SOCKET, socket)
        .current_dir("/")
        .uid(65_534)
        .gid(65_534);
    assert_eq!(other.output().unwrap().status.code(), Some(0), "only EACCES will do");
    // The socket's own mode keeps others out too, should its folder not.
    std::fs::set_permissions(folder.path(), mode(0o755)).unwrap();
    std::fs::set_permissions(folder.path().parent().unwrap(), mode(0o755)).unwrap();
    assert_eq!(other.output().unwrap().status.code(), Some(0), "only EACCES will do");
}

fn mode(mode: u32) -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(mode)
}

#[test]
fn without_the_token_a_port_is_closed() {
    let serving = Serving::start("tcp:127.0.0.1:0", Some("s3cret"));
    assert!(matches!(serving.address, Address::Tcp(address) if address.port() > 0));
    assert_eq!(serving.hello(Some("s3cret")), Code::Ok);
    for token in [None, Some(""), Some("s3cres"), Some("s3cret2")] {
        assert_eq!(serving.hello(token), Code::Unauthenticated, "{token:?}");
    }
}

/// What it has to do with the token is said, and how it is given.
#[test]
fn a_token_that_is_missing_or_wrong_is_told() {
    let serving = Serving::start("tcp:127.0.0.1:0", Some("s3cret"));
    let address = serving.address.to_string();
    for (token_env, value) in [("", ""), (", token_env: OTHER_TOKEN", "s3cres")] {
        let fixture = Fixture::new(&format!("worker: {{ address: \"{address}\"{token_env} }}"), "good");
        let output = fixture.start().env("OTHER_TOKEN", value).output().unwrap();
        assert_exit(&output, 7);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("the worker refuses the token, or wants one"), "{said}");
        assert!(said.contains("`token_env` names the variable that holds the token"), "{said}");
    }
}

#[test]
fn a_port_without_a_token_is_not_served() {
    for (listen, words) in [
        ("tcp:127.0.0.1:0", "a port needs a token: set PHASEBENCH_WORKER_TOKEN"),
        ("tcp:0.0.0.0:0", "`tcp:0.0.0.0:0` is no address of a worker"),
        ("/tmp/s", "`/tmp/s` is no address of a worker"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
        let output = command.args(["worker", "onnx", "--listen", listen]).env_remove(TOKEN_VARIABLE).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(words), "{said}");
    }
}

/// A run over ports, where the user asks for them.
#[test]
fn ports_are_used_where_asked_for() {
    let fixture = Fixture::new("onnx: { provider: cpu, isolation: process }", "good");
    let library = library::locate(&phasebench::cache::root()).unwrap().path;
    let start = |transport: &str| {
        let mut command = fixture.start();
        command.env(TRANSPORT_VARIABLE, transport).env(library::VARIABLE, &library).output().unwrap()
    };
    let output = start("udp");
    assert_exit(&output, 7);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("PHASEBENCH_WORKER_TRANSPORT is `udp`, allowed: unix, tcp"), "{said}");
    assert_exit(&start("tcp"), 0);
    fixture.nothing_runs_now();
    let recorded = fixture.recorded();
    assert_eq!(recorded.failures(), [] as [String; 0]);
    assert_eq!(recorded.timed("worker").len(), REPETITIONS);
}

/// A worker of ours started at a name; how it ended, and what it said.
fn refused(listen: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
    let output =
        command.args(["worker", "onnx", "--listen"]).arg(format!("unix:{}", listen.display())).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_worker_takes_no_name_that_is_not_free() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    std::fs::write(&file, "precious").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for path in [&file, &link] {
        let (code, said) = refused(path);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("it was left alone"), "{said}");
    }
    assert!(std::fs::read(&file).unwrap() == b"precious" && link.is_symlink());
    let socket = folder.path().join("socket");
    let listen = format!("unix:{}", socket.display());
    let first = Serving::start(&listen, None);
    let (code, said) = refused(&socket);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("another worker answers there"), "{said}");
    assert_eq!(first.hello(None), Code::Ok, "the first one's socket is untouched");
}

#[test]
fn a_worker_s_socket_goes_with_it_and_a_dead_one_s_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let listen = format!("unix:{}", socket.display());
    let mut killed = Serving::start(&listen, None);
    killed.worker.kill().unwrap();
    killed.worker.wait().unwrap();
    assert!(socket.exists());
    let mut asked = Serving::start(&listen, None);
    assert_eq!(asked.hello(None), Code::Ok);
    // SAFETY: takes two numbers; the process is this test's own.
    assert_eq!(unsafe { libc::kill(libc::pid_t::try_from(asked.worker.id()).unwrap(), libc::SIGTERM) }, 0);
    // Waiting would close its input, which ends it too.
    let input = asked.worker.stdin.take();
    assert_eq!(asked.worker.wait().unwrap().code(), Some(0));
    drop(input);
    assert!(!socket.exists());
    let closed = Serving::start(&listen, None);
    drop(closed);
    assert!(!socket.exists(), "also where its input ends");
}
