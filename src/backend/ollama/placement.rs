//! Where a loaded model is, and whether it is still the one that was loaded.

use std::collections::BTreeMap;

use super::manage::Resident;
use super::process::ServerProcess;
use super::version::ServerClock;
use crate::backend::Failure;
use crate::scenario::OllamaDevice;
use crate::terms::{Attribution, Degraded};

/// Why what is resident is not where it was asked to be. `None`: it is, or nothing was asked.
pub(super) fn wrong_device(asked: OllamaDevice, own: Option<&Resident>) -> Option<String> {
    let (size, vram) = (own?.size?, own?.size_vram?);
    match asked {
        OllamaDevice::Cpu if vram > 0 => Some(format!("cpu was asked for, {vram} of {size} bytes are on a device")),
        OllamaDevice::Gpu if vram < size => Some(format!("gpu was asked for, {vram} of {size} bytes are on a device")),
        OllamaDevice::Cpu | OllamaDevice::Gpu | OllamaDevice::Any => None,
    }
}

/// What a restart of the server means for the call before it was noticed.
pub(super) fn after_restart(before: &ServerProcess, now: Option<&ServerProcess>) -> Failure {
    match now.and_then(|now| before.differs(now)) {
        Some(what) => Failure::new(Degraded::StackChanged, &format!("the server was started again: {what}")),
        None => Failure::new(Degraded::Reloaded, "the server was started again: the model is no longer resident"),
    }
}

/// Where a model runs. That all of it is said to be on a device is necessary and not sufficient: the driver must show
/// the server's processes to hold memory there.
pub fn attribution(
    asked: OllamaDevice,
    version: &str,
    clock: &ServerClock,
    own: Option<&Resident>,
    device_memory: Option<u64>,
) -> Attribution {
    let size = own.and_then(|model| model.size);
    let vram = own.and_then(|model| model.size_vram);
    let actual = match (size, vram) {
        (Some(_), Some(0)) => Some("cpu"),
        (Some(size), Some(vram)) if vram >= size => {
            device_memory.filter(|held| held.saturating_mul(2) >= size).map(|_| "gpu")
        }
        (Some(_), Some(_)) => Some("cpu+gpu"),
        _ => None,
    };
    let mut evidence = BTreeMap::from([
        ("server.version".to_owned(), version.to_owned()),
        ("server.clock".to_owned(), clock.row.to_owned()),
    ]);
    for (key, value) in [
        ("ps.size_bytes", size),
        ("ps.size_vram_bytes", vram),
        ("ps.context_length", own.and_then(|model| model.context_length)),
        ("nvml.engine_bytes", device_memory),
    ] {
        if let Some(value) = value {
            evidence.insert(key.to_owned(), value.to_string());
        }
    }
    Attribution { requested: asked.as_str().to_owned(), actual: actual.map(str::to_owned), evidence: evidence.into() }
}
