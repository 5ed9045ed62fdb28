//! The machine's own speed: the kernels of [`crate::kernels`] on this machine, several times, with an interval.

use std::io;
use std::time::Duration;

use crate::kernels::{Compute, Memory, Pages, SHORTEST};
use crate::stats::LEVEL;
use crate::stats::median::{Median, located};
use crate::terms::Kernel;
use crate::units::Bytes;

pub mod board;
pub mod caches;
pub mod watch;

pub use caches::Cache;

/// How many times the caches of the last level a buffer is that is read from memory.
const BEYOND_CACHE: u64 = 4;
/// The largest buffer, which is also that of a machine that does not tell its caches.
const LARGEST: u64 = 1 << 30;
/// Which part of the machine's memory a buffer takes at most.
const OF_MEMORY: u64 = 8;

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Effort {
    /// Kernels of the processor, in the order in which they take turns.
    pub kernels: Vec<Kernel>,
    /// How many threads, one after the other.
    pub threads: Vec<u32>,
    /// Rounds in which every kernel has its turn.
    pub repetitions: u32,
    /// Time of a turn.
    pub time: Duration,
}

/// One kernel with one number of threads.
#[derive(Debug, Clone, PartialEq)]
pub struct Speed {
    /// What was measured.
    pub kernel: Kernel,
    /// How many threads worked.
    pub threads: u32,
    /// Every repetition, in order. Unit: see [`Kernel`].
    pub per_second: Vec<f64>,
}

impl Speed {
    /// Median of the repetitions with its interval at 95 %: one that was held up changes nothing. `None`: there is none.
    #[must_use]
    pub fn location(&self) -> Option<Median> {
        located(&self.per_second, LEVEL)
    }
}

/// The buffer that is read: four times the caches of the last level together, and no more than a gibibyte or an eighth of the
/// memory. `None`: not told.
#[must_use]
pub fn buffer(caches: &[Cache], memory: Option<Bytes>) -> Bytes {
    let of_caches = caches::last_level(caches).map_or(LARGEST, |last| last.0.saturating_mul(BEYOND_CACHE));
    let room = memory.map_or(LARGEST, |memory| memory.0 / OF_MEMORY);
    Bytes(of_caches.min(LARGEST).min(room))
}

/// Thread counts worth measuring: 1, 2, 4, … and as many as there are processors to use.
#[must_use]
pub fn thread_counts(usable: f64) -> Vec<u32> {
    // Half a processor is worth a thread; no machine has 2^32 processors.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
    let all = usable.ceil().max(1.0) as u32;
    let mut counts: Vec<u32> = (0..32).map(|power| 1_u32 << power).take_while(|count| *count < all).collect();
    counts.push(all);
    counts
}

/// Measures; kernels take turns, so that what the machine does meanwhile meets all of them.
///
/// # Errors
/// The system refuses the memory; a kernel that is no work of a processor, see [`board`].
pub fn measure(effort: &Effort, buffer: Bytes) -> io::Result<Vec<Speed>> {
    let most = effort.threads.iter().copied().max().unwrap_or(1);
    let ready = effort.kernels.iter().map(|&kernel| Ready::new(kernel, most, buffer));
    let mut kernels: Vec<Ready> = ready.collect::<io::Result<_>>()?;
    let mut measured = Vec::new();
    for &threads in &effort.threads {
        let speed = |&kernel| Speed { kernel, threads, per_second: Vec::new() };
        let mut speeds: Vec<Speed> = effort.kernels.iter().map(speed).collect();
        for _ in 0..effort.repetitions {
            for (ready, speed) in kernels.iter_mut().zip(&mut speeds) {
                speed.per_second.push(ready.rate(threads, effort.time.max(SHORTEST)));
            }
        }
        measured.extend(speeds);
    }
    Ok(measured)
}

/// A kernel that can begin.
enum Ready {
    Memory(Memory),
    Compute,
}

impl Ready {
    /// For up to so many threads.
    fn new(kernel: Kernel, threads: u32, buffer: Bytes) -> io::Result<Self> {
        let bytes = usize::try_from(buffer.0).unwrap_or(usize::MAX);
        match kernel {
            Kernel::Memory => Memory::new(bytes, count(threads), Pages::Huge).map(Self::Memory),
            Kernel::MemoryPlain => Memory::new(bytes, count(threads), Pages::Unasked).map(Self::Memory),
            Kernel::Compute => Ok(Self::Compute),
            Kernel::DeviceCopy => Err(io::Error::new(io::ErrorKind::Unsupported, "a board's kernel has no threads")),
        }
    }

    fn rate(&mut self, threads: u32, time: Duration) -> f64 {
        match self {
            Self::Memory(memory) => memory.rate(count(threads), time),
            Self::Compute => Compute::new(count(threads)).rate(time),
        }
    }
}

fn count(threads: u32) -> usize {
    usize::try_from(threads).unwrap_or(usize::MAX)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_beyond_the_caches_and_within_the_memory() {
        let cache = |bytes| Cache { level: 3, bytes: Bytes(bytes), processors: "0".to_owned() };
        let (mib, gib) = (1 << 20, 1 << 30);
        assert_eq!(buffer(&[cache(32 * mib)], Some(Bytes(64 * gib))), Bytes(128 * mib));
        assert_eq!(buffer(&[cache(512 * mib)], Some(Bytes(64 * gib))), Bytes(gib));
        assert_eq!(buffer(&[], None), Bytes(gib));
        assert_eq!(buffer(&[cache(512 * mib)], Some(Bytes(2 * gib))), Bytes(256 * mib));
    }

    #[test]
    fn thread_counts_double_up_to_all_processors() {
        for (usable, counts) in
            [(0.5, vec![1]), (1.0, vec![1]), (2.0, vec![1, 2]), (2.5, vec![1, 2, 3]), (12.0, vec![1, 2, 4, 8, 12])]
        {
            assert_eq!(thread_counts(usable), counts);
        }
    }

    /// Whatever the machine is, and however long it is held up meanwhile.
    #[test]
    fn every_kernel_has_a_speed() {
        let effort =
            Effort { kernels: Kernel::OF_PROCESSOR.to_vec(), threads: vec![1, 2], repetitions: 2, time: SHORTEST };
        let measured = measure(&effort, Bytes(8 << 20)).unwrap();
        let found: Vec<_> =
            measured.iter().map(|speed| (speed.kernel, speed.threads, speed.per_second.len())).collect();
        let expected = [1, 2].map(|threads| Kernel::OF_PROCESSOR.map(|kernel| (kernel, threads, 2)));
        assert_eq!(found, expected.as_flattened());
        for speed in &measured {
            assert!(speed.per_second.iter().all(|rate| (1e6..1e13).contains(rate)), "{speed:?}");
        }
    }
}
