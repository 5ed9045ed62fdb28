//! Reading a buffer in sequence, at a few places side by side.

use std::hint::black_box;
use std::io;
use std::thread;
use std::time::Duration;

use memmap2::MmapMut;
use pulp::{Arch, Simd, WithSimd, bytemuck};

use super::team;

/// Read between two looks at the clock: some 10 µs.
const PIECE: usize = 256 << 10;
/// Places of its part that a thread reads side by side. A processor fetches ahead for each of them by itself, and one place alone
/// does not keep its memory busy.
const PLACES: usize = 4;
/// Loads that are under way side by side at each of them.
const LOADS: usize = 2;

/// A buffer larger than the caches, of which each of several threads reads an equal part.
#[derive(Debug)]
pub struct Memory {
    arch: Arch,
    buffer: MmapMut,
    parts: Vec<Part>,
}

/// What lies under the buffer. Programs take small pages unless they ask for others, or the system gives them unasked; on
/// small pages a processor that looks up every page twice, as a virtual machine's does, may read half as fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pages {
    /// As the system gives them.
    Unasked,
    /// Huge ones, where the system has them.
    Huge,
}

/// What one thread reads: a piece is as much of each of its places.
#[derive(Debug)]
struct Part {
    begin: usize,
    bytes: usize,
    /// Where the thread goes on: the next measurement reads what is longest out of the caches.
    next: usize,
}

impl Memory {
    /// A buffer of about `bytes`, written once, for up to so many threads; 0 is taken for 1.
    ///
    /// # Errors
    /// The system refuses the memory.
    pub fn new(bytes: usize, threads: usize, pages: Pages) -> io::Result<Self> {
        let threads = threads.max(1);
        let of_each = (bytes / threads).next_multiple_of(PIECE).max(PIECE);
        let too_much = || io::Error::from(io::ErrorKind::OutOfMemory);
        let mut buffer = MmapMut::map_anon(of_each.checked_mul(threads).ok_or_else(too_much)?)?;
        if pages == Pages::Huge {
            // A system without them says so, and gives others.
            let _ = buffer.advise(memmap2::Advice::HugePage);
        }
        // Written, because pages of zeros may all be the same one; by the threads' number, so that each memory of a machine
        // that has several holds a part.
        thread::scope(|scope| {
            for part in buffer.chunks_mut(of_each) {
                scope.spawn(move || part.fill(1));
            }
        });
        Ok(Self { arch: Arch::new(), buffer, parts: Vec::new() })
    }

    /// Bytes of the buffer.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Bytes read per second over `time` by so many threads; 0 is taken for 1, and more than the buffer was made for for those.
    pub fn rate(&mut self, threads: usize, time: Duration) -> f64 {
        self.divide(threads);
        let (arch, buffer) = (self.arch, &self.buffer[..]);
        team::rate(&mut self.parts, time, |part| part.read(buffer, arch))
    }

    fn divide(&mut self, threads: usize) {
        let pieces = self.buffer.len() / PIECE;
        let threads = threads.clamp(1, pieces);
        if self.parts.len() != threads {
            let bytes = pieces / threads * PIECE;
            self.parts = (0..threads).map(|thread| Part { begin: thread * bytes, bytes, next: 0 }).collect();
        }
    }
}

impl Part {
    /// Reads the next piece.
    fn read(&mut self, buffer: &[u8], arch: Arch) -> f64 {
        let apart = self.bytes / PLACES;
        let places = std::array::from_fn(|place| {
            let begin = self.begin + place * apart + self.next;
            bytemuck::cast_slice(&buffer[begin..begin + PIECE / PLACES])
        });
        arch.dispatch(Read { places });
        self.next = (self.next + PIECE / PLACES) % apart;
        PIECE as f64
    }
}

/// As many words of each place.
struct Read<'a> {
    places: [&'a [u32]; PLACES],
}

impl WithSimd for Read<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut seen = [[simd.splat_u32s(0); LOADS]; PLACES];
        let places = self.places.map(|words| S::as_simd_u32s(words).0.as_chunks::<LOADS>().0);
        for step in 0..places[0].len() {
            for (seen, vectors) in seen.iter_mut().zip(&places) {
                for (seen, vector) in seen.iter_mut().zip(&vectors[step]) {
                    *seen = simd.add_u32s(*seen, *vector);
                }
            }
        }
        black_box(seen);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read_round_and_round() {
        for pages in [Pages::Unasked, Pages::Huge] {
            let mut memory = Memory::new(6 * PIECE - 1, 2, pages).unwrap();
            assert_eq!(memory.bytes(), 6 * PIECE);
            for (threads, parts) in
                [(1, vec![(0, 6)]), (2, vec![(0, 3), (3, 3)]), (9, (0..6).map(|n| (n, 1)).collect())]
            {
                memory.divide(threads);
                let found: Vec<_> = memory.parts.iter().map(|part| (part.begin / PIECE, part.bytes / PIECE)).collect();
                assert_eq!(found, parts, "{threads} threads");
            }
            memory.divide(2);
            let mut read = || {
                let part = &mut memory.parts[1];
                part.read(&memory.buffer, Arch::new());
                part.next / (PIECE / PLACES)
            };
            assert_eq!([read(), read(), read(), read()], [1, 2, 0, 1]);
        }
    }

    #[test]
    fn memory_that_is_not_there_is_an_error() {
        assert!(Memory::new(usize::MAX / 2, 1, Pages::Huge).is_err());
        assert!(Memory::new(usize::MAX - PIECE, 3, Pages::Huge).is_err());
    }
}
