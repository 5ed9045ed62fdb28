//! What a run costs, where a report is made with prices.

use crate::analysis::RecommendationRow;
use crate::analysis::recommendations::{Standing, Topic};
use crate::cost::bill::{Bill, WarmRow, energy_told, percent, with_interval};
use crate::cost::decision;
use crate::cost::request::ENOUGH;
use crate::economics::figures::Uncertain;
use crate::report::document::{Assurance, Block, Document, Finding, Section, Table, Text};
use crate::report::format::ABSENT;
use crate::units::{Bytes, significant};

use super::recommendations;

/// Puts what a run costs into its report: the answer on the first screen, before all others, and a section after the advice.
pub fn add_costs(document: &mut Document, bill: &Bill) {
    let rows = decision::recommend(bill);
    let one_for_all = decision::one_for_all(bill, &rows);
    let by_model = rows.iter().filter(|row| one_for_all.is_none() || row.topic != Topic::Workload);
    let mut answers: Vec<Finding> = one_for_all.iter().chain(by_model).filter_map(finding).collect();
    if !rows.iter().any(|row| row.topic == Topic::Workload) {
        answers.splice(0..0, cost_alone(bill));
    }
    let place = document.verdict.iter().position(|block| matches!(block, Block::Findings(_)));
    document.verdict.insert(place.unwrap_or(document.verdict.len()), Block::Findings(answers));
    recommendations::from_decisions(document);
    let after = document.sections.iter().position(|section| section.id == recommendations::ID);
    document.sections.insert(after.map_or(0, |place| place + 1), section(bill));
}

/// `None`: the row is not about the workload.
fn finding(row: &RecommendationRow) -> Option<Finding> {
    let question = match row.topic {
        Topic::Workload => format!("What serves the workload? {}", row.about),
        Topic::Slo => format!("Fast enough? {}", row.about),
        _ => return None,
    };
    let assurance = match row.standing {
        Standing::Decided => Assurance::Holds,
        Standing::Hint => Assurance::Caution,
        Standing::NotSeparated | Standing::NoData => Assurance::Withheld,
    };
    let grounds = format!("Overturned by {}.", row.overturned_by);
    let mut answer = Text::default().strong(capitalised(&row.advice)).and(".");
    if let Some(figures) = &row.figures {
        answer = answer.and(format!(" {figures}."));
    }
    Some(Finding { question, assurance, answer, grounds: grounds.into() })
}

/// What the workload costs where there is no engine to choose. `None`: nothing of it can be priced.
fn cost_alone(bill: &Bill) -> Option<Finding> {
    let first = bill.thousands.first()?;
    let of_tier = bill.thousands.iter().filter(|row| row.tier == first.tier);
    let costs = of_tier.map(|row| format!("{}: {}, {}", row.engine, with_interval(row.cost.total), row.cost.scope));
    let covered = bill.requests.iter().map(|row| row.coverage.share).fold(1.0, f64::min);
    Some(Finding {
        question: format!("What does the workload cost? {}", bill.workload.as_deref().unwrap_or_default()),
        assurance: if covered >= ENOUGH { Assurance::Holds } else { Assurance::Withheld },
        answer: format!(
            "{} a thousand requests on {}: {}.",
            bill.currency,
            first.tier,
            costs.collect::<Vec<_>>().join("; ")
        )
        .into(),
        grounds: format!("{} of the workload was measured on the engine that reaches least of it.", percent(covered))
            .into(),
    })
}

/// Advice begins in lower case, being the end of a line elsewhere.
fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}", first.to_uppercase(), letters.as_str()))
}

fn or_absent(value: Option<Uncertain>) -> String {
    value.map_or_else(|| ABSENT.to_owned(), with_interval)
}

