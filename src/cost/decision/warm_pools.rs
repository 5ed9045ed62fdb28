//! Whether to keep each model loaded, by what answers may take and by what that costs.

use crate::analysis::RecommendationRow;
use crate::analysis::cold_starts::Prompt;
use crate::analysis::loads::LoadBreakdown;
use crate::analysis::recommendations::{Standing, Topic, by_prompt};
use crate::analysis::table::Table as _;
use crate::cost::bill::{SloRow, WarmRow, with_interval};
use crate::scenario::workload::Latency;
use crate::units::{Bytes, significant};

use super::rows::ROWS;

/// A row for each model on each backend of which an SLO or what it costs is known, in place of the one that the run has without.
#[must_use]
pub fn of_warm_pools(pools: &[WarmRow], slos: &[SloRow], currency: Option<&str>) -> Vec<RecommendationRow> {
    let of_a_pool = |a: &WarmRow, b: &WarmRow| a.model == b.model && a.backend == b.backend;
    let told = |rows: &[WarmRow]| {
        let first = &rows[0];
        let own = slos.iter().filter(|slo| slo.engine.model == first.model && slo.engine.backend == first.backend);
        let own: Vec<&SloRow> = own.collect();
        (!own.is_empty() || first.idle_month.is_some()).then(|| warm_pool(rows, &own, currency))
    };
    pools.chunk_by(of_a_pool).filter_map(told).collect()
}

