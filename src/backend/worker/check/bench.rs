//! The worker that is tried, and how it is asked.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell};
use tonic::{Code, Response, Status};

use crate::backend::worker::clock::Mapping;
use crate::backend::worker::connection::{self, Client, promptly, status_text};
use crate::backend::worker::load::end;
use crate::backend::worker::protocol::error::Kind;
use crate::backend::worker::protocol::{
    CallReply, CallRequest, CompileRequest, LoadRequest, PrepareRequest, Procedure, Prompt, Settings, Shape,
    ShutdownRequest, UnloadRequest,
};
use crate::backend::worker::start::{Live, Start, Trouble};
use crate::backend::worker::text::clean;
use crate::model::ModelSource;
use crate::terms::Degraded;
use crate::units::Nanos;

/// How long a worker may take to answer for the first time: a cold disk takes minutes to give torch.
pub const READY_WITHIN: Duration = Duration::from_secs(180);

/// How long a call, a load or a compilation may take.
const WORKED_WITHIN: Duration = Duration::from_secs(60);

/// Most decode steps of a call that is to take long.
const MOST_STEPS: u32 = 100;

/// Tokens of the prompts.
const PROMPT: u32 = 8;

/// What the worker is given to load.
pub struct Model {
    /// What it is.
    pub source: ModelSource,
    /// Its folder.
    pub path: PathBuf,
    /// Hash of its weights.
    pub weights_id: String,
    /// Token ids are below this.
    pub vocabulary: u32,
    /// Longest sequence.
    pub context: u32,
}

/// A worker that was greeted.
pub struct Bench {
    /// How it was reached.
    pub start: Arc<Start>,
    /// The worker.
    pub live: Live,
    /// How it is to be set.
    pub settings: Settings,
    /// What it loads.
    pub model: Arc<Model>,
    /// Its address and token, for other clients.
    address: crate::backend::worker::launch::Address,
    /// What every message carries. `None`: nothing.
    pub token: Option<String>,
    /// Where it sees the model.
    inside: String,
    calls: AtomicU64,
    /// Shapes that were compiled since the model was loaded.
    compiled: Mutex<Vec<Shape>>,
    /// See [`Bench::refused`].
    refused: OnceCell<Vec<Refused>>,
}

/// A procedure that is offered, and that the engine does not have as it is set; why not, in its words.
pub type Refused = (Procedure, String);

/// An answer to a call, with when it was sent and when it was there, on the run's clock.
pub struct Answered {
    /// The answer.
    pub reply: CallReply,
    /// See [`Answered`].
    pub sent: Nanos,
    /// See [`Answered`].
    pub received: Nanos,
    /// The worker's clock right before.
    pub mapping: Mapping,
}

impl Bench {
    /// The worker, without the model that somebody may have left in it.
    ///
    /// # Errors
    /// It does not take a second connection.
    pub async fn new(start: Arc<Start>, live: Live, settings: Settings, model: Arc<Model>) -> Result<Self, Trouble> {
        let (address, token, inside) = {
            let running = live.running.lock().await;
            let token = running.token().map(str::to_owned);
            (running.address().clone(), token, running.inside(&model.path).to_string_lossy().into_owned())
        };
        let (calls, compiled, refused) = (AtomicU64::new(0), Mutex::default(), OnceCell::new());
        let bench = Self { start, live, settings, model, address, token, inside, calls, compiled, refused };
        drop(promptly(bench.client().unload(UnloadRequest {})).await);
        bench.client_with(bench.token.as_deref()).map_err(|why| Trouble::new(Degraded::Error, why))?;
        Ok(bench)
    }

    /// The client that loaded the model.
    pub fn client(&self) -> Client {
        self.live.client.clone()
    }

    /// Another connection to the same worker, with a token or without.
    ///
    /// # Errors
    /// The address or the token cannot be used.
    pub fn client_with(&self, token: Option<&str>) -> Result<Client, String> {
        connection::open(&self.address, token)
    }

    /// Another client of the same worker.
    ///
    /// # Errors
    /// See [`Bench::client_with`].
    pub fn other(&self) -> Result<Client, String> {
        self.client_with(self.token.as_deref())
    }

