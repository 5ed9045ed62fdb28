//! Ollama over HTTP: timed by the server's own clocks, believed only with their evidence.
//!
//! - [`wire`] reads the lines of a reply that the HTTP client sent and stamped, [`version`] says what a server's
//!   durations mean.
//! - [`speech`] makes prompts that no cache can have, [`judge`] decides whether a reply is what was asked for,
//!   [`session`] puts the two together and looks up evidence after each call, [`placement`] of where the model is.
//! - [`manage`] and `prepare` bring models to the server, [`process`] and [`device`] see the server from outside.
//! - [`verify`] compares log-probabilities.

pub mod device;
pub mod judge;
pub mod manage;
pub mod placement;
mod prepare;
pub mod process;
pub mod request;
pub mod served;
pub mod session;
pub mod speech;
pub mod verify;
pub mod version;
pub mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reqwest::Method;
use serde_json::json;

use self::manage::{Resident, Server, how_to_serve, same_name, what_helps, what_helps_first};
use self::process::ServerProcess;
use self::request::load_options;
use self::served::Served;
use self::session::{OllamaSession, SinceLoad};
use self::version::ServerClock;
use super::http::refusal::is_out_of_memory;
use super::http::{Client, ClientError, Exchange};
use super::load_parts::LoadParts;
use super::{
    Backend, BackendError, CallShape, CancelToken, Deadline, Description, Failure, LoadReport, Prepared, ServerFacts,
    Session, Surroundings, Tell,
};
use crate::hash::seeded;
use crate::model::{Form, ModelSource};
use crate::scenario::OllamaSettings;
use crate::terms::{Degraded, LOAD_CLOCK, Mode, Procedure};
use crate::units::{Bytes, Nanos};

/// Models a server keeps resident if nothing is set.
const RESIDENT_BY_DEFAULT: u32 = 3;

/// What a load's time is worth. Read from the server's source.
const LOAD_STEPS: &str =
    "a server looks every 250 ms whether a model that it loads is there: the times of loads are steps of that";

/// How often a server that is away is asked whether it is back.
const RETURN_POLL: Duration = Duration::from_millis(200);

/// How often it is said how long a server is still waited for.
const SAY: Duration = Duration::from_secs(10);

/// A server, asked one way.
pub struct OllamaBackend {
    name: String,
    settings: OllamaSettings,
    surroundings: Surroundings,
    found: Option<KnownServer>,
    tell: Tell,
    /// Whether a server was waited for in vain: the next load asks once.
    away: bool,
}

/// What [`Backend::describe`] found out.
#[derive(Clone)]
struct KnownServer {
    server: Server,
    version: String,
    clock: ServerClock,
    process: Option<ServerProcess>,
}

impl OllamaBackend {
    /// A server with its name in the scenario file. Connects to nobody yet.
    #[must_use]
    pub fn new(name: &str, settings: OllamaSettings, surroundings: Surroundings) -> Self {
        Self { name: name.to_owned(), settings, surroundings, found: None, tell: Box::new(|_| {}), away: false }
    }

    fn unavailable(&self, what: &str, fix: &str) -> BackendError {
        BackendError::Unavailable { backend: self.name.clone(), what: what.to_owned(), fix: fix.to_owned() }
    }

    fn look(&self) -> Result<KnownServer, BackendError> {
        let client = Client::new("ollama", &self.settings.url, self.surroundings.clock.clone())
            .map_err(|why| self.unavailable(&why, "an address such as http://127.0.0.1:11434"))?;
        let server = Server::new(Arc::new(client));
        let version = server
            .version(&CancelToken::default())
            .map_err(|error| self.unavailable(&error.to_string(), &what_helps_first(&error, &self.settings.url)))?;
        let known = version::release(&version).as_ref().and_then(version::clock);
        let clock = known.ok_or_else(|| {
            let what = format!("the server says its version is `{version}`, and what its durations cover is not known");
            self.unavailable(&what, "a released Ollama from 0.5.13 on")
        })?;
        let process = server.listener();
        Ok(KnownServer { server, version, clock, process })
    }

