//! Files read whole, but never more of them than they can sensibly have.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use super::{Error, Result};

/// A `config.json` or an index of shards.
pub(super) const SETTINGS: u64 = 64 << 20;
/// A `tokenizer.json`: the largest known ones have some ten MiB.
pub(super) const TOKENIZER: u64 = 512 << 20;
/// A `reference.json`, with some numbers for every step of its prompts.
pub(super) const REFERENCE: u64 = 512 << 20;

/// The beginning of a Git LFS pointer, which stands where a file was not fetched.
pub(super) const LFS_POINTER: &[u8] = b"version https://git-lfs";

/// Opens a regular file for reading, and tells its size. Unit: bytes.
///
/// # Errors
/// It is missing or cannot be opened; a pipe, a device or a folder, which have no end or cannot be read.
pub(super) fn open(path: &Path) -> Result<(File, u64)> {
    // Before it is opened: opening a pipe waits for whoever writes to it.
    let found = fs::metadata(path).map_err(Error::io("read", path))?;
    if !found.is_file() {
        return Err(Error::malformed(path, "is no regular file"));
    }
    let file = File::open(path).map_err(Error::io("open", path))?;
    Ok((file, found.len()))
}

/// Refuses the bytes of a file that only say where the file would be.
///
/// # Errors
/// They are a Git LFS pointer.
pub(super) fn refuse_pointer(path: &Path, bytes: &[u8]) -> Result<()> {
    if bytes.starts_with(LFS_POINTER) {
        return Err(Error::malformed(path, "is a Git LFS pointer, not the file: fetch it with `git lfs pull`"));
    }
    Ok(())
}

/// A regular file of at most `most` bytes.
///
/// # Errors
/// As [`open`]; also a larger file, and a Git LFS pointer in place of a file.
pub(super) fn bytes(path: &Path, most: u64) -> Result<Vec<u8>> {
    let (file, _) = open(path)?;
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > most {
        return Err(Error::malformed(path, format!("has more than {} MiB, expected less", most >> 20)));
    }
    refuse_pointer(path, &bytes)?;
    Ok(bytes)
}

/// The same as text.
///
/// # Errors
/// As [`bytes`]; also a file that is not UTF-8.
pub(super) fn text(path: &Path, most: u64) -> Result<String> {
    String::from_utf8(bytes(path, most)?).map_err(|e| Error::malformed(path, format!("not UTF-8: {}", e.utf8_error())))
}
