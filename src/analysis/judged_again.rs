//! Prefills of servers that keep prompts, judged again: while a run goes on a call can be held against earlier ones only, and
//! of a finished run all are known.
//!
//! What was never sent counts whatever it took, and is flagged where it took as long as a prompt that the server had kept.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::CallRecord;
use crate::stats::reuse::{Piece, Verdict, judge};
use crate::store::Recording;
use crate::terms::Phase;
use crate::terms::kept_prompt::{PROMPT_BEGIN, REPEATED_PREFILL};

/// Prefills of one model on one backend, and what repeats on purpose took there.
#[derive(Default)]
struct Prefills<'a> {
    ids: Vec<&'a str>,
    pieces: Vec<Piece>,
    /// Unit: milliseconds.
    repeats: Vec<f64>,
}

/// Ids of the calls that went well and whose prefill does not show that their prompt was evaluated.
pub(super) fn suspects(recording: &Recording) -> BTreeSet<&str> {
    // Without a prompt that is sent twice on purpose, nothing can be told.
    if !recording.calls().any(|call| call.engine_ns.contains_key(REPEATED_PREFILL)) {
        return BTreeSet::new();
    }
    let mut of_model: BTreeMap<(&str, &str, &str), Prefills<'_>> = BTreeMap::new();
    let mut begun: BTreeSet<(u32, &str)> = BTreeSet::new();
    for call in recording.calls() {
        let key = (call.session.backend.as_str(), call.session.model.as_str(), call.weights_id.as_str());
        let prefills = of_model.entry(key).or_default();
        prefills.repeats.extend(call.engine_ns.get(REPEATED_PREFILL).map(|repeat| repeat.as_ms()));
        // A new load is a new process, which keeps nothing of earlier prompts.
        let begin = call.attribution.evidence.shown.get(PROMPT_BEGIN);
        let asked_before = begin.is_some_and(|begin| !begun.insert((call.load_index, begin.as_str())));
        if let Some(piece) = piece(call, asked_before) {
            prefills.ids.push(&call.call_id);
            prefills.pieces.push(piece);
        }
    }
    let judged = of_model.values().filter(|prefills| !prefills.repeats.is_empty()).flat_map(|prefills| {
        let verdicts = judge(&prefills.repeats, &prefills.pieces);
        prefills.ids.iter().copied().zip(verdicts)
    });
    judged.filter(|(_, verdict)| *verdict != Verdict::Done).map(|(id, _)| id).collect()
}

/// The prefill of a call. `None`: the call does not count, or the prefill or its tokens are not told.
fn piece(call: &CallRecord, asked_before: bool) -> Option<Piece> {
    let span = call.spans.iter().find(|span| span.phase == Phase::Prefill).filter(|_| call.status.is_ok())?;
    Some(Piece { size: call.tokens.prompt_sent?, ms: span.duration().as_ms(), asked_before })
}
