//! A worker's clock and the run's: how a reading of one becomes a reading of the other, and how wrong it may be.
//!
//! Where both are the same kernel's monotonic clock, one reading of that clock beside the run's is enough; round trips
//! then only check it. Everywhere else the fastest round trip bounds the error.

use std::fs;

use super::protocol::{ClockSource, clock_source};
use crate::backend::SpanClock;
use crate::clock::Clock;
use crate::process::boot_id;
use crate::units::Nanos;

/// Pairs of readings of our two clocks, of which the closest counts.
const PAIRS: usize = 16;

/// The kernel's monotonic clock as this process sees it, in ns.
#[must_use]
pub fn kernel() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec to a place that is valid for it.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let whole = u64::try_from(time.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000);
    whole.saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// [`kernel`] as a clock: what a worker's times are on.
#[derive(Debug, Default)]
pub struct KernelClock;

impl Clock for KernelClock {
    fn now(&self) -> Nanos {
        Nanos(kernel())
    }

    fn pass(&self, time: std::time::Duration) {
        std::thread::sleep(time);
    }

    fn is_virtual(&self) -> bool {
        false
    }
}

/// What this process says of [`kernel`].
#[must_use]
pub fn source() -> ClockSource {
    let offsets = fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    ClockSource {
        kind: clock_source::Kind::Monotonic.into(),
        boot_id: boot_id().unwrap_or_default(),
        namespace_offset_ns: namespace_offset(&offsets).unwrap_or(0),
    }
}

/// `monotonic   SECONDS NANOSECONDS`: what the time namespace adds to the kernel's clock.
fn namespace_offset(offsets: &str) -> Option<i64> {
    let line = offsets.lines().find_map(|line| line.strip_prefix("monotonic"))?;
    let (seconds, nanos) = line.trim().split_once(char::is_whitespace)?;
    let seconds: i64 = seconds.parse().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos.trim().parse().ok()?)
}

/// One reading of the worker's clock, with ours before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundTrip {
    /// The run's clock when the question went out.
    pub sent: Nanos,
    /// The worker's clock, in ns.
    pub worker: u64,
    /// The run's clock when the answer was there.
    pub received: Nanos,
}

/// The kernel's clock and the run's, read at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The run's clock.
    pub run: Nanos,
    /// See [`kernel`].
    pub kernel: u64,
    /// Largest distance between the two readings.
    pub error: Nanos,
}

impl Pair {
    /// The closest of several readings.
    #[must_use]
    pub fn read(clock: &dyn Clock) -> Self {
        let read = || {
            let before = clock.now();
            let kernel = kernel();
            let after = clock.now();
            let width = after.since(before);
            Self { run: before + Nanos(width.0 / 2), kernel, error: Nanos(width.0.div_ceil(2)) }
        };
        let first = read();
        (1..PAIRS).map(|_| read()).fold(first, |best, pair| if pair.error < best.error { pair } else { best })
    }
}

/// How a worker's readings become the run's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// What is added to a worker's reading.
    offset: i128,
    /// Largest error of a mapped reading.
    pub uncertainty: Nanos,
    /// Whether it rests on a shared clock or on round trips.
    pub clock: SpanClock,
    /// The slowest of the round trips: what a message and its answer can take at that time.
    pub slowest: Nanos,
    /// Whether the worker says that its clock is this kernel's, and its readings lie outside their round trips.
    pub disagrees: bool,
}

impl Mapping {
    /// The best mapping that the readings allow. `None`: there is no round trip.
    #[must_use]
    pub fn find(theirs: Option<&ClockSource>, ours: &ClockSource, pair: Pair, trips: &[RoundTrip]) -> Option<Self> {
        let fastest = trips.iter().min_by_key(|trip| trip.received.since(trip.sent))?;
        let slowest = trips.iter().map(|trip| trip.received.since(trip.sent)).max()?;
        let shared = theirs.and_then(|theirs| Self::shared(theirs, ours, pair, slowest));
        if let Some(shared) = shared
            && trips.iter().all(|trip| shared.agrees(trip))
        {
            return Some(shared);
        }
        let width = fastest.received.since(fastest.sent);
        let middle = i128::from(fastest.sent.0) + i128::from(width.0 / 2);
        Some(Self {
            offset: middle - i128::from(fastest.worker),
            uncertainty: Nanos(width.0.div_ceil(2)),
            clock: SpanClock::Reconstructed,
            slowest,
            disagrees: shared.is_some(),
        })
    }

    /// Both say that they read the same kernel's clock.
    fn shared(theirs: &ClockSource, ours: &ClockSource, pair: Pair, slowest: Nanos) -> Option<Self> {
        let monotonic = theirs.kind() == clock_source::Kind::Monotonic;
        if !monotonic || ours.boot_id.is_empty() || theirs.boot_id != ours.boot_id {
            return None;
        }
        let namespaces = i128::from(ours.namespace_offset_ns) - i128::from(theirs.namespace_offset_ns);
        let offset = i128::from(pair.run.0) - i128::from(pair.kernel) + namespaces;
        Some(Self { offset, uncertainty: pair.error, clock: SpanClock::Exact, slowest, disagrees: false })
    }

