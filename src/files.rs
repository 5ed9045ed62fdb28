//! Files and folders that are seen whole or not at all, and what killed programs left of unfinished ones.
//!
//! What is being made has a name that begins with `.unfinished-` and is locked until it gets its own name. The system drops a
//! lock with the process that holds it, so what is not locked belongs to nobody and [`sweep`] removes it.
//!
//! Who may read what is made here is as the user's umask says.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

mod renewing;
mod same_bytes;
mod same_lines;

use renewing::Renewing;
pub use same_bytes::SameBytes;
pub use same_lines::SameLines;

/// How the names of unfinished things begin; [`RANDOM`] letters and digits follow.
const PREFIX: &str = ".unfinished-";

/// Length of what tells one unfinished thing from another.
const RANDOM: usize = 6;

/// Whether a name is one that an unfinished thing of ours has.
#[must_use]
pub fn is_unfinished(name: &str) -> bool {
    let random = name.strip_prefix(PREFIX);
    random.is_some_and(|random| random.len() == RANDOM && random.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Writes a whole file so that a reader sees the old content or the new one, never half; it is on the disk afterwards.
///
/// # Errors
/// What the system says.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_by(path, |file| file.write_all(bytes))
}

/// As [`replace`], with what `write` writes.
///
/// # Errors
/// What the system or `write` says; then the old content stays.
pub fn replace_by<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut (dyn Write + Send)) -> Result<(), E>,
) -> Result<(), E> {
    Prepared::by(path, write)?.put()?;
    Ok(sync_folder(folder_of(path))?)
}

/// A whole file that is on the disk and not yet in its place, which holds the old content until then.
#[derive(Debug)]
pub struct Prepared {
    file: UnfinishedFile,
    path: PathBuf,
}

impl Prepared {
    /// With what `write` writes, for the place `path`.
    ///
    /// # Errors
    /// What the system or `write` says.
    pub fn by<E: From<io::Error>>(
        path: &Path,
        write: impl FnOnce(&mut (dyn Write + Send)) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut file = UnfinishedFile::new_in(folder_of(path))?;
        write(&mut file)?;
        file.file().sync_all()?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// With what `write` writes, once, if the file at `path` does not hold the same already. `None`: it does.
    ///
    /// # Errors
    /// What the system or `write` says.
    pub fn if_changed<E: From<io::Error>>(
        path: &Path,
        write: impl FnOnce(&mut (dyn Write + Send)) -> Result<(), E>,
    ) -> Result<Option<Self>, E> {
        let mut renewing = Renewing::of(path, || UnfinishedFile::new_in(folder_of(path)));
        write(&mut renewing)?;
        let Some(file) = renewing.finish()? else { return Ok(None) };
        file.file().sync_all()?;
        Ok(Some(Self { file, path: path.to_owned() }))
    }

    /// Puts it in its place. That it is there survives a power cut once its folder is [synced](sync_folder).
    ///
    /// # Errors
    /// What the system says; then the old content stays.
    pub fn put(self) -> io::Result<()> {
        self.file.named(&self.path)
    }
}

/// Copies a file so that the copy is seen whole or not at all.
///
/// # Errors
/// What the system says.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut file = UnfinishedFile::new_in(folder_of(to))?;
    io::copy(&mut File::open(from)?, &mut file)?;
    file.finish(to)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Waits until the names in a folder are on the disk.
///
/// # Errors
/// What the system says.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A file that has no name of its own yet. Dropped before it is finished, it is gone.
#[derive(Debug)]
pub struct UnfinishedFile(NamedTempFile);

impl UnfinishedFile {
    /// Makes one beside where it will be.
    ///
    /// # Errors
    /// What the system says.
    pub fn new_in(folder: &Path) -> io::Result<Self> {
        loop {
            let mode = Permissions::from_mode(0o666);
            let made = tempfile::Builder::new().prefix(PREFIX).rand_bytes(RANDOM).permissions(mode).tempfile_in(folder);
            let file = made.map_err(without_place)?;
            file.as_file().lock()?;
            // A [`sweep`] may have come before the lock.
            if is_still(file.path(), file.as_file()) {
                return Ok(Self(file));
            }
        }
    }

    /// The open file.
    #[must_use]
    pub fn file(&self) -> &File {
        self.0.as_file()
    }

    /// Gives it its name, once its content is on the disk. What had the name is replaced.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(self, path: &Path) -> io::Result<()> {
        self.0.as_file().sync_all()?;
        self.named(path)
    }

    fn named(self, path: &Path) -> io::Result<()> {
        let file = self.0.persist(path).map_err(|error| error.error)?;
        // A child that is just being started shares the open file, and with it the lock.
        file.unlock()
    }
}

impl Write for UnfinishedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.as_file_mut().flush()
    }
}

