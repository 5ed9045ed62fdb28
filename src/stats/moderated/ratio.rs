//! Ratios of cells that were measured in several sessions on two sides.

use std::collections::BTreeMap;

use super::prior::VariancePrior;
use super::{Cell, FEWEST_SESSIONS, Sessions, Within, deviations, independent_cells};
use crate::stats::InputError;
use crate::stats::log_estimate::LogEstimate;

/// A cell keeps its own variance where chance alone would put that of 1 cell in 100 so far above the prior's. Rarer than for
/// locations: here a cell that keeps it by chance is a change that is not found.
const BEYOND_PRIOR: f64 = 0.01;

/// Share of a session's calls that may have no counterpart on the other side, for calls to be held against those of the same round.
const MOST_WITHOUT: f64 = 0.25;

/// How many times longer a cell takes on the second side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SessionRatio {
    /// Second ÷ first, its standard error, and the degrees of freedom of that.
    pub ratio: LogEstimate,
    /// Variance of what is repeated: a session's mean logarithm, or a block's difference of two.
    pub variance: f64,
    /// Degrees of freedom of that variance which other cells lend it.
    pub lent_df: f64,
}

/// Ratios of two sides whose sessions do not pair; at least three sessions in all, of which a side may have one. Cells are
/// such as may share a prior; either side's sessions are taken to vary alike.
///
/// # Errors
/// For each cell by itself: fewer sessions, a session without values, a value not finite or not positive.
#[must_use]
pub fn unpaired(cells: &[(Sessions, Sessions)]) -> Vec<Result<SessionRatio, InputError>> {
    let alone: Vec<Result<Alone, InputError>> = cells.iter().map(|(a, b)| Alone::of_sides(a, b)).collect();
    moderate(alone)
}

/// Ratios of two sides that were measured in blocks, a session of each in every one, so that what slows both cancels: from block to
/// block, and where they took turns (`in_turns`) from round to round within one, for calls are in the order in which they were made.
/// Blocks with one side are left out.
///
/// # Errors
/// For each cell by itself: fewer than two blocks with both; else as [`unpaired`].
#[must_use]
pub fn paired(cells: &[(Sessions, Sessions)], in_turns: bool) -> Vec<Result<SessionRatio, InputError>> {
    let alone: Vec<Result<Alone, InputError>> = cells.iter().map(|(a, b)| Alone::of_blocks(a, b, in_turns)).collect();
    moderate(alone)
}

/// What a cell says by itself.
struct Alone {
    ln: f64,
    variance: f64,
    df: f64,
    /// Variance of the ratio's logarithm ÷ that of what is repeated.
    share: f64,
    /// The ratio as the calls within sessions alone would have it: it is never surer than that. `None`: no session has two
    /// calls.
    by_calls: Option<LogEstimate>,
    /// Deviations of what is repeated, by session: what cells of the same processes have in common.
    repeated: Vec<Cell>,
}

impl Alone {
    fn of_sides(a: &Sessions, b: &Sessions) -> Result<Self, InputError> {
        let sessions = a.len() + b.len();
        if a.is_empty() || b.is_empty() || sessions <= FEWEST_SESSIONS {
            return Err(InputError::TooFew { n: sessions, needed: FEWEST_SESSIONS + 1 });
        }
        let (a, b) = (Cell::of_any(a)?, Cell::of_any(b)?);
        let (n_a, n_b) = (a.means.len() as f64, b.means.len() as f64);
        let df = n_a + n_b - 2.0;
        Ok(Self {
            ln: b.mean - a.mean,
            variance: (a.squares() + b.squares()) / df,
            df,
            share: 1.0 / n_a + 1.0 / n_b,
            by_calls: b.by_calls().zip(a.by_calls()).map(|(b, a)| b.over(a)),
            repeated: vec![a, b],
        })
    }

