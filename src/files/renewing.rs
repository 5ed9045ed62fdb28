//! What a file is to hold, written where it does not hold that already.

use std::io::{self, Write};
use std::path::Path;

use super::same_bytes::SameBytes;

/// Takes the bytes that a file is to hold. As long as it holds the same it is only read; the first byte that is another begins a new
/// one, into which goes what both have so far, from the disk, and then whatever comes. So what there may be gigabytes of is made
/// once, and no more than a piece of it is in memory.
#[derive(Debug)]
pub(super) struct Renewing<W, B> {
    /// Begins a new file.
    begin: B,
    /// `None`: there is none that can be read.
    held: Option<SameBytes>,
    /// Bytes so far that it holds, too.
    same: u64,
    /// `None`: all so far are.
    new: Option<W>,
}

impl<W: Write, B: Fn() -> io::Result<W>> Renewing<W, B> {
    /// Of the file at a path.
    pub(super) fn of(path: &Path, begin: B) -> Self {
        Self { begin, held: SameBytes::as_in(path).ok(), same: 0, new: None }
    }

    /// The new file. `None`: the old one holds all that was taken, and nothing else.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn finish(mut self) -> io::Result<Option<W>> {
        if self.new.is_none() && self.goes_on() {
            self.new = Some(self.begun()?);
        }
        Ok(self.new)
    }

    /// Whether the next bytes of the file are these.
    fn holds(&mut self, bytes: &[u8]) -> bool {
        self.held.as_mut().is_some_and(|held| held.write_all(bytes).is_ok())
    }

    /// Whether the file goes on, or cannot be read.
    fn goes_on(&mut self) -> bool {
        self.held.as_mut().is_none_or(|held| !held.is_all().unwrap_or(false))
    }

    /// A new file that begins with what both have.
    fn begun(&mut self) -> io::Result<W> {
        let mut new = (self.begin)()?;
        if let Some(held) = self.held.as_mut().filter(|_| self.same > 0)
            && io::copy(&mut held.first(self.same)?, &mut new)? < self.same
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(new)
    }
}

impl<W: Write, B: Fn() -> io::Result<W>> Write for Renewing<W, B> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(new) = &mut self.new {
            return new.write(bytes);
        }
        if self.holds(bytes) {
            self.same += bytes.len() as u64;
            return Ok(bytes.len());
        }
        let mut new = self.begun()?;
        let written = new.write(bytes);
        self.new = Some(new);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;

    use super::*;
    use crate::files::Prepared;

    fn renewed(path: &Path, parts: &[&str]) -> Option<Prepared> {
        let write = |out: &mut (dyn Write + Send)| parts.iter().try_for_each(|part| out.write_all(part.as_bytes()));
        Prepared::if_changed::<io::Error>(path, write).unwrap()
    }

    #[test]
    fn a_file_is_written_where_it_holds_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (held, parts) in [
            (None, &["one,", "two"][..]),
            (None, &[]),
            (Some("one,twp,three"), &["one,", "two", ",three"]),
            (Some("ine"), &["one,", "two"]),
            (Some("one,tw"), &["one,", "two"]),
            (Some("one,two,three"), &["one,", "two"]),
            (Some("one"), &[]),
        ] {
            drop(fs::remove_file(&path));
            if let Some(held) = held {
                fs::write(&path, held).unwrap();
            }
            renewed(&path, parts).unwrap().put().unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), parts.concat(), "{held:?}");
            assert!(renewed(&path, parts).is_none(), "{parts:?}");
        }
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["file"], "nothing unfinished is left");
    }
}
