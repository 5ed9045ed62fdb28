//! A folder for inputs that are read from files, in memory where the system has such a place.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use tempfile::TempDir;

const IN_MEMORY: &str = "/dev/shm";

/// Does something with an empty folder, which is gone afterwards.
pub fn folder(with: impl FnOnce(&Path)) {
    let made = if Path::new(IN_MEMORY).is_dir() {
        TempDir::with_prefix_in("phasebench-fuzz-", IN_MEMORY)
    } else {
        tempfile::tempdir()
    };
    // A machine without a writable folder is no input's fault.
    if let Ok(folder) = made {
        with(folder.path());
    }
}

/// Writes a file; a disk that is full is no input's fault.
pub fn write(path: &Path, content: &[u8]) {
    let written = fs::File::create(path).and_then(|mut file| file.write_all(content));
    drop(written);
}
