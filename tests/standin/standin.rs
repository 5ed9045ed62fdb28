//! A stand-in for an Ollama server, for tests: HTTP/1.1 written by hand on a loopback socket, so that every byte of an
//! answer is the test's to choose.
//!
//! A [`Server`] answers each request with a function the test gives. Three kinds of answer are ready made:
//! [`replay`] gives back what a real server was recorded to say, [`scripted`] is a healthy server with a little model,
//! and [`fault`] is a server that goes wrong in one definite way. A test binary includes the module by its path:
//!
//! ```ignore
//! #[path = "standin/standin.rs"]
//! mod standin;
//! ```
//!
//! Nothing outlives the handle: dropping it closes the listener, ends the connections and joins the threads.

pub mod body;
pub mod fault;
pub mod http;
pub mod replay;
pub mod reply;
pub mod scripted;
mod shared;

use std::io::{self, BufReader};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use http::Request;
use replay::Replay;
use reply::Reply;
use scripted::Scripted;
use shared::{Shared, lock};

/// Whether an answer takes the time it was recorded or scripted to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As long as recorded or scripted, counted from when the request was completely read.
    Kept,
    /// As fast as the socket takes it.
    AtOnce,
}

/// When the lines of one reply were sent: read immediately before they were handed to the socket.
#[derive(Debug, Clone)]
pub struct Stamps {
    /// Path of the request that was answered.
    pub path: String,
    /// The first line. `None`: no line was sent.
    pub first: Option<Instant>,
    /// The last line so far. `None`: no line was sent.
    pub last: Option<Instant>,
    /// Lines sent so far. A reply that is not a stream has one.
    pub lines: usize,
}

type Answer = dyn Fn(&Request, &mut Reply) -> io::Result<()> + Send + Sync;

/// A running server on a free port of 127.0.0.1.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<Vec<Connection>>>,
}

struct Connection {
    stream: Weak<TcpStream>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Starts a server that answers every request with `answer`, each connection in a thread of its own.
    ///
    /// An error from `answer` ends the connection: it means that the client left or that the server is being dropped.
    ///
    /// # Errors
    /// No port could be opened.
    pub fn start(answer: impl Fn(&Request, &mut Reply) -> io::Result<()> + Send + Sync + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let answer: Arc<Answer> = Arc::new(answer);
        let accepting = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&listener, &shared, &answer))
        };
        Ok(Self { address, shared, accepting: Some(accepting) })
    }

    /// Starts a server that gives back recorded exchanges.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn replay(replay: Replay) -> io::Result<Self> {
        Self::start(move |request, reply| replay.answer(request, reply))
    }

    /// Starts a healthy server; `model` stays in the test's hands, to look into and to make fail.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn scripted(model: &Arc<Scripted>) -> io::Result<Self> {
        let model = Arc::clone(model);
        Self::start(move |request, reply| model.answer(request, reply))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as a base URL without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far, in order of arrival; a request is listed before it is answered.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// How many requests of this method and path there were.
    #[must_use]
    pub fn count(&self, method: &str, path: &str) -> usize {
        lock(&self.shared.requests).iter().filter(|r| r.method == method && r.path == path).count()
    }

    /// The stamps of every reply so far, in the order of [`Server::requests`] where requests did not overlap.
    ///
    /// What a client has received is already in here.
    #[must_use]
    pub fn replies(&self) -> Vec<Stamps> {
        lock(&self.shared.stamps).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.close();
        // The listener blocks until somebody calls; where this call fails, the listener is gone already.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        let connections = self.accepting.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        for connection in connections {
            if let Some(stream) = connection.stream.upgrade() {
                // Fails only where the client has already left.
                let _ = stream.shutdown(Shutdown::Both);
            }
            // A panic in an answer has shown itself to the client as the end of the connection.
            let _ = connection.thread.join();
        }
    }
}

/// Takes connections until the server is closed; returns those that may still be open.
fn accept(listener: &TcpListener, shared: &Arc<Shared>, answer: &Arc<Answer>) -> Vec<Connection> {
    let mut connections: Vec<Connection> = Vec::new();
    for stream in listener.incoming() {
        if shared.is_closed() {
            break;
        }
        let Ok(stream) = stream.map(Arc::new) else { continue };
        connections.retain(|connection| !connection.thread.is_finished());
        let weak = Arc::downgrade(&stream);
        let (shared, answer) = (Arc::clone(shared), Arc::clone(answer));
        // How a connection ended is the client's to see.
        let thread = thread::spawn(move || drop(serve(stream, &shared, answer.as_ref())));
        connections.push(Connection { stream: weak, thread });
    }
    connections
}

fn serve(stream: Arc<TcpStream>, shared: &Arc<Shared>, answer: &Answer) -> io::Result<()> {
    // Small writes leave as they are made: a packet is what the script says it is.
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(&*stream);
    while let Some(request) = Request::read(&mut reader)? {
        shared.note(&request);
        let mut reply = Reply::new(&stream, shared, &request);
        answer(&request, &mut reply)?;
        if !reply.is_open() || request.closes() {
            break;
        }
    }
    Ok(())
}
