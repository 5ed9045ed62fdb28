//! Bytes that come in chunks, cut into lines: a line is the same wherever the chunks were broken.

/// What ends a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnd {
    /// A line feed alone, as between JSON documents; a carriage return before it is white space.
    Lf,
    /// A line feed, a carriage return, or both together, as in server-sent events.
    Any,
}

/// A stretch of one chunk that belongs to one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Its bytes, without what ends the line.
    pub bytes: &'a [u8],
    /// Whether the line ends here. If not, the next piece goes on with it.
    pub ends: bool,
}

/// Where in a line, or between which, the last chunk ended.
#[derive(Debug, Clone, Copy)]
pub struct Framing {
    end: LineEnd,
    /// A carriage return was the last byte: a line feed that follows it ends nothing more.
    after_return: bool,
}

impl Framing {
    /// At the beginning of the first line.
    #[must_use]
    pub fn new(end: LineEnd) -> Self {
        Self { end, after_return: false }
    }

    /// The first piece of a chunk, and what follows it. `None`: the chunk is used up.
    pub fn next<'a>(&mut self, chunk: &'a [u8]) -> Option<(Piece<'a>, &'a [u8])> {
        if chunk.is_empty() {
            return None;
        }
        let after_return = std::mem::take(&mut self.after_return);
        if let Some(rest) = chunk.strip_prefix(b"\n").filter(|_| after_return) {
            return self.next(rest);
        }
        let is_end = |byte: &u8| *byte == b'\n' || (self.end == LineEnd::Any && *byte == b'\r');
        let Some(at) = chunk.iter().position(is_end) else {
            return Some((Piece { bytes: chunk, ends: false }, &[]));
        };
        self.after_return = chunk[at] == b'\r';
        Some((Piece { bytes: &chunk[..at], ends: true }, &chunk[at + 1..]))
    }
}

/// The lines of a whole body, those of white space alone left out. What follows the last line's end is a line too.
pub fn of_body(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut framing = Framing::new(LineEnd::Lf);
    let mut rest = body;
    let lines = std::iter::from_fn(move || {
        let (piece, after) = framing.next(rest)?;
        rest = after;
        Some(piece.bytes)
    });
    lines.filter(|line| !line.iter().all(u8::is_ascii_whitespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of chunks, and what follows the last end.
    fn lines(end: LineEnd, chunks: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut framing = Framing::new(end);
        let (mut lines, mut line) = (Vec::new(), Vec::new());
        for chunk in chunks {
            let mut rest: &[u8] = chunk;
            while let Some((piece, after)) = framing.next(rest) {
                rest = after;
                line.extend_from_slice(piece.bytes);
                if piece.ends {
                    lines.push(std::mem::take(&mut line));
                }
            }
        }
        (lines, line)
    }

    fn words(end: LineEnd, chunks: &[&str]) -> (Vec<String>, String) {
        let chunks: Vec<&[u8]> = chunks.iter().map(|chunk| chunk.as_bytes()).collect();
        let (lines, rest) = lines(end, &chunks);
        let word = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        (lines.iter().map(word).collect(), word(&rest))
    }

    #[test]
    fn lines_end_as_their_format_says() {
        for (end, chunks, expected, rest) in [
            (LineEnd::Lf, &["a\nb"][..], &["a"][..], "b"),
            (LineEnd::Lf, &["a\r\n", "\r", "\n"], &["a\r", "\r"], ""),
            (LineEnd::Any, &["a\r\nb\rc\n\n"], &["a", "b", "c", ""], ""),
            (LineEnd::Any, &["a\r", "\nb\n"], &["a", "b"], ""),
            (LineEnd::Any, &["a\r", "", "\n", "\n"], &["a", ""], ""),
            (LineEnd::Any, &["a\r", "\rb"], &["a", ""], "b"),
            (LineEnd::Any, &["", "a", "b", "\n"], &["ab"], ""),
            (LineEnd::Any, &["a\r\n\r\nb"], &["a", ""], "b"),
        ] {
            let expected = (expected.iter().map(|&line| line.to_owned()).collect(), rest.to_owned());
            assert_eq!(words(end, chunks), expected, "{end:?} {chunks:?}");
        }
    }

    #[test]
    fn a_body_is_its_lines_without_the_empty_ones() {
        let found: Vec<&[u8]> = of_body(b"{1}\n\n \r\n{2}\r\n{3").collect();
        assert_eq!(found, [&b"{1}"[..], b"{2}\r", b"{3"]);
        assert_eq!(of_body(b"").count(), 0);
    }
}
