//! Reads power sensors at a fixed pace on a thread of its own.
//!
//! The thread never waits for anybody: it wakes at absolute times, so that a late tick does not move those after it, and
//! puts its readings into a queue of fixed size that the measuring thread empties between calls.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use super::continuity::Ticks;
use super::nvml;
use super::sensor::{Due, Fault, PowerSource, Reading, hwmon, nvml::Board, rapl};
use super::system_clock::{monotonic, thread_time};
use crate::clock::SharedClock;
use crate::terms::SensorKind;
use crate::terms::continuity::{ClockPair, Continuity};
use crate::terms::sensor::FoundSensors;
use crate::units::Nanos;

/// Readings that fit into the queue: an hour of four registers at 20 ms.
const QUEUE: usize = 1 << 19;

/// Every how many ticks the devices' states are read.
const STATES_EVERY: u64 = 10;

/// A reading and the sensor that it is of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// Number in [`FoundSensors::sensors`].
    pub sensor: u16,
    /// What it said.
    pub reading: Reading,
}

/// A sampler at work. Dropping it ends its thread.
#[derive(Debug)]
pub struct Sampler {
    found: FoundSensors,
    entries: Receiver<Entry>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Continuity>>,
}

impl Sampler {
    /// Looks for sensors of these kinds and begins to read them every `period`. Without a sensor nothing is read.
    ///
    /// `counters` tells of sensors, by their ids, how long to wait at least between two readings of their counters.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(
        kinds: &[SensorKind],
        period: Duration,
        counters: BTreeMap<String, Duration>,
        clock: SharedClock,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, entries) = sync_channel(QUEUE);
        let (tell, told) = sync_channel(1);
        let (kinds, stopped) = (kinds.to_vec(), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("sampler".to_owned()).spawn(move || {
            // Sensors are opened here, because what they borrow cannot leave the thread.
            with_sources(&kinds, |mut sources, found| {
                let none = sources.is_empty();
                let _ = tell.send(found);
                let pace = Pace::new(period, &counters, &sources);
                if none { Continuity::default() } else { sample(&mut sources, &pace, &clock, &sender, &stopped) }
            })
        })?;
        let found = told.recv().map_err(|_| io::Error::other("the sampler ended at its start"))?;
        Ok(Self { found, entries, stop, thread: Some(thread) })
    }

    /// What it reads.
    #[must_use]
    pub fn found(&self) -> &FoundSensors {
        &self.found
    }

    /// Takes out everything read since the last time, in order.
    pub fn drain(&mut self, mut each: impl FnMut(Entry)) {
        while let Ok(entry) = self.entries.try_recv() {
            each(entry);
        }
    }

    /// Ends it, hands out what is left, and tells how it went.
    #[must_use]
    pub fn finish(mut self, each: impl FnMut(Entry)) -> Continuity {
        let continuity = self.end();
        self.drain(each);
        continuity
    }

    fn end(&mut self) -> Continuity {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        drop(self.end());
    }
}

/// What there is, without reading it for longer than that takes.
#[must_use]
pub fn discover(kinds: &[SensorKind]) -> FoundSensors {
    with_sources(kinds, |_, found| found)
}

