//! How fast this machine reads memory and computes now: two kernels that use nothing of any engine.
//!
//! [`Memory`] reads a buffer in sequence at a few places, [`Compute`] multiplies and adds in registers; both with the widest vectors that the
//! processor has, found when the program runs. Each of several threads works for the time that is asked for, and what all
//! have done is divided by the time from the first one's begin to the last one's end.
//!
//! This is a crate of its own so that it is optimised in every profile.

mod compute;
mod memory;
mod team;

use std::time::Duration;

use pulp::{Arch, Simd, WithSimd};

pub use compute::Compute;
pub use memory::{Memory, Pages};

/// Shortest time for which a kernel says anything: starting threads takes a thousandth of it.
pub const SHORTEST: Duration = Duration::from_millis(30);

/// Width of the vectors that both kernels use here, in bits. 32: the processor has none that are known.
#[must_use]
pub fn vector_bits() -> usize {
    Arch::new().dispatch(Width)
}

struct Width;

impl WithSimd for Width {
    type Output = usize;

    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES * 32
    }
}
