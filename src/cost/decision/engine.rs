//! Which engine serves the workload, model by model, and where it is one for all of them.

use crate::analysis::RecommendationRow;
use crate::analysis::recommendations::{Standing, Topic};
use crate::cost::bill::{Bill, RequestRow, ThousandRow, percent, with_interval};
use crate::cost::engines::EngineName;
use crate::cost::request::ENOUGH;
use crate::economics::figures::Uncertain;
use crate::economics::price::Scope;

use super::rows::{ROWS, part_of};

/// An engine is the cheapest if it is in so many of the draws.
const SURE: f64 = 0.95;

/// What would change which engine it is.
const OVERTURNED_BY: &str = "other prices or another mix; another run, in several sessions at best";

/// Which engine to use for a model. `None`: the model ran on one engine only.
pub(super) fn engine_for(bill: &Bill, model: &str) -> Option<RecommendationRow> {
    let requests: Vec<&RequestRow> = bill.requests.iter().filter(|row| row.engine.model == model).collect();
    if requests.len() < 2 {
        return None;
    }
    let (enough, left_out): (Vec<&RequestRow>, Vec<&RequestRow>) =
        requests.iter().copied().partition(|row| row.coverage.is_enough());
    let (standing, advice) = match &enough[..] {
        [] => {
            let most = requests.iter().map(|row| row.coverage.share).fold(0.0, f64::max);
            let measured = format!("no decision: {:.0} % of the workload was measured", most * 100.0);
            (Standing::NoData, format!("{measured}{}", out_of_reach(&requests)))
        }
        [only] => (
            Standing::NoData,
            format!("no decision: of {} alone enough of the workload was measured", only.engine.on()),
        ),
        several => cheapest(bill, several),
    };
    let told = left_out.iter().map(|row| format!("{} ({:.0} %)", row.engine.on(), row.coverage.share * 100.0));
    let told: Vec<String> = told.collect();
    let costs = Costs::of(bill, model);
    let mut figures: Vec<String> = costs.in_words(bill).into_iter().collect();
    if !told.is_empty() && !enough.is_empty() {
        figures.push(format!("left out, for too little of the workload was measured on them: {}", told.join(", ")));
    }
    Some(RecommendationRow {
        topic: Topic::Workload,
        about: format!("{model}, {}", bill.workload.as_deref().unwrap_or("no workload")),
        standing,
        advice,
        figures: (!figures.is_empty()).then(|| figures.join("; ")),
        rows: ROWS.to_owned(),
        overturned_by: OVERTURNED_BY.to_owned(),
    })
}

/// That no run of these engines can cover enough of the workload. Empty: one could.
fn out_of_reach(requests: &[&RequestRow]) -> String {
    let most = requests.iter().map(|row| row.coverage.within_contexts()).fold(0.0, f64::max);
    if most >= ENOUGH {
        return String::new();
    }
    format!(", and at most {} fit into the model's context: no run decides it", percent(most))
}

/// Which of several engines that cover enough of the workload to use.
fn cheapest(bill: &Bill, of: &[&RequestRow]) -> (Standing, String) {
    let best = of.iter().filter_map(|row| Some((row, row.cheapest_in?))).max_by(|a, b| a.1.total_cmp(&b.1));
    let Some((best, share)) = best else { return (Standing::NoData, "no engine can be priced for it".to_owned()) };
    if share < SURE {
        return (Standing::NotSeparated, "no engine is known to be cheapest".to_owned());
    }
    let cheapest = best.engine.on();
    let that = |wanted: Answers| -> Vec<String> {
        of.iter().filter(|row| Answers::of(&row.engine, bill) == wanted).map(|row| row.engine.on()).collect()
    };
    match Answers::of(&best.engine, bill) {
        Answers::InTime => (Standing::Decided, advice_for(&cheapest)),
        Answers::Unknown => (
            Standing::Hint,
            format!("{cheapest} is cheapest, and it is not known whether it answers as fast as is asked"),
        ),
        Answers::TooSlowly => {
            let (kept, unknown) = (that(Answers::InTime), that(Answers::Unknown));
            match (&kept[..], &unknown[..]) {
                ([], []) => {
                    (Standing::Hint, format!("{cheapest} is cheapest, and no engine answers as fast as is asked"))
                }
                ([one], []) => (Standing::Decided, format!("use {one}: {cheapest} is cheaper and too slow to answer")),
                (kept, unknown) => {
                    let choice = [
                        (!kept.is_empty()).then(|| format!("choose of {}", kept.join(", "))),
                        (!unknown.is_empty()).then(|| format!("not known of {}", unknown.join(", "))),
                    ];
                    let choice: Vec<String> = choice.into_iter().flatten().collect();
                    (Standing::Hint, format!("{cheapest} is cheapest and too slow to answer; {}", choice.join("; ")))
                }
            }
        }
    }
}

