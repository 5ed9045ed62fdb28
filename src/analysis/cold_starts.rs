//! How long a caller waits who finds a model not loaded, prompt by prompt.
//!
//! A load adds the same time to every prefill: many times a short prompt's and hardly any of a long one's. Only a cold start and a
//! warm prefill of the same prompt say anything of each other, and which prompt comes first after a load is chance.

use std::collections::HashMap;
use std::fmt;

use crate::stats::summary::median;
use crate::terms::{Mode, Role};

use super::key::CellKey;
use super::loads::LoadRow;
use super::metrics::{MetricRow, Standing};
use super::summary::SummaryRow;

/// A caller who finds the model not loaded may wait so many times as long as one who does.
/// Source: the published reports' gate.
pub const COLD_STARTS_LONG: f64 = 10.0;

/// A scenario's prompt in its batch: its prefill is the same, however much is written after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Scenario name.
    pub scenario: String,
    /// Rows at once.
    pub batch: u32,
}

impl Prompt {
    fn of(key: &CellKey) -> Self {
        Self { scenario: key.scenario.clone(), batch: key.batch }
    }
}

/// `long`, or `long × 8` of eight rows at once.
impl fmt::Display for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.batch {
            1 => write!(f, "{}", self.scenario),
            batch => write!(f, "{} × {batch}", self.scenario),
        }
    }
}

/// What a prompt takes where the model must be loaded first, and where it is warm.
#[derive(Debug, Clone, PartialEq)]
pub struct ColdStart {
    /// Model name.
    pub model: String,
    /// Backend name.
    pub backend: String,
    /// The prompt.
    pub prompt: Prompt,
    /// Loads after which it came first.
    pub loads: usize,
    /// The quickest load of the model, by itself. Unit: milliseconds.
    pub load_ms: f64,
    /// Until the first token is known where the model must be loaded first, the median over these loads. Unit: milliseconds. `None`:
    /// the prompt came first after no load.
    pub cold_ms: Option<f64>,
    /// The same where it is loaded and warm. Unit: milliseconds.
    pub warm_ms: f64,
    /// Of each of these loads how many warm prefills of its own cell it takes as long as.
    pub ratios: Vec<f64>,
}

impl ColdStart {
    /// How many warm prefills a cold start takes as long as, the median over loads; at least, where the prompt came first after
    /// none: the load is the same, and the prefill after it no quicker than a warm one.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        median(&self.ratios).unwrap_or((self.load_ms + self.warm_ms) / self.warm_ms)
    }

    /// Whether a cold start takes more than [`COLD_STARTS_LONG`] warm prefills. `None`: loads differ in that; or the prompt came first
    /// after none, and the load alone does not take as long.
    #[must_use]
    pub fn is_long(&self) -> Option<bool> {
        let long = self.ratios.iter().filter(|ratio| **ratio > COLD_STARTS_LONG).count();
        match (self.ratios.len(), long) {
            (0, _) => (self.ratio() > COLD_STARTS_LONG).then_some(true),
            (_, 0) => Some(false),
            (all, long) => (all == long).then_some(true),
        }
    }
}

/// Every prompt of every model that was loaded, on every backend, in the order of loads and of the plan. Prompts without a warm
/// prefill are left out.
#[must_use]
pub fn cold_starts(loads: &[LoadRow], metrics: &[MetricRow], summary: &[SummaryRow]) -> Vec<ColdStart> {
    let cold = metrics.iter().filter(|row| row.role == Role::Cold && row.mode == Mode::Prefill);
    let first: HashMap<&str, Prompt> = cold.map(|row| (row.call_id.as_str(), Prompt::of(&row.key))).collect();
    let mut pools: Vec<(&str, &str)> = Vec::new();
    for load in loads {
        let pool = (load.model.as_str(), load.backend.as_str());
        if !pools.contains(&pool) {
            pools.push(pool);
        }
    }
    let of_pool = |&(model, backend): &(&str, &str)| {
        let own = loads.iter().filter(|load| load.model == model && load.backend == backend);
        let own: Vec<&LoadRow> = own.filter(|load| load.status == Standing::Ok).collect();
        of_loads(&own, &first, &warm_prefills(summary, model, backend))
    };
    pools.iter().flat_map(of_pool).collect()
}

/// What each prompt of a model on a backend takes once everything is warm: the median over its cells. Unit: milliseconds.
fn warm_prefills(summary: &[SummaryRow], model: &str, backend: &str) -> Vec<(Prompt, f64)> {
    let mut prompts: Vec<(Prompt, Vec<f64>)> = Vec::new();
    let own = summary.iter().filter(|row| row.key.model == model && row.key.backend == backend);
    for row in own.filter(|row| row.mode == Mode::Prefill && row.median_ms > 0.0) {
        let prompt = Prompt::of(&row.key);
        match prompts.iter_mut().find(|(known, _)| *known == prompt) {
            Some((_, medians)) => medians.push(row.median_ms),
            None => prompts.push((prompt, vec![row.median_ms])),
        }
    }
    prompts.into_iter().filter_map(|(prompt, medians)| Some((prompt, median(&medians)?))).collect()
}

