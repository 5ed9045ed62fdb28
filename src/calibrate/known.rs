//! Calibrations that were measured before, in the user's cache folder.

use std::fs;
use std::path::{Path, PathBuf};

use crate::backend::process::boot_id;
use crate::energy::Measured;
use crate::hash::sha256_hex;
use crate::telemetry::sensor::Sensor;

/// Digits of a calibration's id.
const DIGITS: usize = 12;

/// The file that the calibration of a sensor with this driver and power limit is kept in.
#[must_use]
pub fn file(cache: &Path, sensor: &Sensor) -> PathBuf {
    let device = sensor.uuid.as_deref().unwrap_or(&sensor.device);
    let driver = sensor.driver.as_deref().unwrap_or_default();
    let limit = sensor.limit_w.map(|watts| watts.to_string()).unwrap_or_default();
    let key = sha256_hex([sensor.kind.as_str(), &sensor.id, device, driver, &limit].join("\n").as_bytes());
    cache.join("calibration").join(format!("{}.json", &key[..DIGITS]))
}

/// The calibration of this sensor, if it was measured in this boot. `None` for a scripted one, which is another one in
/// every run.
#[must_use]
pub fn find(cache: &Path, sensor: &Sensor) -> Option<Measured> {
    let text = fs::read(file(cache, sensor)).ok().filter(|_| !sensor.simulated)?;
    // One that cannot be read is measured again.
    let found: Measured = serde_json::from_slice(&text).ok()?;
    (found.boot_sha256.is_some() && found.boot_sha256 == boot()).then_some(found)
}

/// Hash of this boot. `None`: the system does not tell one boot from another.
#[must_use]
pub fn boot() -> Option<String> {
    boot_id().map(|id| sha256_hex(id.as_bytes()))
}

/// What names a measurement: a hash of all of it.
#[must_use]
pub fn id(measured: &Measured) -> String {
    let text = serde_json::to_string(measured).unwrap_or_default();
    sha256_hex(text.as_bytes())[..DIGITS].to_owned()
}
