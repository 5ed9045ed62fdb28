//! Multiplying and adding in registers.

use std::hint::black_box;
use std::time::Duration;

use pulp::{Arch, Simd, WithSimd};

use super::team;

/// Sums that grow side by side. A fused multiply-add takes four or five cycles and a processor begins two in each, so ten
/// keep it busy; with the two factors they fit into the 16 registers that the narrower vectors have.
const CHAINS: usize = 12;
/// Steps of every sum between two looks at the clock: about 10 µs.
const STEPS: usize = 4096;

/// Independent fused multiply-adds in f32.
#[derive(Debug)]
pub struct Compute {
    arch: Arch,
    workers: Vec<()>,
}

impl Compute {
    /// With a number of threads; 0 is taken for 1.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { arch: Arch::new(), workers: vec![(); threads.max(1)] }
    }

    /// Floating-point operations per second over `time`; a fused multiply-add is two.
    pub fn rate(&mut self, time: Duration) -> f64 {
        let arch = self.arch;
        team::rate(&mut self.workers, time, |()| arch.dispatch(Sums))
    }
}

struct Sums;

impl WithSimd for Sums {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        // Factors that the compiler cannot know, with which a sum stays near 1 for ever.
        let (factor, summand) = (simd.splat_f32s(black_box(0.999)), simd.splat_f32s(black_box(0.001)));
        let mut sums = [simd.splat_f32s(1.0); CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = simd.mul_add_e_f32s(*sum, factor, summand);
            }
        }
        black_box(sums);
        (2 * STEPS * CHAINS * S::F32_LANES) as f64
    }
}
