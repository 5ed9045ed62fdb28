//! Messages to one worker: where to, with which token, how long they may be, and what a failed one means.

use std::path::Path;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::launch::Address;
use super::protocol::worker_client::WorkerClient;
use super::text::clean;

/// Version of the protocol that this program speaks.
pub const VERSION: u32 = 1;

/// Longest message in either direction. Unit: bytes.
pub const LONGEST_MESSAGE: usize = 64 << 20;

/// Longest name of a Unix socket that the system takes. Unit: bytes.
pub const LONGEST_SOCKET: usize = 107;

/// Metadata that carries the token.
pub const TOKEN_KEY: &str = "x-phasebench-token";

/// Environment variable that gives a worker the token it is to ask for.
pub const TOKEN_VARIABLE: &str = "PHASEBENCH_WORKER_TOKEN";

/// The client of the protocol.
pub type Client = WorkerClient<InterceptedService<Channel, Token>>;

/// Adds the token to every message.
#[derive(Clone)]
pub struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert(TOKEN_KEY, token.clone());
        }
        Ok(request)
    }
}

/// A client for a worker. Connects with the first message.
///
/// # Errors
/// An address that the system cannot take, a token that is no text.
pub fn open(address: &Address, token: Option<&str>) -> Result<Client, String> {
    let uri = match address {
        Address::Unix(path) => {
            fits(path)?;
            format!("unix:{}", path.display())
        }
        Address::Tcp(address) => format!("http://{address}"),
    };
    let endpoint = Endpoint::from_shared(uri).map_err(|e| format!("{e}"))?;
    let token = token.map(str::parse).transpose().map_err(|_| "the token is not printable ASCII".to_owned())?;
    let client = WorkerClient::with_interceptor(endpoint.connect_lazy(), Token(token));
    Ok(client.max_decoding_message_size(LONGEST_MESSAGE).max_encoding_message_size(LONGEST_MESSAGE))
}

/// Whether the system can name a socket so.
///
/// # Errors
/// It is too long.
pub fn fits(socket: &Path) -> Result<(), String> {
    let bytes = socket.as_os_str().len();
    if bytes <= LONGEST_SOCKET {
        return Ok(());
    }
    Err(format!(
        "{}: {bytes} bytes long, and the name of a Unix socket takes at most {LONGEST_SOCKET}",
        socket.display()
    ))
}

/// Whether somebody listens at an address.
///
/// # Errors
/// The system's words.
pub async fn listens(address: &Address) -> std::io::Result<()> {
    match address {
        Address::Unix(path) => UnixStream::connect(path).await.map(drop),
        Address::Tcp(address) => TcpStream::connect(address).await.map(drop),
    }
}

/// A status in words: the engine's or the transport's, the innermost reason last.
#[must_use]
pub fn status_text(status: &Status) -> String {
    let mut text = clean(status.message());
    let mut reason = std::error::Error::source(status);
    while let Some(source) = reason {
        let next = clean(&source.to_string());
        if !next.is_empty() && !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        reason = source.source();
    }
    match status.code() {
        Code::Unknown | Code::Internal | Code::Unavailable if !text.is_empty() => text,
        code if text.is_empty() => code.description().to_owned(),
        code => format!("{}: {text}", code.description()),
    }
}

/// How long a worker may take to answer what needs no work.
pub const PROMPTLY: Duration = Duration::from_secs(10);

/// Sends one message that needs no work.
///
/// # Errors
/// The worker's status, or that it did not answer promptly.
pub async fn promptly<T>(answer: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(PROMPTLY, answer).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded(format!("no answer within {} s", PROMPTLY.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_s_name_has_a_limit_that_is_named() {
        assert_eq!(fits(Path::new("/tmp/s")), Ok(()));
        let long = format!("/{}", "x".repeat(LONGEST_SOCKET));
        let error = fits(Path::new(&long)).err();
        assert_eq!(error, Some(format!("{long}: 108 bytes long, and the name of a Unix socket takes at most 107")));
    }

    #[test]
    fn a_status_tells_what_happened() {
        assert_eq!(status_text(&Status::unavailable("gone")), "gone");
        assert_eq!(
            status_text(&Status::failed_precondition("not \u{1b}[1mloaded")),
            "The system is not in a state required for the operation's execution: not loaded"
        );
        assert_eq!(status_text(&Status::unknown("")), "Unknown error");
    }
}