    fn of_blocks(a: &Sessions, b: &Sessions, in_turns: bool) -> Result<Self, InputError> {
        let both = |side: &Sessions, other: &Sessions| -> Sessions {
            side.iter()
                .filter(|(index, _)| other.contains_key(index))
                .map(|(index, calls)| (*index, calls.clone()))
                .collect()
        };
        let (calls_a, calls_b) = (both(a, b), both(b, a));
        let (a, b) = (Cell::of(&calls_a)?, Cell::of(&calls_b)?);
        let ratios: BTreeMap<u32, Vec<f64>> =
            b.means.iter().filter_map(|(index, ln)| Some((*index, vec![(ln - a.means.get(index)?).exp()]))).collect();
        let blocks = Cell::of(&ratios)?;
        let n = blocks.means.len() as f64;
        let by_rounds = in_turns.then(|| within_rounds(&calls_a, &calls_b)).flatten();
        let by_rounds = by_rounds.map(|within| within.located(blocks.mean, blocks.means.len()));
        Ok(Self {
            ln: blocks.mean,
            variance: blocks.squares() / (n - 1.0),
            df: n - 1.0,
            share: 1.0 / n,
            by_calls: by_rounds.or_else(|| b.by_calls().zip(a.by_calls()).map(|(b, a)| b.over(a))),
            repeated: vec![blocks],
        })
    }

    fn with(&self, variance: f64, df: f64) -> SessionRatio {
        let by_sessions = LogEstimate { ln: self.ln, standard_error: (variance * self.share).sqrt(), df };
        let ratio = self.by_calls.map_or(by_sessions, |by_calls| by_sessions.or_wider(by_calls));
        let variance = ratio.standard_error.powi(2) / self.share;
        SessionRatio { ratio, variance, lent_df: (ratio.df - self.df).max(0.0) }
    }
}

impl Cell {
    fn squares(&self) -> f64 {
        self.deviations().iter().map(|d| d * d).sum()
    }

    /// Where the cell lies as the calls within its sessions alone would have it.
    fn by_calls(&self) -> Option<LogEstimate> {
        Some(self.within.as_ref()?.located(self.mean, self.means.len()))
    }
}

/// What calls vary by against those that the other side made in the same round. What hits both has no part in that, nor has the
/// likeness of neighbours that comes of it: how much a round repeats the one before, it has to show by itself. `None`: no block has two rounds, or
/// too many calls of one have no counterpart.
fn within_rounds(a: &Sessions, b: &Sessions) -> Option<Within> {
    let mut blocks = Vec::with_capacity(a.len());
    for (index, calls_a) in a {
        let calls_b = b.get(index)?;
        let (n_a, n_b) = (calls_a.len() as f64, calls_b.len() as f64);
        if (n_a - n_b).abs() > MOST_WITHOUT * n_a.max(n_b) {
            return None;
        }
        let rounds: Vec<f64> = calls_a.iter().zip(calls_b).map(|(a, b)| (b / a).ln()).collect();
        blocks.push(deviations(&rounds));
    }
    Within::of(&blocks, 0.0)
}

