//! A folder kept for a run that has not begun yet.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::files;
use crate::lock::Held;
use crate::store::writer::lock;
use crate::store::{LOCAL, LOCK, MANIFEST, MEASUREMENTS, PLAN, SPEC, StoreError, Writer, io_error};

/// A locked folder with nothing in it, so that what a run needs can be prepared without losing its place.
///
/// Dropped before the run begins, it leaves nothing behind.
#[derive(Debug)]
pub struct Reserved {
    folder: PathBuf,
    /// Whether the folder itself was made for this.
    made: bool,
    /// `None`: the run has begun, or the folder is given back.
    lock: Option<Held>,
}

impl Reserved {
    /// Makes a folder and locks it. What a run left that was ended before anything was measured is replaced.
    ///
    /// # Errors
    /// The folder exists with something in it, is locked, or cannot be written.
    pub fn new(folder: &Path) -> Result<Self, StoreError> {
        let exists = || StoreError::Exists { path: folder.display().to_string() };
        if !free(folder) {
            return Err(exists());
        }
        let made = !folder.exists();
        fs::create_dir_all(folder).map_err(io_error(folder, "create"))?;
        super::refuse_links(folder)?;
        let lock = Some(lock(folder)?);
        let reserved = Self { folder: folder.to_owned(), made, lock };
        // Looked at again now that nobody else can write.
        if !free(folder) {
            return Err(exists());
        }
        for name in names(folder).into_iter().filter(|name| name != LOCK) {
            let path = folder.join(name);
            fs::remove_file(&path).map_err(io_error(&path, "remove"))?;
        }
        Ok(reserved)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What gives it back if the process has to end while somebody else has this.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { folder: self.folder.clone(), made: self.made }
    }

    /// Begins the run: its scenario file, plan and manifest, and the record's first line.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn begin(mut self, scenario: &str, plan_json: &str, manifest_json: &str) -> Result<Writer, StoreError> {
        match self.lock.take() {
            Some(lock) => Writer::begin(&self.folder, lock, scenario, plan_json, manifest_json),
            None => Err(StoreError::Locked { path: self.folder.display().to_string(), owner: None }),
        }
    }
}

impl Writer {
    /// Makes a new run folder with its scenario file, plan and manifest, and the record's first line.
    ///
    /// # Errors
    /// The folder exists with something in it, is locked, or cannot be written.
    pub fn create(folder: &Path, scenario: &str, plan_json: &str, manifest_json: &str) -> Result<Self, StoreError> {
        Reserved::new(folder)?.begin(scenario, plan_json, manifest_json)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.lock.is_some() {
            self.place().give_back();
        }
    }
}

/// A folder that is kept for a run.
#[derive(Debug, Clone)]
pub struct Place {
    folder: PathBuf,
    /// Whether the folder itself was made for it.
    made: bool,
}

impl Place {
    /// Leaves nothing of a run that never began.
    pub fn give_back(&self) {
        // What cannot be removed is replaced by the next run that goes here.
        for name in [LOCAL, LOCK] {
            let _ = fs::remove_file(self.folder.join(name));
        }
        if self.made {
            let _ = fs::remove_dir(&self.folder);
        }
    }
}

/// Whether a run may begin in a folder: it is not there, is empty, or holds only what a run leaves that was ended before
/// its first line was whole.
fn free(folder: &Path) -> bool {
    let found = names(folder);
    found.is_empty() || (found.iter().any(|name| name == LOCK) && found.iter().all(|name| early(folder, name)))
}

/// Whether a run writes this file before anything is measured, and nothing is.
fn early(folder: &Path, name: &OsString) -> bool {
    let name = name.to_string_lossy();
    let no_line = || fs::read(folder.join(MEASUREMENTS)).is_ok_and(|bytes| !bytes.contains(&b'\n'));
    [LOCK, LOCAL, SPEC, PLAN, MANIFEST].contains(&&*name)
        || files::is_unfinished(&name)
        || (name == MEASUREMENTS && no_line())
}

fn names(folder: &Path) -> Vec<OsString> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let reserved = Reserved::new(&run).unwrap();
        fs::write(run.join(LOCAL), "{}").unwrap();
        drop(reserved);
        assert!(!run.exists());
        drop(Reserved::new(folder.path()).unwrap());
        assert_eq!(names(folder.path()), [] as [OsString; 0], "a folder that was there stays");
    }

    #[test]
    fn what_a_run_left_that_never_began_is_replaced_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in [LOCK, LOCAL, SPEC, PLAN, MANIFEST, ".unfinished-AbCdEf", MEASUREMENTS] {
            fs::write(at(name), "").unwrap();
            drop(Reserved::new(folder.path()).unwrap());
            fs::write(at(LOCK), "").unwrap();
        }
        fs::write(at(MEASUREMENTS), "{}\n").unwrap();
        assert!(matches!(Reserved::new(folder.path()), Err(StoreError::Exists { .. })), "a line is recorded");
        fs::remove_file(at(MEASUREMENTS)).unwrap();
        fs::write(at("notes.txt"), "").unwrap();
        assert!(matches!(Reserved::new(folder.path()), Err(StoreError::Exists { .. })), "a file of somebody's");
        fs::remove_file(at("notes.txt")).unwrap();
        fs::remove_file(at(LOCK)).unwrap();
        fs::write(at(SPEC), "").unwrap();
        assert!(matches!(Reserved::new(folder.path()), Err(StoreError::Exists { .. })), "no run was here");
    }
}
