//! What the report says of compiling.

use phasebench::analysis::CompileVerdict;
use phasebench::report::document::{Assurance, Block, Document};
use phasebench::report::markdown::to_markdown;
use phasebench::report::sections::compose;
use phasebench::terms::Mode;

use super::compile::{run, timed};
use super::run::Run;

/// The cells of the rows of the Markdown tables whose first cells are these.
fn rows(document: &Document, begin: &[&str]) -> Vec<Vec<String>> {
    let text = to_markdown(document);
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let rows = rows.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect());
    rows.filter(|cells: &Vec<String>| begin.iter().zip(cells).all(|(wanted, cell)| wanted == cell)).collect()
}

#[test]
fn the_outcome_names_the_cache_and_when_compiling_has_paid() {
    let document = run(0.75).report();
    assert!(document.sections.iter().any(|section| section.id == "compile"));
    let prefill = rows(&document, &["comp", "Prefill", "inductor", "eng", "4 of 4"]);
    assert_eq!(prefill.len(), 1, "{}", to_markdown(&document));
    // Two models of two shapes, 2 s each; the cell that gains least needs most calls.
    assert_eq!(prefill[0][prefill[0].len() - 4..], ["8.0", "cold", "797", "faster"]);
    let text = to_markdown(&document);
    assert!(text.contains("8.0") && text.contains("earned back after at most 797 calls of each cell"), "{text}");
}

/// The findings' questions with how far they hold, and their answers.
fn finding(document: &Document, question: &str) -> (Assurance, String) {
    let found = document.verdict.iter().find_map(|block| match block {
        Block::Findings(findings) => findings.iter().find(|finding| finding.question == question),
        _ => None,
    });
    found.map(|found| (found.assurance, found.answer.to_string())).unwrap()
}

/// Half of the cells carry the mean; whose they are is said.
#[test]
fn a_mean_that_rests_on_some_cells_says_on_which() {
    let all = finding(&run(0.75).report(), "Compiling decode on comp");
    assert_eq!(all.0, Assurance::Holds, "{}", all.1);
    assert!(all.1.ends_with("times eng's."), "{}", all.1);
    let some = run(0.75);
    let mut tables = some.tables();
    let decode = tables.compile_audit.iter_mut().filter(|row| row.mode == Mode::KvDecode && row.key.model == "b");
    decode.for_each(|row| (row.ratio, row.ratio_low, row.ratio_high) = (Some(0.99), Some(0.96), Some(1.02)));
    let outcome = tables.compile_outcome.iter_mut().find(|row| row.mode == Mode::KvDecode).unwrap();
    (outcome.ratio, outcome.ratio_low, outcome.ratio_high) = (Some(0.844), Some(0.72), Some(0.989));
    outcome.n_faster = 2;
    assert_eq!(outcome.verdict, CompileVerdict::Faster);
    let (assurance, answer) = finding(&some.reported(&tables, compose), "Compiling decode on comp");
    assert_eq!(assurance, Assurance::Caution, "{answer}");
    let ending = " times eng's over all cells, but only 2 of 4 cells are: those of a, the smallest model.";
    assert!(answer.starts_with("Faster: 0.844 [") && answer.ends_with(ending), "{answer}");
}

/// A shape that runs another's graph has no compile time: not 0 seconds.
#[test]
fn a_shared_graph_has_no_time_of_its_own() {
    let document = run(0.75).report();
    let audit = rows(&document, &["a · long", "Decode"]);
    let first = rows(&document, &["a · short", "Decode"]);
    let has = |rows: &[Vec<String>], cell: &str| rows.iter().any(|row| row.iter().any(|text| text == cell));
    assert!(has(&audit, "– shared") && has(&first, "1.0 shared"), "{audit:?} {first:?}");
}

#[test]
fn spikes_are_in_the_plot_of_the_phase_that_compiled() {
    let described = |run: &Run, id: &str| {
        let document = run.report();
        let figure = document.figures().find(|figure| figure.id.contains(id) && figure.id.contains("comp"));
        figure.map(|figure| figure.svg.standalone()).unwrap_or_default()
    };
    let steady = described(&run(0.75), "compile_order_prefill");
    assert!(steady.contains("comp: 62 calls") && steady.contains("eng: 62 calls"), "{steady}");
    assert!(!steady.contains("compiled inside the call"));
    let mut churned = run(0.75);
    // The plot is of the largest model.
    for call in churned.calls().filter(|call| call.session.backend == "comp" && call.session.model == "b").take(3) {
        call.compile[0].unique_graphs = 1;
    }
    let prefill = described(&churned, "compile_order_prefill");
    assert!(prefill.contains("compiled inside the call") && prefill.contains("3 of them compiled"), "{prefill}");
    let decode = described(&churned, "compile_order_kv_decode");
    assert!(!decode.is_empty() && !decode.contains("compiled inside the call"), "{decode}");
}

#[test]
fn what_is_not_proven_is_said_and_no_compiler_is_no_section() {
    let mut run = run(0.75);
    timed(&mut run, "short").next().unwrap().compile[1].backend_actual = None;
    let document = run.report();
    let decode = rows(&document, &["comp", "Decode", "inductor", "eng", "3 of 4"]);
    assert_eq!(decode.len(), 1, "{}", to_markdown(&document));
    assert_eq!(decode[0].last().unwrap(), "not proven");
    assert!(to_markdown(&document).contains("1 cell not proven to have run compiled"));
    for call in run.calls() {
        call.compile.clear();
    }
    run.lines.iter_mut().for_each(|line| {
        if let phasebench::record::Line::Load(load) = line {
            load.compilers.clear();
            load.compiled.clear();
        }
    });
    assert!(run.report().sections.iter().all(|section| section.id != "compile"));
}
