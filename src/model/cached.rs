//! Folders that appear in the cache whole or not at all, and are used only while they hold what was put into them.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Error, Result, bounded, content};
use crate::files::{self, UnfinishedFolder};

/// Says, inside a cached folder, what its files held when it was made.
const CONTENT: &str = "content.json";

/// What [`CONTENT`] holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    /// SHA-256 by file name.
    sha256: BTreeMap<String, String>,
}

/// Makes the folder `at` unless it is there and holds what was put into it: `fill` writes into a folder beside it, which
/// is then renamed. One that was damaged or changed is made again.
///
/// Two programs may do this at the same time; the first to finish wins, and both find the same folder. What programs that
/// were killed left beside it is removed.
pub(super) fn folder(at: &Path, cache_root: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if at.is_dir() {
        if is_intact(at, cache_root) {
            return Ok(());
        }
        discard(at)?;
    }
    let parent = at.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    files::sweep(parent);
    let unfinished = UnfinishedFolder::new_in(parent).map_err(Error::io("create a folder in", parent))?;
    fill(unfinished.path())?;
    describe(unfinished.path())?;
    // The folder was made as the user's umask says; a library may make its files for nobody else.
    let all = fs::metadata(unfinished.path()).map_err(Error::io("read", unfinished.path()))?.permissions().mode();
    for path in paths(unfinished.path())? {
        let mode = Permissions::from_mode(all & 0o666);
        fs::set_permissions(&path, mode).map_err(Error::io("set permissions of", &path))?;
        let file = fs::File::open(&path).map_err(Error::io("open", &path))?;
        file.sync_all().map_err(Error::io("write", &path))?;
    }
    match unfinished.finish(at) {
        Err(_) if at.is_dir() => Ok(()),
        finished => finished.map_err(Error::io("create", at)),
    }
}

fn paths(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Error::io("list", folder))?;
    entries.map(|entry| Ok(entry.map_err(Error::io("list", folder))?.path())).collect()
}

/// The hash of every file in a folder by its name, but for the one that says so.
fn hashes(folder: &Path, hash: impl Fn(PathBuf) -> Result<String>) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for path in paths(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name != CONTENT {
            found.insert(name, hash(path)?);
        }
    }
    Ok(found)
}

fn describe(folder: &Path) -> Result<()> {
    let path = folder.join(CONTENT);
    let content = Content { sha256: hashes(folder, |file| content::hash(&[file]))? };
    let text = serde_json::to_string_pretty(&content).map_err(|e| Error::malformed(&path, e))?;
    fs::write(&path, text + "\n").map_err(Error::io("write", &path))
}

/// Whether a folder holds what was put into it. One that does not say what that was does not count.
fn is_intact(at: &Path, cache_root: &Path) -> bool {
    let told = bounded::bytes(&at.join(CONTENT), bounded::SETTINGS).ok();
    let told = told.and_then(|text| serde_json::from_slice::<Content>(&text).ok());
    told.is_some_and(|told| {
        let found = hashes(at, |file| content::sha256(&[file], cache_root));
        found.is_ok_and(|found| found == told.sha256)
    })
}

/// Takes a damaged folder out of the way in one step, then removes it.
fn discard(at: &Path) -> Result<()> {
    let parent = at.parent().unwrap_or(Path::new("."));
    let aside = UnfinishedFolder::new_in(parent).map_err(Error::io("create a folder in", parent))?;
    match fs::rename(at, aside.path().join("damaged")) {
        Ok(()) => Ok(()),
        // Another program was faster.
        Err(_) if !at.exists() => Ok(()),
        Err(e) => Err(Error::io("remove", at)(e)),
    }
}
