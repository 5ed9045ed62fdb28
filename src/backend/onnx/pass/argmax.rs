//! Greedy choice of the next token on a view of the engine's logits: no copy, no allocation.

use half::f16;

/// Values looked at together: the largest of a block is found with vector instructions, and only the block
/// that holds the largest of all is searched for its place.
const BLOCK: usize = 1024;

/// Index of the largest value, the first of equals. `None`: no values, or a NaN among them.
#[must_use]
pub fn f32(values: &[f32]) -> Option<usize> {
    first_largest(values, f32::NEG_INFINITY, block_f32, |&value| value)
}

/// As [`f32()`], for half precision.
#[must_use]
pub fn f16(values: &[f16]) -> Option<usize> {
    first_largest(values, i16::MIN, block_f16, |&value| ordered(value))
}

fn first_largest<T, K: Copy + PartialOrd>(
    values: &[T],
    least: K,
    block: impl Fn(&[T]) -> Option<K>,
    key: impl Fn(&T) -> K,
) -> Option<usize> {
    let (mut largest, mut start) = (least, 0);
    for (i, part) in values.chunks(BLOCK).enumerate() {
        let here = block(part)?;
        if here > largest {
            (largest, start) = (here, i * BLOCK);
        }
    }
    let found = values[start..].iter().position(|value| key(value) == largest);
    found.map(|offset| start + offset)
}

/// Largest value of a block. `None`: a NaN.
fn block_f32(values: &[f32]) -> Option<f32> {
    const LANES: usize = 16;
    let mut largest = [f32::NEG_INFINITY; LANES];
    let mut nan = [0u32; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for lanes in whole {
        for i in 0..LANES {
            nan[i] |= u32::from(lanes[i].is_nan());
            // Not `f32::max`: its rules for NaN cost instructions, and NaN is looked for anyway.
            largest[i] = if lanes[i] > largest[i] { lanes[i] } else { largest[i] };
        }
    }
    for (i, value) in rest.iter().enumerate() {
        nan[i] |= u32::from(value.is_nan());
        largest[i] = largest[i].max(*value);
    }
    let any_nan = nan.iter().any(|&n| n != 0);
    (!any_nan).then(|| largest.into_iter().fold(f32::NEG_INFINITY, f32::max))
}

/// Largest value of a block as an ordered integer. `None`: a NaN.
fn block_f16(values: &[f16]) -> Option<i16> {
    const LANES: usize = 32;
    /// Infinity's bits; the magnitude of a NaN is above.
    const INFINITY: i16 = 0x7C00;
    let mut largest = [i16::MIN; LANES];
    let mut magnitude = [0i16; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for lanes in whole {
        for i in 0..LANES {
            largest[i] = largest[i].max(ordered(lanes[i]));
            magnitude[i] = magnitude[i].max((lanes[i].to_bits() & 0x7FFF).cast_signed());
        }
    }
    for (i, &value) in rest.iter().enumerate() {
        largest[i] = largest[i].max(ordered(value));
        magnitude[i] = magnitude[i].max((value.to_bits() & 0x7FFF).cast_signed());
    }
    let any_nan = magnitude.iter().any(|&m| m > INFINITY);
    (!any_nan).then(|| largest.into_iter().fold(i16::MIN, i16::max))
}

/// A half as an integer of the same order: processors without half arithmetic compare these.
fn ordered(value: f16) -> i16 {
    let bits = value.to_bits().cast_signed();
    bits ^ ((bits >> 15) & 0x7FFF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn agrees_with_a_plain_search() {
        for seed in 0..200 {
            let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            let length = random.random_range(1..5000);
            let values: Vec<f32> = (0..length).map(|_| random.random_range(-8.0..8.0)).collect();
            let mut expected = 0;
            for (i, value) in values.iter().enumerate() {
                if *value > values[expected] {
                    expected = i;
                }
            }
            assert_eq!(f32(&values), Some(expected), "seed {seed}");

            let halves: Vec<_> = values.iter().map(|v| f16::from_f32(*v)).collect();
            let mut expected = 0;
            for (i, value) in halves.iter().enumerate() {
                if *value > halves[expected] {
                    expected = i;
                }
            }
            assert_eq!(f16(&halves), Some(expected), "seed {seed}");
        }
    }

    #[test]
    fn the_first_of_equals_wins_and_signs_count() {
        assert_eq!(f32(&[-3.0, -1.0, -2.0, -1.0]), Some(1));
        assert_eq!(f32(&[f32::NEG_INFINITY; 3]), Some(0));
        assert_eq!(f16(&[-3.0, -1.0, -2.0, -1.0].map(f16::from_f32)), Some(1));
        assert_eq!(f16(&[f16::NEG_INFINITY; 3]), Some(0));
    }

    #[test]
    fn nan_and_nothing_have_no_largest() {
        let mut values = vec![0.0; 4000];
        values[3999] = f32::NAN;
        assert_eq!(f32(&values), None);
        values[3999] = 0.0;
        values[17] = -f32::NAN;
        assert_eq!(f32(&values), None);
        let halves: Vec<_> = values.iter().map(|v| f16::from_f32(*v)).collect();
        assert_eq!(f16(&halves), None);
        assert_eq!(f32(&[]), None);
        assert_eq!(f16(&[]), None);
    }
}
