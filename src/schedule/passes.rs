//! Sessions spread over the run: pass 0 makes the first session of everything, pass 1 the second, and so on. In each pass
//! what is measured together comes in another random order, and never first what came last in the pass before, where there is
//! a choice.

use crate::hash::seeded;

/// For every pass the place of each of so many `units`, from 0.
pub(super) fn places(seed: u64, passes: u32, units: usize) -> Vec<Vec<u64>> {
    let mut all = Vec::new();
    let mut last = None;
    for pass in 0..passes {
        let mut order: Vec<usize> = (0..units).collect();
        order.sort_by_key(|&unit| (seeded(seed, &["pass", &pass.to_string(), &unit.to_string()]), unit));
        if units > 1 && order.first() == last.as_ref() {
            order.swap(0, 1);
        }
        last = order.last().copied();
        let mut of_unit = vec![0; units];
        for (place, &unit) in order.iter().enumerate() {
            of_unit[unit] = place as u64;
        }
        all.push(of_unit);
    }
    all
}

/// For every pass the place of each unit: drawn anew for every pair of passes, and backwards in the second of the two, so
/// that no unit is before another in more passes than after it but one. `drawn` gives the places of the pair of this number.
pub(super) fn there_and_back(passes: u32, drawn: impl Fn(u32) -> Vec<u64>) -> Vec<Vec<u64>> {
    let of_pass = |pass: u32| -> Vec<u64> {
        let places = drawn(pass / 2);
        let last = (places.len() as u64).saturating_sub(1);
        if pass.is_multiple_of(2) { places } else { places.into_iter().map(|place| last - place).collect() }
    };
    (0..passes).map(of_pass).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_first_comes_last_in_the_next_pass() {
        let drawn = |pair: u32| if pair == 0 { vec![2, 0, 1] } else { vec![0, 1, 2] };
        assert_eq!(there_and_back(3, drawn), [[2, 0, 1], [0, 2, 1], [0, 1, 2]]);
        assert_eq!(there_and_back(2, |_| Vec::new()), [[0_u64; 0]; 2]);
    }

    #[test]
    fn no_unit_is_measured_twice_in_a_row() {
        for seed in 0..50 {
            for units in 1..6 {
                let places = places(seed, 6, units);
                for pass in &places {
                    let mut sorted = pass.clone();
                    sorted.sort_unstable();
                    assert_eq!(sorted, (0..units as u64).collect::<Vec<_>>(), "seed {seed}, {units} units");
                }
                let at = |pass: &Vec<u64>, place: u64| pass.iter().position(|&p| p == place);
                for pair in places.windows(2).filter(|_| units > 1) {
                    let (last, first) = (at(&pair[0], units as u64 - 1), at(&pair[1], 0));
                    assert_ne!(last, first, "seed {seed}, {units} units");
                }
            }
        }
    }
}
