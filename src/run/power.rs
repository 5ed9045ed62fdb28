//! Power beside a run: the sampler's readings into the run's trace, idle stretches, and what devices did to calls.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use crate::backend::{CancelToken, Deadline};
use crate::clock::SharedClock;
use crate::energy::Boards;
use crate::measure::LoopRule;
use crate::record::LoopBelow;
use crate::record::calibration::{Calibration, Coverage};
use crate::scenario::TelemetrySettings;
use crate::store::{StoreError, TraceWriter, Writer};
use crate::telemetry::board;
use crate::telemetry::sampler::{Entry, Sampler};
use crate::terms::continuity::Continuity;
use crate::terms::sensor::FoundSensors;
use crate::terms::{Attribution, Flag, OnBoard, SensorKind};
use crate::units::Nanos;

/// Windows of a loop; what differs between them is part of the figure's uncertainty.
const LOOP_WINDOWS: u32 = 5;

/// Groups of repetitions that sweep a sensor's updates.
const SWEEP_GROUPS: u32 = 8;

/// Repetitions go on for at least so long before the first window.
const LEAST_SETTLING: Duration = Duration::from_secs(1);

/// How long repeating one procedure takes at least, for plans.
#[must_use]
pub fn looping(window: Duration) -> Duration {
    if window.is_zero() { window } else { LEAST_SETTLING.min(window) + window * LOOP_WINDOWS }
}

