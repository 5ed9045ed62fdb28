//! A sensor's readings as energy and power, whatever its registers are called.

use crate::energy::edges::unwrapped;
use crate::energy::sample::{Sample, Trace};
use crate::terms::SensorKind;
use crate::terms::sensor::{RegisterKind, Sensor, is_package};

/// Most watts a processor package may draw, to tell one wrap of its counter from two.
const MOST_WATTS: f64 = 1000.0;

/// The readings of a sensor's registers, one list for each register in that order, as counter, instant and average;
/// packages of a processor are added up.
#[must_use]
pub fn trace_of(sensor: &Sensor, read: Vec<Vec<Sample>>) -> Trace {
    let mut trace = Trace::default();
    for (register, samples) in sensor.registers.iter().zip(read) {
        match register.kind {
            RegisterKind::Counter if sensor.kind == SensorKind::Rapl => {
                if is_package(&register.name) {
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
