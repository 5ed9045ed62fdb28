//! Calibrations that were measured before, in the user's cache folder.

use std::fs;
use std::path::{Path, PathBuf};

use crate::hash::sha256_hex;
use crate::process::boot_id;
use crate::record::calibration::Measured;
use crate::terms::sensor::Sensor;

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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::record::calibration::Calibration;
    use crate::terms::SensorKind;

    fn sensor() -> Sensor {
        Sensor {
            id: "nvml:0".to_owned(),
            kind: SensorKind::Nvml,
            device: "a board".to_owned(),
            uuid: Some("GPU-1".to_owned()),
            driver: Some("580.1".to_owned()),
            simulated: false,
            limit_w: Some(350.0),
            divided: Some(false),
            persistence: None,
            field_ids: None,
            registers: Vec::new(),
            missing: BTreeMap::new(),
        }
    }

    fn measured(boot_sha256: Option<String>) -> Measured {
        Measured {
            sensor: "nvml:0".to_owned(),
            device: "a board".to_owned(),
            uuid: Some("GPU-1".to_owned()),
            driver: Some("580.1".to_owned()),
            limit_w: Some(350.0),
            simulated: false,
            boot_sha256,
            unix_ns: 7,
            load: None,
            calibration: Calibration::assumed(),
            response: None,
            counter_response: None,
            phases: Vec::new(),
            paces: Vec::new(),
            steps_ns: Vec::new(),
            steps_w: Vec::new(),
        }
    }

    fn keep(cache: &Path, measured: &Measured) {
        let file = file(cache, &sensor());
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, serde_json::to_vec(measured).unwrap()).unwrap();
    }

    #[test]
    fn one_is_found_for_the_same_board_driver_and_limit_in_the_same_boot() {
        let cache = tempfile::tempdir().unwrap();
        assert_eq!(find(cache.path(), &sensor()), None);
        let kept = measured(boot());
        assert!(kept.boot_sha256.is_some(), "Linux tells its boots apart");
        keep(cache.path(), &kept);
        assert_eq!(find(cache.path(), &sensor()), Some(kept));
        for other in [
            Sensor { id: "nvml:1".to_owned(), ..sensor() },
            Sensor { uuid: Some("GPU-2".to_owned()), ..sensor() },
            Sensor { driver: Some("580.2".to_owned()), ..sensor() },
            Sensor { limit_w: Some(300.0), ..sensor() },
            Sensor { limit_w: None, ..sensor() },
            Sensor { simulated: true, ..sensor() },
        ] {
            assert_eq!(find(cache.path(), &other), None, "{other:?}");
        }
    }

    #[test]
    fn one_of_another_boot_or_that_cannot_be_read_is_measured_again() {
        let cache = tempfile::tempdir().unwrap();
        for boot in [None, Some("another".to_owned())] {
            keep(cache.path(), &measured(boot));
            assert_eq!(find(cache.path(), &sensor()), None);
        }
        fs::write(file(cache.path(), &sensor()), "{ \"sensor\": ").unwrap();
        assert_eq!(find(cache.path(), &sensor()), None);
    }

    #[test]
    fn its_id_changes_with_what_was_found() {
        let (first, mut second) = (measured(None), measured(None));
        assert_eq!((id(&first), id(&first).len()), (id(&second), DIGITS));
        second.calibration.resolution_j = 2e-3;
        assert_ne!(id(&first), id(&second));
    }
}
