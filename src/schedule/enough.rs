//! When an adaptive cell was called often enough.

use std::collections::BTreeMap;

use crate::record::Rule;
use crate::stats;
use crate::stats::location::{StopDecision, StopReason, adaptive_location, narrow_enough};
use crate::terms::{Division, Mode, Repetitions};

/// Why a cell is stopped.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stop {
    pub(super) rule: Rule,
    pub(super) relative_ci: Option<f64>,
    pub(super) why: String,
}

/// A cell in one session that is known well enough by the `series` of its good calls, or was called as often as is allowed.
pub(super) fn by_calls(repetitions: Repetitions, timed: u32, series: &BTreeMap<Mode, Vec<f64>>) -> Option<Stop> {
    let Repetitions::Adaptive { min, max, until_relative_ci } = repetitions else { return None };
    let locations = series.values().filter_map(|series| adaptive_location(series, stats::LEVEL).ok());
    let relative_ci = locations.map(|location| location.relative_half_width).reduce(f64::max);
    let narrow = |series: &Vec<f64>| {
        let decision = narrow_enough(series, min as usize, max as usize, until_relative_ci);
        matches!(decision, StopDecision::Stop { reason: StopReason::Narrow, .. })
    };
    if !series.is_empty() && series.values().all(narrow) {
        let reached = relative_ci.map_or_else(|| "?".to_owned(), width);
        let why = format!("CI {reached} ≤ {}", width(until_relative_ci));
        return Some(Stop { rule: Rule::NarrowEnough, relative_ci, why });
    }
    (timed >= max).then(|| most_calls_made(max, relative_ci))
}

/// A cell in several sessions that is known well enough from those that are complete, or whose last one is. `reached`: how
/// narrow its interval from sessions is.
pub(super) fn by_sessions(division: Division, timed: u32, reached: Option<f64>) -> Option<Stop> {
    let Repetitions::Adaptive { until_relative_ci, .. } = division.repetitions else { return None };
    if !division.ends_session(timed) {
        return None;
    }
    let sessions = division.session_of(timed - 1) + 1;
    let narrow = reached.filter(|reached| *reached <= until_relative_ci);
    if let Some(reached) = narrow.filter(|_| sessions >= division.sessions.min) {
        let why = format!("CI {} ≤ {} from {sessions} sessions", width(reached), width(until_relative_ci));
        return Some(Stop { rule: Rule::NarrowEnough, relative_ci: narrow, why });
    }
    (timed >= division.most_calls()).then(|| most_calls_made(division.most_calls(), reached))
}

fn most_calls_made(max: u32, relative_ci: Option<f64>) -> Stop {
    let interval = relative_ci.map(|share| format!("CI {}", width(share)));
    let reached = interval.unwrap_or_else(|| "too few good calls for an interval".to_owned());
    Stop { rule: Rule::MaxCalls, relative_ci, why: format!("{max} calls made, {reached}") }
}

/// Half of an interval's width as a share of its estimate. Beyond the estimate itself a share says nothing more.
fn width(share: f64) -> String {
    if share > 1.0 { "beyond ±100 %".to_owned() } else { format!("{:.2} %", share * 100.0) }
}
