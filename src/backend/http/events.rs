//! Server-sent events, as servers stream tokens in them: the event stream format of the HTML standard, section 9.2.6,
//! without what a browser needs to connect again (`id` and `retry`).

use super::lines::{Framing, LineEnd};

/// Data of the event that says that no other follows. Not part of the format; servers of the OpenAI kind send it.
const DONE: &[u8] = b"[DONE]";

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// Its kind. `None`: not said, which the standard calls `message`.
    pub kind: Option<Vec<u8>>,
    /// Its data, several `data` lines joined by line feeds. Bytes: whoever parses them says what is wrong with them.
    pub data: Vec<u8>,
}

impl Event {
    /// Whether it says that no other follows.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.data == DONE
    }
}

/// A line or an event is longer than what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} of the event stream is longer than {longest} bytes")]
pub struct TooLong {
    /// `a line` or `an event`.
    pub what: &'static str,
    /// Bytes that are read.
    pub longest: usize,
}

/// Reads events from chunks of bytes, wherever those were broken.
#[derive(Debug)]
pub struct Events {
    framing: Framing,
    /// The line so far.
    line: Vec<u8>,
    /// The event so far; its data ends with a line feed once there is any.
    event: Event,
    has_data: bool,
    /// Whether the stream's first line is still to come: only there a byte order mark is none of the data.
    at_start: bool,
    longest: usize,
}

impl Events {
    /// At the stream's beginning. No line and no event's data may be longer than `longest` bytes.
    #[must_use]
    pub fn new(longest: usize) -> Self {
        let framing = Framing::new(LineEnd::Any);
        Self { framing, line: Vec::new(), event: Event::default(), has_data: false, at_start: true, longest }
    }

    /// Takes a chunk; the events it ends are added to `found`.
    ///
    /// # Errors
    /// [`TooLong`]; the stream cannot be read on after it.
    pub fn take(&mut self, chunk: &[u8], found: &mut Vec<Event>) -> Result<(), TooLong> {
        let mut rest = chunk;
        while let Some((piece, after)) = self.framing.next(rest) {
            rest = after;
            if self.line.len() + piece.bytes.len() > self.longest {
                return Err(TooLong { what: "a line", longest: self.longest });
            }
            self.line.extend_from_slice(piece.bytes);
            if piece.ends {
                found.extend(self.end_line()?);
            }
        }
        Ok(())
    }

    /// The event that no blank line ended. The standard drops it: the stream may have been cut. A server that closes
    /// right after its last line means it. Only data that is whole by itself (`[DONE]`, a JSON document) may be believed.
    ///
    /// # Errors
    /// [`TooLong`]
    pub fn finish(mut self) -> Result<Option<Event>, TooLong> {
        if !self.line.is_empty() {
            self.end_line()?;
        }
        Ok(self.dispatch())
    }