    /// Whether a reading lies inside its round trip.
    fn agrees(self, trip: &RoundTrip) -> bool {
        let mapped = self.run(trip.worker);
        mapped + self.uncertainty >= trip.sent && mapped <= trip.received + self.uncertainty
    }

    /// A worker's reading on the run's clock; its ends where it would lie beyond them.
    #[must_use]
    pub fn run(self, worker_ns: u64) -> Nanos {
        let mapped = i128::from(worker_ns) + self.offset;
        Nanos(u64::try_from(mapped.max(0)).unwrap_or(u64::MAX))
    }

    /// For the manifest.
    #[must_use]
    pub fn description(self) -> &'static str {
        match (self.clock, self.disagrees) {
            (SpanClock::Exact, _) => "the kernel's monotonic clock, shared with this program",
            (SpanClock::Reconstructed, false) => "its own, mapped by round trips",
            (SpanClock::Reconstructed, true) => {
                "said to be the kernel's monotonic clock, and outside its round trips: mapped by them"
            }
        }
    }
}

/// Largest difference in pace between two clocks that both keep time. The kernel itself slews its clock by no more than
/// 500 parts in a million; beyond twice that a clock counts something else than seconds.
const LARGEST_PACE_ERROR: f64 = 1e-3;

/// After so long the pace is known well enough for `LARGEST_PACE_ERROR` with the usual uncertainty of a reading.
pub const PACE_KNOWN_AFTER: Nanos = Nanos(250_000_000);

/// Whether a worker's clock keeps the pace of the run's, told from readings that lie far enough apart.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    first: Reading,
    /// The last one that lay [`PACE_KNOWN_AFTER`] after the one before it: in a run of hours a clock that slips is hardly
    /// seen from the first.
    last: Reading,
}

/// What a worker's clock showed at one time of the run's.
#[derive(Debug, Clone, Copy)]
struct Reading {
    mapping: Mapping,
    at: Nanos,
}

impl Pace {
    /// Begins with a first mapping, made at this time of the run's clock.
    #[must_use]
    pub fn new(first: Mapping, at: Nanos) -> Self {
        let first = Reading { mapping: first, at };
        Self { first, last: first }
    }

    /// Time of the run's clock since the first mapping.
    #[must_use]
    pub fn age(&self, now: Nanos) -> Nanos {
        now.since(self.first.at)
    }

    /// Whether so much time has passed since the last mapping that another one tells more.
    #[must_use]
    pub fn tells_more(&self, now: Nanos) -> bool {
        now.since(self.last.at) >= PACE_KNOWN_AFTER
    }

    /// How far the clock is from the right pace, by a later mapping: since the first one, or since the last. `None`: not
    /// further than readings can tell.
    pub fn wrong(&mut self, mapping: Mapping, now: Nanos) -> Option<f64> {
        let later = Reading { mapping, at: now };
        let wrong = self.first.pace_until(later).or_else(|| self.last.pace_until(later));
        if self.tells_more(now) {
            self.last = later;
        }
        wrong
    }
}

