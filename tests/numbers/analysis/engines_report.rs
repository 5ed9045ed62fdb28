//! What a report says of several engines, and of few models.

use phasebench::report::document::{Assurance, Block, Document, Finding, Text};
use phasebench::report::markdown;
use phasebench::report::sections::speeds;
use phasebench::terms::{Flag, Mode, Order};

use super::engines::{in_one_session, interleaved, quicker, steady};
use super::run::{Model, Run, Shape, model, shape};

fn findings(document: &Document) -> Vec<&Finding> {
    let blocks = document.verdict.iter().filter_map(|block| match block {
        Block::Findings(findings) => Some(findings),
        _ => None,
    });
    blocks.flatten().collect()
}

fn words(text: &Text) -> String {
    text.to_string().replace('\u{a0}', " ")
}

fn said(run: &Run, question: &str) -> (Assurance, String, String) {
    let document = run.report();
    let findings = findings(&document);
    let found = findings.iter().find(|finding| finding.question == question);
    let found = found.unwrap_or_else(|| panic!("no {question} in {findings:?}"));
    (found.assurance, words(&found.answer), words(&found.grounds))
}

#[test]
fn the_first_card_says_which_engine_is_faster() {
    let run = interleaved(&[("one", &steady), ("two", &quicker)]);
    let (assurance, answer, grounds) = said(&run, "Decode: which engine is faster?");
    assert_eq!(answer, "two decodes 1.25× [1.24, 1.26] as fast as one, on these 2 models.");
    assert_eq!(assurance, Assurance::Holds, "{grounds}");
    assert!(
        grounds.starts_with("Faster in 4 of 4 cells against one. Calls are paired by round. Sessions, loads in"),
        "{grounds}"
    );
    let (assurance, answer, _) = said(&run, "Prefill: which engine is faster?");
    assert!(answer.contains("are the same within 3 %: 1.00× [0.99, 1.01], on these 2 models."), "{answer}");
    assert_eq!(assurance, Assurance::Holds);
    let document = run.report();
    assert_eq!(findings(&document)[0].question, "Prefill: which engine is faster?", "the first of the screen");
    // A terminal is told the same.
    let told = run.reported(&run.tables(), speeds);
    assert_eq!(told.iter().collect::<Vec<_>>(), findings(&document)[..6]);
}

#[test]
fn three_engines_are_told_in_one_sentence_the_nearest_first() {
    let slow = |m: Model, s: Shape, round: u32| {
        let (prefill, decode) = quicker(m, s, round);
        (2.0 * prefill, 2.0 * decode)
    };
    let run = interleaved(&[("slow", &slow), ("one", &steady), ("two", &quicker)]);
    let (_, answer, _) = said(&run, "Decode: which engine is faster?");
    assert_eq!(
        answer,
        "two decodes 1.25× [1.24, 1.26] as fast as one, 2.00× [2.00, 2.00] as fast as slow, on these 2 models."
    );
    let page = markdown::to_markdown(&run.report());
    let charts = page.matches("plots/engines_").count();
    assert_eq!(charts, 4, "of each phase the fastest against both others");
    assert!(page.contains("all scenarios") && page.contains("Kruskal-Wallis"), "{page}");
}

/// A mean over cells that contradict each other is no rule.
#[test]
fn cells_that_contradict_lower_the_standing() {
    let mixed = |m: Model, s: Shape, round: u32| {
        let (prefill, decode) = quicker(m, s, round);
        if m.name == "a" && s.scenario == "long" { (prefill, 1.5 * decode) } else { (prefill, 0.7 * decode) }
    };
    let run = interleaved(&[("one", &steady), ("two", &mixed)]);
    let (assurance, _, grounds) = said(&run, "Decode: which engine is faster?");
    assert_eq!(assurance, Assurance::Caution);
    assert!(grounds.starts_with("Faster in 3 of 4 cells against one (slower in 1)."), "{grounds}");
}

