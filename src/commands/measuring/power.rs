//! Power beside a run: begun where the scenario asks for it, and told in the manifest.

use std::collections::BTreeMap;

use crate::backend::CancelToken;
use crate::calibrate::{Calibrator, by_sensor};
use crate::clock::SharedClock;
use crate::record::calibration::{Calibration, Measured};
use crate::record::manifest::PowerEntry;
use crate::run::{IDLE_TRIES, Power, PowerBeside, Rested};
use crate::scenario::TelemetrySettings;
use crate::signals::Guarded;
use crate::telemetry::sensor::rapl;
use crate::telemetry::{Watcher, sampler};
use crate::terminal::warn;
use crate::terms::sensor::FoundSensors;
use crate::units::Nanos;

use super::{BegunRun, CommandError, left};

/// What was found out about sensors before the run's own recording begins.
#[derive(Default)]
struct Timings {
    calibrations: Vec<Measured>,
    /// When everything was left alone, before this process worked on any device.
    rested: Option<Rested>,
}

impl BegunRun {
    /// Begins to record power, where the scenario asks for it and there is anything left to measure.
    pub(super) fn record_power(&mut self, json: bool) -> Result<PowerBeside, CommandError> {
        let folder = self.folder().to_owned();
        let _guarded = Guarded::new(&self.job.cancel, move || left(&folder, json));
        let finished = self.job.recorded.finished();
        // On a virtual clock nothing draws power.
        let wanted = !finished && !self.job.clock.is_virtual();
        let Some(settings) = self.telemetry.clone().filter(|_| wanted) else { return Ok(PowerBeside::default()) };
        let sensors = sampler::discover(&settings.kinds()).sensors;
        let Timings { calibrations, rested } =
            if settings.calibrate { self.calibrated(&settings)? } else { Timings::default() };
        let power = self.start(&settings, by_sensor(&sensors, &calibrations))?;
        tell(power.found());
        self.enter(&settings, &power, calibrations)?;
        Ok(PowerBeside::new(power, rested))
    }

    fn start(
        &self,
        settings: &TelemetrySettings,
        timings: BTreeMap<String, Calibration>,
    ) -> Result<Power, CommandError> {
        let job = &self.job;
        Ok(Power::start(settings, timings, &job.writer, job.recorded.epochs(), job.clock.clone())?)
    }

    /// Rests, then measures the sensors: the load of a calibration leaves a context on the device until this process ends,
    /// and that draws power.
    fn calibrated(&self, settings: &TelemetrySettings) -> Result<Timings, CommandError> {
        let job = &self.job;
        let mut early = self.start(settings, BTreeMap::new())?;
        let rested = rested(&mut early, &job.clock, &job.cancel);
        early.finish()?;
        let cache = crate::cache::root();
        let calibrator = Calibrator { clock: &job.clock, cancel: &job.cancel, cache: &cache, say: warn };
        Ok(Timings { calibrations: calibrator.all(&settings.kinds())?, rested })
    }

    /// Writes down which sensors are read, and how.
    fn enter(
        &mut self,
        settings: &TelemetrySettings,
        power: &Power,
        calibrations: Vec<Measured>,
    ) -> Result<(), CommandError> {
        let Some(epoch) = self.manifest.epochs.last_mut() else { return Ok(()) };
        let (period_ns, charged) = (settings.period.into(), settings.sensors.clone());
        let (found, cuda) = (power.found().clone(), power.cuda().clone());
        epoch.power = Some(PowerEntry { period_ns, charged, found, calibrations, cuda, continuity: None });
        Ok(self.job.writer.write_manifest(&self.manifest.to_json()?)?)
    }
}

/// Leaves everything alone, where the scenario asks for it; once more where this program was held meanwhile.
fn rested(power: &mut Power, clock: &SharedClock, cancel: &CancelToken) -> Option<Rested> {
    let watcher = Watcher::new(|_| ());
    let mut last = None;
    for _ in 0..IDLE_TRIES {
        let begun = watcher.begin_idle();
        let (begin, end) = power.leave_alone(clock, cancel)?;
        let frozen_ns = Some(watcher.held_since(begun)).filter(|&held| held > Nanos(0));
        last = Some(Rested { begin, end, frozen_ns });
        if frozen_ns.is_none() {
            break;
        }
    }
    last
}

/// Says what of the sensors keeps a figure from being a measurement, or from being there.
fn tell(found: &FoundSensors) {
    if found.sensors.is_empty() {
        let why: Vec<String> = found.absent.iter().map(|(kind, why)| format!("{kind}: {why}")).collect();
        warn(&format!("no power sensor, energy stays empty ({})", why.join("; ")));
    }
    for sensor in &found.sensors {
        if sensor.simulated {
            warn(&format!("{} is SIMULATED: no energy of this run is a measurement", sensor.id));
        }
        if let Some(why) = sensor.missing.get(rapl::PACKAGES) {
            warn(&format!("{}: {why}", sensor.id));
        }
    }
}
