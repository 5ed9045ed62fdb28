//! Models on the server: what is there, what is resident, how one gets there and leaves again. Nothing here is timed.
//!
//! `ollama-rs` pulls and deletes. It tells that a server refused, not with what status and in which words: what was refused is
//! asked once more directly. What it lacks is asked for directly in the first place: the version, what is resident, a model's
//! format and digest, blobs, creating from one, and lists of a bounded length.

use std::net::Ipv6Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ollama_rs::Ollama;
use ollama_rs::error::OllamaError;
use reqwest::Method;
use serde_json::{Value, json};

use super::process::{self, ServerProcess};
use super::wire;
use crate::backend::cancel::{CancelToken, Deadline};
use crate::backend::http::client::error_text;
use crate::backend::http::{Client, ClientError};
use crate::backend::text::clean;

/// Longest time an untimed question may take.
const SHORT: Deadline = Deadline(Duration::from_secs(30));

/// Longest time the server may take to import or fetch a model.
const LONG: Deadline = Deadline(Duration::from_secs(3600));

/// Models of ours stand below this name.
pub const NAMESPACE: &str = "phasebench/";

/// The command that starts a server at an address, told by what it is asked with: its default port needs no words.
#[must_use]
pub fn how_to_serve(url: &str) -> String {
    const COMMAND: &str = "ollama serve";
    const DEFAULT_PORT: u16 = 11434;
    let Ok(url) = reqwest::Url::parse(url) else { return COMMAND.to_owned() };
    let (host, port) = (url.host_str().unwrap_or("127.0.0.1"), url.port_or_known_default().unwrap_or(DEFAULT_PORT));
    match (is_this_machine(host), port) {
        (true, DEFAULT_PORT) => COMMAND.to_owned(),
        (true, port) => format!("OLLAMA_HOST=127.0.0.1:{port} {COMMAND}"),
        (false, port) => format!("OLLAMA_HOST=0.0.0.0:{port} {COMMAND}, on {host}"),
    }
}

/// Whether a host is the machine that asks.
fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.starts_with("127.") || host == "[::1]"
}

/// What helps where a server, or something before it, asks who is there.
const PASSWORD: &str = "name and password in the address; the server, or something before it, asks for them";

/// What helps where a file of this machine cannot be sent.
const READABLE: &str =
    "see that whoever runs this may read the file; a model that is made is made again where it is gone";

/// What helps where nobody has answered at an address yet.
#[must_use]
pub fn what_helps_first(error: &ClientError, url: &str) -> String {
    match error {
        ClientError::Status { status: 401 | 403 | 407, .. } => PASSWORD.to_owned(),
        ClientError::Status { .. } | ClientError::Malformed { .. } => {
            format!("another address: something answers at {url}, and it is no Ollama server")
        }
        ClientError::Unreadable { .. } => READABLE.to_owned(),
        ClientError::Unreachable { .. } | ClientError::TimedOut { .. } | ClientError::Cancelled => {
            format!("{}   (check with: phasebench doctor)", how_to_serve(url))
        }
    }
}

/// What helps where something is asked of a server that was named.
#[must_use]
pub fn what_helps(error: &ClientError, url: &str) -> String {
    match error {
        ClientError::Status { status: 401 | 403 | 407, .. } => PASSWORD.to_owned(),
        ClientError::Status { message, .. } if message.contains("file does not exist") => {
            "a name that the server's registry has, such as gemma3:270m".to_owned()
        }
        ClientError::Status { .. } | ClientError::Malformed { .. } | ClientError::TimedOut { .. } => {
            format!("the log of the server at {url}; phasebench doctor says whether it is an Ollama server")
        }
        ClientError::Unreadable { .. } => READABLE.to_owned(),
        ClientError::Unreachable { .. } | ClientError::Cancelled => how_to_serve(url),
    }
}

/// A server with its models.
#[derive(Clone)]
pub struct Server {
    client: Arc<Client>,
    library: Ollama,
}

/// A model that is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resident {
    /// Its name with its tag.
    pub name: String,
    /// Its digest.
    pub digest: String,
    /// Memory it takes. `None`: not said.
    pub size: Option<u64>,
    /// Of this, on a device; 0 is said, not assumed. `None`: not said.
    pub size_vram: Option<u64>,
    /// Its context. `None`: not said.
    pub context_length: Option<u64>,
}

