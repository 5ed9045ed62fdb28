//! Sessions that fall into two groups: a process is fast or slow as a whole.

/// Sessions from which on two groups can be told from scatter.
const FEWEST: usize = 6;
/// How many times wider than either group the gap between them must be.
const WIDER: f64 = 3.0;

/// Two groups of sessions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clusters {
    /// Sessions of the faster group.
    pub fast: usize,
    /// Sessions of the slower one.
    pub slow: usize,
    /// Mean of the slower ÷ mean of the faster.
    pub ratio: f64,
}

/// Two groups among mean logarithms of sessions: at least two in each, the gap between them at least three times as wide as
/// either group, and beyond the margin. `None`: no such groups, or fewer than six sessions.
#[must_use]
pub fn clusters(logs: &[f64], margin: f64) -> Option<Clusters> {
    let mut sorted = logs.to_vec();
    sorted.sort_by(f64::total_cmp);
    if sorted.len() < FEWEST {
        return None;
    }
    let gap_below = |place: usize| sorted[place] - sorted[place - 1];
    let place = (2..sorted.len() - 1).max_by(|&a, &b| gap_below(a).total_cmp(&gap_below(b)))?;
    let (fast, slow) = sorted.split_at(place);
    let width = |group: &[f64]| group[group.len() - 1] - group[0];
    let gap = gap_below(place);
    if gap < WIDER * width(fast).max(width(slow)) || gap < margin.ln() {
        return None;
    }
    let mean = |group: &[f64]| group.iter().sum::<f64>() / group.len() as f64;
    Some(Clusters { fast: fast.len(), slow: slow.len(), ratio: (mean(slow) - mean(fast)).exp() })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;

    #[test]
    fn two_kinds_of_processes_are_seen() {
        let logs = [0.0, 0.005, 0.2, 0.21, -0.004, 0.205];
        let found = clusters(&logs, 1.03).unwrap();
        assert_eq!((found.fast, found.slow), (3, 3));
        assert!((found.ratio - 0.204_666_f64.exp()).abs() < 1e-5, "{found:?}");
        assert_eq!(clusters(&logs[..5], 1.03), None);
        assert_eq!(clusters(&logs.map(|ln| ln / 10.0), 1.03), None);
    }

    /// Seeds 0 to 4999.
    #[test]
    fn scatter_is_seldom_taken_for_two_kinds() {
        for n in [6, 10, 20] {
            let alarm = |seed: &u64| {
                let mut rng = ChaCha8Rng::seed_from_u64(*seed);
                let logs: Vec<f64> = (0..n).map(|_| StandardNormal.sample(&mut rng)).collect();
                clusters(&logs, 1.03).is_some()
            };
            let alarms = (0..5000).filter(alarm).count();
            assert!(alarms < 100, "{n} sessions: {alarms} of 5000");
        }
    }
}
