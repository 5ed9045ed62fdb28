//! From a launcher to a worker that has said who it is and whose clock is mapped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::{Mutex, watch};
use tonic::{Code, Response, Status};

use super::clock::{self, Mapping, Pair, RoundTrip};
use super::connection::{self, Client, VERSION, promptly, status_text};
use super::folder::{WorkersFolder, end_all};
use super::io::cleaned;
use super::launch::{LaunchError, Launcher, Running, Wanted, WorkerEnd};
use super::protocol::{Capabilities, ClockSource, HelloRequest, ReadClockRequest};
use super::text::{clean, message};
use crate::backend::Failure;
use crate::clock::SharedClock;
use crate::terms::Degraded;
use crate::units::Nanos;

/// Readings of a worker's clock.
const ROUND_TRIPS: usize = 16;

/// How often it is looked whether a worker listens.
const LISTENS_EVERY: Duration = Duration::from_millis(10);

/// How long a broken connection may be ahead of the news that the worker has ended.
const NEWS_WITHIN: Duration = Duration::from_secs(1);

/// How workers of one backend are started.
pub struct Start {
    /// With what.
    pub launcher: Box<dyn Launcher>,
    /// Whether the workers are ours to end.
    pub ours: bool,
    /// How long somebody else's worker may take to listen. Ours have until the deadline.
    pub patience: Duration,
    /// The folder of this run's workers.
    pub folder: Arc<WorkersFolder>,
    /// Where they keep their compilers' caches.
    pub compiler_cache: PathBuf,
    /// The run's clock.
    pub clock: SharedClock,
}

/// A worker that answers.
pub struct Live {
    /// Messages to it.
    pub client: Client,
    /// The process, container or whatever it is. Locked while an answer is awaited.
    pub running: Arc<Mutex<Box<dyn Running>>>,
    /// Who it says it is.
    pub who: Who,
    /// Its clock.
    pub mapping: Mapping,
    /// When that was read first, on the run's clock.
    pub mapped_at: Nanos,
    /// What starting it took.
    pub parts: Vec<(String, Nanos)>,
    /// Its folder, removed with it.
    _folder: TempDir,
}

/// Who a worker says it is.
#[derive(Debug, Clone, Default)]
pub struct Who {
    /// Name and version of the program.
    pub worker: String,
    /// What it can be asked for.
    pub capabilities: Capabilities,
    /// Its clock.
    pub clock: Option<ClockSource>,
}

/// Why a worker could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Trouble {
    /// What it is recorded as.
    pub kind: Degraded,
    /// What went wrong, with the worker's own words.
    pub what: String,
    /// What helps. Empty: not known.
    pub fix: String,
}

impl Trouble {
    /// Trouble without a cure.
    #[must_use]
    pub fn new(kind: Degraded, what: String) -> Self {
        Self { kind, what, fix: String::new() }
    }
}

impl From<LaunchError> for Trouble {
    fn from(error: LaunchError) -> Self {
        Self { kind: Degraded::Error, what: message(&error.what), fix: clean(&error.fix) }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        let fix = if trouble.fix.is_empty() { String::new() } else { format!("\n  try: {}", trouble.fix) };
        Self::new(trouble.kind, &format!("{}{fix}", trouble.what))
    }
}

