//! Workers that are processes of this machine: the torch worker in its environment, and our own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use super::{Address, LaunchError, Launcher, Running, Wanted, WorkerEnd};
use crate::backend::worker::connection::{TOKEN_VARIABLE, fits};
use crate::backend::worker::folder;
use crate::backend::worker::text::clean;
use crate::process::{killed_for_memory, tree};

/// Of what a worker wrote to its log so much is kept. Unit: bytes.
const KEPT: usize = 64 << 10;

/// Longest line in which a worker says where it listens. Unit: bytes.
const LONGEST_READY: u64 = 4096;

/// How a ready line begins.
pub const READY: &str = "phasebench-worker ready ";

/// How long a keeper may take to end everything.
const KILLED_WITHIN: Duration = Duration::from_secs(5);

/// What is started.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program.
    pub program: PathBuf,
    /// Its arguments before `--listen`.
    pub arguments: Vec<OsString>,
    /// What it is given in its environment, besides ours.
    pub environment: Vec<(String, OsString)>,
    /// What is known of it, for the manifest.
    pub facts: BTreeMap<String, String>,
}

/// How its messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// Over a Unix socket in the worker's private folder.
    #[default]
    Unix,
    /// Over a port of the loopback interface, with a token.
    Tcp,
}

/// Environment variable that asks for [`Transport::Tcp`] with `tcp`.
pub const TRANSPORT_VARIABLE: &str = "PHASEBENCH_WORKER_TRANSPORT";

impl Transport {
    /// As the environment asks.
    ///
    /// # Errors
    /// It asks for something else.
    pub fn asked() -> Result<Self, LaunchError> {
        match std::env::var(TRANSPORT_VARIABLE).as_deref() {
            Err(_) | Ok("" | "unix") => Ok(Self::Unix),
            Ok("tcp") => Ok(Self::Tcp),
            Ok(other) => Err(LaunchError {
                what: format!("{TRANSPORT_VARIABLE} is `{}`, allowed: unix, tcp", clean(other)),
                fix: format!("unset {TRANSPORT_VARIABLE}"),
            }),
        }
    }
}

/// Starts a program through a keeper, see [`crate::backend::worker::supervise`].
#[derive(Debug, Clone)]
pub struct ProcessLauncher {
    /// This program, whose `supervise` command is the keeper.
    pub keeper: PathBuf,
    /// The worker.
    pub program: Program,
    /// How it is talked to.
    pub transport: Transport,
}

/// A worker process, and its keeper.
struct Process {
    address: Address,
    token: Option<String>,
    keeper: Child,
    /// Closed: the keeper ends everything.
    held_open: Option<ChildStdin>,
    log: Arc<Mutex<Log>>,
    folder: PathBuf,
    facts: BTreeMap<String, String>,
    ended: Option<WorkerEnd>,
    /// Whether everything was ended.
    killed: bool,
    /// Processes the kernel had killed for lack of memory when this one started.
    killed_before: Option<u64>,
}

#[tonic::async_trait]
impl Launcher for ProcessLauncher {
    async fn launch(&self, wanted: Wanted<'_>) -> Result<Box<dyn Running>, LaunchError> {
        let socket = wanted.folder.join("s");
        let (listen, token) = match self.transport {
            Transport::Unix => {
                fits(&socket).map_err(|what| LaunchError { what, fix: "a shorter TMPDIR".to_owned() })?;
                (format!("unix:{}", socket.display()), None)
            }
            Transport::Tcp => ("tcp:127.0.0.1:0".to_owned(), Some(random_token())),
        };
        let mut command = self.command(wanted, &listen, token.as_deref());
        let mut keeper = command.spawn().map_err(|error| LaunchError {
            what: format!("{} cannot be started: {error}", self.keeper.display()),
            fix: "a program file that may be executed".to_owned(),
        })?;
        let log = Arc::new(Mutex::new(Log::default()));
        let held_open = keeper.stdin.take();
        let (out, err) = (keeper.stdout.take(), keeper.stderr.take());
        tokio::spawn(drain(err, log.clone()));
        let mut process = Process {
            address: Address::Unix(socket),
            token,
            keeper,
            held_open,
            log,
            folder: wanted.folder.to_owned(),
            facts: self.program.facts.clone(),
            ended: None,
            killed: false,
            killed_before: killed_for_memory(),
        };
        match (self.transport, out) {
            (Transport::Tcp, Some(out)) => match ready(out).await {
                Some(address) => process.address = address,
                None => return Err(process.silent().await),
            },
            (_, out) => drop(tokio::spawn(discard(out))),
        }
        Ok(Box::new(process))
    }
}

