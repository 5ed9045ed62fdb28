//! Power sensors: what each can tell, and its readings.
//!
//! A sensor has registers; every tick of the sampler reads those of all sensors. A reading is what the register said and
//! when it was asked, or why it said nothing. What a reading means for a phase is decided elsewhere, from the files.

use std::fmt;

use crate::terms::sensor::{RegisterKind, Sensor};
use crate::units::Nanos;

pub mod hwmon;
pub mod nvml;
pub mod rapl;
mod temperature;

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