    /// A prepare of the model.
    pub fn preparing(&self) -> PrepareRequest {
        PrepareRequest {
            settings: Some(self.settings.clone()),
            path: self.inside.clone(),
            weights_id: self.model.weights_id.clone(),
        }
    }

    /// Prepares and loads the model, whatever was loaded before.
    ///
    /// # Errors
    /// In the worker's words.
    pub async fn load_anew(&self) -> Result<(), String> {
        drop(promptly(self.client().unload(UnloadRequest {})).await);
        let mut client = self.client();
        let prepared = patiently("Prepare", client.prepare(self.preparing())).await?;
        if let Some(error) = prepared.error {
            return Err(format!("Prepare: {}", clean(&error.message)));
        }
        self.load().await
    }

    /// Loads what was prepared.
    ///
    /// # Errors
    /// In the worker's words.
    pub async fn load(&self) -> Result<(), String> {
        let mut client = self.client();
        let loaded = patiently("Load", client.load(self.loading())).await?;
        self.compiled.lock().await.clear();
        loaded.error.map_or(Ok(()), |error| Err(format!("Load: {}", clean(&error.message))))
    }

    /// Has the shape of a call compiled, where the worker compiles and has not done it yet.
    ///
    /// # Errors
    /// In the worker's words.
    pub async fn make_ready(&self, request: &CallRequest) -> Result<(), String> {
        let (shape, mut compiled) = (shape(request), self.compiled.lock().await);
        if !self.live.who.capabilities.compiles || compiled.contains(&shape) {
            return Ok(());
        }
        let request = CompileRequest { shape: Some(shape) };
        let answer = patiently("Compile", self.client().compile(request)).await?;
        if let Some(error) = answer.error {
            return Err(format!("Compile: {}", clean(&error.message)));
        }
        compiled.push(shape);
        Ok(())
    }

    /// A load of what was prepared.
    #[must_use]
    pub fn loading(&self) -> LoadRequest {
        LoadRequest { longest_sequence: self.longest() }
    }

    /// Longest sequence of any call.
    fn longest(&self) -> u32 {
        self.model.context.min(2 * PROMPT + MOST_STEPS)
    }

    /// Steps of a call that takes as long as one may here.
    #[must_use]
    pub fn most_steps(&self) -> u32 {
        self.longest().saturating_sub(2 * PROMPT).max(1)
    }

    /// Whether the worker offers a procedure.
    #[must_use]
    pub fn offers(&self, procedure: Procedure) -> bool {
        self.live.who.capabilities.procedures().any(|offered| offered == procedure)
    }

    /// Procedures that it offers and does not have as options set it. Needs a model that is loaded.
    ///
    /// # Errors
    /// A call was not answered.
    pub async fn refused(&self) -> Result<&[Refused], String> {
        // Without one, what it offers it can do.
        if self.settings.options.is_empty() {
            return Ok(&[]);
        }
        let tried = || async {
            let mut refused = Vec::new();
            for procedure in self.live.who.capabilities.procedures() {
                refused.extend(self.unsupported(procedure).await?.map(|why| (procedure, why)));
            }
            Ok::<_, String>(refused)
        };
        self.refused.get_or_try_init(tried).await.map(Vec::as_slice)
    }

    /// Why a procedure's calls are refused as `UNSUPPORTED`. `None`: they are not.
    async fn unsupported(&self, procedure: Procedure) -> Result<Option<String>, String> {
        let request = self.request(procedure, 2, 0);
        // What else is wrong with it, the rules find.
        drop(self.make_ready(&request).await);
        let error = patiently("Call", self.client().call(request)).await?.error;
        Ok(error.filter(|error| error.kind() == Kind::Unsupported).map(|error| clean(&error.message)))
    }

    /// The procedure that calls are made with: with decode steps where it is offered.
    #[must_use]
    pub fn procedure(&self) -> Procedure {
        let by_use = [Procedure::PrefillDecode, Procedure::Uncached, Procedure::Prefill];
        by_use.into_iter().find(|&procedure| self.offers(procedure)).unwrap_or(Procedure::Prefill)
    }

