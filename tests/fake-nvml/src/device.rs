//! The board: what its registers say at a moment, and whether they say anything.

use crate::Ns;
use crate::layout::Refusal;
use crate::settings::Settings;
use crate::simulated::{Counter, Load, Sensor};

/// Temperature of the chip, always. Unit: degrees Celsius.
pub const TEMPERATURE: u32 = 45;

/// Temperature of the memory, always. Unit: degrees Celsius.
pub const MEMORY_TEMPERATURE: u32 = 50;

/// Clock of graphics and of the multiprocessors, always. Unit: MHz.
pub const CHIP_CLOCK: u32 = 1500;

/// Clock of the memory, always. Unit: MHz.
pub const MEMORY_CLOCK: u32 = 2600;

/// Memory. Unit: bytes.
pub const MEMORY: u64 = 16 << 30;

/// Memory in use, always. Unit: bytes.
pub const MEMORY_USED: u64 = 1 << 30;

/// Bits of the reasons that are about power: the power cap and the power brake.
const POWER_REASONS: u64 = 0x4 | 0x80;

/// Bits of the reasons that are about heat.
const HEAT_REASONS: u64 = 0x20 | 0x40;

/// A board with its sensor.
#[derive(Debug, Clone)]
pub struct Device {
    settings: Settings,
    sensor: Sensor,
}

impl Device {
    /// A board that has just been switched on.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let counter = settings.counter.unwrap_or(Counter::OfEnergy);
        Self { sensor: Sensor::new(settings.timing, counter, settings.errors), settings }
    }

    /// What it is like.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether it answers no more.
    #[must_use]
    pub fn lost(&self, at: Ns) -> bool {
        self.settings.faults.lost_from.is_some_and(|from| at >= from)
    }

    /// Whether the plain power reading is an average, as on every board since Ampere but those with GA100.
    #[must_use]
    pub fn averages(&self) -> bool {
        self.settings.average
    }

    /// Power over the sensor's own window, in milliwatts.
    ///
    /// # Errors
    /// The board has no such register.
    pub fn instant(&self, load: &Load, at: Ns) -> Result<u32, Refusal> {
        let watts = self.sensor.power(load, self.fresh(at));
        self.settings.instant.then(|| milliwatts(watts)).ok_or(Refusal::NotSupported)
    }

    /// Power over the average's window, in milliwatts.
    ///
    /// # Errors
    /// The board has no such register.
    pub fn average(&self, load: &Load, at: Ns) -> Result<u32, Refusal> {
        let watts = self.sensor.mean_power(load, self.fresh(at), self.settings.average_window);
        self.settings.average.then(|| milliwatts(watts)).ok_or(Refusal::NotSupported)
    }

    /// The plain power reading, in milliwatts: the average where there is one, otherwise the instantaneous power.
    ///
    /// # Errors
    /// The board has neither.
    pub fn power_usage(&self, load: &Load, at: Ns) -> Result<u32, Refusal> {
        if self.averages() { self.average(load, at) } else { self.instant(load, at) }
    }

    /// Energy since it was switched on, or since its counter began again, in millijoules.
    ///
    /// # Errors
    /// The board has no counter, or not any more.
    pub fn counter(&mut self, load: &Load, at: Ns) -> Result<u64, Refusal> {
        let faults = self.settings.faults;
        if self.settings.counter.is_none() || faults.not_supported_from.is_some_and(|from| at >= from) {
            return Err(Refusal::NotSupported);
        }
        let at = self.fresh(at);
        let before = match faults.counter_reset.filter(|&reset| at >= reset) {
            Some(reset) => thousandths(self.sensor.energy(load, reset)),
            None => 0,
        };
        Ok(thousandths(self.sensor.energy(load, at)).saturating_sub(before))
    }

    /// Time for which power lowered the clocks: all the time if the settings name such a reason.
    #[must_use]
    pub fn power_violation(&self, at: Ns) -> Ns {
        if self.settings.reasons & POWER_REASONS == 0 { 0 } else { self.fresh(at) }
    }

    /// Time for which heat lowered the clocks: all the time if the settings name such a reason.
    #[must_use]
    pub fn heat_violation(&self, at: Ns) -> Ns {
        if self.settings.reasons & HEAT_REASONS == 0 { 0 } else { self.fresh(at) }
    }

    /// Performance state, 0 the fastest.
    #[must_use]
    pub fn performance_state(&self, at: Ns) -> u32 {
        let slower = self.settings.states_change.is_some_and(|every| (at / every.max(1)) % 2 == 1);
        if slower { 2 } else { 0 }
    }

    /// Processes that compute on the board of a number.
    #[must_use]
    pub fn processes(&self, board: u32, at: Ns) -> &[u32] {
        let here = board == self.settings.processes_on && at >= self.settings.processes_from;
        if here { &self.settings.processes } else { &[] }
    }

    /// Power it is held to, in milliwatts.
    #[must_use]
    pub fn limit(&self) -> u32 {
        milliwatts(self.settings.limit_w)
    }

    /// The moment whose registers are shown.
    fn fresh(&self, at: Ns) -> Ns {
        self.settings.faults.stale_from.map_or(at, |from| at.min(from))
    }
}