/// Lends each cell what the others know of the variance.
fn moderate(cells: Vec<Result<Alone, InputError>>) -> Vec<Result<SessionRatio, InputError>> {
    let usable: Vec<&Alone> = cells.iter().flatten().collect();
    let variances: Vec<(f64, f64)> = usable.iter().map(|cell| (cell.variance, cell.df)).collect();
    let prior = VariancePrior::of(&variances);
    // Cells of the same processes repeat each other, and know no more together than so many that do not.
    let repeated: Vec<&Cell> = usable.iter().filter_map(|cell| cell.repeated.first()).collect();
    let repeats = (repeated.len() as f64 / independent_cells(&repeated).max(1.0)).max(1.0);
    let most_df = variances.iter().map(|(_, df)| df).sum::<f64>() / repeats;
    let moderated = |cell: &Alone| match &prior {
        Some(prior) if !prior.is_exceeded(cell.variance, cell.df, BEYOND_PRIOR) => {
            cell.with(prior.posterior(cell.variance, cell.df), (prior.df + cell.df).min(most_df).max(cell.df))
        }
        _ => cell.with(cell.variance, cell.df),
    };
    cells.iter().map(|cell| cell.as_ref().map(moderated).map_err(Clone::clone)).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn sessions(logs: &[f64]) -> Sessions {
        logs.iter().zip(0..).map(|(ln, index)| (index, vec![ln.exp()])).collect()
    }

    /// One cell has nobody to lend it anything: Student's t of two samples, and of differences.
    #[test]
    fn one_cell_is_judged_by_itself() {
        let (a, b) = (sessions(&[0.0, 0.02, 0.04]), sessions(&[0.10, 0.13, 0.13]));
        let found = unpaired(&[(a.clone(), b.clone())])[0].clone().unwrap();
        assert!((found.ratio.ln - 0.10).abs() < 1e-12 && found.ratio.df == 4.0, "{found:?}");
        let variance = (0.0008 + 0.0006) / 4.0;
        assert!((found.variance - variance).abs() < 1e-12 && found.lent_df == 0.0, "{found:?}");
        assert!((found.ratio.standard_error.powi(2) - variance * 2.0 / 3.0).abs() < 1e-12, "{found:?}");
        let found = paired(&[(a.clone(), b.clone())], false)[0].clone().unwrap();
        assert!((found.ratio.ln - 0.10).abs() < 1e-12 && found.ratio.df == 2.0, "{found:?}");
        assert!((found.variance - 0.0001).abs() < 1e-12, "{found:?}");
        assert!(unpaired(&[(sessions(&[0.0]), sessions(&[0.1]))])[0].is_err());
        assert!(paired(&[(sessions(&[0.0, 0.1]), sessions(&[0.1]))], false)[0].is_err());
        // A single session against three: how such differ, the three know.
        let found = unpaired(&[(sessions(&[0.0]), b)])[0].clone().unwrap();
        assert!(found.ratio.df == 2.0 && (found.variance - 0.0003).abs() < 1e-12, "{found:?}");
    }

    /// A side whose calls are off by `own` in every session, and by what hits both sides, times `hit`.
    fn side(own: [f64; 5], shift: f64, hit: f64) -> Sessions {
        let shared = [0.0, 0.4, 0.8, 0.5, 0.1];
        let mut sessions = Sessions::new();
        for (level, index) in [0.0, 0.01, -0.01].into_iter().zip(0..) {
            let calls = own.into_iter().zip(shared).map(|(own, shared)| (shift + level + own + hit * shared).exp());
            sessions.insert(index, calls.collect());
        }
        sessions
    }

    /// What hits both sides in a round is in neither a block's difference nor what its calls imply of it.
    #[test]
    fn what_hits_both_sides_within_a_block_cancels() {
        let sides = |hit: f64| {
            let a = side([0.01, -0.02, 0.02, 0.0, -0.01], 0.0, hit);
            (a, side([0.0, 0.02, -0.01, -0.02, 0.01], 0.1, hit))
        };
        let quiet = paired(&[sides(0.0)], true)[0].clone().unwrap();
        let hit = paired(&[sides(1.0)], true)[0].clone().unwrap();
        assert!((hit.ratio.ln - quiet.ratio.ln).abs() < 1e-12, "{hit:?} {quiet:?}");
        assert!((hit.ratio.standard_error - quiet.ratio.standard_error).abs() < 1e-12, "{hit:?} {quiet:?}");
        // Blocks agree wholly here, so that what calls vary by is all that is left of the error.
        assert!(quiet.ratio.standard_error > 0.005, "{quiet:?}");
        // Without counterparts either side has its own error, and the drift is in both.
        let (a, mut b) = sides(1.0);
        for calls in b.values_mut() {
            calls.truncate(3);
        }
        let apart = paired(&[(a, b)], true)[0].clone().unwrap();
        assert!(apart.ratio.standard_error > 10.0 * hit.ratio.standard_error, "{apart:?} {hit:?}");
    }

    #[test]
    fn cells_lend_each_other_and_one_that_is_far_noisier_borrows_nothing() {
        let quiet = |shift: f64, turn: f64| {
            (sessions(&[0.0, 0.02 * turn, -0.02]), sessions(&[shift, shift - 0.02, shift + 0.02 * turn]))
        };
        let mut cells: Vec<(Sessions, Sessions)> =
            (0..12).map(|cell| quiet(0.05, 1.0 + 0.02 * f64::from(cell))).collect();
        let alone = unpaired(&cells[..1])[0].clone().unwrap();
        let among = unpaired(&cells)[0].clone().unwrap();
        assert!(among.lent_df > 0.0 && among.ratio.df > alone.ratio.df, "{among:?}");
        cells.push((sessions(&[0.0, 0.5, -0.5]), sessions(&[0.1, -0.4, 0.6])));
        let noisy = unpaired(&cells)[12].clone().unwrap();
        assert!(noisy.lent_df == 0.0 && noisy.variance > 0.2, "{noisy:?}");
    }
}
