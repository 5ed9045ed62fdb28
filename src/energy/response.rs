//! A sensor's timing, found from what it said about a load whose times are known.

use crate::energy::Sample;
use crate::energy::edges::{Edge, Edges, changes};
use crate::record::calibration::{Coverage, PaceSlope, PhaseSlope, Response};
use crate::units::Nanos;

/// Changes of a register below which its period is not told.
const FEWEST_CHANGES: usize = 8;

/// Stretches in which a load ran, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorkTimes(pub Vec<(Nanos, Nanos)>);

impl WorkTimes {
    /// Seconds of work before a time.
    fn before(&self, at: f64) -> f64 {
        let done = self.0.iter().map(|(begin, end)| (at.min(end.as_secs()) - begin.as_secs()).max(0.0));
        done.sum()
    }

    /// Share of a stretch that was work.
    #[must_use]
    pub fn share(&self, begin: f64, end: f64) -> f64 {
        if end <= begin { 0.0 } else { (self.before(end) - self.before(begin)) / (end - begin) }
    }
}

/// Time between a register's updates: median spacing of its changes, made exact by counting updates from the first to
/// the last. `None`: too few changes.
///
/// Equal values in a row hide updates, so the load must vary; a hidden one is counted where it makes a gap of twice the
/// median.
#[must_use]
pub fn period(samples: &[Sample]) -> Option<Nanos> {
    let changes = changes(samples);
    if changes.len() < FEWEST_CHANGES {
        return None;
    }
    let gaps: Vec<f64> = changes.windows(2).map(|pair| pair[1].since(pair[0]).as_secs()).collect();
    let mut sorted = gaps.clone();
    sorted.sort_by(f64::total_cmp);
    let median = sorted[sorted.len() / 2];
    let updates: f64 = gaps.iter().map(|gap| (gap / median).round().max(1.0)).sum();
    Some(nanos(gaps.iter().sum::<f64>() / updates))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times of at most some seconds")]
fn nanos(seconds: f64) -> Nanos {
    Nanos((seconds.max(0.0) * 1e9).round() as u64)
}

/// Smallest step of a counter in joules: what all its differences are multiples of, in whole microjoules. `None`: it
/// did not move.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "microjoules")]
pub fn resolution(counter: &[Sample]) -> Option<f64> {
    let told: Vec<f64> = counter.iter().filter_map(|sample| sample.value).collect();
    let steps = told.windows(2).map(|pair| ((pair[1] - pair[0]) * 1e6).round()).filter(|step| *step > 0.0);
    steps.map(|step| step as u64).reduce(common_divisor).map(|step| step as f64 / 1e6)
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// Longest window that is tried, in seconds: drivers average over a second.
const LONGEST_WINDOW: f64 = 1.5;

/// Longest delay that is tried, in seconds.
const LONGEST_DELAY: f64 = 0.2;

/// Updates that a fit uses.
const MOST_UPDATES: usize = 200;

/// Fits window and delay of a power register by least squares to aperiodic steps of a load.
///
/// Source: the boxcar model of arXiv 2312.02741: a reading that appears at *u* is the mean of [*u* − δ − W, *u* − δ].
/// `None`: too few updates, or they do not follow the load.
#[must_use]
pub fn response(power: &[Sample], work: &WorkTimes) -> Option<Response> {
    fitted(&updates(power), work)
}

/// The same of a counter that is read every `poll`: what it gained between two updates is the mean of a stretch that ends
/// a delay before the second. Its window is its period where it adds up energy, longer where it adds averages.
#[must_use]
pub fn counter_response(counter: &[Sample], poll: Nanos, work: &WorkTimes) -> Option<Response> {
    let edges = Edges::of(counter, poll).edges;
    let slope = |pair: &[Edge]| {
        (pair[1].at.as_secs(), (pair[1].joules - pair[0].joules) / pair[1].at.since(pair[0].at).as_secs())
    };
    fitted(&edges.windows(2).map(slope).collect::<Vec<_>>(), work)
}

/// Fits what a register showed at its updates, in seconds and watts.
fn fitted(updates: &[(f64, f64)], work: &WorkTimes) -> Option<Response> {
    if updates.len() < FEWEST_CHANGES {
        return None;
    }
    // Every one of a fast sensor's would cost time and tell no more.
    let some: Vec<(f64, f64)> = updates.iter().copied().step_by(updates.len().div_ceil(MOST_UPDATES)).collect();
    // A coarse grid over everything, then a fine one around the best of it.
    let windows = std::iter::successors(Some(0.002), |window| Some(window * 1.15));
    let windows = windows.take_while(|window| *window <= LONGEST_WINDOW);
    let coarse = windows.flat_map(|window| steps(0.0, LONGEST_DELAY / 25.0, 25).map(move |delay| (window, delay)));
    let first = best_fit(None, &some, work, coarse)?;
    let windows = (0..=30).map(|i| first.window * (0.85 + 0.01 * f64::from(i)));
    let delays = steps(first.delay - 0.008, 0.001, 16).filter(|delay| *delay >= 0.0);
    let fine = windows.flat_map(|window| delays.clone().map(move |delay| (window, delay)));
    let best = best_fit(Some(first), &some, work, fine)?;
    let step = best.step;
    if step <= 0.0 {
        return None;
    }
    Some(Response {
        window_ns: nanos(best.window),
        delay_ns: nanos(best.delay),
        rise_ns: rise(updates, work, best.idle, step),
        idle_w: best.idle,
        busy_w: best.idle + step,
        residual: best.error / step,
    })
}

/// `n` equal steps from a value on, both ends told.
fn steps(from: f64, step: f64, n: u32) -> impl Iterator<Item = f64> + Clone {
    (0..=n).map(move |i| from + step * f64::from(i))
}

/// The fit that leaves least of some windows and delays, and of one known already; of equal ones the first. `None`: none
/// can be fitted.
fn best_fit(
    known: Option<Fit>,
    updates: &[(f64, f64)],
    work: &WorkTimes,
    tried: impl Iterator<Item = (f64, f64)>,
) -> Option<Fit> {
    let fits = tried.filter_map(|(window, delay)| Fit::of(updates, work, window, delay));
    known.into_iter().chain(fits).reduce(|best, next| if next.error < best.error { next } else { best })
}

/// When a register showed another value than before, in seconds, and that value.
fn updates(samples: &[Sample]) -> Vec<(f64, f64)> {
    let told: Vec<(f64, f64)> = samples.iter().filter_map(|s| Some((s.at().as_secs(), s.value?))).collect();
    let pairs = told.windows(2).filter(|pair| pair[0].1.to_bits() != pair[1].1.to_bits());
    pairs.map(|pair| (f64::midpoint(pair[0].0, pair[1].0), pair[1].1)).collect()
}

#[derive(Debug, Clone, Copy)]
struct Fit {
    window: f64,
    delay: f64,
    idle: f64,
    step: f64,
    /// Root mean square of what is left, in watts.
    error: f64,
}

impl Fit {
    /// Least squares of the readings on the share of work in their windows. `None`: the share never changes.
    #[expect(clippy::cast_precision_loss, reason = "counts of updates")]
    fn of(updates: &[(f64, f64)], work: &WorkTimes, window: f64, delay: f64) -> Option<Self> {
        let n = updates.len() as f64;
        let points: Vec<(f64, f64)> =
            updates.iter().map(|(at, watts)| (work.share(at - delay - window, at - delay), *watts)).collect();
        let (mx, my) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / n, y + point.1 / n));
        let (sxx, sxy) =
            points.iter().fold((0.0, 0.0), |(xx, xy), (x, y)| (xx + (x - mx) * (x - mx), xy + (x - mx) * (y - my)));
        if sxx <= 0.0 {
            return None;
        }
        let step = sxy / sxx;
        let idle = my - step * mx;
        let error = (points.iter().map(|(x, y)| (y - idle - step * x).powi(2)).sum::<f64>() / n).sqrt();
        Some(Self { window, delay, idle, step, error })
    }
}

