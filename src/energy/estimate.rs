//! Energy of one phase, by the best method that the readings allow.

use crate::energy::check::stands_still;
use crate::energy::edges::Edges;
use crate::energy::{Trace, together};
use crate::terms::energy::NoFigure;
use crate::units::Nanos;

mod inside;
mod padded;
mod slope;
mod stretch;

pub use padded::pooled;
pub use stretch::{Estimate, Stretch, StretchContext, Window};

/// What a loop of two phases takes less what a loop of the first of them takes: the second phase, once.
///
/// # Errors
/// [`NoFigure::UTooLarge`] where nothing is left.
pub fn difference(whole: &Estimate, part: &Estimate) -> Result<Estimate, NoFigure> {
    let gross_j = whole.gross_j - part.gross_j;
    if gross_j <= 0.0 {
        return Err(NoFigure::UTooLarge);
    }
    let u_stat = together(&[whole.u_stat * whole.gross_j, part.u_stat * part.gross_j]) / gross_j;
    let u_shared = together(&[whole.u_shared * whole.gross_j, part.u_shared * part.gross_j]) / gross_j;
    let updates = whole.updates.min(part.updates);
    Ok(Estimate { method: whole.method, gross_j, u_stat, u_shared, updates, swept: whole.swept && part.swept })
}

/// Estimates a stretch: inside a loop by the counter's slope; else from the counter's updates inside the phase, else
/// from power readings inside it, else from the counter around it.
///
/// Readings that are missing in the middle do no harm to a counter: what counts is that both updates it is read at were
/// seen in time.
///
/// # Errors
/// Why there is no figure.
pub fn estimate(stretch: &Stretch, trace: &Trace, around: &StretchContext<'_>) -> Result<Estimate, NoFigure> {
    let (Some(first), Some(last)) = (stretch.windows.first(), stretch.windows.last()) else {
        return Err(NoFigure::TooShort);
    };
    if trace.counter.is_empty() && trace.instant.is_empty() && trace.average.is_empty() {
        return Err(NoFigure::NoSensor);
    }
    if !stretch.looped && crate::energy::unread::mostly_unread(trace, first.begin, first.end, around.poll) {
        return Err(NoFigure::PollGap);
    }
    let edges = Edges::of(&trace.counter, around.poll);
    let reset = edges.reset_in(first.begin, last.end + around.calibration.delay_ns);
    if stretch.looped {
        return if reset { Err(NoFigure::CounterReset) } else { slope::steady(stretch, trace, &edges, around) };
    }
    if !reset && let Some(found) = inside::inner_edge(first, &edges, around) {
        return Ok(found);
    }
    if let Some(found) = inside::instant(first, trace, around) {
        return Ok(found);
    }
    if reset {
        return Err(NoFigure::CounterReset);
    }
    if let Some(found) = padded::padded(first, &edges, around)? {
        return Ok(found);
    }
    Err(if all_still(trace, first, around) {
        NoFigure::Stale
    } else if missing(trace, first, around.poll) {
        NoFigure::PollGap
    } else {
        NoFigure::TooShort
    })
}

/// Whether every register of the sensor kept its value in the phase for longer than between two updates.
fn all_still(trace: &Trace, window: &Window, around: &StretchContext<'_>) -> bool {
    let calibration = around.calibration;
    let (counter, power) = (calibration.counter_period_ns, calibration.power_period_ns);
    let registers = [(&trace.counter, counter), (&trace.instant, power), (&trace.average, power)];
    registers.into_iter().filter(|(samples, _)| !samples.is_empty()).all(|(samples, period)| {
        stands_still(samples, window.begin, window.end + calibration.delay_ns, around.longest_still(period))
    })
}

/// Whether readings that should be there are not: some without a value, or fewer than half of those due.
#[expect(clippy::cast_precision_loss, reason = "counts of readings")]
fn missing(trace: &Trace, window: &Window, poll: Nanos) -> bool {
    let registers = [&trace.counter, &trace.instant, &trace.average];
    registers.into_iter().filter(|samples| !samples.is_empty()).any(|samples| {
        let inside = samples.iter().filter(|s| s.at() >= window.begin && s.at() <= window.end);
        let (asked, told) = (inside.clone().count(), inside.filter(|s| s.value.is_some()).count());
        let due = window.end.since(window.begin).as_secs() / poll.as_secs();
        asked > told || (told as f64) < (due / 2.0).floor()
    })
}