impl ProcessLauncher {
    fn command(&self, wanted: Wanted<'_>, listen: &str, token: Option<&str>) -> Command {
        let mut command = Command::new(&self.keeper);
        command.args(["supervise", "--"]).arg(&self.program.program).args(&self.program.arguments);
        command.args(["--listen", listen, "--exit-on-stdin-close"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // An interrupt from the terminal is for us; we then end the worker.
        command.process_group(0);
        command.env(folder::VARIABLE, wanted.folder).env("TMPDIR", wanted.folder.join("tmp"));
        // Whatever a compiler keeps on disk: an inherited folder would be warm from somebody else's run.
        command.env("TORCHINDUCTOR_CACHE_DIR", wanted.compiler_cache);
        command.env("TRITON_CACHE_DIR", wanted.compiler_cache.join("triton"));
        command.envs(self.program.environment.iter().map(|(name, value)| (name, value)));
        match token {
            Some(token) => command.env(TOKEN_VARIABLE, token),
            None => command.env_remove(TOKEN_VARIABLE),
        };
        command
    }
}

impl Process {
    /// It ended, or closed its standard output, without saying where it listens.
    async fn silent(&mut self) -> LaunchError {
        let ended = tokio::time::timeout(KILLED_WITHIN, self.ended()).await;
        self.kill().await;
        let how = ended.map_or_else(|_| "closed its standard output".to_owned(), |ended| ended.to_string());
        let words = self.last_words();
        LaunchError { what: format!("the worker {how} before it was ready: {words}"), fix: String::new() }
    }
}

#[tonic::async_trait]
impl Running for Process {
    fn address(&self) -> &Address {
        &self.address
    }

    fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    fn pids(&self) -> Vec<u32> {
        self.keeper.id().map(tree).unwrap_or_default()
    }

    fn facts(&self) -> BTreeMap<String, String> {
        self.facts.clone()
    }

    fn inside(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }

    fn last_words(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).text()
    }

    async fn ended(&mut self) -> WorkerEnd {
        if let Some(ended) = self.ended {
            return ended;
        }
        let status = self.keeper.wait().await;
        let mut ended = status.map_or_else(|_| WorkerEnd::default(), ended_as);
        let killed_since = killed_for_memory().zip(self.killed_before).is_some_and(|(now, before)| now > before);
        ended.out_of_memory = ended.signal == Some(libc::SIGKILL) && killed_since;
        self.ended = Some(ended);
        ended
    }

    async fn kill(&mut self) {
        if std::mem::replace(&mut self.killed, true) {
            return;
        }
        drop(self.held_open.take());
        if tokio::time::timeout(KILLED_WITHIN, self.ended()).await.is_err() {
            // A keeper that does not keep is ended itself; the kernel then ends the worker.
            drop(self.keeper.kill().await);
        }
        folder::end_all(&self.folder);
    }
}

fn ended_as(status: std::process::ExitStatus) -> WorkerEnd {
    use std::os::unix::process::ExitStatusExt;
    WorkerEnd { code: status.code(), signal: status.signal(), out_of_memory: false }
}

fn random_token() -> String {
    let bytes: [u8; 32] = rand::rng().random();
    crate::hash::hex(&bytes)
}

/// The end of what was written.
#[derive(Debug, Default)]
struct Log {
    /// At most twice [`KEPT`].
    bytes: Vec<u8>,
}

impl Log {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > 2 * KEPT {
            self.bytes.drain(..self.bytes.len() - KEPT);
        }
    }

    fn text(&self) -> String {
        let begin = self.bytes.len().saturating_sub(KEPT);
        String::from_utf8_lossy(&self.bytes[begin..]).trim().to_owned()
    }
}

/// Reads a log to its end, however much comes: a full pipe would stop the worker.
async fn drain(log: Option<ChildStderr>, kept: Arc<Mutex<Log>>) {
    let Some(mut log) = log else { return };
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = log.read(&mut buffer).await {
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(&buffer[..read]);
    }
}

async fn discard(out: Option<impl AsyncRead + Unpin>) {
    if let Some(mut out) = out {
        drop(tokio::io::copy(&mut out, &mut tokio::io::sink()).await);
    }
}

/// Where a worker says that it listens. `None`: it ended without saying so.
async fn ready(out: ChildStdout) -> Option<Address> {
    let mut out = BufReader::new(out);
    loop {
        let mut line = Vec::new();
        let read = (&mut out).take(LONGEST_READY).read_until(b'\n', &mut line).await;
        if !read.is_ok_and(|read| read > 0) {
            return None;
        }
        let line = String::from_utf8_lossy(&line);
        if let Some(Ok(address)) = line.strip_prefix(READY).map(|address| address.trim().parse()) {
            tokio::spawn(discard(Some(out)));
            return Some(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_log_the_end_is_kept() {
        let mut log = Log::default();
        for n in 0..200_000 {
            log.push(format!("line {n}\n").as_bytes());
        }
        assert!(log.bytes.len() <= 2 * KEPT);
        let text = log.text();
        assert!(text.len() <= KEPT && text.ends_with("line 199999"));
    }

    #[test]
    fn tokens_differ_and_are_long() {
        let (first, second) = (random_token(), random_token());
        assert_ne!(first, second);
        assert_eq!(first.len(), 64);
    }
}