/// What a cold start does to what is asked of answers.
#[derive(Debug, Clone, Copy)]
enum Asked<'a> {
    /// Nothing that waits for a load.
    Nothing,
    /// All of it is kept, with every prompt.
    Kept,
    /// A warm answer keeps this, and with no prompt has to spare what a cold start takes.
    Broken(Exceeded<'a>),
    /// A warm answer is too slow for this already.
    Missed(Exceeded<'a>),
    /// Something is not known, or prompts differ in it.
    Open,
}

impl<'a> Asked<'a> {
    /// Of one model on one backend, `rows` by its prompts.
    fn of(rows: &[WarmRow], slos: &[&'a SloRow]) -> Self {
        let least_ms = rows.iter().map(WarmRow::longer_ms).fold(f64::INFINITY, f64::min);
        let most_ms = rows.iter().map(WarmRow::longer_ms).fold(0.0, f64::max);
        let all_known = rows.iter().all(|row| row.cold_ms.is_some());
        let answers: Vec<&'a SloRow> = slos.iter().copied().filter(|slo| waits_for_a_load(slo)).collect();
        let kept = |slo: &SloRow, longer_ms: f64| {
            slo.holds == Some(true) && slo.found_ms.is_some_and(|ms| ms + longer_ms <= slo.within_ms)
        };
        let broken = answers.iter().copied().filter(|slo| slo.holds == Some(true) && !kept(slo, least_ms));
        let missed = answers.iter().copied().filter(|slo| slo.holds == Some(false));
        match (Exceeded::first_of(broken), Exceeded::first_of(missed)) {
            (Some(exceeded), _) => Self::Broken(exceeded),
            (None, Some(exceeded)) => Self::Missed(exceeded),
            (None, None) if answers.is_empty() => Self::Nothing,
            (None, None) if answers.iter().all(|slo| all_known && kept(slo, most_ms)) => Self::Kept,
            (None, None) => Self::Open,
        }
    }

    /// What it has to do with the figures. `None`: nothing.
    fn told(self) -> Option<String> {
        match self {
            Self::Broken(Exceeded { slo, .. }) => {
                let slack_ms = slo.within_ms - slo.found_ms?;
                Some(format!("the answer's slack is {} ms", significant(slack_ms, 3)))
            }
            Self::Missed(Exceeded { slo, .. }) => {
                let found = significant(slo.found_ms?, 3);
                // What was not measured counts as faster there.
                let at_least = if slo.coverage < 1.0 - 1e-9 { " at least" } else { "" };
                Some(format!("{} % of warm answers take up to {found} ms{at_least}", slo.percentile))
            }
            Self::Nothing | Self::Kept | Self::Open => None,
        }
    }
}

/// An SLO that is not kept.
#[derive(Debug, Clone, Copy)]
struct Exceeded<'a> {
    slo: &'a SloRow,
    /// The measured cell that is the request, where no other cell exceeds the same limit. `None`: others do, or the workload's requests
    /// are asked of.
    only_cell: Option<&'a str>,
}

impl<'a> Exceeded<'a> {
    /// The first of these. `None`: there is none.
    fn first_of(exceeded: impl Iterator<Item = &'a SloRow>) -> Option<Self> {
        let exceeded: Vec<&'a SloRow> = exceeded.collect();
        let slo = *exceeded.first()?;
        let mut of_limit = exceeded.iter().filter(|other| limit(other) == limit(slo));
        let only_cell = slo.request.as_deref().filter(|_| of_limit.all(|other| other.request == slo.request));
        Some(Self { slo, only_cell })
    }

    /// Its cell, behind what is said of its limit.
    fn of_cell(self) -> String {
        self.only_cell.map_or_else(String::new, |cell| format!(" ({cell})"))
    }
}

/// A token after the first one does not wait for a load.
fn waits_for_a_load(slo: &SloRow) -> bool {
    slo.of != Latency::Tpot
}

/// What an answer may take.
fn limit(slo: &SloRow) -> String {
    format!("{} within {} ms at p{}", slo.of.as_str(), significant(slo.within_ms, 4), slo.percentile)
}

/// All that is asked of answers, each limit once.
fn limits(slos: &[&SloRow]) -> String {
    let mut limits: Vec<String> = Vec::new();
    for slo in slos.iter().filter(|slo| waits_for_a_load(slo)) {
        let asked = limit(slo);
        if !limits.contains(&asked) {
            limits.push(asked);
        }
    }
    limits.join(", ")
}

/// Of one model on one backend, prompt by prompt.
fn warm_pool(rows: &[WarmRow], slos: &[&SloRow], currency: Option<&str>) -> RecommendationRow {
    let asked = Asked::of(rows, slos);
    let prompts: Vec<(Prompt, Option<bool>)> = rows.iter().map(|row| (row.prompt(), row.long)).collect();
    let (standing, advice) = match (asked, by_prompt(&prompts)) {
        (Asked::Broken(exceeded), _) => {
            let (limit, cell) = (limit(exceeded.slo), exceeded.of_cell());
            (Standing::Decided, format!("keep it loaded: a cold start breaks {limit}{cell}"))
        }
        (Asked::Missed(exceeded), _) => {
            let (limit, cell) = (limit(exceeded.slo), exceeded.of_cell());
            let advice =
                format!("keep it loaded: a warm answer misses {limit} already{cell}, and a cold start all the more");
            (Standing::Decided, advice)
        }
        // What is asked says more than a rule for when nothing is.
        (Asked::Kept, _) => {
            (Standing::Decided, format!("it may be loaded when it is asked for: a cold start keeps {}", limits(slos)))
        }
        (Asked::Open, (Standing::Decided, advice)) => {
            (Standing::Hint, format!("{advice}, but of some SLOs it is not known whether a cold start keeps them"))
        }
        (Asked::Nothing | Asked::Open, of_prompts) => of_prompts,
    };
    RecommendationRow {
        topic: Topic::WarmPool,
        about: format!("{} on {}", rows[0].model, rows[0].backend),
        standing,
        advice,
        figures: Some(figures(rows, asked, currency)),
        rows: [LoadBreakdown::FILE, ROWS].join("; "),
        overturned_by: "weights that are not in the page cache; how often the model is asked for after it was let go"
            .to_owned(),
    }
}

/// What a warm instance costs, against cold starts.
fn figures(rows: &[WarmRow], asked: Asked<'_>, currency: Option<&str>) -> String {
    let first = &rows[0];
    let mut parts: Vec<String> = rows.iter().map(cold_and_warm).collect();
    parts.extend(asked.told());
    let memory = [(first.host_bytes, "memory"), (first.device_bytes, "device memory")];
    parts.extend(memory.iter().filter_map(|(bytes, of)| bytes.map(|bytes| format!("{} of {of}", Bytes(bytes)))));
    if let Some((watts, from)) = first.idle_watts.zip(first.idle_from) {
        parts.push(format!("{} W idle, {}", with_interval(watts), from.as_str()));
    }
    let month = first.idle_month.zip(currency);
    parts.extend(month.map(|(month, currency)| format!("{} {currency} a month, energy alone", with_interval(month))));
    parts.join("; ")
}

/// Of one prompt, and from how many of its cold starts on it pays to keep the model loaded.
fn cold_and_warm(row: &WarmRow) -> String {
    let (prompt, warm) = (row.prompt(), significant(row.warm_ms, 3));
    let cold = match row.cold_ms {
        Some(cold_ms) => format!("a cold start takes {} s", significant(cold_ms / 1e3, 3)),
        None => format!("a load alone takes {} s", significant(row.load_ms / 1e3, 3)),
    };
    let pays = row.pays_from.map(|starts| format!(", it pays from {} cold starts a month on", with_interval(starts)));
    format!("with {prompt} {cold}, a warm prefill {warm} ms{}", pays.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::engines::EngineName;
    use crate::economics::figures::Uncertain;
    use crate::terms::{Dtype, Mode};

    /// A prompt that is answered in 20 ms warm, and in so many ms where the model must be loaded in 90 ms.
    fn pool(scenario: &str, cold_ms: Option<f64>, long: Option<bool>) -> WarmRow {
        WarmRow {
            model: "m".to_owned(),
            backend: "eng".to_owned(),
            scenario: scenario.to_owned(),
            batch: 1,
            loads: cold_ms.iter().count(),
            load_ms: 90.0,
            cold_ms,
            warm_ms: 20.0,
            long,
            host_bytes: None,
            device_bytes: None,
            idle_watts: None,
            idle_from: None,
            idle_month: None,
            cold_start: None,
            pays_from: None,
        }
    }

    fn slo(of: Latency, within_ms: f64, found_ms: Option<f64>) -> SloRow {
        SloRow {
            engine: EngineName {
                model: "m".to_owned(),
                backend: "eng".to_owned(),
                dtype: Dtype::F32,
                batch: 1,
                decode: Mode::KvDecode,
            },
            request: None,
            coverage: 1.0,
            of,
            within_ms,
            percentile: 95.0,
            found_ms,
            holds: found_ms.map(|ms| ms <= within_ms),
            withheld: None,
        }
    }

    fn decided(pools: &[WarmRow], slos: &[SloRow]) -> (Standing, String) {
        let rows = of_warm_pools(pools, slos, None);
        assert_eq!((rows.len(), rows[0].about.as_str()), (1, "m on eng"), "a model has one row, whatever its prompts");
        (rows[0].standing, rows[0].advice.clone())
    }

    /// The short prompt first and then the long one, each with a cold start.
    fn both(short: Option<bool>, long: Option<bool>) -> [WarmRow; 2] {
        [pool("short", Some(120.0), short), pool("long", Some(150.0), long)]
    }

    #[test]
    fn an_answer_with_nothing_to_spare_needs_a_warm_pool() {
        let pools = both(Some(false), Some(false));
        let broken = decided(&pools, &[slo(Latency::Ttft, 100.0, Some(20.0))]);
        assert_eq!(
            broken,
            (Standing::Decided, "keep it loaded: a cold start breaks ttft within 100.0 ms at p95".to_owned())
        );
        // Too slow already: a cold start does not make it any better.
        let missed = decided(&pools, &[slo(Latency::Ttft, 10.0, Some(20.0))]);
        let expected =
            "keep it loaded: a warm answer misses ttft within 10.00 ms at p95 already, and a cold start all the more";
        assert_eq!(missed, (Standing::Decided, expected.to_owned()));
        // No token but the first waits for a load.
        let later = decided(&pools, &[slo(Latency::Tpot, 10.0, Some(20.0))]);
        assert_eq!(later, (Standing::Decided, "it may be loaded when it is asked for".to_owned()));
    }

    /// What one prompt's cold start keeps and the other's does not is open, and so is one that was never seen.
    #[test]
    fn an_answer_that_is_kept_with_one_prompt_alone_is_not_decided() {
        let asked = [slo(Latency::Ttft, 140.0, Some(20.0))];
        let open = (
            Standing::Hint,
            "it may be loaded when it is asked for, but of some SLOs it is not known whether a cold start keeps them"
                .to_owned(),
        );
        assert_eq!(decided(&both(Some(false), Some(false)), &asked), open);
        assert_eq!(decided(&both(Some(false), Some(false)), &[slo(Latency::E2e, 500.0, None)]), open);
        let unseen = [pool("short", Some(120.0), Some(false)), pool("long", None, None)];
        let hint = "it may be loaded when it is asked for with short; not known of long";
        assert_eq!(
            decided(&unseen, &[slo(Latency::Ttft, 500.0, Some(20.0))]),
            (Standing::Hint, hint.to_owned()),
            "the load alone fits, and the prefill after it was not seen"
        );
    }

    /// Whatever the rule for when nothing is asked says of it; what is not known of an SLO leaves that rule a hint.
    #[test]
    fn a_cold_start_that_keeps_what_is_asked_needs_no_warm_pool() {
        let first = slo(Latency::Ttft, 500.0, Some(20.0));
        let asked = [first, slo(Latency::Ttft, 500.0, Some(30.0)), slo(Latency::E2e, 900.0, Some(60.0))];
        let advice = "it may be loaded when it is asked for: a cold start keeps ttft within 500.0 ms at p95, e2e within \
                      900.0 ms at p95";
        for long in [Some(true), Some(false), None] {
            let kept = decided(&both(long, Some(true)), &asked);
            assert_eq!(kept, (Standing::Decided, advice.to_owned()), "{long:?}");
        }
        let open = decided(&both(Some(true), Some(true)), &[slo(Latency::E2e, 500.0, None)]);
        let hint = "keep it loaded: a cold start takes more than 10 warm prefills, but of some SLOs it is not known whether \
                    a cold start keeps them";
        assert_eq!(open, (Standing::Hint, hint.to_owned()));
        // Nothing that waits for a load is asked.
        let later = decided(&both(Some(true), Some(true)), &[slo(Latency::Tpot, 10.0, Some(1.0))]);
        assert_eq!(later.1, "keep it loaded: a cold start takes more than 10 warm prefills");
    }

    #[test]
    fn a_cell_that_alone_misses_is_named_and_found_is_the_percentile_s() {
        let of_cell = |cell: &str, found_ms: f64| SloRow {
            request: Some(cell.to_owned()),
            ..slo(Latency::Ttft, 20.0, Some(found_ms))
        };
        let pools = both(Some(true), Some(true));
        let alone = of_warm_pools(&pools, &[of_cell("short, 16 tokens", 18.0), of_cell("long, 16 tokens", 23.8)], None);
        // The short one is warm in time and has nothing to spare, which comes first.
        assert_eq!(
            alone[0].advice,
            "keep it loaded: a cold start breaks ttft within 20.00 ms at p95 (short, 16 tokens)"
        );
        let missed = [of_cell("long, 16 tokens", 23.8)];
        let row = &of_warm_pools(&pools, &missed, None)[0];
        assert_eq!(
            row.advice,
            "keep it loaded: a warm answer misses ttft within 20.00 ms at p95 already (long, 16 tokens), and a cold start all \
             the more"
        );
        let figures = row.figures.as_deref().unwrap_or_default();
        assert!(figures.ends_with("; 95 % of warm answers take up to 23.8 ms"), "{figures}");
        let two = [of_cell("long, 16 tokens", 23.8), of_cell("long, 64 tokens", 23.8)];
        let advice = &of_warm_pools(&pools, &two, None)[0].advice;
        assert!(advice.contains("at p95 already, and"), "{advice}");
        // Some of the workload was not measured, and counts as faster.
        let partly = [SloRow { coverage: 0.95, ..slo(Latency::Ttft, 20.0, Some(23.8)) }];
        let row = &of_warm_pools(&pools, &partly, None)[0];
        let figures = row.figures.as_deref().unwrap_or_default();
        assert!(figures.ends_with("; 95 % of warm answers take up to 23.8 ms at least"), "{figures}");
    }

    /// Prompts that disagree decide nothing, where nothing is asked of answers but what it costs is known.
    #[test]
    fn a_pool_without_slos_is_decided_where_its_prompts_agree() {
        let priced = |pools: [WarmRow; 2]| pools.map(|row| WarmRow { idle_month: Some(Uncertain::bare(3.0)), ..row });
        let (standing, advice) = decided(&priced(both(Some(true), Some(false))), &[]);
        assert_eq!(standing, Standing::NotSeparated, "{advice}");
        assert!(advice.starts_with("it depends on the prompt: keep it loaded for short; "), "{advice}");
        assert_eq!(decided(&priced(both(Some(true), Some(true))), &[]).0, Standing::Decided);
        assert!(of_warm_pools(&both(Some(true), Some(true)), &[], None).is_empty(), "the run's own row says as much");
    }
}
