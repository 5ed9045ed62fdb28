//! `phasebench cost RUN`: money of runs whose latencies a test chose.

use std::collections::BTreeMap;
use std::path::Path;

use phasebench::analysis::engines::process_allowance;
use phasebench::analysis::recommendations::{Standing, Topic};
use phasebench::analysis::{RecommendationRow, Tables};
use phasebench::cost::bill::{Bill, Order, of_run};
use phasebench::cost::decision::recommend;
use phasebench::economics::figures::Uncertain;
use phasebench::economics::request_time::Reach;
use phasebench::scenario::workload::{Bins, Requests};
use phasebench::scenario::{Pricing, Workload, pricing, workload};
use phasebench::terms::{Mode, SessionCount};

use crate::analysis::engines::{interleaved_over, steady};
use crate::analysis::run::{Model, Run, Shape, model, shape};

const SCENARIO: &str = include_str!("../../../scenarios/quickstart.yaml");
const PRICES: &str = "version: 1\nname: p\nper_kwh: 0.2\nidle_watts: 10\nutilisation: 0.5\ngco2e_per_kwh: 500\n\
    tiers: [{ name: hired, per_hour: 3.6 }, { name: own, per_hour: 0.05, owned: true }]\n\
    hardware: { price: 1000, months: 10, resale: 100 }\n";

/// Prefill grows as prompt^1.5; a step takes 2 ms at the short prompt and 4 ms at the long one.
fn law(_: Model, shape: Shape, call: u32) -> (f64, f64) {
    let wobble = [0.99, 1.0, 1.01, 1.0][call as usize % 4];
    let per_step = if shape.prompt == 16 { 2.0 } else { 4.0 };
    (f64::from(shape.prompt).powf(1.5) * wobble, f64::from(shape.steps) * per_step * wobble)
}

fn tables(n: u32) -> (Run, Tables) {
    let shapes = [shape("short", 16, 1, 32), shape("long", 256, 1, 32)];
    let run = Run::measured(&[model("m", 4.0, 2)], &shapes, n, law);
    let tables = run.tables();
    (run, tables)
}

fn prices() -> Pricing {
    pricing::parse(PRICES, Path::new("p.yaml")).unwrap()
}

fn workload(text: &str) -> (Workload, Option<Bins>) {
    let found = workload::parse(&format!("version: 1\nname: w\n{text}\n"), Path::new("w.yaml"), Path::new("")).unwrap();
    let bins = found.requests.bins().unwrap();
    (found, bins)
}

fn bill(n: u32, asked: &str) -> Bill {
    let (run, tables) = tables(n);
    let (workload, bins) = workload(asked);
    let pricing = prices();
    let asked = Some((&workload, bins.as_ref()));
    of_run(
        &tables,
        &run.manifest,
        &run.plan,
        Order { pricing: &pricing, workload: asked, months: 10.0, scenario: SCENARIO, success: &[] },
    )
}

