//! How a load, and a compilation where there are any, is stopped.

use std::time::{Duration, Instant};

use tonic::{Response, Status};

use super::bench::{Bench, out_of_order, patiently};
use super::finding::Tried;
use super::order::compiling;
use super::stopping::{INTERRUPTED, STOPS_WITHIN};
use crate::backend::worker::connection::{promptly, status_text};
use crate::backend::worker::protocol::error::Kind;
use crate::backend::worker::protocol::{CancelRequest, CompileReply, Error, LoadReply, UnloadRequest};

/// How long after a request its Cancel is sent: a small model is loaded in a few milliseconds.
const SENT_AFTER: [Duration; 8] = [
    Duration::from_micros(1000),
    Duration::from_micros(2000),
    Duration::from_micros(500),
    Duration::ZERO,
    Duration::from_micros(3000),
    Duration::from_micros(1500),
    Duration::from_micros(250),
    Duration::from_micros(4000),
];

/// What is to be stopped.
#[derive(Clone, Copy)]
enum Work {
    Load,
    Compilation,
}

/// What a Cancel makes of a request.
enum Stopped {
    /// It ends so, and so long after the Cancel.
    Cancelled(Duration),
    /// It had come to its end before.
    Missed,
    Broken(String),
}

/// A load that is cancelled ends so in time, with nothing loaded, and the next one loads; a compilation likewise.
pub async fn loading(bench: &Bench) -> Tried {
    let load = tried(bench, Work::Load).await;
    // Whatever came of it, what follows needs a model.
    if let Err(why) = bench.load_anew().await {
        return Tried::Fail(format!("after a load that was to be cancelled: {why}"));
    }
    if !bench.live.who.capabilities.compiles {
        return load;
    }
    let compilation = tried(bench, Work::Compilation).await;
    match (load, compilation) {
        (Tried::Pass(load), Tried::Pass(also) | Tried::Not(also)) => Tried::Pass(format!("{load}; {also}")),
        (Tried::Pass(_), failed) => failed,
        (load, _) => load,
    }
}

/// Tries it until a Cancel comes at the right moment.
async fn tried(bench: &Bench, work: Work) -> Tried {
    let what = match work {
        Work::Load => "load",
        Work::Compilation => "compilation",
    };
    let mut found = Tried::Not(format!("a {what} ends before a Cancel can reach it"));
    for after in SENT_AFTER {
        let stopped = match work {
            Work::Load => stopped_load(bench, after).await,
            Work::Compilation => stopped_compilation(bench, after).await,
        };
        match stopped {
            Stopped::Cancelled(took) => {
                let (took, within) = (took.as_micros(), STOPS_WITHIN.as_secs());
                return Tried::Pass(format!(
                    "a {what} that is cancelled ends so after {took} µs, {within} s are allowed"
                ));
            }
            Stopped::Missed => {}
            // Only where it is never obeyed it is ignored.
            Stopped::Broken(why) => found = Tried::Fail(why),
        }
    }
    found
}

async fn stopped_load(bench: &Bench, after: Duration) -> Stopped {
    drop(promptly(bench.client().unload(UnloadRequest {})).await);
    let (mut client, request) = (bench.client(), bench.loading());
    let load = async move { client.load(request).await };
    let stopped = stopped("Load", bench, after, load, |reply: &LoadReply| reply.error.as_ref()).await;
    if !matches!(stopped, Stopped::Cancelled(_)) {
        return stopped;
    }
    let call = bench.client().call(bench.request(bench.procedure(), 2, 0)).await;
    match out_of_order("Call after a load that was cancelled", call) {
        Ok(()) => stopped,
        Err(why) => Stopped::Broken(why),
    }
}

async fn stopped_compilation(bench: &Bench, after: Duration) -> Stopped {
    let (mut client, request) = (bench.client(), compiling(bench));
    let compilation = async move { client.compile(request).await };
    stopped("Compile", bench, after, compilation, |reply: &CompileReply| reply.error.as_ref()).await
}

/// Sends a request, and a Cancel so long after it.
async fn stopped<T: Send + 'static>(
    what: &str,
    bench: &Bench,
    after: Duration,
    request: impl Future<Output = Result<Response<T>, Status>> + Send + 'static,
    error: fn(&T) -> Option<&Error>,
) -> Stopped {
    let mut answer = tokio::spawn(request);
    tokio::time::sleep(after).await;
    let asked = Instant::now();
    let told = match promptly(bench.client().cancel(CancelRequest { call_id: 0 })).await {
        Ok(told) => told.in_flight,
        Err(status) => return Stopped::Broken(format!("Cancel of a {what}: {}", status_text(&status))),
    };
    let Ok(ended) = tokio::time::timeout(STOPS_WITHIN, &mut answer).await else {
        // What is tried next needs a worker that is idle.
        drop(patiently(what, async { answer.await.unwrap_or_else(|_| Err(Status::unknown(""))) }).await);
        return Stopped::Broken(format!("a {what} did not end within {} s of a Cancel", STOPS_WITHIN.as_secs()));
    };
    let took = asked.elapsed();
    let reply = match ended {
        Ok(Ok(reply)) => reply.into_inner(),
        Ok(Err(status)) => return Stopped::Broken(format!("a {what} that is cancelled: {}", status_text(&status))),
        Err(_) => return Stopped::Missed,
    };
    match error(&reply).map(Error::kind) {
        Some(Kind::Cancelled) if told => Stopped::Cancelled(took),
        Some(Kind::Cancelled) => {
            Stopped::Broken(format!("a {what} ended CANCELLED, and Cancel said that nothing was in flight"))
        }
        Some(kind) => Stopped::Broken(format!("a {what} ended with {}, expected CANCELLED", kind.as_str_name())),
        None if told && took >= INTERRUPTED => {
            let later = took.as_millis();
            Stopped::Broken(format!(
                "Cancel of a {what} said `in flight`, and it came to its end {later} ms later: ignored"
            ))
        }
        // It may have been at its end when the Cancel came.
        None => Stopped::Missed,
    }
}