    fn found(&mut self) -> Result<KnownServer, BackendError> {
        if self.found.is_none() {
            self.found = Some(self.look()?);
        }
        self.found.clone().ok_or_else(|| self.unavailable("it was not found", &how_to_serve(&self.settings.url)))
    }

    fn prepare_error(&self, model: &ModelSource, why: &dyn std::fmt::Display) -> BackendError {
        let (model, backend, why) = (model.name.clone(), self.name.clone(), why.to_string());
        BackendError::Prepare { model, backend, why }
    }

    /// The server does not do what making a model ready takes: it is full, or refuses.
    fn refused_for(&self, model: &ModelSource, error: &ClientError) -> BackendError {
        self.unavailable(&format!("model `{}`: {error}", model.name), &what_helps(error, &self.settings.url))
    }

    /// Decides the order of nonces; another one in every process, so that no run repeats an earlier one's prompts.
    fn salt(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| Nanos::from(d).0);
        seeded(now, &["nonce", &std::process::id().to_string(), &self.name])
    }

    /// Finds the process again where the server was started again, and whether it is set as before.
    fn same_settings(&self, found: &mut KnownServer) -> Result<(), Failure> {
        let Some(before) = found.process.as_ref().filter(|process| !process.runs()) else { return Ok(()) };
        let now = found.server.listener();
        if let Some(what) = now.as_ref().and_then(|now| before.differs(now)) {
            let why = format!("the server was started again with other settings: {what}");
            return Err(Failure::new(Degraded::StackChanged, &why));
        }
        found.process = now;
        Ok(())
    }

    /// Waits for a server that is away, as after a restart, and says so. One that was waited for in vain is not waited for
    /// again.
    fn reachable(&mut self, found: &KnownServer, by: Deadline, cancel: &CancelToken) -> Result<(), Failure> {
        let started = Instant::now();
        let longest = if self.away { Duration::ZERO } else { by.0 };
        let mut said = None;
        loop {
            let error = match found.server.version(cancel) {
                Ok(version) if version == found.version => {
                    self.away = false;
                    return Ok(());
                }
                Ok(version) => {
                    let why = format!("the server was {} and is {version}", found.version);
                    return Err(Failure::new(Degraded::StackChanged, &why));
                }
                Err(ClientError::Cancelled) => return Err(Failure::new(Degraded::Incomplete, "cancelled")),
                Err(error) => error,
            };
            let left = longest.saturating_sub(started.elapsed());
            if left.is_zero() {
                self.away = true;
                return Err(Failure::new(Degraded::Crashed, &error.to_string()));
            }
            if said.is_none_or(|at: Instant| at.elapsed() >= SAY) {
                (self.tell)(&format!("{error}; waiting for it, {} left", Nanos::from(left)));
                said = Some(Instant::now());
            }
            cancel.wait(Deadline(RETURN_POLL.min(left)), || false);
        }
    }
}

impl OllamaBackend {
    /// Makes the server load a model, and says how long the request took.
    fn preload(
        &self,
        found: &KnownServer,
        served: &Served,
        by: Deadline,
        cancel: &CancelToken,
    ) -> Result<Nanos, Failure> {
        let options = load_options(&self.settings, served.context);
        let body = json!({ "model": served.tag, "shift": false, "keep_alive": -1, "options": options });
        let exchange = found.server.client().exchange(Method::POST, "/api/generate", Some(&body), by, cancel);
        loaded(found, &exchange, by)?;
        Ok(exchange.end.since(exchange.sent))
    }
}

impl KnownServer {
    /// A model as it is loaded now. `None`: it is not.
    fn resident(&self, tag: &str, cancel: &CancelToken) -> Result<Option<Resident>, Failure> {
        let resident = self.server.resident(cancel).map_err(|error| refused(&error))?;
        Ok(resident.into_iter().find(|model| same_name(&model.name, tag)))
    }

