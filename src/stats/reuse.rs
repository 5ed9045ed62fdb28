//! Whether work was done or found done: durations of the same work held against what both are known to take.
//!
//! Stalls make a duration longer and never shorter, so nothing is judged by how long others took at most or usually:
//! of work that cannot have been found done the *fastest* tells what doing it takes, however many of the others
//! stalled. All durations are judged together, and again when more are known; the order in which they came means
//! nothing.

use std::collections::BTreeMap;

use super::summary::median;

/// Both must be at least this far apart to be told from each other, as a ratio.
const TOLD_APART: f64 = 2.0;

/// Durations of done work that must be known.
const FEWEST: usize = 2;

/// Work that was asked for before shows that it was done by taking at least this share of the fastest that was, …
const LEAST_OF_FASTEST: f64 = 0.8;

/// … and at most so much of what it usually takes: what was found done may have stalled as long.
const MOST_OF_USUAL: f64 = 1.25;

/// What was found done takes at most so much longer than the repeat that measured it, unless it stalled.
const SLOWEST_OF_REPEAT: f64 = 1.5;

/// One piece of work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Piece {
    /// How much it is, e.g. tokens of a prompt.
    pub size: u32,
    /// How long it took. Unit: milliseconds.
    pub ms: f64,
    /// Whether it may have been found done. False: it was never asked for before.
    pub asked_before: bool,
}

/// What a piece's duration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was done, or nothing speaks against it.
    Done,
    /// It was never asked for before, and took as long as what is found done. It counts.
    Suspect,
    /// It was asked for before, and its duration does not show that it was done again.
    Reused,
}

/// Judges all pieces together. `repeats`: durations of work that was asked for again on purpose at once, each in
/// milliseconds; their fastest tells what finding it done takes. Empty: that is not known.
#[must_use]
pub fn judge(repeats: &[f64], pieces: &[Piece]) -> Vec<Verdict> {
    pieces.iter().map(|piece| judge_one(repeats, piece, pieces)).collect()
}

/// As [`judge`], one of them; `all` holds it too.
#[must_use]
pub fn judge_one(repeats: &[f64], piece: &Piece, all: &[Piece]) -> Verdict {
    let repeat = shortest(repeats);
    let done = shortest_done(piece, all);
    let known = repeat.zip(done).filter(|(repeat, done)| *done >= TOLD_APART * repeat);
    if piece.asked_before {
        let shown = known.is_some_and(|(_, done)| {
            piece.ms >= LEAST_OF_FASTEST * done && piece.ms <= MOST_OF_USUAL * usual_done(piece, all).max(done)
        });
        return if shown { Verdict::Done } else { Verdict::Reused };
    }
    // The piece itself was done, so it is among the fastest; the others say what is usual.
    let others = usual_done(piece, all);
    let suspect = repeat
        .is_some_and(|repeat| piece.ms <= SLOWEST_OF_REPEAT * repeat && piece.ms * TOLD_APART * TOLD_APART <= others);
    if suspect { Verdict::Suspect } else { Verdict::Done }
}

/// What doing a piece takes at least: as long as the fastest of its size that was done, or of fewer. `None`: too few
/// are known.
#[must_use]
pub fn shortest_done(piece: &Piece, all: &[Piece]) -> Option<f64> {
    let done = || all.iter().filter(|other| !other.asked_before && other.size <= piece.size);
    if done().count() < FEWEST {
        return None;
    }
    let mut of_size: BTreeMap<u32, f64> = BTreeMap::new();
    for other in done() {
        let fastest = of_size.entry(other.size).or_insert(other.ms);
        *fastest = fastest.min(other.ms);
    }
    of_size.into_values().reduce(f64::max)
}

/// What doing a piece of this size usually takes; 0 where none was done.
fn usual_done(piece: &Piece, all: &[Piece]) -> f64 {
    let same = all.iter().filter(|other| !other.asked_before && other.size == piece.size);
    median(&same.map(|other| other.ms).collect::<Vec<_>>()).unwrap_or(0.0)
}

/// The shortest of these durations. `None`: there are none.
#[must_use]
pub fn shortest(times: &[f64]) -> Option<f64> {
    times.iter().copied().reduce(f64::min)
}

#[cfg(test)]
mod tests;
