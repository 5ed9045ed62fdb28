//! A healthy server with scripted times, good for a whole run of the program.

mod generate;
mod gguf;
pub mod model;
mod store;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use super::Pace;
use super::fault::Fault;
use super::http::Request;
use super::reply::Reply;
use super::shared::lock;
use model::Model;

/// What of earlier prompts need not be evaluated again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrefixCache {
    /// Nothing.
    Off,
    /// The leading tokens shared with the prompt before, as up to 0.24 and with `LLAMA_ARG_CACHE_RAM=0`.
    LastPrompt,
    /// The leading tokens shared with any earlier prompt, as from 0.30.
    EveryPrompt,
}

/// A generated token.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// What it adds to the text.
    pub text: String,
    /// Its log-probability.
    pub logprob: f64,
    /// The most probable tokens, best first, with their log-probabilities.
    pub top: Vec<(String, f64)>,
}

/// Token ids of a prompt.
pub type Tokenize = Box<dyn Fn(&str) -> Vec<u32> + Send + Sync>;
/// The token generated for a prompt's ids at a step, from 0.
pub type Choose = Box<dyn Fn(&[u32], u64) -> Choice + Send + Sync>;
/// Tokens after which the call of that number, from 0, ends by itself. `None`: it does not.
pub type StopEarly = Box<dyn Fn(u64) -> Option<u64> + Send + Sync>;
/// The way in which the call of that number, from 0, goes wrong. `None`: it does not.
pub type GoWrong = Box<dyn Fn(u64) -> Option<Fault> + Send + Sync>;

/// How the server behaves. Calls are requests to `/api/generate` that have a prompt.
pub struct Script {
    /// What `/api/version` says. From 0.30 on, the details that changed there follow.
    pub version: String,
    /// Whether the times below pass or are only reported.
    pub pace: Pace,
    /// From one token to the next.
    pub step: Duration,
    /// Evaluation of one token of the prompt.
    pub prefill_per_token: Duration,
    /// Loading a model that is not loaded, or not with these options.
    pub load: Duration,
    /// `load_duration` of a model that is loaded.
    pub warm_load: Duration,
    /// What the total has beyond load, prompt and decode; spent at the start.
    pub outside: Duration,
    /// What need not be evaluated again.
    pub prefix_cache: PrefixCache,
    /// Share of a loaded model in the memory of a GPU, 0 to 1; 0 also where a request says `num_gpu: 0`.
    pub vram_share: f64,
    /// Requests to `/api/ps` that still list a model after it was unloaded.
    pub polls_until_gone: u32,
    /// Context where a request names none.
    pub default_context: u64,
    /// Tokens where a request names no number. `None`: until the context is full, as the real server does.
    pub default_tokens: Option<u64>,
    /// Adds `standin_first_ns` and `standin_last_ns` to the last line: when the first and the last line were sent, on
    /// the machine's monotonic clock, so that a client in another process can compare.
    pub stamped: bool,
    /// Models that `/api/pull` finds.
    pub registry: Vec<Model>,
    /// How prompts are counted.
    pub tokenize: Tokenize,
    /// What is generated.
    pub choose: Choose,
    /// Which calls end early.
    pub stop_early: StopEarly,
    /// Which calls go wrong.
    pub go_wrong: GoWrong,
}

impl Default for Script {
    /// 0.33.0-rc2 without a GPU: 50 µs per prompt token, 200 µs per step, no prefix cache, nothing goes wrong.
    /// A prompt counts one token for its beginning and one for each word; every call's text is `" w0 w1 …"`.
    fn default() -> Self {
        Self {
            version: "0.33.0-rc2".to_owned(),
            pace: Pace::Kept,
            step: Duration::from_micros(200),
            prefill_per_token: Duration::from_micros(50),
            load: Duration::from_millis(5),
            warm_load: Duration::from_micros(500),
            outside: Duration::from_micros(100),
            prefix_cache: PrefixCache::Off,
            vram_share: 0.0,
            polls_until_gone: 0,
            default_context: 4096,
            default_tokens: None,
            stamped: false,
            registry: Vec::new(),
            tokenize: Box::new(words),
            choose: Box::new(count_up),
            stop_early: Box::new(|_| None),
            go_wrong: Box::new(|_| None),
        }
    }
}

