//! How often anything is called different where nothing is: sessions of one run, split at random.

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use crate::stats::InputError;

use super::cells;
use super::side::{RunSide, Sides};
use super::verdict::{Settings, Verdict};

/// Sessions below which halves are too small to be compared.
pub const FEWEST_SESSIONS: usize = 4;

/// What came of many splits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Null {
    /// Sessions that were split.
    pub sessions: usize,
    /// Cells that were compared each time; where cells have different numbers of sessions, most at a time.
    pub cells: usize,
    /// Cells that were compared, over all splits.
    pub compared: u64,
    /// How many splits.
    pub splits: u32,
    /// Splits in which any cell was called slower or faster.
    pub called: u32,
    /// Splits in which any cell was called different by an extent that is open, or more.
    pub different: u32,
    /// Of all cells in all splits, how many were called the same.
    pub same: u64,
}

/// Splits the sessions of a run, seeded by the number of the split. `None`: fewer than four sessions.
///
/// # Errors
/// Never for what a run folder holds.
pub fn null(run: RunSide<'_>, splits: u32, settings: &Settings) -> Result<Option<Null>, InputError> {
    let all: BTreeSet<u32> = run.cells.iter().flat_map(|cell| cell.sessions.by_session.keys().copied()).collect();
    let indices: Vec<u32> = all.into_iter().collect();
    if indices.len() < FEWEST_SESSIONS {
        return Ok(None);
    }
    let one = |seed: u32| split(run, &indices, seed, settings);
    let all: Vec<Split> = (0..splits).into_par_iter().map(one).collect::<Result<_, _>>()?;
    let count =
        |of: fn(&Split) -> bool| u32::try_from(all.iter().filter(|split| of(split)).count()).unwrap_or(u32::MAX);
    Ok(Some(Null {
        sessions: indices.len(),
        cells: all.iter().map(|split| split.cells).max().unwrap_or(0),
        compared: all.iter().map(|split| split.cells as u64).sum(),
        splits,
        called: count(|split| split.called),
        different: count(|split| split.different),
        same: all.iter().map(|split| split.same).sum(),
    }))
}

/// What came of one split.
struct Split {
    cells: usize,
    called: bool,
    different: bool,
    same: u64,
}

fn split(run: RunSide<'_>, sessions: &[u32], seed: u32, settings: &Settings) -> Result<Split, InputError> {
    let mut shuffled = sessions.to_vec();
    shuffled.shuffle(&mut ChaCha8Rng::seed_from_u64(u64::from(seed)));
    let half = &shuffled[..shuffled.len() / 2];
    let sides = Sides::of_halves(run, ("one half", "the other"), &|index| half.contains(&index));
    let rows = cells::rows(&sides, settings, None, &[])?;
    Ok(Split {
        cells: rows.iter().filter(|cell| cell.effect.is_some()).count(),
        called: rows.iter().any(|cell| cell.row.verdict.is_called()),
        different: rows.iter().any(|cell| cell.row.verdict.is_different()),
        same: rows.iter().filter(|cell| cell.row.verdict == Verdict::Same).count() as u64,
    })
}