/// Held by whoever waits for a worker to start; dropped, it is not wanted any more.
pub struct Interest(#[expect(dead_code, reason = "its end is what tells")] watch::Sender<()>);

/// Tells the one who starts a worker whether anybody still waits for it.
pub struct Awaited(watch::Receiver<()>);

/// Both ends.
#[must_use]
pub fn interest() -> (Interest, Awaited) {
    let (held, awaited) = watch::channel(());
    (Interest(held), Awaited(awaited))
}

impl Awaited {
    /// Waits until nobody does.
    pub async fn given_up(&mut self) -> Trouble {
        while self.0.changed().await.is_ok() {}
        Trouble::new(Degraded::Incomplete, "cancelled".to_owned())
    }
}

impl Start {
    /// Starts a worker and greets it. Where that fails, the deadline comes or nobody waits any more, nothing of it is
    /// left when this returns. `model`: what it must be able to read.
    ///
    /// # Errors
    /// It cannot be started, does not answer in time, or speaks another protocol.
    pub async fn start(&self, model: Option<&Path>, until: Instant, awaited: &mut Awaited) -> Result<Live, Trouble> {
        let folder = self.folder.worker().map_err(|error| Trouble {
            kind: Degraded::Error,
            what: format!("no folder for a worker in {}: {error}", std::env::temp_dir().display()),
            fix: "set TMPDIR to a folder that this user may write to".to_owned(),
        })?;
        let begin = self.clock.now();
        let (run, compiler_cache) = (self.folder.run(), self.compiler_cache.as_path());
        let wanted = Wanted { folder: folder.path(), model, run: &run, compiler_cache };
        let launched = tokio::select! {
            biased;
            launched = self.launcher.launch(wanted) => launched.map_err(Trouble::from),
            () = tokio::time::sleep_until(until.into()) => {
                Err(late("the worker was not ready before the deadline".to_owned(), ""))
            }
            given_up = awaited.given_up() => Err(given_up),
        };
        let mut running = match launched {
            Ok(running) => running,
            Err(trouble) => {
                // What was launched half is known by its folder, or is being cleaned up.
                end_all(folder.path());
                cleaned().await;
                return Err(trouble);
            }
        };
        let launch = self.clock.now().since(begin);
        let greeted = tokio::select! {
            biased;
            greeted = self.greet(running.as_mut(), until) => greeted,
            given_up = awaited.given_up() => Err(given_up),
        };
        match greeted {
            Ok((client, who, mapping)) => {
                let hello = self.clock.now().since(begin).since(launch);
                let parts = vec![("launch".to_owned(), launch), ("hello".to_owned(), hello)];
                let mapped_at = self.clock.now();
                let running = Arc::new(Mutex::new(running));
                Ok(Live { client, running, who, mapping, mapped_at, parts, _folder: folder })
            }
            Err(trouble) => {
                running.kill().await;
                Err(trouble)
            }
        }
    }

    async fn greet(&self, running: &mut dyn Running, until: Instant) -> Result<(Client, Who, Mapping), Trouble> {
        let client = connection::open(running.address(), running.token());
        let mut client = client.map_err(|why| Trouble::new(Degraded::Error, why))?;
        self.listening(running, until).await?;
        let introduced = tokio::time::timeout_at(until.into(), self.introduce(&mut client, running)).await;
        let (who, mapping) = introduced.unwrap_or_else(|_| {
            let what = "the worker listened, and did not say who it is before the deadline".to_owned();
            Err(late(what, &running.last_words()))
        })?;
        Ok((client, who, mapping))
    }

    /// Asks a worker who it is, and maps its clock.
    async fn introduce(&self, client: &mut Client, running: &mut dyn Running) -> Result<(Who, Mapping), Trouble> {
        let request = HelloRequest { protocol_version: VERSION, client: CLIENT.to_owned() };
        let reply = answer(running, promptly(client.hello(request))).await.map_err(|broken| broken.trouble("Hello"))?;
        if reply.protocol_version != VERSION {
            let theirs = reply.protocol_version;
            let what = format!("the worker speaks version {theirs} of the protocol, this program version {VERSION}");
            return Err(Trouble::new(Degraded::Error, what));
        }
        let who = Who {
            worker: clean(&format!("{} {}", reply.worker, reply.worker_version)),
            capabilities: reply.capabilities.unwrap_or_default(),
            clock: reply.clock,
        };
        let mapping = self.map(client, &who).await;
        let mapping = mapping.map_err(|why| Trouble::new(Degraded::Error, format!("the worker's clock: {why}")))?;
        Ok((who, mapping))
    }

    /// Waits until somebody listens at the worker's address.
    async fn listening(&self, running: &mut dyn Running, until: Instant) -> Result<(), Trouble> {
        let patient = if self.ours { until } else { until.min(Instant::now() + self.patience) };
        let address = running.address().clone();
        loop {
            let refused = match connection::listens(&address).await {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            if Instant::now() >= patient {
                let what = format!("nothing answers at {address}: {refused}");
                return Err(if self.ours {
                    late(format!("the worker was not ready before the deadline: {what}"), &running.last_words())
                } else {
                    let fix = "start the worker, or correct `address`".to_owned();
                    Trouble { kind: Degraded::Crashed, what, fix }
                });
            }
            if let Ok(ended) = tokio::time::timeout(LISTENS_EVERY, running.ended()).await {
                return Err(Broken::by(ended, &running.last_words()).trouble("start"));
            }
        }
    }

    /// Reads the worker's clock beside the run's until the mapping is as good as it gets.
    ///
    /// # Errors
    /// The worker's words.
    pub async fn map(&self, client: &mut Client, who: &Who) -> Result<Mapping, String> {
        let mut trips = Vec::with_capacity(ROUND_TRIPS);
        for _ in 0..ROUND_TRIPS {
            let sent = self.clock.now();
            let answer = promptly(client.read_clock(ReadClockRequest {})).await;
            let received = self.clock.now();
            let worker = answer.map_err(|status| status_text(&status))?.now_ns;
            trips.push(RoundTrip { sent, worker, received });
        }
        let pair = Pair::read(&*self.clock);
        Mapping::find(who.clock.as_ref(), &clock::source(), pair, &trips).ok_or_else(|| "no reading".to_owned())
    }
}

/// How we introduce ourselves.
const CLIENT: &str = concat!("phasebench ", env!("CARGO_PKG_VERSION"));

fn late(what: String, words: &str) -> Trouble {
    Trouble::new(Degraded::Timeout, with(&what, words))
}

/// What happened, and what the worker wrote last.
fn with(what: &str, words: &str) -> String {
    // Of a long log the end is what tells.
    let words: Vec<&str> = words.lines().rev().take(LAST_LINES).collect();
    let words: String = words.into_iter().rev().collect::<Vec<_>>().join("\n");
    if words.is_empty() { what.to_owned() } else { format!("{what}; it wrote: {}", message(&words)) }
}

/// Lines of a worker's log that go into a message.
const LAST_LINES: usize = 12;

/// No answer came.
#[derive(Debug, Clone)]
pub struct Broken {
    /// What the transport or the worker says. `None`: the worker ended first.
    pub status: Option<Status>,
    /// How the worker ended. `None`: it runs, or nobody tells.
    pub ended: Option<WorkerEnd>,
    /// The last it wrote.
    pub last_words: String,
}

impl Broken {
    fn by(ended: WorkerEnd, last_words: &str) -> Self {
        Self { status: None, ended: Some(ended), last_words: last_words.to_owned() }
    }

    /// What it is recorded as. `during`: which message.
    #[must_use]
    pub fn trouble(&self, during: &str) -> Trouble {
        if let (None, Some(status)) = (&self.ended, &self.status)
            && let Some(refused) = refused(status, during)
        {
            return refused;
        }
        let (kind, what) = match (&self.ended, &self.status) {
            (Some(ended), _) => (ended.kind(), format!("the worker {ended} during {during}")),
            (None, Some(status)) if status.code() == Code::DeadlineExceeded => {
                (Degraded::Timeout, format!("{during}: {}", status.message()))
            }
            (None, Some(status)) => (Degraded::Error, format!("{during}: {}", status_text(status))),
            (None, None) => (Degraded::Error, format!("{during}: no answer")),
        };
        Trouble::new(kind, with(&what, &self.last_words))
    }
}

/// What a worker means that refuses a message which may come. `None`: it is another status.
fn refused(status: &Status, during: &str) -> Option<Trouble> {
    let words = clean(status.message());
    let (what, fix) = match status.code() {
        Code::Unauthenticated => (
            format!("the worker refuses the token, or wants one: {words}"),
            "`token_env` names the variable that holds the token it was started with   (PHASEBENCH_WORKER_TOKEN there)",
        ),
        Code::FailedPrecondition => (
            format!(
                "the worker refuses {during}, which may come now: it is busy with another client, or keeps another order: {words}"
            ),
            "wait until the other client has ended, or start another worker   (which rules it keeps: phasebench worker check)",
        ),
        _ => return None,
    };
    Some(Trouble { kind: Degraded::Error, what, fix: fix.to_owned() })
}

/// Waits for an answer, or for the end of the worker.
///
/// # Errors
/// No answer came.
pub async fn answer<T>(
    running: &mut dyn Running,
    answer: impl Future<Output = Result<T, Status>>,
) -> Result<T, Broken> {
    let status = tokio::select! {
        biased;
        answer = answer => match answer {
            Ok(answer) => return Ok(answer),
            Err(status) => status,
        },
        ended = running.ended() => return Err(Broken::by(ended, &running.last_words())),
    };
    let ended = tokio::time::timeout(NEWS_WITHIN, running.ended()).await.ok();
    Err(Broken { status: Some(status), ended, last_words: running.last_words() })
}

/// As [`answer`], for a worker that is shared.
///
/// # Errors
/// No answer came.
pub async fn reply<T>(
    running: Arc<Mutex<Box<dyn Running>>>,
    awaited: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Broken> {
    let mut running = running.lock().await;
    answer(running.as_mut(), async { awaited.await.map(Response::into_inner) }).await
}

/// Facts of a worker for the manifest, whatever engine it holds. What names this one worker is left out: the next has
/// another, and a run whose manifest changes cannot be resumed.
#[must_use]
pub fn facts(live: &Live, launch: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::from([
        ("worker".to_owned(), live.who.worker.clone()),
        ("worker.protocol".to_owned(), VERSION.to_string()),
        ("worker.clock".to_owned(), live.mapping.description().to_owned()),
    ]);
    let lasting = launch.into_iter().filter(|(key, _)| key != "container");
    facts.extend(lasting.map(|(key, value)| (format!("worker.{}", clean(&key)), clean(&value))));
    facts
}
