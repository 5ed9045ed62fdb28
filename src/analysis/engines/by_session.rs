//! Two engines whose cells were measured in several sessions: the session is what is compared.
//!
//! Each session of one engine is set against the session of the same number of the other, which was measured in the same
//! pass over everything. In each the ratio is that of calls of the same round where rounds are interleaved, else that of the
//! two sessions' means; over sessions, ratios are located as latencies are, and cells of the same two engines lend each other
//! how much sessions differ.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::analysis::metrics::MetricRow;
use crate::analysis::session_locations::{looked_at, sessions};
use crate::record::plan::Plan;
use crate::stats::log_estimate::LogEstimate;
use crate::stats::moderated::{Sessions, locations};
use crate::stats::summary::geometric_mean;
use crate::terms::{Mode, Order};

use super::side::Side;

/// How calls of two engines are set against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pairing {
    /// Each call against the other engine's of the same round, so that what slows both cancels.
    ByRound,
    /// Each session's mean against the other engine's of the same number, measured in the same pass over everything.
    BySession,
    /// All calls of one against all of the other.
    Unpaired,
}

/// A cell on two engines.
pub(super) type Pair<'a> = (&'a Side<'a>, &'a Side<'a>);

/// What sessions say of a cell on two engines.
#[derive(Debug, Clone, Copy)]
pub(super) struct BySession {
    pub(super) pairing: Pairing,
    /// Rounds, or sessions, that both have.
    pub(super) n_pairs: usize,
    /// Time of the second ÷ time of the first.
    pub(super) ratio: LogEstimate,
    /// What the first takes in what is set against each other.
    pub(super) first_ms: f64,
}

/// What sessions say of each pair, in the order given. `None`: fewer than two sessions in common.
pub(super) fn by_session(plan: &Plan, pairs: &[Pair<'_>]) -> Vec<Option<BySession>> {
    let matched: Vec<Matched> = pairs.iter().map(|pair| Matched::of(plan, *pair)).collect();
    let mut alike: BTreeMap<(&str, &str, Mode), Vec<usize>> = BTreeMap::new();
    for (place, (a, b)) in pairs.iter().enumerate() {
        let backends = (a.cell.session.backend.as_str(), b.cell.session.backend.as_str());
        alike.entry((backends.0, backends.1, a.mode)).or_default().push(place);
    }
    let mut found = vec![None; pairs.len()];
    for places in alike.values() {
        let ratios: Vec<Sessions> = places.iter().map(|&place| matched[place].ratios.clone()).collect();
        for (&place, location) in places.iter().zip(locations(&ratios)) {
            let of = &matched[place];
            found[place] = location.ok().and_then(|location| {
                let (ratio, first_ms) = (looked_at(plan, location).location, of.first_ms()?);
                Some(BySession { pairing: of.pairing, n_pairs: of.n_pairs(), ratio, first_ms })
            });
        }
    }
    found
}

/// Sessions of two engines set against each other.
struct Matched {
    pairing: Pairing,
    /// Of the second ÷ the first.
    ratios: Sessions,
    /// Of the first, the calls or means that the ratios are of.
    first: Sessions,
}

impl Matched {
    fn of(plan: &Plan, (a, b): Pair<'_>) -> Self {
        match plan.order {
            Order::Interleaved => Self::rounds(a, b),
            Order::Blocked | Order::Shuffled => Self::means(a, b),
        }
    }

    /// Each call against the other engine's of the same round.
    fn rounds(a: &Side<'_>, b: &Side<'_>) -> Self {
        let theirs: BTreeMap<u32, &MetricRow> = b.calls.iter().map(|call| (call.round, *call)).collect();
        let (mut ratios, mut first) = (Sessions::new(), Sessions::new());
        for call in &a.calls {
            let other = theirs.get(&call.round).filter(|other| other.session_index == call.session_index);
            if let Some((own, other)) = call.latency_ms.zip(other.and_then(|other| other.latency_ms)) {
                ratios.entry(call.session_index).or_default().push(other / own);
                first.entry(call.session_index).or_default().push(own);
            }
        }
        Self { pairing: Pairing::ByRound, ratios, first }
    }

    /// Each session's mean against that of the other engine's session of the same number.
    fn means(a: &Side<'_>, b: &Side<'_>) -> Self {
        let (own, theirs) = (means(&a.calls), means(&b.calls));
        let (mut ratios, mut first) = (Sessions::new(), Sessions::new());
        for (session, own) in own {
            if let Some(other) = theirs.get(&session) {
                ratios.insert(session, vec![other / own]);
                first.insert(session, vec![own]);
            }
        }
        Self { pairing: Pairing::BySession, ratios, first }
    }

    fn n_pairs(&self) -> usize {
        self.ratios.values().map(Vec::len).sum()
    }

    /// Geometric mean of the sessions' means.
    fn first_ms(&self) -> Option<f64> {
        let means: Option<Vec<f64>> = self.first.values().map(|values| geometric_mean(values)).collect();
        geometric_mean(&means?)
    }
}

/// Geometric mean of each session.
fn means(calls: &[&MetricRow]) -> BTreeMap<u32, f64> {
    let sessions = sessions(calls);
    sessions.into_iter().filter_map(|(session, values)| Some((session, geometric_mean(&values)?))).collect()
}
