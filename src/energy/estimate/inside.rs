//! A phase as it came, by what a sensor said inside it.

use super::stretch::{Estimate, FEWEST_EDGES, LEAST_VARIATION, StretchContext, Window, edge_time};
use crate::energy::check::stands_still;
use crate::energy::edges::{Edge, Edges, changes};
use crate::energy::{Sample, Trace, deviation, mean, together};
use crate::record::calibration::Coverage;
use crate::terms::energy::Method;

/// Power readings that must lie inside a phase for their mean to be used.
const FEWEST_READINGS: usize = 3;

/// Power between neighbouring edges.
fn slopes(inside: &[Edge]) -> Vec<f64> {
    let pairs = inside.windows(2);
    pairs.map(|pair| (pair[1].joules - pair[0].joules) / pair[1].at.since(pair[0].at).as_secs()).collect()
}

/// First to last counter update inside the phase, extended to its length. `None`: too few.
#[expect(clippy::cast_precision_loss, reason = "few updates")]
pub(super) fn inner_edge(window: &Window, edges: &Edges, around: &StretchContext<'_>) -> Option<Estimate> {
    let calibration = around.calibration;
    // A counter that is late tells of the time before its update.
    let (begin, end) = window.surely(calibration.delay_ns)?;
    let inside = edges.inside(begin, end);
    let [first, .., last] = inside else { return None };
    if inside.len() < FEWEST_EDGES || last.joules <= first.joules {
        return None;
    }
    // A counter that stopped counting in the phase says nothing of what came after.
    if window.end > last.at + around.longest_still(calibration.counter_period_ns) + window.uncertainty {
        return None;
    }
    let (joules, span) = (last.joules - first.joules, last.at.since(first.at).as_secs());
    let length = window.seconds();
    let spacing = first.spacing.max(last.spacing).as_secs();
    let slopes = slopes(inside);
    let seen = deviation(&slopes) / mean(&slopes);
    let variation = seen.max(LEAST_VARIATION);
    let unseen = (1.0 - span / length).max(0.0);
    // What a partial counter says of a period is what it saw at its end: late where power drifts, a sample where it varies.
    let (late, sampled) = if calibration.coverage == Coverage::Full {
        (0.0, 0.0)
    } else {
        let half = slopes.len() / 2;
        let drift = (mean(&slopes[slopes.len() - half..]) - mean(&slopes[..half])).abs() / mean(&slopes) / (span / 2.0);
        let blind = calibration.counter_period_ns.since(calibration.window_ns).as_secs();
        (drift * blind / 2.0, seen / (slopes.len() as f64).sqrt())
    };
    let quantum = calibration.resolution_j / (6.0_f64.sqrt() * joules);
    let shared = together(&[unseen * variation, late, window.u_length()]);
    Some(Estimate {
        method: Method::InnerEdge,
        gross_j: joules / span * length,
        u_stat: together(&[edge_time(spacing) / span, sampled, quantum, shared]),
        u_shared: shared,
        updates: u32::try_from(inside.len()).unwrap_or(u32::MAX),
        swept: false,
    })
}

/// Mean of power readings that saw nothing but the phase, times its length. `None`: too few of them, or a register that
/// kept its value in it.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "few readings")]
pub(super) fn instant(window: &Window, trace: &Trace, around: &StretchContext<'_>) -> Option<Estimate> {
    let calibration = around.calibration;
    let samples = if trace.instant.is_empty() { &trace.average } else { &trace.instant };
    let (begin, end) = window.surely(calibration.delay_ns)?;
    // A reading may be a whole period old, and reaches back by its window from there.
    let begin = begin + calibration.power_period_ns + calibration.window_ns;
    let longest = around.longest_still(calibration.power_period_ns);
    if stands_still(samples, window.begin, end, longest) {
        return None;
    }
    let clean = samples.iter().filter(|s| s.begin >= begin && s.end <= end && s.watts().is_some());
    let clean: Vec<Sample> = clean.copied().collect();
    let inside: Vec<(f64, f64)> = clean.iter().filter_map(|s| Some((s.at().as_secs(), s.watts()?))).collect();
    let (first, last) = (inside.first()?.0, inside.last()?.0);
    // As many as there was time for, but no more than showed: equal values may all be one.
    let due = ((last - first) / calibration.power_period_ns.as_secs()).floor() as usize + 1;
    let updates = due.min(changes(&clean).len() + 1);
    if updates < FEWEST_READINGS {
        return None;
    }
    let area: f64 = inside.windows(2).map(|pair| (pair[1].0 - pair[0].0) * f64::midpoint(pair[0].1, pair[1].1)).sum();
    let watts = area / (last - first);
    let values: Vec<f64> = inside.iter().map(|reading| reading.1).collect();
    let variation = (deviation(&values) / watts).max(LEAST_VARIATION);
    let length = window.seconds();
    let unseen = 1.0 - ((last - first + calibration.window_ns.as_secs()) / length).min(1.0);
    // What falls between two readings' windows is a sample; windows that nobody measured may be shorter than assumed.
    let covered = calibration.window_ns.as_secs() / calibration.power_period_ns.as_secs();
    let gaps = (1.0 - covered).max(0.0).sqrt();
    let sampled = variation * (calibration.power_period_ns.as_secs() / length).sqrt();
    let blind = match calibration.coverage {
        Coverage::Full | Coverage::Partial => gaps,
        Coverage::Unknown => 2.0,
    };
    let shared = together(&[unseen * variation, window.u_length()]);
    Some(Estimate {
        method: Method::InstantInside,
        gross_j: watts * length,
        u_stat: together(&[blind * sampled, shared]),
        u_shared: shared,
        updates: u32::try_from(updates).unwrap_or(u32::MAX),
        swept: false,
    })
}
