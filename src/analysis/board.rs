//! What a board's clocks and temperatures were during each call: columns of `metrics.csv`, from the power trace.

use std::collections::BTreeMap;

use super::columns::columns;
use crate::energy::Boards;
use crate::record::CallRecord;
use crate::record::manifest::Manifest;
use crate::store::TraceRow;
use crate::units::Nanos;

/// States are read ten times slower than power: a short call has none of its own, and takes the last one that was told no
/// longer before its end than this.
const LATEST: Nanos = Nanos(1_000_000_000);

/// Values of one state register by time, of one process and sensor.
type States<'a> = BTreeMap<(u32, &'a str, &'a str), Vec<(Nanos, f64)>>;

columns! {
    /// What the board did that a call is proven to have run on.
    #[derive(Copy, Default)]
    pub struct BoardColumns {
        /// Mean temperature of the board that the call ran on, in degrees Celsius. `None`, here and in the next four: no board is
        /// proven, or it did not tell.
        gpu_temperature_c: Option<f64>,
        /// Mean temperature of its memory.
        gpu_memory_temperature_c: Option<f64>,
        /// Mean clock of its multiprocessors, in MHz.
        gpu_sm_mhz: Option<f64>,
        /// Mean clock of its memory, in MHz.
        gpu_memory_mhz: Option<f64>,
        /// Its slowest performance state meanwhile, 0 the fastest.
        /// Unit: number of the state.
        gpu_performance_state: Option<f64>,
    }
}

/// What boards told of their states over a run.
pub(super) struct BoardStates<'a> {
    manifest: &'a Manifest,
    states: States<'a>,
}

impl<'a> BoardStates<'a> {
    /// Sorts the readings.
    pub(super) fn new(manifest: &'a Manifest, trace: &'a [TraceRow]) -> Self {
        let mut states: States<'_> = BTreeMap::new();
        for row in trace {
            if let Some(value) = row.value {
                let key = (row.epoch, row.sensor.as_str(), row.register.as_str());
                states.entry(key).or_default().push((row.end_ns, value));
            }
        }
        Self { manifest, states }
    }

    /// Beside a call. Empty: no board is proven to have run it.
    pub(super) fn beside(&self, call: &CallRecord) -> BoardColumns {
        let Some(sensor) = sensor(call, self.manifest) else { return BoardColumns::default() };
        let (begin, end) = (call.begin_ns, call.begin_ns + call.total_wall_ns);
        let told = |register: &str| during(self.states.get(&(call.epoch, sensor, register))?, begin, end);
        let mean = |register: &str| told(register).map(|all| crate::energy::mean(&all));
        BoardColumns {
            gpu_temperature_c: mean("temperature_c"),
            gpu_memory_temperature_c: mean("memory_temperature_c"),
            gpu_sm_mhz: mean("sm_clock_mhz"),
            gpu_memory_mhz: mean("memory_clock_mhz"),
            gpu_performance_state: told("performance_state").map(|all| all.iter().copied().fold(0.0, f64::max)),
        }
    }
}

/// The board that a call is proven to have run on, by its sensor's name.
fn sensor<'a>(call: &CallRecord, manifest: &'a Manifest) -> Option<&'a str> {
    let epoch = manifest.epochs.get(usize::try_from(call.epoch).ok()?)?;
    let power = epoch.power.as_ref()?;
    // Where the processor is proven, a board next to it says nothing of the call.
    if call.attribution.device() == Some(None) && power.charged.is_none() {
        return None;
    }
    let boards = Boards { sensors: &power.found.sensors, unopened: power.found.has_unopened(), cuda: &power.cuda };
    boards.of(&call.attribution, &call.beside.boards).map(|sensor| sensor.id.as_str())
}

/// What was told between two times, else the last before. `None`: nothing was.
fn during(told: &[(Nanos, f64)], begin: Nanos, end: Nanos) -> Option<Vec<f64>> {
    let until = told.partition_point(|(at, _)| *at <= end);
    let from = told.partition_point(|(at, _)| *at < begin).min(until.saturating_sub(1));
    let values: Vec<f64> = told[from..until]
        .iter()
        .filter(|(at, _)| *at + LATEST >= end || *at >= begin)
        .map(|(_, value)| *value)
        .collect();
    (!values.is_empty()).then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_the_states_told_in_it_or_the_last_before() {
        const MS: u64 = 1_000_000;
        let told: Vec<(Nanos, f64)> =
            [(0, 8.0), (200, 1.0), (400, 2.0), (600, 3.0)].map(|(ms, value)| (Nanos(ms * MS), value)).to_vec();
        let of = |begin: u64, end: u64| during(&told, Nanos(begin * MS), Nanos(end * MS));
        assert_eq!(of(150, 450), Some(vec![1.0, 2.0]));
        assert_eq!(of(410, 420), Some(vec![2.0]), "too short for one of its own");
        assert_eq!(of(0, 5000), Some(vec![8.0, 1.0, 2.0, 3.0]), "however long it is");
        assert_eq!(of(1700, 1710), None, "told too long before");
        assert_eq!(during(&[], Nanos(0), Nanos(MS)), None);
    }
}
