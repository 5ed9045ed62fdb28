//! Claims files: the shipped one, what every key means, and what is told of wrong ones.

use std::fs;
use std::path::Path;

use phasebench::scenario::claims;
use phasebench::terms::Mode;
use phasebench::terms::claim::Assertion;

use super::schema::{as_json, obeys};
use super::yaml_files;

fn told(text: &str) -> String {
    claims::parse(text, Path::new("c.yaml")).unwrap_err().to_string()
}

fn grows(phase: Mode, (from, to): (f64, f64), [smallest, largest]: [Option<f64>; 2]) -> Assertion {
    Assertion::Grows { phase, from, to, smallest, largest }
}

fn asserts(claim: &str) -> Assertion {
    let text = format!("version: 1\nname: c\nclaims:\n  - {{ name: a, text: so it is, {claim} }}\n");
    let found = claims::parse(&text, Path::new("c.yaml")).unwrap_or_else(|error| panic!("{error}"));
    assert!(obeys(&as_json(&text), &claims::schema()), "{text}");
    found.claims[0].asserts.clone()
}

#[test]
fn shipped_files_are_good_and_obey_the_schema() {
    let files = yaml_files("scenarios/claims");
    assert!(!files.is_empty());
    for path in files {
        let found = claims::read(&path).unwrap();
        assert!(!found.claims.is_empty());
        assert!(obeys(&as_json(&fs::read_to_string(&path).unwrap()), &claims::schema()), "{}", path.display());
    }
}

#[test]
fn every_statement_is_understood() {
    let faster =
        Assertion::Faster { engine: "PyTorch".to_owned(), than: "ort".to_owned(), phase: Mode::KvDecode, by: 1.2 };
    for (text, expected) in [
        ("faster: { engine: PyTorch, than: ort, phase: kv_decode, by: 1.2 }", faster),
        ("compiled_faster: { phase: prefill }", Assertion::CompiledFaster { phase: Mode::Prefill, by: 1.0 }),
        ("grows: { phase: prefill }", grows(Mode::Prefill, (0.0, 100.0), [None; 2])),
        ("grows: { phase: kv_decode, from: 0.5, to: 1 }", grows(Mode::KvDecode, (0.5, 1.0), [None; 2])),
        ("decode_share: { at_least: 0.9 }", Assertion::DecodeShare { at_least: 0.9 }),
        ("cold_start: { at_least: 10 }", Assertion::ColdStart { at_least: 10.0 }),
        ("cache_helps: {}", Assertion::CacheHelps { by: 1.0 }),
        ("kv_as_theory: {}", Assertion::KvAsTheory),
        ("energy_graded: {}", Assertion::EnergyGraded { shorter_than_ms: None }),
        ("energy_graded: { shorter_than: 100ms }", Assertion::EnergyGraded { shorter_than_ms: Some(100.0) }),
        (
            "grows: { phase: kv_decode, smallest: 10, largest: 100 }",
            grows(Mode::KvDecode, (0.0, 100.0), [Some(10.0), Some(100.0)]),
        ),
        (
            "compiled_faster: { phase: kv_decode, by: 1.2 }",
            Assertion::CompiledFaster { phase: Mode::KvDecode, by: 1.2 },
        ),
        ("prefill_share: { at_least: 0.5 }", Assertion::PrefillShare { at_least: 0.5 }),
        ("prefill_cheaper: { by: 10 }", Assertion::PrefillCheaper { by: 10.0 }),
        ("grouped_heads_save: { by: 3 }", Assertion::GroupedHeadsSave { by: 3.0 }),
        ("as_labelled: {}", Assertion::AsLabelled),
        ("energy_cost: { at_most: 0.34 }", Assertion::EnergyCost { at_most: 0.34 }),
        ("own_hardware_saves: { at_least: 0.95 }", Assertion::OwnHardwareSaves { at_least: 0.95 }),
    ] {
        assert_eq!(asserts(text), expected, "{text}");
    }
}

/// All problems at once, each at its place.
#[test]
fn every_problem_is_told_at_its_place() {
    let wrong = "version: 1
name: c
claims:
  - { name: a, text: x, faster: { engine: one, phase: decode } }
  - { name: a, text: y, grows: { phase: prefill, from: 2, to: 1 } }
  - { name: b, text: z }
  - { name: c, text: z, decode_share: { at_least: 90 }, kv_as_theory: {} }
";
    let told = told(wrong);
    for said in [
        "c.yaml:4:33: ",
        "`than`",
        "`decode`",
        "c.yaml:5:",
        "`from` is 2, more than `to`, which is 1",
        "c.yaml:6:5",
        "c.yaml:7:",
    ] {
        assert!(told.contains(said), "{said}:\n{told}");
    }
    let nothing = super::claims::told("version: 1\nname: c\n");
    assert!(nothing.contains("c.yaml:1:1: ") && nothing.contains("`claims`"), "{nothing}");
}
