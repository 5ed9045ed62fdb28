//! Engines in another process, behind the worker protocol (`backends/proto/worker.proto`, `docs/worker-protocol.md`).
//!
//! - [`launch`] starts workers, each under a keeper ([`supervise`]) and in a private folder ([`folder`]);
//!   [`start`] waits until one answers and maps its [`clock`], [`mod@load`] brings a model into it.
//! - [`connection`] carries messages, [`protocol`] is their generated code, [`settings`], [`planned`] and [`reply`] translate,
//!   [`evidence`] holds a compiler's counts against what was asked for, [`session`] is a loaded model.
//! - [`torch`] finds the torch worker; [`serve`] is the other end: our own engines as a worker.
//! - `programs` says which program a worker is, by where it comes from; [`check`] tries a worker rule by rule.
//!
//! One thread ([`io`]) owns all connections and children, so that they are served between calls too. Everything else
//! waits for it and is synchronous.

pub mod check;
pub mod clock;
pub mod connection;
pub mod evidence;
pub mod folder;
pub mod io;
pub mod launch;
pub mod load;
pub mod planned;
mod programs;
pub mod reply;
pub mod serve;
pub mod session;
pub mod settings;
pub mod start;
pub mod supervise;
pub mod text;
pub mod torch;
pub mod words;

pub use phasebench_proto as protocol;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::clock::Pace;
use self::io::Io;
use self::launch::connect::ConnectLauncher;
use self::launch::docker::DockerLauncher;
use self::launch::process::{ProcessLauncher, Program, Transport};
use self::launch::{Address, Launcher};
use self::load::{Wanted, describe, end, load};
use self::session::WorkerSession;
use self::settings::{Origin, Workers};
use self::start::{Start, Trouble, interest};
use self::text::{clean, map};
use super::cancel::Waited;
use super::onnx::library::source::find;
use super::onnx::library::{LibraryError, whole};
use super::{
    Backend, BackendError, CallShape, CancelToken, Deadline, Description, Failure, Prepared, Session, Surroundings,
    Tell,
};
use crate::model::{self, ModelSource};
use crate::scenario::{Provider, RuntimeSource};
use crate::terms::{Degraded, Dtype, Mode, Procedure};
use crate::units::Bytes;

/// How long a worker may take to say what it is: a cold disk takes minutes to give torch.
const DESCRIBED_WITHIN: Duration = Duration::from_secs(180);

/// How long somebody else's worker may be away.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the thread may take beyond a deadline to say that it passed.
const GRACE: Duration = Duration::from_secs(15);

/// How long a worker that is given up while it loads may take to be gone, with its container.
const ENDED_WITHIN: Duration = Duration::from_secs(60);

/// An engine behind the worker protocol.
pub struct WorkerBackend {
    name: String,
    workers: Workers,
    surroundings: Surroundings,
    /// This program's file, whose commands keep and serve workers. `None`: it cannot be told.
    program: Option<PathBuf>,
    /// How messages travel to workers that are started here. `None`: as the environment asks.
    transport: Option<Transport>,
    /// Who hears of what need not stop anything. `None`: nobody.
    tell: Option<Tell>,
    opened: Option<Opened>,
}

/// What workers are started with.
struct Opened {
    io: Arc<Io>,
    start: Arc<Start>,
}

/// What [`WorkerBackend::prepare`] makes and [`WorkerBackend::load`] takes.
struct Folder {
    path: PathBuf,
    weights_id: String,
    /// Tokens that the model knows.
    vocabulary: usize,
}

impl WorkerBackend {
    /// An engine with its name in the scenario file. Starts nothing yet.
    #[must_use]
    pub fn new(name: &str, workers: Workers, surroundings: &Surroundings) -> Self {
        Self {
            name: name.to_owned(),
            workers,
            surroundings: surroundings.clone(),
            program: std::env::current_exe().ok(),
            transport: None,
            tell: None,
            opened: None,
        }
    }

    /// Another program file than the one that runs, for one that is not phasebench itself.
    #[must_use]
    pub fn with_program(mut self, program: &Path) -> Self {
        self.program = Some(program.to_owned());
        self
    }

    fn opened(&mut self) -> Result<&Opened, Trouble> {
        if self.opened.is_none() {
            self.opened = Some(self.open()?);
        }
        self.opened.as_ref().ok_or_else(|| Trouble::new(Degraded::Error, "no worker was opened".to_owned()))
    }

    fn open(&self) -> Result<Opened, Trouble> {
        let launcher = self.launcher()?;
        let failed = |what: &str, error: std::io::Error| Trouble::new(Degraded::Error, format!("{what}: {error}"));
        let folder = self.surroundings.workers.folder().map_err(|e| failed("no private folder for workers", e))?;
        let compiler_cache =
            folder.compiler_cache(&self.name).map_err(|e| failed("no private folder for compilers", e))?;
        let io = Io::start().map_err(|e| failed("no thread for workers", e))?;
        let start = Start {
            launcher,
            ours: self.workers.origin.is_ours(),
            patience: PATIENCE,
            folder,
            compiler_cache,
            clock: self.surroundings.clock.clone(),
        };
        Ok(Opened { io: Arc::new(io), start: Arc::new(start) })
    }

