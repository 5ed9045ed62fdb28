//! What the board is like and when it fails, as a file says it.
//!
//! One `key = value` to a line; empty lines and lines that begin with `#` mean nothing. A key that is not given has its
//! default; of one that is given more than once the last line holds, so that a text can be added to. Times count from
//! the moment the library was opened.
//!
//! | key | unit or values | default | |
//! |---|---|---|---|
//! | `period_ms`, `phase_ms` | ms | 100, 0 | time between updates of the registers, and time of the first |
//! | `window_ms` | ms | 100 | stretch the instantaneous power is the mean of |
//! | `delay_ms` | ms | 0 | time by which the registers are late |
//! | `average_window_ms` | ms | 1000 | stretch the average power is the mean of |
//! | `gain`, `offset_w`, `noise_w` | factor, W, W | 1, 0, 0 | errors of a reading; the gain is the counter's too |
//! | `seed` | | 0 | for the noise |
//! | `quantum_mj` | mJ | 1 | step of the counter |
//! | `counter` | `of_energy`, `of_readings`, `not_supported` | `of_energy` | what the counter adds up |
//! | `instant`, `average` | `yes`, `not_supported` | `yes` | which power registers there are |
//! | `idle_w`, `busy_w` | W | 70, 300 | power without work, and with all of it |
//! | `load` | `cpu`, `file` | `cpu` | where the load comes from |
//! | `cores` | processors | all | processor time per second that counts as all work, of this process |
//! | `load_file` | path, from this file's folder | | lines `seconds watts`; before the first it is `idle_w` |
//! | `counter_reset_s` | s | never | the counter begins again at 0 |
//! | `lost_from_s` | s | never | calls about the board are refused: it is lost |
//! | `stale_from_s` | s | never | registers keep their values |
//! | `not_supported_from_s` | s | never | the counter is not supported any more |
//! | `slow_ms` | ms | 0 | time a call about the board waits before it looks |
//! | `mig` | `enabled`, `disabled` | `disabled` | whether the board is divided |
//! | `reasons` | bits, also as `0x…` | 0 | why clocks are lowered |
//! | `limit_w` | W | 350 | power the board is held to |
//! | `states_change_ms` | ms | never | the performance state changes between 0 and 2 so often |
//! | `processes` | numbers and `self`, with commas | none | processes that compute on the board; `self` is this one |
//! | `processes_from_s` | s | 0 | since when they do |
//! | `boards` | 1 to 8 | 1 | boards, all alike but for their names and their processes |
//! | `processes_on` | a board's number, from 0 | 0 | the board that they compute on |

use std::fmt;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::Ns;
use crate::simulated::{Counter, Errors, Timing};

/// Most boards.
pub const MOST_BOARDS: u32 = 8;

/// Nanoseconds of a millisecond.
const MS: Ns = 1_000_000;

/// Every key.
const KEYS: [&str; 31] = [
    "period_ms",
    "phase_ms",
    "window_ms",
    "delay_ms",
    "average_window_ms",
    "gain",
    "offset_w",
    "noise_w",
    "quantum_mj",
    "seed",
    "counter",
    "instant",
    "average",
    "idle_w",
    "busy_w",
    "load",
    "cores",
    "load_file",
    "counter_reset_s",
    "lost_from_s",
    "stale_from_s",
    "not_supported_from_s",
    "slow_ms",
    "mig",
    "reasons",
    "limit_w",
    "states_change_ms",
    "processes",
    "processes_from_s",
    "boards",
    "processes_on",
];

/// A line that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1. `None`: the file as a whole.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What is allowed.
    pub allowed: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}\n  allowed: {}", self.what, self.allowed)
    }
}

impl std::error::Error for Problem {}

/// Where the load comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadFrom {
    /// Processor time of this process.
    Processor,
    /// A file of `seconds watts`.
    File(PathBuf),
}

/// Moments at which the board fails. `None`: it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// The counter begins again at 0.
    pub counter_reset: Option<Ns>,
    /// From here on it is lost.
    pub lost_from: Option<Ns>,
    /// From here on registers keep their values.
    pub stale_from: Option<Ns>,
    /// From here on there is no counter.
    pub not_supported_from: Option<Ns>,
    /// Time a call waits before it looks.
    pub slow: Duration,
}

/// Everything a file can say.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// When registers update, and what the instantaneous power covers.
    pub timing: Timing,
    /// Stretch the average power is the mean of.
    pub average_window: Ns,
    /// How wrong values are.
    pub errors: Errors,
    /// What the counter adds up. `None`: there is none.
    pub counter: Option<Counter>,
    /// Whether the instantaneous power can be read.
    pub instant: bool,
    /// Whether the average power can be read.
    pub average: bool,
    /// Watts without work.
    pub idle_w: f64,
    /// Watts with all work.
    pub busy_w: f64,
    /// Where the load comes from.
    pub load: LoadFrom,
    /// Processors that are all work.
    pub cores: f64,
    /// When it fails.
    pub faults: Faults,
    /// Whether it is divided.
    pub divided: bool,
    /// Why its clocks are lowered, in NVML's bits.
    pub reasons: u64,
    /// Watts it is held to.
    pub limit_w: f64,
    /// Time between changes of the performance state. `None`: it stays the fastest.
    pub states_change: Option<Ns>,
    /// Processes that compute on it.
    pub processes: Vec<u32>,
    /// Since when they do.
    pub processes_from: Ns,
    /// Boards.
    pub boards: u32,
    /// The one that the processes compute on.
    pub processes_on: u32,
}

