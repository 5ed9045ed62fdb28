//! What is answered while a call runs, and how a call is stopped.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tonic::{Code, Response, Status};

use super::bench::{Bench, patiently};
use super::finding::Tried;
use crate::backend::worker::connection::{promptly, status_text};
use crate::backend::worker::protocol::error::Kind;
use crate::backend::worker::protocol::{
    CallReply, CallRequest, CancelRequest, DescribeRequest, ReadClockRequest, Repeat,
};

/// Tries of what depends on the moment.
const TRIES: u32 = 4;

/// A call must take so long to be interrupted.
pub const INTERRUPTED: Duration = Duration::from_millis(10);

/// A call must take so long for it to show whether it ends before it would have.
const LEFT: Duration = Duration::from_millis(30);

/// How long a worker may take to stop.
pub const STOPS_WITHIN: Duration = Duration::from_secs(2);

/// How often it is looked whether a call has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How long what needs no work may take while a call runs.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

type Answer = Result<Response<CallReply>, Status>;

/// A call under way, and what it takes when nobody stops it. `None`: it never ends by itself.
struct UnderWay {
    call_id: u64,
    answer: JoinHandle<Answer>,
    usual: Option<Duration>,
}

/// Whether a rule could be tried.
enum Moment {
    Kept(String),
    Broken(String),
    /// The call had ended before anything could be asked.
    Missed,
}

/// A call that takes long, seen at work. `Err`: there is none that takes long enough, or it fails.
async fn under_way(bench: &Bench) -> Result<UnderWay, Tried> {
    let mut usual = None;
    let request = if bench.live.who.capabilities.repeat {
        let endless = Repeat { duration_ns: u64::MAX, gap_ns: 0 };
        CallRequest { repeat: Some(endless), ..bench.request(bench.procedure(), 2, 1) }
    } else {
        let takes = bench.longest_takes().await.map_err(Tried::Fail)?;
        if takes < INTERRUPTED {
            let model = "give a larger model with --model";
            return Err(Tried::Not(format!(
                "the longest call takes {} µs, too short to be interrupted; {model}",
                takes.as_micros()
            )));
        }
        usual = Some(takes);
        bench.request(bench.procedure(), bench.most_steps(), 1)
    };
    bench.make_ready(&request).await.map_err(Tried::Fail)?;
    let (call_id, mut client) = (request.call_id, bench.client());
    let answer = tokio::spawn(async move { client.call(request).await });
    // It is on its way before what is asked next.
    tokio::time::sleep(Duration::from_millis(2)).await;
    Ok(UnderWay { call_id, answer, usual })
}

/// Ends a call that was begun, whatever the worker thinks of cancelling.
async fn settle(bench: &Bench, mut call: UnderWay) {
    if call.answer.is_finished() {
        return;
    }
    let mut client = bench.client();
    drop(promptly(client.cancel(CancelRequest { call_id: 0 })).await);
    let longest = call.usual.unwrap_or_default() + STOPS_WITHIN;
    if tokio::time::timeout(longest, &mut call.answer).await.is_err() {
        call.answer.abort();
        idle(bench).await;
    }
}

