//! An isolated phase, by the counter around it; and the mean of several.

use super::stretch::{Estimate, StretchContext, Window, edge_time, few};
use crate::energy::edges::{Edge, Edges};
use crate::energy::{deviation, mean, together};
use crate::record::calibration::Coverage;
use crate::terms::energy::{Method, NoFigure};

/// Uncertainty of one isolated event on a counter that may not have seen it at all.
const UNSEEN: f64 = 0.8;

/// The counter around an isolated phase. `None`: it is not isolated.
pub(super) fn padded(
    window: &Window,
    edges: &Edges,
    around: &StretchContext<'_>,
) -> Result<Option<Estimate>, NoFigure> {
    let calibration = around.calibration;
    let quiet = calibration.counter_period_ns + calibration.window_ns + calibration.delay_ns + window.uncertainty;
    let (Some(since), Some(until)) = (around.quiet_since, around.quiet_until) else { return Ok(None) };
    if since + quiet > window.begin || window.end + quiet > until {
        return Ok(None);
    }
    let ready = |edge: &&Edge| edge.at + edge.spacing + window.uncertainty <= window.begin && edge.at >= since;
    let before = edges.edges.iter().rev().find(ready);
    let late = calibration.window_ns.min(calibration.counter_period_ns) + calibration.delay_ns;
    let from = window.end + late + window.uncertainty;
    let after = edges.edges.iter().find(|edge| edge.at >= from + edge.spacing && edge.at <= until);
    let (Some(before), Some(after)) = (before, after) else { return Ok(None) };
    if edges.reset_in(before.at, after.at) {
        return Err(NoFigure::CounterReset);
    }
    let Some(idle) = around.resident() else { return Err(NoFigure::IdleInvalid) };
    let passed = after.at.since(before.at).as_secs();
    let net = after.joules - before.joules - idle.watts * passed;
    let gross = net + idle.watts * window.seconds();
    if gross <= 0.0 {
        return Err(NoFigure::UTooLarge);
    }
    let spacing = before.spacing.max(after.spacing).as_secs();
    let unseen = if calibration.coverage == Coverage::Full { 0.0 } else { UNSEEN };
    // Whatever the phase's times are, all of it lies between the two updates; only idle power is shared out by them.
    let length = idle.watts * window.seconds() * window.u_length() / gross;
    let shared = together(&[idle.u_watts * passed / gross, length]);
    let u_stat = together(&[
        idle.watts * edge_time(spacing) / gross,
        calibration.resolution_j / (6.0_f64.sqrt() * gross),
        unseen,
        shared,
    ]);
    Ok(Some(Estimate { method: Method::Padded, gross_j: gross, u_stat, u_shared: shared, updates: 2, swept: false }))
}

/// Mean of isolated phases of one kind: what one of them leaves open by chance, several leave open less. `None`: fewer
/// than two, or figures of another method.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of events")]
pub fn pooled(found: &[Estimate]) -> Option<Estimate> {
    if found.len() < 2 || found.iter().any(|one| one.method != Method::Padded) {
        return None;
    }
    let energies: Vec<f64> = found.iter().map(|one| one.gross_j).collect();
    let (gross, n) = (mean(&energies), energies.len() as f64);
    // Events that happen to fall in step with a counter that sees part of the time scatter less than they are wrong.
    let random = |one: &Estimate| (one.u_stat.powi(2) - one.u_shared.powi(2)).max(0.0).sqrt();
    let least = found.iter().map(random).fold(f64::INFINITY, f64::min) / n.sqrt();
    let scatter = few(found.len()) * deviation(&energies) / gross / n.sqrt();
    let shared = mean(&found.iter().map(|one| one.u_shared * one.gross_j).collect::<Vec<_>>()) / gross;
    Some(Estimate {
        method: Method::Padded,
        gross_j: gross,
        u_stat: together(&[least.max(scatter), shared]),
        u_shared: shared,
        updates: found.iter().map(|one| one.updates).sum(),
        swept: false,
    })
}