fn section(bill: &Bill) -> Section {
    let workload = bill.workload.as_deref().map(|name| format!(", workload {name}")).unwrap_or_default();
    let intro = format!(
        "Prices {} in {}{workload}. Brackets are 95 % intervals; energy that was not measured is never 0, and totals without it are \
         called infrastructure only. An energy in brackets alone is of grade D: it lies between these, and is in no total.",
        bill.pricing, bill.currency
    );
    let mut blocks = vec![Block::Paragraph(intro.into())];
    blocks.extend(bill.notes.iter().map(|note| Block::Note(note.as_str().into())));
    let first = bill.phases.first().map(|row| row.tier.clone()).unwrap_or_default();
    let phases = Table::of(bill.phases.iter().filter(|row| row.tier == first))
        .words("engine", |row| row.engine.to_string())
        .words("phase", |row| row.phase.as_str())
        .number("total", &bill.currency, |row| with_interval(row.cost.total))
        .number("energy", &bill.currency, |row| energy_told(&row.cost).unwrap_or_else(|| ABSENT.to_owned()))
        .words("", |row| row.cost.scope.to_string())
        .captioned(Text::plain(format!("A million tokens on {first}.")));
    let requests = Table::of(&bill.requests)
        .words("engine", |row| row.engine.to_string())
        .number("mean request", "s", |row| or_absent(row.seconds))
        .number("cheapest in", "", |row| row.cheapest_in.map_or_else(|| ABSENT.to_owned(), percent))
        .number("covered", "", |row| percent(row.coverage.share))
        .words("energy", |row| row.no_energy.clone().unwrap_or_else(|| "counted".to_owned()))
        .captioned(Text::plain(
            "The workload's mean request, and in which share of the draws an engine is the cheapest with its model.",
        ));
    let thousands = Table::of(&bill.thousands)
        .words("engine", |row| row.engine.to_string())
        .words("tier", |row| row.tier.as_str())
        .number("total", &bill.currency, |row| with_interval(row.cost.total))
        .number("energy", &bill.currency, |row| energy_told(&row.cost).unwrap_or_else(|| ABSENT.to_owned()))
        .words("", |row| row.cost.scope.to_string())
        .number("covered", "", |row| percent(row.coverage))
        .captioned(Text::plain(
            "A thousand requests of the workload on every tier. What is not covered is taken to be as the mean of what is, here \
             and below.",
        ));
    let tables = [phases, tiers(bill), comparisons(bill, &first), requests, thousands, routing(bill, &first)]
        .into_iter()
        .chain(of_load(bill, &first))
        .chain([warm_pools(bill, &first), models(bill, &first)]);
    blocks.extend(tables.filter(|table| !table.rows.is_empty()).map(Block::from));
    blocks.extend(bill.missing_scenario.is_some().then(|| {
        let note = Text::plain("Too little of the workload was measured. The scenario file that ");
        let note = note.code("phasebench decide RUN --pricing FILE --workload FILE").and(" prints ");
        Block::Note(note.and(format!("{}.", bill.missing_measures())))
    }));
    Section { id: "costs", title: "What it costs".to_owned(), blocks }
}

/// What the workload's load needs: workers, a month on the tier, and a machine of one's own.
fn of_load(bill: &Bill, tier: &str) -> [Table; 4] {
    let whole = |value: Uncertain| match value.low.zip(value.high) {
        Some((low, high)) => format!("{:.0} [{low:.0}, {high:.0}]", value.value),
        None => format!("{:.0}", value.value),
    };
    let load = bill.capacity.first().map(|row| significant(row.requests_per_s, 3)).unwrap_or_default();
    let capacity = Table::of(&bill.capacity)
        .words("engine", |row| row.engine.to_string())
        .number("workers, at least", "", |row| whole(row.workers))
        .number("busy", "", |row| row.busy.map_or_else(|| ABSENT.to_owned(), percent))
        .number("mean wait", "s", |row| row.mean_wait_model_s.map_or_else(|| ABSENT.to_owned(), |s| significant(s, 3)))
        .number("covered", "", |row| percent(row.coverage))
        .captioned(Text::plain(format!(
            "Workers for {load} requests/s: a lower bound without queueing. The wait is a model's, M/G/1, and no measurement."
        )));
    let months = Table::of(bill.months.iter().filter(|row| row.tier == tier))
        .words("engine", |row| row.engine.to_string())
        .number("for the work", &bill.currency, |row| with_interval(row.for_work.total))
        .number("for whole workers", &bill.currency, |row| with_interval(row.hired))
        .words("", |row| row.scope.to_string())
        .number("covered", "", |row| percent(row.coverage))
        .captioned(Text::plain(format!("A month of 30 days on {tier}.")));
    let bought = Table::of(&bill.break_even)
        .words("engine", |row| row.engine.to_string())
        .words("against", |row| row.tier.as_str())
        .number("machines", "", |row| whole(row.machines))
        .number("once", &bill.currency, |row| with_interval(row.once))
        .number("pays after", "months", |row| row.months.map_or_else(|| "never".to_owned(), with_interval))
        .words("", |row| row.scope.to_string())
        .words("", |row| if row.pays { "" } else { "not within its life" })
        .number("covered", "", |row| percent(row.coverage))
        .captioned(Text::plain("Machines of one's own against hire."));
    [capacity, months, bought, tco(bill)]
}

/// What other tiers save of the machine's time.
fn tiers(bill: &Bill) -> Table {
    let first = bill.tiers.first().map(|row| row.against.as_str()).unwrap_or_default();
    Table::of(&bill.tiers)
        .words("tier", |row| row.tier.as_str())
        .number("an hour", &bill.currency, |row| significant(row.per_hour, 3))
        .number("saves", "%", |row| row.saves_percent.map_or_else(|| ABSENT.to_owned(), |saved| format!("{saved:.1}")))
        .captioned(Text::plain(format!("What tiers save of the machine's time against {first}.")))
}

