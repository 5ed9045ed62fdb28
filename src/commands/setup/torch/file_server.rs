//! Serves a folder over loopback while an image is built: the builder has no other way to the host's files.

use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::pip::Python;

/// Ends when standard input does, so it never outlives us. The port asked for is taken if it is free: the builder keeps
/// a finished step only while its settings, the port among them, are the same.
const SERVE: &str = "
import functools, http.server, sys, threading
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass
handler = functools.partial(Quiet, directory=sys.argv[1])
try:
    server = http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[2])), handler)
except OSError:
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
";

/// Port that is tried first.
const PORT: u16 = 18_743;

/// A server that ends when it is dropped.
#[derive(Debug)]
pub struct FileServer {
    child: Child,
    /// Its port on 127.0.0.1.
    pub port: u16,
}

impl FileServer {
    /// Starts it.
    ///
    /// # Errors
    /// The system's words, or that the server did not start.
    pub fn start(python: &Python, folder: &Path) -> io::Result<Self> {
        let mut child = Command::new(&python.command)
            .args(["-I", "-c", SERVE])
            .arg(folder)
            .arg(PORT.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let port = line.trim().parse().ok();
        let server = Self { child, port: port.unwrap_or(0) };
        if port.is_some() { Ok(server) } else { Err(io::Error::other("the file server did not start")) }
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn files_are_served_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.whl"), "a wheel").unwrap();
        let python = Python { command: PathBuf::from("python3"), version: String::new() };
        let server = FileServer::start(&python, folder.path()).unwrap();
        let port = server.port;
        let second = FileServer::start(&python, folder.path()).unwrap();
        assert_ne!(second.port, port);
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(b"GET /a.whl HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("\r\n\r\na wheel"), "{answer}");
        drop(server);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}
