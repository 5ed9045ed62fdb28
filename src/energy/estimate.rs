//! Energy of one phase, by the best method that the readings allow.

use crate::energy::edges::{Edge, Edges};
use crate::energy::{Calibration, Coverage, Idle, Method, Reason, Sample, Trace, deviation, mean, together};
use crate::units::Nanos;

/// A drift or variation that a few readings cannot show is taken to be at least this large, relative.
const LEAST_VARIATION: f64 = 0.05;

/// Uncertainty of one isolated event on a counter that may not have seen it at all.
const UNSEEN: f64 = 0.8;

/// Counter updates that must lie inside a phase for its slope to be used.
const FEWEST_EDGES: usize = 5;

/// Update periods, or polling periods where those are longer, without an update after which a counter counts as standing still.
const STALE: u64 = 3;

/// Power readings that must lie inside a phase for their mean to be used.
const FEWEST_READINGS: usize = 3;

/// What is asked about.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretch {
    /// Where the work began and ended, once for each window of a loop; one window for a phase as it came.
    pub windows: Vec<Window>,
    /// Whether each window repeats the phase steadily, with nothing before and after it inside the window.
    pub looped: bool,
}

/// One stretch of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// When it began.
    pub begin: Nanos,
    /// When it ended.
    pub end: Nanos,
    /// How often the phase was repeated in it.
    pub repeats: u32,
    /// Time in it that was left idle on purpose, to shift the work against the sensor.
    pub idle: Nanos,
    /// Groups that such pauses divide it into; 1: none.
    pub groups: u32,
}

impl Stretch {
    /// A phase as it came, once.
    #[must_use]
    pub fn natural(begin: Nanos, end: Nanos) -> Self {
        Self { windows: vec![Window { begin, end, repeats: 1, idle: Nanos(0), groups: 1 }], looped: false }
    }

    /// Repetitions in all windows.
    #[must_use]
    pub fn repeats(&self) -> u32 {
        self.windows.iter().map(|window| window.repeats).sum()
    }

    /// Seconds of work per repetition.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        let busy: f64 = self.windows.iter().map(|w| w.end.since(w.begin).since(w.idle).as_secs()).sum();
        busy / f64::from(self.repeats().max(1))
    }
}

/// What a loop of two phases takes less what a loop of the first of them takes: the second phase, once.
///
/// # Errors
/// [`Reason::UTooLarge`] where nothing is left.
pub fn difference(whole: &Estimate, part: &Estimate) -> Result<Estimate, Reason> {
    let gross_j = whole.gross_j - part.gross_j;
    if gross_j <= 0.0 {
        return Err(Reason::UTooLarge);
    }
    let u_stat = together(&[whole.u_stat * whole.gross_j, part.u_stat * part.gross_j]) / gross_j;
    let updates = whole.updates.min(part.updates);
    Ok(Estimate { method: whole.method, gross_j, u_stat, updates, swept: whole.swept && part.swept })
}

/// What is known around it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Surroundings<'a> {
    /// The sensor.
    pub calibration: &'a Calibration,
    /// The polling period.
    pub poll: Nanos,
    /// Idle power with the model resident. `None`: not measured, or not valid.
    pub idle: Option<&'a Idle>,
    /// Since when nothing else ran before it. `None`: something ran right before.
    pub quiet_since: Option<Nanos>,
    /// Until when nothing else ran after it. `None`: something ran right after, or readings end.
    pub quiet_until: Option<Nanos>,
}

/// A figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// How it was obtained.
    pub method: Method,
    /// Energy of one repetition, idle power included, in joules.
    pub gross_j: f64,
    /// Standard uncertainty of it without the sensor's gain, relative to it.
    pub u_stat: f64,
    /// Sensor updates it rests on.
    pub updates: u32,
    /// Share of the work that the sensor saw in a way that does not depend on when it looked.
    pub swept: bool,
}