/// What slows both cancels in a ratio only where it slows both alike.
#[test]
fn other_programs_beside_the_calls_lower_the_standing() {
    let mut run = interleaved(&[("one", &steady), ("two", &quicker)]);
    for call in run.calls().filter(|call| call.session.backend == "two") {
        call.flags.push(Flag::ForeignLoad);
    }
    let (assurance, answer, grounds) = said(&run, "Decode: which engine is faster?");
    assert_eq!((assurance, answer.starts_with("two decodes 1.25× ")), (Assurance::Caution, true), "{answer}");
    assert!(grounds.ends_with("were busy during 50.0 % of the calls."), "{grounds}");
}

#[test]
fn of_one_process_each_the_card_says_what_the_interval_allows_for() {
    let mut run = in_one_session(interleaved(&[("one", &steady), ("two", &quicker)]));
    let (assurance, answer, grounds) = said(&run, "Prefill: which engine is faster?");
    assert!(answer.starts_with("Not separated: "), "{answer}");
    assert_eq!(assurance, Assurance::Caution);
    // 3.6 standard deviations of two sides of 7 % each.
    assert!(grounds.contains(" a difference of 43 % would have been seen."), "{grounds}");
    assert!(
        grounds.contains("the interval allows for what the next may differ by (sessions: 5 measures it)"),
        "{grounds}"
    );
    run.plan.order = Order::Blocked;
    let (_, _, grounds) = said(&run, "Prefill: which engine is faster?");
    assert!(grounds.contains("Engines were not measured in turns"), "{grounds}");
}

#[test]
fn what_is_not_compared_is_listed_with_its_reason() {
    let mut run = interleaved(&[("one", &steady), ("two", &quicker)]);
    for call in run.calls().filter(|call| call.session.backend == "two") {
        call.weights_id = "others".to_owned().into();
    }
    let (assurance, answer, grounds) = said(&run, "Which engine is faster?");
    assert_eq!((assurance, answer.as_str()), (Assurance::Withheld, "No cell can be compared between engines."));
    assert_eq!(grounds, "weights differ.");
    let page = markdown::to_markdown(&run.report());
    assert!(page.contains("Not compared: weights differ (prefill of a · short, one and two and 7 more)."), "{page}");
    let alone = Run::measured(&[model("a", 1.0, 2)], &[shape("short", 8, 1, 16)], 8, steady);
    assert!(alone.report().sections.iter().all(|section| section.id != "engines"));
}

/// One model answers how fast it is, not how its time would grow.
#[test]
fn one_model_is_told_its_speed() {
    let wobble = |_: Model, s: Shape, round: u32| {
        let factor = f64::exp(0.01 * [1.0, -1.0, 0.0, -1.0, 1.0][round as usize % 5]);
        (1.25 * f64::from(s.prompt) * factor, 32.0 * factor)
    };
    let run = Run::measured(&[model("a", 1.0, 2)], &[shape("short", 8, 2, 16), shape("long", 32, 2, 16)], 15, wobble);
    let (assurance, answer, grounds) = said(&run, "Prefill on eng");
    assert!(answer.starts_with("1.25 [1.25, 1.25] ms/token, 1600 [159"), "{answer}");
    assert_eq!(grounds, "a, 2 scenarios, batch 2.");
    assert_eq!(assurance, Assurance::Holds);
    let (_, answer, grounds) = said(&run, "Decode on eng");
    assert!(answer.starts_with("2.00 [1.99, 2.01] ms/token, 1000 [99"), "{answer}");
    assert_eq!(grounds, "a, 2 scenarios, batch 2, 16 steps.");
    assert!(!findings(&run.report()).iter().any(|finding| words(&finding.answer).contains("not identifiable")));
    let rows = run.tables().aggregate;
    let decode = rows.iter().find(|row| row.mode == Mode::KvDecode).unwrap();
    // Two scenarios with the same calls: the error of one ÷ √2.
    let width = (decode.ci_high_ms_per_token.unwrap() / decode.ci_low_ms_per_token.unwrap()).ln();
    assert!((decode.location_ms_per_token.unwrap() - 2.0).abs() < 1e-9 && width > 0.002 && width < 0.02, "{decode:?}");
}
