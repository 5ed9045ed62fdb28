//! A power sensor whose truth is known: what a board's sensor does to a load, and how it fails.
//!
//! The library's board is one, and the tests of what is made of readings use it on a clock of their own.
//!
//! A real sensor updates its registers every [`Timing::period`]; in between, a reading repeats the last value. A power
//! reading is the mean over a window that ended [`Timing::delay`] before the update. A counter either adds up all
//! energy, or only what the readings saw ([`Counter::OfReadings`]), which misses what falls between their windows.

/// Nanoseconds.
type Ns = u64;

/// Power over time, piecewise constant.
#[derive(Debug, Clone, Default)]
pub struct Load {
    /// Begin, watts from then on, joules up to then; by begin.
    pieces: Vec<(Ns, f64, f64)>,
}

impl Load {
    /// A load of `watts` from the beginning.
    #[must_use]
    pub fn new(watts: f64) -> Self {
        Self { pieces: vec![(0, watts, 0.0)] }
    }

    /// From `begin` on, which is no earlier than any before, the load is `watts`.
    pub fn push(&mut self, begin: Ns, watts: f64) {
        let joules = self.energy(begin);
        self.pieces.push((begin, watts, joules));
    }

    /// A stretch of `watts`, after which it is again what it was before.
    pub fn pulse(&mut self, begin: Ns, end: Ns, watts: f64) {
        let before = self.pieces.last().map_or(0.0, |piece| piece.1);
        self.push(begin, watts);
        self.push(end, before);
    }

    /// Joules up to `at`.
    #[must_use]
    pub fn energy(&self, at: Ns) -> f64 {
        let after = self.pieces.partition_point(|piece| piece.0 <= at);
        let Some(&(begin, watts, joules)) = after.checked_sub(1).and_then(|last| self.pieces.get(last)) else {
            return 0.0;
        };
        joules + watts * seconds(at - begin)
    }

    /// Joules between two times.
    #[must_use]
    pub fn between(&self, begin: Ns, end: Ns) -> f64 {
        self.energy(end) - self.energy(begin)
    }

    /// Mean watts between two times; before the beginning it was as at the beginning.
    #[must_use]
    pub fn mean(&self, begin: i64, end: i64) -> f64 {
        let first = self.pieces.first().map_or(0.0, |piece| piece.1);
        let joules = |at: i64| match Ns::try_from(at) {
            Ok(at) => self.energy(at),
            Err(_) => first * at as f64 / 1e9,
        };
        if end <= begin { first } else { (joules(end) - joules(begin)) / ((end - begin) as f64 / 1e9) }
    }
}

fn seconds(ns: Ns) -> f64 {
    ns as f64 / 1e9
}

/// When a sensor updates, and what an update covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Time between updates.
    pub period: Ns,
    /// Time of the first update, below the period.
    pub phase: Ns,
    /// Stretch a power reading is the mean of.
    pub window: Ns,
    /// Time by which a reading is late.
    pub delay: Ns,
}

/// What an energy counter adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// All energy.
    OfEnergy,
    /// Each reading for a whole period, whatever share of it the reading's window covers.
    OfReadings,
}

/// How wrong its values are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Errors {
    /// Factor on every value.
    pub gain: f64,
    /// Added to every power reading, in watts.
    pub offset_w: f64,
    /// Standard deviation of the noise on every power reading, in watts.
    pub noise_w: f64,
    /// Counter's resolution in joules.
    pub quantum_j: f64,
    /// For the noise.
    pub seed: u64,
}

impl Default for Errors {
    fn default() -> Self {
        Self { gain: 1.0, offset_w: 0.0, noise_w: 0.0, quantum_j: 1e-3, seed: 0 }
    }
}

/// The sensor.
#[derive(Debug, Clone)]
pub struct Sensor {
    timing: Timing,
    counter: Counter,
    errors: Errors,
    /// Joules that readings added up to, after each update.
    added: Vec<f64>,
}

impl Sensor {
    /// A sensor that has just been switched on.
    #[must_use]
    pub fn new(timing: Timing, counter: Counter, errors: Errors) -> Self {
        Self { timing, counter, errors, added: Vec::new() }
    }

    /// The update that a reading at `at` shows. `None`: before the first.
    fn update(&self, at: Ns) -> Option<u64> {
        Some(at.checked_sub(self.timing.phase)? / self.timing.period.max(1))
    }

    fn time_of(&self, update: u64) -> Ns {
        self.timing.phase + update * self.timing.period
    }

    /// Watts, the mean over the sensor's own window.
    #[must_use]
    pub fn power(&self, load: &Load, at: Ns) -> f64 {
        self.mean_power(load, at, self.timing.window)
    }

    /// Watts, the mean over another window, as drivers offer it beside.
    #[must_use]
    pub fn mean_power(&self, load: &Load, at: Ns, window: Ns) -> f64 {
        self.update(at).map_or(load.mean(0, 0), |update| self.reading(load, update, window))
    }

    fn reading(&self, load: &Load, update: u64, window: Ns) -> f64 {
        let end = self.time_of(update) as i64 - self.timing.delay as i64;
        let mean = load.mean(end - window as i64, end);
        let Errors { gain, offset_w, noise_w, seed, .. } = self.errors;
        mean * gain + offset_w + if noise_w > 0.0 { noise_w * normal(mixed(seed).wrapping_add(update)) } else { 0.0 }
    }

    /// Joules since the sensor was switched on, in whole steps of its resolution.
    pub fn energy(&mut self, load: &Load, at: Ns) -> f64 {
        let Some(update) = self.update(at) else { return 0.0 };
        let joules = match self.counter {
            Counter::OfEnergy => load.energy(self.time_of(update).saturating_sub(self.timing.delay)) * self.errors.gain,
            Counter::OfReadings => {
                while self.added.len() as u64 <= update {
                    let next = self.added.len() as u64;
                    let before = self.added.last().copied().unwrap_or_default();
                    self.added
                        .push(before + self.reading(load, next, self.timing.window) * seconds(self.timing.period));
                }
                self.added[update as usize]
            }
        };
        let quantum = self.errors.quantum_j;
        if quantum > 0.0 { (joules / quantum).floor() * quantum } else { joules }
    }
}

/// A standard normal value that `key` decides.
fn normal(key: u64) -> f64 {
    let uniform = |key: u64| (mixed(key) >> 11) as f64 / (1_u64 << 53) as f64;
    let radius = (-2.0 * (1.0 - uniform(key.wrapping_mul(2))).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(key.wrapping_mul(2).wrapping_add(1))).cos()
}

/// The finaliser of `SplitMix64` (Steele, Lea, Flood 2014).
fn mixed(key: u64) -> u64 {
    let mut z = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