impl Default for Settings {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            timing: Timing { period: 100 * MS, phase: 0, window: 100 * MS, delay: 0 },
            average_window: 1000 * MS,
            errors: Errors::default(),
            counter: Some(Counter::OfEnergy),
            instant: true,
            average: true,
            idle_w: 70.0,
            busy_w: 300.0,
            load: LoadFrom::Processor,
            cores: u32::try_from(cores).map_or(1.0, f64::from),
            faults: Faults::default(),
            divided: false,
            reasons: 0,
            limit_w: 350.0,
            states_change: None,
            processes: Vec::new(),
            processes_from: 0,
            boards: 1,
            processes_on: 0,
        }
    }
}

impl Settings {
    /// What a file says.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(file: &Path) -> Result<Self, Vec<Problem>> {
        Self::parse(file, &text_of(file).map_err(|problem| vec![problem])?)
    }

    /// What a text says; `file` is where it stands.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        let mut given = Given { settings: Self::default(), from_file: false, load_file: None };
        let wrong = |(line, content)| Some((Some(line), given.line(content).err()?));
        let mut wrongs: Vec<(Option<usize>, Wrong)> = lines(text).filter_map(wrong).collect();
        match given.whole(file.parent().unwrap_or(Path::new(""))) {
            Ok(settings) if wrongs.is_empty() => return Ok(settings),
            Ok(_) => {}
            Err(wrong) => wrongs.push((None, wrong)),
        }
        Err(wrongs.into_iter().map(|(line, wrong)| wrong.at(file, line)).collect())
    }
}

/// The text of a file, or why it cannot be read.
pub(crate) fn text_of(file: &Path) -> Result<String, Problem> {
    fs::read_to_string(file).map_err(|error| {
        let what = format!("it cannot be read: {error}");
        Wrong { what, allowed: "a text file".to_owned() }.at(file, None)
    })
}

/// Lines that mean something, each with its number from 1.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// What is wrong with a value, and what is allowed.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) what: String,
    pub(crate) allowed: String,
}

impl Wrong {
    /// As a problem of a file.
    pub(crate) fn at(self, file: &Path, line: Option<usize>) -> Problem {
        Problem { file: file.to_owned(), line, what: self.what, allowed: self.allowed }
    }
}

/// What the lines so far say.
struct Given<'a> {
    settings: Settings,
    from_file: bool,
    load_file: Option<&'a str>,
}

