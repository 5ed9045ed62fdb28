//! A client that sees every byte: it reads until the connection ends and judges nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// In the orderly way.
    Closed,
    /// By a reset.
    Reset,
}

/// All that came back on one connection.
#[derive(Debug)]
pub struct Answer {
    /// Everything up to the empty line.
    pub head: String,
    /// Everything after it, framing included.
    pub rest: Vec<u8>,
    /// How it ended.
    pub end: End,
}

/// Sends a request and reads until the connection ends; `close` is asked for.
pub fn ask(address: SocketAddr, method: &str, path: &str, body: &[u8]) -> Answer {
    let mut stream = send(address, method, path, body, "close");
    let mut all = Vec::new();
    let end = match stream.read_to_end(&mut all) {
        Ok(_) => End::Closed,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => End::Reset,
        Err(error) => panic!("{method} {path}: {error}"),
    };
    let cut = all.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
    let rest = all.split_off(cut);
    Answer { head: String::from_utf8(all).unwrap(), rest, end }
}

/// Sends a request on a new connection.
pub fn send(address: SocketAddr, method: &str, path: &str, body: &[u8], connection: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    // Longer than any stall of the machine; ends a test that would hang.
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write(&mut stream, method, path, body, connection);
    stream
}

/// Sends a request on this connection.
pub fn write(stream: &mut TcpStream, method: &str, path: &str, body: &[u8], connection: &str) {
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: {connection}\r\ncontent-length: {length}");
    stream.write_all(&[head.as_bytes(), b"\r\n\r\n", body].concat()).unwrap();
}

impl Answer {
    pub fn status(&self) -> Option<u16> {
        self.head.split(' ').nth(1).map(|status| status.parse().unwrap())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().filter_map(|line| line.split_once(": ")).find(|(known, _)| *known == name).map(|(_, v)| v)
    }

    pub fn is_chunked(&self) -> bool {
        self.header("transfer-encoding") == Some("chunked")
    }

    /// The chunks, and whether the one came that ends them.
    pub fn chunks(&self) -> (Vec<&[u8]>, bool) {
        let mut rest = self.rest.as_slice();
        let mut chunks = Vec::new();
        while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..at]).unwrap(), 16).unwrap();
            let (chunk, after) = rest[at + 2..].split_at(size);
            assert_eq!(&after[..2], b"\r\n", "a chunk is as long as it says");
            rest = &after[2..];
            if size == 0 {
                assert!(rest.is_empty(), "nothing comes after the end");
                return (chunks, true);
            }
            chunks.push(chunk);
        }
        (chunks, false)
    }

    /// The body without its framing.
    pub fn body(&self) -> Vec<u8> {
        if self.is_chunked() { self.chunks().0.concat() } else { self.rest.clone() }
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body()).unwrap()
    }

    /// Each line of the body as JSON, or the line itself where it is none.
    pub fn lines(&self) -> Vec<Result<Value, String>> {
        self.text().lines().map(|line| serde_json::from_str(line).map_err(|_| line.to_owned())).collect()
    }

    /// The body as one JSON document.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body()).unwrap()
    }
}
