//! The user's cache folder: models, exports and runtimes, each under the hash of what it was made from.

use std::ffi::CString;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::lock::Held;
use crate::units::Bytes;

/// `$PHASEBENCH_CACHE`, else the user's cache folder as the system names it, else a folder beside temporary files.
#[must_use]
pub fn root() -> PathBuf {
    named().unwrap_or_else(|| dirs::cache_dir().unwrap_or_else(std::env::temp_dir).join("phasebench"))
}

fn named() -> Option<PathBuf> {
    std::env::var_os("PHASEBENCH_CACHE").filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// Where the cache is, in words, if it is where nobody looks for it: a user without a home folder has none of their own,
/// and what is beside temporary files goes with them. `None`: it is where it should be.
#[must_use]
pub fn misplaced() -> Option<String> {
    let homeless = named().is_none() && dirs::cache_dir().is_none();
    let why = "this user has no home folder, so the cache is";
    homeless.then(|| format!("{why} {}\n  try: PHASEBENCH_CACHE=FOLDER for one that stays", root().display()))
}

/// Nothing can be written into the cache.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot write into the cache folder {path}: {why}\n  try: make it writable, or set PHASEBENCH_CACHE to another"
)]
pub struct Unwritable {
    path: String,
    why: std::io::Error,
}

/// Whether files can be written into the cache; it is made where it is not there.
///
/// # Errors
/// What the system says.
pub fn writable(root: &Path) -> Result<(), Unwritable> {
    let probe = std::fs::create_dir_all(root).and_then(|()| tempfile::tempfile_in(root));
    probe.map(drop).map_err(|why| Unwritable { path: root.display().to_string(), why })
}

/// Space that an unprivileged program may still take on the file system of `folder`, or of the nearest folder above
/// it that exists. `None`: the system does not tell.
#[must_use]
pub fn free(folder: &Path) -> Option<Bytes> {
    let folder = folder.ancestors().find(|at| at.is_dir()).unwrap_or(Path::new("."));
    let path = CString::new(folder.as_os_str().as_bytes()).ok()?;
    // SAFETY: an all-zero `statvfs` is valid and is valid for writing; the path ends in a null byte.
    let stat = unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        if libc::statvfs(path.as_ptr(), &raw mut stat) != 0 {
            return None;
        }
        stat
    };
    #[cfg_attr(target_os = "linux", expect(clippy::useless_conversion, reason = "the types differ between systems"))]
    let (blocks, size) = (u64::from(stat.f_bavail), u64::from(stat.f_frsize));
    Some(Bytes(blocks.saturating_mul(size)))
}

/// Size of all files below a folder, links not followed. 0 where there is none.
#[must_use]
pub fn size(folder: &Path) -> Bytes {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => size(&entry.path()).0,
        Ok(found) if found.is_file() => found.len(),
        _ => 0,
    });
    Bytes(sizes.sum())
}

/// How much of the cache is to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// At most so much, the last used first.
    Size(Bytes),
    /// What was used not longer ago than this.
    UsedWithin(Duration),
}

/// One thing of the cache: a model, an export, a runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// File or folder.
    pub path: PathBuf,
    /// Size of all its files.
    pub bytes: Bytes,
    /// When one of its files was read or written last, as far as the file system tells.
    pub used: SystemTime,
}

/// Files that say which of the others is in use, or that nobody else writes.
const KEPT: [&str; 4] = ["selected.json", "image.json", "requirements.lock", "lock"];

/// What the cache holds, the longest unused first.
#[must_use]
pub fn entries(root: &Path) -> Vec<Entry> {
    let kinds = paths(root).filter(|kind| kind.is_dir() && !kind.is_symlink());
    let is_kept = |path: &Path| path.file_name().is_some_and(|name| KEPT.iter().any(|kept| name == *kept));
    let found = kinds.flat_map(|kind| paths(&kind).collect::<Vec<_>>()).filter(|path| !is_kept(path));
    let mut entries: Vec<Entry> = found.map(|path| Entry { bytes: size_of(&path), used: used(&path), path }).collect();
    entries.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
    entries
}

