//! Ollama over HTTP: timed by the server's own clocks, believed only with their evidence.
//!
//! - [`wire`] reads the lines of a reply that the HTTP client sent and stamped, [`version`] says what a server's
//!   durations mean.
//! - [`speech`] makes prompts that no cache can have, [`judge`] decides whether a reply is what was asked for,
//!   [`session`] puts the two together and looks up evidence after each call.
//! - [`manage`] and `prepare` bring models to the server, [`process`] and [`device`] see the server from outside.
//! - [`verify`] compares log-probabilities.

pub mod device;
pub mod judge;
pub mod manage;
mod prepare;
pub mod process;
pub mod session;
pub mod speech;
pub mod verify;
pub mod version;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reqwest::Method;
use serde_json::json;

use self::manage::{NAMESPACE, Server, same_name};
use self::session::{OllamaSession, Served, load_options};
use self::version::ServerClock;
use super::http::refusal::is_out_of_memory;
use super::http::{Client, ClientError, Exchange};
use super::{
    Backend, BackendError, CallShape, CancelToken, Deadline, Description, Failure, LoadReport, Prepared, ServerFacts,
    Session, Surroundings, text,
};
use crate::hash::seeded;
use crate::model::{Form, ModelSource};
use crate::scenario::OllamaSettings;
use crate::terms::{Degraded, Mode, Procedure};
use crate::units::{Bytes, Nanos};

/// Models a server keeps resident if nothing is set.
const RESIDENT_BY_DEFAULT: u32 = 3;

/// How often a server that is away is asked whether it is back.
const RETURN_POLL: Duration = Duration::from_millis(200);

/// A server, asked one way.
pub struct OllamaBackend {
    name: String,
    settings: OllamaSettings,
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
    pub fn new(name: &str, settings: OllamaSettings, surroundings: Surroundings) -> Self {
        Self { name: name.to_owned(), settings, surroundings, found: None }
    }

    fn unavailable(&self, what: &str, fix: &str) -> BackendError {
        BackendError::Unavailable { backend: self.name.clone(), what: what.to_owned(), fix: fix.to_owned() }
    }

    fn look(&self) -> Result<Found, BackendError> {
        let client = Client::new("ollama", &self.settings.url, self.surroundings.clock.clone())
            .map_err(|why| self.unavailable(&why, "an address such as http://127.0.0.1:11434"))?;
        let server = Server::new(Arc::new(client));
        let version = server
            .version(&CancelToken::default())
            .map_err(|error| self.unavailable(&error.to_string(), "ollama serve   (check with: phasebench doctor)"))?;
        let known = version::release(&version).as_ref().and_then(version::clock);
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

impl Backend for OllamaBackend {
    fn describe(&mut self) -> Result<Description, BackendError> {
        let found = self.found()?;
        let settings = found.pid.and_then(process::settings);
        let mut facts = BTreeMap::from([
            ("clock".to_owned(), found.clock.row.to_owned()),
            ("device".to_owned(), self.settings.device.as_str().to_owned()),
            ("num_ctx".to_owned(), self.settings.num_ctx.to_string()),
            ("num_batch".to_owned(), self.settings.num_batch.to_string()),
            (
                "num_thread".to_owned(),
                self.settings.threads.map_or_else(|| "the server's choice".to_owned(), |n| n.to_string()),
            ),
            ("temperature".to_owned(), self.settings.temperature.to_string()),
            ("server_settings".to_owned(), if settings.is_some() { "known" } else { "unknown" }.to_owned()),
        ]);
        let server = ServerFacts { clock: found.clock.row.to_owned(), settings: settings.clone() };
        let set = settings.unwrap_or_default();
        let kept = set.get("OLLAMA_MAX_LOADED_MODELS").and_then(|n| n.parse().ok()).filter(|&n: &u32| n > 0);
        facts.extend(set.into_iter().map(|(name, value)| (format!("env.{name}"), value)));
        Ok(Description {
            engine: "Ollama".to_owned(),
            version: Some(found.version.clone()),
            facts,
            library: None,
            server: Some(server),
            // More than the server keeps would be unloaded behind our back.
            max_resident: [self.settings.max_resident, kept].into_iter().flatten().min().or(Some(RESIDENT_BY_DEFAULT)),
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

    fn load(
        &mut self,
        model: &Prepared,
        _shapes: &[CallShape],
        by: Deadline,
        cancel: &CancelToken,
    ) -> Result<Box<dyn Session>, Failure> {
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
        if let Some(pid) = found.pid.filter(|&pid| !process::is_running(pid)) {
            // A server that was restarted is another process.
            found.pid = found.server.client().url().port_or_known_default().and_then(process::listener).or(Some(pid));
        }
        part("reach_server", &mut parts);
        let listed = found.server.resident(cancel).map_err(|e| error(&e))?;
        if listed.iter().any(|resident| same_name(&resident.name, &served.tag)) {
            found.server.unload(&served.tag, by, cancel).map_err(|e| error(&e))?;
            part("unload_before", &mut parts);
        }
        let body = json!({
            "model": served.tag, "shift": false, "keep_alive": -1, "options": load_options(&self.settings, served.context),
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
            session::attribution(self.settings.device, &found.version, &found.clock, own, others, device_memory);
        self.found = Some(found.clone());
        served.history.borrow_mut().load_ms = Some(load_ms);
        Ok(Box::new(OllamaSession {
            backend: self.name.clone(),
            settings: self.settings.clone(),
            server: found.server,
            server_pid: found.pid,
            version: found.version,
            clock: found.clock,
            model: served.clone(),
            shapes: BTreeSet::new(),
            report: LoadReport {
                parts,
                attribution,
                host_rss_before: None,
                host_rss_after: process::resident(&pids),
                device_bytes: device_memory.map(Bytes),
            },
        }))
    }
}

/// Whether a preload did what it says.
fn loaded(found: &Found, exchange: &Exchange, by: Deadline) -> Result<(), Failure> {
    match found.server.client().succeeded("/api/generate", exchange, by) {
        Ok(_) => {}
        Err(ClientError::Cancelled) => return Err(Failure::new(Degraded::Incomplete, "cancelled")),
        Err(error @ ClientError::TimedOut { .. }) => return Err(Failure::new(Degraded::Timeout, &error.to_string())),
        Err(error) => {
            let why = error.to_string();
            let kind = if is_out_of_memory(&why) { Degraded::Oom } else { Degraded::Error };
            return Err(Failure::new(kind, &why));
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