/// How engines differ over the cells that two have.
fn comparisons(bill: &Bill, tier: &str) -> Table {
    let or_none = |value: Option<f64>| value.map_or_else(|| ABSENT.to_owned(), |value| significant(value, 3));
    Table::of(&bill.comparisons)
        .words("phase", |row| row.phase.as_str())
        .words("one", |row| row.first.to_string())
        .words("other", |row| row.second.on())
        .number("cells", "", |row| row.cells.to_string())
        .number("one's mean", &bill.currency, |row| significant(row.mean_first, 3))
        .number("other's mean", &bill.currency, |row| significant(row.mean_second, 3))
        .number("Cohen's d", "", |row| or_none(row.cohen_d))
        .number("p (Welch)", "", |row| or_none(row.welch_p))
        .words("", |row| row.scope.to_string())
        .captioned(Text::plain(format!(
            "A million tokens on {tier} with cells as samples, as published reports test: how cells differ hides how sure each is."
        )))
}

fn routing(bill: &Bill, tier: &str) -> Table {
    Table::of(&bill.routing)
        .words("best alone", |row| row.alone.to_string())
        .words("and besides", |row| if row.others.is_empty() { ABSENT } else { row.others.as_str() })
        .number("requests there", "", |row| percent(row.routed))
        .number("saves", "%", |row| with_interval(row.saved_percent))
        .number("a thousand requests", &bill.currency, |row| with_interval(row.saved_per_thousand))
        .words("", |row| row.scope.to_string())
        .number("covered", "", |row| percent(row.coverage))
        .captioned(Text::plain(format!(
            "What a router would save on {tier} that sends each request to the engine that is cheapest for it. All engines must be \
             kept loaded for it, which is not charged."
        )))
}

/// What the load costs over months, on every tier that is hired and on machines that are bought.
fn tco(bill: &Bill) -> Table {
    let months = bill.tco.first().map(|row| significant(row.months, 3)).unwrap_or_default();
    Table::of(&bill.tco)
        .words("engine", |row| row.engine.to_string())
        .words("tier", |row| row.tier.as_str())
        .number("total", &bill.currency, |row| with_interval(row.total))
        .words("", |row| row.scope.to_string())
        .number("covered", "", |row| percent(row.coverage))
        .captioned(Text::plain(format!(
            "Total cost of ownership over {months} months; `bought` is the machine of the pricing file, charged once a life."
        )))
}

/// What keeping a model loaded costs, against its cold starts.
fn warm_pools(bill: &Bill, tier: &str) -> Table {
    let memory = |row: &WarmRow| {
        let parts = [(row.host_bytes, "host"), (row.device_bytes, "device")];
        let known = parts.iter().filter_map(|(bytes, of)| bytes.map(|bytes| format!("{} {of}", Bytes(bytes))));
        let known: Vec<String> = known.collect();
        if known.is_empty() { ABSENT.to_owned() } else { known.join(", ") }
    };
    let idle = |row: &WarmRow| match row.idle_watts.zip(row.idle_from) {
        Some((watts, from)) => format!("{} {}", with_interval(watts), from.as_str()),
        None => ABSENT.to_owned(),
    };
    Table::of(&bill.warm_pools)
        .words("model", |row| row.model.as_str())
        .words("backend", |row| row.backend.as_str())
        .words("prompt", |row| row.prompt().to_string())
        .number("load", "ms", |row| significant(row.load_ms, 3))
        .number("cold start", "ms", |row| row.cold_ms.map_or_else(|| ABSENT.to_owned(), |ms| significant(ms, 3)))
        .number("warm", "ms", |row| significant(row.warm_ms, 3))
        .words("memory", memory)
        .words("idle (W)", idle)
        .number("energy of a month idle", &bill.currency, |row| or_absent(row.idle_month))
        .number("pays from", "cold starts a month", |row| or_absent(row.pays_from))
        .captioned(Text::plain(format!(
            "Keeping a model loaded on {tier}, cold and warm of the same prompt each: it pays from as many cold starts a month on as \
             cost more machine time than its idle month's energy. The memory that it takes is charged nowhere."
        )))
}

fn models(bill: &Bill, tier: &str) -> Table {
    Table::of(&bill.models)
        .words("dearer", |row| row.dearer.to_string())
        .words("cheaper", |row| row.cheaper.to_string())
        .number("times the cost", "", |row| with_interval(row.ratio))
        .words("", |row| row.scope.to_string())
        .number("covered", "", |row| percent(row.coverage))
        .captioned(Text::plain(format!(
            "Each model beside the next cheaper one, on its cheapest engine on {tier}: how many times as often it must succeed."
        )))
}
