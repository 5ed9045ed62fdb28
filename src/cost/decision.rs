//! What a bill advises: which engine serves the workload, and what a larger model must be worth.

use crate::analysis::RecommendationRow;
use crate::analysis::recommendations::{Standing, Topic};
use crate::units::significant;

use super::bill::{Bill, RequestRow, SloRow, ThousandRow, with_interval};
use super::engines::EngineName;
use super::request::ENOUGH;

/// An engine is the cheapest if it is in so many of the draws.
const SURE: f64 = 0.95;
/// Where the figures are printed.
const ROWS: &str = "phasebench cost";

/// A row for every model on two engines or more, and for every engine with two models or more.
#[must_use]
pub fn recommend(bill: &Bill) -> Vec<RecommendationRow> {
    let mut models: Vec<&str> = Vec::new();
    let mut backends: Vec<&str> = Vec::new();
    for row in &bill.requests {
        if !models.contains(&row.engine.model.as_str()) {
            models.push(&row.engine.model);
        }
        if !backends.contains(&row.engine.backend.as_str()) {
            backends.push(&row.engine.backend);
        }
    }
    let engines = models.iter().filter_map(|model| engine_for(bill, model));
    let slos = models.iter().flat_map(|model| slos_of(bill, model));
    let tiers = backends.iter().filter_map(|backend| tier_on(bill, backend));
    engines.chain(slos).chain(tiers).collect()
}

/// Which engines keep what is asked of answers, a row for each thing asked.
fn slos_of(bill: &Bill, model: &str) -> Vec<RecommendationRow> {
    let of_model: Vec<&SloRow> = bill.slos.iter().filter(|row| row.engine.model == model).collect();
    let mut asked: Vec<&SloRow> = Vec::new();
    for &row in &of_model {
        if !asked.iter().any(|other| other.asks_the_same(row)) {
            asked.push(row);
        }
    }
    asked.iter().map(|slo| slo_row(bill, slo, &of_model)).collect()
}

fn slo_row(bill: &Bill, slo: &SloRow, of_model: &[&SloRow]) -> RecommendationRow {
    let rows: Vec<&SloRow> = of_model.iter().copied().filter(|row| row.asks_the_same(slo)).collect();
    let names = |holds: Option<bool>| -> String {
        let own = rows.iter().filter(|row| row.holds == holds);
        own.map(|row| on(&row.engine)).collect::<Vec<_>>().join(", ")
    };
    let parts = [("kept by", Some(true)), ("missed by", Some(false)), ("not known of", None)];
    let parts = parts.map(|(words, holds)| (words, names(holds)));
    let told: Vec<String> =
        parts.iter().filter(|(_, names)| !names.is_empty()).map(|(words, names)| format!("{words} {names}")).collect();
    let found = rows.iter().map(|row| match (row.found_ms, &row.withheld) {
        (Some(ms), _) => format!("{}: {} ms", on(&row.engine), significant(ms, 3)),
        (None, why) => format!("{}: {}", on(&row.engine), why.as_deref().unwrap_or("not found")),
    });
    let (within, of) = (significant(slo.within_ms, 4), slo.of.as_str());
    let known = rows.iter().any(|row| row.holds.is_some());
    RecommendationRow {
        topic: Topic::Slo,
        about: format!(
            "{of} within {within} ms at p{}, {}, {}",
            slo.percentile,
            slo.engine.model,
            bill.workload.as_deref().unwrap_or("no workload")
        ),
        standing: if known { Standing::Decided } else { Standing::NoData },
        advice: told.join("; "),
        figures: Some(found.collect::<Vec<_>>().join("; ")),
        rows: ROWS.to_owned(),
        overturned_by: "waiting for a worker, which is in none of these; a longer tail than 95 % of the calls showed"
            .to_owned(),
    }
}

/// An engine where the model is known.
fn on(engine: &EngineName) -> String {
    if engine.batch == 1 { engine.backend.clone() } else { format!("{} × {}", engine.backend, engine.batch) }
}

