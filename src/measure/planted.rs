//! A delay planted into a call on purpose: a known truth that a comparison must find again.
//!
//! The time really passes, inside the call and right after the engine's work. Each phase is charged its share of it, as if its
//! own work had taken longer; the record says how much that was, and the call counts nowhere.

use std::time::Duration;

use crate::backend::{Outcome, Reply};
use crate::clock::Clock;
use crate::record::{CallRecord, PlantedDelay};
use crate::terms::{Degraded, Phase, Status};
use crate::units::Nanos;

/// A sleep ends late by some 50 us, which is more than a tenth of a short phase: the last stretch is waited for awake.
const AWAKE: Duration = Duration::from_micros(200);

/// Waits until the phases of a call have taken `factor` times what they took. `None`: the call failed, and is left alone.
pub(super) fn plant(outcome: &mut Outcome, factor: f64, clock: &dyn Clock) -> Option<PlantedDelay> {
    let reply = outcome.reply.as_mut().filter(|reply| !reply.spans.is_empty())?;
    if outcome.failure.is_some() {
        return None;
    }
    let worked: u64 = reply.spans.iter().map(|span| span.end.since(span.begin).0).sum();
    let waited = wait(Nanos(worked).duration().mul_f64((factor - 1.0).max(0.0)), clock);
    let pause_ns = lengthen(reply, waited, worked);
    Some(PlantedDelay { factor, pause_ns })
}

/// Lets time pass; how much it was.
fn wait(time: Duration, clock: &dyn Clock) -> Nanos {
    let begin = clock.now();
    if clock.is_virtual() {
        clock.pass(time);
        return clock.now().since(begin);
    }
    clock.pass(time.saturating_sub(AWAKE));
    while clock.now().since(begin).duration() < time {
        std::hint::spin_loop();
    }
    clock.now().since(begin)
}

/// Charges each phase its share of the wait, and moves what comes after it.
fn lengthen(reply: &mut Reply, waited: Nanos, worked: u64) -> Vec<Nanos> {
    let mut pauses = Vec::with_capacity(reply.spans.len());
    let mut before = Nanos(0);
    let mut work = 0;
    for span in &mut reply.spans {
        let (begin, took) = (span.begin, span.end.since(span.begin));
        work += took.0;
        // Shares of the whole, so that rounding loses nothing.
        let after = share(waited, work, worked);
        let pause = after.since(before);
        (span.begin, span.end) = (span.begin + before, span.end + after);
        if span.phase != Phase::Prefill {
            for step in &mut reply.step_ends {
                let done = step.since(begin);
                *step = span.begin + done + share(pause, done.0, took.0);
            }
            reply.outside_engine = reply.outside_engine.map(|outside| outside + pause);
        }
        before = after;
        pauses.push(pause);
    }
    pauses
}

fn share(of: Nanos, part: u64, whole: u64) -> Nanos {
    let scaled = u128::from(of.0) * u128::from(part) / u128::from(whole.max(1));
    Nanos(u64::try_from(scaled).unwrap_or(u64::MAX))
}

/// The record of a call that was delayed: it is no measurement, and says so. A call that failed keeps its own reason.
pub(super) fn labelled(record: CallRecord, planted: PlantedDelay) -> CallRecord {
    if !record.status.is_ok() {
        return record;
    }
    let pause = Nanos(planted.pause_ns.iter().map(|pause| pause.0).sum());
    let detail = format!("a self-test made it take {} times as long, {pause} of waiting", planted.factor);
    CallRecord {
        status: Status::Degraded(Degraded::Planted),
        detail: Some(detail),
        planted: Some(planted.into()),
        ..record
    }
}
