//! Whole runs through the driver wrapper on a scripted board.

use std::collections::BTreeMap;
use std::fs;

use phasebench::energy::Grade;

use crate::fixture::{BOARD, Fixture, succeeded};

const TELEMETRY: &str = "{ period: 8ms, idle: 600ms, looped: 0s, calibrate: false, sensors: [nvml] }";

#[test]
fn phases_and_the_rest_add_up_to_the_whole_trace() {
    let fixture = Fixture::new(TELEMETRY);
    succeeded(&fixture.run(fixture.with_driver(BOARD)));
    fixture.report();
    let events = fixture.events();
    assert_eq!(events.len(), 8);
    let trace = fixture.trace();
    let counter: Vec<(u64, f64)> =
        (trace.iter().filter(|row| row.register == "counter")).map(|row| (row.end_ns.0, row.value.unwrap())).collect();
    // The counter's value at a time, between two of its updates.
    let at = |ns: u64| {
        let after = counter.partition_point(|reading| reading.0 < ns);
        let (before, after) = (counter[after - 1], counter[after]);
        before.1 + (after.1 - before.1) * (ns - before.0) as f64 / (after.0 - before.0) as f64
    };
    let (first, last) = (events[0].begin_ns, events[events.len() - 1].end_ns);
    let (mut phases, mut rest, mut uncertain, mut end) = (0.0, 0.0, 0.0, first);
    for event in &events {
        assert!(event.grade.is_some_and(|grade| grade <= Grade::C), "{event:?}");
        let energy = event.energy_j.unwrap();
        phases += energy;
        uncertain += (event.u_stat.unwrap() * energy).powi(2);
        rest += at(event.begin_ns) - at(end);
        end = event.end_ns;
    }
    let whole = at(last) - at(first);
    let interval = 2.0 * uncertain.sqrt();
    assert!((phases + rest - whole).abs() <= interval, "{phases} + {rest} is not {whole} ± {interval}");
    assert!(interval < 0.1 * whole && rest < 0.1 * whole, "an interval of {interval} in {whole} shows nothing");
    // Prefill and decode are told apart: their powers are those of the load at their times, not one mean for both.
    let powers: Vec<f64> = events.iter().map(|event| event.power_w.unwrap()).collect();
    assert!(powers.iter().any(|watts| (watts - powers[0]).abs() > 1.0), "{powers:?}");
}

#[test]
fn a_scripted_board_is_called_simulated_in_every_artifact() {
    let fixture = Fixture::new(TELEMETRY);
    let output = fixture.run(fixture.with_driver(BOARD));
    succeeded(&output);
    assert!(String::from_utf8_lossy(&output.stderr).contains("SIMULATED"));
    let report = fixture.report();
    let page = fs::read_to_string(fixture.run_folder().join("report.html")).unwrap();
    for text in [&report, &page] {
        assert!(text.contains("SIMULATED power"), "{text}");
    }
    let folder = fixture.run_folder();
    for (file, rows) in [
        ("power_trace.csv", "simulated-nvml:0"),
        ("events.jsonl", "\"simulated\":true"),
        ("baseline.json", "\"simulated\": true"),
        ("manifest.json", "\"simulated\": true"),
        ("analysis/energy_events.csv", "simulated-nvml:0,true"),
        ("analysis/energy_summary.csv", "simulated-nvml:0,true"),
        ("metrics.csv", "simulated-nvml:0,true"),
    ] {
        let text = fs::read_to_string(folder.join(file)).unwrap();
        assert!(text.contains(rows), "{file}: {text:.400}");
        if file.ends_with(".csv") {
            assert!(text.lines().skip(1).all(|line| line.contains("simulated-nvml:0")), "{file} has a row without it");
        }
    }
    for plot in fs::read_dir(folder.join("plots")).unwrap().map(|entry| entry.unwrap().path()) {
        let name = plot.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("energy") || name.starts_with("power") {
            assert!(fs::read_to_string(&plot).unwrap().contains("SIMULATED"), "{name}");
        }
    }
}

#[test]
fn idle_stretches_are_recorded_and_taken_off() {
    let fixture = Fixture::new(TELEMETRY);
    succeeded(
        &fixture.run(fixture.with_driver(&BOARD.replace("load = file\n", "load = cpu\nidle_w = 70\nbusy_w = 300\n"))),
    );
    fixture.report();
    let text = fs::read_to_string(fixture.run_folder().join("baseline.json")).unwrap();
    let rows: Vec<BTreeMap<String, serde_json::Value>> = serde_json::from_str(&text).unwrap();
    let when: Vec<&str> = rows.iter().map(|row| row["when"].as_str().unwrap()).collect();
    assert_eq!(when, ["before", "loaded", "after"]);
    for row in &rows {
        let watts = row["idle"]["watts"].as_f64().unwrap();
        assert!((60.0..150.0).contains(&watts), "{row:?}");
    }
    for event in fixture.events() {
        let (gross, net) = (event.energy_j.unwrap(), event.energy_net_j.unwrap());
        assert!(net < gross, "{event:?}");
        assert!(event.idle_kind.is_some());
        // What is not known of idle power makes the rest less certain than the whole.
        let (gross_u, net_u) = (event.u_stat.unwrap() * gross, event.u_net.unwrap() * net.abs());
        assert!(net_u >= gross_u && net_u < gross, "{event:?}");
    }
    let metrics = fs::read_to_string(fixture.run_folder().join("metrics.csv")).unwrap();
    assert!(metrics.contains(",idle_ctx,") || metrics.contains(",idle_bare,"), "{metrics}");
    for row in fixture.summary().iter().filter(|row| row.graded > 0) {
        let net = row.energy_net_j.unwrap();
        assert!(row.energy_net_low_j.unwrap() < net && net < row.energy_net_high_j.unwrap(), "{row:?}");
        assert!(row.idle_kind.starts_with("idle_") && row.updates.is_some_and(|updates| updates >= 3), "{row:?}");
    }
}

#[test]
fn the_same_files_give_the_same_tables() {
    let fixture = Fixture::new(TELEMETRY);
    succeeded(&fixture.run(fixture.with_driver(BOARD)));
    fixture.report();
    let read = |name: &str| fs::read(fixture.run_folder().join(name)).unwrap();
    let names = ["metrics.csv", "events.jsonl", "baseline.json", "analysis/energy_events.csv", "report.html"];
    let before = names.map(read);
    fixture.report();
    assert!(before == names.map(read));
}
