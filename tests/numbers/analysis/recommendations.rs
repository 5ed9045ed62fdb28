//! What runs advise whose truth is known: the default and its exceptions, and nothing without proof.

use phasebench::analysis::RecommendationRow;
use phasebench::analysis::recommendations::{Standing, Topic};

use super::engines::{interleaved_over, steady};
use super::run::{FOUR, Model, Run, Shape, shape};

/// Two prompts, each alone and eight together.
const SHAPES: [Shape; 4] = [
    shape("short", 8, 1, 16),
    shape("long", 32, 1, 16),
    shape("short-by-eight", 8, 8, 16),
    shape("long-by-eight", 32, 8, 16),
];

/// As [`steady`], prefill in 0.7 of its time alone, and in 1.25 of it in batches.
fn quicker_alone(model: Model, shape: Shape, round: u32) -> (f64, f64) {
    let (prefill, decode) = steady(model, shape, round);
    let wobble = 1.0 + 0.002 * f64::from(round % 3);
    let factor = if shape.batch > 1 { 1.25 } else { 0.7 };
    (prefill * factor * wobble, decode)
}

/// As [`steady`], and both phases in half of its time.
fn twice_as_fast(model: Model, shape: Shape, round: u32) -> (f64, f64) {
    let (prefill, decode) = steady(model, shape, round);
    let wobble = 1.0 + 0.002 * f64::from(round % 3);
    (prefill * 0.5 * wobble, decode * 0.5 * wobble)
}

fn advice(run: &Run, topic: Topic, about: &str) -> RecommendationRow {
    let rows = run.tables().recommendations;
    let found = rows.iter().find(|row| row.topic == topic && row.about.starts_with(about));
    found.unwrap_or_else(|| panic!("{topic:?} of {about}: {rows:#?}")).clone()
}

#[test]
fn a_winner_that_flips_in_batches_is_the_default_with_its_exceptions() {
    let run = interleaved_over(&SHAPES, &[("one", &steady), ("two", &quicker_alone)]);
    let default = advice(&run, Topic::DefaultEngine, "prefill");
    // Over the four shapes √(0.7 × 1.25) of the time.
    assert_eq!((default.standing, default.advice.as_str()), (Standing::Decided, "use two"), "{default:?}");
    let routing = advice(&run, Topic::Routing, "prefill");
    assert_eq!(routing.standing, Standing::Decided, "{routing:?}");
    // Half of the cells in 0.8 of the default's time: 1 − √0.8.
    assert_eq!(routing.advice, "route: it takes 10.6 % off what two alone takes");
    let figures = routing.figures.unwrap();
    let exceptions: Vec<&str> = figures.split("; ").collect();
    assert_eq!(exceptions.len(), 4, "both models, both prompts, in batches: {exceptions:?}");
    assert!(exceptions.iter().all(|row| row.contains("batch 8: one takes 0.80 of the time")), "{exceptions:?}");
    let decode = advice(&run, Topic::DefaultEngine, "kv_decode");
    assert_eq!(decode.advice, "use any of one, two: over all cells they take the same time");
}

/// As [`steady`], prefill in 0.8 of its time alone, and in 1.25 of it in batches: as long over all.
fn quicker_alone_by_as_much(model: Model, shape: Shape, round: u32) -> (f64, f64) {
    let (prefill, decode) = steady(model, shape, round);
    let wobble = 1.0 + 0.002 * (f64::from(round % 3) - 1.0);
    let factor = if shape.batch > 1 { 1.25 } else { 0.8 };
    (prefill * factor * wobble, decode)
}

/// No engine is faster over all, and each is in half of the cells: there is a rule all the same.
#[test]
fn engines_that_are_alike_over_all_are_routed_between() {
    for order in [["one", "two"], ["two", "one"]] {
        let law =
            |name: &str| -> super::engines::Law<'_> { if name == "one" { &steady } else { &quicker_alone_by_as_much } };
        let run = interleaved_over(&SHAPES, &order.map(|name| (name, law(name))));
        let default = advice(&run, Topic::DefaultEngine, "prefill");
        assert!(!["use one", "use two"].contains(&default.advice.as_str()), "{default:?}");
        let routing = advice(&run, Topic::Routing, "prefill");
        assert_eq!(routing.standing, Standing::Decided, "{routing:?}");
        // Half of the cells in 0.8 of the time: 1 − √0.8.
        assert!(routing.advice.starts_with("route: it takes 10.6 % off what "), "{routing:?}");
        assert_eq!(routing.figures.unwrap().split("; ").count(), 4, "both models, both prompts");
        // Decode is alike in every cell: nothing to route.
        let rows = run.tables().recommendations;
        assert!(!rows.iter().any(|row| row.topic == Topic::Routing && row.about.starts_with("kv_decode")), "{rows:#?}");
    }
}

/// Flips in one scenario only: a hint, whatever it would gain.
#[test]
fn one_scenario_is_no_rule() {
    let shapes = [SHAPES[0], SHAPES[1], SHAPES[2]];
    let run = interleaved_over(&shapes, &[("one", &steady), ("two", &quicker_alone)]);
    assert_eq!(advice(&run, Topic::DefaultEngine, "prefill").advice, "use two");
    let routing = advice(&run, Topic::Routing, "prefill");
    assert_eq!(routing.standing, Standing::Hint, "{routing:?}");
    assert!(routing.advice.starts_with("one scenario speaks for another engine, which is no rule"), "{routing:?}");
}