/// One answer for all models, where for each of two or more the same engine is to be used, being the cheapest: what it costs, and
/// in parentheses what the next cheapest does.
#[must_use]
pub fn one_for_all(bill: &Bill, rows: &[RecommendationRow]) -> Option<RecommendationRow> {
    let answers: Vec<&RecommendationRow> = rows.iter().filter(|row| row.topic == Topic::Workload).collect();
    let (first, others) = answers.split_first()?;
    let alike = others.iter().all(|row| (row.standing, &row.advice) == (first.standing, &first.advice));
    if others.is_empty() || !alike || first.standing != Standing::Decided {
        return None;
    }
    let costs = bill.models().into_iter().map(|model| (model, Costs::of(bill, model)));
    // A model that ran on one engine only has no answer.
    let all: Vec<(&str, Costs)> = costs.filter(|(_, costs)| costs.0.len() > 1).collect();
    let head = all.first()?.1.head(bill)?;
    let cheapest = |costs: &Costs| costs.0.first().is_some_and(|cost| first.advice == advice_for(&cost.on));
    if all.len() != answers.len()
        || !all.iter().all(|(_, costs)| cheapest(costs) && costs.head(bill).as_ref() == Some(&head))
    {
        return None;
    }
    let least = all.iter().filter_map(|(_, costs)| costs.0[0].cheapest_in).fold(1.0, f64::min);
    let share =
        if least >= 1.0 { in_draws(least) } else { format!("in at least {} of the draws with each", percent(least)) };
    let told = all.iter().map(|(model, costs)| {
        let [one, next, ..] = &costs.0[..] else { return String::new() };
        format!("{model} {} ({} {})", with_interval(one.total), next.on, with_interval(next.total))
    });
    Some(RecommendationRow {
        about: format!("{} models, {}", all.len(), bill.workload.as_deref().unwrap_or("no workload")),
        advice: format!("{} for each of them", first.advice),
        figures: Some(format!("{head}: {}; cheapest {share}", told.collect::<Vec<_>>().join("; "))),
        ..(*first).clone()
    })
}

/// What is advised where an engine is the cheapest and fast enough.
fn advice_for(engine: &str) -> String {
    format!("use {engine}")
}

/// What a thousand requests cost with one model on the first tier, the cheapest engine first.
struct Costs(Vec<EngineCost>);

/// On one engine.
struct EngineCost {
    on: String,
    total: Uncertain,
    scope: Scope,
    /// What of the workload it is of. `None`: all of it.
    part: Option<String>,
    /// Share of draws in which no engine with the same model is cheaper.
    cheapest_in: Option<f64>,
}

impl Costs {
    fn of(bill: &Bill, model: &str) -> Self {
        let tier = bill.thousands.first().map(|row| row.tier.as_str());
        let rows = bill.thousands.iter().filter(|row| Some(row.tier.as_str()) == tier && row.engine.model == model);
        let mut costs: Vec<EngineCost> = rows.map(|row| EngineCost::of(bill, row)).collect();
        costs.sort_by(|a, b| a.total.value.total_cmp(&b.total.value));
        Self(costs)
    }

    /// What all of them are of. `None`: not the same, or there are none.
    fn head(&self, bill: &Bill) -> Option<String> {
        let first = self.0.first()?;
        let alike = self.0.iter().all(|cost| cost.of_what() == first.of_what());
        alike.then(|| format!("{}{}", a_thousand(bill), first.of_what()))
    }

    /// Every engine with its cost. `None`: there are none.
    fn in_words(&self, bill: &Bill) -> Option<String> {
        let head = self.head(bill);
        let told = self.0.iter().map(|cost| {
            let of_what = if head.is_some() { String::new() } else { cost.of_what() };
            let share = cost.cheapest_in.filter(|share| *share > 0.0);
            let share = share.map(|share| format!(", cheapest {}", in_draws(share))).unwrap_or_default();
            format!("{} {}{of_what}{share}", cost.on, with_interval(cost.total))
        });
        let told: Vec<String> = told.collect();
        let head = head.unwrap_or_else(|| a_thousand(bill));
        (!told.is_empty()).then(|| format!("{head}: {}", told.join("; ")))
    }
}

impl EngineCost {
    fn of(bill: &Bill, row: &ThousandRow) -> Self {
        let request = bill.requests.iter().find(|request| request.engine == row.engine);
        Self {
            on: row.engine.on(),
            total: row.cost.total,
            scope: row.cost.scope,
            part: part_of(row.coverage),
            cheapest_in: request.and_then(|request| request.cheapest_in),
        }
    }

    fn of_what(&self) -> String {
        let part = self.part.as_ref().map(|part| format!(" {part}")).unwrap_or_default();
        format!("{part}, {}", self.scope)
    }
}

/// The unit of costs.
fn a_thousand(bill: &Bill) -> String {
    let tier = bill.thousands.first().map(|row| format!(" on {}", row.tier)).unwrap_or_default();
    format!("{} a thousand requests{tier}", bill.currency)
}

/// In how many of the draws.
fn in_draws(share: f64) -> String {
    if share >= 1.0 { "in every draw".to_owned() } else { format!("in {} of the draws", percent(share)) }
}

/// Whether an engine answers as fast as is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    InTime,
    TooSlowly,
    /// Something asked for is withheld, and nothing is missed.
    Unknown,
}

impl Answers {
    fn of(engine: &EngineName, bill: &Bill) -> Self {
        let own = || bill.slos.iter().filter(|slo| slo.engine == *engine);
        if own().any(|slo| slo.holds == Some(false)) {
            Self::TooSlowly
        } else if own().any(|slo| slo.holds.is_none()) {
            Self::Unknown
        } else {
            Self::InTime
        }
    }
}
