//! A worker's reply: a protobuf message through the checks that judge it.
//!
//! The first byte says which message the rest is, the second what was asked for.

use std::collections::BTreeMap;
use std::hint::black_box;

use phasebench::backend::Outcome;
use phasebench::backend::worker::clock::{Mapping, Pace, Pair, RoundTrip, source};
use phasebench::backend::worker::protocol as wire;
use phasebench::backend::worker::reply::{self, Asked};
use phasebench::backend::worker::text::{clean, map};
use phasebench::backend::worker::{evidence, settings, words};
use phasebench::terms::{Phase, Procedure};
use phasebench::units::Nanos;
use prost::Message;

use super::measured;

/// Tokens that the model knows.
const VOCABULARY: usize = 300;

pub fn read(data: &[u8]) {
    let [kind, asked, message @ ..] = data else { return };
    match kind % 6 {
        0 | 1 => called(message, *asked, kind % 2 == 1),
        2 => drop(wire::LoadReply::decode(message).map(|found| {
            drop(found.error.as_ref().map(words::failure));
            reply::loaded(found, vec![("start".to_owned(), Nanos(1))])
        })),
        3 => drop(wire::CompileReply::decode(message).map(|found| evidence::of_compile(found, None))),
        4 => drop(wire::DescribeReply::decode(message).map(|found| {
            drop(found.error.as_ref().map(words::failure));
            (clean(&found.engine), clean(&found.fix), map(found.facts), map(found.boundary))
        })),
        _ => greeted(message),
    }
    // The other direction: what a client sends our own worker.
    drop(wire::DescribeRequest::decode(message).map(|asked| asked.settings.map(|found| settings::onnx(&found))));
}

/// A call's reply; `probed`: of a call that asked for log-probabilities.
fn called(message: &[u8], asked: u8, probed: bool) {
    let procedure = match asked % 3 {
        0 => Procedure::Prefill,
        1 => Procedure::PrefillDecode,
        _ => Procedure::Uncached,
    };
    let (rows, steps) = (u32::from(asked / 3 % 3) + 1, u32::from(asked / 9 % 5));
    let call = measured::call(procedure, rows, steps);
    let Ok(found) = wire::CallReply::decode(message) else { return };
    if probed {
        drop(reply::probed(&found.logprobs, &call, VOCABULARY));
    }
    let compiled = if asked >= 128 { vec![(Phase::KvDecode, "inductor".to_owned())] } else { Vec::new() };
    let compiled: BTreeMap<Phase, String> = compiled.into_iter().collect();
    let Some(mapping) = mapping(None, [500, 600, 700]) else { return };
    let window = (Nanos(1_000), Nanos(1_000_000));
    let asked = Asked { call: &call, compiled: &compiled, vocabulary: VOCABULARY, mapping, window };
    let mut outcome: Outcome = reply::outcome(found, &asked);
    let said = BTreeMap::from([(Phase::KvDecode, vec!["said before".to_owned()])]);
    evidence::recall(&mut outcome, &said);
    if let Some(reply) = &mut outcome.reply {
        reply.round_trip = Some(mapping.slowest);
    }
    measured::measured(outcome, procedure, rows, steps);
}

/// A greeting, and its clock read a few times: each a message of its own after the first.
fn greeted(message: &[u8]) {
    let Ok(found) = wire::HelloReply::decode(message) else { return };
    drop((clean(&found.worker), clean(&found.worker_version)));
    let told = u64::from(found.pid).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for readings in [[500, 600, 700], [told, told, told], [told, 0, u64::MAX]] {
        let Some(first) = mapping(found.clock.as_ref(), readings) else { continue };
        let Some(later) = mapping(found.clock.as_ref(), [told, told, told]) else { continue };
        black_box(Pace::new(first, Nanos(0)).wrong(later, Nanos(1_000_000_000)));
        black_box((first.description(), first.run(told)));
    }
}

/// The mapping that three readings of a worker's clock lead to.
fn mapping(theirs: Option<&wire::ClockSource>, readings: [u64; 3]) -> Option<Mapping> {
    let trips: Vec<RoundTrip> = (0..)
        .zip(readings)
        .map(|(n, worker)| RoundTrip { sent: Nanos(500 + 100 * n), worker, received: Nanos(550 + 100 * n) })
        .collect();
    let pair = Pair { run: Nanos(500), kernel: 500, error: Nanos(50) };
    Mapping::find(theirs, &source(), pair, &trips)
}
