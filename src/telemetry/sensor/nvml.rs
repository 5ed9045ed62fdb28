//! NVIDIA boards.
//!
//! Power comes in watts as the driver's own registers hold it: since Ampere (but for its data-centre chip GA100) the
//! plain power reading is an average over a second, while a register of its own holds the instantaneous one.

use std::collections::BTreeMap;

use nvml_wrapper::enum_wrappers::device::{Clock, PerformancePolicy, TemperatureSensor};
use nvml_wrapper::enums::device::{DeviceArchitecture, SampleValue};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id;
use nvml_wrapper::{Device, Nvml};

use super::{Due, Fault, PowerSource, Reading};
use crate::terms::sensor::{Register, RegisterKind, Sensor};
use crate::terms::{SIMULATED, SensorKind};
use crate::units::Nanos;

/// A board.
pub struct Board<'a> {
    device: Device<'a>,
    sensor: Sensor,
    asked: Vec<Asked>,
}

/// How a register is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Energy counter, millijoules.
    TotalEnergy,
    /// Plain power reading, milliwatts.
    PowerUsage,
    /// A field, in thousandths of the register's unit.
    Milli(u32),
    /// A field, in the register's unit.
    Plain(u32),
    /// Temperature of the chip.
    Temperature,
    /// A clock.
    Clock(u8),
    /// Performance state, 0 the fastest.
    PerformanceState,
    /// Bits that tell why clocks are lowered.
    Reasons,
    /// Power the board is held to.
    Limit,
    /// Time for which power lowered the clocks.
    PowerViolation,
    /// Time for which heat did.
    ThermalViolation,
}

/// Clocks by their number in [`Asked::Clock`].
const CLOCKS: [Clock; 2] = [Clock::SM, Clock::Memory];

/// State registers, in order: name and how it is read.
const STATES: [(&str, Asked); 9] = [
    ("temperature_c", Asked::Temperature),
    ("memory_temperature_c", Asked::Plain(field_id::NVML_FI_DEV_MEMORY_TEMP)),
    ("sm_clock_mhz", Asked::Clock(0)),
    ("memory_clock_mhz", Asked::Clock(1)),
    ("performance_state", Asked::PerformanceState),
    ("clock_reasons", Asked::Reasons),
    ("limit_w", Asked::Limit),
    ("power_violation_s", Asked::PowerViolation),
    ("thermal_violation_s", Asked::ThermalViolation),
];

impl<'a> Board<'a> {
    /// Every board the driver knows; what cannot be opened is told by its number.
    #[must_use]
    pub fn all(nvml: &'a Nvml) -> (Vec<Self>, BTreeMap<String, String>) {
        let (mut boards, mut absent) = (Vec::new(), BTreeMap::new());
        for index in 0..nvml.device_count().unwrap_or(0) {
            match nvml.device_by_index(index) {
                Ok(device) => boards.push(Self::new(nvml, device, index)),
                Err(error) => drop(absent.insert(format!("nvml:{index}"), error.to_string())),
            }
        }
        (boards, absent)
    }

    fn new(nvml: &Nvml, device: Device<'a>, index: u32) -> Self {
        let driver = nvml.sys_driver_version().ok();
        let name = device.name().unwrap_or_else(|_| "unknown".to_owned());
        let simulated = driver.as_deref().is_some_and(|driver| driver.starts_with(SIMULATED));
        let mut board = Self {
            sensor: Sensor {
                // The name alone says it wherever the sensor is named.
                id: if simulated { format!("{SIMULATED}-nvml:{index}") } else { format!("nvml:{index}") },
                kind: SensorKind::Nvml,
                device: name,
                uuid: device.uuid().ok(),
                driver,
                simulated,
                limit_w: device.enforced_power_limit().ok().map(|milliwatts| f64::from(milliwatts) / 1e3),
                divided: device.mig_mode().ok().map(|mode| mode.current != 0),
                persistence: device.is_in_persistent_mode().ok(),
                field_ids: Some(format!("{:?}", nvml.field_id_scheme()).to_ascii_lowercase()),
                registers: Vec::new(),
                missing: BTreeMap::new(),
            },
            device,
            asked: Vec::new(),
        };
        board.discover();
        board
    }

