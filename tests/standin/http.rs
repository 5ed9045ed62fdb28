//! Requests as they come in.

use std::io::{self, BufRead, Read};

use serde_json::Value;

/// One request, completely read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// The target without its query.
    pub path: String,
    /// Names in lower case, in order of arrival.
    pub headers: Vec<(String, String)>,
    /// The body without its framing. In the server's log, empty where it was longer than 1 MiB.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header; `name` in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is not JSON.
    pub fn json(&self) -> serde_json::Result<Value> {
        serde_json::from_slice(&self.body)
    }

    /// True where the client wants no further request on this connection.
    pub(super) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// Reads the next request. `None`: the client closed the connection between two requests.
    pub(super) fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(None);
        }
        let mut words = first.split_whitespace();
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(malformed("request line", &first));
        };
        let path = target.split('?').next().unwrap_or_default().to_owned();
        let mut request = Self { method: method.to_owned(), path, headers: Vec::new(), body: Vec::new() };
        loop {
            let line = line(reader)?;
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else { return Err(malformed("header", &line)) };
            request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        request.body = request.read_body(reader)?;
        Ok(Some(request))
    }

    fn read_body(&self, reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            loop {
                let size = line(reader)?;
                let bytes = u64::from_str_radix(&size, 16).map_err(|_| malformed("chunk size", &size))?;
                reader.by_ref().take(bytes).read_to_end(&mut body)?;
                line(reader)?;
                if bytes == 0 {
                    break;
                }
            }
        } else if let Some(length) = self.header("content-length") {
            let bytes: u64 = length.parse().map_err(|_| malformed("content-length", length))?;
            if reader.by_ref().take(bytes).read_to_end(&mut body)? as u64 != bytes {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(body)
    }
}

/// One line without its end.
fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn malformed(what: &str, text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {text:?}"))
}
