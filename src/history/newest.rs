//! The newest run against those before it, cell by cell.

use std::collections::BTreeMap;

use crate::stats::log_estimate::LogEstimate;
use crate::stats::moderated::Sessions;
use crate::stats::moderated::ratio::unpaired;
use crate::stats::multiplicity::holm;
use crate::terms::Mode;

use super::cells::{self, Point, Series};
use super::side_by_side::History;

/// Chance that any cell of a run is named where nothing changed.
const ALPHA: f64 = 0.05;

/// The runs of a level, and the newest one.
type Sides = (Sessions, Sessions);

/// A cell of the newest run against its level before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Newest {
    /// Its latency ÷ the level's.
    pub ratio: f64,
    /// p of its being a run of that level, corrected for all cells (Holm).
    pub p: f64,
    /// Whether it may be one.
    pub within: bool,
}

impl History {
    /// Every cell of the newest run against the runs before it at the cell's last level, which tell how much those differ: cells of
    /// one backend and mode lend each other what they know of it. Empty: of no stack there are enough runs, or no earlier run has
    /// a cell of the newest.
    #[must_use]
    pub fn newest(&self) -> Vec<(&Series, Newest)> {
        if self.noise.is_none() {
            return Vec::new();
        }
        let mut groups: BTreeMap<(&str, Mode), Vec<(&Series, Sides)>> = BTreeMap::new();
        for series in &self.series {
            if let Some(sides) = sides(series, self.runs.len()) {
                groups.entry((&series.cell.backend, series.cell.mode)).or_default().push((series, sides));
            }
        }
        let mut found: Vec<(&Series, LogEstimate)> = Vec::new();
        for group in groups.into_values() {
            let (series, sides): (Vec<&Series>, Vec<_>) = group.into_iter().unzip();
            let known = series.into_iter().zip(unpaired(&sides));
            found.extend(known.filter_map(|(series, ratio)| Some((series, ratio.ok()?.ratio))));
        }
        let p: Vec<f64> = found.iter().map(|(_, ratio)| ratio.p_of(1.0).unwrap_or(1.0)).collect();
        // Every p is one.
        let corrected = holm(&p).unwrap_or(p);
        let judged = found.into_iter().zip(corrected);
        judged.map(|((series, ratio), p)| (series, Newest { ratio: ratio.value(), p, within: p > ALPHA })).collect()
    }
}

/// A cell's runs before the newest at its last level, and the newest, which has no part in the level that it is held against.
/// `None`: the newest of so many runs has not the cell, or no earlier one has.
fn sides(series: &Series, runs: usize) -> Option<Sides> {
    let (last, earlier) = series.points.split_last()?;
    let level = cells::last_level(earlier).filter(|_| last.run + 1 == runs)?;
    let of_level = earlier.iter().filter(|point| point.run >= level.first_run);
    Some((of_level.map(session).collect(), Sessions::from([session(last)])))
}

/// A run as the unit that is repeated.
fn session(point: &Point) -> (u32, Vec<f64>) {
    (u32::try_from(point.run).unwrap_or(u32::MAX), vec![point.ms])
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    use crate::comparison::CellName;
    use crate::history::{Noise, RunInHistory};

    use super::*;

    /// Eight runs of one level and a newest one, over cells whose runs differ by `sd`. `factor`: by how much the first cell of
    /// the newest is slower.
    fn history(seed: u64, sd: &[f64], factor: f64) -> History {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
        let run = |number: u64| RunInHistory {
            folder: number.to_string(),
            started_unix_ns: number,
            stack_sha256: String::new(),
            finished: true,
        };
        let mut series = Vec::new();
        for (number, sd) in sd.iter().enumerate() {
            let cell = CellName {
                backend: "b".to_owned(),
                model: format!("m{number}"),
                weights_id: String::new(),
                dtype: "f32".to_owned(),
                scenario: "s".to_owned(),
                batch: 1,
                prompt_tokens: None,
                gen_tokens: 1,
                mode: Mode::Prefill,
                early_stop: None,
                scripted: false,
                clock: None,
                boundary: None,
                imported_from: None,
            };
            let moved = |run: usize| if (run, number) == (8, 0) { factor } else { 1.0 };
            let points = (0..9).map(|run| Point { run, ms: moved(run) * (sd * normal()).exp(), interval_ms: None });
            let (name, points) = (cell.words(), points.collect());
            series.push(Series { name, cell, points, levels: Vec::new(), changes: Vec::new() });
        }
        let noise = Noise { stack_sha256: String::new(), runs: 8, minutes: 60, ln: 0.02, df: 7.0 };
        History { runs: (0..9).map(run).collect(), marks: Vec::new(), series, noise: Some(noise) }
    }

    fn any_outside(history: &History) -> bool {
        history.newest().iter().any(|(_, newest)| !newest.within)
    }

    /// Three cells of twelve differ from run to run by eight times as much as the others: nothing is named because of them.
    #[test]
    fn noisy_cells_are_held_against_their_own_noise() {
        let sd: Vec<f64> = (0..12).map(|cell| if cell % 4 == 0 { 0.08 } else { 0.01 }).collect();
        let alarms = (0..400).filter(|&seed| any_outside(&history(seed, &sd, 1.0))).count();
        assert!(alarms <= 32, "{alarms} of 400");
    }

    /// A cell of its own level is found where it is slower by ten times what its runs differ by, whatever others do.
    #[test]
    fn what_is_slower_is_found_beside_noisy_cells() {
        let sd: Vec<f64> = (0..12).map(|cell| if cell % 4 == 3 { 0.08 } else { 0.01 }).collect();
        for seed in 0..20 {
            let history = history(seed, &sd, 1.10);
            let found = history.newest();
            let (_, first) = found.iter().find(|(series, _)| series.cell.model == "m0").unwrap();
            assert!(!first.within && (1.05..1.16).contains(&first.ratio), "seed {seed}: {first:?}");
        }
    }

    /// Without runs enough of any stack nothing is said.
    #[test]
    fn noise_that_is_not_known_judges_nothing() {
        let known = history(1, &[0.01; 4], 1.0);
        assert_eq!(known.newest().len(), 4);
        assert!(History { noise: None, ..known }.newest().is_empty());
    }
}
