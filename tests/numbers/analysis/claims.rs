//! What is said of engines, held against runs whose truth is known.

use std::collections::BTreeSet;

use phasebench::analysis::claims::{ClaimRow, ClaimStatus, Evidence, Priced, judge, published};
use phasebench::terms::claim::{Assertion, Claim};
use phasebench::terms::{Degraded, Mode};

use super::engines::{interleaved, quicker, steady};
use super::run::{FOUR, Model, Run, Shape, degrade, shape};

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
    let of_sizes =
        |phase, from, to, smallest, largest| held(&run, Assertion::Grows { phase, from, to, smallest, largest });
    let grows = |phase, from, to| of_sizes(phase, from, to, None, None);
    assert_eq!(grows(Mode::Prefill, 0.0, 1.0).status, ClaimStatus::Supported);
    assert_eq!(grows(Mode::Prefill, 0.8, 1.0).status, ClaimStatus::Contradicted);
    assert_eq!(grows(Mode::Prefill, 0.5, 1.0).status, ClaimStatus::NotIdentifiable, "the interval lies on both sides");
    let largest = FOUR.iter().map(|model| model.millions).fold(0.0, f64::max);
    let of_all = of_sizes(Mode::Prefill, 0.0, 1.0, None, Some(largest));
    assert_eq!(of_all.status, ClaimStatus::Supported, "{of_all:?}");
    let of_smaller = of_sizes(Mode::Prefill, 0.0, 1.0, None, Some(largest / 2.0));
    assert_eq!(of_smaller.status, ClaimStatus::NotTested, "it says nothing of larger ones: {of_smaller:?}");
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
    for untested in [
        Assertion::CacheHelps { by: 1.0 },
        Assertion::EnergyGraded { shorter_than_ms: None },
        Assertion::EnergyGraded { shorter_than_ms: Some(100.0) },
        Assertion::CompiledFaster { phase: Mode::Prefill, by: 1.0 },
        Assertion::GroupedHeadsSave { by: 1.0 },
        Assertion::EnergyCost { at_most: 1.0 },
        Assertion::OwnHardwareSaves { at_least: 0.1 },
    ] {
        let row = held(&run, untested);
        assert_eq!((row.status, row.figures), (ClaimStatus::NotTested, None));
    }
}

/// 8 prompt tokens in 10 ms and 16 written in 40: 1.25 and 2.5 ms each; prefill is a fifth of the time.
#[test]
fn phases_are_held_against_each_other() {
    let even = |_: Model, _: Shape, round: u32| {
        let wobble = 1.0 + 0.002 * (f64::from(round % 3) - 1.0);
        (10.0 * wobble, 40.0 * wobble)
    };
    let run = interleaved(&[("one", &even)]);
    let cheaper = |by| held(&run, Assertion::PrefillCheaper { by });
    let row = cheaper(1.5);
    assert_eq!(row.status, ClaimStatus::Supported, "{row:?}");
    assert!(
        row.figures.unwrap().contains("a on one, short × 16, batch 1: 2.00 ["),
        "twice for 8 tokens, 8 times for 32"
    );
    assert_eq!(cheaper(4.0).status, ClaimStatus::Contradicted);
    let share = |at_least| held(&run, Assertion::PrefillShare { at_least }).status;
    assert_eq!((share(0.19), share(0.5)), (ClaimStatus::Supported, ClaimStatus::Contradicted));
}

/// A call that ran on another device contradicts its label; one that proves nothing leaves it open.
#[test]
fn labels_are_held_against_proof() {
    let mut run = interleaved(&[("one", &steady), ("two", &quicker)]);
    let proven = held(&run, Assertion::AsLabelled);
    assert_eq!((proven.status, proven.n_supporting), (ClaimStatus::Supported, 2), "{proven:?}");
    for call in run.calls().filter(|call| call.session.backend == "two") {
        call.attribution.actual = None;
    }
    let open = held(&run, Assertion::AsLabelled);
    assert_eq!((open.status, open.n_supporting, open.n_open), (ClaimStatus::NotIdentifiable, 1, 1), "{open:?}");
    let call = run.calls().find(|call| call.session.backend == "one").unwrap();
    degrade(call, Degraded::WrongDevice, "ran on the processor");
    let elsewhere = held(&run, Assertion::AsLabelled);
    assert_eq!((elsewhere.status, elsewhere.n_contradicting), (ClaimStatus::Contradicted, 1), "{elsewhere:?}");
}

/// Money is told by prices alone.
#[test]
fn prices_are_held_against_claims_on_money() {
    let run = interleaved(&[("one", &steady)]);
    let tables = run.tables();
    let priced = Priced {
        energy_shares: vec![("prefill of a".to_owned(), 0.2), ("decode of a".to_owned(), 0.4)],
        own_saves: vec![("ours".to_owned(), 0.954)],
    };
    let held = |asserts| {
        let claim = Claim { name: "c".to_owned(), text: "so it is".to_owned(), asserts };
        judge(&[claim], &Evidence::of(&tables, &run.manifest).priced(&priced)).remove(0)
    };
    let energy = held(Assertion::EnergyCost { at_most: 0.34 });
    assert_eq!((energy.status, energy.n_supporting, energy.n_contradicting), (ClaimStatus::Contradicted, 1, 1));
    assert_eq!(energy.figures.unwrap(), "decode of a: 40.0 % energy; prefill of a: 20.0 % energy");
    assert_eq!(held(Assertion::EnergyCost { at_most: 0.5 }).status, ClaimStatus::Supported);
    let own = held(Assertion::OwnHardwareSaves { at_least: 0.95 });
    assert_eq!((own.status, own.figures.as_deref()), (ClaimStatus::Supported, Some("ours: 95.4 % less")));
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
    assert_eq!(of("synthesis-c1-labels-are-reliable"), ClaimStatus::Supported);
    assert_eq!(of("synthesis-c2-prefill-tells-of-all"), ClaimStatus::Contradicted);
    assert_eq!(of("tr123-energy-costs-little"), ClaimStatus::NotTested);
    assert_eq!(names.iter().filter(|name| name.starts_with("synthesis-c")).count(), 6);
    assert_eq!(names.iter().filter(|name| name.starts_with("tr123-")).count(), 7);
    assert_eq!(of("tr119-onnx-runtime-decodes-faster"), ClaimStatus::NotTested);
}
