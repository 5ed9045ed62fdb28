//! Whether anything may be said of energy.

use crate::analysis::energy::EnergySummary;
use crate::analysis::table::{Sources, Table as _};

use super::row::{RecommendationRow, Standing, Topic};

/// One row for the run.
pub(super) fn recommend(from: &Sources<'_>) -> Option<RecommendationRow> {
    if from.plan.cells.is_empty() {
        return None;
    }
    let summary = from.rows::<EnergySummary>();
    let graded = summary.iter().filter(|row| row.graded > 0).count();
    let (standing, advice) = match (summary.len(), graded) {
        (0, _) => (Standing::NoData, "say nothing of energy: no power was recorded"),
        (_, 0) => (Standing::NoData, "say nothing of energy: no figure is of grade C or better"),
        (all, graded) if graded < all => (Standing::Hint, "quote energy only of the rows that have a grade"),
        _ => (Standing::Decided, "energy may be quoted, with its grade"),
    };
    Some(RecommendationRow {
        topic: Topic::Energy,
        about: "the run".to_owned(),
        standing,
        advice: advice.to_owned(),
        figures: (!summary.is_empty()).then(|| format!("{graded} of {} rows have a grade", summary.len())),
        rows: EnergySummary::FILE.to_owned(),
        overturned_by: "another sensor, or a longer window for it".to_owned(),
    })
}
