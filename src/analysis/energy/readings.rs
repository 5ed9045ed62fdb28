//! What the sensors of a run said, sorted by process, sensor and register.

use std::collections::BTreeMap;

use crate::energy::Sample;
use crate::store::TraceRow;
use crate::terms::sensor::Sensor;

/// The power trace of a run.
pub struct Readings<'a>(BTreeMap<(u32, &'a str, &'a str), Vec<Sample>>);

impl<'a> Readings<'a> {
    /// Sorts the trace.
    pub fn of(trace: &'a [TraceRow]) -> Self {
        let mut read: BTreeMap<(u32, &str, &str), Vec<Sample>> = BTreeMap::new();
        for row in trace {
            let sample = Sample { begin: row.begin_ns, end: row.end_ns, value: row.value };
            read.entry((row.epoch, &row.sensor, &row.register)).or_default().push(sample);
        }
        Self(read)
    }

    /// Takes out what a sensor said in one process, register by register; of one that said nothing no sample.
    pub fn take(&mut self, epoch: u32, sensor: &'a Sensor) -> Vec<Vec<Sample>> {
        let registers = sensor.registers.iter();
        registers.map(|register| self.0.remove(&(epoch, &*sensor.id, &*register.name)).unwrap_or_default()).collect()
    }
}
