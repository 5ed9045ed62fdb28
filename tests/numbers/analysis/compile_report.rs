//! What the report says of compiling.

use phasebench::report::document::Document;
use phasebench::report::markdown::to_markdown;
use phasebench::report::sections::{ReportedRun, compose};

use super::compile::{run, timed};
use super::run::Run;

fn report(run: &Run) -> Document {
    let (tables, recording) = (run.tables(), run.recording());
    compose(&ReportedRun {
        tables: &tables,
        plan: &run.plan,
        manifest: &run.manifest,
        recording: &recording,
        trace: &[],
    })
}

/// The cells of the rows of the Markdown tables whose first cells are these.
fn rows(document: &Document, begin: &[&str]) -> Vec<Vec<String>> {
    let text = to_markdown(document);
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let rows = rows.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect());
    rows.filter(|cells: &Vec<String>| begin.iter().zip(cells).all(|(wanted, cell)| wanted == cell)).collect()
}

#[test]
fn the_outcome_names_the_cache_and_when_compiling_has_paid() {
    let document = report(&run(0.75));
    assert!(document.sections.iter().any(|section| section.id == "compile"));
    let prefill = rows(&document, &["comp", "Prefill", "inductor", "eng", "4 of 4"]);
    assert_eq!(prefill.len(), 1, "{}", to_markdown(&document));
    // Two models of two shapes, 2 s each; the cell that gains least needs most calls.
    assert_eq!(prefill[0][prefill[0].len() - 4..], ["8.0", "cold", "797", "faster"]);
    let text = to_markdown(&document);
    assert!(text.contains("8.0") && text.contains("earned back after at most 797 calls of each cell"), "{text}");
}

#[test]
fn spikes_are_in_the_plot_of_the_phase_that_compiled() {
    let described = |run: &Run, id: &str| {
        let document = report(run);
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
    let document = report(&run);
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
    assert!(report(&run).sections.iter().all(|section| section.id != "compile"));
}
