//! Ollama over HTTP: timed by the server's own clocks, believed only with their evidence.
//!
//! - [`client`] sends and stamps, [`wire`] reads a reply's lines, [`version`] says what a server's durations mean.
//! - [`speech`] makes prompts that no cache can have, [`judge`] decides whether a reply is what was asked for,
//!   [`session`] puts the two together and looks up evidence after each call.
//! - [`manage`] brings models to the server, [`process`] and [`device`] see the server from outside.
//! - [`verify`] compares log-probabilities.
//!
//! Async code stays in [`client`]: everything else waits for it and is synchronous.

pub mod client;
pub mod device;
pub mod judge;
pub mod manage;
pub mod process;
pub mod session;
pub mod speech;
pub mod text;
pub mod verify;
pub mod version;
pub mod wire;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reqwest::Method;
use serde_json::json;

use self::client::{Client, ClientError};
use self::judge::History;
use self::manage::{NAMESPACE, Server, Shown, same_name};
use self::session::{OllamaSession, Served, load_options};
use self::speech::{Speech, Tokens, Words};
use self::version::{ServerClock, Version};
use super::{
    Backend, BackendError, CancelToken, Deadline, Description, Failure, LoadReport, Prepared, Session, Surroundings,
};
use crate::hash::seeded;
use crate::model::{self, Form, ModelSource, Precision, gguf};
use crate::spec::{Dtype, OllamaSpec};
use crate::terms::{Degraded, Mode, Procedure};
use crate::units::{Bytes, Nanos};

/// Models a server keeps resident if nothing is set.
const RESIDENT_BY_DEFAULT: u32 = 3;

/// How often a server that is away is asked whether it is back.
const RETURN_POLL: Duration = Duration::from_millis(200);

/// A server, asked one way.
pub struct OllamaBackend {
    name: String,
    spec: OllamaSpec,
    surroundings: Surroundings,
    found: Option<Found>,
}

/// What [`Backend::describe`] found out.
#[derive(Clone)]
struct Found {
    server: Server,
    version: String,
    clock: ServerClock,
    pid: Option<u32>,
}

impl OllamaBackend {
    /// A server with its name in the scenario file. Connects to nobody yet.
    #[must_use]
    pub fn new(name: &str, spec: OllamaSpec, surroundings: Surroundings) -> Self {
        Self { name: name.to_owned(), spec, surroundings, found: None }
    }

    fn unavailable(&self, what: &str, fix: &str) -> BackendError {
        BackendError::Unavailable { backend: self.name.clone(), what: what.to_owned(), fix: fix.to_owned() }
    }

    fn look(&self) -> Result<Found, BackendError> {
        let client = Client::new(&self.spec.url, self.surroundings.clock.clone())
            .map_err(|why| self.unavailable(&why, "an address such as http://127.0.0.1:11434"))?;
        let server = Server::new(Arc::new(client));
        let version = server
            .version(&CancelToken::default())
            .map_err(|error| self.unavailable(&error.to_string(), "ollama serve   (check with: phasebench doctor)"))?;
        let known = Version::parse(&version).and_then(version::clock);
        let clock = known.ok_or_else(|| {
            let what = format!("the server says its version is `{version}`, and what its durations cover is not known");
            self.unavailable(&what, "a released Ollama from 0.5.13 on")
        })?;
        let url = server.client().url();
        let local =
            url.host_str().is_some_and(|host| host == "localhost" || host.starts_with("127.") || host == "[::1]");
        let pid = url.port_or_known_default().filter(|_| local).and_then(process::listener);
        Ok(Found { server, version, clock, pid })
    }

    fn found(&mut self) -> Result<Found, BackendError> {
        if self.found.is_none() {
            self.found = Some(self.look()?);
        }
        self.found.clone().ok_or_else(|| self.unavailable("it was not found", "ollama serve"))
    }

    fn prepare_error(&self, model: &ModelSource, why: &dyn std::fmt::Display) -> BackendError {
        let (model, backend, why) = (model.name.clone(), self.name.clone(), why.to_string());
        BackendError::Prepare { model, backend, why }
    }

