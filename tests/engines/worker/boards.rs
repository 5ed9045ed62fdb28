//! Runs whose worker computes on an NVIDIA board: the board's memory is measured beside it, through a driver of our own.

use phasebench::record::{Line, ReferenceRecord};

use crate::fake_cuda::{self, UUID};
use crate::worker::fixture::{Fixture, Recorded, assert_exit};

/// A run beside which the machine is measured often, with a driver that is compiled with what is wanted of it.
fn run(backend: &str, driver: &[&str]) -> (Fixture, Recorded) {
    // Two loads: long enough, as workers are reckoned, for the machine to be measured before them.
    let models =
        "vocab: 400 } }, { name: n, synthetic: { family: gpt2, n_layer: 3, n_embd: 4, n_head: 2, vocab: 400 } }]";
    let fixture = Fixture::new(backend, "on-board").with("vocab: 400 } }]", models);
    let fixture = fixture.with("seed: 1\n", "seed: 1\nreference: { every: 1s, share: 0.2 }\n");
    fake_cuda::compile(fixture.path(), driver);
    let output = fixture.start().env("LD_LIBRARY_PATH", fixture.path()).output().unwrap();
    assert_exit(&output, 0);
    fixture.nothing_runs_now();
    let recorded = fixture.recorded();
    assert_eq!(recorded.failures(), [] as [String; 0]);
    (fixture, recorded)
}

fn references(recorded: &Recorded) -> Vec<&ReferenceRecord> {
    let lines = recorded.lines().iter();
    let found: Vec<_> =
        lines.filter_map(|line| if let Line::Reference(found) = line { Some(&**found) } else { None }).collect();
    assert!(!found.is_empty(), "the machine was not measured");
    found
}

/// Rows of a table of the run that name the board.
fn rows_of_the_board(fixture: &Fixture, table: &str) -> usize {
    let text = std::fs::read_to_string(fixture.run.join(table)).unwrap();
    text.lines().filter(|row| row.contains(UUID)).count()
}

#[test]
fn a_board_s_memory_is_measured_in_the_run_and_its_cells_are_set_beside_it() {
    let (fixture, recorded) = run("torch: { device: cuda }", &["RATE=2e12"]);
    let references = references(&recorded);
    for reference in &references {
        let [board] = reference.boards.as_slice() else { panic!("{reference:?}") };
        assert_eq!((board.uuid.as_deref(), board.per_second.len()), (Some(UUID), 3));
        assert!(board.per_second.iter().all(|rate| (rate / 2e12 - 1.0).abs() < 1e-5), "{board:?}");
        assert!(!reference.speeds.is_empty(), "the processor is measured as ever");
    }
    for command in ["analyze", "report", "validate"] {
        assert_exit(&fixture.command(&[command, "run"]).output().unwrap(), 0);
    }
    assert_eq!(rows_of_the_board(&fixture, "analysis/machine.csv"), references.len());
    assert_eq!(rows_of_the_board(&fixture, "analysis/roofline.csv"), 4, "prefill and decode of both models");
}

#[test]
fn a_driver_that_crashes_costs_the_figure_and_nothing_else() {
    let (fixture, recorded) = run("torch: { device: cuda }", &["CRASHES"]);
    for reference in references(&recorded) {
        let [board] = reference.boards.as_slice() else { panic!("{reference:?}") };
        let why = board.not_measured.as_deref().unwrap();
        assert!(why.starts_with("the process that asked the driver ended with signal: 11"), "{why}");
    }
    for command in ["analyze", "report", "validate"] {
        assert_exit(&fixture.command(&[command, "run"]).output().unwrap(), 0);
    }
    let report = std::fs::read_to_string(fixture.run.join("report.md")).unwrap();
    let said =
        "the memory of a board was not measured, because the process that asked the driver ended with signal: 11";
    assert!(report.contains(said), "{report}");
}

/// Nothing of a driver is asked where no backend asks for a board, whatever there is.
#[test]
fn a_run_on_the_processor_leaves_the_driver_alone() {
    let (fixture, recorded) = run("torch: {}", &["CRASHES"]);
    assert!(references(&recorded).iter().all(|reference| reference.boards.is_empty()));
    let record = std::fs::read_to_string(fixture.run.join("measurements.jsonl")).unwrap();
    let plan = std::fs::read_to_string(fixture.run.join("plan.json")).unwrap();
    assert!(!record.contains("not_measured") && !plan.contains("\"boards\""), "{plan}");
}
