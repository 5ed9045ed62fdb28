//! The seed decides the plan and the order, and nothing else does.

use std::fs;

use crate::run::fixture::{Fixture, Scenario, assert_exit};

fn run(order: &str, seed: u64) -> (String, Vec<String>) {
    let repetitions = "{ min: 3, max: 12, until_relative_ci: 0.05 }";
    let script = "{ noise: 0.05, autocorrelation: 0.3 }";
    let fixture = Fixture::new(&Scenario { seed, order, repetitions, script, ..Scenario::default() });
    assert_exit(&fixture.run(), 0);
    (fs::read_to_string(fixture.run.join("plan.json")).unwrap(), fixture.timed())
}

#[test]
fn the_same_seed_gives_the_same_plan_and_order_and_another_does_not() {
    for order in ["blocked", "interleaved", "shuffled"] {
        let (first, again, other) = (run(order, 7), run(order, 7), run(order, 8));
        assert_eq!(first, again, "{order}");
        assert_ne!(first.0, other.0, "{order}: the plan names its seed");
        assert_ne!(first.1, other.1, "{order}");
    }
}

#[test]
fn the_report_of_a_run_is_always_the_same_bytes() {
    let fixture = Fixture::new(&Scenario { models: 4, script: "{ noise: 0.05 }", ..Scenario::default() });
    assert_exit(&fixture.run(), 0);
    let everything = || {
        assert_exit(&fixture.command(&["report", "run"]).output().unwrap(), 0);
        let mut files = Vec::new();
        for folder in [&fixture.run, &fixture.run.join("analysis"), &fixture.run.join("plots")] {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|e| e.path().is_file()) {
                files.push((entry.path(), fs::read(entry.path()).unwrap()));
            }
        }
        files.sort();
        files
    };
    let first = everything();
    for made in ["report.md", "report.html", "metrics.csv"] {
        fs::remove_file(fixture.run.join(made)).unwrap();
    }
    fs::remove_dir_all(fixture.run.join("plots")).unwrap();
    fs::remove_dir_all(fixture.run.join("analysis")).unwrap();
    let again = everything();
    assert_eq!(first.len(), again.len());
    for (one, other) in first.iter().zip(&again) {
        assert!(one == other, "{} differs", one.0.display());
    }
}
