//! Mistakes that energy figures of other tools are known to have, each with the test that fails where we make it.
//!
//! | mistake | here |
//! |---|---|
//! | the platform's or a core's zone added to the package's; one counter read through two interfaces | `packages_memory_and_platform…`, `a_second_way…` beside `telemetry::sensor::rapl`; [`crate::processor`] |
//! | one socket's counter shown by every die, and added | `a_counter_shown_by_two_dies…` beside `telemetry::sensor::rapl` |
//! | a range that cannot be read makes a negative figure; an error while reading counts as 0 | `a_range…`, `what_goes_wrong…` beside `telemetry::sensor::rapl`; `a_wrap_is_mended…` beside `energy::edges` |
//! | power read for a moment, multiplied by a long time | [`power_of_a_moment_is_not_spread_over_a_phase`] |
//! | energy of one stretch, duration of another | [`energy_power_and_time_are_of_the_same_stretch`] |
//! | a counter that is not supported counts as 0 | [`crate::faults`], [`crate::absent`] |
//! | a phase ends on the host's clock while the device still works | the torch worker's `test_stopwatch.py`. Ours: a pass ends after `synchronize_outputs`; that it does cannot be tested without a device, where `cuda_event_gap_summary.csv` compares the two clocks |
//! | a difference of unsigned numbers below 0 | cannot be: joules are `f64`, times saturate; a counter that falls is `counter_reset` in [`crate::faults`] |
//! | millijoules, joules, microjoules mixed up | [`crate::looped`] (271 W from millijoules), [`crate::processor`] (50 W from microjoules), `telemetry::sensor::hwmon` |
//! | asking a sleeping laptop GPU for its power keeps it awake | no test: no machine of ours sleeps so. Without `sensors` in the scenario file every sensor is read; `sensors: [rapl]` leaves GPUs alone |

use std::fs;

use phasebench::terms::Phase;

use crate::fixture::{BOARD, Fixture};

const TELEMETRY: &str = "{ period: 8ms, idle: 0s, looped: 0s, calibrate: false, sensors: [nvml] }";

#[test]
fn power_of_a_moment_is_not_spread_over_a_phase() {
    let fixture = Fixture::new(TELEMETRY);
    let scenario = fs::read_to_string(fixture.path().join("scenario.yaml")).unwrap();
    fs::write(fixture.path().join("scenario.yaml"), scenario.replace("gen_tokens: [40]", "gen_tokens: [120]")).unwrap();
    if !fixture.run_undisturbed(fixture.with_driver(BOARD)) {
        return;
    }
    fixture.report();
    let whole = fixture.events();
    let chosen = whole.iter().rfind(|event| event.phase == Phase::KvDecode).unwrap();
    assert!(chosen.energy_j.is_some(), "{chosen:?}");
    // Of the last decode, over a second long, only readings of less than a fifth are left: enough for a mean by number.
    let (from, to) = (chosen.begin_ns + 250_000_000, chosen.begin_ns + 450_000_000);
    let path = fixture.run_folder().join("power_trace.csv");
    let mut reader = csv::Reader::from_path(&path).unwrap();
    let header = reader.headers().unwrap().clone();
    let column = header.iter().position(|name| name == "end_ns").unwrap();
    let mut left = csv::Writer::from_writer(Vec::new());
    left.write_record(&header).unwrap();
    for row in reader.records().map(Result::unwrap) {
        let at: u64 = row[column].parse().unwrap();
        if !(chosen.begin_ns..=chosen.end_ns).contains(&at) || (from..=to).contains(&at) {
            left.write_record(&row).unwrap();
        }
    }
    fs::write(&path, left.into_inner().unwrap()).unwrap();
    fixture.report();
    for (before, after) in whole.iter().zip(fixture.events()) {
        if after.call_id == chosen.call_id && after.phase == Phase::KvDecode {
            assert_eq!((after.energy_j, after.reason.map(|why| why.as_str())), (None, Some("poll_gap")), "{after:?}");
        } else {
            assert_eq!(after.energy_j.is_some(), before.energy_j.is_some(), "{after:?}");
        }
    }
}

#[test]
fn energy_power_and_time_are_of_the_same_stretch() {
    let fixture = Fixture::new(TELEMETRY);
    if !fixture.run_undisturbed(fixture.with_driver(BOARD)) {
        return;
    }
    fixture.report();
    let trace = fixture.trace();
    let counter: Vec<(u64, f64)> = trace
        .iter()
        .filter(|row| row.register == "counter")
        .filter_map(|row| Some((row.end_ns.0, row.value?)))
        .collect();
    let at = |ns: u64| {
        // The last phase may end after the last reading.
        let after = counter.partition_point(|reading| reading.0 < ns).min(counter.len() - 1);
        let (before, after) = (counter[after - 1], counter[after]);
        before.1 + (after.1 - before.1) * (ns - before.0) as f64 / (after.0 - before.0) as f64
    };
    let same = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs();
    let events = fixture.events();
    assert_eq!(events.len(), 8);
    for event in &events {
        let (energy, power) = (event.energy_j.unwrap(), event.power_w.unwrap());
        let seconds = (event.end_ns - event.begin_ns) as f64 / 1e9;
        assert!(same(energy, power * seconds), "{event:?}");
        // The phase's own stretch, not its call's: what the counter moved by between its two ends.
        let counted = at(event.end_ns) - at(event.begin_ns);
        let interval = 2.0 * event.u_stat.unwrap() * energy + 0.1 * energy;
        assert!((energy - counted).abs() <= interval, "{energy} J, the counter moved by {counted}: {event:?}");
    }
    let mut metrics = csv::Reader::from_path(fixture.run_folder().join("metrics.csv")).unwrap();
    let columns = metrics.headers().unwrap().clone();
    let column = |name: &str| columns.iter().position(|column| column == name).unwrap();
    let mut rows = 0;
    for row in metrics.records().map(Result::unwrap) {
        let of = |name: &str| row[column(name)].parse::<f64>().unwrap();
        let seconds = of("latency_ms") / 1e3;
        assert!((of("energy_j") / (of("energy_power_w") * seconds) - 1.0).abs() < 1e-6, "{row:?}");
        if !row[column("j_per_token")].is_empty() {
            assert!((of("j_per_token") * of("tokens") / of("energy_j") - 1.0).abs() < 1e-6, "{row:?}");
            rows += 1;
        }
    }
    assert_eq!(rows, 8);
}