/// Everything of a request at measured lengths, computed again by hand.
#[test]
fn a_request_at_a_measured_length_costs_what_its_cell_takes() {
    let bill = bill(8, "mix: [{ name: a, share: 1, prompt: 16, gen: 32 }]\nrequests_per_second: 10\nburst_factor: 2");
    let request = &bill.requests[0];
    let seconds = request.seconds.unwrap();
    let truth = (64.0 + 64.0) / 1e3;
    assert!((seconds.value / truth - 1.0).abs() < 1e-3, "{seconds:?}");
    assert!(seconds.low.unwrap() < truth && truth < seconds.high.unwrap(), "{seconds:?}");
    assert!((request.coverage.share - 1.0).abs() < 1e-12);
    let thousand = &bill.thousands[0];
    assert!((thousand.cost.total.value / (1000.0 * seconds.value / 3600.0 * 3.6) - 1.0).abs() < 1e-12);
    assert!(
        (thousand.cost.total.low.unwrap() / seconds.low.unwrap() - 1.0).abs() < 1e-9,
        "the interval is carried through"
    );
    assert_eq!(request.no_energy.as_deref(), Some("no power was recorded"));
    assert_eq!((thousand.cost.energy, thousand.cost.carbon_g), (None, None));
    assert_eq!(thousand.cost.scope.to_string(), "infrastructure only");
    // 10 requests/s of 128 ms in bursts of 2, half of a worker filled: 5.12 workers.
    let capacity = &bill.capacity[0];
    assert!((capacity.workers_exactly / 5.12 - 1.0).abs() < 1e-3);
    assert_eq!(capacity.workers.value.to_bits(), 6.0_f64.to_bits());
    let busy = capacity.busy.unwrap();
    assert!((busy / (10.0 / 6.0 * seconds.value) - 1.0).abs() < 1e-9);
    let wait = 10.0 / 6.0 * seconds.value.powi(2) / (2.0 * (1.0 - busy));
    assert!((capacity.mean_wait_model_s.unwrap() / wait - 1.0).abs() < 1e-9);
    // Six machines, 900 each, against 6 × 720 × 3.6 a month; the tier of one's own machine is no hire.
    let [row] = bill.break_even.as_slice() else { panic!("{:?}", bill.break_even) };
    assert_eq!((row.tier.as_str(), row.pays), ("hired", true));
    assert!((row.once.value - 5400.0).abs() < 1e-9);
    assert!((row.months.unwrap().value / (5400.0 / (6.0 * 720.0 * 3.6)) - 1.0).abs() < 1e-9);
    let tco: Vec<(&str, f64)> = bill.tco.iter().map(|row| (row.tier.as_str(), row.total.value.round())).collect();
    assert_eq!(tco, [("hired", (10.0_f64 * 6.0 * 720.0 * 3.6).round()), ("bought", 5400.0)]);
    assert_eq!(bill.missing_scenario, None);
}

#[test]
fn times_between_measured_lengths_follow_in_logarithms() {
    let bill = bill(8, "mix: [{ name: between, share: 1, prompt: 64, gen: 32 }]");
    let found = bill.requests[0].seconds.unwrap().value * 1e3;
    let context = |prompt: f64| prompt + 16.5;
    let share = (context(64.0) / context(16.0)).ln() / (context(256.0) / context(16.0)).ln();
    let truth = 512.0 + 32.0 * 2.0 * 2.0_f64.powf(share);
    assert!((found / truth - 1.0).abs() < 1e-3, "{found}, not {truth}");
    // The published rule: mean rates of both lengths, whatever the request's.
    let rates = ((16.0 / 0.064 + 256.0 / 4.096) / 2.0, (500.0 + 250.0) / 2.0);
    let theirs = 64.0 / rates.0 + 32.0 / rates.1;
    assert!((bill.requests[0].by_mean_rates_s.unwrap() / theirs - 1.0).abs() < 5e-3);
}

/// 30 % of the requests are longer than anything measured: no capacity, no month, no decision, but the scenario.
#[test]
fn a_workload_that_is_not_covered_decides_nothing_and_gets_its_scenario() {
    let asked = "mix:\n  - { name: in, share: 7, prompt: 16, gen: 32 }\n  - { name: out, share: 2, prompt: 800, gen: 32 }\n  \
                 - { name: never, share: 1, prompt: 2000, gen: 32 }\nrequests_per_second: 1";
    let bill = bill(8, asked);
    let coverage = &bill.requests[0].coverage;
    assert!((coverage.share - 0.7).abs() < 1e-12 && !coverage.is_enough());
    let outside: BTreeMap<Reach, f64> = coverage.outside.iter().map(|outside| (outside.reach, outside.share)).collect();
    assert!((outside[&Reach::PromptTooLong] - 0.2).abs() < 1e-12);
    assert!((outside[&Reach::BeyondContext] - 0.1).abs() < 1e-12);
    assert!(bill.capacity.is_empty() && bill.months.is_empty() && bill.break_even.is_empty() && bill.tco.is_empty());
    assert!((bill.thousands[0].coverage - 0.7).abs() < 1e-12, "the share stands beside the figure");
    let shapes: Vec<(&str, Reach, bool)> =
        bill.shapes.iter().map(|row| (row.shape.as_str(), row.reach, row.cost.is_some())).collect();
    assert_eq!(
        shapes,
        [("in", Reach::Covered, true), ("out", Reach::PromptTooLong, false), ("never", Reach::BeyondContext, false)]
    );
    let file = bill.missing_scenario.unwrap();
    let planned = phasebench::scenario::parse(&file, Path::new("missing.yaml"), Path::new("")).unwrap();
    assert_eq!(planned.scenarios.len(), 4, "{file}");
}

