//! The user's cache folder: models, exports and runtimes, each under the hash of what it was made from.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::units::Bytes;

/// `$PHASEBENCH_CACHE`, else the user's cache folder as the system names it, else a folder beside temporary files.
#[must_use]
pub fn root() -> PathBuf {
    match std::env::var_os("PHASEBENCH_CACHE") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => dirs::cache_dir().unwrap_or_else(std::env::temp_dir).join("phasebench"),
    }
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
    fn free_space_is_told_even_where_nothing_is_yet() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free(&folder.path().join("not/yet")).is_some_and(|free| free > Bytes(0)));
    }
}
