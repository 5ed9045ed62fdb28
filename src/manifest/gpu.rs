//! The GPU side of a machine, as NVIDIA's management library tells it.

use nvml_wrapper::{Device, Nvml};
use serde::{Deserialize, Serialize};

use crate::telemetry::nvml;
use crate::units::Bytes;

/// The machine's GPUs, or why there are none to see.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpus {
    /// Driver version. `None`: no driver.
    pub driver: Option<String>,
    /// Newest CUDA version the driver serves, e.g. `13.0`. `None`: no driver.
    pub cuda: Option<String>,
    /// The GPUs in the driver's order.
    pub devices: Vec<Gpu>,
    /// Why no GPU is listed. `None`: some are.
    pub absent: Option<String>,
}

/// One GPU. A fact that the driver does not tell is `None`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// Product name.
    pub name: Option<String>,
    /// The card's own id.
    pub uuid: Option<String>,
    /// Memory.
    pub memory_bytes: Option<Bytes>,
    /// Compute capability, e.g. `9.0`.
    pub compute_capability: Option<String>,
    /// Power limit in force. Unit: watts.
    pub power_limit_w: Option<f64>,
    /// Whether memory errors are corrected.
    pub ecc: Option<bool>,
    /// Whether it is divided into instances.
    pub mig: Option<bool>,
}

impl Gpus {
    /// The GPUs now.
    #[must_use]
    pub fn collect() -> Self {
        match nvml::open() {
            Ok(nvml) => Self::of(&nvml),
            Err(absent) => Self { absent: Some(absent.to_string()), ..Self::default() },
        }
    }

    fn of(nvml: &Nvml) -> Self {
        let count = nvml.device_count();
        let devices: Vec<Gpu> = (0..*count.as_ref().unwrap_or(&0))
            .filter_map(|index| nvml.device_by_index(index).ok())
            .map(|device| Gpu::of(&device))
            .collect();
        let absent = devices.is_empty().then(|| match count {
            Err(error) => format!("the driver cannot list GPUs: {error}"),
            Ok(0) => "the driver lists no GPU".to_owned(),
            Ok(n) => format!("the driver lists {n} but lets none be opened"),
        });
        Self {
            driver: nvml.sys_driver_version().ok(),
            cuda: nvml.sys_cuda_driver_version().ok().map(cuda_version),
            devices,
            absent,
        }
    }
}

impl Gpu {
    fn of(device: &Device<'_>) -> Self {
        let capability = device.cuda_compute_capability().ok();
        Self {
            name: device.name().ok(),
            uuid: device.uuid().ok(),
            memory_bytes: device.memory_info().ok().map(|memory| Bytes(memory.total)),
            compute_capability: capability.map(|c| format!("{}.{}", c.major, c.minor)),
            power_limit_w: device.enforced_power_limit().ok().map(|mw| f64::from(mw) / 1e3),
            ecc: device.is_ecc_enabled().ok().map(|state| state.currently_enabled),
            // 1 is NVML_DEVICE_MIG_ENABLE.
            mig: device.mig_mode().ok().map(|mode| mode.current == 1),
        }
    }
}

/// 13020 → `13.2`.
fn cuda_version(code: i32) -> String {
    format!("{}.{}", code / 1000, code % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_read_as_written() {
        assert_eq!(cuda_version(13020), "13.2");
        assert_eq!(cuda_version(12080), "12.8");
    }

    #[test]
    fn no_gpu_has_a_reason() {
        let gpus = Gpus::collect();
        assert_eq!(gpus.devices.is_empty(), gpus.absent.is_some());
    }
}