#[test]
fn a_latency_that_must_hold_is_withheld_until_calls_tell_their_tail() {
    let asked = "mix: [{ name: a, share: 1, prompt: 16, gen: 32 }]\n\
                 slo: [{ of: ttft, within: 70ms, percentile: 95 }, { of: tpot, within: 1ms, percentile: 50 }]";
    let few = bill(8, asked);
    assert_eq!(
        few.slos[0].withheld.as_deref(),
        Some("a cell has 8 calls, and 20 are needed to know its 95th percentile")
    );
    assert_eq!(few.slos[0].holds, None);
    let many = bill(20, asked);
    assert_eq!((many.slos[0].holds, many.slos[1].holds), (Some(true), Some(false)));
    assert!((many.slos[0].found_ms.unwrap() / 64.64 - 1.0).abs() < 2e-3, "{:?}", many.slos[0]);
}

/// 8 % of the requests are longer than anything measured, and so the slowest: the 95th percentile is among them.
#[test]
fn a_latency_that_requests_decide_which_were_not_measured_is_withheld() {
    let asked = "mix: [{ name: in, share: 92, prompt: 128, gen: 32 }, { name: out, share: 8, prompt: 900, gen: 32 }]\n\
                 requests_per_second: 1\n\
                 slo: [{ of: ttft, within: 10s, percentile: 95 }, { of: ttft, within: 10s, percentile: 90 }, \
                 { of: ttft, within: 1ms, percentile: 95 }]";
    let bill = bill(20, asked);
    let [beyond, inside, missed] = bill.slos.as_slice() else { panic!("{:?}", bill.slos) };
    assert_eq!((beyond.holds, beyond.found_ms), (None, None));
    assert_eq!(
        beyond.withheld.as_deref(),
        Some("8.0 % of the requests are outside what was measured, and may be the slowest")
    );
    assert_eq!((inside.holds, missed.holds), (Some(true), Some(false)), "whatever the others take");
    // What is charged as the mean of the rest says so.
    let of_load =
        [bill.capacity[0].coverage, bill.months[0].coverage, bill.break_even[0].coverage, bill.tco[0].coverage];
    for coverage in of_load.into_iter().chain([beyond.coverage]) {
        assert!((coverage - 0.92).abs() < 1e-12, "{coverage}");
    }
}

/// Twenty calls tell nothing of one in a hundred. With a hundred it is theirs, and not the 95th that stands for it.
#[test]
fn a_percentile_needs_calls_beyond_it() {
    let slowest = |model: Model, shape: Shape, call: u32| {
        let (prefill, decode) = law(model, shape, call);
        if call % 50 == 49 { (prefill * 2.0, decode * 2.0) } else { (prefill, decode) }
    };
    let found = |n: u32| {
        let run =
            Run::measured(&[model("m", 4.0, 2)], &[shape("short", 16, 1, 32), shape("long", 256, 1, 32)], n, slowest);
        let (workload, bins) = workload(
            "mix: [{ name: a, share: 1, prompt: 16, gen: 32 }]\nslo: [{ of: ttft, within: 100ms, percentile: 99 }]",
        );
        let (pricing, tables) = (prices(), run.tables());
        let asked = Some((&workload, bins.as_ref()));
        let order = Order { pricing: &pricing, workload: asked, months: 10.0, scenario: SCENARIO, success: &[] };
        of_run(&tables, &run.manifest, &run.plan, order).slos.remove(0)
    };
    let few = found(99);
    assert_eq!(few.withheld.as_deref(), Some("a cell has 99 calls, and 100 are needed to know its 99th percentile"));
    let many = found(100);
    assert_eq!(many.holds, Some(false), "{many:?}");
    assert!(many.found_ms.unwrap() > 125.0, "64 ms, and twice that in one call of fifty: {many:?}");
}

