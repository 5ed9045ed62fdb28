//! The timing of this machine's sensors as a run needs it: kept from before, else measured now.

use std::collections::BTreeMap;
use std::path::Path;

use crate::backend::{CancelToken, Surroundings};
use crate::clock::{SharedClock, unix_ns};
use crate::files;
use crate::record::calibration::Measured;
use crate::telemetry::board;
use crate::telemetry::sampler;
use crate::terms::SensorKind;
use crate::terms::sensor::{FoundSensors, Sensor};

use super::{CalibrateError, Device, Load, Prefills, calibrate, known};

/// What measuring sensors takes.
#[derive(Clone, Copy)]
pub struct Calibrator<'a> {
    /// The clock that readings and load are on.
    pub clock: &'a SharedClock,
    /// Ends it early.
    pub cancel: &'a CancelToken,
    /// Where calibrations are kept, and the model that is the load.
    pub cache: &'a Path,
    /// Is told what is being done, and what cannot be.
    pub say: fn(&str),
}

impl Calibrator<'_> {
    /// Calibrations of every sensor of these kinds. One that cannot be measured is told of, and left out.
    ///
    /// # Errors
    /// Someone cancelled.
    pub fn all(&self, kinds: &[SensorKind]) -> Result<Vec<Measured>, CalibrateError> {
        let mut measured = Vec::new();
        let found = sampler::discover(kinds);
        for sensor in &found.sensors {
            match self.calibrate(sensor, &found, false) {
                Ok(found) => measured.push(found),
                Err(error) if self.cancel.is_cancelled() => return Err(error),
                Err(error) => (self.say)(&format!("{} is not calibrated, its timing is assumed: {error}", sensor.id)),
            }
        }
        Ok(measured)
    }

    /// The calibration of one sensor of `all`: the one that is kept, else, or if asked `again`, a new one.
    ///
    /// # Errors
    /// See [`CalibrateError`].
    pub fn calibrate(&self, sensor: &Sensor, all: &FoundSensors, again: bool) -> Result<Measured, CalibrateError> {
        let Self { clock, cancel, cache, say } = *self;
        if let Some(found) = known::find(cache, sensor).filter(|_| !again) {
            return Ok(found);
        }
        say(&format!("{} ({}): measuring the sensor's timing, about a minute", sensor.id, sensor.device));
        let mut load = self.load(sensor, all);
        let load = load.as_mut().map(|load| load as &mut dyn Load);
        let mut step = |what: &str| say(&format!("  {what}"));
        let measured = calibrate(sensor, load, clock, cancel, unix_ns(), &mut step)?;
        // What cannot be kept is measured again the next time.
        let _ = save(&known::file(cache, sensor), &measured);
        Ok(measured)
    }

    /// What keeps the sensor's device busy. `None`: nothing can, which is told.
    fn load(&self, sensor: &Sensor, all: &FoundSensors) -> Option<Prefills> {
        let numbers = board::cuda(&all.sensors, all.has_unopened(), &board::Environment::own());
        let device = self.device(sensor, &numbers)?;
        let surroundings = Surroundings::new(self.clock.clone(), self.cache.to_owned(), 0);
        let opened = Prefills::open(device, &surroundings, self.cancel);
        opened.inspect_err(|error| (self.say)(&format!("no load for {}: {error}", sensor.id))).ok()
    }

    /// What keeps a sensor's device busy, with the boards that CUDA shows by their numbers. `None`: nothing of ours can, or
    /// nobody knows under which number.
    fn device(&self, sensor: &Sensor, numbers: &BTreeMap<u32, String>) -> Option<Device> {
        match sensor.kind {
            // A scripted board follows the processor time of this process.
            SensorKind::Nvml if sensor.simulated => Some(Device::Processor),
            SensorKind::Nvml => {
                let number = numbers.iter().find(|(_, id)| **id == sensor.id).map(|(number, _)| *number);
                if number.is_none() {
                    let fix = "try: CUDA_DEVICE_ORDER=PCI_BUS_ID";
                    let why = "which of CUDA's devices it is, is not known";
                    (self.say)(&format!("no load for {}: {why}\n  {fix}", sensor.id));
                }
                number.map(Device::Cuda)
            }
            SensorKind::Rapl => Some(Device::Processor),
            SensorKind::Hwmon => None,
        }
    }
}

fn save(file: &Path, measured: &Measured) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    files::replace(file, &serde_json::to_vec(measured)?)
}
