//! Power sensors: what each can tell, and its readings.
//!
//! A sensor has registers; every tick of the sampler reads those of all sensors. A reading is what the register said and
//! when it was asked, or why it said nothing. What a reading means for a phase is decided elsewhere, from the files.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::terms::SensorKind;
use crate::units::Nanos;

pub mod hwmon;
pub mod nvml;
pub mod rapl;
mod temperature;
mod trace;

/// How a sensor that is none says so, in its name and in its driver's.
pub const SIMULATED: &str = "simulated";

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

/// Why a register said nothing. The names appear in the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The device does not have it.
    NotSupported,
    /// This user may not read it.
    Permission,
    /// The device is gone.
    Lost,
    /// It did not answer in time, or not with a number.
    Unreadable,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 4] = [Self::NotSupported, Self::Permission, Self::Lost, Self::Unreadable];

    /// The name used in the trace.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotSupported => "not_supported",
            Self::Permission => "permission",
            Self::Lost => "lost",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Number of the register in [`Sensor::registers`].
    pub register: u16,
    /// Just before it was asked for, on the run's clock.
    pub begin: Nanos,
    /// Just after.
    pub end: Nanos,
    /// In the register's unit.
    pub value: Result<f64, Fault>,
}

/// What of a sensor is read on a tick. Power always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Energy counters.
    pub counters: bool,
    /// States.
    pub states: bool,
}

impl Due {
    /// Everything.
    pub const ALL: Self = Self { counters: true, states: true };

    /// Power and energy.
    pub const ENERGY: Self = Self { counters: true, states: false };

    /// Whether a register of this kind is read.
    #[must_use]
    pub fn has(self, kind: RegisterKind) -> bool {
        match kind {
            RegisterKind::Counter => self.counters,
            RegisterKind::State => self.states,
            RegisterKind::Instant | RegisterKind::Average => true,
        }
    }
}

/// Reads one sensor, on the thread that opened it. A reading must never wait for the work that is measured.
pub trait PowerSource {
    /// What it is and can tell.
    fn sensor(&self) -> &Sensor;

    /// Reads those of its registers that are due; `now` tells the time.
    fn read(&mut self, due: Due, now: &dyn Fn() -> Nanos, each: &mut dyn FnMut(Reading));
}