/// What the server says about a model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shown {
    /// `gguf` or `safetensors`. `None`: not said.
    pub format: Option<String>,
    /// Quantisation, e.g. `Q4_K_M`. `None`: not said, as for 32-bit floats.
    pub quantisation: Option<String>,
    /// Architecture, e.g. `gemma3`.
    pub architecture: Option<String>,
    /// Parameters counted from the tensors.
    pub params: Option<u64>,
    /// Longest context.
    pub context_length: Option<u64>,
    /// Transformer blocks.
    pub n_layer: Option<u64>,
    /// Width of the residual stream.
    pub n_embd: Option<u64>,
    /// Query heads.
    pub n_head: Option<u64>,
    /// Key-value heads; the largest where layers differ.
    pub n_kv_head: Option<u64>,
    /// True where another machine runs it.
    pub remote: bool,
}

/// Where a server is expected: what its own client is told by `OLLAMA_HOST`, else its default.
#[must_use]
pub fn default_url() -> String {
    url_of(&std::env::var("OLLAMA_HOST").unwrap_or_default())
}

/// The address that a value of `OLLAMA_HOST` means, which may leave out scheme, host, port or all of them.
fn url_of(told: &str) -> String {
    const PORT: &str = "11434";
    let told = told.trim();
    if told.contains("://") {
        return told.to_owned();
    }
    if told.parse::<Ipv6Addr>().is_ok() {
        return format!("http://[{told}]:{PORT}");
    }
    // The last colon of an address in brackets does not begin a port.
    let (host, port) = told.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).unwrap_or((told, PORT));
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    format!("http://{host}:{port}")
}

impl Server {
    /// The server a client talks to.
    #[must_use]
    pub fn new(client: Arc<Client>) -> Self {
        let url = client.url();
        let host = format!("{}://{}", url.scheme(), url.host_str().unwrap_or("127.0.0.1"));
        let library = Ollama::builder()
            .host(host)
            .port(url.port_or_known_default().unwrap_or(11434))
            .reqwest_client(client.parts().1)
            .build();
        Self { client, library }
    }

    /// The client, for the timed path.
    #[must_use]
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// The process that listens where the server is expected. `None`: another machine, or the system does not show it.
    #[must_use]
    pub fn listener(&self) -> Option<ServerProcess> {
        let url = self.client.url();
        let local = url.host_str().is_some_and(is_this_machine);
        url.port_or_known_default().filter(|_| local).and_then(process::listener).and_then(ServerProcess::of)
    }

    /// The server's version as it says it, made harmless.
    ///
    /// # Errors
    /// No server, or another one.
    pub fn version(&self, cancel: &CancelToken) -> Result<String, ClientError> {
        let reply = self.client.json(Method::GET, "/api/version", None, SHORT, cancel)?;
        reply["version"]
            .as_str()
            .map(clean)
            .ok_or_else(|| malformed("/api/version", "no `version`: not an Ollama server"))
    }

