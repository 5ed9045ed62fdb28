//! What is said of engines, held against runs whose truth is known.

use std::collections::BTreeSet;

use phasebench::analysis::claims::{ClaimRow, ClaimStatus, Evidence, judge, published};
use phasebench::terms::Mode;
use phasebench::terms::claim::{Assertion, Claim};

use super::engines::{interleaved, quicker, steady};
use super::run::{FOUR, Model, Run, Shape, shape};

fn held(run: &Run, asserts: Assertion) -> ClaimRow {
    let claim = Claim { name: "c".to_owned(), text: "so it is".to_owned(), asserts };
    let tables = run.tables();
    judge(&[claim], &Evidence::of(&tables, &run.manifest)).remove(0)
}

fn faster(engine: &str, than: &str, phase: Mode, by: f64) -> Assertion {
    Assertion::Faster { engine: engine.to_owned(), than: than.to_owned(), phase, by }
}

/// `two` decodes in 0.8 of the time of `one`, and prefills in the same.
#[test]
fn a_claim_on_two_engines_follows_their_ratio() {
    let run = interleaved(&[("one", &steady), ("two", &quicker)]);
    for (engine, than, phase, by, expected) in [
        ("two", "one", Mode::KvDecode, 1.0, ClaimStatus::Supported),
        ("two", "one", Mode::KvDecode, 1.2, ClaimStatus::Supported),
        ("two", "one", Mode::KvDecode, 1.25, ClaimStatus::NotIdentifiable),
        ("two", "one", Mode::KvDecode, 1.5, ClaimStatus::Contradicted),
        ("one", "two", Mode::KvDecode, 1.0, ClaimStatus::Contradicted),
        ("two", "one", Mode::Prefill, 1.0, ClaimStatus::Contradicted),
        ("two", "one", Mode::GenerateUncached, 1.0, ClaimStatus::NotTested),
        ("two", "three", Mode::KvDecode, 1.0, ClaimStatus::NotTested),
    ] {
        let row = held(&run, faster(engine, than, phase, by));
        assert_eq!(row.status, expected, "{engine} {than} {phase} {by}: {row:?}");
    }
    let row = held(&run, faster("two", "one", Mode::KvDecode, 1.0));
    let figures = row.figures.unwrap();
    assert!(figures.starts_with("two against one: 1.25 [1.2"), "{figures}");
    assert_eq!((row.n_supporting, row.n_contradicting, row.n_open), (1, 0, 0));
    assert_eq!(row.rows, "analysis/engine_pairs.csv");
}

/// Without proof of where it ran there is no evidence, however fast it is.
#[test]
fn calls_without_proof_are_no_evidence() {
    let mut run = interleaved(&[("one", &steady), ("two", &quicker)]);
    for call in run.calls().filter(|call| call.session.backend == "two") {
        call.attribution.actual = None;
    }
    assert_eq!(held(&run, faster("two", "one", Mode::KvDecode, 1.0)).status, ClaimStatus::NotTested);
}

#[test]
fn growth_is_held_against_the_slopes_interval() {
    let shapes = [shape("s", 16, 1, 32)];
    let wobble = |call: u32| 1.0 + 0.002 * f64::from(call % 3);
    // Prefill as the root of size; decode has no order in size.
    let law = |model: Model, _: Shape, call: u32| {
        let decode = if model.n_layer == 3 { 90.0 } else { 30.0 };
        (model.millions.sqrt() * wobble(call), decode * wobble(call))
    };
    let run = Run::measured(&FOUR, &shapes, 10, law);
    let grows = |phase, from, to| held(&run, Assertion::Grows { phase, from, to });
    assert_eq!(grows(Mode::Prefill, 0.0, 1.0).status, ClaimStatus::Supported);
    assert_eq!(grows(Mode::Prefill, 0.8, 1.0).status, ClaimStatus::Contradicted);
    assert_eq!(grows(Mode::Prefill, 0.5, 1.0).status, ClaimStatus::NotIdentifiable, "the interval lies on both sides");
    let decode = grows(Mode::KvDecode, 0.0, 1.0);
    assert_eq!((decode.status, decode.n_open), (ClaimStatus::NotIdentifiable, 1), "{decode:?}");
}

/// One load that is quick contradicts what is said of all.
#[test]
fn one_piece_of_evidence_contradicts() {
    let run = interleaved(&[("one", &steady), ("two", &quicker)]);
    let share = |at_least| held(&run, Assertion::DecodeShare { at_least }).status;
    assert_eq!(share(0.75), ClaimStatus::Supported, "0.8 and 0.76");
    assert_eq!(share(0.78), ClaimStatus::Contradicted);
    let cold = held(&run, Assertion::ColdStart { at_least: 2.0 });
    assert!(cold.n_supporting > 1 && cold.status == ClaimStatus::Supported, "{cold:?}");
    let row = held(&run, Assertion::ColdStart { at_least: 1000.0 });
    assert_eq!((row.status, row.n_supporting), (ClaimStatus::Contradicted, 0), "{row:?}");
    for untested in
        [Assertion::CacheHelps { by: 1.0 }, Assertion::EnergyGraded, Assertion::CompiledFaster { phase: Mode::Prefill }]
    {
        let row = held(&run, untested);
        assert_eq!((row.status, row.figures), (ClaimStatus::NotTested, None));
    }
}

#[test]
fn every_run_is_held_against_what_was_published() {
    let claims = published();
    let names: BTreeSet<&str> = claims.iter().map(|claim| claim.name.as_str()).collect();
    assert_eq!(names.len(), claims.len(), "names are unique");
    let run = interleaved(&[("one", &steady), ("two", &quicker)]);
    let rows = run.tables().claims;
    assert_eq!(rows.len(), claims.len());
    let of = |name: &str| rows.iter().find(|row| row.claim == name).unwrap().status;
    assert_eq!(of("tr121-decode-dominates"), ClaimStatus::Contradicted);
    assert_eq!(of("tr119-onnx-runtime-decodes-faster"), ClaimStatus::NotTested);
}
