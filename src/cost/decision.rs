//! What a bill advises: which engine serves the workload, and what a larger model must be worth.

mod engine;
mod rows;
mod warm_pools;

use crate::analysis::RecommendationRow;
use crate::analysis::claims::Priced;
use crate::analysis::engines::MARGIN;
use crate::analysis::recommendations::{Standing, Topic};
use crate::units::significant;

use super::bill::{Bill, ModelRow, PhaseRow, RoutingRow, SloRow, percent, with_interval};
use super::engines::EngineName;

use engine::engine_for;
pub use engine::one_for_all;
use rows::{ROWS, part_of};
pub use warm_pools::of_warm_pools;

/// A row for every model on two engines or more, for everything asked of answers, and for every model beside the next cheaper.
#[must_use]
pub fn recommend(bill: &Bill) -> Vec<RecommendationRow> {
    let models = bill.models();
    let engines = models.iter().filter_map(|model| engine_for(bill, model));
    let slos = models.iter().flat_map(|model| slos_of(&bill.slos, model, bill.workload.as_deref()));
    let routes = bill.routing.iter().map(|row| route(bill, row));
    let tiers = bill.models.iter().map(|row| tier(bill, row));
    let warm = of_warm_pools(&bill.warm_pools, &bill.slos, Some(&bill.currency));
    engines.chain(routes).chain(slos).chain(warm).chain(tiers).collect()
}

/// Puts rows in front of those that a run has without prices and SLOs, in place of any on the same question: two answers to one
/// question would be none.
pub fn put_first(rows: Vec<RecommendationRow>, decisions: &mut Vec<RecommendationRow>) {
    decisions.retain(|old| !rows.iter().any(|new| new.asks_the_same(old)));
    decisions.splice(0..0, rows);
}

/// Puts rows where those stand that a run has on the same question without prices and SLOs; other rows stay as they are.
pub fn put_in_place(rows: &[RecommendationRow], decisions: &mut [RecommendationRow]) {
    for old in decisions {
        if let Some(new) = rows.iter().find(|new| new.asks_the_same(old)) {
            old.clone_from(new);
        }
    }
}

/// What prices say to claims on money, on the first tier.
#[must_use]
pub fn priced(bill: &Bill) -> Priced {
    let first = bill.phases.first().map(|row| row.tier.as_str());
    let of_first = bill.phases.iter().filter(|row| Some(row.tier.as_str()) == first && row.cost.total.value > 0.0);
    let share = |row: &PhaseRow| {
        let share = row.cost.energy?.value / row.cost.total.value;
        Some((format!("{} of {}", row.phase, row.engine), share))
    };
    let own = bill.tiers.iter().filter(|row| row.owned);
    Priced {
        energy_shares: of_first.filter_map(share).collect(),
        own_saves: own.filter_map(|row| Some((row.tier.clone(), row.saves_percent? / 100.0))).collect(),
    }
}

/// Which engines keep what is asked of answers where measured cells are the requests, a row for each thing asked of each cell.
#[must_use]
pub fn of_cells(slos: &[SloRow]) -> Vec<RecommendationRow> {
    let mut models: Vec<&str> = Vec::new();
    for row in slos {
        if !models.contains(&row.engine.model.as_str()) {
            models.push(&row.engine.model);
        }
    }
    models.iter().flat_map(|model| slos_of(slos, model, None)).collect()
}

/// Which engines keep what is asked of answers, a row for each thing asked.
fn slos_of(slos: &[SloRow], model: &str, workload: Option<&str>) -> Vec<RecommendationRow> {
    let of_model: Vec<&SloRow> = slos.iter().filter(|row| row.engine.model == model).collect();
    let mut asked: Vec<&SloRow> = Vec::new();
    for &row in &of_model {
        if !asked.iter().any(|other| other.asks_the_same(row)) {
            asked.push(row);
        }
    }
    asked.iter().map(|slo| slo_row(slo, &of_model, workload)).collect()
}

fn slo_row(slo: &SloRow, of_model: &[&SloRow], workload: Option<&str>) -> RecommendationRow {
    let rows: Vec<&SloRow> = of_model.iter().copied().filter(|row| row.asks_the_same(slo)).collect();
    let names = |holds: Option<bool>| -> String {
        let own = rows.iter().filter(|row| row.holds == holds);
        own.map(|row| row.engine.on()).collect::<Vec<_>>().join(", ")
    };
    let parts = [("kept by", Some(true)), ("missed by", Some(false)), ("not known of", None)];
    let parts = parts.map(|(words, holds)| (words, names(holds)));
    let told: Vec<String> =
        parts.iter().filter(|(_, names)| !names.is_empty()).map(|(words, names)| format!("{words} {names}")).collect();
    let found = rows.iter().map(|row| match (row.found_ms, &row.withheld) {
        (Some(ms), _) => format!("{}: {} ms", row.engine.on(), significant(ms, 3)),
        (None, why) => format!("{}: {}", row.engine.on(), why.as_deref().unwrap_or("not found")),
    });
    let (within, of) = (significant(slo.within_ms, 4), slo.of.as_str());
    let known = rows.iter().filter(|row| row.holds.is_some()).count();
    let standing = match known {
        0 => Standing::NoData,
        known if known < rows.len() => Standing::Hint,
        _ => Standing::Decided,
    };
    RecommendationRow {
        topic: Topic::Slo,
        about: format!(
            "{of} within {within} ms at p{}, {}, {}",
            slo.percentile,
            slo.engine.model,
            slo.request.as_deref().or(workload).unwrap_or("no workload")
        ),
        standing,
        advice: told.join("; "),
        figures: Some(found.collect::<Vec<_>>().join("; ")),
        rows: ROWS.to_owned(),
        overturned_by: "waiting for a worker, which is in none of these; a longer tail than the calls showed"
            .to_owned(),
    }
}

