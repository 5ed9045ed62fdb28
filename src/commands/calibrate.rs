//! `phasebench calibrate`: the timing of this machine's power sensors, measured, kept and shown.

use std::io::Write;
use std::sync::Arc;

use crate::calibrate::Calibrator;
use crate::cli::CalibrateArgs;
use crate::clock::{RealClock, SharedClock};
use crate::exit::Exit;
use crate::report::files;
use crate::report::sections::calibration;
use crate::signals::{Guarded, cancelled_by_signals, end_at_once};
use crate::store::{io_error, write_atomically};
use crate::telemetry::sampler;
use crate::terminal::warn;
use crate::terms::SensorKind;

use super::CommandError;
use super::out_folder::not_a_run;

/// File with what was measured.
const FILE: &str = "calibration.json";

/// Measures every sensor that was not measured in this boot, or all again; writes and prints what was found.
///
/// # Errors
/// A sensor that cannot be measured, files that cannot be written, standard output refuses.
pub fn execute(args: &CalibrateArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    not_a_run(&args.out)?;
    let kinds = if args.sensor.is_empty() { SensorKind::ALL.to_vec() } else { args.sensor.clone() };
    let cancel = cancelled_by_signals()?;
    let clock: SharedClock = Arc::new(RealClock::default());
    let found = sampler::discover(&kinds);
    if found.sensors.is_empty() {
        let why: Vec<String> = found.absent.iter().map(|(kind, why)| format!("{kind}: {why}")).collect();
        warn(&format!("no power sensor to calibrate ({})", why.join("; ")));
        return Ok(Exit::Unavailable);
    }
    let cache = crate::cache::root();
    let calibrator = Calibrator { clock: &clock, cancel: &cancel, cache: &cache, say: warn };
    // Making the load's model may not look at the token for long.
    let guarded = Guarded::new(&cancel, || end_at_once());
    let mut measured = Vec::new();
    for sensor in &found.sensors {
        match calibrator.calibrate(sensor, &found, args.again) {
            Err(_) if cancel.is_cancelled() => return Ok(Exit::Interrupted),
            calibrated => measured.push(calibrated?),
        }
    }
    drop(guarded);
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