/// Watts as NVML counts them; below 0 it cannot count.
fn milliwatts(watts: f64) -> u32 {
    u32::try_from(thousandths(watts)).unwrap_or(u32::MAX)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float is cut off at the bounds")]
fn thousandths(value: f64) -> u64 {
    (value * 1e3).round() as u64
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::path::Path;

    use super::*;

    const MS: Ns = 1_000_000;

    /// 100 W, and 300 W from the first second on.
    fn step() -> Load {
        let mut load = Load::new(100.0);
        load.push(1000 * MS, 300.0);
        load
    }

    fn device(settings: &str) -> Device {
        Device::new(Settings::parse(Path::new("board.txt"), settings).unwrap())
    }

    #[test]
    fn registers_follow_the_load_at_their_updates() {
        let (load, mut device) = (step(), device(""));
        // Updates every 100 ms; between them nothing changes.
        for (at, instant, average, counter) in [
            (0, 100, 100, 0),
            (99, 100, 100, 0),
            (100, 100, 100, 10),
            (1000, 100, 100, 100),
            (1099, 100, 100, 100),
            (1100, 300, 120, 130),
            (1500, 300, 200, 250),
            (2000, 300, 300, 400),
        ] {
            let at = at * MS;
            assert_eq!(device.instant(&load, at), Ok(instant * 1000), "at {at}");
            assert_eq!(device.average(&load, at), Ok(average * 1000), "at {at}");
            assert_eq!(device.power_usage(&load, at), Ok(average * 1000), "at {at}");
            assert_eq!(device.counter(&load, at), Ok(counter * 1000), "at {at}");
        }
    }

    #[test]
    fn a_counter_of_readings_misses_what_they_miss() {
        let mut load = Load::new(100.0);
        // Half of every period, always outside of the readings' windows.
        for begin in (0..20).map(|period| period * 100 * MS) {
            load.pulse(begin, begin + 50 * MS, 300.0);
        }
        let growth = |settings| {
            let mut device = device(settings);
            device.counter(&load, 2000 * MS).unwrap() - device.counter(&load, 1000 * MS).unwrap()
        };
        assert_eq!(growth("window_ms = 25"), 200_000);
        assert_eq!(growth("window_ms = 25\ncounter = of_readings"), 100_000);
    }

    #[test]
    fn what_is_not_supported_says_so() {
        let load = step();
        let mut device = device("counter = not_supported\ninstant = not_supported\naverage = not_supported");
        assert_eq!(device.counter(&load, MS), Err(Refusal::NotSupported));
        assert_eq!(device.instant(&load, MS), Err(Refusal::NotSupported));
        assert_eq!(device.average(&load, MS), Err(Refusal::NotSupported));
        assert_eq!(device.power_usage(&load, MS), Err(Refusal::NotSupported));
    }

    #[test]
    fn without_an_average_plain_power_is_the_instantaneous_one() {
        let device = device("average = not_supported");
        assert_eq!(device.power_usage(&step(), 1100 * MS), Ok(300_000));
    }

    #[test]
    fn a_counter_that_begins_again_is_0_there() {
        let (load, mut device) = (step(), device("counter_reset_s = 0.45"));
        let mut counter = |at: Ns| device.counter(&load, at * MS).unwrap();
        assert_eq!(
            [counter(449), counter(450), counter(499), counter(500), counter(1000)],
            [40_000, 0, 0, 10_000, 60_000]
        );
    }

    #[test]
    fn a_stale_board_keeps_its_values() {
        let (load, mut device) = (step(), device("stale_from_s = 0.55\nreasons = 0x24"));
        for at in [550, 600, 5000] {
            assert_eq!(device.counter(&load, at * MS), Ok(50_000));
            assert_eq!(device.instant(&load, at * MS), Ok(100_000));
            assert_eq!(device.power_violation(at * MS), 550 * MS);
        }
        assert!(!device.lost(Ns::MAX));
    }

    #[test]
    fn a_counter_can_cease_to_be_supported() {
        let (load, mut device) = (step(), device("not_supported_from_s = 0.5"));
        assert_eq!(device.counter(&load, 499 * MS), Ok(40_000));
        assert_eq!(device.counter(&load, 500 * MS), Err(Refusal::NotSupported));
        assert_eq!(device.instant(&load, 500 * MS), Ok(100_000));
    }

    #[test]
    fn a_board_can_be_lost() {
        let device = device("lost_from_s = 0.5");
        assert_eq!([499, 500, 501].map(|at| device.lost(at * MS)), [false, true, true]);
    }

    #[test]
    fn violations_follow_the_reasons() {
        let times = |reasons: &str| {
            let device = device(&format!("reasons = {reasons}"));
            (device.power_violation(7), device.heat_violation(7))
        };
        assert_eq!(
            ["0", "0x1", "0x4", "0x20", "0x84", "0x64"].map(times),
            [(0, 0), (0, 0), (7, 0), (0, 7), (7, 0), (7, 7)]
        );
    }

    #[test]
    fn errors_reach_the_registers() {
        let (load, mut device) = (step(), device("gain = 0.9\noffset_w = 5\nquantum_mj = 4000"));
        assert_eq!(device.instant(&load, 100 * MS), Ok(95_000));
        // 18 J in steps of 4 J; an offset of the readings is none of a counter of energy.
        assert_eq!(device.counter(&load, 200 * MS), Ok(16_000));
        let below = self::device("offset_w = -200");
        assert_eq!(below.instant(&load, 100 * MS), Ok(0));
    }
}
