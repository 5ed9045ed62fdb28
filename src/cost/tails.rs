//! How long the slow ones among an engine's calls take.

use std::collections::HashMap;
use std::sync::Arc;

use crate::analysis::{CellKey, MetricRow, SummaryRow};
use crate::stats::summary::{P95_NEEDS, quantile};
use crate::terms::Mode;

/// The calls of an engine's cells, each ÷ its cell's location, by phase and cell.
#[derive(Debug, Clone, Default)]
pub struct Tails {
    prefill: Vec<Vec<f64>>,
    decode: Vec<Vec<f64>>,
}

impl Tails {
    /// How many times as long as its cell's location a call takes that so many percent of the calls do not exceed, in prefill
    /// and in decode, in the cell where that is most. Below the 95th percentile it is that of the 95th: which of its calls a
    /// request of a mix meets is not known.
    ///
    /// # Errors
    /// A cell has too few calls for that percentile, in words.
    pub fn at(&self, percentile: f64) -> Result<(f64, f64), String> {
        let percentile = percentile.max(95.0);
        let share = percentile / 100.0;
        let needed = calls_for(share);
        let fewest = self.prefill.iter().chain(&self.decode).map(Vec::len).min().unwrap_or_default();
        if fewest < needed {
            return Err(format!(
                "a cell has {fewest} calls, and {needed} are needed to know its {percentile}th percentile"
            ));
        }
        let largest = |cells: &[Vec<f64>]| cells.iter().filter_map(|calls| quantile(calls, share)).reduce(f64::max);
        largest(&self.prefill).zip(largest(&self.decode)).ok_or_else(|| "a phase has no calls".to_owned())
    }
}

/// Fewest calls of which one is expected beyond a quantile, as the tables have it: 20 for 0.95, 100 for 0.99, 1000 for 0.999.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share below 1 makes a positive count")]
fn calls_for(share: f64) -> usize {
    // What is whole but for the last digits of a division is whole.
    let expected = (1.0 / (1.0 - share) * (1.0 - 1e-9)).ceil() as usize;
    expected.max(P95_NEEDS)
}

/// The pooled calls of many cells, each ÷ its cell's location.
pub(super) struct PooledCalls(HashMap<Place, Vec<f64>>);

/// A cell as it was measured, by where a row has its key, in one mode.
type Place = (*const CellKey, Mode);

fn place(row: &SummaryRow) -> Place {
    (Arc::as_ptr(&row.key), row.mode)
}

impl PooledCalls {
    /// Of rows that have a location, in one pass over all calls.
    pub(super) fn of(rows: &[&SummaryRow], calls: &[MetricRow]) -> Self {
        let mut found: HashMap<Place, Vec<f64>> = HashMap::new();
        // Rows of one cell share their key: a million of them need not look for the cell by name.
        let mut known: HashMap<Place, Option<&SummaryRow>> = HashMap::new();
        for call in calls {
            let find = || {
                let same = |row: &&&SummaryRow| row.mode == call.mode && row.key == call.key;
                rows.iter().find(same).copied()
            };
            let row = *known.entry((Arc::as_ptr(&call.key), call.mode)).or_insert_with(find);
            let Some((row, location)) = row.filter(|row| row.pools(call)).and_then(|row| Some((row, row.location_ms?)))
            else {
                continue;
            };
            found.entry(place(row)).or_default().extend(call.latency_ms.map(|ms| ms / location));
        }
        Self(found)
    }

    /// The tails of an engine with these cells.
    pub(super) fn tails(&self, prefill: &[&SummaryRow], decode: &[&SummaryRow]) -> Tails {
        let of = |rows: &[&SummaryRow]| -> Vec<Vec<f64>> {
            rows.iter().map(|row| self.0.get(&place(row)).cloned().unwrap_or_default()).collect()
        };
        Tails { prefill: of(prefill), decode: of(decode) }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn calls(n: usize) -> Vec<f64> {
        (0..n).map(|call| if call % 50 == 0 { 3.0 } else { 1.0 }).collect()
    }

    /// One call in fifty takes three times as long: a 99th percentile that was known from 20 calls would not hold it.
    #[test]
    fn a_percentile_needs_calls_beyond_it_and_is_that_of_the_calls() {
        let of = |n: usize| Tails { prefill: vec![calls(n), calls(2000)], decode: vec![calls(n)] };
        for (percentile, needed) in [(50.0, 20), (95.0, 20), (98.0, 50), (99.0, 100), (99.9, 1000)] {
            assert!(of(needed).at(percentile).is_ok(), "{percentile}");
            assert!(of(needed - 1).at(percentile).unwrap_err().contains(&format!("and {needed} are needed")));
        }
        let of = of(1000);
        assert_eq!(of.at(95.0).unwrap(), (1.0, 1.0));
        assert_eq!(of.at(99.0).unwrap(), (3.0, 3.0));
        assert_eq!(of.at(50.0), of.at(95.0));
        assert_eq!(
            Tails { decode: vec![calls(20)], ..of }.at(99.5).unwrap_err(),
            "a cell has 20 calls, and 200 are needed to know its 99.5th percentile"
        );
    }
}