    /// The server's process and all below it. Empty where it is not seen.
    fn processes(&self) -> Vec<u32> {
        self.process.as_ref().map(|process| process::tree(process.pid)).unwrap_or_default()
    }
}

/// A question that the server did not answer as it should.
fn refused(error: &ClientError) -> Failure {
    Failure::new(Degraded::Error, &error.to_string())
}

impl Backend for OllamaBackend {
    fn describe(&mut self) -> Result<Description, BackendError> {
        let found = self.found()?;
        let settings = found.process.as_ref().and_then(|process| process.settings.clone());
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
        if let Some(arguments) = found.process.as_ref().and_then(|process| process.arguments.as_ref()) {
            facts.insert("server_arguments".to_owned(), arguments.join(" "));
        }
        facts.insert(LOAD_CLOCK.to_owned(), LOAD_STEPS.to_owned());
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

    fn tell(&mut self, tell: Tell) {
        self.tell = tell;
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
        let Some(served) = model.inner.downcast_ref::<Served>() else {
            return Err(Failure::new(Degraded::Error, "the model was prepared for another engine"));
        };
        let mut found = self.found().map_err(|e| Failure::new(Degraded::Crashed, &e.to_string()))?;
        let mut parts = LoadParts::begin(self.surroundings.clock.clone());
        self.reachable(&found, by, cancel)?;
        self.same_settings(&mut found)?;
        parts.end("reach_server");
        // What is resident already would make the load no load.
        if found.resident(&served.tag, cancel)?.is_some() {
            found.server.unload(&served.tag, by, cancel).map_err(|error| refused(&error))?;
            parts.end("unload_before");
        }
        let processes_before = found.processes();
        let load_ms = self.preload(&found, served, by, cancel)?.as_ms();
        parts.end("load_model");
        let own = found.resident(&served.tag, cancel)?;
        let runners = found.processes().into_iter().filter(|pid| !processes_before.contains(pid)).collect::<Vec<u32>>();
        process::add_runners(runners.iter().copied());
        let pids = found.process.as_ref().map(|process| process::ours(process.pid)).unwrap_or_default();
        let device_memory = device::memory_of(&pids);
        parts.end("look_up");
        if let Some(why) = own.as_ref().and_then(|own| served.other_size(own)) {
            return Err(Failure::new(Degraded::StackChanged, &why));
        }
        let mut attribution =
            placement::attribution(self.settings.device, &found.version, &found.clock, own.as_ref(), device_memory);
        attribution.evidence.shown.extend(process_facts(found.process.as_ref(), &runners));
        self.found = Some(found.clone());
        served.history.borrow_mut().load_ms = Some(load_ms);
        Ok(Box::new(OllamaSession {
            backend: self.name.clone(),
            settings: self.settings.clone(),
            server: found.server,
            process: found.process,
            version: found.version,
            clock: found.clock,
            model: served.clone(),
            report: LoadReport {
                parts: parts.ended(),
                attribution,
                host_rss_before: None,
                host_rss_after: process::resident(&pids),
                device_bytes: device_memory.map(Bytes),
                proof: None,
            },
            since_load: SinceLoad::default(),
            cancel: cancel.clone(),
        }))
    }
}

/// Which processes did a load: of the server, and those that appeared below it.
fn process_facts(server: Option<&ServerProcess>, runners: &[u32]) -> BTreeMap<String, String> {
    let server = server.map(|process| format!("{}, started at tick {} since boot", process.pid, process.started));
    let runners: Vec<String> = runners.iter().map(u32::to_string).collect();
    let runners = Some(runners.join(" ")).filter(|runners| !runners.is_empty());
    let named = [("server.process", server), ("runner.process", runners)];
    named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Whether a preload did what it says.
fn loaded(found: &KnownServer, exchange: &Exchange, by: Deadline) -> Result<(), Failure> {
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
