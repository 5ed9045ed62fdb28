//! What a worker says of itself and of its calls, and what is made of it: in runs of the program.

use phasebench::record::plan::Plan;
use phasebench::terms::{Flag, Procedure};

use crate::worker::fixture::{Fixture, REPETITIONS, assert_exit};

/// The rows of a table of the run that name the worker.
fn rows_of_the_worker(fixture: &Fixture, table: &str) -> Vec<String> {
    assert_exit(&fixture.command(&["analyze", "run"]).output().unwrap(), 0);
    let table = std::fs::read_to_string(fixture.run.join(table)).unwrap();
    table.lines().filter(|line| line.split(',').any(|field| field == "worker")).map(str::to_owned).collect()
}

/// The simulated engine that is measured beside the worker.
const OTHER: &str = "\n  - { name: other, simulated: { pace: real } }";

const MEDIANS: &str = "analysis/summary_by_model_backend_mode.csv";

#[test]
fn what_a_worker_does_not_offer_is_skipped_with_the_reason() {
    let fixture =
        Fixture::torch("cached-only").with("gen_tokens: [4]", "gen_tokens: [4]\nmodes: [kv_decode, generate_uncached]");
    let output = fixture.start().output().unwrap();
    assert_exit(&output, 0);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let words = "backend `worker`: 1 cells skipped: it does not offer uncached, only prefill, prefill_decode";
    assert!(said.contains(words), "{said}");
    let plan: Plan = serde_json::from_slice(&std::fs::read(fixture.run.join("plan.json")).unwrap()).unwrap();
    let skipped: Vec<_> = plan.skipped.iter().map(|skipped| (skipped.cell.procedure, skipped.rule.as_str())).collect();
    assert_eq!(skipped, [(Procedure::Uncached, "procedure_unsupported")]);
    assert_eq!(plan.skipped[0].reason, "Fake does not offer uncached, only prefill, prefill_decode");
    let recorded = fixture.recorded();
    assert_eq!((recorded.failures(), recorded.timed("worker").len()), (vec![], REPETITIONS));
    assert_eq!(recorded.timed("other").len(), 2 * REPETITIONS, "the other engine does both");
    let doctor = fixture.command(&["doctor", "scenario.yaml"]).output().unwrap();
    assert_exit(&doctor, 0);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(
        said.contains("(process: python -m phasebench_torch), does not offer uncached: such cells are skipped"),
        "{said}"
    );
}

#[test]
fn nothing_is_left_of_a_plan_that_a_worker_offers_nothing_of() {
    let fixture = Fixture::torch("cached-only").with("gen_tokens: [4]", "gen_tokens: [4]\nmodes: [generate_uncached]");
    let fixture = fixture.with(OTHER, "");
    let output = fixture.start().output().unwrap();
    assert_exit(&output, 3);
    assert!(!fixture.run.exists());
}

#[test]
fn a_token_beyond_the_vocabulary_is_none() {
    let recorded = Fixture::torch("good,stray-token").complete();
    let failures = recorded.failures();
    let words = "a new token has the id 4000000000, and the model knows 400 tokens";
    assert!(
        failures.len() == 1 && failures[0].starts_with("invariant: ") && failures[0].ends_with(words),
        "{failures:?}"
    );
}

/// A device that is still at work when a phase is said to have ended.
#[test]
fn a_cell_whose_calls_lie_outside_their_phases_is_in_no_fit() {
    let fixture = Fixture::torch("not-waited-for").with(OTHER, "");
    assert_exit(&fixture.start().output().unwrap(), 0);
    let recorded = fixture.recorded();
    assert_eq!(recorded.failures(), [] as [String; 0]);
    assert!(recorded.timed("worker").iter().all(|call| call.flags.contains(&Flag::Unaccounted)));
    let rows = rows_of_the_worker(&fixture, MEDIANS);
    assert!(!rows.is_empty() && rows.iter().all(|row| row.contains(",unaccounted,")), "{rows:#?}");
    assert_eq!(rows_of_the_worker(&fixture, "analysis/summary_by_model_backend_mode_agg.csv"), [] as [String; 0]);
    assert_exit(&fixture.command(&["report", "run"]).output().unwrap(), 0);
    let report = std::fs::read_to_string(fixture.run.join("report.md")).unwrap();
    assert!(report.contains("(unaccounted for)") && report.contains("belongs to no phase"), "{report}");
    assert_exit(&fixture.command(&["validate", "run"]).output().unwrap(), 0);
}

