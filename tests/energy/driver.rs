//! Whole runs through the driver wrapper on a scripted board.

use std::collections::BTreeMap;
use std::fs;

use phasebench::analysis::SoakRow;
use phasebench::analysis::energy_soak::{Equilibrium, Stage};
use phasebench::terms::energy::Grade;

use crate::fixture::{BOARD, Fixture, STEADY_W, succeeded};
use crate::labels;

const TELEMETRY: &str = "{ period: 8ms, idle: 600ms, looped: 0s, calibrate: false, sensors: [nvml] }";

#[test]
fn phases_and_the_rest_add_up_to_the_whole_trace() {
    let fixture = Fixture::new(TELEMETRY);
    if !fixture.run_undisturbed(fixture.with_driver(BOARD)) {
        return;
    }
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
    fixture.report();
    let labelled = labels::check(&fixture.run_folder());
    for file in [
        "power_trace.csv",
        "events.jsonl",
        "baseline.json",
        "manifest.json",
        "metrics.csv",
        "analysis/energy_events.csv",
        "analysis/energy_summary.csv",
        "analysis/energy_soak.csv",
        "report.md",
        "report.html",
        "plots/energy_prefill.svg",
        "plots/energy_kv_decode.svg",
        "plots/power_trace.svg",
        "plots/power_run.svg",
    ] {
        assert!(labelled.contains(file), "{file} is not among {labelled:?}");
    }
}

#[test]
fn idle_stretches_are_recorded_and_taken_off() {
    let fixture = Fixture::new(TELEMETRY);
    let board = BOARD.replace("load = file\n", "load = cpu\nidle_w = 70\nbusy_w = 300\n");
    if !fixture.run_undisturbed(fixture.with_driver(&board)) {
        return;
    }
    let report = fixture.report();
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
    let rows: Vec<Vec<&str>> = report.lines().map(cells).collect();
    for (when, kind) in [("before the run", "idle_bare"), ("m loaded", "idle_ctx"), ("after the run", "idle_bare")] {
        assert!(rows.iter().any(|row| row.starts_with(&[when, kind])), "{when}: {report}");
    }
    let stages: Vec<SoakRow> = fixture.tables().energy_soak;
    let order: Vec<Stage> = stages.iter().map(|row| row.stage).collect();
    assert_eq!(order, [Stage::IdleBefore, Stage::IdleLoaded, Stage::Calls, Stage::IdleAfter]);
    // Seconds of calls are no steady load, and it is not called one.
    let work = &stages[2];
    assert_eq!(work.equilibrium, Some(Equilibrium::NotEquilibrated));
    assert!(work.why.starts_with("too short") && report.contains("not_equilibrated: too short"), "{work:?}");
    assert!(stages.iter().all(|row| row.power_w.is_some_and(|watts| (60.0..310.0).contains(&watts))), "{stages:?}");
}

/// Every figure of the table has its grade, method, updates and kind of idle power; of grade D there is an interval only.
#[test]
fn figures_come_with_what_they_rest_on() {
    let fixture = Fixture::new(TELEMETRY);
    let program = fixture.with_driver(BOARD);
    fixture.load(&STEADY_W);
    if !fixture.run_undisturbed(program) {
        return;
    }
    let report = fixture.report();
    let rows: Vec<Vec<&str>> = report.lines().filter(|line| line.contains(" | natural ")).map(cells).collect();
    assert_eq!(rows.len(), 2, "{report}");
    let title = cells(report.lines().find(|line| line.contains(" | scope ")).unwrap());
    for row in &rows {
        let of = |name: &str| row[title.iter().position(|title| *title == name).unwrap()];
        assert_eq!(of("grade"), "C (3 of 3)", "{row:?}");
        assert!(of("net (J), of idle power").ends_with(" idle_ctx"), "{row:?}");
        let updates =
            of("method, or why not").strip_prefix("inner_edge on ").unwrap().strip_suffix(" updates").unwrap();
        assert!(updates.parse::<u32>().unwrap() >= 5, "{row:?}");
        // The gain alone makes a tenth of it uncertain: no more than two digits below that are shown.
        let (energy, interval) = of("energy (J) [95 %]").split_once(' ').unwrap();
        let ends: Vec<f64> = interval.trim_matches(['[', ']']).split(", ").map(|end| end.parse().unwrap()).collect();
        // The ends that are shown are rounded: they tell half of the width to about a hundredth of it.
        let half = format!("{:.1e}", 0.99 * (ends[1] - ends[0]) / 2.0);
        let finest: i32 = half.split_once('e').unwrap().1.parse().unwrap();
        let decimals = energy.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        assert!(decimals <= usize::try_from(1 - finest).unwrap_or(0), "{row:?}");
    }
    assert!(report.contains("the letter is the grade. By inner_edge, on at least"), "{report}");
}

/// A row of a table.
fn cells(line: &str) -> Vec<&str> {
    line.trim_matches(['|', ' ']).split(" | ").map(str::trim).collect()
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