    /// What is loaded.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn resident(&self, cancel: &CancelToken) -> Result<Vec<Resident>, ClientError> {
        let reply = self.client.json(Method::GET, "/api/ps", None, SHORT, cancel)?;
        residents(&reply).ok_or_else(|| malformed("/api/ps", "no list of `models`"))
    }

    /// What the server says about a model. `None`: it does not have it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn show(&self, name: &str, cancel: &CancelToken) -> Result<Option<Shown>, ClientError> {
        match self.client.json(Method::POST, "/api/show", Some(&json!({ "model": name })), SHORT, cancel) {
            Ok(reply) => Ok(Some(shown(&reply))),
            Err(ClientError::Status { status: 404 | 400, message, .. }) if message.contains("not found") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The digest of a model. `None`: the server does not have it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn digest(&self, name: &str, cancel: &CancelToken) -> Result<Option<String>, ClientError> {
        let models = self.tags(cancel)?;
        let found = models.iter().find(|model| model["name"].as_str().is_some_and(|n| same_name(n, name)));
        Ok(found.and_then(|model| model["digest"].as_str().map(clean)))
    }

    /// The names of all models of ours.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn ours(&self) -> Result<Vec<String>, ClientError> {
        let models = self.tags(&CancelToken::default())?;
        let names = models.iter().filter_map(|model| model["name"].as_str());
        Ok(names.filter(|name| name.starts_with(NAMESPACE)).map(str::to_owned).collect())
    }

    /// The names of all models.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn names(&self, cancel: &CancelToken) -> Result<Vec<String>, ClientError> {
        let models = self.tags(cancel)?;
        Ok(models.iter().filter_map(|model| model["name"].as_str().map(clean)).collect())
    }

    /// Every model in the server's store.
    fn tags(&self, cancel: &CancelToken) -> Result<Vec<Value>, ClientError> {
        let mut reply = self.client.json(Method::GET, "/api/tags", None, SHORT, cancel)?;
        match reply["models"].take() {
            Value::Array(models) => Ok(models),
            _ => Err(malformed("/api/tags", "no list of `models`")),
        }
    }

    /// Deletes a model.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn delete(&self, name: &str) -> Result<(), ClientError> {
        match self.by_library("/api/delete", SHORT, self.library.delete_model(name.to_owned()))? {
            Answer::Done => Ok(()),
            Answer::Refused => {
                self.done(Method::DELETE, "/api/delete", &json!({ "model": name }), SHORT, &CancelToken::default())
            }
        }
    }

    /// Fetches a model from where the server fetches models.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn pull(&self, name: &str) -> Result<(), ClientError> {
        match self.by_library("/api/pull", LONG, self.library.pull_model(name.to_owned(), false))? {
            Answer::Done => Ok(()),
            Answer::Refused => {
                let body = json!({ "model": name, "stream": false });
                self.done(Method::POST, "/api/pull", &body, LONG, &CancelToken::default())
            }
        }
    }

    /// Makes a model of a GGUF file, uploading it unless the server has a blob of its hash.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn create(&self, name: &str, file: &Path, sha256: &str, cancel: &CancelToken) -> Result<(), ClientError> {
        let blob = format!("/api/blobs/sha256:{sha256}");
        if self.client.status(Method::HEAD, &blob, cancel)? != 200 {
            self.client.upload(&blob, file, cancel)?;
        }
        let body = json!({ "model": name, "files": { "model.gguf": format!("sha256:{sha256}") } });
        self.done(Method::POST, "/api/create", &body, LONG, cancel)
    }

    fn by_library<T>(
        &self,
        path: &str,
        by: Deadline,
        call: impl Future<Output = ollama_rs::error::Result<T>>,
    ) -> Result<Answer, ClientError> {
        match self.client.parts().0.block_on(async { tokio::time::timeout(by.0, call).await }) {
            Ok(Ok(_)) => Ok(Answer::Done),
            Ok(Err(OllamaError::ReqwestError(error))) if error.is_connect() => {
                Err(self.client.unreachable(&error_text(&error)))
            }
            Ok(Err(_)) => Ok(Answer::Refused),
            Err(_) => Err(ClientError::TimedOut { path: path.to_owned(), after: by.0 }),
        }
    }

    /// A request whose reply only says whether it was done, in a line, in many, or in none.
    fn done(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        by: Deadline,
        cancel: &CancelToken,
    ) -> Result<(), ClientError> {
        let exchange = self.client.exchange(method, path, Some(body), by, cancel);
        self.client.succeeded(path, &exchange, by)?;
        let reply = wire::read(exchange.lines());
        if let Some(message) = reply.error {
            let (path, status) = (path.to_owned(), exchange.status.unwrap_or_default());
            return Err(ClientError::Status { path, status, message });
        }
        reply.malformed.map_or(Ok(()), |why| Err(malformed(path, &why)))
    }

    /// Asks the server to unload a model and waits until it is no longer listed. Who has cancelled before asks all the same,
    /// and does not wait.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn unload(&self, name: &str, by: Deadline, cancel: &CancelToken) -> Result<(), ClientError> {
        const POLL: Duration = Duration::from_millis(5);
        const ASKED_WITHIN: Deadline = Deadline(Duration::from_millis(500));
        let hurried = cancel.is_cancelled();
        let (within, heard) = if hurried { (ASKED_WITHIN, CancelToken::default()) } else { (by, cancel.clone()) };
        let body = json!({ "model": name, "keep_alive": 0 });
        let exchange = self.client.exchange(Method::POST, "/api/generate", Some(&body), within, &heard);
        // One that is not there any more need not be unloaded.
        if exchange.status != Some(404) {
            self.client.succeeded("/api/generate", &exchange, within)?;
        }
        if hurried {
            return Ok(());
        }
        let started = std::time::Instant::now();
        while self.resident(cancel)?.iter().any(|model| same_name(&model.name, name)) {
            if started.elapsed() > by.0 {
                return Err(ClientError::TimedOut { path: "/api/ps".to_owned(), after: by.0 });
            }
            cancel.wait(Deadline(POLL), || false);
            if cancel.is_cancelled() {
                return Err(ClientError::Cancelled);
            }
        }
        Ok(())
    }
}