/// Less than a millisecond of work, and an answer that takes longer than that, as with a small model; or a long time before
/// the first phase, which is nobody's.
#[test]
fn a_call_shorter_than_its_messages_or_its_preparation_is_accounted_for() {
    for word in ["good", "prepares"] {
        // A busy machine may stall in a call; so many that it is not most of them.
        let fixture = Fixture::torch(word).with(OTHER, "").with("fixed: 4", "fixed: 24");
        assert_exit(&fixture.start().output().unwrap(), 0);
        let recorded = fixture.recorded();
        let timed = recorded.timed("worker");
        let flagged = timed.iter().filter(|call| call.flags.contains(&Flag::Unaccounted)).count();
        assert!(timed.len() == 24 && flagged <= 12, "{word}: {flagged} of {}", timed.len());
        let rows = rows_of_the_worker(&fixture, MEDIANS);
        assert!(!rows.is_empty() && rows.iter().all(|row| row.contains(",attributed,")), "{word}: {rows:#?}");
    }
}

/// A clock that says it is this machine's and keeps another pace: every call is refused, and no table has a figure of it.
#[test]
fn a_clock_at_a_wrong_pace_reaches_no_table() {
    for pace in ["0.5", "0.9", "0.99", "1.01"] {
        let fixture = Fixture::torch(&format!("good,clock-{pace}"));
        let recorded = fixture.complete();
        let calls = recorded.calls("worker");
        assert_eq!(recorded.failures().len(), calls.len(), "{pace}: {:?}", recorded.failures());
        for failure in recorded.failures() {
            let said =
                failure.strip_prefix("invariant: the worker's clock runs at ").unwrap_or_else(|| panic!("{failure}"));
            let found: f64 = said.split(' ').next().unwrap().parse().unwrap();
            assert!((found - pace.parse::<f64>().unwrap()).abs() < 0.02, "{failure}");
        }
        assert!(calls.iter().all(|call| call.spans.is_empty()), "{pace}: a span was believed");
        assert_eq!(rows_of_the_worker(&fixture, MEDIANS), [] as [String; 0], "{pace}");
        assert_exit(&fixture.command(&["report", "run"]).output().unwrap(), 0);
    }
}

/// A clock that stands still during one long call: that call is refused, though its spans lie inside it, not only those after.
#[test]
fn a_call_in_which_the_clock_slips_is_not_believed() {
    let recorded = Fixture::torch("slips").complete();
    let calls = recorded.calls("worker");
    let (before, from) = calls.split_at(2);
    assert!(before.iter().all(|call| call.status.is_ok() && !call.spans.is_empty()));
    assert!(!from.is_empty() && from.iter().all(|call| call.spans.is_empty()), "a span was believed");
    let failures = recorded.failures();
    assert_eq!(failures.len(), from.len(), "{failures:?}");
    assert!(failures.iter().all(|words| words.starts_with("invariant: the worker's clock runs at 0.")), "{failures:?}");
}

#[test]
fn the_same_clock_at_the_right_pace_is_believed() {
    let fixture = Fixture::torch("good,clock-1.0");
    let recorded = fixture.complete();
    assert_eq!(recorded.failures(), [] as [String; 0]);
    assert!(recorded.timed("worker").iter().flat_map(|call| &call.spans).all(|span| !span.reconstructed));
    assert_eq!(rows_of_the_worker(&fixture, MEDIANS).len(), 3, "prefill, decode and both");
    // A scripted engine beside it has no weights, and its record holds together all the same.
    assert_exit(&fixture.command(&["validate", "run"]).output().unwrap(), 0);
}

#[test]
fn a_resumed_run_warns_of_more_threads_than_processors_as_the_first_one_did() {
    let fixture = Fixture::new("torch: { threads: 1000 }", "good");
    let warned = |output: &std::process::Output| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("backend `worker` asks for 1000 threads, and this process may use "), "{said}");
    };
    let output = fixture.start().output().unwrap();
    assert_exit(&output, 0);
    warned(&output);
    warned(&fixture.command(&["run", "--resume", "run"]).output().unwrap());
}