impl Reading {
    /// The pace between two readings, where it is certainly a wrong one.
    #[expect(clippy::cast_precision_loss, reason = "a ratio of times")]
    fn pace_until(self, later: Self) -> Option<f64> {
        let passed = later.at.since(self.at).0;
        let gained = (self.mapping.offset - later.mapping.offset) as f64;
        let unknown = (self.mapping.uncertainty + later.mapping.uncertainty).0 as f64;
        let least = gained.abs() - unknown;
        let apart = passed > 0 && least > LARGEST_PACE_ERROR * passed as f64;
        apart.then(|| 1.0 + gained / passed as f64)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::clock::RealClock;

    const SECOND: i64 = 1_000_000_000;

    fn here() -> ClockSource {
        ClockSource { kind: clock_source::Kind::Monotonic.into(), boot_id: "boot".to_owned(), namespace_offset_ns: 0 }
    }

    /// The run's clock began when the kernel's stood at 1000 s.
    const PAIR: Pair = Pair { run: Nanos(500), kernel: 1_000_000_000_500, error: Nanos(50) };

    fn trip(sent: u64, worker: u64, received: u64) -> RoundTrip {
        RoundTrip { sent: Nanos(sent), worker, received: Nanos(received) }
    }

    #[test]
    fn a_shared_clock_is_mapped_by_one_pair_of_readings() {
        let trips = [trip(1000, 1_000_000_001_300, 2000), trip(3000, 1_000_000_003_990, 4000)];
        let mapping = Mapping::find(Some(&here()), &here(), PAIR, &trips).unwrap();
        assert_eq!((mapping.clock, mapping.uncertainty), (SpanClock::Exact, Nanos(50)));
        assert_eq!(mapping.run(1_000_000_007_000), Nanos(7000));
        assert_eq!((mapping.run(0), mapping.run(u64::MAX).0 > u64::MAX / 2), (Nanos(0), true));
    }

    #[test]
    fn a_time_namespace_is_taken_off() {
        let theirs = ClockSource { namespace_offset_ns: 5 * SECOND, ..here() };
        let trips = [trip(1000, 1_005_000_001_500, 2000)];
        let mapping = Mapping::find(Some(&theirs), &here(), PAIR, &trips).unwrap();
        assert_eq!((mapping.clock, mapping.run(1_005_000_001_500)), (SpanClock::Exact, Nanos(1500)));
    }

    #[test]
    fn a_clock_that_is_not_what_it_says_is_mapped_by_the_fastest_round_trip() {
        let trips = [trip(1000, 77_000, 9000), trip(10_000, 88_000, 10_401)];
        for theirs in [
            None,
            // It claims to be ours, and lies outside its round trips.
            Some(here()),
            Some(ClockSource { boot_id: "another".to_owned(), ..here() }),
            Some(ClockSource { kind: clock_source::Kind::Other.into(), ..here() }),
            Some(ClockSource { kind: 99, ..here() }),
        ] {
            let mapping = Mapping::find(theirs.as_ref(), &here(), PAIR, &trips).unwrap();
            assert_eq!((mapping.clock, mapping.uncertainty), (SpanClock::Reconstructed, Nanos(201)), "{theirs:?}");
            assert_eq!(mapping.run(88_000), Nanos(10_200));
        }
        let nameless = ClockSource { boot_id: String::new(), ..here() };
        let trips = [trip(1000, 1_000_000_001_500, 2000)];
        let mapping = Mapping::find(Some(&nameless), &nameless, PAIR, &trips).unwrap();
        assert_eq!(mapping.clock, SpanClock::Reconstructed, "two kernels that do not say which they are");
        assert_eq!(Mapping::find(Some(&here()), &here(), PAIR, &[]), None);
    }

    #[test]
    fn this_machine_s_clocks_agree() {
        let clock = RealClock::default();
        let pair = Pair::read(&clock);
        assert!(pair.error < Nanos(1_000_000), "{pair:?}");
        let trips = [RoundTrip { sent: clock.now(), worker: kernel(), received: clock.now() }];
        let mapping = Mapping::find(Some(&source()), &source(), pair, &trips).unwrap();
        if !source().boot_id.is_empty() {
            assert_eq!(mapping.clock, SpanClock::Exact);
        }
    }

    #[test]
    fn offsets_are_read() {
        assert_eq!(namespace_offset("monotonic           0         0\nboottime  0 0\n"), Some(0));
        assert_eq!(namespace_offset("monotonic    -86400       250\nboottime  0 0\n"), Some(-86400 * SECOND + 250));
        assert_eq!(namespace_offset(""), None);
        assert_eq!(namespace_offset("monotonic x y"), None);
    }

    /// A clock that runs at `rate` from a first reading on, mapped after so long: what is found.
    fn paced(rate: f64, after_ms: u64, width_ns: u64) -> Option<f64> {
        let at = |ms: u64| {
            let run = ms * 1_000_000;
            let worker = 77_000_000_000 + (run as f64 * rate) as u64;
            let trips = [trip(run - width_ns / 2, worker, run + width_ns / 2)];
            Mapping::find(None, &here(), PAIR, &trips).unwrap()
        };
        let begin = Nanos(1_000_000_000);
        Pace::new(at(1000), begin).wrong(at(1000 + after_ms), begin + Nanos(after_ms * 1_000_000))
    }

    #[test]
    fn a_clock_at_a_wrong_pace_is_found() {
        for rate in [0.5, 0.9, 0.99, 0.998, 1.002, 1.1, 2.0] {
            let found = paced(rate, 250, 100_000).unwrap();
            assert!((found / rate - 1.0).abs() < 1e-3, "{rate}: {found}");
        }
        for rate in [1.0, 0.9996, 1.0004] {
            for (after, width) in [(1, 100_000), (250, 100_000), (60_000, 100_000), (60_000, 5_000_000)] {
                assert_eq!(paced(rate, after, width), None, "{rate} after {after} ms");
            }
        }
        assert_eq!(paced(0.99, 20, 5_000_000), None, "not known yet with readings so far apart");
    }

    /// After an hour at the right pace a second that is 20 ms too short is one part in 180,000 of all, and is found.
    #[test]
    fn a_clock_that_slips_late_is_found() {
        let at = |ms: u64, lost_ms: u64| {
            let (run, worker) = (ms * 1_000_000, 77_000_000_000 + (ms - lost_ms) * 1_000_000);
            let mapping = Mapping::find(None, &here(), PAIR, &[trip(run - 50_000, worker, run + 50_000)]).unwrap();
            (mapping, Nanos(run))
        };
        let (first, begin) = at(1000, 0);
        let mut pace = Pace::new(first, begin);
        let mut wrong = |(mapping, now)| pace.wrong(mapping, now);
        assert_eq!(wrong(at(3_600_000, 0)), None);
        assert_eq!(wrong(at(3_600_100, 0)), None, "soon after: the next is told from the one before");
        let slipped = wrong(at(3_601_000, 20)).unwrap();
        assert!((slipped - 0.98).abs() < 1e-6, "{slipped}");
        assert_eq!(wrong(at(3_602_000, 20)), None, "it goes on at the right pace");
    }
}
