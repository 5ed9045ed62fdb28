//! When a register changed, and where a counter started again.

use crate::energy::Sample;
use crate::units::Nanos;

/// A counter's update, seen between two readings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Edge {
    /// Middle between the last reading of the old value and the first of the new one; no reading between them failed.
    pub at: Nanos,
    /// Time between the two.
    pub spacing: Nanos,
    /// The new value, in joules.
    pub joules: f64,
}

/// A counter's readings as edges, up to where they cannot be told.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Edges {
    /// In order of time.
    pub edges: Vec<Edge>,
    /// Times at which the counter was lower than before: nothing may be subtracted across.
    pub resets: Vec<Nanos>,
}

/// Polling periods that may pass between two readings of an edge.
const LARGEST_SPACING: u64 = 2;

impl Edges {
    /// Finds them. `poll` is the polling period.
    #[must_use]
    pub fn of(samples: &[Sample], poll: Nanos) -> Self {
        let mut found = Self::default();
        let mut last: Option<(Nanos, f64)> = None;
        let mut failed = false;
        for sample in samples {
            let Some(value) = sample.value else {
                failed = true;
                continue;
            };
            let at = sample.at();
            if let Some((before, old)) = last {
                let spacing = at.since(before);
                let seen = !failed && spacing.0 <= LARGEST_SPACING.saturating_mul(poll.0);
                if value < old {
                    found.resets.push(at);
                } else if value > old && seen {
                    let middle = Nanos(before.0 + spacing.0 / 2);
                    found.edges.push(Edge { at: middle, spacing, joules: value });
                }
            }
            last = Some((at, value));
            failed = false;
        }
        found
    }

    /// Edges between two times.
    #[must_use]
    pub fn inside(&self, begin: Nanos, end: Nanos) -> &[Edge] {
        let from = self.edges.partition_point(|edge| edge.at < begin);
        let to = self.edges.partition_point(|edge| edge.at <= end);
        self.edges.get(from..to).unwrap_or_default()
    }

    /// Whether the counter started again between two times.
    #[must_use]
    pub fn reset_in(&self, begin: Nanos, end: Nanos) -> bool {
        self.resets.iter().any(|&at| at > begin && at <= end)
    }
}

/// Times at which a register showed another value than before.
#[must_use]
pub fn changes(samples: &[Sample]) -> Vec<Nanos> {
    let told = samples.iter().filter_map(|sample| Some((sample.at(), sample.value?)));
    let pairs = told.clone().zip(told.skip(1));
    pairs
        .filter(|((_, old), (_, new))| old.to_bits() != new.to_bits())
        .map(|((before, _), (at, _))| Nanos(before.0 + at.since(before).0 / 2))
        .collect()
}

/// A counter that wraps, made to grow: `range` is added where it dropped, unless so much time passed that it may have
/// wrapped twice at `most_watts`. What cannot be told becomes a reading without a value.
///
/// `range` `None`: it could not be read, so no drop can be mended.
#[must_use]
pub fn unwrapped(samples: &[Sample], range: Option<f64>, most_watts: f64) -> Vec<Sample> {
    let mut added = 0.0;
    let mut last: Option<(Nanos, f64)> = None;
    let mut out = Vec::with_capacity(samples.len());
    for sample in samples {
        let Some(value) = sample.value else {
            out.push(*sample);
            continue;
        };
        if let Some((before, old)) = last
            && value < old
        {
            let passed = sample.at().since(before).as_secs();
            match range {
                Some(range) if passed < range / (2.0 * most_watts) => added += range,
                // Left to fall: the reader sees a counter that started again.
                _ => added = 0.0,
            }
        }
        last = Some((sample.at(), value));
        out.push(Sample { value: Some(value + added), ..*sample });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(ms: u64, value: Option<f64>) -> Sample {
        Sample { begin: Nanos(ms * 1_000_000), end: Nanos(ms * 1_000_000), value }
    }

    #[test]
    fn an_edge_lies_between_the_old_and_the_new_value() {
        let samples = [(0, 1.0), (20, 1.0), (40, 2.0), (60, 2.0), (80, 3.0)].map(|(ms, v)| read(ms, Some(v)));
        let found = Edges::of(&samples, Nanos(20_000_000));
        let told: Vec<_> = found.edges.iter().map(|edge| (edge.at.as_ms(), edge.joules)).collect();
        assert_eq!(told, [(30.0, 2.0), (70.0, 3.0)]);
        assert!(found.resets.is_empty());
    }

    #[test]
    fn errors_and_late_ticks_hide_edges_and_a_lower_value_is_a_reset() {
        let samples = [read(0, Some(1.0)), read(20, None), read(40, None), read(60, Some(2.0)), read(80, Some(0.5))];
        let found = Edges::of(&samples, Nanos(20_000_000));
        assert!(found.edges.is_empty());
        let one = [read(0, Some(1.0)), read(20, None), read(40, Some(2.0)), read(60, Some(3.0))];
        let found_after = Edges::of(&one, Nanos(20_000_000));
        assert_eq!(found_after.edges.iter().map(|edge| edge.joules).collect::<Vec<_>>(), [3.0], "one error is enough");
        assert!(found.reset_in(Nanos(0), Nanos(100_000_000)) && !found.reset_in(Nanos(0), Nanos(70_000_000)));
    }

    #[test]
    fn a_wrap_is_mended_only_where_it_can_be_told() {
        let samples = [read(0, Some(90.0)), read(100, Some(5.0))];
        let last = |range, watts| unwrapped(&samples, range, watts)[1].value;
        assert_eq!(last(Some(100.0), 200.0), Some(105.0));
        assert_eq!(last(None, 200.0), Some(5.0), "without a range it is a reset");
        assert_eq!(last(Some(100.0), 600.0), Some(5.0), "it may have wrapped twice");
    }
}
