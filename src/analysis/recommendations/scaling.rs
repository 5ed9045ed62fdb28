//! How time grows with size, where a law may be used.

use crate::analysis::scaling::{ScalingFitRow, ScalingFits};
use crate::analysis::table::{Sources, Table as _};
use crate::terms::Mode;
use crate::units::significant;

use super::row::{RecommendationRow, Standing, Topic};

/// Fewer models ask for no law.
const FEWEST_MODELS: usize = 3;

/// One row per headline fit of a phase over that many models.
pub(super) fn recommend(from: &Sources<'_>) -> Vec<RecommendationRow> {
    let fits = from.rows::<ScalingFits>();
    let asked = |fit: &&ScalingFitRow| fit.key.headline && fit.key.mode != Mode::E2eKv && fit.n_models >= FEWEST_MODELS;
    fits.iter().filter(asked).map(row).collect()
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
