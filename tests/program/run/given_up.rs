//! Models that cannot be loaded, and calls that keep ending their session: said, counted, and no success.

use std::fs;

use phasebench::record::Line;
use phasebench::terms::Role;

use crate::run::fixture::{Fixture, Scenario, assert_exit, stderr, stdout};

/// Cells of the default scenario: two models, two prompts.
const CELLS: usize = 4;

fn fixture(script: &str, more: &str) -> Fixture {
    Fixture::new(&Scenario { script, more, ..Scenario::default() })
}

/// What is said of cells given up, one line each.
fn said(errors: &str) -> Vec<&str> {
    errors.lines().filter(|line| line.contains(": given up: ")).collect()
}

#[test]
fn a_run_that_loads_nothing_is_no_success() {
    // Whatever the scenario allows: of what was asked for, nothing is there.
    for limit in ["0.05", "1"] {
        let more = format!("limits: {{ degraded_rate: {limit} }}\n");
        let fixture = fixture("{ faults: [{ kind: load, every: 1 }] }", &more);
        let output = fixture.run();
        assert_exit(&output, 3);
        assert_eq!(said(&stderr(&output)).len(), CELLS, "{}", stderr(&output));
        assert!(stdout(&output).contains("0 degraded (0.0 %), 0 cells skipped, 4 given up"), "{}", stdout(&output));
        assert_eq!(fixture.calls().len(), 0);
        assert!(matches!(fixture.lines().last(), Some(Line::Finished(_))));
        assert_exit(&fixture.resume(), 3);
        for command in ["analyze", "report", "validate"] {
            assert_exit(&fixture.command(&[command, "run"]).output().unwrap(), 0);
        }
    }
}

#[test]
fn a_model_that_does_not_load_is_named_with_the_engines_words() {
    let more = "limits: { degraded_rate: 1 }\n";
    let fixture = fixture("{ faults: [{ kind: load, model: m1, every: 1 }] }", more);
    let output = fixture.run();
    assert_exit(&output, 3);
    let errors = stderr(&output);
    let why = "its session failed to load 2 times in a row: scripted load failure";
    assert_eq!(
        errors.lines().collect::<Vec<_>>(),
        [
            format!("phasebench: sim × m1 × p8 × 16 steps: given up: {why}"),
            format!("phasebench: sim × m1 × p32 × 16 steps: given up: {why}"),
            "phasebench: sim × m1: every cell was given up".to_owned(),
        ]
    );
    assert!(fixture.calls().iter().all(|call| call.session.model == "m2"), "the other is measured");
    assert_eq!(fixture.timed().len(), 2 * 5);
    assert_exit(&fixture.command(&["report", "run"]).output().unwrap(), 0);
    let report = fs::read_to_string(fixture.run.join("report.md")).unwrap();
    let row = report.lines().find(|line| line.contains("failed to load 2 times")).unwrap();
    assert!(row.contains("m1") && row.contains("p8") && row.contains("scripted load failure"), "{row}");
    assert!(fs::read_to_string(fixture.run.join("report.html")).unwrap().contains("scripted load failure"));
}

/// Half of the planned calls cannot be made: more than a limit of 40 %, less than one of 60 %.
#[test]
fn calls_that_were_never_made_count_against_the_limit() {
    for (limit, code) in [("0.4", 3), ("0.6", 0)] {
        // Its first two calls are warmups of two loads.
        let script = "{ faults: [{ kind: crashed, scenario: p8, every: 1 }] }";
        let fixture = fixture(script, &format!("limits: {{ degraded_rate: {limit} }}\n"));
        let output = fixture.run();
        assert_exit(&output, code);
        let errors = stderr(&output);
        let lines = said(&errors);
        assert_eq!(lines.len(), 2, "{errors}");
        assert!(
            lines.iter().all(|line| line.ends_with("its calls ended the session 2 times: scripted crash")),
            "{errors}"
        );
        assert!(!errors.contains("every cell"), "{errors}");
        let beyond = "of the calls are degraded or could not be made, more than the limit of 40.0 %";
        assert_eq!(errors.contains(beyond), code == 3, "{errors}");
        let good = fixture.calls().into_iter().filter(|call| call.role == Role::Timed && call.status.is_ok()).count();
        assert_eq!(good, 2 * 5, "the other prompt is measured");
    }
}

#[test]
fn a_load_that_works_the_second_time_costs_nothing() {
    let script = "{ max_resident: 1, faults: [{ kind: load, every: 2 }] }";
    let fixture = Fixture::new(&Scenario { order: "interleaved", script, ..Scenario::default() });
    let output = fixture.run();
    assert_exit(&output, 0);
    assert_eq!(stderr(&output), "");
    let failed = |line: &&Line| matches!(line, Line::Load(load) if !load.status.is_ok());
    assert!(fixture.lines().iter().filter(failed).count() >= 2);
    assert_eq!(fixture.timed().len(), CELLS * 5);
}

#[test]
fn a_load_fault_is_of_no_scenario() {
    let output = fixture("{ faults: [{ kind: load, scenario: p8, every: 1 }] }", "").run();
    assert_exit(&output, 2);
    assert!(stderr(&output).contains("a model is loaded for all scenarios alike"), "{}", stderr(&output));
}
