//! Answers messages: at once where no work is needed, else once the engine's thread has done it.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, oneshot};
use tonic::service::Interceptor;
use tonic::{Request, Response, Status};

use super::engine::{Job, Maker, OutOfOrder, ServedEngine};
use crate::backend::CancelToken;
use crate::backend::worker::clock::{self, KernelClock, kernel};
use crate::backend::worker::connection::{TOKEN_KEY, VERSION};
use crate::backend::worker::protocol as wire;
use crate::backend::worker::protocol::worker_server::Worker;
use crate::clock::SharedClock;

/// Refuses messages without the token.
#[derive(Clone)]
pub struct Guard(Option<Arc<str>>);

impl Guard {
    /// `None`: every message is taken.
    #[must_use]
    pub fn new(token: Option<String>) -> Self {
        Self(token.map(Into::into))
    }
}

impl Interceptor for Guard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(token) = &self.0 else { return Ok(request) };
        let sent = request.metadata().get(TOKEN_KEY).map_or(&[][..], |sent| sent.as_encoded_bytes());
        if are_equal(sent, token.as_bytes()) {
            Ok(request)
        } else {
            Err(Status::unauthenticated("the token is missing or wrong"))
        }
    }
}

/// Takes as long whichever byte differs.
fn are_equal(sent: &[u8], token: &[u8]) -> bool {
    sent.len() == token.len() && sent.iter().zip(token).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// What the engine's thread is at.
struct InFlight {
    call_id: u64,
    cancel: CancelToken,
}

/// The worker's side of the protocol.
pub struct Service {
    jobs: Mutex<Sender<Job>>,
    in_flight: Arc<Mutex<Option<InFlight>>>,
    greeted: Mutex<bool>,
    stopping: Arc<Notify>,
}

impl Service {
    /// Starts the engine's thread. `stopping` is told when the worker is asked to end.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(make: Maker, stopping: Arc<Notify>) -> std::io::Result<Self> {
        let clock: SharedClock = Arc::new(KernelClock);
        let jobs = Mutex::new(ServedEngine::start(make, clock)?);
        Ok(Self { jobs, in_flight: Arc::default(), greeted: Mutex::new(false), stopping })
    }

    /// Has the engine's thread do something, which a Cancel of `call_id`, or the client's leaving, stops.
    async fn work<T: Send + 'static>(
        &self,
        call_id: u64,
        work: impl FnOnce(&mut ServedEngine, &CancelToken) -> Result<T, OutOfOrder> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        if !*self.greeted.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(Status::failed_precondition("the first message is Hello"));
        }
        let cancel = CancelToken::default();
        {
            let mut in_flight = lock(&self.in_flight);
            if in_flight.is_some() {
                return Err(Status::failed_precondition("another request is in flight"));
            }
            *in_flight = Some(InFlight { call_id, cancel: cancel.clone() });
        }
        let (tell, told) = oneshot::channel();
        let (done, token) = (self.in_flight.clone(), cancel.clone());
        let job: Job = Box::new(move |engine| {
            let result = work(engine, &token);
            *lock(&done) = None;
            drop(tell.send(result));
        });
        let sent = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).send(job);
        // Dropped when nobody awaits the answer any more.
        let _leaving = CancelOnDrop(cancel);
        let gone = || Status::internal("the engine's thread has ended");
        sent.map_err(|_| gone())?;
        match told.await.map_err(|_| gone())? {
            Ok(reply) => Ok(Response::new(reply)),
            Err(OutOfOrder(why)) => Err(Status::failed_precondition(why)),
        }
    }
}

/// A client that is gone wants no answer. After an answer nothing is in flight, and this does nothing.
struct CancelOnDrop(CancelToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn lock(in_flight: &Mutex<Option<InFlight>>) -> std::sync::MutexGuard<'_, Option<InFlight>> {
    in_flight.lock().unwrap_or_else(PoisonError::into_inner)
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Worker for Service {
    async fn hello(&self, request: Request<wire::HelloRequest>) -> Answer<wire::HelloReply> {
        let theirs = request.get_ref().protocol_version;
        if theirs < VERSION {
            let why = format!("this worker speaks version {VERSION} of the protocol, the client up to {theirs}");
            return Err(Status::failed_precondition(why));
        }
        *self.greeted.lock().unwrap_or_else(PoisonError::into_inner) = true;
        let procedures = [wire::Procedure::Prefill, wire::Procedure::PrefillDecode, wire::Procedure::Uncached];
        Ok(Response::new(wire::HelloReply {
            protocol_version: VERSION,
            worker: "phasebench worker".to_owned(),
            worker_version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            capabilities: Some(wire::Capabilities {
                procedures: procedures.map(Into::into).to_vec(),
                step_times: true,
                repeat: true,
                compiles: false,
                logprobs: true,
            }),
            clock: Some(clock::source()),
        }))
    }

    async fn read_clock(&self, _request: Request<wire::ReadClockRequest>) -> Answer<wire::ReadClockReply> {
        Ok(Response::new(wire::ReadClockReply { now_ns: kernel() }))
    }

    async fn describe(&self, request: Request<wire::DescribeRequest>) -> Answer<wire::DescribeReply> {
        let settings = request.into_inner().settings.unwrap_or_default();
        self.work(0, move |engine, _| Ok(engine.describe(&settings))).await
    }

    async fn prepare(&self, request: Request<wire::PrepareRequest>) -> Answer<wire::PrepareReply> {
        let request = request.into_inner();
        self.work(0, move |engine, _| engine.prepare(&request)).await
    }

    async fn load(&self, request: Request<wire::LoadRequest>) -> Answer<wire::LoadReply> {
        let request = request.into_inner();
        self.work(0, move |engine, cancel| engine.load(request, cancel)).await
    }

    async fn compile(&self, request: Request<wire::CompileRequest>) -> Answer<wire::CompileReply> {
        let request = request.into_inner();
        self.work(0, move |engine, cancel| engine.compile(request, cancel)).await
    }

    async fn call(&self, request: Request<wire::CallRequest>) -> Answer<wire::CallReply> {
        let request = request.into_inner();
        self.work(request.call_id, move |engine, cancel| engine.call(request, cancel)).await
    }

    async fn cancel(&self, request: Request<wire::CancelRequest>) -> Answer<wire::CancelReply> {
        let call_id = request.get_ref().call_id;
        let in_flight = lock(&self.in_flight);
        let found = in_flight.as_ref().filter(|found| call_id == 0 || found.call_id == call_id);
        if let Some(found) = found {
            found.cancel.cancel();
        }
        Ok(Response::new(wire::CancelReply { in_flight: found.is_some() }))
    }

    async fn unload(&self, _request: Request<wire::UnloadRequest>) -> Answer<wire::UnloadReply> {
        self.work(0, |engine, _| engine.unload()).await
    }

    async fn shutdown(&self, _request: Request<wire::ShutdownRequest>) -> Answer<wire::ShutdownReply> {
        if let Some(found) = lock(&self.in_flight).as_ref() {
            found.cancel.cancel();
        }
        self.stopping.notify_waiters();
        Ok(Response::new(wire::ShutdownReply {}))
    }
}
