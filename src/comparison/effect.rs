//! How much longer a cell takes on the candidate, and how sure that is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stats::InputError;
use crate::stats::log_estimate::LogEstimate;
use crate::stats::moderated;
use crate::stats::moderated::ratio::{SessionRatio, paired, unpaired};

use super::sessions::Sessions;

/// What a ratio rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Each session against the other side's of the same block, so that what slows both cancels.
    Blocks,
    /// All sessions of one side against all of the other.
    Sessions,
    /// As sessions, where those of the baseline are runs of one stack with one session each, at different times, and the
    /// candidate is one such run.
    Runs,
    /// Calls of one process a side: what differs between processes is unknown.
    OneSession,
}

/// A ratio with all that later steps need.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effect {
    /// Time of the candidate ÷ time of the baseline, without what the machine may have done meanwhile.
    pub ratio: LogEstimate,
    /// What it rests on.
    pub basis: Basis,
    /// Variance of a session's mean logarithm, or with [`Basis::Blocks`] of a block's difference, and how sure it is.
    /// `None`: one session a side.
    pub variance: Option<SessionVariance>,
}

/// The variance of what is repeated, after what other cells tell of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SessionVariance {
    /// Of a natural logarithm.
    pub value: f64,
    /// Degrees of freedom that do not come with more sessions.
    pub lent_df: f64,
}

/// Two sides of one cell.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// Cells of one group lend each other what they know of how sessions differ.
    pub group: usize,
    /// The baseline's sessions.
    pub a: &'a Sessions,
    /// The candidate's.
    pub b: &'a Sessions,
    /// What of them was measured side by side.
    pub alongside: Alongside,
}

/// What of two sides was measured side by side, so that what slows both cancels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alongside {
    /// Nothing.
    Nothing,
    /// Sessions of one index, which are blocks.
    Sessions,
    /// These, and within them calls of one round: the sides took turns.
    Calls,
}

/// The effect of every pair, in order. See [`unpaired`] for how pairs of a group lend each other their variances.
///
/// # Errors
/// A pair with one session a side and fewer than 3 calls in either.
pub fn effects(pairs: &[Pair<'_>]) -> Result<Vec<Effect>, InputError> {
    let mut groups: BTreeMap<(usize, Basis), Vec<usize>> = BTreeMap::new();
    for (place, pair) in pairs.iter().enumerate() {
        groups.entry((pair.group, pair.basis())).or_default().push(place);
    }
    let mut found: Vec<Option<Effect>> = vec![None; pairs.len()];
    for ((_, basis), places) in groups {
        let sides: Vec<_> = places.iter().map(|&place| pairs[place].sides()).collect();
        let ratios = match basis {
            Basis::Blocks => paired(&sides, places.iter().all(|&place| pairs[place].alongside == Alongside::Calls)),
            Basis::Sessions | Basis::Runs => unpaired(&sides),
            Basis::OneSession => continue,
        };
        for (place, ratio) in places.into_iter().zip(ratios) {
            found[place] = ratio.ok().map(|ratio| Effect::of(&ratio, basis));
        }
    }
    found.into_iter().zip(pairs).map(|(found, pair)| found.map_or_else(|| pair.of_calls(), Ok)).collect()
}

impl Pair<'_> {
    /// What can be said at best.
    fn basis(&self) -> Basis {
        let (a, b) = (&self.a.by_session, &self.b.by_session);
        let blocks = a.keys().filter(|index| b.contains_key(index)).count();
        match a.len() + b.len() {
            _ if self.alongside != Alongside::Nothing && blocks > 1 => Basis::Blocks,
            sessions if sessions > 2 && !a.is_empty() && !b.is_empty() => Basis::Sessions,
            _ => Basis::OneSession,
        }
    }

    fn sides(&self) -> (moderated::Sessions, moderated::Sessions) {
        (self.a.by_session.clone(), self.b.by_session.clone())
    }

    fn of_calls(&self) -> Result<Effect, InputError> {
        let stated = self.b.stated_alone().zip(self.a.stated_alone()).map(|(b, a)| b.over(a));
        let ratio = stated.map_or_else(|| LogEstimate::unpaired(&self.b.calls_ms(), &self.a.calls_ms()), Ok)?;
        Ok(Effect { ratio, basis: Basis::OneSession, variance: None })
    }
}

impl Effect {
    fn of(found: &SessionRatio, basis: Basis) -> Self {
        let variance = SessionVariance { value: found.variance, lent_df: found.lent_df };
        Self { ratio: found.ratio, basis, variance: Some(variance) }
    }
}