    /// Brings a folder's weights to the server, unless they are there, and checks that it counts the same parameters.
    fn prepare_folder(&self, found: &Found, model: &ModelSource) -> Result<Prepared, BackendError> {
        let failed = |why: &dyn std::fmt::Display| self.prepare_error(model, why);
        let cache = &self.surroundings.cache;
        let folder = model::materialise(&model.form, cache).map_err(|e| failed(&e))?;
        let precision = match self.spec.dtype {
            Dtype::F16 => Precision::F16,
            Dtype::F32 | Dtype::AsServed => Precision::F32,
        };
        let exported = gguf::export(&folder, precision, cache).map_err(|e| failed(&e))?;
        let tag =
            format!("{NAMESPACE}{}:{}-{}", tag_name(&model.name), self.spec.dtype.as_str(), &exported.sha256[..12]);
        let cancel = CancelToken::default();
        if found.server.digest(&tag, &cancel).map_err(|e| failed(&e))?.is_none() {
            found.server.create(&tag, &exported.path, &exported.sha256, &cancel).map_err(|e| failed(&e))?;
        }
        let missing = || failed(&format!("the server took `{tag}` and does not have it"));
        let shown = found.server.show(&tag, &cancel).map_err(|e| failed(&e))?.ok_or_else(missing)?;
        let params = folder.parameters();
        if shown.params != Some(params) {
            let counted = shown.params.map_or_else(|| "none".to_owned(), |n| n.to_string());
            return Err(failed(&format!("the server counts {counted} parameters in `{tag}`, the folder has {params}")));
        }
        let architecture = folder.architecture().clone();
        let tokens = Tokens::new(folder.tokenizer().map_err(|e| failed(&e))?, &architecture, self.salt());
        let served = self.served(&tag, &shown, Speech::Tokenizer(Box::new(tokens))).map_err(|why| failed(&why))?;
        Ok(Prepared {
            model: model.name.clone(),
            weights_id: folder.weights_id().map_err(|e| failed(&e))?,
            dtype: self.spec.dtype,
            params: Some(params),
            bytes: Some(Bytes(exported.bytes)),
            path: Some(exported.path),
            shape: None,
            quantisation: shown.quantisation.clone(),
            inner: Box::new(served),
        })
    }

    /// A model that the server has and nobody else.
    fn prepare_served(&self, found: &Found, model: &ModelSource, tag: &str) -> Result<Prepared, BackendError> {
        let failed = |why: &dyn std::fmt::Display| self.prepare_error(model, why);
        let cancel = CancelToken::default();
        let shown = found.server.show(tag, &cancel).map_err(|e| failed(&e))?;
        let Some(shown) = shown else {
            let what = format!("the server at {} has no model `{tag}`", found.server.client().url());
            return Err(self.unavailable(&what, &format!("ollama pull {tag}")));
        };
        if shown.remote {
            return Err(failed(&format!("`{tag}` runs on another machine")));
        }
        let digest = found.server.digest(tag, &cancel).map_err(|e| failed(&e))?;
        let digest = digest.ok_or_else(|| failed(&format!("the server lists no digest of `{tag}`")))?;
        let words = self.words(found, tag, &shown, &cancel).map_err(|why| failed(&why))?;
        let served = self.served(tag, &shown, Speech::Words(words)).map_err(|why| failed(&why))?;
        Ok(Prepared {
            model: model.name.clone(),
            weights_id: format!("ollama-{}", digest.chars().take(16).collect::<String>()),
            dtype: Dtype::AsServed,
            params: shown.params,
            bytes: None,
            path: None,
            shape: Some(shape(&shown)),
            quantisation: shown.quantisation.clone(),
            inner: Box::new(served),
        })
    }

    fn served(&self, tag: &str, shown: &Shown, speech: Speech) -> Result<Served, String> {
        let format = shown.format.as_deref().unwrap_or_default();
        let engine = version::Engine::of_format(format).ok_or_else(|| {
            format!("`{tag}` is stored as `{format}`, whose decode clock is not known; known: gguf, safetensors")
        })?;
        let longest = shown.context_length.and_then(|n| u32::try_from(n).ok()).unwrap_or(self.spec.num_ctx);
        Ok(Served {
            tag: tag.to_owned(),
            engine,
            context: self.spec.num_ctx.min(longest),
            speech: Rc::new(RefCell::new(speech)),
            nonces: Rc::new(Cell::new(0)),
        })
    }

