//! A sensor's readings as energy and power, whatever its registers are called.

use super::{RegisterKind, Sensor, rapl};
use crate::energy::edges::unwrapped;
use crate::energy::{Sample, Trace};
use crate::terms::SensorKind;

/// Most watts a processor package may draw, to tell one wrap of its counter from two.
const MOST_WATTS: f64 = 1000.0;

impl Sensor {
    /// Its registers' readings, one list for each register in that order, as counter, instant and average; packages of a
    /// processor are added up.
    #[must_use]
    pub fn trace(&self, read: Vec<Vec<Sample>>) -> Trace {
        let mut trace = Trace::default();
        for (register, samples) in self.registers.iter().zip(read) {
            match register.kind {
                RegisterKind::Counter if self.kind == SensorKind::Rapl => {
                    if rapl::is_package(&register.name) {
                        add(&mut trace.counter, &unwrapped(&samples, register.range_j, MOST_WATTS));
                    }
                }
                RegisterKind::Counter if register.range_j.is_some() => {
                    trace.counter = unwrapped(&samples, register.range_j, MOST_WATTS);
                }
                RegisterKind::Counter => trace.counter = samples,
                RegisterKind::Instant => trace.instant = samples,
                RegisterKind::Average => trace.average = samples,
                RegisterKind::State => {}
            }
        }
        trace
    }

    /// Whether it has an energy counter.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.registers.iter().any(|register| register.kind == RegisterKind::Counter)
    }
}

/// Adds readings of the same ticks; one that is missing makes its sum missing.
fn add(sum: &mut Vec<Sample>, more: &[Sample]) {
    if sum.is_empty() {
        sum.extend_from_slice(more);
        return;
    }
    for (sum, more) in sum.iter_mut().zip(more) {
        sum.end = more.end;
        sum.value = sum.value.zip(more.value).map(|(sum, more)| sum + more);
    }
}
