//! A program that is started here: what it says before anybody has greeted it, and how it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bench::{READY_WITHIN, out_of_order, patiently};
use super::finding::Findings;
use crate::backend::worker::connection::{self, Client, VERSION, promptly, status_text};
use crate::backend::worker::launch::process::Transport;
use crate::backend::worker::launch::{Running, Wanted};
use crate::backend::worker::protocol::{
    CancelRequest, CompileRequest, DescribeRequest, HelloRequest, LoadRequest, PrepareRequest, ReadClockRequest,
    ShutdownRequest, UnloadRequest,
};
use crate::backend::worker::start::{Start, Trouble};
use crate::backend::worker::{Opened, WorkerBackend};
use crate::terms::Degraded;

/// How often it is looked whether it listens.
const LISTENS_EVERY: Duration = Duration::from_millis(10);

/// How long it may take to end once it was asked to.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// Starts the program at a Unix socket, and lets it end.
///
/// # Errors
/// It cannot be started, or never listens.
pub(super) fn tried(backend: &mut WorkerBackend, findings: &mut Findings<'_>) -> Result<(), Trouble> {
    backend.transport = Some(Transport::Unix);
    backend.opened = None;
    let Opened { io, start } = backend.opened()?;
    let start = start.clone();
    let tried = io.wait(async move { fresh(start).await });
    let gone = || Trouble::new(Degraded::Error, "the thread that talks to workers is gone".to_owned());
    let (order, end) = tried.ok_or_else(gone)??;
    findings.add("first message", order);
    findings.add("end", end);
    Ok(())
}

type Found = Result<String, String>;

/// What comes of a program that nobody has greeted yet, and of asking it to end.
async fn fresh(start: Arc<Start>) -> Result<(Found, Found), Trouble> {
    let folder = start.folder.worker().map_err(|error| Trouble::new(Degraded::Error, error.to_string()))?;
    let (run, compiler_cache) = (start.folder.run(), start.compiler_cache.as_path());
    let wanted = Wanted { folder: folder.path(), model: None, run: &run, compiler_cache };
    let mut running = start.launcher.launch(wanted).await?;
    let client = match listening(running.as_mut()).await {
        Ok(client) => client,
        Err(trouble) => {
            running.kill().await;
            return Err(trouble);
        }
    };
    let order = ungreeted(client.clone()).await;
    let end = ended(client, running.as_mut()).await;
    running.kill().await;
    Ok((order, end))
}

async fn listening(running: &mut dyn Running) -> Result<Client, Trouble> {
    let client = connection::open(running.address(), running.token());
    let client = client.map_err(|why| Trouble::new(Degraded::Error, why))?;
    let until = Instant::now() + READY_WITHIN;
    while connection::listens(running.address()).await.is_err() {
        if let Ok(ended) = tokio::time::timeout(LISTENS_EVERY, running.ended()).await {
            let what = format!("the worker {ended} during start; it wrote: {}", running.last_words());
            return Err(Trouble::new(Degraded::Crashed, what));
        }
        if Instant::now() > until {
            let what = format!("it never listened at {}; it wrote: {}", running.address(), running.last_words());
            return Err(Trouble::new(Degraded::Timeout, what));
        }
    }
    Ok(client)
}

/// Before Hello only the clock, a Cancel and a Shutdown are answered; after it nothing can be loaded that was not prepared.
async fn ungreeted(mut client: Client) -> Found {
    let clock = promptly(client.read_clock(ReadClockRequest {})).await;
    clock.map_err(|status| format!("ReadClock before Hello: {}", status_text(&status)))?;
    let cancelled = promptly(client.cancel(CancelRequest { call_id: 0 })).await;
    cancelled.map_err(|status| format!("Cancel before Hello: {}", status_text(&status)))?;
    out_of_order("Describe before Hello", client.describe(DescribeRequest::default()).await)?;
    out_of_order("Prepare before Hello", client.prepare(PrepareRequest::default()).await)?;
    out_of_order("Load before Hello", client.load(LoadRequest::default()).await)?;
    out_of_order("Compile before Hello", client.compile(CompileRequest::default()).await)?;
    out_of_order("Unload before Hello", client.unload(UnloadRequest {}).await)?;
    let hello = HelloRequest { protocol_version: VERSION, client: "phasebench worker check".to_owned() };
    patiently("Hello", client.hello(hello)).await?;
    out_of_order("Load before Prepare", client.load(LoadRequest::default()).await)?;
    Ok("Hello comes first, Prepare before Load".to_owned())
}

/// A Shutdown ends it with status 0.
async fn ended(mut client: Client, running: &mut dyn Running) -> Found {
    let asked = promptly(client.shutdown(ShutdownRequest {})).await;
    asked.map_err(|status| format!("Shutdown: {}", status_text(&status)))?;
    drop(client);
    match tokio::time::timeout(ENDS_WITHIN, running.ended()).await {
        Ok(ended) if ended.code == Some(0) => Ok("ends with exit code 0 when it is asked to".to_owned()),
        Ok(ended) => Err(format!("it {ended} after Shutdown, expected exit code 0")),
        Err(_) => Err(format!("it still runs {} s after Shutdown", ENDS_WITHIN.as_secs())),
    }
}
