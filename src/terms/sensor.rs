//! Power sensors as they are found: what each is and can tell. Reading them is telemetry's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::SensorKind;

/// What a register holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegisterKind {
    /// Energy since some moment, in joules.
    Counter,
    /// Power over the sensor's own window, in watts.
    Instant,
    /// Power as a longer average, in watts.
    Average,
    /// State of the device: a clock, a temperature, a limit. Read on every tenth tick.
    State,
}

/// A register.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// Its name in the trace: of a counter its domain, e.g. `package-0`; of a state its quantity and unit.
    pub name: String,
    /// What it holds.
    pub kind: RegisterKind,
    /// Joules after which a counter starts again at 0. `None`: it does not, or that cannot be read.
    pub range_j: Option<f64>,
}

/// A sensor as found on this machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sensor {
    /// Its name in the trace, e.g. `nvml:0`, `rapl`.
    pub id: String,
    /// Where it sits.
    pub kind: SensorKind,
    /// The device by its own name.
    pub device: String,
    /// What tells this device from others of its kind. `None`: it does not say.
    pub uuid: Option<String>,
    /// Version of the driver. `None`: it has none.
    pub driver: Option<String>,
    /// Whether no such device exists: its values are scripted and must never be taken for measured ones.
    pub simulated: bool,
    /// Power that the device is held to, in watts. `None`: not told.
    pub limit_w: Option<f64>,
    /// Whether the device is divided among programs, its sensor not. `None`: not told.
    pub divided: Option<bool>,
    /// Whether the driver stays loaded while nobody uses the device, which keeps its clocks and power up. `None`: not told.
    #[serde(default)]
    pub persistence: Option<bool>,
    /// How the driver numbers its field values. `None`: it has none.
    #[serde(default)]
    pub field_ids: Option<String>,
    /// Registers that can be read.
    pub registers: Vec<Register>,
    /// What it could tell and does not here, each with the reason.
    pub missing: BTreeMap<String, String>,
}

impl Sensor {
    /// A sensor that tells nothing but its name and where it sits.
    #[must_use]
    pub fn new(id: String, kind: SensorKind, device: String) -> Self {
        Self {
            id,
            kind,
            device,
            uuid: None,
            driver: None,
            simulated: false,
            limit_w: None,
            divided: None,
            persistence: None,
            field_ids: None,
            registers: Vec::new(),
            missing: BTreeMap::new(),
        }
    }

    /// Whether it has an energy counter.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.registers.iter().any(|register| register.kind == RegisterKind::Counter)
    }

    /// A board of this number in the driver's library, for tests: it has no registers.
    #[cfg(test)]
    pub(crate) fn board(number: u32) -> Self {
        let uuid = Some(format!("GPU-{number}-abcd"));
        Self { uuid, ..Self::new(format!("nvml:{number}"), SensorKind::Nvml, "a board".to_owned()) }
    }
}

/// Whether a register counts a whole processor package. Those are added up; memory and platform are told apart from them.
#[must_use]
pub fn is_package(register_name: &str) -> bool {
    domain_kind(register_name) == "package"
}

/// A domain's name without its number: `package`, `dram`, `psys`, `core`, `uncore`.
#[must_use]
pub fn domain_kind(register_name: &str) -> &str {
    register_name.split('-').next().unwrap_or_default()
}

/// What there is on this machine.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoundSensors {
    /// Sensors that can be read.
    pub sensors: Vec<Sensor>,
    /// Kinds and devices that cannot, each with the reason and what would help.
    pub absent: BTreeMap<String, String>,
    /// Kinds that are there and that this user may not read.
    #[serde(default)]
    pub refused: Vec<SensorKind>,
}

impl FoundSensors {
    /// Whether there are NVIDIA boards that could not be opened.
    #[must_use]
    pub fn has_unopened(&self) -> bool {
        let board = format!("{}:", SensorKind::Nvml);
        self.absent.keys().any(|device| device.starts_with(&board))
    }
}