/// Which of the entries, the longest unused first, are too many. `needed` are files that must stay whatever their age.
#[must_use]
pub fn surplus<'a>(entries: &'a [Entry], keep: Keep, needed: &[PathBuf], now: SystemTime) -> Vec<&'a Entry> {
    let mut left: u64 = entries.iter().map(|entry| entry.bytes.0).sum();
    let mut goes = |entry: &&Entry| {
        if needed.iter().any(|file| file.starts_with(&entry.path)) {
            return false;
        }
        let goes = match keep {
            Keep::Size(most) => left > most.0,
            Keep::UsedWithin(age) => now.duration_since(entry.used).is_ok_and(|unused| unused > age),
        };
        left -= if goes { entry.bytes.0 } else { 0 };
        goes
    };
    entries.iter().filter(|entry| goes(entry)).collect()
}

/// Removes an entry.
///
/// # Errors
/// What the system says.
pub fn remove(entry: &Entry) -> io::Result<()> {
    if fs::symlink_metadata(&entry.path)?.is_dir() {
        fs::remove_dir_all(&entry.path)
    } else {
        fs::remove_file(&entry.path)
    }
}

/// Keeps others from trimming the cache while this process works with it; it ends with the value. `None`: the cache cannot
/// be written, or somebody trims it right now.
#[must_use]
pub fn hold(root: &Path) -> Option<Held> {
    let file = lock_file(root).ok()?;
    file.try_lock_shared().ok().map(|()| Held::new(file))
}

/// Keeps everybody else from working with the cache. `None`: somebody does.
///
/// # Errors
/// What the system says.
pub fn hold_alone(root: &Path) -> io::Result<Option<Held>> {
    let file = lock_file(root)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Held::new(file))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The file that is locked; another user's can be read, which is enough for a lock.
fn lock_file(root: &Path) -> io::Result<File> {
    fs::create_dir_all(root)?;
    let path = root.join("lock");
    File::open(&path).or_else(|_| OpenOptions::new().create(true).append(true).open(&path))
}

fn paths(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn size_of(path: &Path) -> Bytes {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => size(path),
        Ok(found) => Bytes(found.len()),
        Err(_) => Bytes(0),
    }
}

/// The last time that a file of an entry was read or written; links are not followed.
fn used(path: &Path) -> SystemTime {
    let Ok(found) = fs::symlink_metadata(path) else { return SystemTime::UNIX_EPOCH };
    let times = |found: &Metadata| [found.accessed(), found.modified()].into_iter().flatten().max();
    if found.is_dir() {
        // Whoever lists a folder reads it, and has used nothing.
        return paths(path).map(|inside| used(&inside)).max().unwrap_or(SystemTime::UNIX_EPOCH);
    }
    times(&found).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn sizes_add_up_and_links_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("file"), [0; 100]).unwrap();
        std::fs::write(folder.path().join("other"), [0; 20]).unwrap();
        std::os::unix::fs::symlink(&deep, folder.path().join("link")).unwrap();
        assert_eq!(size(folder.path()), Bytes(120));
        assert_eq!(size(&folder.path().join("missing")), Bytes(0));
    }

    #[test]
    fn the_longest_unused_goes_first_and_what_is_needed_stays() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let entry = |name: &str, bytes, used| Entry { path: name.into(), bytes: Bytes(bytes), used: at(used) };
        let entries = [entry("/c/a", 10, 1), entry("/c/runtime", 50, 2), entry("/c/b", 20, 3), entry("/c/d", 30, 90)];
        let needed = [PathBuf::from("/c/runtime/lib.so")];
        let gone = |keep| surplus(&entries, keep, &needed, at(100)).iter().map(|e| e.bytes.0).collect::<Vec<_>>();
        assert_eq!(gone(Keep::Size(Bytes(110))), [0_u64; 0]);
        assert_eq!(gone(Keep::Size(Bytes(100))), [10]);
        assert_eq!(gone(Keep::Size(Bytes(0))), [10, 20, 30]);
        assert_eq!(gone(Keep::UsedWithin(Duration::from_secs(20))), [10, 20]);
    }

    #[test]
    fn the_cache_is_shared_by_those_who_work_and_not_by_who_trims() {
        let root = tempfile::tempdir().unwrap();
        let (one, two) = (hold(root.path()).unwrap(), hold(root.path()).unwrap());
        assert!(hold_alone(root.path()).unwrap().is_none());
        drop((one, two));
        let alone = hold_alone(root.path()).unwrap();
        assert!(alone.is_some() && hold(root.path()).is_none());
    }

    #[test]
    fn free_space_is_told_even_where_nothing_is_yet() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free(&folder.path().join("not/yet")).is_some_and(|free| free > Bytes(0)));
    }
}