    /// Finds words that the server counts as one token each, by asking it to count.
    fn words(&self, found: &Found, tag: &str, shown: &Shown, cancel: &CancelToken) -> Result<Words, String> {
        let speech = Speech::Words(Words::new(Vec::new(), 0));
        let served = self.served(tag, shown, speech)?;
        let count = |words: &[&str]| -> Result<u32, String> {
            let body = session::request(&self.spec, &served, &words.join(" "), 1, 1);
            let by = Deadline(Duration::from_secs(600));
            let exchange = found.server.client().exchange(Method::POST, "/api/generate", Some(&body), by, cancel);
            found.server.client().succeeded("/api/generate", &exchange, by).map_err(|e| e.to_string())?;
            let metrics = wire::read(exchange.lines()).metrics.and_then(|metrics| metrics.prompt_eval_count);
            metrics.ok_or_else(|| format!("`{tag}` does not say how many tokens a prompt has"))
        };
        let first = COMMON_WORDS[0];
        let alone = count(&[first])?;
        let added = (2 * alone).saturating_sub(count(&[first, first])?);
        if alone != added + 1 {
            return Err(format!("`{tag}` counts `{first}` as {} tokens", alone.saturating_sub(added)));
        }
        let mut single = Vec::new();
        keep_single(&COMMON_WORDS[1..], alone, &mut |words| count(&[&[first], words].concat()), &mut single)?;
        if single.len() < 16 {
            return Err(format!(
                "`{tag}` counts only {} of {} common words as one token",
                single.len(),
                COMMON_WORDS.len()
            ));
        }
        let words = std::iter::once(first).chain(single).map(str::to_owned).collect();
        Ok(Words::new(words, added))
    }

    /// Decides the order of nonces; another one in every process, so that no run repeats an earlier one's prompts.
    fn salt(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| Nanos::from(d).0);
        seeded(now, &["nonce", &std::process::id().to_string(), &self.name])
    }

    /// Waits for a server that is away, as after a restart.
    fn reachable(&self, found: &Found, by: Deadline, cancel: &CancelToken) -> Result<(), Failure> {
        let started = Instant::now();
        loop {
            match found.server.version(cancel) {
                Ok(version) if version == found.version => return Ok(()),
                Ok(version) => {
                    let why = format!("the server was {} and is {version}", found.version);
                    return Err(Failure::new(Degraded::StackChanged, &why));
                }
                Err(ClientError::Cancelled) => return Err(Failure::new(Degraded::Incomplete, "cancelled")),
                Err(error) if started.elapsed() >= by.0 => {
                    return Err(Failure::new(Degraded::Crashed, &error.to_string()));
                }
                Err(_) => drop(cancel.wait(Deadline(RETURN_POLL), || false)),
            }
        }
    }
}

/// Common words, short ones: one token each in nearly every vocabulary.
const COMMON_WORDS: [&str; 64] = [
    "the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "was", "with", "be", "by", "on", "not", "he",
    "his", "but", "at", "are", "this", "have", "from", "or", "had", "an", "they", "which", "one", "you", "were", "all",
    "her", "she", "there", "would", "their", "we", "him", "been", "has", "when", "who", "will", "no", "more", "if",
    "out", "so", "up", "said", "what", "its", "about", "than", "into", "them", "can", "only", "other", "time", "new",
    "some",
];

/// Keeps the words that count as one token each after the first word, halving where a group does not add up.
fn keep_single<'a>(
    words: &[&'a str],
    before: u32,
    count: &mut dyn FnMut(&[&str]) -> Result<u32, String>,
    kept: &mut Vec<&'a str>,
) -> Result<(), String> {
    if words.is_empty() {
        return Ok(());
    }
    if usize::try_from(count(words)?.saturating_sub(before)) == Ok(words.len()) {
        kept.extend(words);
    } else if words.len() > 1 {
        let (left, right) = words.split_at(words.len() / 2);
        keep_single(left, before, count, kept)?;
        keep_single(right, before, count, kept)?;
    }
    Ok(())
}

