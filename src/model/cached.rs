//! Folders that appear in the cache whole or not at all.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Error, Result};

/// Makes the folder `at` unless it is there: `fill` writes into a folder beside it, which is then renamed.
///
/// Two programs may do this at the same time; the first to finish wins, and both find the same folder.
pub(super) fn folder(at: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if at.is_dir() {
        return Ok(());
    }
    let parent = at.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    let unfinished = tempfile::Builder::new()
        .prefix(".unfinished-")
        // A worker in a container reads these as another user.
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(parent)
        .map_err(Error::io("create a folder in", parent))?;
    fill(unfinished.path())?;
    for entry in fs::read_dir(unfinished.path()).map_err(Error::io("list", unfinished.path()))? {
        let path = entry.map_err(Error::io("list", unfinished.path()))?.path();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).map_err(Error::io("set permissions of", &path))?;
        let file = fs::File::open(&path).map_err(Error::io("open", &path))?;
        file.sync_all().map_err(Error::io("write", &path))?;
    }
    match fs::rename(unfinished.path(), at) {
        Ok(()) => {
            let _now_elsewhere = unfinished.keep();
            Ok(())
        }
        Err(_) if at.is_dir() => Ok(()),
        Err(e) => Err(Error::io("create", at)(e)),
    }
}