/// Waits until the worker takes requests again, or for as long as it may take to stop.
async fn idle(bench: &Bench) -> bool {
    let (begin, mut client) = (Instant::now(), bench.client());
    loop {
        let request = DescribeRequest { settings: Some(bench.settings.clone()) };
        match client.describe(request).await {
            Err(status) if status.code() == Code::FailedPrecondition && begin.elapsed() < STOPS_WITHIN => {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            answer => return answer.is_ok(),
        }
    }
}

/// Tries something while a call runs until the moment was right.
macro_rules! while_a_call_runs {
    ($bench:expr, $ask:path) => {{
        let mut found = Tried::Not("the calls end too soon for anything to be asked while one runs".to_owned());
        for _ in 0..TRIES {
            let mut call = match under_way($bench).await {
                Ok(call) => call,
                Err(tried) => return tried,
            };
            let moment = $ask($bench, &mut call).await;
            settle($bench, call).await;
            match moment {
                Moment::Kept(words) => {
                    found = Tried::Pass(words);
                    break;
                }
                Moment::Broken(words) => found = Tried::Fail(words),
                Moment::Missed => {}
            }
        }
        found
    }};
}

/// A request of another client beside a call is refused, and changes nothing.
pub async fn one_client(bench: &Bench) -> Tried {
    while_a_call_runs!(bench, refused_beside)
}

async fn refused_beside(bench: &Bench, call: &mut UnderWay) -> Moment {
    let mut other = match bench.other() {
        Ok(other) => other,
        Err(why) => return Moment::Broken(why),
    };
    let request = DescribeRequest { settings: Some(bench.settings.clone()) };
    let described = patiently("Describe", other.describe(request)).await;
    let (early, second) = (call.answer.is_finished(), other.call(bench.request(bench.procedure(), 2, 2)).await);
    match (second, described) {
        _ if early => Moment::Missed,
        (Err(status), _) if status.code() != Code::FailedPrecondition => {
            Moment::Broken(format!("a second client's Call ends with {}", status_text(&status)))
        }
        (Ok(_), _) => Moment::Broken("a second client's Call is answered while the first one's runs".to_owned()),
        (Err(_), Ok(_)) => Moment::Broken("a second client's Describe is answered while a call runs".to_owned()),
        (Err(_), Err(_)) => Moment::Kept("a second client is refused while a call runs".to_owned()),
    }
}

/// The clock and a Cancel are answered at once while a call runs.
pub async fn answers(bench: &Bench) -> Tried {
    while_a_call_runs!(bench, answered_beside)
}

async fn answered_beside(bench: &Bench, call: &mut UnderWay) -> Moment {
    let mut client = bench.client();
    let begin = Instant::now();
    let clock = promptly(client.read_clock(ReadClockRequest {})).await;
    let unknown = promptly(client.cancel(CancelRequest { call_id: u64::MAX })).await;
    let took = begin.elapsed();
    if call.answer.is_finished() {
        // Either it was soon over, or nothing was answered before its end.
        let waited = call.usual.is_some_and(|usual| took > usual / 2);
        let words = "ReadClock and Cancel are answered only when the call has ended".to_owned();
        return if waited { Moment::Broken(words) } else { Moment::Missed };
    }
    match (clock, unknown) {
        (Err(status), _) => Moment::Broken(format!("ReadClock while a call runs: {}", status_text(&status))),
        (_, Err(status)) => Moment::Broken(format!("Cancel while a call runs: {}", status_text(&status))),
        (_, Ok(cancelled)) if cancelled.in_flight => {
            Moment::Broken("a Cancel of a call that was never made says that it is in flight".to_owned())
        }
        _ if took > ANSWERS_WITHIN => Moment::Broken(format!("ReadClock and Cancel took {} ms", took.as_millis())),
        _ => Moment::Kept(format!("the clock and a Cancel within {} µs while a call runs", took.as_micros())),
    }
}

/// A Cancel stops the call, which says so; the model then takes the next one.
pub async fn cancel(bench: &Bench) -> Tried {
    let before = match bench.good(bench.request(bench.procedure(), 3, 1)).await {
        Ok(before) => before.reply.tokens,
        Err(why) => return Tried::Fail(why),
    };
    let found = while_a_call_runs!(bench, stopped);
    let after = bench.good(bench.request(bench.procedure(), 3, 1)).await;
    match (found, after) {
        (Tried::Pass(_), Ok(after)) if after.reply.tokens != before => {
            Tried::Fail("after a Cancel the same call gives other tokens".to_owned())
        }
        (Tried::Pass(_), Err(why)) => Tried::Fail(format!("after a Cancel: {why}")),
        (found, _) => found,
    }
}

async fn stopped(bench: &Bench, call: &mut UnderWay) -> Moment {
    let mut client = bench.client();
    let asked = Instant::now();
    let told = match promptly(client.cancel(CancelRequest { call_id: call.call_id })).await {
        Ok(told) => told.in_flight,
        Err(status) => return Moment::Broken(format!("Cancel: {}", status_text(&status))),
    };
    let ended = tokio::time::timeout(STOPS_WITHIN, &mut call.answer).await;
    let took = asked.elapsed();
    let reply = match ended {
        Err(_) => return Moment::Broken(format!("the call did not end within {} s", STOPS_WITHIN.as_secs())),
        Ok(Ok(Ok(reply))) => reply.into_inner(),
        Ok(Ok(Err(status))) => return Moment::Broken(format!("the call ended with {}", status_text(&status))),
        Ok(Err(_)) => return Moment::Missed,
    };
    match reply.error.as_ref().map(|error| error.kind()) {
        Some(Kind::Cancelled) if !told => {
            Moment::Broken("the call ended CANCELLED, and Cancel said that nothing was in flight".to_owned())
        }
        Some(Kind::Cancelled) if !reply.session_usable => {
            Moment::Broken("`session_usable` is false after a Cancel: every deadline would cost a load".to_owned())
        }
        Some(Kind::Cancelled) => Moment::Kept(format!("the call ends CANCELLED after {} µs", took.as_micros())),
        Some(kind) => Moment::Broken(format!("the call ended with {}, expected CANCELLED", kind.as_str_name())),
        None => {
            let (after, told) = (took.as_millis(), if told { "in flight" } else { "not in flight" });
            Moment::Broken(format!("Cancel said `{told}`, and the call came to its end {after} ms later: ignored"))
        }
    }
}

/// A client that closes its connection stops its call, and the model takes the next one.
pub async fn leaving(bench: &Bench) -> Tried {
    let mut found = Tried::Not("the calls end too soon for their client to leave".to_owned());
    for _ in 0..TRIES {
        let shortest = match shortest(bench).await {
            Ok(shortest) => shortest,
            Err(why) => return Tried::Fail(why),
        };
        let call = match under_way(bench).await {
            Ok(call) => UnderWay { usual: call.usual.min(shortest), ..call },
            Err(tried) => return tried,
        };
        match left(bench, call).await {
            Moment::Kept(words) => {
                let next = bench.good(bench.request(bench.procedure(), 3, 1)).await;
                return match next {
                    Ok(_) => Tried::Pass(words),
                    Err(why) => Tried::Fail(format!("after a client has left: {why}")),
                };
            }
            Moment::Broken(words) => found = Tried::Fail(words),
            Moment::Missed => {}
        }
    }
    found
}

/// What the longest call takes at least: other programs may be in the way of one. `None`: calls can go on for ever.
async fn shortest(bench: &Bench) -> Result<Option<Duration>, String> {
    if bench.live.who.capabilities.repeat {
        return Ok(None);
    }
    let mut shortest = bench.longest_takes().await?;
    for _ in 1..TRIES {
        shortest = shortest.min(bench.longest_takes().await?);
    }
    Ok(Some(shortest))
}

/// Leaves a call that is under way.
async fn left(bench: &Bench, call: UnderWay) -> Moment {
    if call.answer.is_finished() || call.usual.is_some_and(|usual| usual < LEFT) {
        settle(bench, call).await;
        return Moment::Missed;
    }
    call.answer.abort();
    let begin = Instant::now();
    let free = idle(bench).await;
    let took = begin.elapsed();
    if !free {
        drop(promptly(bench.client().cancel(CancelRequest { call_id: 0 })).await);
        idle(bench).await;
        return Moment::Broken("a call goes on although its client has closed the connection".to_owned());
    }
    match call.usual {
        // It came to its end, and nobody wanted it.
        Some(usual) if took > usual / 2 => Moment::Broken(format!(
            "a call of {} ms goes on although its client has closed the connection: free again {} ms later",
            usual.as_millis(),
            took.as_millis()
        )),
        _ => Moment::Kept(format!("free again {} ms after its client left", took.as_millis())),
    }
}
