//! A socket in the file system: bound where nothing is, or where a worker that died has left one, and removed again only
//! while it is ours.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The name that this process has given to its socket. Dropped, it is gone, unless something else has the name by then.
#[derive(Debug)]
pub(super) struct OwnSocket {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl OwnSocket {
    /// Binds a socket that only this user can use.
    ///
    /// # Errors
    /// Why the name cannot be had: there is a file, or a worker that answers; or the system's words.
    pub(super) fn bind(path: &Path) -> Result<(UnixListener, Self), String> {
        let words = |error: io::Error| error.to_string();
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => replace_stale(path)?,
            bound => bound.map_err(words)?,
        };
        let found = fs::symlink_metadata(path).map_err(words)?;
        let own = Self { path: path.to_owned(), device: found.dev(), inode: found.ino() };
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(words)?;
        listener.set_nonblocking(true).map_err(words)?;
        Ok((listener, own))
    }

    /// Takes the name away, if it still leads to the socket that was bound.
    pub(super) fn remove(&self) {
        let is_own = |found: &fs::Metadata| (found.dev(), found.ino()) == (self.device, self.inode);
        if fs::symlink_metadata(&self.path).is_ok_and(|found| is_own(&found)) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for OwnSocket {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Binds in the place of a socket that nobody answers at.
fn replace_stale(path: &Path) -> Result<UnixListener, String> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let unusable = |error: io::Error| format!("there is something already, and its folder cannot be locked: {error}");
    // Two workers that found the same stale socket: the second one must find the first one's.
    let lock = File::open(folder).map_err(unusable)?;
    lock.lock().map_err(unusable)?;
    let kind = match fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return bind_again(path),
        Err(error) => return Err(error.to_string()),
    };
    if !kind.is_socket() {
        let what = if kind.is_symlink() { "a link" } else { "a file" };
        return Err(format!("there is {what} already, and it is no socket; it was left alone"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| error.to_string())?;
            bind_again(path)
        }
        Ok(_) => Err("another worker answers there".to_owned()),
        Err(error) => Err(format!("there is a socket already, and whether anybody answers is not known: {error}")),
    }
}

fn bind_again(path: &Path) -> Result<UnixListener, String> {
    UnixListener::bind(path).map_err(|error| error.to_string())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_file_and_a_link_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link, dangling) = (folder.path().join("f"), folder.path().join("l"), folder.path().join("d"));
        fs::write(&file, "mine").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        std::os::unix::fs::symlink(folder.path().join("nowhere"), &dangling).unwrap();
        for path in [&file, &link, &dangling] {
            let why = OwnSocket::bind(path).unwrap_err();
            assert!(why.contains("it was left alone"), "{}: {why}", path.display());
            assert!(fs::symlink_metadata(path).is_ok());
        }
        assert_eq!(fs::read(&file).unwrap(), b"mine");
    }

    #[test]
    fn a_live_socket_is_refused_and_a_stale_one_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (listener, own) = OwnSocket::bind(&path).unwrap();
        assert_eq!(OwnSocket::bind(&path).unwrap_err(), "another worker answers there");
        std::mem::forget(own);
        drop(listener);
        assert!(path.exists(), "a socket stays when its process dies");
        let (_listener, own) = OwnSocket::bind(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(own);
        assert!(!path.exists());
    }

    #[test]
    fn what_took_the_name_meanwhile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (_listener, own) = OwnSocket::bind(&path).unwrap();
        fs::rename(&path, folder.path().join("moved")).unwrap();
        fs::write(&path, "somebody's").unwrap();
        drop(own);
        assert_eq!(fs::read(&path).unwrap(), b"somebody's");
    }
}
