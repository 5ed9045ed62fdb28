//! Whether what a sensor said in a stretch of time can be trusted.

use crate::energy::edges::Edges;
use crate::energy::{Sample, Trace, mean};
use crate::record::calibration::Calibration;
use crate::units::Nanos;

/// Share of a phase without the readings due in it above which its grade is capped.
const MOST_MISSING: f64 = 0.05;

/// Polling periods after which the next reading is missing rather than late.
const LATE: f64 = 1.5;

/// Update periods over which counter and power reading are compared at least.
const COMPARED: u64 = 10;

/// Most that counter and power reading may differ, relative.
pub(super) const MOST_DIFFERENT: f64 = 0.05;

/// Whether more than 5 % of the readings due in a stretch did not come, or without a value; of the counter where there
/// is one, else of the power reading.
#[must_use]
pub fn readings_missing(trace: &Trace, poll: Nanos, begin: Nanos, end: Nanos) -> bool {
    let registers = [&trace.counter, &trace.instant, &trace.average];
    let Some(samples) = registers.into_iter().find(|samples| !samples.is_empty()) else { return true };
    missing_share(samples, poll, begin, end) > MOST_MISSING
}

/// Share of a stretch in which no reading came though one was due, judged by the gaps between readings: so it means the
/// same in a phase that holds few.
fn missing_share(samples: &[Sample], poll: Nanos, begin: Nanos, end: Nanos) -> f64 {
    let (from, to) = (begin.as_secs(), end.as_secs());
    let told = |sample: &Sample| sample.value.is_some();
    let first = samples.partition_point(|sample| sample.at() <= begin);
    let (before, after) = samples.split_at(first);
    let mut last = before.iter().rev().find(|s| told(s)).map_or(from, |sample| sample.at().as_secs());
    let (period, mut missing) = (poll.as_secs(), 0.0);
    let times = after.iter().filter(|sample| told(sample)).map(|sample| sample.at().as_secs());
    for at in times.chain([to]) {
        let gap = at - last;
        if gap > LATE * period {
            let inside = at.min(to) - last.max(from);
            missing += inside.max(0.0) * (gap - period) / gap;
        }
        last = last.max(at);
        if at >= to {
            break;
        }
    }
    if to > from { missing / (to - from) } else { 0.0 }
}

/// Whether counter and power reading differ by more than 5 %, beyond what the times of the counter's updates leave open,
/// over a stretch long enough to tell.
#[must_use]
pub fn registers_differ(trace: &Trace, calibration: &Calibration, poll: Nanos, begin: Nanos, end: Nanos) -> bool {
    let settled = begin + calibration.settling();
    if end < settled + Nanos(COMPARED * calibration.power_period_ns.max(calibration.counter_period_ns).0) {
        return false;
    }
    let read = trace.instant.iter().filter(|sample| sample.begin >= settled && sample.end <= end);
    let level: Vec<f64> = read.filter_map(Sample::watts).collect();
    let edges = Edges::of(&trace.counter, poll);
    let inside = edges.inside(settled, end);
    let (Some(first), Some(last), false) = (inside.first(), inside.last(), level.is_empty()) else {
        return false;
    };
    let span = last.at.since(first.at).as_secs();
    if span <= 0.0 || edges.reset_in(first.at, last.at) {
        return false;
    }
    // Each of the two lies within half of its spacing.
    let open = f64::midpoint(first.spacing.as_secs(), last.spacing.as_secs()) / span;
    let (slope, level) = ((last.joules - first.joules) / span, mean(&level));
    (slope - level).abs() > (MOST_DIFFERENT + open) * level
}

/// Whether a register kept its value for longer than `longest` up to the last of its readings in a stretch.
#[must_use]
pub fn stands_still(samples: &[Sample], begin: Nanos, end: Nanos, longest: Nanos) -> bool {
    let inside = samples.iter().filter(|sample| sample.at() >= begin && sample.at() <= end);
    let mut told = inside.rev().filter_map(|sample| Some((sample.at(), sample.value?.to_bits())));
    let Some((last, value)) = told.next() else { return false };
    let since = told.take_while(|(_, other)| *other == value).last().map_or(last, |(at, _)| at);
    last.since(since) > longest
}

#[cfg(test)]
mod tests;