/// Two prompts alone and one eight at a time, on two engines of which the second takes half of the time.
fn decided(asked: &str) -> RecommendationRow {
    let shapes = [shape("short", 8, 1, 16), shape("long", 32, 1, 16), shape("wide", 64, 8, 16)];
    let fast = |model: Model, shape: Shape, round: u32| {
        let (prefill, decode) = steady(model, shape, round);
        (prefill / 2.0, decode / 2.0)
    };
    let run = interleaved_over(&shapes, &[("one", &steady), ("two", &fast)]);
    let (workload, bins) = workload(asked);
    let (pricing, tables) = (prices(), run.tables());
    let asked = Some((&workload, bins.as_ref()));
    let order = Order { pricing: &pricing, workload: asked, months: 10.0, scenario: SCENARIO, success: &[] };
    let rows = recommend(&of_run(&tables, &run.manifest, &run.plan, order));
    rows.into_iter().find(|row| row.topic == Topic::Workload && row.about.starts_with("a, ")).unwrap()
}

#[test]
fn engines_that_were_not_measured_at_it_do_not_keep_others_from_being_chosen() {
    let row = decided("mix: [{ name: a, share: 1, prompt: 16, gen: 16 }]");
    assert_eq!((row.standing, row.advice.as_str()), (Standing::Decided, "use two"), "{row:?}");
    let figures = row.figures.unwrap();
    let left_out = "left out, for too little of the workload was measured on them: one × 8 (0 %), two × 8 (0 %)";
    assert!(figures.ends_with(left_out), "{figures}");
    let row = decided("mix: [{ name: a, share: 1, prompt: 500, gen: 16 }]");
    assert_eq!(
        (row.standing, row.advice.as_str()),
        (Standing::NoData, "no decision: 0 % of the workload was measured"),
        "{row:?}"
    );
}

/// A bill of two engines, the second of which takes so many times as long as the first for short prompts, and for long ones.
fn routed(short: f64, long: f64) -> Bill {
    let first = |_: Model, _: Shape, round: u32| {
        let wobble = 1.0 + 0.002 * (f64::from(round % 3) - 1.0);
        (10.0 * wobble, 40.0 * wobble)
    };
    let second = |model: Model, shape: Shape, round: u32| {
        let (prefill, decode) = first(model, shape, round);
        let factor = if shape.prompt == 8 { short } else { long };
        (prefill * factor, decode * factor)
    };
    let shapes = [shape("short", 8, 1, 16), shape("long", 32, 1, 16)];
    let run = interleaved_over(&shapes, &[("one", &first), ("two", &second)]);
    let (workload, bins) = workload(
        "mix: [{ name: s, share: 1, prompt: 8, gen: 16 }, { name: l, share: 1, prompt: 32, gen: 16 }]\nrequests_per_second: 2",
    );
    let (pricing, tables) = (prices(), run.tables());
    let asked = Some((&workload, bins.as_ref()));
    let order = Order { pricing: &pricing, workload: asked, months: 10.0, scenario: SCENARIO, success: &[] };
    of_run(&tables, &run.manifest, &run.plan, order)
}

/// 50 ms each against 100 and 25: a router takes 50 and 25, a quarter less than the better one alone.
#[test]
fn a_router_is_held_against_the_best_engine_alone() {
    let bill = routed(2.0, 0.5);
    let row = &bill.routing[0];
    assert_eq!((row.alone.backend.as_str(), row.others.as_str()), ("one", "two"));
    assert!((row.routed - 0.5).abs() < 1e-12 && (row.saved_percent.value - 25.0).abs() < 1e-6, "{row:?}");
    assert!(row.saved_percent.low.unwrap() < row.saved_percent.value + 1e-6, "{row:?}");
    let alone = bill.thousands.iter().find(|of| of.engine == row.alone && of.tier == "hired").unwrap();
    let quarter = alone.cost.total.value / 4.0;
    assert!((row.saved_per_thousand.value / quarter - 1.0).abs() < 1e-6, "{row:?}");
    // Two a second over 30 days.
    assert!((row.saved_per_month.unwrap().value / (quarter * 5184.0) - 1.0).abs() < 1e-6, "{row:?}");
    for (short, long, standing, advice) in [
        (2.0, 0.5, Standing::Decided, "route between one and two"),
        (2.0, 0.98, Standing::Decided, "do not route: it saves less than 3 %"),
        (2.0, 2.0, Standing::Decided, "do not route: by these figures every request is cheapest on one"),
    ] {
        let rows = recommend(&routed(short, long));
        let row = rows.iter().find(|row| row.topic == Topic::Routing && row.about == "a, w").unwrap();
        assert_eq!((row.standing, row.advice.as_str()), (standing, advice), "{row:?}");
    }
}

