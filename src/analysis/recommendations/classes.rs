//! Which engine to use for a class of requests.

use crate::analysis::engines::{EngineComparison, EnginePairsRow, OfClass, by_class};
use crate::analysis::phases::DecodeFraction;
use crate::analysis::table::{Sources, Table as _};
use crate::terms::Mode;

use super::engine::{Choice, choice, dtypes, overturned_by};
use super::row::{RecommendationRow, Topic};

/// One row per class and element type in which whole requests are compared.
pub(super) fn recommend(from: &Sources<'_>) -> Vec<RecommendationRow> {
    let mut rows = Vec::new();
    for OfClass { class, pairs } in by_class(from) {
        for dtype in dtypes(&pairs, Mode::E2eKv) {
            let of: Vec<&EnginePairsRow> = pairs.iter().filter(|pair| pair.dtype == Some(dtype)).collect();
            let Choice { standing, advice, figures } = choice(&of);
            rows.push(RecommendationRow {
                topic: Topic::WorkloadClass,
                about: format!("{} requests ({})", class.as_str(), dtype.as_str()),
                standing,
                advice,
                figures,
                rows: [EngineComparison::FILE, DecodeFraction::FILE].join("; "),
                overturned_by: overturned_by(from.plan).to_owned(),
            });
        }
    }
    rows
}
