//! Spearman's rank correlation: does y rise with x, whatever the shape?

use crate::stats::{InputError, rankable, student};

/// Up to this many points the permutation p value is counted out: 362 880 orders at 9.
pub const EXACT_UP_TO: usize = 9;

/// Rank correlation of two columns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spearman {
    /// How many points.
    pub n: usize,
    /// ρ, −1 to 1; ties share their average rank.
    pub rho: f64,
    /// Two-sided p by Student's t with n−2 degrees of freedom; rough for few points.
    pub p_t: f64,
    /// Two-sided p over all orders of y. `None`: more than [`EXACT_UP_TO`] points.
    pub p_exact: Option<f64>,
}

/// Spearman's ρ of y against x.
///
/// # Errors
/// Fewer than 3 points, columns of different length, a value that is not finite, a constant column.
pub fn spearman(x: &[f64], y: &[f64]) -> Result<Spearman, InputError> {
    rankable(x, y, 3)?;
    let n = x.len();
    let (rank_x, mut rank_y) = (doubled_ranks(x), doubled_ranks(y));
    let covariance = excess(product(&rank_x, &rank_y), n);
    let spread = |ranks: &[i64]| excess(product(ranks, ranks), n) as f64;
    let rho = covariance as f64 / (spread(&rank_x) * spread(&rank_y)).sqrt();
    let rho = rho.clamp(-1.0, 1.0);
    let df = (n - 2) as f64;
    let t = rho * (df / (1.0 - rho * rho)).sqrt();
    let p_t = student::two_sided_p(t, df).ok_or(InputError::TooFew { n, needed: 3 })?;
    let p_exact = (n <= EXACT_UP_TO).then(|| permutation_p(&rank_x, &mut rank_y, covariance.abs()));
    Ok(Spearman { n, rho, p_t, p_exact })
}

/// Twice the average rank of every value: whole numbers, so that permutations compare exactly.
fn doubled_ranks(values: &[f64]) -> Vec<i64> {
    let count = |test: &dyn Fn(&f64) -> bool| values.iter().filter(|v| test(v)).count() as i64;
    values.iter().map(|own| 2 * count(&|v| v < own) + count(&|v| v == own) + 1).collect()
}

fn product(a: &[i64], b: &[i64]) -> i64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A sum of products of doubled ranks, less what it would be on average over all orders.
fn excess(product: i64, n: usize) -> i64 {
    let n = n as i64;
    product - n * (n + 1) * (n + 1)
}

/// Share of the orders of y whose covariance with x is at least as far from 0 (Heap's algorithm, which
/// exchanges two values at a time).
fn permutation_p(rank_x: &[i64], rank_y: &mut [i64], observed: i64) -> f64 {
    let n = rank_y.len();
    let mut covariance = excess(product(rank_x, rank_y), n);
    let (mut as_far, mut orders) = (1_u64, 1_u64);
    let mut counters = vec![0; n];
    let mut i = 1;
    while i < n {
        if counters[i] < i {
            let j = if i % 2 == 0 { 0 } else { counters[i] };
            covariance += (rank_x[i] - rank_x[j]) * (rank_y[j] - rank_y[i]);
            rank_y.swap(i, j);
            orders += 1;
            as_far += u64::from(covariance.abs() >= observed);
            counters[i] += 1;
            i = 1;
        } else {
            counters[i] = 0;
            i += 1;
        }
    }
    as_far as f64 / orders as f64
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn perfect_order_has_the_p_of_two_orders_in_n_factorial() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0];
        let rising = spearman(&x, &[1.0, 8.0, 27.0, 64.0, 125.0]).unwrap();
        assert_eq!((rising.rho, rising.p_t, rising.p_exact), (1.0, 0.0, Some(2.0 / 120.0)));
        let falling = spearman(&x, &[5.0, 4.0, 3.0, 2.0, 1.0]).unwrap();
        assert_eq!(falling.rho, -1.0);
    }

    #[test]
    fn ties_share_the_average_rank() {
        assert_eq!(doubled_ranks(&[3.0, 1.0, 3.0, 2.0]), [7, 2, 7, 4]);
    }

    /// Ranks need no squares.
    #[test]
    fn values_may_be_as_small_or_as_large_as_numbers_are() {
        for by in [1e-300, 1.0, 1e300] {
            let x = [1.0, 2.0, 3.0, 4.0].map(|value| by * value);
            let found = spearman(&x, &[2.0, 1.0, 3.0, 4.0]).unwrap();
            assert!((found.rho - 0.8).abs() < 1e-12, "{by}: {}", found.rho);
        }
        let endless = [1.0, 2.0, f64::INFINITY];
        let refused = InputError::NotFinite { axis: "x", index: 2, value: f64::INFINITY };
        assert_eq!(spearman(&endless, &endless), Err(refused));
        assert_eq!(spearman(&[1e-300; 3], &[1.0, 2.0, 3.0]), Err(InputError::Constant { axis: "x" }));
    }

    #[test]
    fn ten_points_have_no_exact_p() {
        let x: Vec<f64> = (0..10).map(f64::from).collect();
        assert_eq!(spearman(&x, &x).unwrap().p_exact, None);
        assert!(spearman(&x, &[4.0; 10]).is_err());
    }
}
