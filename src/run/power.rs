//! Power beside a run: the sampler's readings into the run's trace, idle stretches, and what devices did to calls.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use crate::backend::{CancelToken, Deadline};
use crate::clock::SharedClock;
use crate::energy::{Calibration, Coverage};
use crate::measure::LoopRule;
use crate::record::LoopBelow;
use crate::spec::TelemetrySpec;
use crate::store::{StoreError, TraceWriter, Writer};
use crate::telemetry::continuity::Continuity;
use crate::telemetry::sampler::{Entry, Found, Sampler};
use crate::terms::{Flag, SensorKind};
use crate::units::Nanos;

/// Bits by which NVIDIA's driver says that heat or a brake lowered the clocks: hardware slowdown, software thermal,
/// hardware thermal, power brake.
const THROTTLED: u64 = 0x8 | 0x20 | 0x40 | 0x80;

/// The bit by which it says that the power limit did.
const POWER_CAPPED: u64 = 0x4;

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
    found: Found,
    trace: TraceWriter,
    epoch: u32,
    idle: Duration,
    looped: Duration,
    period: Nanos,
    /// Kinds that every call is charged to. `None`: to the device it ran on.
    charged: Option<Vec<SensorKind>>,
    calibrations: BTreeMap<String, Calibration>,
    /// States of the clocks that each sensor told, with their times.
    reasons: Vec<Vec<(Nanos, u64)>>,
}

impl Power {
    /// Begins to record into the folder of `writer`; `calibrations` are the sensors' by their ids.
    ///
    /// # Errors
    /// No thread, or a trace that cannot be written.
    pub fn start(
        spec: &TelemetrySpec,
        calibrations: BTreeMap<String, Calibration>,
        writer: &Writer,
        epoch: u32,
        clock: SharedClock,
    ) -> Result<Self, PowerError> {
        let trace = TraceWriter::open(writer.folder())?;
        let sampler = Sampler::start(&spec.kinds(), spec.period, clock)?;
        let found = sampler.found().clone();
        let TelemetrySpec { idle, looped, period, .. } = *spec;
        let (period, charged, reasons) = (period.into(), spec.sensors.clone(), Vec::new());
        Ok(Self { sampler, found, trace, epoch, idle, looped, period, charged, calibrations, reasons })
    }

    /// What it records.
    #[must_use]
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Writes down what was read so far.
    ///
    /// # Errors
    /// The trace cannot be written.
    pub fn note(&mut self) -> Result<(), StoreError> {
        let Self { sampler, found, trace, epoch, reasons, .. } = self;
        sampler.drain(|entry| write(trace, found, *epoch, reasons, entry));
        trace.flush()
    }

    /// What devices did since `begin`; after [`note`](Self::note). States told before are forgotten but for the last.
    pub fn flags(&mut self, begin: Nanos) -> Vec<Flag> {
        let mut bits = 0;
        for states in &mut self.reasons {
            let inside = states.partition_point(|(at, _)| *at < begin);
            // States are read ten times slower than power, so a short call may have none of its own.
            let last = states.len().saturating_sub(1);
            let recent = |(at, _): &&(Nanos, u64)| *at + Nanos(1_000_000_000) >= begin;
            bits |= states[inside.min(last)..].iter().filter(recent).fold(0, |all, (_, bits)| all | bits);
            states.drain(..last);
        }
        let flag = |mask, flag| (bits & mask != 0).then_some(flag);
        flag(THROTTLED, Flag::Throttled).into_iter().chain(flag(POWER_CAPPED, Flag::PowerCapped)).collect()
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
        let of = |on_board| self.loop_rule(Some(on_board)).map(|rule| rule.sensor.long_enough(self.period));
        LoopBelow { processor_ns: of(false), board_ns: of(true) }
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
    pub fn rest(&mut self, clock: &SharedClock, cancel: &CancelToken) -> Option<(Nanos, Nanos)> {
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
        let Self { sampler, found, mut trace, epoch, mut reasons, .. } = self;
        let continuity = sampler.finish(|entry| write(&mut trace, &found, epoch, &mut reasons, entry));
        trace.flush()?;
        Ok(continuity)
    }
}

fn write(trace: &mut TraceWriter, found: &Found, epoch: u32, reasons: &mut Vec<Vec<(Nanos, u64)>>, entry: Entry) {
    let number = usize::from(entry.sensor);
    let Some(sensor) = found.sensors.get(number) else { return };
    let Some(register) = sensor.registers.get(usize::from(entry.reading.register)) else { return };
    let reading = entry.reading;
    if register.name == "clock_reasons"
        && let Ok(bits) = reading.value
    {
        reasons.resize(found.sensors.len(), Vec::new());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bits that were whole before")]
        let bits = bits as u64;
        reasons[number].push((reading.end, bits));
    }
    let value = reading.value.map_err(|fault| fault.as_str());
    trace.push(epoch, &sensor.id, &register.name, (reading.begin, reading.end), value);
}