    /// What starts the workers of this engine.
    fn launcher(&self) -> Result<Box<dyn Launcher>, Trouble> {
        match &self.workers.origin {
            Origin::Address { address, token_env } => {
                Ok(Box::new(ConnectLauncher::new(address, token_env.as_deref())?))
            }
            Origin::TorchContainer { image, resources, device } => {
                let cache = &self.surroundings.cache;
                Ok(Box::new(match image {
                    None => DockerLauncher::installed(cache, *resources, *device)?,
                    Some(image) => DockerLauncher::of_others(cache, image, *resources, *device),
                }))
            }
            Origin::TorchProcess => self.process(programs::torch(&self.surroundings.cache)?),
            Origin::TorchVersion(version) => self.process(programs::torch_version(&self.surroundings.cache, version)?),
            Origin::TorchPython(python) => self.process(programs::torch_beside(&self.surroundings.cache, python)?),
            Origin::OurOnnx { source, provider } => self.process(self.our_onnx(source, *provider)?),
            Origin::Command(command) => self.process(programs::of_others(command)?),
        }
    }

    /// Our own worker, told which library it is to load where that is not the selected one.
    fn our_onnx(&self, source: &RuntimeSource, provider: Provider) -> Result<Program, Trouble> {
        let cache = &self.surroundings.cache;
        let mut arguments = ["worker", "onnx"].map(OsString::from).to_vec();
        if *source != RuntimeSource::Selected {
            let unusable =
                |error: LibraryError| Trouble { kind: Degraded::Error, what: error.to_string(), fix: error.fix() };
            let path = find(cache, source, provider).and_then(whole).map_err(unusable)?;
            arguments.extend(["--library".into(), path.into_os_string()]);
        }
        Ok(Program {
            program: self.program()?,
            arguments,
            environment: vec![("PHASEBENCH_CACHE".to_owned(), cache.clone().into())],
            facts: BTreeMap::from([("launch".to_owned(), "process: phasebench worker onnx".to_owned())]),
        })
    }

    fn process(&self, program: Program) -> Result<Box<dyn Launcher>, Trouble> {
        let (keeper, transport) = (self.program()?, self.transport.map_or_else(Transport::asked, Ok)?);
        Ok(Box::new(ProcessLauncher { keeper, program, transport }))
    }

    fn program(&self) -> Result<PathBuf, Trouble> {
        self.program.clone().ok_or_else(|| {
            Trouble::new(Degraded::Error, "the system does not tell which file this program is".to_owned())
        })
    }

    fn unavailable(&self, trouble: Trouble) -> BackendError {
        let fix = if trouble.fix.is_empty() { "phasebench doctor".to_owned() } else { trouble.fix };
        BackendError::Unavailable { backend: self.name.clone(), what: trouble.what, fix }
    }

    /// Says what is waited for where somebody else's worker does not listen yet.
    fn tell_of_waiting(&self) {
        let (Some(tell), Origin::Address { address, .. }) = (&self.tell, &self.workers.origin) else { return };
        // One that cannot be read is told as an error.
        if address.parse::<Address>().is_ok_and(|place| !listens_now(&place)) {
            tell(&format!("nothing listens at {address} yet: waiting {} s for the worker", PATIENCE.as_secs()));
        }
    }

    fn look(&mut self) -> Result<Description, Trouble> {
        self.tell_of_waiting();
        let settings = self.workers.settings.clone();
        let opened = self.opened()?;
        let start = opened.start.clone();
        let looked = opened.io.wait(async move {
            let until = Instant::now() + DESCRIBED_WITHIN;
            let (_interest, mut awaited) = interest();
            let live = start.start(None, until, &mut awaited).await?;
            let described = describe(&live, settings, until).await;
            let facts = live.running.lock().await.facts();
            end(&live, &start).await;
            Ok::<_, Trouble>((described?, start::facts(&live, facts), live.mapping, live.who))
        });
        let gone = || Trouble::new(Degraded::Error, "the thread that talks to workers is gone".to_owned());
        let (reply, about_worker, mapping, who) = looked.ok_or_else(gone)??;
        if let (true, Some(tell)) = (mapping.disagrees, &self.tell) {
            tell(&format!(
                "backend `{}`: the worker says that its clock is this kernel's, and its readings lie outside their round \
                 trips: its times count as reconstructed",
                self.name
            ));
        }
        let mut facts = map(reply.facts);
        facts.extend(about_worker);
        Ok(Description {
            engine: clean(&reply.engine),
            version: Some(clean(&reply.engine_version)).filter(|version| !version.is_empty()),
            facts,
            library: None,
            server: None,
            max_resident: self.workers.origin.max_resident(),
            boundary: boundary(reply.boundary),
            procedures: who.capabilities.procedures().filter_map(procedure).collect(),
            token_times: who.capabilities.step_times,
            virtual_clock: false,
        })
    }
}

