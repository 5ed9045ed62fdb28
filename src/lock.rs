//! A file's exclusive lock, held by one process.

use std::fs::File;

/// A locked file. The lock goes with this value, or with the process however it ends.
///
/// Closing the file alone would not do: a child that is just being started shares every open file until it becomes
/// another program, and with the file its lock.
#[derive(Debug)]
pub struct Held(File);

impl Held {
    /// Takes charge of a file that is locked.
    #[must_use]
    pub const fn new(locked: File) -> Self {
        Self(locked)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // The system gives it back at the latest with the last process that has the file open.
        let _ = self.0.unlock();
    }
}
