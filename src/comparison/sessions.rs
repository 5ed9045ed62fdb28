//! A cell's calls as sessions: one load in one fresh process each.

use std::collections::BTreeMap;

use crate::record::Statistic;
use crate::stats::log_estimate::LogEstimate;
use crate::stats::moderated;

/// The calls of one cell on one side, session by session.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sessions {
    /// Latencies in call order, by the session's index; of what is stated without samples one value, the stated one. Unit:
    /// milliseconds.
    pub by_session: moderated::Sessions,
    /// What another tool states of them without samples. `None`: these are samples.
    pub stated: Option<StatedSessions>,
}

/// Sessions that are stated, not measured call by call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StatedSessions {
    /// What the value of a session is of its calls.
    pub statistic: Statistic,
    /// Calls, as far as their number is stated.
    pub calls: usize,
    /// Of one session alone: the logarithm of its mean, with the error that the standard deviation and the number of calls stated
    /// beside it imply. `None`: there are several, or these are not stated.
    pub alone: Option<LogEstimate>,
}

/// A figure that a file states of one session.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StatedSession {
    /// The session's index.
    pub index: u32,
    /// What the value is of its calls.
    pub statistic: Statistic,
    /// The value. Unit: milliseconds.
    pub value_ms: f64,
    /// Standard deviation of single calls. Unit: milliseconds. `None`: not stated.
    pub sd_ms: Option<f64>,
    /// Calls it is of. `None`: not stated.
    pub calls: Option<u32>,
}

impl StatedSession {
    /// The logarithm of a mean by the delta method: its standard error is that of the mean ÷ the mean. `None`: it is no mean, of one
    /// call, or without a standard deviation.
    #[must_use]
    pub fn ln(&self) -> Option<LogEstimate> {
        let is_mean = matches!(self.statistic, Statistic::Mean | Statistic::HarmonicMean);
        let (sd, n) = self.sd_ms.filter(|sd| *sd > 0.0).zip(self.calls.filter(|&n| n > 1 && is_mean))?;
        let n = f64::from(n);
        Some(LogEstimate { ln: self.value_ms.ln(), standard_error: sd / (self.value_ms * n.sqrt()), df: n - 1.0 })
    }
}

impl Sessions {
    /// Of calls in order, each with its session's index and its latency. Latencies that are not positive are left out.
    #[must_use]
    pub fn of(calls: impl IntoIterator<Item = (u32, f64)>) -> Self {
        let mut by_session = moderated::Sessions::new();
        for (index, latency_ms) in calls.into_iter().filter(|(_, latency_ms)| *latency_ms > 0.0) {
            by_session.entry(index).or_default().push(latency_ms);
        }
        Self { by_session, stated: None }
    }

    /// Of sessions that are stated: those of the first one's statistic. Values that are not positive are left out.
    #[must_use]
    pub fn of_stated(figures: &[StatedSession]) -> Self {
        let Some(statistic) = figures.first().map(|figure| figure.statistic) else { return Self::default() };
        let of_statistic = figures.iter().filter(|figure| figure.statistic == statistic && figure.value_ms > 0.0);
        let by_index: BTreeMap<u32, StatedSession> = of_statistic.map(|figure| (figure.index, *figure)).collect();
        let mut calls = 0;
        for figure in by_index.values() {
            calls += figure.calls.map_or(0, |n| n as usize);
        }
        let only = by_index.values().next().filter(|_| by_index.len() == 1);
        let stated = StatedSessions { statistic, calls, alone: only.and_then(StatedSession::ln) };
        let by_session = by_index.values().map(|figure| (figure.index, vec![figure.value_ms])).collect();
        Self { by_session, stated: Some(stated) }
    }

    /// What is stated of the only session. `None`: see [`StatedSessions::alone`]; or these are samples.
    #[must_use]
    pub fn stated_alone(&self) -> Option<LogEstimate> {
        self.stated?.alone
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

    /// How many calls there are, of what is stated without samples as far as that is.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.stated.map_or_else(|| self.by_session.values().map(Vec::len).sum(), |stated| stated.calls)
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn stated(index: u32, sd_ms: Option<f64>, calls: Option<u32>) -> StatedSession {
        StatedSession { index, statistic: Statistic::Mean, value_ms: 40.0, sd_ms, calls }
    }

    #[test]
    fn a_stated_mean_has_the_error_that_is_stated_beside_it() {
        let alone = Sessions::of_stated(&[stated(0, Some(8.0), Some(100))]);
        let ln = alone.stated_alone().unwrap();
        assert_eq!((ln.ln, ln.standard_error, ln.df), (40_f64.ln(), 0.02, 99.0));
        assert_eq!((alone.count(), alone.calls()), (1, 100));
        for unknown in [stated(0, None, Some(100)), stated(0, Some(8.0), None), stated(0, Some(8.0), Some(1))] {
            assert_eq!(Sessions::of_stated(&[unknown]).stated_alone(), None);
        }
        let median = StatedSession { statistic: Statistic::Median, ..stated(0, Some(8.0), Some(100)) };
        assert_eq!(Sessions::of_stated(&[median]).stated_alone(), None);
        let two = Sessions::of_stated(&[stated(0, Some(8.0), Some(100)), stated(1, None, None)]);
        assert_eq!((two.count(), two.calls(), two.stated_alone()), (2, 100, None));
    }
}
