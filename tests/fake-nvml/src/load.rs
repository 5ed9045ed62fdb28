//! Where the load comes from: a file, or this process's processor time.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::Ns;
use crate::settings::{LoadFrom, Problem, Settings, Wrong, lines, moment, text_of, watts};
use crate::simulated::Load;

/// Time between two looks at the processor time.
const LOOK: Duration = Duration::from_millis(1);

/// Work that may be shown late. The kernel counts a thread that runs elsewhere only every tick, up to 10 ms apart, so
/// that between two looks more processor time can appear than there are processors.
const LATE: Ns = 10_000_000;

/// A load that is known up to now.
#[derive(Debug)]
pub enum Source {
    /// All of it is known from the beginning.
    Scripted(Load),
    /// It follows this process.
    Followed(Follower),
}

impl Source {
    /// What the settings ask for; `opened` is the moment 0.
    ///
    /// # Errors
    /// What is wrong with the file of the load, or that no thread could be started.
    pub fn open(settings: &Settings, opened: Instant) -> Result<Self, Vec<Problem>> {
        match &settings.load {
            LoadFrom::File(file) => {
                let text = text_of(file).map_err(|problem| vec![problem])?;
                scripted(file, &text, settings.idle_w).map(Self::Scripted)
            }
            LoadFrom::Processor => Follower::start(settings, opened).map(Self::Followed).map_err(|error| {
                let what = format!("no thread can be started: {error}");
                vec![
                    Wrong { what, allowed: "`load = file`, which needs none".to_owned() }
                        .at(Path::new("load = cpu"), None),
                ]
            }),
        }
    }

    /// Hands on the load and the moment up to which it is known, which is now.
    pub fn at_now<T>(&self, opened: Instant, ask: impl FnOnce(&Load, Ns) -> T) -> T {
        match self {
            Self::Scripted(load) => ask(load, since(opened)),
            Self::Followed(follower) => {
                let (work, now) = follower.shared.look(None);
                ask(&work.load, now)
            }
        }
    }
}

/// The load that a file says: lines `seconds watts`, each in force until the next.
fn scripted(file: &Path, text: &str, idle_w: f64) -> Result<Load, Vec<Problem>> {
    let (mut load, mut problems, mut last) = (Load::new(idle_w), Vec::new(), None);
    for (number, line) in lines(text) {
        match piece(line, last) {
            Ok((begin, watts)) => {
                // One that begins at 0 holds before it too.
                if begin == 0 {
                    load = Load::new(watts);
                } else {
                    load.push(begin, watts);
                }
                last = Some(begin);
            }
            Err(wrong) => problems.push(wrong.at(file, Some(number))),
        }
    }
    if problems.is_empty() { Ok(load) } else { Err(problems) }
}

fn piece(line: &str, last: Option<Ns>) -> Result<(Ns, f64), Wrong> {
    let mut words = line.split_whitespace();
    let (Some(begin), Some(power), None) = (words.next(), words.next(), words.next()) else {
        return Err(Wrong { what: format!("`{line}`"), allowed: "`seconds watts`".to_owned() });
    };
    let (begin, watts) = (moment(begin)?, watts(power)?);
    if last.is_some_and(|last| begin <= last) {
        let allowed = "times that grow from line to line".to_owned();
        return Err(Wrong { what: format!("`{line}` is not later than the line before"), allowed });
    }
    Ok((begin, watts))
}

/// Follows the processor time of this process on a thread of its own. Dropping it ends the thread.
#[derive(Debug)]
pub struct Follower {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    opened: Instant,
    stop: AtomicBool,
    work: Mutex<Work>,
}

