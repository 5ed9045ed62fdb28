//! A phase that was repeated steadily, by the counter's slope.

use super::stretch::{Estimate, FEWEST_EDGES, LEAST_VARIATION, Stretch, StretchContext, Window, edge_time, few};
use crate::energy::check::{readings_missing, stands_still};
use crate::energy::edges::{Edge, Edges};
use crate::energy::{Trace, deviation, mean, together};
use crate::record::calibration::Coverage;
use crate::terms::energy::{Method, NoFigure};

/// Mean over the windows of a loop.
#[expect(clippy::cast_precision_loss, reason = "counts of windows and groups")]
pub(super) fn steady(
    stretch: &Stretch,
    trace: &Trace,
    edges: &Edges,
    around: &StretchContext<'_>,
) -> Result<Estimate, NoFigure> {
    let calibration = around.calibration;
    let mut energies = Vec::new();
    let (mut updates, mut u_edges, mut u_steps, mut u_pauses) = (0, 0.0_f64, 0.0_f64, 0.0_f64);
    for window in &stretch.windows {
        let inside = inside(window, trace, edges, around)?;
        let [first, .., last] = inside else { return Err(NoFigure::TooShort) };
        let (joules, seconds) = (last.joules - first.joules, last.at.since(first.at).as_secs());
        let whole = joules / seconds * window.seconds();
        let paused = window.idle.as_secs();
        let idle = around.resident();
        if paused > 0.0 && idle.is_none() {
            return Err(NoFigure::IdleInvalid);
        }
        let working = whole - idle.map_or(0.0, |idle| idle.watts) * paused;
        if working <= 0.0 {
            return Err(NoFigure::UTooLarge);
        }
        energies.push(working / f64::from(window.repeats.max(1)));
        updates += inside.len();
        let spacing = first.spacing.max(last.spacing).min(calibration.counter_period_ns).as_secs();
        u_edges = u_edges.max(edge_time(spacing) / seconds);
        u_steps = u_steps.max(calibration.resolution_j / (6.0_f64.sqrt() * joules));
        u_pauses = u_pauses.max(idle.map_or(0.0, |idle| idle.u_watts) * paused / working);
    }
    let gross = mean(&energies);
    let n = energies.len() as f64;
    let groups = f64::from(stretch.windows.iter().map(|window| window.groups).min().unwrap_or(1));
    let swept = groups > 1.0;
    // Between windows everything shows that moves from one to the next; one window alone shows nothing of it.
    let between = if n > 1.0 { few(energies.len()) * deviation(&energies) / gross / n.sqrt() } else { 0.0 };
    let partial = match (calibration.coverage, swept) {
        (Coverage::Full, _) => 0.0,
        (_, true) => LEAST_VARIATION / (groups * n).sqrt() / 2.0,
        (_, false) => LEAST_VARIATION,
    };
    Ok(Estimate {
        method: Method::SteadySlope,
        gross_j: gross,
        u_stat: together(&[u_edges / n.sqrt(), u_steps / n.sqrt(), between, partial, u_pauses]),
        u_shared: together(&[partial, u_pauses]),
        updates: u32::try_from(updates).unwrap_or(u32::MAX),
        swept,
    })
}

/// The counter's updates in a window, which must reach from its beginning to its end: else they say nothing of the rest.
fn inside<'a>(
    window: &Window,
    trace: &Trace,
    edges: &'a Edges,
    around: &StretchContext<'_>,
) -> Result<&'a [Edge], NoFigure> {
    let delay = around.calibration.delay_ns;
    let (begin, end) = (window.begin + delay, window.end + delay);
    let inside = edges.inside(begin, end);
    let longest = around.longest_still(around.calibration.counter_period_ns);
    if let [first, .., last] = inside
        && inside.len() >= FEWEST_EDGES
        && last.joules > first.joules
        && first.at <= begin + longest
        && end <= last.at + longest
    {
        return Ok(inside);
    }
    Err(if stands_still(&trace.counter, begin, end, longest) {
        NoFigure::Stale
    } else if readings_missing(trace, around.poll, window.begin, window.end) {
        NoFigure::PollGap
    } else {
        NoFigure::TooShort
    })
}