/// Every phase of every cell by itself: 4 ms a prompt token are 4000 s a million, and their means are those of the phases.
#[test]
fn every_measured_cell_has_its_price() {
    let bill = bill(8, "mix: [{ name: a, share: 1, prompt: 16, gen: 32 }]");
    let told: Vec<(&str, Mode)> = bill.measurements.iter().map(|row| (row.scenario.as_str(), row.phase)).collect();
    let phases = [Mode::Prefill, Mode::KvDecode];
    assert_eq!(told, phases.map(|phase| [("short", phase), ("long", phase)]).concat());
    let short = &bill.measurements[0];
    assert!((short.cost.total.value / 4.0 - 1.0).abs() < 1e-3 && (short.tokens_per_s / 250.0 - 1.0).abs() < 1e-3);
    assert!(short.cost.total.low.unwrap() < 4.0 && 4.0 < short.cost.total.high.unwrap(), "{short:?}");
    assert_eq!((short.calls, short.mean_watts), (8, None));
    for (phase, name) in phases.into_iter().zip(["prefill", "decode"]) {
        let own = bill.measurements.iter().filter(|row| row.phase == phase).map(|row| row.cost.total.value);
        let of_phase = bill.phases.iter().find(|row| row.phase == name && row.tier == "hired").unwrap();
        assert!((own.sum::<f64>() / 2.0 / of_phase.cost.total.value - 1.0).abs() < 1e-12, "{name}");
    }
    let [own] = bill.tiers.as_slice() else { panic!("{:?}", bill.tiers) };
    assert_eq!((own.tier.as_str(), own.against.as_str(), own.owned), ("own", "hired", true));
    assert!((own.saves_percent.unwrap() - (1.0 - 0.05 / 3.6) * 100.0).abs() < 1e-9);
    let thousand = &bill.thousands[0];
    assert!(
        (thousand.per_million_tokens.value / (thousand.cost.total.value / 1000.0 / 48.0 * 1e6) - 1.0).abs() < 1e-12
    );
}

/// A million prompt tokens in 1250 and 312.5 s against 2500 and 156.25 s: half a standard deviation, of two cells.
#[test]
fn engines_are_compared_over_cells_as_reports_do() {
    let bill = routed(2.0, 0.5);
    let prefill: Vec<_> = bill.comparisons.iter().filter(|row| row.phase == Mode::Prefill).collect();
    assert_eq!(prefill.len(), 2, "both models: {:?}", bill.comparisons);
    let row = prefill[0];
    assert_eq!((row.first.backend.as_str(), row.second.backend.as_str(), row.cells), ("one", "two", 2));
    assert!((row.mean_second / row.mean_first - 1328.125 / 781.25).abs() < 1e-6, "{row:?}");
    let pooled = f64::midpoint(937.5_f64.powi(2) / 2.0, 2343.75_f64.powi(2) / 2.0).sqrt();
    assert!((row.cohen_d.unwrap() - (1328.125 - 781.25) / pooled).abs() < 1e-6, "{row:?}");
    assert!(row.student_p.unwrap() > 0.5 && row.welch_p.unwrap() > row.student_p.unwrap(), "{row:?}");
}

/// 15 calls do not tell a 95th percentile: whether the cheapest engine answers in time is open.
#[test]
fn an_engine_of_which_it_is_not_known_whether_it_answers_in_time_is_a_hint() {
    let row =
        decided("mix: [{ name: a, share: 1, prompt: 16, gen: 16 }]\nslo: [{ of: ttft, within: 10s, percentile: 95 }]");
    assert_eq!(row.standing, Standing::Hint, "{row:?}");
    assert_eq!(row.advice, "two is cheapest, and it is not known whether it answers as fast as is asked");
}

