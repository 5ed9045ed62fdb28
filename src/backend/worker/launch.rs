//! Starting a worker, and what is known of it while it runs, whatever it is started with.
//!
//! [`process`] starts a program, [`docker`] a container, [`connect`] uses what runs already; [`package`] is the torch
//! worker as this program carries it, [`installed`] what was made of it.

pub mod connect;
pub mod docker;
pub mod installed;
pub mod package;
pub mod process;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::terms::Degraded;

/// Where a worker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// A port of the loopback interface.
    Tcp(SocketAddr),
}

/// `unix:/path` or `tcp:127.0.0.1:PORT`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

impl FromStr for Address {
    type Err = LaunchError;

    fn from_str(text: &str) -> Result<Self, LaunchError> {
        let address = match text.split_once(':') {
            Some(("unix", path)) if path.starts_with('/') => Some(Self::Unix(path.into())),
            Some(("tcp", rest)) => {
                rest.parse().ok().filter(|address: &SocketAddr| address.ip().is_loopback()).map(Self::Tcp)
            }
            _ => None,
        };
        address.ok_or_else(|| LaunchError {
            what: format!("`{text}` is no address of a worker, allowed: unix:/path/to/socket, tcp:127.0.0.1:PORT"),
            fix: "correct `address`".to_owned(),
        })
    }
}

/// What one worker is started for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Folder of this worker alone, mode 0700, there already: its socket, its compiler's files.
    pub folder: &'a Path,
    /// Model folder it must be able to read. `None`: it is only asked what it is.
    pub model: Option<&'a Path>,
    /// Which run it belongs to, for labels.
    pub run: &'a str,
    /// Folder that all workers of the backend share, mode 0700, for the compiler's cache.
    pub compiler_cache: &'a Path,
}

/// Something that starts workers.
#[tonic::async_trait]
pub trait Launcher: Send + Sync {
    /// Starts one; returns as soon as its address is known. It need not answer yet.
    ///
    /// # Errors
    /// What could not be started, and what helps.
    async fn launch(&self, wanted: Wanted<'_>) -> Result<Box<dyn Running>, LaunchError>;
}

/// A worker that was started.
#[tonic::async_trait]
pub trait Running: Send + Sync {
    /// Where it listens.
    fn address(&self) -> &Address;

    /// Token that every message must carry. `None`: the socket's folder keeps others out.
    fn token(&self) -> Option<&str>;

    /// Its processes, as this kernel numbers them: the load they make is ours.
    fn pids(&self) -> Vec<u32>;

    /// For the manifest: command, image digest, and `container`, which alone may differ from worker to worker.
    fn facts(&self) -> BTreeMap<String, String>;

    /// Where the worker sees a path that it was started for.
    fn inside(&self, path: &Path) -> PathBuf;

    /// The last of what it wrote to its log, bounded.
    fn last_words(&self) -> String;

    /// Waits until it has ended. May be dropped and asked again.
    async fn ended(&mut self) -> WorkerEnd;

    /// Ends it and everything it started, at once, and removes what it left. Does nothing where that was done.
    async fn kill(&mut self);
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WorkerEnd {
    /// Exit code. `None`: not known, or a signal ended it.
    pub code: Option<i32>,
    /// Signal. `None`: none did, or not known.
    pub signal: Option<i32>,
    /// Whether it ran into its memory limit.
    pub out_of_memory: bool,
}

/// `ended by signal 9`.
impl fmt::Display for WorkerEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.out_of_memory, self.signal, self.code) {
            (true, ..) => f.write_str("ended for lack of memory"),
            (false, Some(signal), _) => write!(f, "ended by signal {signal}"),
            (false, None, Some(code)) => write!(f, "ended with exit code {code}"),
            (false, None, None) => f.write_str("ended"),
        }
    }
}

impl WorkerEnd {
    /// What a call that it cut short is recorded as.
    #[must_use]
    pub fn kind(self) -> Degraded {
        if self.out_of_memory { Degraded::Oom } else { Degraded::Crashed }
    }
}

/// Why a worker could not be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct LaunchError {
    /// What went wrong.
    pub what: String,
    /// The command or setting that helps.
    pub fix: String,
}
