//! Workers that somebody else started: used where they are, and left running.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use self::hold::Hold;
use super::{Address, LaunchError, Launcher, Running, Wanted, WorkerEnd};
use crate::process::{handle, listener, peer, tree};

mod hold;

/// A worker at an address.
#[derive(Debug)]
pub struct ConnectLauncher {
    address: Address,
    token_env: Option<String>,
    /// Keeps other clients out from the first use on, also between two models. `None`: not used yet.
    hold: Mutex<Option<Hold>>,
}

impl ConnectLauncher {
    /// A worker at `unix:/path` or `tcp:127.0.0.1:PORT`. `token_env` names the variable with its token, if it wants one.
    ///
    /// # Errors
    /// The address cannot be read.
    pub fn new(address: &str, token_env: Option<&str>) -> Result<Self, LaunchError> {
        let address = address.parse()?;
        Ok(Self { address, token_env: token_env.map(str::to_owned), hold: Mutex::new(None) })
    }

    /// Keeps other clients out as long as this lives.
    fn hold(&self) -> Result<(), LaunchError> {
        let mut held = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            *held = Some(Hold::take(&self.address)?);
        }
        Ok(())
    }
}

/// The worker, as far as we know it.
struct Connected {
    address: Address,
    token: Option<String>,
    /// The process that listens, once it is known.
    pid: OnceLock<u32>,
    /// Tells of its end. `None`: not looked for yet, or the system does not tell.
    end: Option<AsyncFd<OwnedFd>>,
}

impl Connected {
    /// The process that listens, as this kernel knows it, whatever it says itself. `None`: nobody does yet, or it is not
    /// shown to this user.
    fn pid(&self) -> Option<u32> {
        if let Some(&pid) = self.pid.get() {
            return Some(pid);
        }
        let found = match &self.address {
            Address::Unix(path) => UnixStream::connect(path).ok().and_then(|stream| peer(&stream)),
            Address::Tcp(address) => listener(address.port(), |ip| ip == address.ip() || ip.is_unspecified()),
        };
        found.map(|pid| *self.pid.get_or_init(|| pid))
    }
}

#[tonic::async_trait]
impl Launcher for ConnectLauncher {
    async fn launch(&self, _wanted: Wanted<'_>) -> Result<Box<dyn Running>, LaunchError> {
        let token = match &self.token_env {
            None => None,
            Some(name) => Some(std::env::var(name).map_err(|_| LaunchError {
                what: format!("the environment variable {name}, which is to hold the worker's token, is not set"),
                fix: format!("export {name}=…   (the token the worker was started with)"),
            })?),
        };
        self.hold()?;
        Ok(Box::new(Connected { address: self.address.clone(), token, pid: OnceLock::new(), end: None }))
    }
}

#[tonic::async_trait]
impl Running for Connected {
    fn address(&self) -> &Address {
        &self.address
    }

    fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    fn pids(&self) -> Vec<u32> {
        self.pid().map(tree).unwrap_or_default()
    }

    fn facts(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("address".to_owned(), self.address.to_string())])
    }

    fn inside(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }

    fn last_words(&self) -> String {
        String::new()
    }

    async fn ended(&mut self) -> WorkerEnd {
        if self.end.is_none()
            && let Some(pid) = self.pid()
        {
            match handle(pid) {
                // SAFETY: an owned file stays the same one and open as long as it is owned.
                Ok(handle) => self.end = unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE) }.ok(),
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return WorkerEnd::default(),
                Err(_) => {}
            }
        }
        match &self.end {
            // How it ended is its own parent's to know.
            Some(end) if end.readable().await.is_ok() => WorkerEnd::default(),
            // Nobody tells us; its connection does.
            _ => std::future::pending().await,
        }
    }

    async fn kill(&mut self) {}
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn at(address: &str) -> Connected {
        Connected { address: address.parse().unwrap(), token: None, pid: OnceLock::new(), end: None }
    }

    #[test]
    fn who_listens_is_known_once_somebody_does() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let unix = at(&format!("unix:{}", socket.display()));
        assert!(unix.pids().is_empty());
        let _listener = UnixListener::bind(&socket).unwrap();
        assert_eq!(unix.pids().first(), Some(&std::process::id()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = at(&format!("tcp:{}", listener.local_addr().unwrap()));
        assert_eq!(tcp.pids().first(), Some(&std::process::id()));
    }
}
