//! The other end of the protocol: an engine of this program as a worker, so that its crash costs one call and not a run.
//!
//! [`engine`] is the thread that does all the engine's work, [`service`] answers messages (those that need no work also
//! while the engine works), [`encode`] puts what the engine says into them.

pub mod encode;
pub mod engine;
pub mod service;
mod socket;

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Notify;
use tonic::codegen::tokio_stream::Stream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use self::engine::Maker;
use self::service::{Guard, Service};
use self::socket::OwnSocket;
use super::connection::{LONGEST_MESSAGE, TOKEN_VARIABLE, fits};
use super::launch::Address;
use super::protocol::worker_server::WorkerServer;
use crate::backend::{CancelToken, Deadline};
use crate::process::kill;

/// How long connections may take to close once the worker is asked to end.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

/// Why a worker cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error("cannot listen at {address}: {why}")]
    Listen {
        /// The address.
        address: Address,
        /// The system's words.
        why: String,
    },
    /// A port that everybody on this machine could use.
    #[error("a port needs a token: set {TOKEN_VARIABLE}, or listen at unix:/PATH")]
    NoToken,
    /// No thread.
    #[error("no thread for the worker: {0}")]
    Thread(io::Error),
    /// The server broke.
    #[error("the worker's server: {0}")]
    Server(String),
}

/// How a worker serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// Where it listens. Port 0: any free one.
    pub listen: Address,
    /// What every message must carry. `None`: the socket's folder keeps others out.
    pub token: Option<String>,
    /// Whether it ends when its standard input is closed.
    pub exit_on_stdin_close: bool,
}

/// Serves until asked to shut down, by a message or by `cancel`. `announce` is told the address once messages are answered.
///
/// # Errors
/// See [`ServeError`].
pub fn serve(
    serving: &Serving,
    make: Maker,
    cancel: &CancelToken,
    announce: impl FnOnce(&Address) -> io::Result<()>,
) -> Result<(), ServeError> {
    let stopping = Arc::new(Notify::new());
    end_when_cancelled(cancel.clone(), stopping.clone());
    let service = Service::start(make, stopping.clone()).map_err(ServeError::Thread)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::Thread)?;
    let server = WorkerServer::new(service)
        .max_decoding_message_size(LONGEST_MESSAGE)
        .max_encoding_message_size(LONGEST_MESSAGE);
    let guarded = InterceptedService::new(server, Guard::new(serving.token.clone()));
    let refused =
        |why: &dyn std::fmt::Display| ServeError::Listen { address: serving.listen.clone(), why: why.to_string() };
    runtime.block_on(async {
        let server = Server::builder();
        let stopped = stopping.clone();
        match &serving.listen {
            Address::Unix(path) => {
                fits(path).map_err(|why| refused(&why))?;
                let (listener, own) = OwnSocket::bind(path).map_err(|why| refused(&why))?;
                let own = Arc::new(own);
                end_with_input(serving, Some(own.clone()));
                let listener = UnixListener::from_std(listener).map_err(|why| refused(&why))?;
                announce(&serving.listen).map_err(|why| ServeError::Server(why.to_string()))?;
                let served = server.serve_with_incoming_shutdown(guarded, Incoming(listener), stopped.notified());
                let ended = until(&stopping, served).await;
                own.remove();
                ended
            }
            Address::Tcp(address) => {
                if serving.token.is_none() {
                    return Err(ServeError::NoToken);
                }
                end_with_input(serving, None);
                let listener = TcpListener::bind(address).await.map_err(|why| refused(&why))?;
                let bound = listener.local_addr().map_err(|why| refused(&why))?;
                announce(&Address::Tcp(bound)).map_err(|why| ServeError::Server(why.to_string()))?;
                let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                until(&stopping, server.serve_with_incoming_shutdown(guarded, incoming, stopped.notified())).await
            }
        }
    })
}

/// Serves to the end; a client that stays connected does not keep a worker that was asked to end.
async fn until(
    stopping: &Notify,
    serving: impl Future<Output = Result<(), tonic::transport::Error>>,
) -> Result<(), ServeError> {
    tokio::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        () = stopping.notified() => {
            tokio::time::timeout(CLOSED_WITHIN, serving).await.unwrap_or(Ok(()))
        }
    };
    served.map_err(|error| ServeError::Server(error.to_string()))
}

/// Tells `stopping` once someone cancels.
fn end_when_cancelled(cancel: CancelToken, stopping: Arc<Notify>) {
    const HOUR: Deadline = Deadline(Duration::from_secs(3600));
    std::thread::spawn(move || {
        while !cancel.is_cancelled() {
            cancel.wait(HOUR, || false);
        }
        stopping.notify_waiters();
        // For whoever waits from now on only.
        stopping.notify_one();
    });
}

/// Ends this process when standard input is closed, where that is asked for: whoever started it is gone, and with it
/// whoever wants an answer.
fn end_with_input(serving: &Serving, socket: Option<Arc<OwnSocket>>) {
    if !serving.exit_on_stdin_close {
        return;
    }
    std::thread::spawn(move || {
        let mut byte = [0];
        while io::stdin().read(&mut byte).is_ok_and(|read| read > 0) {}
        if let Some(socket) = socket {
            socket.remove();
        }
        kill(std::process::id());
    });
}

/// Connections of a Unix socket.
struct Incoming(UnixListener);

impl Stream for Incoming {
    type Item = io::Result<UnixStream>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_accept(context).map(|accepted| Some(accepted.map(|(stream, _)| stream)))
    }
}
