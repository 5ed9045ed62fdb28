//! One `.safetensors` file: its header, and its numbers read where they lie.
//!
//! The file is read and not mapped: a mapped file that shrinks ends the program with a signal, while a read that finds
//! less than it should is an error like any other. What a mapping saves, one copy of the largest tensor, is small beside
//! what an export needs anyway.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use safetensors::tensor::Metadata;

use super::{Error, Result, bounded};

/// The format's own limit for a header. Unit: bytes.
const LARGEST_HEADER: u64 = 100_000_000;
/// Where the header begins: after its length.
const LENGTH: u64 = 8;

/// An opened `.safetensors` file.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) path: PathBuf,
    file: File,
    size: u64,
}

/// Where a tensor lies.
#[derive(Debug, Clone)]
pub(super) struct Location {
    pub(super) shard: usize,
    pub(super) dtype: safetensors::Dtype,
    pub(super) shape: Vec<usize>,
    /// From the beginning of the file. Unit: bytes.
    begin: u64,
    /// Unit: bytes.
    pub(super) length: u64,
}

impl Shard {
    pub(super) fn open(path: PathBuf) -> Result<Self> {
        let (file, size) = bounded::open(&path)?;
        Ok(Self { path, file, size })
    }

    /// Adds the file's tensors to `stored`, having checked that they lie inside the file.
    pub(super) fn list(&self, shard: usize, stored: &mut BTreeMap<String, Location>) -> Result<()> {
        let (metadata, data) = self.header()?;
        // Shapes that nobody has promise more than there are numbers for.
        let end = data.saturating_add(metadata.data_len() as u64);
        if end != self.size {
            let message =
                format!("has {} bytes, and its header promises {end}: it was cut, or is being written", self.size);
            return Err(Error::malformed(&self.path, message));
        }
        for (name, info) in metadata.tensors() {
            let (begin, end) = info.data_offsets;
            let (begin, length) = (data + begin as u64, (end - begin) as u64);
            let location = Location { shard, dtype: info.dtype, shape: info.shape.clone(), begin, length };
            if stored.insert(name.clone(), location).is_some() {
                return Err(Error::malformed(&self.path, format!("tensor `{name}` is also in another file")));
            }
        }
        Ok(())
    }

    /// The header, whose offsets the crate has checked against each other, and where the numbers begin.
    fn header(&self) -> Result<(Metadata, u64)> {
        if self.size < LENGTH {
            return Err(Error::malformed(&self.path, "is too short for a safetensors file"));
        }
        let length = self.read(0, LENGTH)?.iter().rev().fold(0, |n: u64, &byte| n << 8 | u64::from(byte));
        if length > LARGEST_HEADER || length > self.size - LENGTH {
            return Err(Error::malformed(
                &self.path,
                "is no safetensors file: its header would be longer than it is allowed to be",
            ));
        }
        let header = self.read(LENGTH, length)?;
        let metadata =
            serde_json::from_slice(&header).map_err(|e| Error::malformed(&self.path, format!("header: {e}")))?;
        Ok((metadata, LENGTH + length))
    }

    /// The bytes of a tensor.
    pub(super) fn tensor(&self, location: &Location) -> Result<Vec<u8>> {
        self.read(location.begin, location.length)
    }

    fn read(&self, begin: u64, length: u64) -> Result<Vec<u8>> {
        let length = usize::try_from(length).map_err(|e| Error::malformed(&self.path, e))?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, begin).map_err(Error::io("read", &self.path))?;
        Ok(bytes)
    }

    pub(super) fn wrong_dtype(&self, name: &str, location: &Location) -> Error {
        Error::TensorDtype { path: self.path.clone(), name: name.to_owned(), found: location.dtype.to_string() }
    }
}

/// Refuses a file that only says where the weights would be.
pub(super) fn refuse_pointer(path: &Path) -> Result<()> {
    let (file, size) = bounded::open(path)?;
    let mut begin = vec![0; bounded::LFS_POINTER.len().min(usize::try_from(size).unwrap_or(0))];
    file.read_exact_at(&mut begin, 0).map_err(Error::io("read", path))?;
    if begin == bounded::LFS_POINTER {
        return Err(Error::malformed(path, "is a Git LFS pointer, not the weights: fetch them with `git lfs pull`"));
    }
    Ok(())
}
