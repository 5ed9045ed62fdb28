//! Whether a model must be kept loaded.

use crate::analysis::loads::{LoadBreakdown, LoadRow};
use crate::analysis::table::{Sources, Table as _};
use crate::stats::summary::median;
use crate::units::significant;

use super::row::{RecommendationRow, Standing, Topic};

/// A caller who finds the model not loaded may wait so many times as long as one who does.
/// Source: the published reports' gate.
pub const COLD_STARTS_LONG: f64 = 10.0;

/// One row per backend and model.
pub(super) fn recommend(from: &Sources<'_>) -> Vec<RecommendationRow> {
    let loads = from.rows::<LoadBreakdown>();
    let mut sessions: Vec<(&str, &str)> = Vec::new();
    for load in loads.iter() {
        let session = (load.backend.as_str(), load.model.as_str());
        if !sessions.contains(&session) {
            sessions.push(session);
        }
    }
    let of = |(backend, model): &(&str, &str)| {
        let own: Vec<&LoadRow> = loads.iter().filter(|load| load.backend == *backend && load.model == *model).collect();
        row(backend, model, &own)
    };
    sessions.iter().filter_map(of).collect()
}

/// `None`: no load has a warm call to be held against.
fn row(backend: &str, model: &str, loads: &[&LoadRow]) -> Option<RecommendationRow> {
    let ratios: Vec<f64> = loads.iter().filter_map(|load| load.cold_start_ratio).collect();
    let waits = loads.iter().filter_map(|load| Some(load.duration_ms + load.first_call_ms?));
    let (ratio, wait_ms) = (median(&ratios)?, median(&waits.collect::<Vec<f64>>())?);
    let advice = if ratio > COLD_STARTS_LONG { "keep it loaded" } else { "it may be loaded when it is asked for" };
    let (ratio, wait) = (significant(ratio, 3), significant(wait_ms / 1e3, 3));
    Some(RecommendationRow {
        topic: Topic::WarmPool,
        about: format!("{model} on {backend}"),
        standing: Standing::Decided,
        advice: advice.to_owned(),
        figures: Some(format!(
            "a cold start takes {wait} s, {ratio} times a warm prefill; the limit is {COLD_STARTS_LONG}"
        )),
        rows: LoadBreakdown::FILE.to_owned(),
        overturned_by:
            "weights that are not in the page cache; a limit on the time to the first token that a cold start keeps"
                .to_owned(),
    })
}