/// Opens the sensors of these kinds and hands them on with what was found.
fn with_sources<T>(kinds: &[SensorKind], go: impl FnOnce(Vec<Box<dyn PowerSource + '_>>, FoundSensors) -> T) -> T {
    let (mut absent, mut refused) = (BTreeMap::new(), Vec::new());
    let wanted = |kind| kinds.contains(&kind);
    let library = if wanted(SensorKind::Nvml) {
        nvml::open().inspect_err(|error| drop(absent.insert(SensorKind::Nvml.to_string(), error.to_string()))).ok()
    } else {
        None
    };
    let mut sources: Vec<Box<dyn PowerSource + '_>> = Vec::new();
    if let Some(library) = &library {
        let (boards, unopened) = Board::all(library);
        if boards.is_empty() && unopened.is_empty() {
            absent.insert(SensorKind::Nvml.to_string(), "the driver knows no board".to_owned());
        }
        absent.extend(unopened);
        sources.extend(boards.into_iter().map(|board| Box::new(board) as Box<dyn PowerSource + '_>));
    }
    if wanted(SensorKind::Rapl) {
        match rapl::open(Path::new(&root(rapl::ROOT))) {
            Ok(found) => {
                let found = found.with_temperatures(Path::new(&root(hwmon::ROOT)));
                sources.push(Box::new(if scripted() { found.scripted() } else { found }));
            }
            Err(error) => {
                refused.extend(matches!(error, rapl::Absent::Permission { .. }).then_some(SensorKind::Rapl));
                absent.insert(SensorKind::Rapl.to_string(), error.to_string());
            }
        }
    }
    if wanted(SensorKind::Hwmon) {
        let boards = hwmon::open(Path::new(&root(hwmon::ROOT)));
        if boards.is_empty() {
            absent
                .insert(SensorKind::Hwmon.to_string(), "no board with a power sensor in the kernel's list".to_owned());
        }
        let named = |board: hwmon::Hwmon| if scripted() { board.scripted() } else { board };
        sources.extend(boards.into_iter().map(|board| Box::new(named(board)) as Box<dyn PowerSource + '_>));
    }
    let found =
        FoundSensors { sensors: sources.iter().map(|source| source.sensor().clone()).collect(), absent, refused };
    go(sources, found)
}

/// Where the kernel's files are: below another root in tests.
fn root(path: &str) -> String {
    format!("{}{path}", std::env::var(ROOT).unwrap_or_default())
}

/// Whether what looks like the kernel's files is not.
fn scripted() -> bool {
    std::env::var_os(ROOT).is_some_and(|root| !root.is_empty())
}

/// Names another root for the kernel's files, for tests.
const ROOT: &str = "PHASEBENCH_SYSFS_ROOT";

/// Clock and calendar are noted together so often.
const CLOCKS_EVERY: Duration = Duration::from_secs(60);

/// What is read when.
struct Pace {
    period: Duration,
    /// Of each sensor, every how many ticks its counters are read.
    counters_every: Vec<u64>,
    /// Every how many ticks clock and calendar are noted.
    clocks_every: u64,
}

impl Pace {
    fn new(period: Duration, counters: &BTreeMap<String, Duration>, sources: &[Box<dyn PowerSource + '_>]) -> Self {
        let ticks = |time: Duration| Nanos::from(time).0.div_ceil(Nanos::from(period).0.max(1)).max(1);
        let of = |source: &dyn PowerSource| counters.get(&source.sensor().id).map_or(1, |least| ticks(*least));
        let counters_every = sources.iter().map(|source| of(source.as_ref())).collect();
        Self { period, counters_every, clocks_every: ticks(CLOCKS_EVERY) }
    }

    /// What of a sensor is due on a tick, counted from 0 without those passed over.
    fn due(&self, sensor: usize, taken: u64) -> Due {
        let every = self.counters_every.get(sensor).copied().unwrap_or(1);
        Due { counters: taken.is_multiple_of(every), states: taken.is_multiple_of(STATES_EVERY) }
    }
}

fn sample(
    sources: &mut [Box<dyn PowerSource + '_>],
    pace: &Pace,
    clock: &SharedClock,
    sender: &SyncSender<Entry>,
    stop: &AtomicBool,
) -> Continuity {
    let mut ticks = Ticks::new(Nanos::from(pace.period), sources.iter().map(|source| source.sensor()));
    let (start, mut tick, mut taken) = (monotonic(), 0_u64, 0_u64);
    let step = Nanos::from(pace.period).0.max(1);
    loop {
        sleep_until(start + Nanos(tick * step));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let begin = monotonic();
        if taken.is_multiple_of(pace.clocks_every) {
            ticks.clocks(clock_pair(clock));
        }
        for (number, source) in sources.iter_mut().enumerate() {
            let sensor = u16::try_from(number).unwrap_or(u16::MAX);
            source.read(pace.due(number, taken), &|| clock.now(), &mut |reading| {
                match reading.value {
                    Ok(value) => ticks.value(number, usize::from(reading.register), value),
                    Err(fault) => ticks.fault(fault),
                }
                // A full queue loses this reading; waiting would lose the pace.
                if sender.try_send(Entry { sensor, reading }).is_err() {
                    ticks.dropped();
                }
            });
        }
        let end = monotonic();
        taken += 1;
        let next = end.since(start).0 / step + 1;
        ticks.taken(begin.since(start + Nanos(tick * step)), end.since(begin), begin, next - tick - 1);
        tick = next;
    }
    ticks.clocks(clock_pair(clock));
    ticks.finish(monotonic().since(start), thread_time())
}

/// The run's clock and the calendar at one moment.
fn clock_pair(clock: &SharedClock) -> ClockPair {
    let clock_ns = clock.now();
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    ClockPair { clock_ns, unix_ns: Nanos::from(since).0 }
}

fn sleep_until(due: Nanos) {
    #[cfg(target_os = "linux")]
    {
        let seconds = libc::time_t::try_from(due.0 / 1_000_000_000).unwrap_or(libc::time_t::MAX);
        let nanos = libc::c_long::try_from(due.0 % 1_000_000_000).unwrap_or(0);
        let time = libc::timespec { tv_sec: seconds, tv_nsec: nanos };
        // SAFETY: `time` is valid for reading, and no remaining time is asked for.
        let sleep = || unsafe {
            libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &raw const time, std::ptr::null_mut())
        };
        // A signal wakes it early.
        while sleep() == libc::EINTR {}
    }
    #[cfg(not(target_os = "linux"))]
    std::thread::sleep(due.since(monotonic()).duration());
}

/// For [`Ticks`], which knows faults by name only.
impl Ticks {
    fn fault(&mut self, fault: Fault) {
        self.faulty(fault.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::RealClock;
    use crate::terms::sensor::{Register, RegisterKind, Sensor};

    /// Counts its readings, and stops the sampler after some.
    struct Counted<'a> {
        sensor: Sensor,
        reads: u64,
        stop: &'a AtomicBool,
    }

    impl PowerSource for Counted<'_> {
        fn sensor(&self) -> &Sensor {
            &self.sensor
        }

        fn read(&mut self, due: Due, now: &dyn Fn() -> Nanos, each: &mut dyn FnMut(Reading)) {
            self.reads += 1;
            for (number, register) in (0..).zip(&self.sensor.registers) {
                if due.has(register.kind) {
                    // A new value on every other tick.
                    #[expect(clippy::cast_precision_loss, reason = "small")]
                    let value = (self.reads / 2) as f64;
                    each(Reading { register: number, begin: now(), end: now(), value: Ok(value) });
                }
            }
            self.stop.store(self.reads >= 60, Ordering::Relaxed);
        }
    }

    fn sensor() -> Sensor {
        let register = |name: &str, kind| Register { name: name.to_owned(), kind, range_j: None };
        Sensor {
            simulated: true,
            registers: vec![
                register("counter", RegisterKind::Counter),
                register("instant", RegisterKind::Instant),
                register("temperature_c", RegisterKind::State),
            ],
            ..Sensor::new("a".to_owned(), SensorKind::Nvml, String::new())
        }
    }

    #[test]
    fn a_counter_is_read_no_faster_than_is_safe_for_it() {
        for (least, every) in [(None, 1), (Some(500), 1), (Some(1000), 1), (Some(2500), 3), (Some(30_000), 30)] {
            let stop = AtomicBool::new(false);
            let mut sources: Vec<Box<dyn PowerSource + '_>> =
                vec![Box::new(Counted { sensor: sensor(), reads: 0, stop: &stop })];
            let counters = least.map(|us| ("a".to_owned(), Duration::from_micros(us))).into_iter().collect();
            let pace = Pace::new(Duration::from_millis(1), &counters, &sources);
            let (sender, entries) = sync_channel(1000);
            let clock: SharedClock = Arc::new(RealClock::default());
            let continuity = sample(&mut sources, &pace, &clock, &sender, &stop);
            let mut read = [0_u64; 3];
            entries.try_iter().for_each(|entry| read[usize::from(entry.reading.register)] += 1);
            assert_eq!(read, [60 / every, 60, 6], "{least:?} µs");
            let of = |register: &str| continuity.registers["a"][register];
            assert_eq!((of("instant").readings, of("instant").changes), (60, 30));
            assert_eq!(of("counter").readings, 60 / every);
            assert!(continuity.clock_pairs.len() == 2 && continuity.clock_pairs[0].unix_ns > 1 << 60);
        }
    }
}