/// As [`steady`], decode of long answers in 1.2 of its time, prefill of batches in a half.
fn better_at_batches(model: Model, shape: Shape, round: u32) -> (f64, f64) {
    let (prefill, decode) = steady(model, shape, round);
    let wobble = 1.0 + 0.002 * (f64::from(round % 3) - 1.0);
    let (of_prefill, of_decode) = match shape {
        Shape { batch: 8, .. } => (0.5, 1.0),
        Shape { steps: 64, .. } => (1.0, 1.2),
        _ => (1.0, 1.0),
    };
    (prefill * of_prefill * wobble, decode * of_decode * wobble)
}

/// Each class of requests has a default of its own: whole requests are compared, prefill and decode together.
#[test]
fn classes_of_requests_have_their_defaults() {
    let shapes = [shape("chat", 8, 1, 64), shape("wide", 32, 8, 8), shape("short", 8, 1, 16), shape("long", 32, 1, 16)];
    let run = interleaved_over(&shapes, &[("one", &steady), ("two", &better_at_batches)]);
    let of = |about: &str| advice(&run, Topic::WorkloadClass, about);
    let decode = of("decode-heavy requests (f32)");
    assert_eq!((decode.standing, decode.advice.as_str()), (Standing::Decided, "use one"), "{decode:?}");
    // 10 and 48 ms against 50, for both models.
    let figures = decode.figures.unwrap();
    assert!(figures.starts_with("one 1.16× [") && figures.ends_with("] as fast as two over 2 cells"), "{figures}");
    let prefill = of("prefill-heavy requests (f32)");
    assert_eq!((prefill.standing, prefill.advice.as_str()), (Standing::Decided, "use two"), "{prefill:?}");
    // 50 ms against 5 and 40.
    assert!(prefill.figures.as_deref().unwrap().starts_with("two 1.11× ["), "{prefill:?}");
    let mixed = of("mixed requests (f32)");
    assert_eq!(mixed.advice, "use any of one, two: over all cells they take the same time");
    // One process of each leaves open what is less than a fifth.
    let once = super::engines::in_one_session(run.clone());
    let decode = advice(&once, Topic::WorkloadClass, "decode-heavy");
    assert_eq!(decode.standing, Standing::NotSeparated, "{decode:?}");
}

/// However fast it is: what does not prove where it ran is not in the running.
#[test]
fn an_engine_without_proof_is_never_recommended() {
    let engines: [(&str, super::engines::Law<'_>); 3] =
        [("one", &steady), ("two", &twice_as_fast), ("three", &quicker_alone)];
    let mut run = interleaved_over(&SHAPES, &engines);
    assert_eq!(advice(&run, Topic::DefaultEngine, "kv_decode").advice, "use two", "with proof it is");
    for call in run.calls().filter(|call| call.session.backend == "two") {
        call.attribution.actual = None;
    }
    let rows = run.tables().recommendations;
    let about_speed = [Topic::DefaultEngine, Topic::WorkloadClass, Topic::Routing, Topic::Workload];
    let said: Vec<&RecommendationRow> = rows.iter().filter(|row| about_speed.contains(&row.topic)).collect();
    assert!(!said.is_empty());
    for row in said {
        let told = format!("{} {}", row.advice, row.figures.as_deref().unwrap_or_default());
        assert!(!told.contains("two"), "{row:?}");
    }
    assert_eq!(advice(&run, Topic::DefaultEngine, "prefill").advice, "use three");
    // Nothing else to compare with: there is no default at all.
    for call in run.calls().filter(|call| call.session.backend == "three") {
        call.attribution.actual = None;
    }
    let rows = run.tables().recommendations;
    assert!(rows.iter().all(|row| row.topic != Topic::DefaultEngine && row.topic != Topic::Routing), "{rows:?}");
}

/// A load of 50 ms, of which 15 ms for the first prefill, is 13 warm prefills of the short prompt; what it is beside the long one, which
/// came first after no load, is not known, for the load alone is shorter than ten of them.
#[test]
fn a_warm_pool_is_told_by_the_prompt_that_came_first() {
    let shapes = [shape("short", 8, 1, 16), shape("long", 32, 1, 16)];
    let of = |long_ms: f64| {
        let law = |_: Model, shape: Shape, _: u32| (if shape.prompt == 8 { 5.0 } else { long_ms }, 40.0);
        advice(&Run::measured(&FOUR[..1], &shapes, 3, law), Topic::WarmPool, "a on eng")
    };
    let row = of(100.0);
    assert_eq!((row.standing, row.advice.as_str()), (Standing::Hint, "keep it loaded for short; not known of long"));
    let figures = "with short a cold start takes 0.0650 s, 13.0 times a warm prefill; with long, which came first after no load, at \
                   least 1.50 times a warm prefill; the limit is 10";
    assert_eq!(row.figures.as_deref(), Some(figures));
    // Ten prefills of 4 ms do not take as long as the load alone.
    let row = of(4.0);
    assert_eq!(
        (row.standing, row.advice.as_str()),
        (Standing::Decided, "keep it loaded: a cold start takes more than 10 warm prefills"),
        "{row:?}"
    );
}
