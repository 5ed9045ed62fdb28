//! The GPU side of a machine, as NVIDIA's management library tells it.

use nvml_wrapper::{Device, Nvml};

use crate::record::manifest::{Gpu, Gpus};
use crate::telemetry::nvml;
use crate::units::Bytes;

/// The GPUs now.
#[must_use]
pub fn collect() -> Gpus {
    match nvml::open() {
        Ok(nvml) => listed(&nvml),
        Err(absent) => Gpus { absent: Some(absent.to_string()), ..Gpus::default() },
    }
}

fn listed(nvml: &Nvml) -> Gpus {
    let count = nvml.device_count();
    let devices: Vec<Gpu> = (0..*count.as_ref().unwrap_or(&0))
        .filter_map(|index| nvml.device_by_index(index).ok())
        .map(|device| board(&device))
        .collect();
    let absent = devices.is_empty().then(|| match count {
        Err(error) => format!("the driver cannot list GPUs: {error}"),
        Ok(0) => "the driver lists no GPU".to_owned(),
        Ok(n) => format!("the driver lists {n} but lets none be opened"),
    });
    Gpus {
        driver: nvml.sys_driver_version().ok(),
        cuda: nvml.sys_cuda_driver_version().ok().map(cuda_version),
        devices,
        absent,
    }
}

fn board(device: &Device<'_>) -> Gpu {
    let capability = device.cuda_compute_capability().ok();
    Gpu {
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
        let gpus = collect();
        assert_eq!(gpus.devices.is_empty(), gpus.absent.is_some());
    }
}
