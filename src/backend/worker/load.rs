//! Brings a model into a worker of its own, and asks what a worker is.

use std::path::Path;
use std::time::{Duration, Instant};

use super::connection::promptly;
use super::protocol::{
    CancelRequest, DescribeReply, DescribeRequest, Error, LoadRequest, PrepareRequest, Settings, UnloadRequest,
};
use super::settings::{Origin, Workers};
use super::start::{Awaited, Live, Start, Trouble, reply as answered};
use super::text::{clean, message};
use super::{planned, reply, words};
use crate::backend::load_parts::LoadParts;
use crate::backend::{CallShape, LoadReport};
use crate::terms::Degraded;

/// How long a worker may take to hear that nobody waits any more.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// What a worker is to load.
pub struct Wanted {
    /// How the engine is set.
    pub settings: Settings,
    /// Hash of the weights.
    pub weights_id: String,
    /// Longest sequence that the calls need. Unit: tokens.
    pub longest: u32,
}

impl Wanted {
    /// For calls of these shapes, which our own worker alone is told one by one.
    #[must_use]
    pub fn new(workers: &Workers, weights_id: &str, shapes: &[CallShape]) -> Self {
        let mut settings = workers.settings.clone();
        if matches!(workers.origin, Origin::OurOnnx { .. }) {
            planned::tell(shapes, &mut settings);
        }
        Self { settings, weights_id: weights_id.to_owned(), longest: longest(shapes) }
    }
}

/// Longest sequence that the calls need: what the last step chooses is never fed in, but has its place.
fn longest(shapes: &[CallShape]) -> u32 {
    shapes.iter().map(|shape| shape.prompt_tokens.saturating_add(shape.steps)).max().unwrap_or(0)
}

/// What a worker says of its engine when set so.
///
/// # Errors
/// It cannot be had, or the worker does not answer.
pub async fn describe(live: &Live, settings: Settings, until: Instant) -> Result<DescribeReply, Trouble> {
    let mut client = live.client.clone();
    let request = DescribeRequest { settings: Some(settings) };
    let asked = within(until, "Describe", live, async move { client.describe(request).await }).await?;
    match &asked.error {
        None => Ok(asked),
        Some(error) => {
            Err(Trouble { kind: words::failure(error).kind, what: message(&error.message), fix: clean(&asked.fix) })
        }
    }
}

/// Starts a worker and loads a model into it. Everything it took is a part of the load.
///
/// # Errors
/// See [`Trouble`]; the worker has ended again then, also where nobody waits any more.
pub async fn load(
    start: &Start,
    path: &Path,
    wanted: Wanted,
    until: Instant,
    mut awaited: Awaited,
) -> Result<(Live, LoadReport), Trouble> {
    let mut live = start.start(Some(path), until, &mut awaited).await?;
    let loaded = tokio::select! {
        biased;
        loaded = fill(start, &mut live, path, wanted, until) => loaded,
        given_up = awaited.given_up() => Err(given_up),
    };
    if loaded.is_err() && !start.ours {
        // It goes on, and should not go on with this.
        stop(&live).await;
    }
    if loaded.is_err() {
        end(&live, start).await;
    }
    loaded.map(|report| (live, report))
}

async fn fill(
    start: &Start,
    live: &mut Live,
    path: &Path,
    wanted: Wanted,
    until: Instant,
) -> Result<LoadReport, Trouble> {
    if !start.ours {
        // Another client may have left a model behind. There being none is no error of ours.
        drop(promptly(live.client.clone().unload(UnloadRequest {})).await);
    }
    let mut parts = LoadParts::after(std::mem::take(&mut live.parts), start.clock.clone());
    describe(live, wanted.settings.clone(), until).await?;
    parts.end("describe");
    let inside = live.running.lock().await.inside(path);
    let request = PrepareRequest {
        settings: Some(wanted.settings),
        path: inside.to_string_lossy().into_owned(),
        weights_id: wanted.weights_id,
    };
    let mut client = live.client.clone();
    let prepared = within(until, "Prepare", live, async move { client.prepare(request).await }).await?;
    refused(prepared.error.as_ref())?;
    parts.end("prepare");
    let mut client = live.client.clone();
    let request = LoadRequest { longest_sequence: wanted.longest };
    let loaded = within(until, "Load", live, async move { client.load(request).await }).await?;
    refused(loaded.error.as_ref())?;
    Ok(reply::loaded(loaded, parts.ended()))
}

fn refused(error: Option<&Error>) -> Result<(), Trouble> {
    error.map_or(Ok(()), |error| {
        let failure = words::failure(error);
        Err(Trouble::new(failure.kind, failure.message))
    })
}

/// An answer before the deadline.
async fn within<T>(
    until: Instant,
    what: &str,
    live: &Live,
    request: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, Trouble> {
    let answer = tokio::time::timeout_at(until.into(), answered(live.running.clone(), request)).await;
    match answer {
        Ok(answer) => answer.map_err(|broken| broken.trouble(what)),
        Err(_) => Err(Trouble::new(Degraded::Timeout, format!("{what} did not end before the deadline"))),
    }
}

/// Tells a worker that nobody waits for what it does.
async fn stop(live: &Live) {
    let mut client = live.client.clone();
    drop(tokio::time::timeout(TOLD_WITHIN, client.cancel(CancelRequest { call_id: 0 })).await);
}

/// Ends a worker that holds nothing.
pub async fn end(live: &Live, start: &Start) {
    if start.ours {
        live.running.lock().await.kill().await;
    }
}