    /// Token ids of a prompt; each `salt` has others.
    #[must_use]
    pub fn prompt(&self, tokens: u32, salt: u32) -> Vec<u32> {
        (0..tokens).map(|n| (7 * n + 131 * salt + 3) % self.model.vocabulary).collect()
    }

    /// A call of one row, with so many steps where its procedure has any.
    #[must_use]
    pub fn request(&self, procedure: Procedure, steps: u32, salt: u32) -> CallRequest {
        self.request_of(procedure, &[self.prompt(PROMPT, salt)], steps)
    }

    /// A call of these rows.
    #[must_use]
    pub fn request_of(&self, procedure: Procedure, rows: &[Vec<u32>], steps: u32) -> CallRequest {
        let padded_to = rows.iter().map(Vec::len).max().and_then(|longest| u32::try_from(longest).ok()).unwrap_or(0);
        CallRequest {
            call_id: self.calls.fetch_add(1, Ordering::Relaxed) + 1,
            procedure: procedure.into(),
            prompts: rows.iter().map(|ids| Prompt { ids: ids.clone() }).collect(),
            padded_to,
            steps: if procedure == Procedure::Prefill { 0 } else { steps },
            repeat: None,
            top_logprobs: 0,
        }
    }

    /// Makes a call that must succeed.
    ///
    /// # Errors
    /// In the worker's words.
    pub async fn good(&self, request: CallRequest) -> Result<Answered, String> {
        let answered = self.answered(request).await?;
        match &answered.reply.error {
            Some(error) => Err(format!("a call that may be made failed: {}", clean(&error.message))),
            None => Ok(answered),
        }
    }

    /// Makes a call.
    ///
    /// # Errors
    /// It was not answered.
    pub async fn answered(&self, request: CallRequest) -> Result<Answered, String> {
        self.make_ready(&request).await?;
        let mut client = self.client();
        let mapping = self.start.map(&mut client, &self.live.who).await?;
        let sent = self.start.clock.now();
        let reply = patiently("Call", client.call(request)).await?;
        Ok(Answered { reply, sent, received: self.start.clock.now(), mapping })
    }

    /// What the longest call takes that can be made here.
    ///
    /// # Errors
    /// In the worker's words.
    pub async fn longest_takes(&self) -> Result<Duration, String> {
        let answered = self.good(self.request(self.procedure(), self.most_steps(), 1)).await?;
        Ok(answered.received.since(answered.sent).duration())
    }

    /// Leaves the worker as it was found; one that was started here ends.
    pub async fn leave(&self, started_here: bool) {
        drop(promptly(self.client().unload(UnloadRequest {})).await);
        if started_here {
            drop(promptly(self.client().shutdown(ShutdownRequest {})).await);
        }
        end(&self.live, &self.start).await;
    }
}

/// What a call is compiled for.
#[must_use]
pub fn shape(request: &CallRequest) -> Shape {
    let batch = u32::try_from(request.prompts.len()).unwrap_or(u32::MAX);
    Shape { procedure: request.procedure, batch, prompt_tokens: request.padded_to, steps: request.steps }
}

/// An answer to a request that takes its time.
///
/// # Errors
/// There is none, or a status.
pub async fn patiently<T>(what: &str, answer: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, String> {
    match tokio::time::timeout(WORKED_WITHIN, answer).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(format!("{what}: {}", status_text(&status))),
        Err(_) => Err(format!("{what}: no answer within {} s", WORKED_WITHIN.as_secs())),
    }
}

/// Whether a request was refused for its place in the order.
///
/// # Errors
/// It was answered, or refused otherwise.
pub fn out_of_order<T>(what: &str, answer: Result<Response<T>, Status>) -> Result<(), String> {
    match answer {
        Err(status) if status.code() == Code::FailedPrecondition => Ok(()),
        Err(status) => Err(format!(
            "{what} ends with {:?} ({}), expected FAILED_PRECONDITION",
            status.code(),
            status_text(&status)
        )),
        Ok(_) => Err(format!("{what} is answered, expected FAILED_PRECONDITION")),
    }
}