    /// Tries every register once; one that answers is kept.
    fn discover(&mut self) {
        let averages = self.averages();
        let plain = if averages { RegisterKind::Average } else { RegisterKind::Instant };
        let tried = [
            ("counter", RegisterKind::Counter, Asked::TotalEnergy),
            ("instant", RegisterKind::Instant, Asked::Milli(field_id::NVML_FI_DEV_POWER_INSTANT)),
            ("average", RegisterKind::Average, Asked::Milli(field_id::NVML_FI_DEV_POWER_AVERAGE)),
            (if averages { "average" } else { "instant" }, plain, Asked::PowerUsage),
        ];
        let states = STATES.map(|(name, asked)| (name, RegisterKind::State, asked));
        for (name, kind, asked) in tried.into_iter().chain(states) {
            if self.sensor.registers.iter().any(|register| register.name == name) {
                continue;
            }
            match self.ask(asked) {
                Ok(_) => {
                    self.sensor.registers.push(Register { name: name.to_owned(), kind, range_j: None });
                    self.asked.push(asked);
                    self.sensor.missing.remove(name);
                }
                Err(error) => drop(self.sensor.missing.insert(name.to_owned(), error.to_string())),
            }
        }
    }

    /// Whether the plain power reading is an average over a second.
    fn averages(&self) -> bool {
        let ga100 = ["A100", "A30", "A800"].iter().any(|name| self.sensor.device.contains(name));
        let old = [
            DeviceArchitecture::Kepler,
            DeviceArchitecture::Maxwell,
            DeviceArchitecture::Pascal,
            DeviceArchitecture::Volta,
            DeviceArchitecture::Turing,
        ];
        // An architecture that cannot be told is newer than this list.
        !ga100 && self.device.architecture().map_or(true, |architecture| !old.contains(&architecture))
    }

    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    fn ask(&self, asked: Asked) -> Result<f64, NvmlError> {
        let device = &self.device;
        Ok(match asked {
            Asked::TotalEnergy => device.total_energy_consumption()? as f64 / 1e3,
            Asked::PowerUsage => f64::from(device.power_usage()?) / 1e3,
            Asked::Milli(field) => self.field(field)? / 1e3,
            Asked::Plain(field) => self.field(field)?,
            Asked::Temperature => f64::from(device.temperature(TemperatureSensor::Gpu)?),
            Asked::Clock(number) => {
                let clock = CLOCKS.get(usize::from(number)).ok_or(NvmlError::InvalidArg)?;
                f64::from(device.clock_info(*clock)?)
            }
            Asked::PerformanceState => f64::from(device.performance_state()?.as_c()),
            Asked::Reasons => device.current_throttle_reasons()?.bits() as f64,
            Asked::Limit => f64::from(device.enforced_power_limit()?) / 1e3,
            Asked::PowerViolation => device.violation_status(PerformancePolicy::Power)?.violation_time as f64 / 1e9,
            Asked::ThermalViolation => device.violation_status(PerformancePolicy::Thermal)?.violation_time as f64 / 1e9,
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    fn field(&self, field: u32) -> Result<f64, NvmlError> {
        let mut values = self.device.field_values_for(&[FieldId(field)])?;
        let value = values.pop().ok_or(NvmlError::NotFound)??.value?;
        Ok(match value {
            SampleValue::F64(value) => value,
            SampleValue::U32(value) => f64::from(value),
            SampleValue::U64(value) => value as f64,
            SampleValue::I64(value) => value as f64,
        })
    }
}

impl PowerSource for Board<'_> {
    fn sensor(&self) -> &Sensor {
        &self.sensor
    }

    fn read(&mut self, due: Due, now: &dyn Fn() -> Nanos, each: &mut dyn FnMut(Reading)) {
        for (number, (register, &asked)) in self.sensor.registers.iter().zip(&self.asked).enumerate() {
            if !due.has(register.kind) {
                continue;
            }
            let begin = now();
            let value = self.ask(asked).map_err(|error| fault(&error));
            let register = u16::try_from(number).unwrap_or(u16::MAX);
            each(Reading { register, begin, end: now(), value });
        }
    }
}

fn fault(error: &NvmlError) -> Fault {
    match error {
        NvmlError::NotSupported | NvmlError::NotFound => Fault::NotSupported,
        NvmlError::NoPermission => Fault::Permission,
        NvmlError::GpuLost | NvmlError::Uninitialized | NvmlError::DriverNotLoaded => Fault::Lost,
        _ => Fault::Unreadable,
    }
}
