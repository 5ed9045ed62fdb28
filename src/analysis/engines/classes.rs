//! Two engines over whole requests, by what most of a request's time is spent on.
//!
//! A cell's request is its prefill and its decode together. How its ratio follows from those of the two phases: the shares of
//! the first engine's time weigh them, and what one phase leaves open is added to what the other does, for calls of one
//! process share what disturbs them.

use std::collections::HashMap;

use crate::analysis::phases::DecodeFraction;
use crate::analysis::table::Sources;
use crate::stats::log_estimate::LogEstimate;
use crate::terms::Mode;

use super::cells::{EngineComparison, EngineComparisonRow};
use super::pairs::{EnginePairsRow, judged_pairs};

/// What kind of request a cell stands for.
///
/// Source: the published synthesis' routing triggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkloadClass {
    /// 64 tokens are written or more, or decode takes more than nine tenths of the time on every engine.
    DecodeHeavy,
    /// Several prompts at once, and 8 tokens written at most.
    PrefillHeavy,
    /// Neither.
    Mixed,
}

/// From so many tokens written on decode is what counts.
const MANY_STEPS: u32 = 64;
/// From such a share of the time on it is, too.
const LARGE_SHARE: f64 = 0.9;
/// With no more tokens written, a batch's prefill is what counts.
const FEW_STEPS: u32 = 8;

impl WorkloadClass {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::DecodeHeavy, Self::PrefillHeavy, Self::Mixed];

    /// Of requests of so many rows and tokens, whose decode takes such a share of the time. `decode_share` is `None` where
    /// nothing tells it.
    #[must_use]
    pub fn of(batch: u32, gen_tokens: u32, decode_share: Option<f64>) -> Self {
        if gen_tokens >= MANY_STEPS || decode_share.is_some_and(|share| share > LARGE_SHARE) {
            Self::DecodeHeavy
        } else if batch > 1 && gen_tokens <= FEW_STEPS {
            Self::PrefillHeavy
        } else {
            Self::Mixed
        }
    }

    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DecodeHeavy => "decode-heavy",
            Self::PrefillHeavy => "prefill-heavy",
            Self::Mixed => "mixed",
        }
    }
}

/// Model, scenario, rows and decode steps.
type Place<'a> = (&'a str, &'a str, u32, u32);

/// The pairs of engines of a class, each judged among all pairs and classes.
pub(in crate::analysis) struct OfClass {
    pub(in crate::analysis) class: WorkloadClass,
    pub(in crate::analysis) pairs: Vec<EnginePairsRow>,
}

/// Every class that requests of two engines are compared in.
pub(in crate::analysis) fn by_class(from: &Sources<'_>) -> Vec<OfClass> {
    let (cells, fractions) = (from.rows::<EngineComparison>(), from.rows::<DecodeFraction>());
    let mut least_share: HashMap<Place<'_>, f64> = HashMap::new();
    for row in fractions.iter() {
        let place = (row.key.model.as_str(), row.key.scenario.as_str(), row.key.batch, row.key.gen_tokens);
        let least = least_share.entry(place).or_insert(row.decode_fraction);
        *least = least.min(row.decode_fraction);
    }
    let decodes: HashMap<_, &EngineComparisonRow> =
        cells.iter().filter(|cell| cell.mode == Mode::KvDecode).map(|cell| (question(cell), cell)).collect();
    let mut classes: Vec<(WorkloadClass, Vec<EngineComparisonRow>)> =
        WorkloadClass::ALL.map(|class| (class, Vec::new())).into();
    for prefill in cells.iter().filter(|cell| cell.mode == Mode::Prefill && cell.gen_tokens > 0) {
        let asked = question(prefill);
        let Some(request) = decodes.get(&asked).and_then(|decode| whole(prefill, decode)) else { continue };
        let own = WorkloadClass::of(prefill.batch, prefill.gen_tokens, least_share.get(&asked.2).copied());
        if let Some((_, of_class)) = classes.iter_mut().find(|(class, _)| *class == own) {
            of_class.push(request);
        }
    }
    let of_sessions = from.plan.session_count.is_several();
    let judged = judged_pairs(classes.iter().map(|(_, cells)| cells.as_slice()), of_sessions);
    let found = classes.iter().zip(judged).map(|((class, _), pairs)| OfClass { class: *class, pairs });
    found.filter(|of| !of.pairs.is_empty()).collect()
}

