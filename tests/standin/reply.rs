//! The answer to one request, written as the script says.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::Request;
use super::shared::Shared;

/// Content type of one JSON document.
pub const JSON: &str = "application/json; charset=utf-8";
/// Content type of a stream of JSON lines.
pub const NDJSON: &str = "application/x-ndjson";

/// Writes one answer. What is buffered leaves with the next chunk, body or [`Reply::flush`].
pub struct Reply {
    stream: Arc<TcpStream>,
    shared: Arc<Shared>,
    stamps: usize,
    started: Instant,
    /// The answer to HEAD has no body, whatever its headers say.
    bodiless: bool,
    buffered: Vec<u8>,
    open: bool,
}

impl Reply {
    pub(super) fn new(stream: &Arc<TcpStream>, shared: &Arc<Shared>, request: &Request) -> Self {
        Self {
            stream: Arc::clone(stream),
            shared: Arc::clone(shared),
            stamps: shared.open_stamps(&request.path),
            started: Instant::now(),
            bodiless: request.method == "HEAD",
            buffered: Vec::new(),
            open: true,
        }
    }

    /// True while the connection can take a further request.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Buffers a status line and headers.
    pub fn head(&mut self, status: u16, headers: &[(&str, &str)]) {
        let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.buffered.extend_from_slice(head.as_bytes());
    }

    /// Buffers the head of a stream of JSON lines that comes in chunks.
    pub fn stream_head(&mut self) {
        self.head(200, &[("content-type", NDJSON), ("transfer-encoding", "chunked")]);
    }

    /// Sends what is buffered.
    ///
    /// # Errors
    /// The client left. So for everything below that sends.
    pub fn flush(&mut self) -> io::Result<()> {
        (&*self.stream).write_all(&self.buffered)?;
        self.buffered.clear();
        Ok(())
    }

    /// Sends bytes without any framing.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffered.extend_from_slice(bytes);
        self.flush()
    }

    /// Sends one chunk in one write, together with what is buffered.
    pub fn chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.frame(bytes)?;
        self.flush()
    }

    /// Sends one line of a stream as a chunk, and stamps it. `text` has its own end of line, or none.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        self.frame(text.as_bytes())?;
        self.shared.stamp(self.stamps);
        self.flush()
    }

    fn frame(&mut self, bytes: &[u8]) -> io::Result<()> {
        write!(self.buffered, "{:x}\r\n", bytes.len())?;
        self.buffered.extend_from_slice(bytes);
        self.buffered.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Sends one line of a body of known length, and stamps it.
    pub fn unframed_line(&mut self, text: &str) -> io::Result<()> {
        self.shared.stamp(self.stamps);
        self.raw(text.as_bytes())
    }

    /// Sends the chunk that ends a stream.
    pub fn end(&mut self) -> io::Result<()> {
        self.raw(b"0\r\n\r\n")
    }

    /// Sends a whole answer of known length, and stamps it as one line.
    pub fn body(&mut self, status: u16, content_type: &str, body: &[u8]) -> io::Result<()> {
        let length = body.len().to_string();
        if body.is_empty() {
            self.head(status, &[("content-length", "0")]);
        } else {
            self.head(status, &[("content-type", content_type), ("content-length", &length)]);
        }
        self.shared.stamp(self.stamps);
        self.raw(if self.bodiless { b"" } else { body })
    }

    /// Sends one JSON document.
    pub fn json(&mut self, status: u16, body: &Value) -> io::Result<()> {
        self.body(status, JSON, body.to_string().as_bytes())
    }

    /// Sends `{"error":"…"}`.
    pub fn error(&mut self, status: u16, text: &str) -> io::Result<()> {
        self.json(status, &json!({ "error": text }))
    }

    /// Waits until so long after the request was read; no wait where that is past.
    ///
    /// # Errors
    /// The server is being dropped.
    pub fn wait(&self, since_start: Duration) -> io::Result<()> {
        self.shared.wait_until(self.started + since_start)
    }

    /// Says nothing more until the client leaves or the server is dropped.
    pub fn hang(&mut self) -> io::Result<()> {
        self.open = false;
        let mut discarded = [0; 256];
        while (&*self.stream).read(&mut discarded)? > 0 {}
        Ok(())
    }

    /// Closes the connection in the orderly way once the answer returns.
    pub fn close(&mut self) {
        self.open = false;
    }

    /// Resets the connection once the answer returns: the client reads what was sent, then an error instead of an end.
    pub fn reset(&mut self) -> io::Result<()> {
        self.open = false;
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        #[expect(clippy::cast_possible_truncation, reason = "8 bytes")]
        let bytes = size_of::<libc::linger>() as libc::socklen_t;
        // SAFETY: the descriptor is open as long as `stream`, and the kernel reads `bytes` bytes of a live struct.
        let status = unsafe {
            libc::setsockopt(
                self.stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                bytes,
            )
        };
        if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// The machine's monotonic clock, the same in every process. Unit: nanoseconds. 0: it cannot be read.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one struct, which is live.
    if unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) } != 0 {
        return 0;
    }
    #[expect(clippy::cast_sign_loss, reason = "counts from boot")]
    let (seconds, nanos) = (time.tv_sec as u64, time.tv_nsec as u64);
    1_000_000_000 * seconds + nanos
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        400 => "Bad Request",
        404 => "Not Found",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        // The phrase may be empty.
        _ => "",
    }
}
