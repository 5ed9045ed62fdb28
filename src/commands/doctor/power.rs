//! Power sensors of this machine, and what would make power measurable where there are none.

use crate::telemetry::sampler;
use crate::terms::SensorKind;
use crate::terms::sensor::{RegisterKind, Sensor};

use super::finding::{Finding, Kind};

/// One finding per kind of sensor.
pub(super) fn findings() -> Vec<Finding> {
    let kinds = [
        (
            SensorKind::Nvml,
            "GPU power (NVML)",
            "an NVIDIA GPU and its driver; a virtual machine needs both passed through",
        ),
        (
            SensorKind::Rapl,
            "processor energy (RAPL)",
            "a machine of its own: virtual machines rarely show these counters",
        ),
        (SensorKind::Hwmon, "GPU power (hwmon)", "an AMD or Intel GPU with the kernel's own driver"),
    ];
    kinds.into_iter().map(|(kind, name, needs)| finding(kind, name, needs)).collect()
}

fn finding(kind: SensorKind, name: &'static str, needs: &str) -> Finding {
    let found = sampler::discover(&[kind]);
    if found.sensors.is_empty() {
        let why: Vec<String> = found.absent.into_values().collect();
        return Finding::missing(Kind::Sensor, name, why.join("; "), Some(needs.to_owned()));
    }
    Finding::ready(Kind::Sensor, name, found.sensors.iter().map(described).collect::<Vec<_>>().join("; "))
}

fn described(sensor: &Sensor) -> String {
    let told = sensor.registers.iter().filter(|register| register.kind != RegisterKind::State);
    let names: Vec<&str> = told.map(|register| register.name.as_str()).collect();
    let simulated = if sensor.simulated { "SIMULATED, " } else { "" };
    let mut text = format!("{}: {simulated}{}, reads {}", sensor.id, sensor.device, names.join(", "));
    if sensor.divided == Some(true) {
        text.push_str("; divided among programs, its power is the whole board's");
    }
    for (what, why) in
        sensor.missing.iter().filter(|(what, _)| ["counter", "instant", "average"].contains(&what.as_str()))
    {
        text.push_str(&format!("; no {what}: {why}"));
    }
    text
}
