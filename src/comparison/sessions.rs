//! A cell's calls as sessions: one load in one fresh process each.

use std::collections::BTreeMap;

use crate::stats::moderated;

/// The calls of one cell on one side, session by session.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sessions {
    /// Latencies in call order, by the session's index. Unit: milliseconds.
    pub by_session: moderated::Sessions,
}

impl Sessions {
    /// Of calls in order, each with its session's index and its latency. Latencies that are not positive are left out.
    #[must_use]
    pub fn of(calls: impl IntoIterator<Item = (u32, f64)>) -> Self {
        let mut by_session = moderated::Sessions::new();
        for (index, latency_ms) in calls.into_iter().filter(|(_, latency_ms)| *latency_ms > 0.0) {
            by_session.entry(index).or_default().push(latency_ms);
        }
        Self { by_session }
    }

    /// How many sessions there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_session.len()
    }

    /// All latencies in call order. Unit: milliseconds.
    #[must_use]
    pub fn calls_ms(&self) -> Vec<f64> {
        self.by_session.values().flatten().copied().collect()
    }

    /// How many calls there are.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.by_session.values().map(Vec::len).sum()
    }

    /// The mean logarithm of every session's calls.
    #[must_use]
    pub fn means(&self) -> BTreeMap<u32, f64> {
        let mean = |calls: &[f64]| calls.iter().map(|ms| ms.ln()).sum::<f64>() / calls.len() as f64;
        self.by_session.iter().map(|(index, calls)| (*index, mean(calls))).collect()
    }

    /// Mean of the sessions' means. `None`: there is none.
    #[must_use]
    pub fn ln(&self) -> Option<f64> {
        let means = self.means();
        (!means.is_empty()).then(|| means.values().sum::<f64>() / means.len() as f64)
    }

    /// Where the cell lies: the geometric mean of its sessions' geometric means. Unit: milliseconds. `None`: no session.
    #[must_use]
    pub fn location_ms(&self) -> Option<f64> {
        self.ln().map(f64::exp)
    }
}