/// What the library knows of a request that was answered.
enum Answer {
    Done,
    Refused,
}

fn malformed(path: &str, why: &str) -> ClientError {
    ClientError::Malformed { path: path.to_owned(), why: why.to_owned() }
}

/// Names are equal with and without the tag that is meant where none is given.
#[must_use]
pub fn same_name(a: &str, b: &str) -> bool {
    a.strip_suffix(":latest").unwrap_or(a) == b.strip_suffix(":latest").unwrap_or(b)
}

/// What is loaded, by a server's reply. `None`: it lists no models.
#[must_use]
pub fn residents(reply: &Value) -> Option<Vec<Resident>> {
    let resident = |model: &Value| Resident {
        name: clean(model["name"].as_str().unwrap_or_default()),
        digest: clean(model["digest"].as_str().unwrap_or_default()),
        size: model["size"].as_u64(),
        size_vram: model["size_vram"].as_u64(),
        context_length: model["context_length"].as_u64(),
    };
    Some(reply["models"].as_array()?.iter().map(resident).collect())
}

/// What a server's reply says about a model.
#[must_use]
pub fn shown(reply: &Value) -> Shown {
    let text = |value: &Value| value.as_str().map(clean);
    let info = &reply["model_info"];
    let architecture = text(&info["general.architecture"]);
    // Of a model's shape every key begins with its architecture.
    let count = |key: &str| whole_or_largest(&info[format!("{}.{key}", architecture.as_ref()?)]);
    Shown {
        format: text(&reply["details"]["format"]),
        // 32-bit floats have no name there.
        quantisation: text(&reply["details"]["quantization_level"]).filter(|name| name != "unknown"),
        params: info["general.parameter_count"].as_u64(),
        context_length: count("context_length"),
        n_layer: count("block_count"),
        n_embd: count("embedding_length"),
        n_head: count("attention.head_count"),
        n_kv_head: count("attention.head_count_kv"),
        remote: reply["remote_host"].as_str().is_some_and(|host| !host.is_empty()),
        architecture,
    }
}

/// A count; the largest where one is listed per layer. `None`: neither.
fn whole_or_largest(value: &Value) -> Option<u64> {
    let per_layer = value.as_array().map(Vec::as_slice).unwrap_or_default();
    value.as_u64().or_else(|| per_layer.iter().filter_map(Value::as_u64).max())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_tag_is_the_latest() {
        assert!(same_name("a", "a:latest") && same_name("a:1b", "a:1b"));
        assert!(!same_name("a:1b", "a"));
    }

    #[test]
    fn what_the_variable_leaves_out_is_the_default() {
        for (told, url) in [
            ("", "http://127.0.0.1:11434"),
            (" 10.0.0.1 ", "http://10.0.0.1:11434"),
            ("10.0.0.1:80", "http://10.0.0.1:80"),
            (":8080", "http://127.0.0.1:8080"),
            ("[::1]", "http://[::1]:11434"),
            ("[::1]:80", "http://[::1]:80"),
            ("::1", "http://[::1]:11434"),
            ("http://box", "http://box"),
            ("https://box:1", "https://box:1"),
        ] {
            assert_eq!(url_of(told), url, "{told}");
        }
    }

    #[test]
    fn heads_may_be_listed_per_layer() {
        let reply = json!({ "details": { "format": "gguf", "quantization_level": "Q8_0" }, "model_info": {
            "general.architecture": "gemma3", "general.parameter_count": 268_098_176,
            "gemma3.block_count": 18, "gemma3.attention.head_count": 4, "gemma3.attention.head_count_kv": [1, 2, 1] } });
        let shown = shown(&reply);
        assert_eq!((shown.n_layer, shown.n_head, shown.n_kv_head), (Some(18), Some(4), Some(2)));
        assert_eq!((shown.params, shown.context_length, shown.remote), (Some(268_098_176), None, false));
    }
}
