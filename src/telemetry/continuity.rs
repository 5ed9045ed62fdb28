//! How evenly a sampler worked.

use crate::terms::continuity::{ClockPair, Continuity, Shown};
use crate::terms::sensor::Sensor;
use crate::units::Nanos;
use hdrhistogram::Histogram;

/// Gathers [`Continuity`] without allocating.
#[derive(Debug)]
pub struct Ticks {
    continuity: Continuity,
    seen: Vec<Seen>,
    last: Option<Nanos>,
    /// `None`: the library refused its bounds, which it never does for these.
    lateness: Option<Histogram<u64>>,
    answers: Option<Histogram<u64>>,
}

/// What a sensor's registers showed.
#[derive(Debug)]
struct Seen {
    sensor: String,
    names: Vec<String>,
    /// Of each register the last value, and how often.
    shown: Vec<(Option<f64>, Shown)>,
}

impl Seen {
    fn new(sensor: &Sensor) -> Self {
        let names: Vec<String> = sensor.registers.iter().map(|register| register.name.clone()).collect();
        Self { sensor: sensor.id.clone(), shown: vec![(None, Shown::default()); names.len()], names }
    }
}

/// Longest time that is told apart from longer ones.
const LONGEST: u64 = 60_000_000_000;

impl Ticks {
    /// Before the first tick.
    #[must_use]
    pub fn new<'a>(period: Nanos, sensors: impl Iterator<Item = &'a Sensor>) -> Self {
        let empty = || Histogram::new_with_max(LONGEST, 2).ok();
        let continuity = Continuity { period_ns: period, ..Continuity::default() };
        Self { continuity, seen: sensors.map(Seen::new).collect(), last: None, lateness: empty(), answers: empty() }
    }

    /// Notes a value of a register of a sensor, both by their numbers.
    pub fn value(&mut self, sensor: usize, register: usize, value: f64) {
        let shown = self.seen.get_mut(sensor).and_then(|seen| seen.shown.get_mut(register));
        if let Some((last, shown)) = shown {
            shown.readings += 1;
            shown.changes += u64::from(last.is_some_and(|last| last.to_bits() != value.to_bits()));
            *last = Some(value);
        }
    }

    /// Notes what two clocks show at one moment.
    pub fn clocks(&mut self, pair: ClockPair) {
        self.continuity.clock_pairs.push(pair);
    }

    /// Notes a tick that began `late` at `begin`, took `answer`, and after which `missed` were passed over.
    pub fn taken(&mut self, late: Nanos, answer: Nanos, begin: Nanos, missed: u64) {
        self.continuity.ticks_taken += 1;
        self.continuity.ticks_due += 1 + missed;
        if let Some(last) = self.last {
            self.continuity.largest_gap_ns = self.continuity.largest_gap_ns.max(begin.since(last));
        }
        self.last = Some(begin);
        for (histogram, value) in [(&mut self.lateness, late), (&mut self.answers, answer)] {
            if let Some(histogram) = histogram {
                histogram.saturating_record(value.0.min(LONGEST));
            }
        }
    }

    /// Notes a reading without a value.
    pub fn faulty(&mut self, name: &str) {
        match self.continuity.faults.get_mut(name) {
            Some(count) => *count += 1,
            None => drop(self.continuity.faults.insert(name.to_owned(), 1)),
        }
    }

    /// Notes a reading that nobody took.
    pub fn dropped(&mut self) {
        self.continuity.dropped += 1;
    }

    /// After the last tick.
    #[must_use]
    pub fn finish(mut self, duration: Nanos, thread_cpu: Nanos) -> Continuity {
        let at = |histogram: &Option<Histogram<u64>>, quantile| {
            let histogram = histogram.as_ref().filter(|histogram| !histogram.is_empty())?;
            Some(Nanos(histogram.value_at_quantile(quantile)))
        };
        for Seen { sensor, names, shown } in self.seen {
            let shown = names.into_iter().zip(shown.into_iter().map(|(_, shown)| shown)).collect();
            self.continuity.registers.insert(sensor, shown);
        }
        self.continuity.duration_ns = duration;
        self.continuity.thread_cpu_ns = thread_cpu;
        self.continuity.lateness_p50_ns = at(&self.lateness, 0.5);
        self.continuity.lateness_p99_ns = at(&self.lateness, 0.99);
        self.continuity.answer_p50_ns = at(&self.answers, 0.5);
        self.continuity.answer_p99_ns = at(&self.answers, 0.99);
        self.continuity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_passed_over_were_due() {
        let mut ticks = Ticks::new(Nanos(20), std::iter::empty());
        ticks.taken(Nanos(1), Nanos(2), Nanos(1), 0);
        ticks.taken(Nanos(3), Nanos(50), Nanos(23), 2);
        ticks.taken(Nanos(1), Nanos(2), Nanos(81), 0);
        ticks.faulty("lost");
        ticks.faulty("lost");
        let found = ticks.finish(Nanos(100), Nanos(7));
        assert_eq!((found.ticks_due, found.ticks_taken, found.largest_gap_ns), (5, 3, Nanos(58)));
        assert_eq!(found.share_taken(), Some(0.6));
        assert_eq!((found.lateness_p50_ns, found.answer_p99_ns), (Some(Nanos(1)), Some(Nanos(50))));
        assert_eq!(found.faults["lost"], 2);
        assert_eq!(Continuity::default().share_taken(), None);
    }
}
