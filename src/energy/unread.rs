//! Phases that a sensor was hardly asked in, or hardly answered.

use crate::energy::Trace;
use crate::units::Nanos;

/// Polling periods without a reading that are no gap: a phase so short has other reasons.
const NO_GAP: u64 = 5;

/// Whether more than half of a phase passed without a reading of any register: whatever was read in the rest of it, the
/// power of a moment is not that of the phase.
pub(super) fn mostly_unread(trace: &Trace, begin: Nanos, end: Nanos, poll: Nanos) -> bool {
    let registers = [&trace.counter, &trace.instant, &trace.average];
    let told = registers.into_iter().flatten().filter(|sample| sample.value.is_some()).map(crate::energy::Sample::at);
    let mut times: Vec<Nanos> = told.filter(|&at| at > begin && at < end).collect();
    times.extend([begin, end]);
    times.sort_unstable();
    let longest = times.windows(2).map(|pair| pair[1].since(pair[0])).max().unwrap_or_default();
    longest > Nanos((end.since(begin).0 / 2).max(NO_GAP * poll.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::Sample;

    const MS: u64 = 1_000_000;

    fn read(times: impl Iterator<Item = u64>, value: Option<f64>) -> Vec<Sample> {
        times.map(|ms| Sample { begin: Nanos(ms * MS), end: Nanos(ms * MS), value }).collect()
    }

    #[test]
    fn ten_milliseconds_of_fifteen_seconds_are_not_the_phase() {
        let unread = |trace: &Trace, ms: u64| mostly_unread(trace, Nanos(0), Nanos(ms * MS), Nanos(MS));
        let moment = Trace { instant: read(0..10, Some(100.0)), ..Trace::default() };
        assert!(unread(&moment, 15_000));
        assert!(!unread(&moment, 12), "what is short is judged by its updates");
        let silent = Trace { instant: read(0..15_000, None), ..Trace::default() };
        assert!(unread(&silent, 15_000), "an error is no reading");
        let slow = Trace { instant: read((0..15_000).step_by(7000), Some(100.0)), ..Trace::default() };
        assert!(!unread(&slow, 15_000), "seldom, but throughout");
        let taken_over = Trace { counter: read(0..5000, Some(1.0)), instant: read(0..15_000, Some(9.0)), ..slow };
        assert!(!unread(&taken_over, 15_000));
    }
}
