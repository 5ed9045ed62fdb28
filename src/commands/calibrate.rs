//! `phasebench calibrate`: the timing of this machine's power sensors, measured, kept and shown.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use crate::backend::{CancelToken, Surroundings};
use crate::calibrate::{CalibrateError, Device, Load, Prefills, calibrate, known};
use crate::cli::CalibrateArgs;
use crate::clock::{RealClock, SharedClock, unix_ns};
use crate::commands::terminal;
use crate::exit::Exit;
use crate::record::calibration::Measured;
use crate::report::files;
use crate::report::sections::calibration;
use crate::scenario::TelemetrySettings;
use crate::store::{io_error, write_atomically};
use crate::telemetry::board;
use crate::telemetry::sampler;
use crate::terms::SensorKind;
use crate::terms::sensor::{Found, Sensor};

/// File with what was measured.
const FILE: &str = "calibration.json";

/// Measures every sensor that was not measured in this boot, or all again; writes and prints what was found.
///
/// # Errors
/// A sensor that cannot be measured, files that cannot be written, standard output refuses.
pub fn execute(args: &CalibrateArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let kinds = if args.sensor.is_empty() { SensorKind::ALL.to_vec() } else { args.sensor.clone() };
    let cancel = terminal::cancel_on_signal()?;
    let clock: SharedClock = Arc::new(RealClock::default());
    let found = sampler::discover(&kinds);
    if found.sensors.is_empty() {
        let why: Vec<String> = found.absent.iter().map(|(kind, why)| format!("{kind}: {why}")).collect();
        terminal::warn(&format!("no power sensor to calibrate ({})", why.join("; ")));
        return Ok(Exit::Unavailable);
    }
    let mut measured = Vec::new();
    for sensor in &found.sensors {
        measured.push(one(sensor, &found, args.again, &clock, &cancel)?);
    }
    let document = calibration::document(&measured);
    std::fs::create_dir_all(&args.out).map_err(io_error(&args.out, "create"))?;
    write_atomically(&args.out.join(FILE), &serde_json::to_vec_pretty(&measured)?)?;
    files::write(&document, &args.out)?;
    for line in measured.iter().flat_map(calibration::lines) {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "\nreport: {}", args.out.join(files::PAGE).display())?;
    Ok(Exit::Good)
}

/// Calibrations for a run, of every sensor that it reads. One that cannot be measured is told of, and left out.
///
/// # Errors
/// Someone cancelled.
pub fn ahead(settings: &TelemetrySettings, clock: &SharedClock, cancel: &CancelToken) -> anyhow::Result<Vec<Measured>> {
    let mut measured = Vec::new();
    let found = sampler::discover(&settings.kinds());
    for sensor in &found.sensors {
        match one(sensor, &found, false, clock, cancel) {
            Ok(found) => measured.push(found),
            Err(error) if cancel.is_cancelled() => return Err(error.into()),
            Err(error) => terminal::warn(&format!("{} is not calibrated, its timing is assumed: {error}", sensor.id)),
        }
    }
    Ok(measured)
}

/// The calibration of one sensor: the one that is kept, else a new one.
fn one(
    sensor: &Sensor,
    all: &Found,
    again: bool,
    clock: &SharedClock,
    cancel: &CancelToken,
) -> Result<Measured, CalibrateError> {
    let cache = crate::cache::root();
    if let Some(found) = known::find(&cache, sensor).filter(|_| !again) {
        return Ok(found);
    }
    terminal::warn(&format!("{} ({}): measuring the sensor's timing, about a minute", sensor.id, sensor.device));
    let numbers = board::cuda(&all.sensors, all.has_unopened(), &board::Environment::own());
    let mut load = device(sensor, &numbers).and_then(|device| {
        let surroundings = Surroundings::new(clock.clone(), cache.clone(), 0);
        let opened = Prefills::open(device, &surroundings, cancel);
        opened.inspect_err(|error| terminal::warn(&format!("no load for {}: {error}", sensor.id))).ok()
    });
    let load = load.as_mut().map(|load| load as &mut dyn Load);
    let mut say = |what: &str| terminal::warn(&format!("  {what}"));
    let measured = calibrate(sensor, load, clock, cancel, unix_ns(), &mut say)?;
    // What cannot be kept is measured again the next time.
    let _ = keep(&known::file(&cache, sensor), &measured);
    Ok(measured)
}

/// What keeps a sensor's device busy, with the boards that CUDA shows by their numbers. `None`: nothing of ours can, or
/// nobody knows under which number.
fn device(sensor: &Sensor, numbers: &BTreeMap<u32, String>) -> Option<Device> {
    match sensor.kind {
        // A scripted board follows the processor time of this process.
        SensorKind::Nvml if sensor.simulated => Some(Device::Processor),
        SensorKind::Nvml => {
            let number = numbers.iter().find(|(_, id)| **id == sensor.id).map(|(number, _)| *number);
            if number.is_none() {
                let fix = "try: CUDA_DEVICE_ORDER=PCI_BUS_ID";
                terminal::warn(&format!(
                    "no load for {}: which of CUDA's devices it is, is not known\n  {fix}",
                    sensor.id
                ));
            }
            number.map(Device::Cuda)
        }
        SensorKind::Rapl => Some(Device::Processor),
        SensorKind::Hwmon => None,
    }
}

fn keep(file: &Path, measured: &Measured) -> anyhow::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    Ok(write_atomically(file, &serde_json::to_vec(measured)?)?)
}