/// The prompts of one model on one backend. `first` has the prompt of first calls that began with a prefill, by the call.
fn of_loads(loads: &[&LoadRow], first: &HashMap<&str, Prompt>, warm_prefills: &[(Prompt, f64)]) -> Vec<ColdStart> {
    let Some(load_ms) = loads.iter().map(|load| load.duration_ms).reduce(f64::min) else { return Vec::new() };
    let of_prompt = |(prompt, warm_ms): &(Prompt, f64)| {
        let own = loads.iter().copied().filter(|load| load.cold_start_ratio.is_some());
        let own = own.filter(|load| load.first_call_id.as_deref().and_then(|id| first.get(id)) == Some(prompt));
        let own: Vec<&LoadRow> = own.collect();
        let median_of =
            |value: fn(&LoadRow) -> Option<f64>| median(&own.iter().filter_map(|load| value(load)).collect::<Vec<_>>());
        ColdStart {
            model: loads[0].model.clone(),
            backend: loads[0].backend.clone(),
            prompt: prompt.clone(),
            loads: own.len(),
            load_ms,
            cold_ms: median_of(|load| Some(load.duration_ms + load.first_call_ms?)),
            warm_ms: median_of(|load| load.warm_call_ms).unwrap_or(*warm_ms),
            ratios: own.iter().filter_map(|load| load.cold_start_ratio).collect(),
        }
    };
    warm_prefills.iter().map(of_prompt).collect()
}

#[cfg(test)]
#[expect(clippy::panic, reason = "tests")]
mod tests {
    use super::*;
    use crate::terms::Phase;

    fn prompt(scenario: &str) -> Prompt {
        Prompt { scenario: scenario.to_owned(), batch: 1 }
    }

    /// A load of 112 ms whose first call, named `first`, takes twice as long as a warm one.
    fn load(first: &str, warm_ms: f64) -> LoadRow {
        LoadRow {
            first_call_ms: Some(2.0 * warm_ms),
            first_call_phase: Some(Phase::Prefill),
            first_call_id: Some(first.to_owned()),
            warm_call_ms: Some(warm_ms),
            cold_start_ratio: Some((112.0 + 2.0 * warm_ms) / warm_ms),
            ..LoadRow::bare(0, 112.0)
        }
    }

    fn of(loads: &[LoadRow], warm: &[(Prompt, f64)]) -> Vec<ColdStart> {
        let first = HashMap::from([("a", prompt("short")), ("b", prompt("long"))]);
        of_loads(&loads.iter().collect::<Vec<_>>(), &first, warm)
    }

    /// The same load is long beside a short prompt and short beside a long one, however often either came first.
    #[test]
    fn each_prompt_is_held_against_itself() {
        let warm = [(prompt("short"), 12.0), (prompt("long"), 144.0)];
        for order in [["a", "a", "a", "b", "b"], ["b", "b", "b", "a", "a"]] {
            let loads = order.map(|first| load(first, if first == "a" { 12.0 } else { 144.0 }));
            let [short, long]: [ColdStart; 2] =
                of(&loads, &warm).try_into().unwrap_or_else(|other| panic!("{other:?}"));
            assert_eq!((short.cold_ms, short.warm_ms, short.is_long()), (Some(136.0), 12.0, Some(true)), "{order:?}");
            assert_eq!((long.cold_ms, long.warm_ms, long.is_long()), (Some(400.0), 144.0, Some(false)), "{order:?}");
            assert!((short.ratio() - 136.0 / 12.0).abs() < 1e-12, "{short:?}");
            assert_eq!(short.loads + long.loads, 5);
        }
    }

    /// Of a prompt that came first after no load only a load that is long by itself tells.
    #[test]
    fn a_prompt_that_never_came_first_is_known_from_the_load_alone_or_not() {
        let warm = [(prompt("short"), 12.0), (prompt("tiny"), 2.0), (prompt("long"), 144.0)];
        let found = of(&[load("a", 12.0), load("other", 5.0)], &warm);
        assert_eq!(found.iter().map(|of| of.loads).collect::<Vec<_>>(), [1, 0, 0]);
        assert_eq!(found.iter().map(ColdStart::is_long).collect::<Vec<_>>(), [Some(true), Some(true), None]);
        assert_eq!((found[1].cold_ms, found[1].warm_ms, found[1].ratio()), (None, 2.0, 57.0));
        assert!(of(&[], &warm).is_empty());
    }

    #[test]
    fn loads_that_differ_decide_nothing() {
        let quick = LoadRow { duration_ms: 80.0, cold_start_ratio: Some((80.0 + 24.0) / 12.0), ..load("a", 12.0) };
        let found = of(&[load("a", 12.0), quick], &[(prompt("short"), 12.0)]);
        assert_eq!((found[0].loads, found[0].load_ms, found[0].is_long()), (2, 80.0, None));
    }
}
