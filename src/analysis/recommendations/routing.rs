//! Whether some requests belong on another engine than the default.
//!
//! A scenario is an exception where another engine is faster there beyond the margin; one scenario is a hint, several are a rule.
//! Routing that gains less than the margin over all cells is not worth having.

use std::collections::BTreeSet;

use crate::analysis::engines::{EngineComparison, EngineComparisonRow, EnginePairs, EngineVerdict, MARGIN};
use crate::analysis::table::{Sources, Table as _};
use crate::stats::summary::geometric_mean;
use crate::terms::{Dtype, Mode};

use super::engine::{PHASES, defaults, dtypes, fastest};
use super::row::{RecommendationRow, Standing, Topic};

/// One row per phase and element type that has one default engine, or scenarios in which another engine than the fastest of
/// several is faster.
pub(super) fn recommend(from: &Sources<'_>) -> Vec<RecommendationRow> {
    let (pairs, cells) = (from.rows::<EnginePairs>(), from.rows::<EngineComparison>());
    let mut rows = Vec::new();
    for mode in PHASES {
        for dtype in dtypes(&pairs, mode) {
            let of: Vec<_> = pairs.iter().filter(|pair| pair.mode == mode && pair.dtype == Some(dtype)).collect();
            let cells = cells.iter().filter(|cell| cell.mode == mode && cell.dtype == Some(dtype));
            let cells: Vec<_> = cells.collect();
            // Engines that are alike over all cells, or not told apart there, may differ in each: the fastest stands for them.
            match (&defaults(&of)[..], fastest(&of)) {
                ([default], _) => rows.push(row(mode, dtype, default, &cells)),
                (_, Some(best)) if cells.iter().any(|cell| Exception::of(cell, &best).is_some()) => {
                    rows.push(row(mode, dtype, &best, &cells));
                }
                _ => {}
            }
        }
    }
    rows
}

/// A cell in which another engine is faster than the default, and its time ÷ the default's.
struct Exception<'a> {
    cell: &'a EngineComparisonRow,
    engine: &'a str,
    ratio: f64,
}

impl<'a> Exception<'a> {
    /// `None`: the default is not in the cell's pair, or the other is not known to be faster beyond the margin.
    fn of(cell: &'a EngineComparisonRow, default: &str) -> Option<Self> {
        let ratio = cell.ratio?;
        if cell.backend_a == default && cell.verdict == EngineVerdict::Faster {
            Some(Self { cell, engine: &cell.backend_b, ratio })
        } else if cell.backend_b == default && cell.verdict.turned() == EngineVerdict::Faster {
            Some(Self { cell, engine: &cell.backend_a, ratio: ratio.recip() })
        } else {
            None
        }
    }
}

fn row(mode: Mode, dtype: Dtype, default: &str, cells: &[&EngineComparisonRow]) -> RecommendationRow {
    let exceptions: Vec<Exception<'_>> = cells.iter().filter_map(|cell| Exception::of(cell, default)).collect();
    let scenarios: BTreeSet<&str> = exceptions.iter().map(|exception| exception.cell.scenario.as_str()).collect();
    let (standing, advice) = match (gain(default, cells, &exceptions), scenarios.len()) {
        (_, 0) => (Standing::Decided, format!("send everything to {default}")),
        (gain, 1) => (
            Standing::Hint,
            format!("one scenario speaks for another engine, which is no rule; it would gain {gain:.1} %"),
        ),
        (gain, _) if gain < (MARGIN - 1.0) * 100.0 => {
            (Standing::Decided, format!("do not route: it gains {gain:.1} % over {default} alone"))
        }
        (gain, _) => (Standing::Decided, format!("route: it takes {gain:.1} % off what {default} alone takes")),
    };
    let named = exceptions.iter().map(|exception| {
        let Exception { cell, engine, ratio } = exception;
        format!("{} · {} · batch {}: {engine} takes {:.2} of the time", cell.model, cell.scenario, cell.batch, ratio)
    });
    let named: Vec<String> = named.collect();
    RecommendationRow {
        topic: Topic::Routing,
        about: format!("{mode} ({})", dtype.as_str()),
        standing,
        advice,
        figures: (!named.is_empty()).then(|| named.join("; ")),
        rows: EngineComparison::FILE.to_owned(),
        overturned_by: "other lengths than those measured; a workload that has them in other shares".to_owned(),
    }
}

/// What the best engine of every cell takes off the default's time, cells weighing alike. Unit: percent.
fn gain(default: &str, cells: &[&EngineComparisonRow], exceptions: &[Exception<'_>]) -> f64 {
    let of_default = cells.iter().filter(|cell| cell.ratio.is_some());
    let mut places: Vec<(&str, &str, u32, u32)> = Vec::new();
    for cell in of_default.filter(|cell| cell.backend_a == default || cell.backend_b == default) {
        let place = (cell.model.as_str(), cell.scenario.as_str(), cell.batch, cell.gen_tokens);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    let best = places.iter().map(|place| {
        let here = exceptions.iter().filter(|exception| {
            let cell = exception.cell;
            (cell.model.as_str(), cell.scenario.as_str(), cell.batch, cell.gen_tokens) == *place
        });
        here.map(|exception| exception.ratio).fold(1.0, f64::min)
    });
    let best: Vec<f64> = best.collect();
    (1.0 - geometric_mean(&best).unwrap_or(1.0)) * 100.0
}
