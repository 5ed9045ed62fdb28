//! Ranks of values, those that are equal sharing the mean of theirs.

/// The ranks of a sample.
pub(in crate::stats) struct Midranks {
    /// Rank of each value, from 1.
    pub(in crate::stats) ranks: Vec<f64>,
    /// Σ (t³ − t) over groups of t equal values; 0 without ties.
    pub(in crate::stats) ties: f64,
}

/// Ranks values that are all finite.
pub(in crate::stats) fn midranks(values: &[f64]) -> Midranks {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let (mut ranks, mut ties, mut before) = (vec![0.0; values.len()], 0.0, 0);
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let size = equal.len() as f64;
        let rank = before as f64 + (size + 1.0) / 2.0;
        for &place in equal {
            ranks[place] = rank;
        }
        ties += size * size * size - size;
        before += equal.len();
    }
    Midranks { ranks, ties }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_the_mean_of_their_ranks() {
        let found = midranks(&[3.0, 1.0, 3.0, 2.0, 3.0]);
        assert_eq!(found.ranks, [4.0, 1.0, 4.0, 2.0, 4.0]);
        assert_eq!(found.ties, 24.0);
        assert_eq!(midranks(&[0.0, -0.0]).ranks, [1.5, 1.5], "two zeros are one value");
    }
}