/// Estimates a stretch: inside a loop by the counter's slope; else from the counter's updates inside the phase, else
/// from power readings inside it, else from the counter around it.
///
/// Readings that are missing in the middle do no harm to a counter: what counts is that both updates it is read at were
/// seen in time.
///
/// # Errors
/// Why there is no figure.
pub fn estimate(stretch: &Stretch, trace: &Trace, around: &Surroundings<'_>) -> Result<Estimate, Reason> {
    let (Some(first), Some(last)) = (stretch.windows.first(), stretch.windows.last()) else {
        return Err(Reason::TooShort);
    };
    if trace.counter.is_empty() && trace.instant.is_empty() && trace.average.is_empty() {
        return Err(Reason::NoSensor);
    }
    if !stretch.looped && crate::energy::unread::mostly_unread(trace, first.begin, first.end, around.poll) {
        return Err(Reason::PollGap);
    }
    let edges = Edges::of(&trace.counter, around.poll);
    let reset = edges.reset_in(first.begin, last.end);
    if stretch.looped {
        return if reset { Err(Reason::CounterReset) } else { steady_slope(stretch, &edges, around) };
    }
    if !reset && let Some(found) = inner_edge(first, &edges, around) {
        return Ok(found);
    }
    if let Some(found) = instant_inside(first, trace, around) {
        return Ok(found);
    }
    if reset {
        return Err(Reason::CounterReset);
    }
    if let Some(found) = padded(first, &edges, around)? {
        return Ok(found);
    }
    Err(if missing(trace, first, around.poll) { Reason::PollGap } else { Reason::TooShort })
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

/// Standard uncertainty of the time between two edges, each somewhere within `spacing`: two uniform distributions.
fn edge_time(spacing: f64) -> f64 {
    spacing / 6.0_f64.sqrt()
}

/// What the standard error of so few values is multiplied by for twice it to be a 95 % interval: Student's t at 0.975
/// ÷ 2.
fn few(values: usize) -> f64 {
    const T: [f64; 9] = [12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26];
    values.checked_sub(2).and_then(|index| T.get(index)).map_or(1.1, |t| t / 2.0)
}

#[expect(clippy::cast_precision_loss, reason = "counts of windows and groups")]
fn steady_slope(stretch: &Stretch, edges: &Edges, around: &Surroundings<'_>) -> Result<Estimate, Reason> {
    let calibration = around.calibration;
    let mut energies = Vec::new();
    let (mut updates, mut u_edges, mut u_steps) = (0, 0.0_f64, 0.0_f64);
    for window in &stretch.windows {
        let inside = edges.inside(window.begin + calibration.delay_ns, window.end);
        let (Some(first), Some(last)) = (inside.first(), inside.last()) else { return Err(Reason::TooShort) };
        let (joules, seconds) = (last.joules - first.joules, last.at.since(first.at).as_secs());
        if inside.len() < FEWEST_EDGES || joules <= 0.0 {
            return Err(Reason::TooShort);
        }
        let whole = joules / seconds * window.end.since(window.begin).as_secs();
        let pauses = around.idle.map_or(0.0, |idle| idle.watts) * window.idle.as_secs();
        if window.idle > Nanos(0) && around.idle.is_none() {
            return Err(Reason::IdleInvalid);
        }
        energies.push((whole - pauses) / f64::from(window.repeats.max(1)));
        updates += inside.len();
        let spacing = first.spacing.max(last.spacing).min(calibration.counter_period_ns).as_secs();
        u_edges = u_edges.max(edge_time(spacing) / seconds);
        u_steps = u_steps.max(calibration.resolution_j / (6.0_f64.sqrt() * joules));
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
    let u_stat = together(&[u_edges / n.sqrt(), u_steps / n.sqrt(), between, partial]);
    let updates = u32::try_from(updates).unwrap_or(u32::MAX);
    Ok(Estimate { method: Method::SteadySlope, gross_j: gross, u_stat, updates, swept })
}

/// Power between neighbouring edges.
fn slopes(inside: &[Edge]) -> Vec<f64> {
    let pairs = inside.windows(2);
    pairs.map(|pair| (pair[1].joules - pair[0].joules) / pair[1].at.since(pair[0].at).as_secs()).collect()
}

#[expect(clippy::cast_precision_loss, reason = "few updates")]
fn inner_edge(window: &Window, edges: &Edges, around: &Surroundings<'_>) -> Option<Estimate> {
    let calibration = around.calibration;
    // A counter that is late tells of the time before its update.
    let inside = edges.inside(window.begin + calibration.delay_ns, window.end + calibration.delay_ns);
    let (first, last) = (inside.first()?, inside.last()?);
    if inside.len() < FEWEST_EDGES {
        return None;
    }
    // A counter that stopped counting in the phase says nothing of what came after.
    if window.end > last.at + Nanos(STALE * calibration.counter_period_ns.max(around.poll).0) {
        return None;
    }
    let (joules, span) = (last.joules - first.joules, last.at.since(first.at).as_secs());
    let length = window.end.since(window.begin).as_secs();
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
    Some(Estimate {
        method: Method::InnerEdge,
        gross_j: joules / span * length,
        u_stat: together(&[edge_time(spacing) / span, unseen * variation, late, sampled, quantum]),
        updates: u32::try_from(inside.len()).unwrap_or(u32::MAX),
        swept: false,
    })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "few readings")]
fn instant_inside(window: &Window, trace: &Trace, around: &Surroundings<'_>) -> Option<Estimate> {
    let calibration = around.calibration;
    let samples = if trace.instant.is_empty() { &trace.average } else { &trace.instant };
    // A reading may be a whole period old, and reaches back by its window from there.
    let oldest = calibration.power_period_ns + calibration.window_ns + calibration.delay_ns;
    let clean = |s: &&Sample| s.begin >= window.begin + oldest && s.end <= window.end + calibration.delay_ns;
    let inside: Vec<(f64, f64)> =
        samples.iter().filter(clean).filter_map(|s| Some((s.at().as_secs(), s.value?))).collect();
    let (first, last) = (inside.first()?.0, inside.last()?.0);
    let updates = ((last - first) / calibration.power_period_ns.as_secs()).floor() as usize + 1;
    if updates < FEWEST_READINGS {
        return None;
    }
    let area: f64 = inside.windows(2).map(|pair| (pair[1].0 - pair[0].0) * f64::midpoint(pair[0].1, pair[1].1)).sum();
    let watts = area / (last - first);
    let values: Vec<f64> = inside.iter().map(|reading| reading.1).collect();
    let variation = (deviation(&values) / watts).max(LEAST_VARIATION);
    let length = window.end.since(window.begin).as_secs();
    let unseen = 1.0 - ((last - first + calibration.window_ns.as_secs()) / length).min(1.0);
    // What falls between two readings' windows is a sample; windows that nobody measured may be shorter than assumed.
    let covered = calibration.window_ns.as_secs() / calibration.power_period_ns.as_secs();
    let gaps = (1.0 - covered).max(0.0).sqrt();
    let sampled = variation * (calibration.power_period_ns.as_secs() / length).sqrt();
    let blind = match calibration.coverage {
        Coverage::Full | Coverage::Partial => gaps,
        Coverage::Unknown => 2.0,
    };
    Some(Estimate {
        method: Method::InstantInside,
        gross_j: watts * length,
        u_stat: together(&[blind * sampled, unseen * variation]),
        updates: u32::try_from(updates).unwrap_or(u32::MAX),
        swept: false,
    })
}

/// The counter around an isolated phase. `None`: it is not isolated.
fn padded(window: &Window, edges: &Edges, around: &Surroundings<'_>) -> Result<Option<Estimate>, Reason> {
    let calibration = around.calibration;
    let quiet = calibration.counter_period_ns + calibration.window_ns + calibration.delay_ns;
    let (Some(since), Some(until)) = (around.quiet_since, around.quiet_until) else { return Ok(None) };
    if since + quiet > window.begin || window.end + quiet > until {
        return Ok(None);
    }
    let before = edges.edges.iter().rev().find(|edge| edge.at + edge.spacing <= window.begin && edge.at >= since);
    let from = window.end + calibration.window_ns.min(calibration.counter_period_ns) + calibration.delay_ns;
    let after = edges.edges.iter().find(|edge| edge.at >= from + edge.spacing && edge.at <= until);
    let (Some(before), Some(after)) = (before, after) else { return Ok(None) };
    let Some(idle) = around.idle else { return Err(Reason::IdleInvalid) };
    let passed = after.at.since(before.at).as_secs();
    let net = after.joules - before.joules - idle.watts * passed;
    let length = window.end.since(window.begin).as_secs();
    let gross = net + idle.watts * length;
    if gross <= 0.0 {
        return Err(Reason::UTooLarge);
    }
    let spacing = before.spacing.max(after.spacing).as_secs();
    let unseen = if calibration.coverage == Coverage::Full { 0.0 } else { UNSEEN };
    let u_stat = together(&[
        idle.u_watts * passed / gross,
        idle.watts * edge_time(spacing) / gross,
        calibration.resolution_j / (6.0_f64.sqrt() * gross),
        unseen,
    ]);
    Ok(Some(Estimate { method: Method::Padded, gross_j: gross, u_stat, updates: 2, swept: false }))
}
