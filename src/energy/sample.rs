//! What one sensor said.

use crate::record::calibration::Calibration;
use crate::units::Nanos;

/// One reading of a sensor's register.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Just before it was asked for.
    pub begin: Nanos,
    /// Just after the answer.
    pub end: Nanos,
    /// Watts, or joules of a counter. `None`: it did not answer, or with an error.
    pub value: Option<f64>,
}

impl Sample {
    /// When the register was read: the middle of the question.
    #[must_use]
    pub fn at(&self) -> Nanos {
        Nanos(self.begin.0 + self.end.since(self.begin).0 / 2)
    }

    /// Its value as power. A device that is on draws some, so 0 W is a reading that failed.
    #[must_use]
    pub fn watts(&self) -> Option<f64> {
        self.value.filter(|watts| *watts > 0.0)
    }
}

/// What one sensor said, each register's readings in order of time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trace {
    /// Energy counter, in joules.
    pub counter: Vec<Sample>,
    /// Power over the sensor's own window, in watts.
    pub instant: Vec<Sample>,
    /// Power as a longer average, in watts.
    pub average: Vec<Sample>,
}

impl Trace {
    /// Readings between two times, with some more on either side.
    #[must_use]
    pub fn around(&self, begin: Nanos, end: Nanos, margin: Nanos) -> Self {
        let cut = |samples: &[Sample]| {
            let from = samples.partition_point(|sample| sample.end + margin < begin);
            let to = samples.partition_point(|sample| sample.begin <= end + margin);
            samples.get(from..to).unwrap_or_default().to_vec()
        };
        Self { counter: cut(&self.counter), instant: cut(&self.instant), average: cut(&self.average) }
    }

    /// The same with a counter that is late by [`Calibration::delay_ns`] like the power readings, whatever its own delay is.
    #[must_use]
    pub fn aligned(mut self, calibration: &Calibration) -> Self {
        if let Some(own) = calibration.counter_delay_ns {
            for sample in &mut self.counter {
                sample.begin = (sample.begin + calibration.delay_ns) - own;
                sample.end = (sample.end + calibration.delay_ns) - own;
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_counter_of_its_own_delay_is_moved_to_the_power_readings() {
        let sample = |ms: u64| Sample { begin: Nanos(ms * MS), end: Nanos((ms + 1) * MS), value: Some(1.0) };
        let trace = || Trace { counter: vec![sample(500)], instant: vec![sample(500)], average: Vec::new() };
        let of = |counter_delay_ns| {
            trace().aligned(&Calibration { delay_ns: Nanos(10 * MS), counter_delay_ns, ..Calibration::assumed() })
        };
        assert_eq!(of(None).counter[0].begin, Nanos(500 * MS));
        let late = of(Some(Nanos(120 * MS)));
        assert_eq!((late.counter[0].begin, late.counter[0].end), (Nanos(390 * MS), Nanos(391 * MS)));
        assert_eq!(late.instant, trace().instant);
    }
}