impl Follower {
    fn start(settings: &Settings, opened: Instant) -> io::Result<Self> {
        let work = Mutex::new(Work::new(settings, processor_time()));
        let shared = Arc::new(Shared { opened, stop: AtomicBool::new(false), work });
        let followed = Arc::clone(&shared);
        let thread = thread::Builder::new().name("fake-nvml".to_owned()).spawn(move || {
            while !followed.stop.load(Ordering::Relaxed) {
                drop(followed.look(Some(clock(libc::CLOCK_THREAD_CPUTIME_ID))));
                thread::park_timeout(LOOK);
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The library may be unloaded next, and the thread's code with it.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// The work up to now. It is brought up to date here too and not by the thread alone: an update of the registers
    /// must be decided when it is first read, or it would say something else the next time.
    ///
    /// `own` is the thread's own processor time, which is no work. `None`: as the thread said last.
    fn look(&self, own: Option<Ns>) -> (MutexGuard<'_, Work>, Ns) {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let now = since(self.opened);
        work.own = own.unwrap_or(work.own);
        let used = processor_time().saturating_sub(work.own);
        work.advance(now, used);
        (work, now)
    }
}

/// Processor time turned into a load.
#[derive(Debug)]
struct Work {
    idle_w: f64,
    busy_w: f64,
    cores: f64,
    load: Load,
    /// Watts of the load's last piece.
    watts: f64,
    /// Up to when the load is known.
    until: Ns,
    /// Processor time then.
    used: Ns,
    /// Processor time that is not shown in the load yet.
    late: f64,
    /// Processor time of the thread that follows.
    own: Ns,
}

impl Work {
    fn new(settings: &Settings, used: Ns) -> Self {
        let &Settings { idle_w, busy_w, cores, .. } = settings;
        Self { idle_w, busy_w, cores, load: Load::new(idle_w), watts: idle_w, until: 0, used, late: 0.0, own: 0 }
    }

    /// Takes in that the processor time was `used` at `now`.
    #[expect(clippy::cast_precision_loss, reason = "2^53 ns is 104 days")]
    fn advance(&mut self, now: Ns, used: Ns) {
        let Some(span) = now.checked_sub(self.until).filter(|&span| span > 0) else { return };
        let most = self.cores * span as f64;
        let work = self.late + used.saturating_sub(self.used) as f64;
        let shown = work.min(most);
        let watts = self.idle_w + (self.busy_w - self.idle_w) * shown / most;
        // Equal pieces are one: a process at rest must not fill the memory.
        if watts.to_bits() != self.watts.to_bits() {
            self.load.push(self.until, watts);
            self.watts = watts;
        }
        self.late = (work - shown).min(self.cores * LATE as f64);
        // The thread's own time is known late, and taking it off can put `used` back a little.
        (self.until, self.used) = (now, used.max(self.used));
    }
}

/// Time since then.
fn since(opened: Instant) -> Ns {
    Ns::try_from(opened.elapsed().as_nanos()).unwrap_or(Ns::MAX)
}

/// Processor time of this process, all threads.
fn processor_time() -> Ns {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn clock(which: libc::clockid_t) -> Ns {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing.
    if unsafe { libc::clock_gettime(which, &raw mut time) } != 0 {
        return 0;
    }
    let whole = Ns::try_from(time.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000);
    whole.saturating_add(Ns::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const MS: Ns = 1_000_000;

    /// 100 W at rest, 300 W with two processors.
    fn work(used: Ns) -> Work {
        Work::new(&Settings { idle_w: 100.0, busy_w: 300.0, cores: 2.0, ..Settings::default() }, used)
    }

    #[test]
    fn power_follows_the_share_of_processors() {
        let mut work = work(500 * MS);
        for (now, used) in [(1, 500), (2, 501), (3, 503), (4, 503)] {
            work.advance(now * MS, used * MS);
        }
        let watts = |ms: Ns| work.load.between(ms * MS, (ms + 1) * MS) * 1e3;
        let expected = [100.0, 200.0, 300.0, 100.0];
        for (ms, expected) in (0..).zip(expected) {
            assert!((watts(ms) - expected).abs() < 1e-6, "from {ms} ms: {}", watts(ms));
        }
    }

    #[test]
    fn time_counted_late_is_shown_late_and_not_lost() {
        let mut work = work(0);
        // Two processors run all the time, and are counted every 4 ms.
        for now in 1..=100 {
            work.advance(now * MS, now / 4 * 4 * 2 * MS);
        }
        // The first 4 ms are shown from 3 ms on.
        assert!((work.load.mean(3_000_000, 100_000_000) - 300.0).abs() < 1e-6);
        assert!((work.load.energy(100 * MS) - (0.003 * 100.0 + 0.097 * 300.0)).abs() < 1e-6);
    }

    #[test]
    fn more_than_all_work_is_not_owed_forever() {
        let mut work = work(0);
        // Eight processors for 50 ms, then none.
        for now in 1..=50 {
            work.advance(now * MS, now * 8 * MS);
        }
        for now in 51..=100 {
            work.advance(now * MS, 50 * 8 * MS);
        }
        assert!((work.load.energy(100 * MS) - (60.0 * 0.3 + 40.0 * 0.1)).abs() < 1e-6);
    }

    #[test]
    fn what_was_decided_stays() {
        let mut work = work(0);
        work.advance(10 * MS, 5 * MS);
        let before = work.load.energy(10 * MS);
        // A clock that stands still, and one that goes back.
        work.advance(10 * MS, 7 * MS);
        work.advance(9 * MS, 7 * MS);
        // Work that goes back is not counted twice.
        work.advance(11 * MS, 3 * MS);
        work.advance(20 * MS, 25 * MS);
        assert!((work.load.energy(10 * MS) - before).abs() < 1e-12);
        assert!((work.load.energy(20 * MS) - before - (0.1 + 2.7)).abs() < 1e-6);
    }

    #[test]
    fn a_file_is_followed() {
        let load = scripted(Path::new("load.txt"), "# a step\n0.5 200\n\n1.5\t50.5\n", 70.0).unwrap();
        let joules = [0.0, 35.0, 235.0, 285.5];
        for (at, joules) in [0, 500, 1500, 2500].into_iter().zip(joules) {
            assert!((load.energy(at * MS) - joules).abs() < 1e-9, "at {at} ms");
        }
    }

    #[test]
    fn a_load_from_0_on_was_there_before() {
        let load = scripted(Path::new("load.txt"), "0 200\n1 50", 70.0).unwrap();
        assert!((load.mean(-1_000_000_000, 1_000_000_000) - 200.0).abs() < 1e-9);
    }

    #[test]
    fn a_bad_line_of_a_load_is_told() {
        let problems = scripted(Path::new("load.txt"), "0 1\n0 2\n1\n-1 3\n2 x\n3 4", 70.0).unwrap_err();
        assert_eq!(
            problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "load.txt:2: `0 2` is not later than the line before\n  allowed: times that grow from line to line",
                "load.txt:3: `1`\n  allowed: `seconds watts`",
                "load.txt:4: `-1`\n  allowed: a number from 0 to 1000000",
                "load.txt:5: `x`\n  allowed: a number from 0 to 100000",
            ]
        );
    }

    #[test]
    fn an_update_once_read_is_the_same_the_next_time() {
        let opened = Instant::now();
        let source = Source::open(&Settings::default(), opened).unwrap();
        let (now, energy) = source.at_now(opened, |load, now| (now, load.energy(now)));
        let mut later = now;
        while later < now + 5 * MS {
            later = source.at_now(opened, |load, later| {
                assert_eq!(load.energy(now).to_bits(), energy.to_bits());
                later
            });
        }
    }
}