/// The beginning of a text as token 0, then a token for each word, the same for the same word.
fn words(prompt: &str) -> Vec<u32> {
    let word = |word: &str| {
        word.bytes().fold(2_166_136_261_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619))
    };
    [0].into_iter().chain(prompt.split_whitespace().map(word)).collect()
}

/// A different token at every step, so that nothing repeats itself.
fn count_up(_: &[u32], step: u64) -> Choice {
    let text = format!(" w{step}");
    let top = vec![(text.clone(), -0.5), (" x".to_owned(), -1.5), (" y".to_owned(), -2.5)];
    Choice { text, logprob: -0.5, top }
}

/// A healthy server. Shared between the server's threads and the test.
pub struct Scripted {
    script: Script,
    state: Mutex<State>,
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scripted({})", self.script.version)
    }
}

#[derive(Debug, Default)]
struct State {
    models: BTreeMap<String, Model>,
    loaded: Vec<Loaded>,
    blobs: BTreeMap<String, store::Blob>,
    calls: u64,
    next_calls: VecDeque<Fault>,
    next_loads: VecDeque<Fault>,
}

/// A model in memory.
#[derive(Debug)]
struct Loaded {
    name: String,
    /// The options that a model is loaded with; others mean loading it again.
    options: Value,
    context: u64,
    vram_share: f64,
    /// Prompts that were evaluated, in order.
    prompts: Vec<Vec<u32>>,
    /// Requests to `/api/ps` that still list it. `None`: it stays.
    leaving: Option<u32>,
}

impl Scripted {
    /// A server that has these models, none of them loaded.
    #[must_use]
    pub fn new(script: Script, models: impl IntoIterator<Item = Model>) -> Self {
        let models = models.into_iter().map(|model| (model.name.clone(), model)).collect();
        Self { script, state: Mutex::new(State { models, ..State::default() }) }
    }

    /// Makes the next call go wrong; several make the next several.
    pub fn fail_next_call(&self, fault: Fault) {
        lock(&self.state).next_calls.push_back(fault);
    }

    /// Makes the next request that only loads or unloads go wrong.
    pub fn fail_next_load(&self, fault: Fault) {
        lock(&self.state).next_loads.push_back(fault);
    }

    /// Calls so far, those that went wrong included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        lock(&self.state).calls
    }

    /// Full names of the models in memory.
    #[must_use]
    pub fn loaded(&self) -> BTreeSet<String> {
        lock(&self.state).loaded.iter().map(|loaded| loaded.name.clone()).collect()
    }

    /// Full names of the models it has.
    #[must_use]
    pub fn models(&self) -> BTreeSet<String> {
        lock(&self.state).models.keys().cloned().collect()
    }

    /// Answers as the real server would.
    ///
    /// # Errors
    /// The client left, or the server is being dropped.
    pub fn answer(&self, request: &Request, reply: &mut Reply) -> io::Result<()> {
        let method = request.method.as_str();
        match (method, request.path.as_str()) {
            ("GET" | "HEAD", "/") => reply.body(200, "text/plain; charset=utf-8", b"Ollama is running"),
            ("GET" | "HEAD", "/api/version") => reply.json(200, &json!({ "version": self.script.version })),
            ("GET" | "HEAD", "/api/tags") => self.tags(reply),
            ("GET", "/api/ps") => self.ps(reply),
            ("POST", "/api/show") => self.show(request, reply),
            ("POST", "/api/create") => self.create(request, reply),
            ("DELETE", "/api/delete") => self.delete(request, reply),
            ("POST", "/api/pull") => self.pull(request, reply),
            ("POST", "/api/generate") => self.generate(request, reply),
            ("HEAD" | "POST", path) => match path.strip_prefix("/api/blobs/") {
                Some(digest) => self.blob(digest, request, reply),
                None => reply.body(404, "text/plain", b"404 page not found"),
            },
            _ => reply.body(404, "text/plain", b"404 page not found"),
        }
    }

    /// True from 0.30 on, where the engine is another.
    fn is_new(&self) -> bool {
        let mut numbers = self.script.version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        (numbers.next(), numbers.next()) >= (Some(0), Some(30))
    }
}

/// The name with its tag: `latest` where it has none.
fn full_name(name: &str) -> String {
    if name.contains(':') { name.to_owned() } else { format!("{name}:latest") }
}
