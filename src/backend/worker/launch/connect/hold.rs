//! One client at a time at a worker that somebody else started: it serves one model, and two clients would unload each
//! other's, or be answered by it.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::super::{Address, LaunchError};
use crate::hash::sha256_hex;
use crate::process::peer;

/// A worker's address, held by one backend of one process of this machine. What holds it is a name among the kernel's
/// abstract sockets: no file that could stay behind, free again when the process ends, however that happens.
#[derive(Debug)]
pub(super) struct Hold(#[expect(dead_code, reason = "its end gives the name back")] UnixListener);

impl Hold {
    /// Takes an address.
    ///
    /// # Errors
    /// Somebody has it, with the number of that process.
    pub(super) fn take(address: &Address) -> Result<Self, LaunchError> {
        let failed = |error: std::io::Error| LaunchError {
            what: format!("{address} cannot be held against other clients: {error}"),
            fix: "phasebench doctor".to_owned(),
        };
        let name = name(address).map_err(failed)?;
        match UnixListener::bind_addr(&name) {
            Ok(listener) => Ok(Self(listener)),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(LaunchError {
                what: format!(
                    "the worker at {address} is in use by {}; it serves one client at a time, for two would unload each \
                     other's model",
                    holder(&name)
                ),
                fix: "wait until that one has ended, or start another worker".to_owned(),
            }),
            Err(error) => Err(failed(error)),
        }
    }
}

/// The same for one worker however its address is written.
fn name(address: &Address) -> std::io::Result<SocketAddr> {
    let place = match address {
        Address::Unix(path) => Address::Unix(real(path)),
        Address::Tcp(address) => Address::Tcp(*address),
    };
    SocketAddr::from_abstract_name(format!("phasebench-worker-{}", sha256_hex(place.to_string().as_bytes())))
}

/// The path without links; of a socket that is not there yet, its folder's.
fn real(path: &Path) -> PathBuf {
    let in_folder = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(in_folder).unwrap_or_else(|| path.to_owned())
}

/// Who holds a name, in words.
fn holder(name: &SocketAddr) -> String {
    let pid = UnixStream::connect_addr(name).ok().and_then(|stream| peer(&stream));
    match pid {
        Some(pid) if pid == std::process::id() => "another backend of this run".to_owned(),
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_held_once_however_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        let at = |folder: &Path| Address::Unix(folder.join("s"));
        let held = Hold::take(&at(folder.path())).unwrap();
        let _socket = UnixListener::bind(folder.path().join("s")).unwrap();
        let error = Hold::take(&at(&link)).unwrap_err();
        assert!(error.what.contains("is in use by another backend of this run"), "{error}");
        drop(held);
        Hold::take(&at(&link)).unwrap();
    }
}
