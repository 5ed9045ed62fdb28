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
        ("compiled_faster: { phase: prefill }", Assertion::CompiledFaster { phase: Mode::Prefill }),
        ("grows: { phase: prefill }", Assertion::Grows { phase: Mode::Prefill, from: 0.0, to: 100.0 }),
        (
            "grows: { phase: kv_decode, from: 0.5, to: 1 }",
            Assertion::Grows { phase: Mode::KvDecode, from: 0.5, to: 1.0 },
        ),
        ("decode_share: { at_least: 0.9 }", Assertion::DecodeShare { at_least: 0.9 }),
        ("cold_start: { at_least: 10 }", Assertion::ColdStart { at_least: 10.0 }),
        ("cache_helps: {}", Assertion::CacheHelps { by: 1.0 }),
        ("kv_as_theory: {}", Assertion::KvAsTheory),
        ("energy_graded: {}", Assertion::EnergyGraded),
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
