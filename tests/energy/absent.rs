//! A machine without a sensor.

use phasebench::terms::Role;

use crate::fixture::{Fixture, succeeded};

#[test]
fn the_run_succeeds_and_says_once_that_nothing_can_be_measured() {
    let fixture = Fixture::new("{ idle: 60s }");
    let output = fixture.run(fixture.program());
    succeeded(&output);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors.matches("no power sensor").count(), 1, "{errors}");
    assert!(errors.contains("no NVIDIA driver library"), "also on a machine that has one: {errors}");
    let report = fixture.report();
    assert_eq!(report.matches("no sensor that can be read").count(), 1, "{report}");
    // A busy machine makes pauses between calls, and those make rewarm calls.
    let events: Vec<_> = fixture.events().into_iter().filter(|event| event.role != Some(Role::Rewarm)).collect();
    assert_eq!(events.len(), 8, "a cold and three timed calls of two phases");
    for event in &events {
        assert_eq!(event.reason.map(|reason| reason.as_str()), Some("no_sensor"));
        assert_eq!((event.energy_j, event.grade, event.sensor.as_deref()), (None, None, None));
    }
    let mut metrics = csv::Reader::from_path(fixture.run_folder().join("metrics.csv")).unwrap();
    let columns = metrics.headers().unwrap().clone();
    let column = |name: &str| columns.iter().position(|column| column == name).unwrap();
    for row in metrics.records().map(Result::unwrap) {
        assert_eq!(&row[column("energy_reason")], "no_sensor");
        assert_eq!((&row[column("energy_j")], &row[column("j_per_token")]), ("", ""), "never 0");
    }
}

#[test]
fn doctor_says_what_would_make_it_measurable() {
    let fixture = Fixture::new("{}");
    let output = fixture.program().arg("doctor").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for sensor in ["GPU power (NVML)", "processor energy (RAPL)", "GPU power (hwmon)"] {
        let line = text.lines().position(|line| line.contains(sensor)).unwrap_or_else(|| panic!("{sensor}: {text}"));
        assert!(text.lines().nth(line).unwrap().contains("missing"), "{text}");
        assert!(text.lines().nth(line + 1).unwrap().contains("try: "), "{text}");
    }
}

#[test]
fn a_scenario_that_asks_for_nothing_records_nothing() {
    let fixture = Fixture::new("{ idle: 0s }");
    let scenario = std::fs::read_to_string(fixture.path().join("scenario.yaml")).unwrap();
    let without: Vec<&str> = scenario.lines().filter(|line| !line.starts_with("telemetry")).collect();
    std::fs::write(fixture.path().join("scenario.yaml"), without.join("\n")).unwrap();
    succeeded(&fixture.run(fixture.with_driver(crate::fixture::BOARD)));
    assert!(!fixture.run_folder().join("power_trace.csv").exists());
    assert!(!fixture.report().contains("## Energy"));
    assert!(!fixture.run_folder().join("events.jsonl").exists());
}
