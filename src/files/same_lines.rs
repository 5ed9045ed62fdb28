//! Whether a file holds what is written, whatever ends its lines.

use std::fs::File;
use std::io::{self, BufReader, Bytes, Read, Write};
use std::iter::Peekable;
use std::path::Path;

/// Takes text and looks whether a file holds the same, with CRLF or LF at the end of its lines. It refuses the first bytes that
/// are others.
#[derive(Debug)]
pub struct SameLines {
    found: Peekable<Bytes<BufReader<File>>>,
    differs: bool,
}

impl SameLines {
    /// As a file holds them.
    ///
    /// # Errors
    /// What the system says.
    pub fn as_in(path: &Path) -> io::Result<Self> {
        Ok(Self { found: BufReader::new(File::open(path)?).bytes().peekable(), differs: false })
    }

    /// Whether others were refused.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.differs
    }

    /// Whether the file holds no more than was taken.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_all(&mut self) -> io::Result<bool> {
        Ok(self.next_byte()?.is_none())
    }

    /// The file's next byte, where a CR that ends a line is none.
    fn next_byte(&mut self) -> io::Result<Option<u8>> {
        let byte = self.found.next().transpose()?;
        let ends_a_line = byte == Some(b'\r') && matches!(self.found.peek(), Some(Ok(b'\n')));
        if ends_a_line { self.found.next().transpose() } else { Ok(byte) }
    }
}

impl Write for SameLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for &byte in bytes {
            if self.next_byte()? != Some(byte) {
                self.differs = true;
                return Err(io::Error::other("holds other bytes"));
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn only_the_ends_of_lines_may_differ() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("table.csv");
        for (held, same) in [
            ("a,b\n1,2\n", true),
            ("a,b\r\n1,2\r\n", true),
            ("a,b\r\n1,3\r\n", false),
            ("a,\rb\n1,2\n", false),
            ("a,b\r\n1,2\r\n3,4\r\n", false),
            ("a,b\r\n", false),
        ] {
            std::fs::write(&path, held).unwrap();
            let mut lines = SameLines::as_in(&path).unwrap();
            let taken = ["a,b", "\n1,", "2\n"].iter().try_for_each(|part| lines.write_all(part.as_bytes()));
            assert_eq!(taken.is_err(), lines.differs(), "{held:?}");
            assert_eq!(taken.is_ok() && lines.is_all().unwrap(), same, "{held:?}");
        }
    }
}
