//! Whether a file holds what is written.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// Takes bytes and looks whether a file holds the same. It refuses the first that are others.
#[derive(Debug)]
pub struct SameBytes {
    file: File,
    found: Vec<u8>,
    differs: bool,
}

impl SameBytes {
    /// As a file holds them.
    ///
    /// # Errors
    /// What the system says.
    pub fn as_in(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, found: Vec::new(), differs: false })
    }

    /// Whether others were refused.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.differs
    }

    /// The file's first bytes, from the disk, so many of them.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn first(&mut self, bytes: u64) -> io::Result<impl Read> {
        self.file.rewind()?;
        Ok((&self.file).take(bytes))
    }

    /// Whether the file holds no more than was taken.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_all(&mut self) -> io::Result<bool> {
        Ok(self.file.read(&mut [0])? == 0)
    }
}

impl Write for SameBytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.found.resize(bytes.len(), 0);
        match self.file.read_exact(&mut self.found) {
            Ok(()) if self.found == bytes => return Ok(bytes.len()),
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.differs = true;
        Err(io::Error::other("holds other bytes"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
