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
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::continuity::{Continuity, Ticks};
use super::nvml;
use super::sensor::{Fault, PowerSource, Reading, Sensor, hwmon, nvml::Board, rapl};
use crate::clock::SharedClock;
use crate::terms::SensorKind;
use crate::units::Nanos;

/// Readings that fit into the queue: an hour of four registers at 20 ms.
const QUEUE: usize = 1 << 19;

/// Every how many ticks the devices' states are read.
const STATES_EVERY: u64 = 10;

/// What there is on this machine.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// Sensors that can be read.
    pub sensors: Vec<Sensor>,
    /// Kinds and devices that cannot, each with the reason and what would help.
    pub absent: BTreeMap<String, String>,
    /// Kinds that are there and that this user may not read.
    #[serde(default)]
    pub refused: Vec<SensorKind>,
}

/// A reading and the sensor that it is of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// Number in [`Found::sensors`].
    pub sensor: u16,
    /// What it said.
    pub reading: Reading,
}

/// A sampler at work. Dropping it ends its thread.
#[derive(Debug)]
pub struct Sampler {
    found: Found,
    entries: Receiver<Entry>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Continuity>>,
}

impl Sampler {
    /// Looks for sensors of these kinds and begins to read them every `period`. Without a sensor nothing is read.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(kinds: &[SensorKind], period: Duration, clock: SharedClock) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, entries) = sync_channel(QUEUE);
        let (tell, told) = sync_channel(1);
        let (kinds, stopped) = (kinds.to_vec(), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("sampler".to_owned()).spawn(move || {
            // Sensors are opened here, because what they borrow cannot leave the thread.
            with_sources(&kinds, |mut sources, found| {
                let none = sources.is_empty();
                let _ = tell.send(found);
                if none { Continuity::default() } else { sample(&mut sources, period, &clock, &sender, &stopped) }
            })
        })?;
        let found = told.recv().map_err(|_| io::Error::other("the sampler ended at its start"))?;
        Ok(Self { found, entries, stop, thread: Some(thread) })
    }

    /// What it reads.
    #[must_use]
    pub fn found(&self) -> &Found {
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
pub fn discover(kinds: &[SensorKind]) -> Found {
    with_sources(kinds, |_, found| found)
}

/// Opens the sensors of these kinds and hands them on with what was found.
fn with_sources<T>(kinds: &[SensorKind], go: impl FnOnce(Vec<Box<dyn PowerSource + '_>>, Found) -> T) -> T {
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
            Ok(found) => sources.push(Box::new(found)),
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
        sources.extend(boards.into_iter().map(|board| Box::new(board) as Box<dyn PowerSource + '_>));
    }
    let found = Found { sensors: sources.iter().map(|source| source.sensor().clone()).collect(), absent, refused };
    go(sources, found)
}

/// Where the kernel's files are: below another root in tests.
fn root(path: &str) -> String {
    let root = std::env::var("PHASEBENCH_SYSFS_ROOT").unwrap_or_default();
    format!("{root}{path}")
}

fn sample(
    sources: &mut [Box<dyn PowerSource + '_>],
    period: Duration,
    clock: &SharedClock,
    sender: &SyncSender<Entry>,
    stop: &AtomicBool,
) -> Continuity {
    let mut ticks = Ticks::new(Nanos::from(period));
    let (start, mut tick, mut taken) = (monotonic(), 0_u64, 0_u64);
    let step = Nanos::from(period).0.max(1);
    loop {
        sleep_until(start + Nanos(tick * step));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let begin = monotonic();
        let states = taken.is_multiple_of(STATES_EVERY);
        for (number, source) in sources.iter_mut().enumerate() {
            let sensor = u16::try_from(number).unwrap_or(u16::MAX);
            source.read(states, &|| clock.now(), &mut |reading| {
                if let Err(fault) = reading.value {
                    ticks.fault(fault);
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
    ticks.finish(monotonic().since(start), thread_time())
}

/// The system's monotonic clock, which absolute sleeps are on.
fn monotonic() -> Nanos {
    read_clock(libc::CLOCK_MONOTONIC)
}

/// Processor time of this thread.
fn thread_time() -> Nanos {
    read_clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn read_clock(clock: libc::clockid_t) -> Nanos {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Nanos(0);
    }
    let whole = u64::try_from(time.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000);
    Nanos(whole + u64::try_from(time.tv_nsec).unwrap_or(0))
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