/// A model that takes four times as long: 70 % of successes would need 280 %, and a failure is worth what it must cost.
#[test]
fn a_dearer_model_must_succeed_more_often() {
    let wobble = |call: u32| [0.99, 1.0, 1.01, 1.0][call as usize % 4];
    let models = [model("small", 4.0, 2), model("big", 16.0, 2)];
    let run = Run::measured(&models, &[shape("short", 16, 1, 32), shape("long", 256, 1, 32)], 8, |model, _, call| {
        (model.millions * wobble(call), model.millions * 8.0 * wobble(call))
    });
    let (workload, bins) = workload("mix: [{ name: a, share: 1, prompt: 16, gen: 32 }]");
    let (pricing, tables) = (prices(), run.tables());
    let success = [("small".to_owned(), 0.7), ("big".to_owned(), 0.9), ("other".to_owned(), 0.5)];
    let asked = Some((&workload, bins.as_ref()));
    let order = Order { pricing: &pricing, workload: asked, months: 10.0, scenario: SCENARIO, success: &success };
    let bill = of_run(&tables, &run.manifest, &run.plan, order);
    let [row] = bill.models.as_slice() else { panic!("{:?}", bill.models) };
    assert_eq!((row.dearer.model.as_str(), row.cheaper.model.as_str()), ("big", "small"));
    assert!((row.ratio.value - 4.0).abs() < 1e-9 && row.ratio.low.unwrap() < 4.0 && row.ratio.high.unwrap() > 4.0);
    assert!((row.needed.unwrap().value - 2.8).abs() < 1e-9);
    assert_eq!(row.feasible, Some(false));
    let costs: Vec<f64> =
        bill.thousands.iter().filter(|of| of.tier == "hired").map(|of| of.cost.total.value / 1e3).collect();
    assert!((row.value_of_failure.unwrap().value / ((costs[1] - costs[0]) / 0.2) - 1.0).abs() < 1e-9);
    let unknown = "--success: there is no model `other` with figures in this run";
    assert!(bill.notes.iter().any(|note| note == unknown), "{:?}", bill.notes);
    // What is advised says the same, with the interval.
    let tier = recommend(&bill).into_iter().find(|row| row.topic == Topic::ModelTier).unwrap();
    assert_eq!((tier.about.as_str(), tier.standing), ("big or small, w", Standing::Decided));
    assert_eq!(tier.advice, "take small: it costs less per success");
    let figures = tier.figures.unwrap();
    for said in
        ["big on eng costs 4.00 [", "] times as much as small on eng; small succeeds in 70.0 %, big must in 280 ["]
    {
        assert!(figures.contains(said), "{said}: {figures}");
    }
    assert!(figures.ends_with("; infrastructure only"), "{figures}");
    // Where the dearer one's own rate is not known, no rate is as high as 280 %; 40 % of successes would take 160 %, 10 % but 40 %.
    for (rate, standing, advice) in [
        (0.7, Standing::Decided, "take small: big would have to succeed in more than 100 %"),
        (0.4, Standing::Decided, "take small: big would have to succeed in more than 100 %"),
        (0.1, Standing::Hint, "take small unless big succeeds as many times as often as it costs more"),
        // 100 % is inside the interval.
        (0.25, Standing::Hint, "take small unless big succeeds as many times as often as it costs more"),
    ] {
        let success = [("small".to_owned(), rate)];
        let bill = of_run(&tables, &run.manifest, &run.plan, Order { success: &success, ..order });
        let tier = recommend(&bill).into_iter().find(|row| row.topic == Topic::ModelTier).unwrap();
        assert_eq!((tier.standing, tier.advice.as_str()), (standing, advice), "{tier:?}");
    }
}