/// A model's name as a tag may hold it.
fn tag_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c.to_ascii_lowercase() } else { '-' }).collect()
}

fn shape(shown: &Shown) -> super::Shape {
    super::Shape {
        architecture: shown.architecture.clone(),
        n_layer: shown.n_layer,
        n_embd: shown.n_embd,
        n_head: shown.n_head,
        n_kv_head: shown.n_kv_head,
        n_positions: shown.context_length,
    }
}

impl Backend for OllamaBackend {
    fn describe(&mut self) -> Result<Description, BackendError> {
        let found = self.found()?;
        let settings = found.pid.and_then(process::settings);
        let mut facts = BTreeMap::from([
            ("clock".to_owned(), found.clock.row.to_owned()),
            ("device".to_owned(), self.spec.device.as_str().to_owned()),
            ("num_ctx".to_owned(), self.spec.num_ctx.to_string()),
            ("num_batch".to_owned(), self.spec.num_batch.to_string()),
            (
                "num_thread".to_owned(),
                self.spec.threads.map_or_else(|| "the server's choice".to_owned(), |n| n.to_string()),
            ),
            ("temperature".to_owned(), self.spec.temperature.to_string()),
            ("server_settings".to_owned(), if settings.is_some() { "known" } else { "unknown" }.to_owned()),
        ]);
        let set = settings.unwrap_or_default();
        let kept = set.get("OLLAMA_MAX_LOADED_MODELS").and_then(|n| n.parse().ok()).filter(|&n: &u32| n > 0);
        facts.extend(set.into_iter().map(|(name, value)| (format!("env.{name}"), value)));
        Ok(Description {
            engine: "Ollama".to_owned(),
            version: Some(found.version.clone()),
            facts,
            max_resident: Some(self.spec.max_resident.or(kept).unwrap_or(RESIDENT_BY_DEFAULT)),
            boundary: boundary(&found.clock),
            procedures: vec![Procedure::Prefill, Procedure::PrefillDecode],
            token_times: false,
            virtual_clock: false,
        })
    }

    fn prepare(&mut self, model: &ModelSource) -> Result<Prepared, BackendError> {
        let found = self.found()?;
        let prepared = match &model.form {
            Form::Served(tag) => self.prepare_served(&found, model, tag)?,
            Form::Synthetic(_) | Form::Folder(_) => self.prepare_folder(&found, model)?,
        };
        // What an earlier run left resident would make the first load no load.
        if let Some(served) = prepared.inner.downcast_ref::<Served>() {
            let by = Deadline(Duration::from_secs(60));
            let unloaded = found.server.unload(&served.tag, by, &CancelToken::default());
            unloaded.map_err(|e| self.prepare_error(model, &e))?;
        }
        Ok(prepared)
    }