/// What a row asks two engines for.
fn question(cell: &EngineComparisonRow) -> (&str, &str, Place<'_>) {
    (&cell.backend_a, &cell.backend_b, (&cell.model, &cell.scenario, cell.batch, cell.gen_tokens))
}

/// Prefill and decode of a cell as one. `None`: either is not compared.
fn whole(prefill: &EngineComparisonRow, decode: &EngineComparisonRow) -> Option<EngineComparisonRow> {
    let (first, second) = (prefill.known_ratio()?, decode.known_ratio()?);
    let (prefill_ms, decode_ms) = (prefill.location_a_ms?, decode.location_a_ms?);
    let first_ms = prefill_ms + decode_ms;
    let (of_prefill, of_decode) = (prefill_ms / first_ms * first.value(), decode_ms / first_ms * second.value());
    let ratio = of_prefill + of_decode;
    let known = LogEstimate {
        ln: ratio.ln(),
        standard_error: (of_prefill * first.standard_error + of_decode * second.standard_error) / ratio,
        df: first.df.min(second.df),
    };
    Some(EngineComparisonRow {
        weights_id: prefill.weights_id.clone(),
        dtype: prefill.dtype,
        location_a_ms: Some(first_ms),
        location_b_ms: Some(first_ms * ratio),
        ratio: Some(ratio),
        standard_error_ln: Some(known.standard_error),
        df: Some(known.df),
        process_allowance_ln: prefill.process_allowance_ln,
        ..EngineComparisonRow::uncompared(
            [&prefill.backend_a, &prefill.backend_b],
            &prefill.model,
            &prefill.scenario,
            prefill.batch,
            prefill.gen_tokens,
            Mode::E2eKv,
        )
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_the_published_triggers() {
        for (batch, steps, share, class) in [
            (1, 64, None, WorkloadClass::DecodeHeavy),
            (8, 63, Some(0.91), WorkloadClass::DecodeHeavy),
            (8, 8, Some(0.9), WorkloadClass::PrefillHeavy),
            (8, 9, Some(0.5), WorkloadClass::Mixed),
            (1, 8, Some(0.1), WorkloadClass::Mixed),
            (2, 1, None, WorkloadClass::PrefillHeavy),
        ] {
            assert_eq!(WorkloadClass::of(batch, steps, share), class, "{batch} {steps} {share:?}");
        }
    }

    /// 30 ms against 15 and 10 ms against 20: 40 ms against 35.
    #[test]
    fn a_request_takes_what_both_phases_take() {
        let row = |mode, ms: f64, ratio: f64, error: f64| EngineComparisonRow {
            location_a_ms: Some(ms),
            ratio: Some(ratio),
            standard_error_ln: Some(error),
            df: Some(9.0),
            ..EngineComparisonRow::uncompared(["a", "b"], "m", "s", 1, 16, mode)
        };
        let both = whole(&row(Mode::Prefill, 30.0, 0.5, 0.01), &row(Mode::KvDecode, 10.0, 2.0, 0.02)).unwrap();
        assert!((both.ratio.unwrap() - 0.875).abs() < 1e-12 && (both.location_a_ms.unwrap() - 40.0).abs() < 1e-12);
        let error = (15.0 * 0.01 + 20.0 * 0.02) / 35.0;
        assert!((both.standard_error_ln.unwrap() - error).abs() < 1e-12, "{both:?}");
        let unknown = EngineComparisonRow { ratio: None, ..row(Mode::KvDecode, 10.0, 2.0, 0.02) };
        assert!(whole(&row(Mode::Prefill, 30.0, 0.5, 0.01), &unknown).is_none());
    }
}