impl<'a> Given<'a> {
    fn line(&mut self, line: &'a str) -> Result<(), Wrong> {
        let Some((key, value)) = line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) else {
            return Err(Wrong { what: format!("`{line}` sets nothing"), allowed: "`key = value`".to_owned() });
        };
        if !KEYS.contains(&key) {
            return Err(Wrong { what: format!("unknown key `{key}`"), allowed: KEYS.join(", ") });
        }
        self.set(key, value).map_err(|wrong| Wrong { what: format!("{key}: {}", wrong.what), ..wrong })
    }

    fn set(&mut self, key: &str, value: &'a str) -> Result<(), Wrong> {
        let settings = &mut self.settings;
        let (timing, errors, faults) = (&mut settings.timing, &mut settings.errors, &mut settings.faults);
        let yes_or_no = [("yes", true), ("not_supported", false)];
        match key {
            "period_ms" => timing.period = milliseconds(value, 0.1)?,
            "phase_ms" => timing.phase = milliseconds(value, 0.0)?,
            "window_ms" => timing.window = milliseconds(value, 0.1)?,
            "delay_ms" => timing.delay = milliseconds(value, 0.0)?,
            "average_window_ms" => settings.average_window = milliseconds(value, 0.1)?,
            "gain" => errors.gain = number(value, 0.0, 100.0)?,
            "offset_w" => errors.offset_w = number(value, -1e5, 1e5)?,
            "noise_w" => errors.noise_w = number(value, 0.0, 1e5)?,
            "quantum_mj" => errors.quantum_j = number(value, 0.0, 1e9)? / 1e3,
            "seed" => errors.seed = whole(value)?,
            "counter" => {
                let (energy, readings) = (Some(Counter::OfEnergy), Some(Counter::OfReadings));
                let choices = [("of_energy", energy), ("of_readings", readings), ("not_supported", None)];
                settings.counter = choice(value, &choices)?;
            }
            "instant" => settings.instant = choice(value, &yes_or_no)?,
            "average" => settings.average = choice(value, &yes_or_no)?,
            "idle_w" => settings.idle_w = watts(value)?,
            "busy_w" => settings.busy_w = watts(value)?,
            "load" => self.from_file = choice(value, &[("cpu", false), ("file", true)])?,
            "cores" => settings.cores = number(value, 0.01, 1e5)?,
            "load_file" => self.load_file = Some(value),
            "counter_reset_s" => faults.counter_reset = Some(moment(value)?),
            "lost_from_s" => faults.lost_from = Some(moment(value)?),
            "stale_from_s" => faults.stale_from = Some(moment(value)?),
            "not_supported_from_s" => faults.not_supported_from = Some(moment(value)?),
            "slow_ms" => faults.slow = Duration::from_nanos(milliseconds(value, 0.0)?),
            "mig" => settings.divided = choice(value, &[("enabled", true), ("disabled", false)])?,
            "reasons" => settings.reasons = bits(value)?,
            "limit_w" => settings.limit_w = watts(value)?,
            "states_change_ms" => settings.states_change = Some(milliseconds(value, 0.1)?),
            "processes" => settings.processes = processes(value)?,
            "processes_from_s" => settings.processes_from = moment(value)?,
            "boards" => settings.boards = whole_from(value, 1..=MOST_BOARDS)?,
            "processes_on" => settings.processes_on = whole_from(value, 0..=MOST_BOARDS - 1)?,
            other => return Err(Wrong { what: format!("`{other}` is not handled"), allowed: KEYS.join(", ") }),
        }
        Ok(())
    }

    /// What the lines say together.
    fn whole(self, folder: &Path) -> Result<Settings, Wrong> {
        let mut settings = self.settings;
        let Timing { period, phase, .. } = settings.timing;
        if phase >= period {
            let allowed = "a phase below the period, which is 100 ms where it is not given".to_owned();
            return Err(Wrong { what: "the phase is not below the period".to_owned(), allowed });
        }
        settings.load = match (self.from_file, self.load_file) {
            (false, _) => LoadFrom::Processor,
            (true, Some(path)) => LoadFrom::File(folder.join(path)),
            (true, None) => {
                let allowed = "`load_file = ` and a path beside it".to_owned();
                return Err(Wrong { what: "`load = file` without `load_file`".to_owned(), allowed });
            }
        };
        Ok(settings)
    }
}

/// A number from `least` to `most`.
fn number(value: &str, least: f64, most: f64) -> Result<f64, Wrong> {
    let allowed = || Wrong { what: format!("`{value}`"), allowed: format!("a number from {least} to {most}") };
    value.parse().ok().filter(|number| (least..=most).contains(number)).ok_or_else(allowed)
}

/// Watts.
pub(crate) fn watts(value: &str) -> Result<f64, Wrong> {
    number(value, 0.0, 1e5)
}

/// Milliseconds, of at least `least`.
fn milliseconds(value: &str, least: f64) -> Result<Ns, Wrong> {
    Ok(nanoseconds(number(value, least, 1e7)? / 1e3))
}

/// Seconds since the library was opened.
pub(crate) fn moment(value: &str) -> Result<Ns, Wrong> {
    Ok(nanoseconds(number(value, 0.0, 1e6)?))
}

/// Of a number of seconds that has been found to be in range.
fn nanoseconds(seconds: f64) -> Ns {
    let duration = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    Ns::try_from(duration.as_nanos()).unwrap_or(Ns::MAX)
}

fn whole(value: &str) -> Result<u64, Wrong> {
    value.parse().map_err(|_| Wrong { what: format!("`{value}`"), allowed: "a whole number".to_owned() })
}

fn whole_from(value: &str, range: std::ops::RangeInclusive<u32>) -> Result<u32, Wrong> {
    let allowed = || format!("a whole number from {} to {}", range.start(), range.end());
    let parsed = value.parse().ok().filter(|number| range.contains(number));
    parsed.ok_or_else(|| Wrong { what: format!("`{value}`"), allowed: allowed() })
}

fn bits(value: &str) -> Result<u64, Wrong> {
    let parsed = match value.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => value.parse(),
    };
    parsed.map_err(|_| Wrong { what: format!("`{value}`"), allowed: "bits as a number, also as `0x…`".to_owned() })
}

fn processes(value: &str) -> Result<Vec<u32>, Wrong> {
    let numbers = value.split(',').map(str::trim).filter(|number| !number.is_empty());
    numbers
        .map(|number| {
            let allowed = "numbers of processes and `self`, with commas between them".to_owned();
            if number == "self" {
                return Ok(std::process::id());
            }
            number.parse().map_err(|_| Wrong { what: format!("`{number}`"), allowed })
        })
        .collect()
}

fn choice<T: Copy>(value: &str, choices: &[(&str, T)]) -> Result<T, Wrong> {
    let chosen = choices.iter().find(|(name, _)| *name == value).map(|(_, chosen)| *chosen);
    chosen.ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        Wrong { what: format!("`{value}`"), allowed: names.join(", ") }
    })
}

#[cfg(test)]
mod tests;