/// Why power cannot be recorded.
#[derive(Debug, thiserror::Error)]
pub enum PowerError {
    /// The sampler's thread could not be started.
    #[error("no thread for the power sampler: {0}")]
    Thread(#[from] io::Error),
    /// The trace cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Power recording under way.
#[derive(Debug)]
pub struct Power {
    sampler: Sampler,
    found: FoundSensors,
    trace: TraceWriter,
    epoch: u32,
    idle: Duration,
    looped: Duration,
    period: Nanos,
    /// Kinds that every call is charged to. `None`: to the device it ran on.
    charged: Option<Vec<SensorKind>>,
    calibrations: BTreeMap<String, Calibration>,
    /// See [`board::cuda`].
    cuda: BTreeMap<u32, String>,
    /// What each sensor told of its clocks.
    states: Vec<States>,
}

/// What a board told of its clocks, with the times.
#[derive(Debug, Default)]
struct States {
    /// Bits that say why they are lowered.
    reasons: Vec<(Nanos, u64)>,
    /// Performance states.
    performance: Vec<(Nanos, u64)>,
}

impl Power {
    /// Begins to record into the folder of `writer`; `calibrations` are the sensors' by their ids.
    ///
    /// # Errors
    /// No thread, or a trace that cannot be written.
    pub fn start(
        settings: &TelemetrySettings,
        calibrations: BTreeMap<String, Calibration>,
        writer: &Writer,
        epoch: u32,
        clock: SharedClock,
    ) -> Result<Self, PowerError> {
        let trace = TraceWriter::open(writer.folder())?;
        let safe = |(id, found): (&String, &Calibration)| Some((id.clone(), found.safe_poll_ns?.duration()));
        let counters = calibrations.iter().filter_map(safe).collect();
        let sampler = Sampler::start(&settings.kinds(), settings.period, counters, clock)?;
        let found = sampler.found().clone();
        let cuda = board::cuda(&found.sensors, found.has_unopened(), &board::Environment::own());
        let states = found.sensors.iter().map(|_| States::default()).collect();
        let TelemetrySettings { idle, looped, period, .. } = *settings;
        let (period, charged) = (period.into(), settings.sensors.clone());
        Ok(Self { sampler, found, trace, epoch, idle, looped, period, charged, calibrations, cuda, states })
    }

    /// Boards by the number under which CUDA shows them.
    #[must_use]
    pub fn cuda(&self) -> &BTreeMap<u32, String> {
        &self.cuda
    }

    /// What it records.
    #[must_use]
    pub fn found(&self) -> &FoundSensors {
        &self.found
    }

    /// Writes down what was read so far.
    ///
    /// # Errors
    /// The trace cannot be written.
    pub fn write_readings(&mut self) -> Result<(), StoreError> {
        let Self { sampler, found, trace, epoch, states, .. } = self;
        sampler.drain(|entry| write(trace, found, *epoch, states, entry));
        trace.flush()
    }

    /// What the board that work ran on did since `begin`, every board where nothing proves which; after
    /// [`write_readings`](Self::write_readings). States told before are forgotten but for the last.
    pub fn flags(&mut self, begin: Nanos, attribution: &Attribution, beside: &[OnBoard]) -> Vec<Flag> {
        let boards = Boards { sensors: &self.found.sensors, unopened: self.found.has_unopened(), cuda: &self.cuda };
        let on = boards.of(attribution, beside).map(|sensor| sensor.id.as_str());
        // What a board does is nothing to the processor, unless the scenario file charges boards with everything.
        let elsewhere = self.charged.is_none() && attribution.device() == Some(None);
        let (mut bits, mut mixed) = (0, false);
        for (sensor, states) in self.found.sensors.iter().zip(&mut self.states) {
            if !elsewhere && on.is_none_or(|on| on == sensor.id) {
                bits |= states.reasons_since(begin);
                mixed |= states.is_mixed_since(begin);
            }
            states.forget();
        }
        let throttled = (mixed || bits & board::THROTTLED != 0).then_some(Flag::Throttled);
        throttled.into_iter().chain((bits & board::POWER_CAPPED != 0).then_some(Flag::PowerCapped)).collect()
    }

    /// How to repeat what is too short for the counter that work on a board, or on the processor, is charged to; the
    /// slowest of several. `None`: nothing is repeated, or no sensor counts.
    #[must_use]
    pub fn loop_rule(&self, on_board: Option<bool>) -> Option<LoopRule> {
        let sensor = self.slowest(on_board).filter(|_| !self.looped.is_zero())?;
        let settle = LEAST_SETTLING.max(sensor.settling().duration()).min(self.looped);
        let groups = if sensor.coverage == Coverage::Full { 1 } else { SWEEP_GROUPS };
        Some(LoopRule { settle, window: self.looped, windows: LOOP_WINDOWS, groups, sensor })
    }

    /// Phases shorter than this are repeated.
    #[must_use]
    pub fn loop_below(&self) -> LoopBelow {
        let of = |on_board| {
            let sensor = self.loop_rule(on_board)?.sensor;
            Some(sensor.long_enough(self.period.max(sensor.safe_poll_ns.unwrap_or_default())))
        };
        LoopBelow { processor_ns: of(Some(false)), board_ns: of(Some(true)), anywhere_ns: of(None) }
    }

    fn slowest(&self, on_board: Option<bool>) -> Option<Calibration> {
        let charged = |kind| match &self.charged {
            Some(kinds) => kinds.contains(&kind),
            None => on_board == Some(kind != SensorKind::Rapl),
        };
        let counting = self.found.sensors.iter().filter(|sensor| sensor.counts() && charged(sensor.kind));
        let known = counting.filter_map(|sensor| self.calibrations.get(&sensor.id));
        known.max_by_key(|calibration| calibration.counter_period_ns).cloned()
    }

    /// Leaves everything alone for the time asked for. The stretch that was idle; `None`: there is nothing to measure,
    /// or someone cancelled.
    pub fn leave_alone(&mut self, clock: &SharedClock, cancel: &CancelToken) -> Option<(Nanos, Nanos)> {
        if self.idle.is_zero() || self.found().sensors.is_empty() {
            return None;
        }
        let begin = clock.now();
        cancel.wait(Deadline(self.idle), || false);
        (!cancel.is_cancelled()).then(|| (begin, clock.now()))
    }

    /// Ends it and tells how it went.
    ///
    /// # Errors
    /// The trace cannot be written.
    pub fn finish(self) -> Result<Continuity, StoreError> {
        let Self { sampler, found, mut trace, epoch, mut states, .. } = self;
        let continuity = sampler.finish(|entry| write(&mut trace, &found, epoch, &mut states, entry));
        trace.flush()?;
        Ok(continuity)
    }
}

impl States {
    /// All bits told since `begin`. States are read ten times slower than power, so a short call may have none of its own:
    /// then the last one told not long before.
    fn reasons_since(&self, begin: Nanos) -> u64 {
        let inside = self.reasons.partition_point(|(at, _)| *at < begin);
        let from = inside.min(self.reasons.len().saturating_sub(1));
        let recent = |(at, _): &&(Nanos, u64)| *at + Nanos(1_000_000_000) >= begin;
        self.reasons[from..].iter().filter(recent).fold(0, |all, (_, bits)| all | bits)
    }

    /// Whether more than one performance state was told since `begin`.
    fn is_mixed_since(&self, begin: Nanos) -> bool {
        let inside = &self.performance[self.performance.partition_point(|(at, _)| *at < begin)..];
        inside.windows(2).any(|pair| pair[0].1 != pair[1].1)
    }

    fn forget(&mut self) {
        for told in [&mut self.reasons, &mut self.performance] {
            told.drain(..told.len().saturating_sub(1));
        }
    }
}

fn write(trace: &mut TraceWriter, found: &FoundSensors, epoch: u32, states: &mut [States], entry: Entry) {
    let number = usize::from(entry.sensor);
    let Some(sensor) = found.sensors.get(number) else { return };
    let Some(register) = sensor.registers.get(usize::from(entry.reading.register)) else { return };
    let reading = entry.reading;
    if let (Some(states), Ok(value)) = (states.get_mut(number), reading.value) {
        let told = match register.name.as_str() {
            "clock_reasons" => Some(&mut states.reasons),
            "performance_state" => Some(&mut states.performance),
            _ => None,
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole numbers before")]
        told.into_iter().for_each(|told| told.push((reading.end, value as u64)));
    }
    let value = reading.value.map_err(|fault| fault.as_str());
    trace.push(epoch, &sensor.id, &register.name, (reading.begin, reading.end), value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_a_call_are_those_told_in_it() {
        const S: u64 = 1_000_000_000;
        let performance = vec![(Nanos(S), 8), (Nanos(3 * S), 0), (Nanos(4 * S), 0), (Nanos(5 * S), 2)];
        let mut states = States { reasons: vec![(Nanos(S), 4), (Nanos(3 * S), 0x20)], performance };
        assert!(states.is_mixed_since(Nanos(4 * S)) && !states.is_mixed_since(Nanos(5 * S)));
        assert_eq!([0, 2, 3, 4].map(|s| states.reasons_since(Nanos(s * S))), [0x24, 0x20, 0x20, 0x20]);
        assert_eq!(states.reasons_since(Nanos(6 * S)), 0, "told too long before");
        states.forget();
        assert_eq!((states.reasons.len(), states.performance.as_slice()), (1, &[(Nanos(5 * S), 2)][..]));
        let mut none = States::default();
        none.forget();
        assert!(none.reasons_since(Nanos(0)) == 0 && !none.is_mixed_since(Nanos(0)));
    }
}