    fn load(&mut self, model: &Prepared, by: Deadline, cancel: &CancelToken) -> Result<Box<dyn Session>, Failure> {
        let error = |why: &dyn std::fmt::Display| Failure::new(Degraded::Error, &why.to_string());
        let Some(served) = model.inner.downcast_ref::<Served>() else {
            return Err(error(&"the model was prepared for another engine"));
        };
        let mut found = self.found().map_err(|e| Failure::new(Degraded::Crashed, &e.to_string()))?;
        let clock = self.surroundings.clock.clone();
        let mut parts = Vec::new();
        let mut mark = clock.now();
        let mut part = |name: &str, parts: &mut Vec<(String, Nanos)>| {
            let now = clock.now();
            parts.push((name.to_owned(), now.since(mark)));
            mark = now;
        };
        self.reachable(&found, by, cancel)?;
        if let Some(pid) = found.server.client().url().port_or_known_default().filter(|_| found.pid.is_some()) {
            // A server that was restarted is another process.
            found.pid = process::listener(pid);
        }
        part("reach_server", &mut parts);
        let listed = found.server.resident(cancel).map_err(|e| error(&e))?;
        if listed.iter().any(|resident| same_name(&resident.name, &served.tag)) {
            found.server.unload(&served.tag, by, cancel).map_err(|e| error(&e))?;
            part("unload_before", &mut parts);
        }
        let body = json!({
            "model": served.tag, "shift": false, "keep_alive": -1, "options": load_options(&self.spec, served.context),
        });
        let exchange = found.server.client().exchange(Method::POST, "/api/generate", Some(&body), by, cancel);
        loaded(&found, &exchange, by)?;
        let load_ms = exchange.end.since(exchange.sent).as_ms();
        part("load_model", &mut parts);
        let resident = found.server.resident(cancel).map_err(|e| error(&e))?;
        let own = resident.iter().find(|resident| same_name(&resident.name, &served.tag));
        let others = resident.iter().filter(|resident| !resident.name.starts_with(NAMESPACE)).count();
        let pids = found.pid.map(process::tree).unwrap_or_default();
        let device_memory = device::memory_of(&pids);
        part("look_up", &mut parts);
        let attribution =
            session::attribution(self.spec.device, &found.version, &found.clock, own, others, device_memory);
        self.found = Some(found.clone());
        Ok(Box::new(OllamaSession {
            backend: self.name.clone(),
            spec: self.spec.clone(),
            server: found.server,
            server_pid: found.pid,
            version: found.version,
            clock: found.clock,
            model: served.clone(),
            history: History { load_ms: Some(load_ms), calls: Vec::new() },
            report: LoadReport {
                parts,
                attribution,
                host_rss_before: None,
                host_rss_after: process::resident(&pids).map(Bytes),
                device_bytes: device_memory.map(Bytes),
            },
        }))
    }
}

/// Whether a preload did what it says.
fn loaded(found: &Found, exchange: &client::Exchange, by: Deadline) -> Result<(), Failure> {
    match found.server.client().succeeded("/api/generate", exchange, by) {
        Ok(_) => {}
        Err(ClientError::Cancelled) => return Err(Failure::new(Degraded::Incomplete, "cancelled")),
        Err(error @ ClientError::TimedOut { .. }) => return Err(Failure::new(Degraded::Timeout, &error.to_string())),
        Err(error) => {
            let why = error.to_string();
            let memory = ["out of memory", "out-of-memory", "cudaMalloc failed"].iter().any(|text| why.contains(text));
            return Err(Failure::new(if memory { Degraded::Oom } else { Degraded::Error }, &why));
        }
    }
    let stream = wire::read(exchange.lines());
    let reason = stream.metrics.and_then(|metrics| metrics.done_reason);
    match (stream.error, reason.as_deref()) {
        (Some(error), _) => Err(Failure::new(Degraded::Error, &error)),
        (None, Some("load")) => Ok(()),
        (None, reason) => {
            let why = format!("the server answers a load with `{}` instead of `load`", reason.unwrap_or("nothing"));
            Err(Failure::new(Degraded::Error, &why))
        }
    }
}

/// What lies between the two clock readings of each mode, by the server's version.
fn boundary(clock: &ServerClock) -> BTreeMap<Mode, String> {
    let left_out = "HTTP, the prompt's text and JSON left out";
    [
        (Mode::Prefill, format!("the server's `prompt_eval_duration` ({}): {}; {left_out}", clock.row, clock.prefill)),
        (
            Mode::KvDecode,
            format!(
                "the server's `eval_duration` ({}): {}; the first token falls out of the prefill; {left_out}",
                clock.row, clock.decode
            ),
        ),
        (Mode::E2eKv, "prefill and kv_decode added up".to_owned()),
    ]
    .into()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn words_of_more_than_one_token_are_left_out() {
        let words = ["a", "bb", "c", "ddd", "e"];
        let mut asked = 0;
        let mut count = |words: &[&str]| {
            asked += 1;
            Ok(2 + words.iter().map(|word| u32::try_from(word.len()).unwrap()).sum::<u32>())
        };
        let mut kept = Vec::new();
        keep_single(&words, 2, &mut count, &mut kept).unwrap();
        assert_eq!(kept, ["a", "c", "e"]);
        assert!(asked <= 9, "{asked}");
    }

    #[test]
    fn names_become_tags() {
        assert_eq!(tag_name("GPT2_25m.v1"), "gpt2-25m-v1");
    }
}
