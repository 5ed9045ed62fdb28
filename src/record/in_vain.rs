//! When making a disturbed call again has stopped to help.

use std::collections::BTreeMap;

use crate::terms::Disturbed;

/// After so many timed calls in a row that were disturbed in every try, the next one is made once.
const MOST_IN_VAIN: u32 = 4;

/// Timed calls in a row that were disturbed in every try: of a whole run, and of each of its cells. Where a load stays, or
/// something slows one cell each time, further tries find what the first one found, and only take time.
///
/// It says nothing for good: a call that nothing disturbed ends the row, so every call is made again that may profit. And
/// nothing of how long a call took enters into it, so that it favours no result.
#[derive(Debug, Clone)]
pub struct InVain<C> {
    rule: Disturbed,
    all: u32,
    cells: BTreeMap<C, u32>,
}

impl<C: Ord> InVain<C> {
    /// No call was made yet.
    #[must_use]
    pub fn new(rule: Disturbed) -> Self {
        Self { rule, all: 0, cells: BTreeMap::new() }
    }

    /// Takes a timed call of a cell that is not made again.
    pub fn take(&mut self, cell: C, disturbed: bool) {
        let of_cell = self.cells.entry(cell).or_default();
        for row in [&mut self.all, of_cell] {
            *row = if disturbed { row.saturating_add(1) } else { 0 };
        }
    }

    /// How many in a row come before a call of this cell, where they are so many that it is made once, whatever disturbs it.
    /// `None`: it may be made again.
    #[must_use]
    pub fn before(&self, cell: &C) -> Option<u32> {
        let row = self.all.max(self.cells.get(cell).copied().unwrap_or(0));
        (self.rule.retry > 0 && row >= MOST_IN_VAIN).then_some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Nanos;

    fn rule(retry: u32) -> Disturbed {
        Disturbed { retry, foreign_cpu: 0.1, wait_quiet_ns: Nanos(0) }
    }

    #[test]
    fn a_load_that_stays_ends_the_tries_of_all_cells_until_it_goes() {
        let mut row = InVain::new(rule(2));
        for n in 0..10 {
            assert_eq!(row.before(&(n % 3)), (n >= 4).then_some(n));
            row.take(n % 3, true);
        }
        row.take(0, false);
        assert_eq!([0, 1, 2].map(|cell| row.before(&cell)), [None; 3], "one quiet call, and every cell may try again");
    }

    #[test]
    fn what_slows_one_cell_each_time_ends_the_tries_of_that_one() {
        let mut row = InVain::new(rule(1));
        for _ in 0..4 {
            row.take("slowed", true);
            row.take("other", false);
        }
        assert_eq!((row.before(&"slowed"), row.before(&"other")), (Some(4), None));
        row.take("slowed", false);
        assert_eq!(row.before(&"slowed"), None);
    }

    #[test]
    fn where_nothing_is_made_again_nothing_is_in_vain() {
        let mut row = InVain::new(rule(0));
        (0..9).for_each(|_| row.take(0, true));
        assert_eq!(row.before(&0), None);
    }
}