/// Time from 10 % to 90 % in the longest stretch of work.
fn rise(updates: &[(f64, f64)], work: &WorkTimes, idle: f64, step: f64) -> Option<Nanos> {
    let (begin, end) = work.0.iter().max_by_key(|(begin, end)| end.since(*begin))?;
    let inside = || updates.iter().filter(|(at, _)| (begin.as_secs()..=end.as_secs()).contains(at));
    let first = inside().find(|(_, watts)| *watts >= idle + 0.1 * step)?.0;
    let last = inside().find(|(_, watts)| *watts >= idle + 0.9 * step)?.0;
    Some(nanos(last - first))
}

/// A counter between its first and its last update in a stretch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slope {
    /// The first update.
    pub begin: Nanos,
    /// The last one.
    pub end: Nanos,
    /// Mean power between them, in watts.
    pub watts: f64,
}

/// What a counter says of a stretch. `None`: fewer than three updates.
#[must_use]
pub fn slope(counter: &[Sample], poll: Nanos, begin: Nanos, end: Nanos) -> Option<Slope> {
    let edges = Edges::of(counter, poll);
    let inside = edges.inside(begin, end);
    let (first, last) = (inside.first()?, inside.last()?);
    let watts = (last.joules - first.joules) / last.at.since(first.at).as_secs();
    (inside.len() >= 3).then_some(Slope { begin: first.at, end: last.at, watts })
}