    /// What the line so far says, now that it ended. `Some`: it was blank and ends an event.
    fn end_line(&mut self) -> Result<Option<Event>, TooLong> {
        let line = std::mem::take(&mut self.line);
        let line = match line.strip_prefix(BYTE_ORDER_MARK) {
            Some(marked) if self.at_start => marked,
            _ => &line[..],
        };
        self.at_start = false;
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        let (field, value) = match line.iter().position(|&byte| byte == b':') {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &[][..]),
        };
        // One space after the colon is the format's.
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => self.add_data(value)?,
            b"event" => self.event.kind = Some(value.to_vec()),
            // Comments have an empty name; other fields mean nothing here.
            _ => {}
        }
        Ok(None)
    }

    fn add_data(&mut self, value: &[u8]) -> Result<(), TooLong> {
        if self.event.data.len() + value.len() > self.longest {
            return Err(TooLong { what: "an event", longest: self.longest });
        }
        self.event.data.extend_from_slice(value);
        self.event.data.push(b'\n');
        self.has_data = true;
        Ok(())
    }

    /// The event so far, if it has data; one without is none.
    fn dispatch(&mut self) -> Option<Event> {
        let mut event = std::mem::take(&mut self.event);
        event.kind = event.kind.filter(|kind| !kind.is_empty());
        event.data.pop();
        std::mem::take(&mut self.has_data).then_some(event)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const LONGEST: usize = 1000;

    /// The data of the events in chunks, and that of the one that no blank line ended.
    fn read(chunks: &[&[u8]]) -> Result<(Vec<Event>, Option<Event>), TooLong> {
        let mut events = Events::new(LONGEST);
        let mut found = Vec::new();
        for chunk in chunks {
            events.take(chunk, &mut found)?;
        }
        Ok((found, events.finish()?))
    }

    fn event(kind: Option<&str>, data: &str) -> Event {
        Event { kind: kind.map(|kind| kind.as_bytes().to_vec()), data: data.as_bytes().to_vec() }
    }

    /// Data of the events of a text that comes at once, and of the one at its end.
    fn data(text: &str) -> (Vec<String>, Option<String>) {
        let (events, last) = read(&[text.as_bytes()]).unwrap();
        let data = |event: Event| String::from_utf8(event.data).unwrap();
        (events.into_iter().map(data).collect(), last.map(data))
    }

    #[test]
    fn the_format_reads_as_the_standard_says() {
        for (text, expected) in [
            // The standard's own examples.
            ("data: YHOO\ndata: +2\ndata: 10\n\n", &["YHOO\n+2\n10"][..]),
            (
                ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
                &["first event", "second event", " third event"],
            ),
            ("data\n\ndata\ndata\n\n", &["", "\n"]),
            ("data:test\n\ndata: test\n\n", &["test", "test"]),
            // Line ends of all kinds, mixed.
            ("data: a\r\n\r\ndata: b\r\rdata: c\n\ndata: d\r\n\n", &["a", "b", "c", "d"]),
            ("data: a\rdata: b\r\ndata: c\n\r", &["a\nb\nc"]),
            // Nothing but data makes an event; a colon in data is data.
            ("event: ping\n\nretry: 10\n\ndata: {\"a\":1}\n\n", &["{\"a\":1}"]),
            (":\n\n: comment: with data: x\ndata: y\n\n", &["y"]),
            ("Data: a\ndatas: b\n data: c\n\n", &[]),
            ("\n\n\n", &[]),
            ("", &[]),
        ] {
            assert_eq!(data(text), (expected.iter().map(|&data| data.to_owned()).collect(), None), "{text:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_counts_at_the_beginning_only() {
        assert_eq!(data("\u{feff}data: a\n\n").0, ["a"]);
        assert_eq!(data("\u{feff}\n\u{feff}data: a\n\ndata: \u{feff}b\n\n").0, ["\u{feff}b"]);
    }

    #[test]
    fn the_kind_of_an_event_is_its_own() {
        let text = b"event: error\ndata: a\n\ndata: b\n\nevent: x\nevent:\ndata: c\n\n";
        let expected = vec![event(Some("error"), "a"), event(None, "b"), event(None, "c")];
        assert_eq!(read(&[text]).unwrap(), (expected, None));
    }

    /// The ends that servers were seen to make: with `[DONE]`, without it, cut in an event or in a line.
    #[test]
    fn a_stream_may_end_anywhere() {
        let (events, last) = read(&[b"data: {\"error\":1}\n\ndata: [DONE]\n\n"]).unwrap();
        assert_eq!((events.iter().map(Event::is_done).collect::<Vec<_>>(), last), (vec![false, true], None));
        for end in ["data: [DONE]", "data: [DONE]\n", "data: [DONE]\r"] {
            let (events, last) = read(&[b"data: a\n\n", end.as_bytes()]).unwrap();
            assert_eq!((events.len(), last.unwrap().is_done()), (1, true), "{end:?}");
        }
        assert_eq!(data("data: a\n\ndata: {\"b\":"), (vec!["a".to_owned()], Some("{\"b\":".to_owned())));
        assert_eq!(data("data: a\n\nda"), (vec!["a".to_owned()], None));
        assert_eq!(data("data: [DONE] \n\n").0, ["[DONE] "], "other data is no end");
    }

    #[test]
    fn data_need_not_be_text() {
        assert_eq!(read(&[b"data: \xff\xfe\0\n\n"]).unwrap().0[0].data, b"\xff\xfe\0");
    }

    #[test]
    fn lines_and_events_are_bounded() {
        let line = TooLong { what: "a line", longest: LONGEST };
        let long = vec![b'x'; LONGEST + 1];
        assert_eq!(read(&[&long]), Err(line));
        // A line that never ends comes in small chunks too.
        assert_eq!(read(&vec![&b": 0123456789"[..]; 100]), Err(line));
        assert_eq!(read(&vec![&b"data: 0123456789\n"[..]; 100]), Err(TooLong { what: "an event", longest: LONGEST }));
        assert_eq!(read(&vec![&b"data: 0123456789\n\n"[..]; 1000]).unwrap().0.len(), 1000);
        // Empty lines of data are data: they have no end either.
        assert!(read(&vec![&b"data\n"[..]; LONGEST + 2]).is_err());
        assert_eq!(line.to_string(), "a line of the event stream is longer than 1000 bytes");
    }

    /// A stream of everything that can stand in one, its last event perhaps not ended.
    fn random_stream(random: &mut ChaCha8Rng) -> Vec<u8> {
        const PARTS: [&[u8]; 16] = [
            b"data: ",
            b"data:",
            b"data",
            b"event: ",
            b"event",
            b"id: 7",
            b":",
            b": note",
            b"\r",
            b"\n",
            b"\r\n",
            b"\n\n",
            b"[DONE]",
            b"\xef\xbb\xbf",
            b"{\"a\": \"\xc3\xa9\"}",
            b"\xff ",
        ];
        let parts = random.random_range(0..60);
        (0..parts).flat_map(|_| PARTS[random.random_range(0..PARTS.len())].iter().copied()).collect()
    }

    /// The same bytes in chunks of random sizes, empty ones among them.
    fn broken<'a>(random: &mut ChaCha8Rng, stream: &'a [u8]) -> Vec<&'a [u8]> {
        let mut rest = stream;
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(random.random_range(0..=rest.len().min(5)));
            chunks.push(chunk);
            rest = after;
        }
        chunks
    }

    #[test]
    fn any_chunking_gives_the_same_events() {
        let seed = 20_261_129;
        println!("seed {seed}");
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut events = 0;
        for case in 0..3000 {
            let stream = random_stream(&mut random);
            let whole = read(&[&stream]);
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            assert_eq!(read(&bytes), whole, "case {case}, byte by byte: {:?}", String::from_utf8_lossy(&stream));
            let chunks = broken(&mut random, &stream);
            assert_eq!(read(&chunks), whole, "case {case}, {chunks:?}");
            events += whole.unwrap().0.len();
        }
        assert!(events > 1000, "{events} events in all");
    }
}
