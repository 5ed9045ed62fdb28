//! Many values as few marks: a picture of a million calls is a page that nobody can open.

/// Marks beyond which a chart gathers what it draws.
pub(super) const MOST_MARKS: usize = 2_000;

/// How many successive values stand behind one mark. 1: each has its own.
pub(super) fn per_mark(values: usize) -> usize {
    values.div_ceil(MOST_MARKS).max(1)
}

/// A title with what a mark stands for, where that is not one call.
pub(super) fn titled(title: &str, per_mark: usize, what: &str) -> String {
    told(per_mark, what).map_or_else(|| title.to_owned(), |told| format!("{title}, {told}"))
}

/// The same as a sentence of a description, after another. Empty: every mark is one call.
pub(super) fn drawn(per_mark: usize, what: &str) -> String {
    told(per_mark, what).map_or_else(String::new, |told| format!(" Drawn are {told}."))
}

/// What a mark stands for. `None`: one call.
fn told(per_mark: usize, what: &str) -> Option<String> {
    (per_mark > 1).then(|| format!("{what} of {per_mark} successive calls each"))
}

/// The mean of values. 0 of none.
#[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
pub(super) fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    values.sum::<f64>() / count
}

/// Values that share a mark on a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Gathered {
    /// Their mean.
    pub at: f64,
    /// How many there are.
    pub count: usize,
}

/// Gathers values that lie in the same of `places` equal parts of a range. Ascending.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a place in a picture"
)]
pub(super) fn on_a_line(values: impl Iterator<Item = f64>, (low, high): (f64, f64), places: usize) -> Vec<Gathered> {
    let mut sums = vec![(0.0, 0_usize); places.max(1)];
    let last = sums.len() - 1;
    let width = ((high - low) / sums.len() as f64).max(f64::MIN_POSITIVE);
    for value in values {
        let (sum, count) = &mut sums[(((value - low) / width) as usize).min(last)];
        *sum += value;
        *count += 1;
    }
    let taken = sums.into_iter().filter(|(_, count)| *count > 0);
    taken.map(|(sum, count)| Gathered { at: sum / count as f64, count }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_thousand_have_a_mark_each_and_more_share_them() {
        assert_eq!([0, 1, 2_000, 2_001, 300_000].map(per_mark), [1, 1, 1, 2, 150]);
    }

    #[test]
    fn what_lies_together_is_one_mark_and_nothing_is_left_out() {
        let found = on_a_line([0.0, 0.1, 0.2, 9.0, 10.0].into_iter(), (0.0, 10.0), 5);
        assert_eq!(found.iter().map(|gathered| gathered.count).collect::<Vec<_>>(), [3, 2]);
        assert!((found[0].at - 0.1).abs() < 1e-12 && found[1].at == 9.5, "{found:?}");
        let one_place = on_a_line([3.0, 3.0].into_iter(), (3.0, 3.0), 5);
        assert_eq!(one_place, [Gathered { at: 3.0, count: 2 }]);
    }
}