/// Engines that are known from one process each are known to no better than the next process may differ, in turns or not; an
/// engine alone has nothing to be compared with, and several sessions tell it themselves.
#[test]
fn one_process_of_each_engine_is_allowed_what_the_next_may_differ_by() {
    let half_widths = |models: &[Model]| {
        let run = Run::measured(models, &[shape("short", 16, 1, 32), shape("long", 256, 1, 32)], 8, law);
        let (workload, bins) = workload("mix: [{ name: a, share: 1, prompt: 16, gen: 32 }]");
        let (pricing, tables) = (prices(), run.tables());
        let asked = Some((&workload, bins.as_ref()));
        let order = Order { pricing: &pricing, workload: asked, months: 10.0, scenario: SCENARIO, success: &[] };
        let bill = of_run(&tables, &run.manifest, &run.plan, order);
        let of = |found: Uncertain| (found.high.unwrap() / found.low.unwrap()).ln() / 2.0;
        ([bill.requests[0].seconds.unwrap(), bill.phases[0].seconds].map(of), bill.notes)
    };
    let both = [model("small", 4.0, 2), model("big", 16.0, 2)];
    for (models, allowed) in [(&both[..], true), (&both[..1], false)] {
        let (half_widths, notes) = half_widths(models);
        println!("{} engines: ±{half_widths:.4?}, {notes:?}", models.len());
        // A standard deviation of 7 %, twice.
        let wide = half_widths.map(|half_width| (0.125..0.155).contains(&half_width));
        assert_eq!(wide, [allowed; 2], "{half_widths:?}");
        assert_eq!(
            notes.iter().any(|note| note.contains("one process of each engine was measured")),
            allowed,
            "{notes:?}"
        );
    }
    let mut plan = Run::measured(&both, &[shape("short", 16, 1, 32)], 8, law).plan;
    assert_eq!(process_allowance(&plan), Some(0.07));
    plan.session_count = SessionCount { min: 3, max: 3 };
    assert_eq!(process_allowance(&plan), None);
}

#[test]
fn blends_are_priced_per_million_tokens() {
    let bill = bill(8, "blends: [{ name: half, input: 0.5, output: 0.5 }]");
    let of = |phase: &str| bill.phases.iter().find(|row| row.phase == phase && row.tier == "hired").unwrap().cost;
    let (prefill, decode, half) = (of("prefill"), of("decode"), of("half"));
    // Cells: 4 and 16 ms per prompt token, 2 and 4 ms a step. At 3.6 an hour a second costs a thousandth.
    assert!((prefill.total.value / 10.0 - 1.0).abs() < 1e-3, "{prefill:?}");
    assert!((decode.total.value / 3.0 - 1.0).abs() < 1e-3, "{decode:?}");
    assert!((half.total.value / f64::midpoint(prefill.total.value, decode.total.value) - 1.0).abs() < 1e-12);
    assert!(half.total.low.unwrap() < half.total.value && half.total.value < half.total.high.unwrap());
    assert!(bill.requests.is_empty());
}

/// A million requests as they came: read, counted and priced.
#[test]
fn a_million_logged_requests_are_priced() {
    use std::fmt::Write as _;
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::with_capacity(1 << 26);
    for i in 0..1_000_000_u32 {
        // Seeded by its number: 16 to 271 prompt tokens, 26 to 39 written.
        let mixed = i.wrapping_mul(2_654_435_761) >> 8;
        let (prompt, generated) = (16 + mixed % 256, 26 + mixed / 256 % 14);
        writeln!(text, "{{\"id\":{i},\"usage\":{{\"p\":{prompt},\"g\":{generated}}},\"text\":\"never kept\"}}")
            .unwrap();
    }
    std::fs::write(folder.path().join("log.jsonl"), text).unwrap();
    let asked = "version: 1\nname: w\nlog: { file: log.jsonl, prompt: usage.p, gen: usage.g }\n";
    let found = workload::parse(asked, Path::new("w.yaml"), folder.path()).unwrap();
    assert!(matches!(found.requests, Requests::Log(_)));
    let begin = std::time::Instant::now();
    let bins = found.requests.bins().unwrap();
    let read = begin.elapsed();
    let (run, tables) = tables(8);
    let pricing = prices();
    let begin = std::time::Instant::now();
    let order = Order {
        pricing: &pricing,
        workload: Some((&found, bins.as_ref())),
        months: 10.0,
        scenario: SCENARIO,
        success: &[],
    };
    let bill = of_run(&tables, &run.manifest, &run.plan, order);
    println!("read in {read:?}, priced in {:?}", begin.elapsed());
    let read = bill.requests_read.unwrap();
    assert_eq!((read.rows, read.distinct, read.without_counts), (1_000_000, 256 * 14, 0));
    assert!(bill.requests[0].coverage.is_enough());
}