/// Whether requests are worth sending to several engines.
fn route(bill: &Bill, row: &RoutingRow) -> RecommendationRow {
    let (alone, margin) = (row.alone.on(), (MARGIN - 1.0) * 100.0);
    let saved = row.saved_percent;
    let (standing, advice) = if row.others.is_empty() {
        (Standing::Decided, format!("do not route: by these figures every request is cheapest on {alone}"))
    } else if saved.high.is_some_and(|high| high < margin) {
        (Standing::Decided, format!("do not route: it saves less than {margin:.0} %"))
    } else if saved.low.is_some_and(|low| low >= margin) {
        (Standing::Decided, format!("route between {alone} and {}", row.others))
    } else {
        (Standing::NotSeparated, format!("do not route: it is not known to save {margin:.0} %"))
    };
    let figures = (!row.others.is_empty()).then(|| {
        let mut parts = vec![format!(
            "{} of the requests on {} save {} % of what {alone} alone costs: {} {} a thousand requests",
            percent(row.routed),
            row.others,
            with_interval(saved),
            with_interval(row.saved_per_thousand),
            bill.currency
        )];
        parts.extend(row.saved_per_month.map(|month| format!("{} {} a month", with_interval(month), bill.currency)));
        parts.push(row.scope.to_string());
        parts.extend(part_of(row.coverage));
        parts.join(", ")
    });
    RecommendationRow {
        topic: Topic::Routing,
        about: format!("{}, {}", row.alone.model, bill.workload.as_deref().unwrap_or("no workload")),
        standing,
        advice,
        figures,
        rows: ROWS.to_owned(),
        overturned_by:
            "what it takes to keep several engines loaded, which is in none of these; other prices or another mix"
                .to_owned(),
    }
}

/// What a dearer model must be worth beside the next cheaper one, each on its cheapest engine.
fn tier(bill: &Bill, row: &ModelRow) -> RecommendationRow {
    let (dearer, cheaper) = (&row.dearer.model, &row.cheaper.model);
    let in_percent = |share: f64| significant(share * 100.0, 3);
    let needed = row.needed.map(|needed| needed.times(100.0));
    let (standing, advice) = match (needed, row.success_of_dearer.map(|rate| rate * 100.0)) {
        (Some(_), None) if row.is_out_of_reach() => {
            (Standing::Decided, format!("take {cheaper}: {dearer} would have to succeed in more than 100 %"))
        }
        (Some(needed), Some(rate)) if needed.high.is_some_and(|high| rate > high) => {
            (Standing::Decided, format!("take {dearer}: it costs less per success"))
        }
        (Some(needed), Some(rate)) if needed.low.is_some_and(|low| rate < low) => {
            (Standing::Decided, format!("take {cheaper}: it costs less per success"))
        }
        (Some(_), Some(_)) => {
            (Standing::NotSeparated, "either: they are not known to cost differently per success".to_owned())
        }
        _ => {
            (Standing::Hint, format!("take {cheaper} unless {dearer} succeeds as many times as often as it costs more"))
        }
    };
    let on_its = |engine: &EngineName| format!("{} on {}", engine.model, engine.on());
    let mut figures = vec![format!(
        "{} costs {} times as much as {}",
        on_its(&row.dearer),
        with_interval(row.ratio),
        on_its(&row.cheaper)
    )];
    if let Some((rate, needed)) = row.success_of_cheaper.zip(needed) {
        let (rate, needed) = (in_percent(rate), with_interval(needed));
        figures.push(format!("{cheaper} succeeds in {rate} %, {dearer} must in {needed} %"));
    }
    figures.extend(row.success_of_dearer.map(|rate| format!("{dearer} does in {} %", in_percent(rate))));
    let worth = row.value_of_failure;
    figures
        .extend(worth.map(|value| format!("it pays whatever that is where a failure costs {}", with_interval(value))));
    figures.push(row.scope.to_string());
    figures.extend(part_of(row.coverage));
    RecommendationRow {
        topic: Topic::ModelTier,
        about: format!("{dearer} or {cheaper}, {}", bill.workload.as_deref().unwrap_or("no workload")),
        standing,
        advice,
        figures: Some(figures.join("; ")),
        rows: ROWS.to_owned(),
        overturned_by: "your own rates of success: quality is not measured here; what a failure costs besides"
            .to_owned(),
    }
}
