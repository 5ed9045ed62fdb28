//! Reading a buffer in sequence.

use std::hint::black_box;
use std::io;
use std::time::Duration;

use memmap2::MmapMut;
use pulp::{Arch, Simd, WithSimd, bytemuck};

use super::team;

/// Read between two looks at the clock: some 10 µs.
const PIECE: usize = 256 << 10;
/// Loads that are under way side by side.
const STREAMS: usize = 4;

/// A buffer larger than the caches, an equal part for each thread.
#[derive(Debug)]
pub struct Memory {
    arch: Arch,
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

#[derive(Debug)]
struct Part {
    buffer: MmapMut,
    /// Where the thread goes on: the next measurement reads what is longest out of the caches.
    next: usize,
}

impl Memory {
    /// A buffer of about `bytes`, written once, for a number of threads; 0 is taken for 1.
    ///
    /// # Errors
    /// The system refuses the memory.
    pub fn new(bytes: usize, threads: usize, pages: Pages) -> io::Result<Self> {
        let threads = threads.max(1);
        let of_each = (bytes / threads).next_multiple_of(PIECE).max(PIECE);
        let parts = (0..threads).map(|_| Part::new(of_each, pages)).collect::<io::Result<_>>()?;
        Ok(Self { arch: Arch::new(), parts })
    }

    /// Bytes of the buffer.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.buffer.len()).sum()
    }

    /// Bytes read per second over `time`.
    pub fn rate(&mut self, time: Duration) -> f64 {
        let arch = self.arch;
        team::rate(&mut self.parts, time, |part| part.read(arch))
    }
}

impl Part {
    fn new(bytes: usize, pages: Pages) -> io::Result<Self> {
        let mut buffer = MmapMut::map_anon(bytes)?;
        if pages == Pages::Huge {
            // A system without them says so, and gives others.
            let _ = buffer.advise(memmap2::Advice::HugePage);
        }
        // Written, because pages of zeros may all be the same one.
        buffer.fill(1);
        Ok(Self { buffer, next: 0 })
    }

    /// Reads the next piece.
    fn read(&mut self, arch: Arch) -> f64 {
        let piece = &self.buffer[self.next..self.next + PIECE];
        arch.dispatch(Read { words: bytemuck::cast_slice(piece) });
        self.next = (self.next + PIECE) % self.buffer.len();
        PIECE as f64
    }
}

struct Read<'a> {
    words: &'a [u32],
}

impl WithSimd for Read<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut seen = [simd.splat_u32s(0); STREAMS];
        let (vectors, _) = S::as_simd_u32s(self.words);
        let (groups, _) = vectors.as_chunks::<STREAMS>();
        for group in groups {
            for (seen, vector) in seen.iter_mut().zip(group) {
                *seen = simd.add_u32s(*seen, *vector);
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
            let mut memory = Memory::new(3 * PIECE - 1, 1, pages).unwrap();
            assert_eq!(memory.bytes(), 3 * PIECE);
            let mut read = || {
                memory.parts[0].read(Arch::new());
                memory.parts[0].next / PIECE
            };
            assert_eq!([read(), read(), read(), read()], [1, 2, 0, 1]);
        }
    }

    #[test]
    fn memory_that_is_not_there_is_an_error() {
        assert!(Memory::new(usize::MAX / 2, 1, Pages::Huge).is_err());
    }
}