/// Whether somebody listens at an address of this machine.
fn listens_now(address: &Address) -> bool {
    const AT_ONCE: Duration = Duration::from_secs(1);
    match address {
        Address::Unix(path) => UnixStream::connect(path).is_ok(),
        Address::Tcp(address) => TcpStream::connect_timeout(address, AT_ONCE).is_ok(),
    }
}

impl Backend for WorkerBackend {
    fn describe(&mut self) -> Result<Description, BackendError> {
        self.look().map_err(|trouble| self.unavailable(trouble))
    }

    fn tell(&mut self, tell: Tell) {
        self.tell = Some(tell);
    }

    fn prepare(&mut self, model: &ModelSource) -> Result<Prepared, BackendError> {
        let failed = |why: &dyn std::fmt::Display| BackendError::Prepare {
            model: model.name.clone(),
            backend: self.name.clone(),
            why: why.to_string(),
        };
        let folder = model::materialise(&model.form, &self.surroundings.cache).map_err(|e| failed(&e))?;
        let weights_id = folder.weights_id().map_err(|e| failed(&e))?;
        let dtype = self.workers.dtype;
        let element = dtype.bytes().unwrap_or_else(|| Dtype::F32.bytes().unwrap_or(4));
        // A relative path means another place in the worker.
        let path = std::path::absolute(folder.path()).map_err(|e| failed(&e))?;
        Ok(Prepared {
            model: model.name.clone(),
            weights_id: weights_id.clone(),
            dtype,
            params: Some(folder.parameters()),
            bytes: Some(Bytes(folder.parameters().saturating_mul(element))),
            path: Some(path.clone()),
            shape: None,
            quantisation: None,
            inner: Box::new(Folder { path, weights_id, vocabulary: folder.architecture().vocab }),
        })
    }

    fn starts_a_process(&self) -> bool {
        !matches!(self.workers.origin, Origin::Address { .. })
    }

    fn load(
        &mut self,
        model: &Prepared,
        shapes: &[CallShape],
        by: Deadline,
        cancel: &CancelToken,
    ) -> Result<Box<dyn Session>, Failure> {
        let Some(folder) = model.inner.downcast_ref::<Folder>() else {
            return Err(Failure::new(Degraded::Error, "the model was prepared for another engine"));
        };
        let wanted = Wanted::new(&self.workers, &folder.weights_id, shapes);
        let compiled = self.workers.compiled.clone();
        let opened = self.opened().map_err(Failure::from)?;
        let start = opened.start.clone();
        let path = folder.path.clone();
        let (interest, awaited) = interest();
        let loading = async move { load(&start, &path, wanted, Instant::now() + by.0, awaited).await };
        let pending = opened.io.begin(cancel, loading);
        let loaded = match pending.wait(Deadline(by.0 + GRACE), cancel) {
            Ok(loaded) => loaded,
            Err(waited) => {
                drop(interest);
                // Nobody goes on before nothing is left of it.
                if let Some(Ok((live, _))) = pending.linger(ENDED_WITHIN) {
                    let start = opened.start.clone();
                    opened.io.wait(async move { end(&live, &start).await });
                }
                Err(match waited {
                    Waited::Cancelled => Trouble::new(Degraded::Incomplete, "cancelled".to_owned()),
                    Waited::TimedOut | Waited::Done => {
                        Trouble::new(Degraded::Timeout, "the load did not end".to_owned())
                    }
                })
            }
        };
        let (live, report) = loaded.map_err(Failure::from)?;
        Ok(Box::new(WorkerSession {
            io: opened.io.clone(),
            start: opened.start.clone(),
            pace: Pace::new(live.mapping, live.mapped_at),
            clock_trouble: None,
            live,
            report,
            compiled,
            vocabulary: folder.vocabulary,
            broken: BTreeMap::new(),
            calls: 0,
            lost: None,
        }))
    }
}

fn boundary(found: HashMap<String, String>) -> BTreeMap<Mode, String> {
    let known = found.into_iter().filter_map(|(mode, text)| Some((mode.parse().ok()?, clean(&text))));
    let mut known: BTreeMap<Mode, String> = known.collect();
    if known.contains_key(&Mode::Prefill) && known.contains_key(&Mode::KvDecode) {
        known.entry(Mode::E2eKv).or_insert_with(|| "prefill and kv_decode added up".to_owned());
    }
    known
}

fn procedure(found: protocol::Procedure) -> Option<Procedure> {
    match found {
        protocol::Procedure::Unspecified => None,
        protocol::Procedure::Prefill => Some(Procedure::Prefill),
        protocol::Procedure::PrefillDecode => Some(Procedure::PrefillDecode),
        protocol::Procedure::Uncached => Some(Procedure::Uncached),
    }
}