/// An error as the system words it: `tempfile` adds the name of what it could not make, which nobody has asked for.
fn without_place(error: io::Error) -> io::Error {
    let words = error.to_string();
    match words.split_once(" at path ") {
        Some((told, _)) => io::Error::new(error.kind(), told),
        None => error,
    }
}

/// A folder that has no name of its own yet. Dropped before it is finished, it is gone.
#[derive(Debug)]
pub struct UnfinishedFolder {
    folder: TempDir,
    lock: File,
}

impl UnfinishedFolder {
    /// Makes one beside where it will be.
    ///
    /// # Errors
    /// What the system says.
    pub fn new_in(parent: &Path) -> io::Result<Self> {
        loop {
            let mode = Permissions::from_mode(0o777);
            let made = tempfile::Builder::new().prefix(PREFIX).rand_bytes(RANDOM).permissions(mode).tempdir_in(parent);
            let folder = made.map_err(without_place)?;
            let Ok(lock) = File::open(folder.path()) else { continue };
            lock.lock()?;
            if is_still(folder.path(), &lock) {
                return Ok(Self { folder, lock });
            }
        }
    }

    /// Where it is for now.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// What the system says; there is something of that name.
    pub fn finish(self, path: &Path) -> io::Result<()> {
        fs::rename(self.folder.path(), path)?;
        let _now_elsewhere = self.folder.keep();
        self.lock.unlock()
    }
}

/// Whether a path still leads to an open file: somebody may have removed or moved it.
#[must_use]
pub fn is_still(path: &Path, file: &File) -> bool {
    let same = |found: fs::Metadata, open: fs::Metadata| (found.dev(), found.ino()) == (open.dev(), open.ino());
    fs::symlink_metadata(path).is_ok_and(|found| file.metadata().is_ok_and(|open| same(found, open)))
}

/// Removes what is unfinished in a folder and belongs to no living process; says what. What cannot be removed stays.
pub fn sweep(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let unfinished = entries.filter(|entry| is_unfinished(&entry.file_name().to_string_lossy()));
    unfinished.map(|entry| entry.path()).filter(|path| removed(path)).collect()
}

/// As [`sweep`], in a folder and in those directly below it; links are not followed.
pub fn sweep_below(folder: &Path) -> Vec<PathBuf> {
    let mut removed = sweep(folder);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for below in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        removed.extend(sweep(&below.path()));
    }
    removed
}

fn removed(path: &Path) -> bool {
    let Ok(found) = fs::symlink_metadata(path) else { return false };
    let kind = found.file_type();
    // SAFETY: reads the caller's own id.
    let own = found.uid() == unsafe { libc::geteuid() };
    // What is made here is a file or a folder; opening anything else could wait for ever.
    if !own || !(kind.is_file() || kind.is_dir()) {
        return false;
    }
    let Ok(lock) = File::open(path) else { return false };
    if lock.try_lock().is_err() {
        return false;
    }
    if kind.is_dir() { fs::remove_dir_all(path).is_ok() } else { fs::remove_file(path).is_ok() }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_nobody_owns_is_swept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        fs::create_dir(at.join(".unfinished-aDead1")).unwrap();
        fs::write(at.join(".unfinished-aDead1/half"), "x").unwrap();
        fs::write(at.join(".unfinished-aFile1"), "x").unwrap();
        fs::write(at.join("finished"), "x").unwrap();
        fs::write(at.join(".unfinished-symphony"), "somebody's").unwrap();
        std::os::unix::fs::symlink(at.join("finished"), at.join(".unfinished-aLink1")).unwrap();
        let (file, inner) = (UnfinishedFile::new_in(at).unwrap(), UnfinishedFolder::new_in(at).unwrap());
        assert_eq!(sweep(at).len(), 2);
        assert_eq!(names(at).len(), 5, "the living ones and what is not ours: {:?}", names(at));
        drop((file, inner));
        assert_eq!(names(at), [".unfinished-aLink1", ".unfinished-symphony", "finished"]);
    }

    /// Whoever reads the error knows the file that was to be made, and has nothing of its name for now.
    #[test]
    fn an_error_does_not_name_what_was_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = folder.path().join("nowhere");
        for error in [UnfinishedFile::new_in(&nowhere).unwrap_err(), UnfinishedFolder::new_in(&nowhere).unwrap_err()] {
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
            assert_eq!(error.to_string(), "No such file or directory (os error 2)");
        }
    }

    #[test]
    fn what_is_finished_is_no_longer_locked() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        replace(&at.join("file"), b"whole").unwrap();
        UnfinishedFolder::new_in(at).unwrap().finish(&at.join("folder")).unwrap();
        copy(&at.join("file"), &at.join("copy")).unwrap();
        assert_eq!(names(at), ["copy", "file", "folder"]);
        for name in ["copy", "file", "folder"] {
            File::open(at.join(name)).unwrap().try_lock().unwrap();
        }
    }
}
