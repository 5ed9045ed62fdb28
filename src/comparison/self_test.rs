//! Whether a comparison finds a slowdown that was planted: sessions of one run, of which every other was slowed on purpose.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::analysis::engines::{Rule, floor_ms};
use crate::record::plan::CellId;
use crate::stats::InputError;
use crate::terms::Mode;

use super::allowance::Allowance;
use super::cells::{self, Compared};
use super::power::Noise;
use super::row::CellRow;
use super::side::{RunSide, Sides};
use super::verdict::{Settings, Verdict};

/// What was planted.
#[derive(Debug, Clone)]
pub struct Truth {
    /// How many times longer the calls of some cells were to take.
    pub factor: f64,
    /// How many times longer they did, as the record shows by the time that was added: the cells that were slowed.
    pub slowed: BTreeMap<(CellId, Mode), f64>,
}

/// What became of a cell in one mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Slowed, and called slower.
    Found,
    /// Slowed, and not called slower.
    Missed,
    /// Slowed by less than the floor, below which nothing is called slower.
    BelowFloor,
    /// Slowed, and not compared.
    NotCompared,
    /// Left alone, and not called different.
    LeftAlone,
    /// Left alone, and called slower or faster, by whatever extent.
    FalseAlarm,
}

/// One cell in one mode.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TestedCell {
    /// What became of it.
    pub standing: Standing,
    /// How many times longer its calls were made to take, as the record shows. `None`: left alone.
    pub planted: Option<f64>,
    /// Sessions a side with which so much would be found in 95 of 100 runs. `None`: more than 100, or not known.
    pub sessions_needed: Option<u32>,
    /// What the comparison says of it.
    pub cell: CellRow,
}

/// Two runs at different times, which have to allow for drift.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Apart {
    /// What is allowed for.
    pub allowance: Allowance,
    /// Sessions a side with which so much would be found in 95 of 100 such runs. `None`: more than 100.
    pub sessions_needed: Option<u32>,
}

/// What came of a self-test.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SelfTest {
    /// How many times longer the calls were to take.
    pub factor: f64,
    /// Ratios within this factor of 1 are as good as equal.
    pub margin: f64,
    /// Sessions a side.
    pub sessions: usize,
    /// Sessions a side with which it would be found in every cell that was slowed, in 95 of 100 runs each. `None`: more
    /// than 100 in some of them.
    pub sessions_needed: Option<u32>,
    /// What it would take where the sides do not take turns.
    pub apart: Option<Apart>,
    /// All cells in the plan's order.
    pub cells: Vec<TestedCell>,
}

impl SelfTest {
    /// How many cells stand so.
    #[must_use]
    pub fn count(&self, standing: Standing) -> usize {
        self.cells.iter().filter(|cell| cell.standing == standing).count()
    }

    /// Cells that were left alone and called slower or faster by more than the margin.
    #[must_use]
    pub fn called(&self) -> usize {
        self.cells.iter().filter(|tested| tested.planted.is_none() && tested.cell.verdict.is_called()).count()
    }

    /// Cells that were slowed by enough to be found.
    #[must_use]
    pub fn to_be_found(&self) -> usize {
        self.count(Standing::Found) + self.count(Standing::Missed)
    }

    /// Whether it was found in every cell that it could be found in, and in no other.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.count(Standing::Found) > 0
            && [Standing::Missed, Standing::NotCompared, Standing::FalseAlarm].iter().all(|&bad| self.count(bad) == 0)
    }
}

/// Compares the sessions that were slowed with those that were not.
///
/// # Errors
/// Never for what a run folder holds.
pub fn self_test(
    run: RunSide<'_>,
    is_slowed: &dyn Fn(u32) -> bool,
    truth: &Truth,
    settings: &Settings,
) -> Result<SelfTest, InputError> {
    let sides = Sides::of_halves(run, ("sessions left alone", "sessions slowed"), is_slowed);
    // They took turns: there is no drift to allow for.
    let in_turns = Settings { allowance: None, ..settings.clone() };
    let compared = cells::rows(&sides, &in_turns, None, &[])?;
    let family = compared.iter().filter(|cell| cell.effect.is_some()).count();
    let asked = |allowance_ln: f64| Asked { factor: truth.factor, allowance_ln, family, rule: settings.rule };
    let mut tested = Vec::with_capacity(compared.len());
    let mut apart_needs = Vec::new();
    let apart_ln = settings.allowance.as_ref().map_or(0.0, |allowance| allowance.ln);
    for (side, cell) in sides.baseline.cells.iter().zip(&compared) {
        let planted = truth.slowed.get(&(side.cell.id.clone(), side.mode)).copied();
        let standing = standing(cell, planted, truth.factor);
        let sessions_needed = asked(0.0).needed(cell);
        if matters(standing) {
            apart_needs.push(asked(apart_ln).needed(cell));
        }
        tested.push(TestedCell { standing, planted, sessions_needed, cell: cell.row.clone() });
    }
    let needs = tested.iter().filter(|cell| matters(cell.standing)).map(|cell| cell.sessions_needed);
    let sessions = compared.iter().map(|cell| cell.row.sessions_a.min(cell.row.sessions_b)).max();
    let apart = settings.allowance.clone();
    Ok(SelfTest {
        factor: truth.factor,
        margin: settings.rule.margin,
        sessions: sessions.unwrap_or(0),
        sessions_needed: most(needs),
        apart: apart.map(|allowance| Apart { allowance, sessions_needed: most(apart_needs.into_iter()) }),
        cells: tested,
    })
}

/// Whether it is asked how many sessions would find it.
fn matters(standing: Standing) -> bool {
    matches!(standing, Standing::Found | Standing::Missed)
}

/// What suffices for all of them. `None`: nothing does for one, or there is none.
fn most(mut needs: impl Iterator<Item = Option<u32>>) -> Option<u32> {
    let first = needs.next()?;
    needs.fold(first, |most, need| Some(most?.max(need?)))
}

/// A change that is asked after.
#[derive(Clone, Copy)]
struct Asked {
    factor: f64,
    allowance_ln: f64,
    family: usize,
    rule: Rule,
}

impl Asked {
    fn needed(self, cell: &Compared) -> Option<u32> {
        let (effect, ..) = cell.effect.as_ref()?;
        Noise::of(effect, self.allowance_ln, self.family)?.sessions_to_find(self.factor, self.rule)
    }
}

fn standing(cell: &Compared, planted: Option<f64>, factor: f64) -> Standing {
    let row = &cell.row;
    if planted.is_none() {
        return if row.verdict.is_different() { Standing::FalseAlarm } else { Standing::LeftAlone };
    }
    let Some(first_ms) = row.first_ms().filter(|_| cell.effect.is_some()) else { return Standing::NotCompared };
    let below_floor = first_ms * (factor - 1.0) <= floor_ms(row.mode);
    match row.verdict {
        Verdict::Slower => Standing::Found,
        _ if below_floor => Standing::BelowFloor,
        _ => Standing::Missed,
    }
}
