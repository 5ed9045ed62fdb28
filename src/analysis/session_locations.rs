//! Where cells lie that were measured in several sessions.

use std::collections::BTreeMap;

use crate::record::plan::Plan;
use crate::stats::moderated::{SessionLocation, Sessions, locations};
use crate::terms::{Mode, Repetitions};

use super::metrics::MetricRow;

/// What cells have in common that lend each other how much sessions differ: one backend, in one element type and phase.
type Alike<'a> = (&'a str, &'static str, Mode);

/// The locations of cells, each with the calls that it pools, in the order given. `None`: too few sessions, or no calls.
pub(super) fn session_locations(plan: &Plan, cells: &[&[&MetricRow]]) -> Vec<Option<SessionLocation>> {
    let mut alike: BTreeMap<Alike<'_>, Vec<usize>> = BTreeMap::new();
    for (place, calls) in cells.iter().enumerate() {
        if let Some(first) = calls.first() {
            alike.entry((&first.key.backend, first.key.dtype.as_str(), first.mode)).or_default().push(place);
        }
    }
    let mut located = vec![None; cells.len()];
    for places in alike.values() {
        let sessions: Vec<Sessions> = places.iter().map(|&place| sessions(cells[place])).collect();
        for (&place, found) in places.iter().zip(locations(&sessions)) {
            located[place] = found.ok().map(|found| looked_at(plan, found));
        }
    }
    located
}

/// A location as sure as it is, given that the calls themselves may have decided how many sessions there are.
pub(super) fn looked_at(plan: &Plan, location: SessionLocation) -> SessionLocation {
    match plan.repetitions {
        Repetitions::Fixed(_) => location,
        Repetitions::Adaptive { .. } => location.adaptive(),
    }
}

/// Latencies by session.
pub(super) fn sessions(calls: &[&MetricRow]) -> Sessions {
    let mut sessions = Sessions::new();
    for call in calls {
        if let Some(latency) = call.latency_ms {
            sessions.entry(call.session_index).or_default().push(latency);
        }
    }
    sessions
}
