//! How time grows with size, where a law may be used.

use crate::analysis::scaling::{ScalingFitRow, ScalingFits};
use crate::analysis::table::{Sources, Table as _};
use crate::terms::Mode;
use crate::units::significant;

use super::row::{RecommendationRow, Standing, Topic};

/// One row per headline fit of a phase.
pub(super) fn recommend(from: &Sources<'_>) -> Vec<RecommendationRow> {
    let fits = from.rows::<ScalingFits>();
    fits.iter().filter(|fit| fit.key.headline && fit.key.mode != Mode::E2eKv).map(row).collect()
}

fn row(fit: &ScalingFitRow) -> RecommendationRow {
    let (standing, advice) = match &fit.reason {
        None => {
            (Standing::Decided, format!("reckon with {} to the power of the slope, between the sizes measured", fit.x))
        }
        Some(why) => (Standing::NotSeparated, format!("use no law of {}: {why}", fit.x)),
    };
    let interval = fit.slope.zip(fit.slope_t_low).zip(fit.slope_t_high).filter(|_| fit.actionable);
    let slope = interval.map(|((slope, low), high)| {
        let (slope, low, high) = (significant(slope, 3), significant(low, 3), significant(high, 3));
        format!("slope {slope} [{low}, {high}] over {} models", fit.n_models)
    });
    RecommendationRow {
        topic: Topic::Scaling,
        about: format!("{} on {} ({})", fit.key.mode, fit.key.backend, fit.key.dtype.as_str()),
        standing,
        advice,
        figures: slope,
        rows: ScalingFits::FILE.to_owned(),
        overturned_by: "sizes or architectures outside of those measured".to_owned(),
    }
}
