//! How often anything is called different where nothing is: sessions of one run, split at random.

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
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
    /// Cells that were compared each time.
    pub cells: usize,
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
    let mut found = Null { sessions: indices.len(), cells: 0, splits, called: 0, different: 0, same: 0 };
    for seed in 0..splits {
        let mut shuffled = indices.clone();
        shuffled.shuffle(&mut ChaCha8Rng::seed_from_u64(u64::from(seed)));
        let half = &shuffled[..shuffled.len() / 2];
        let sides = Sides::of_halves(run, ("one half", "the other"), &|index| half.contains(&index));
        let rows = cells::rows(&sides, settings, None, &[])?;
        let any = |wanted: &[Verdict]| rows.iter().any(|cell| wanted.contains(&cell.row.verdict));
        let beyond = [Verdict::Slower, Verdict::Faster];
        found.called += u32::from(any(&beyond));
        found.different += u32::from(any(&beyond) || any(&[Verdict::SlowerExtentOpen, Verdict::FasterExtentOpen]));
        found.same += rows.iter().filter(|cell| cell.row.verdict == Verdict::Same).count() as u64;
        found.cells = rows.iter().filter(|cell| cell.effect.is_some()).count();
    }
    Ok(Some(found))
}