/// Largest difference of what pulses take at different phases, relative to the mean, above which a counter does not see
/// all of the time.
const LARGEST_SPREAD: f64 = 0.05;

/// Largest difference of what pulses take at different phases, in standard deviations of what they differ by chance,
/// that is put down to chance: the range of eight normal values exceeds 4.3 of them once in twenty times.
const LARGEST_CHANCE: f64 = 4.3;

/// Whether a counter sees all of the time: short pulses then take the same energy wherever in its update period they
/// come. `None`: nothing was measured, pulses make no difference to it, or the load itself was too uneven to tell.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "eight phases")]
pub fn coverage(phases: &[PhaseSlope], idle_w: f64) -> Option<Coverage> {
    let each: Vec<f64> = phases.iter().filter(|p| p.share > 0.0).map(|p| (p.watts - idle_w) / p.share).collect();
    let mean = each.iter().sum::<f64>() / each.len().max(1) as f64;
    if each.len() < 4 || mean <= 0.0 {
        return None;
    }
    let (least, most) = each.iter().fold((f64::MAX, f64::MIN), |(least, most), &e| (least.min(e), most.max(e)));
    let spread = (most - least) / mean;
    // A mean of two halves scatters by half of what the halves differ by.
    let chance = (phases.iter().map(|p| (p.halves_differ / 2.0).powi(2)).sum::<f64>() / phases.len() as f64).sqrt();
    if spread < LARGEST_SPREAD {
        Some(Coverage::Full)
    } else if spread > LARGEST_CHANCE * chance {
        Some(Coverage::Partial)
    } else {
        None
    }
}

/// Largest difference from the slowest pace that is put down to chance, relative.
const LARGEST_DISTURBANCE: f64 = 0.01;

/// Fastest pace at which reading a counter does not change it: that, and every slower one, agrees with the slowest.
/// `None`: fewer than two paces, or the load was too uneven to tell.
#[must_use]
pub fn safe_poll(paces: &[PaceSlope]) -> Option<Nanos> {
    let mut slowest_first = paces.to_vec();
    slowest_first.sort_by_key(|pace| std::cmp::Reverse(pace.poll_ns));
    let (slowest, rest) = slowest_first.split_first().filter(|(_, rest)| !rest.is_empty())?;
    if paces.iter().any(|pace| pace.halves_differ.abs() > 2.0 * LARGEST_DISTURBANCE) {
        return None;
    }
    let agrees = |pace: &&PaceSlope| (pace.watts / slowest.watts - 1.0).abs() <= LARGEST_DISTURBANCE;
    Some(rest.iter().take_while(agrees).last().unwrap_or(slowest).poll_ns)
}

#[cfg(test)]
mod tests;