/// `None`: the model ran on one engine only.
fn engine_for(bill: &Bill, model: &str) -> Option<RecommendationRow> {
    let requests: Vec<&RequestRow> = bill.requests.iter().filter(|row| row.engine.model == model).collect();
    if requests.len() < 2 {
        return None;
    }
    let covered = requests.iter().map(|row| row.coverage.share).fold(1.0, f64::min);
    let best = requests.iter().filter_map(|row| Some((row, row.cheapest_in?))).max_by(|a, b| a.1.total_cmp(&b.1));
    let misses = |row: &RequestRow| bill.slos.iter().any(|slo| slo.engine == row.engine && slo.holds == Some(false));
    let (standing, advice) = match best {
        _ if covered < ENOUGH => {
            (Standing::NoData, format!("no decision: {:.0} % of the workload was measured", covered * 100.0))
        }
        Some((row, share)) if share >= SURE && misses(row) => {
            let kept: Vec<String> = requests.iter().filter(|row| !misses(row)).map(|row| on(&row.engine)).collect();
            let cheapest = on(&row.engine);
            match &kept[..] {
                [] => (Standing::Hint, format!("{cheapest} is cheapest, and no engine answers as fast as is asked")),
                [one] => (Standing::Decided, format!("use {one}: {cheapest} is cheaper and too slow to answer")),
                _ => (
                    Standing::Hint,
                    format!("{cheapest} is cheapest and too slow to answer; choose of {}", kept.join(", ")),
                ),
            }
        }
        Some((row, share)) if share >= SURE => (Standing::Decided, format!("use {}", on(&row.engine))),
        Some(_) => (Standing::NotSeparated, "no engine is known to be cheapest".to_owned()),
        None => (Standing::NoData, "no engine can be priced for it".to_owned()),
    };
    let costs = first_tier(bill).filter(|row| row.engine.model == model).map(|row| {
        let share =
            requests.iter().find(|request| request.engine == row.engine).and_then(|request| request.cheapest_in);
        let share = share.map(|share| format!(", cheapest in {:.1} % of the draws", share * 100.0)).unwrap_or_default();
        format!("{}: {} a thousand requests{share}", row.engine.backend, with_interval(row.cost.total))
    });
    let costs: Vec<String> = costs.collect();
    Some(RecommendationRow {
        topic: Topic::Workload,
        about: format!("{model}, {}", bill.workload.as_deref().unwrap_or("no workload")),
        standing,
        advice,
        figures: (!costs.is_empty()).then(|| costs.join("; ")),
        rows: ROWS.to_owned(),
        overturned_by: "other prices or another mix; another run, in several sessions at best".to_owned(),
    })
}

/// What a larger model must be worth. `None`: the engine has one model.
fn tier_on(bill: &Bill, backend: &str) -> Option<RecommendationRow> {
    let mut rows: Vec<&ThousandRow> = first_tier(bill).filter(|row| row.engine.backend == backend).collect();
    rows.retain(|row| row.coverage >= ENOUGH && row.cost.total.value > 0.0);
    rows.sort_by(|a, b| a.cost.total.value.total_cmp(&b.cost.total.value));
    let (cheapest, others) = rows.split_first()?;
    if others.is_empty() {
        return None;
    }
    let needed = others.iter().map(|row| {
        let ratio = row.cost.total.value / cheapest.cost.total.value;
        format!("{} costs {} times as much", row.engine.model, significant(ratio, 3))
    });
    Some(RecommendationRow {
        topic: Topic::ModelTier,
        about: format!("{backend}, {}", bill.workload.as_deref().unwrap_or("no workload")),
        standing: Standing::Hint,
        advice: format!(
            "take {} unless another succeeds as many times as often as it costs more",
            cheapest.engine.model
        ),
        figures: Some(needed.collect::<Vec<_>>().join("; ")),
        rows: ROWS.to_owned(),
        overturned_by: "your own rates of success: quality is not measured here".to_owned(),
    })
}

fn first_tier(bill: &Bill) -> impl Iterator<Item = &ThousandRow> {
    let first = bill.thousands.first().map(|row| row.tier.as_str());
    bill.thousands.iter().filter(move |row| Some(row.tier.as_str()) == first)
}
