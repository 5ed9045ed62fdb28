use super::*;
use crate::terms::SensorKind;
use crate::terms::sensor::Register;

const S: u64 = 1_000_000_000;

fn sensor() -> Sensor {
    let register = |name: &str, kind| Register { name: name.to_owned(), kind, range_j: None };
    Sensor {
        simulated: true,
        registers: vec![
            register("counter", RegisterKind::Counter),
            register("memory_temperature_c", RegisterKind::State),
            register("temperature_c", RegisterKind::State),
        ],
        ..Sensor::new("board".to_owned(), SensorKind::Nvml, String::new())
    }
}

/// What a sensor read every 20 ms says: joules by the second from `watts`, degrees from `celsius`.
fn told<'a>(
    sensor: &'a Sensor,
    seconds: u64,
    watts: impl Fn(f64) -> f64,
    celsius: Option<&dyn Fn(f64) -> f64>,
) -> SensorHistory<'a> {
    let (mut counter, mut temperature, mut joules) = (Vec::new(), Vec::new(), 0.0);
    for tick in 0..seconds * 50 {
        let (at, seconds) = (Nanos(tick * S / 50), tick as f64 / 50.0);
        joules += watts(seconds) / 50.0;
        counter.push(Sample { begin: at, end: at, value: Some(joules) });
        if let Some(celsius) = celsius.filter(|_| tick % 10 == 0) {
            temperature.push(Sample { begin: at, end: at, value: Some(celsius(seconds)) });
        }
    }
    let edges = Edges::of(&counter, Nanos(S / 50));
    SensorHistory { sensor, edges, power: Vec::new(), temperature }
}

/// Calls of 4 s without a pause.
fn calls(begin: u64, end: u64) -> Stretch<'static> {
    let mut stretch = Stretch::new(0, Stage::Calls, Nanos(begin * S), Nanos(end * S));
    stretch.cuts = (begin..end).step_by(4).map(|second| Nanos(second * S)).collect();
    stretch
}

fn verdict(told: &SensorHistory<'_>, stretch: &Stretch<'_>) -> (Option<Equilibrium>, String) {
    let row = told.row(stretch);
    (row.equilibrium, row.why)
}

#[test]
fn a_load_that_stands_still_is_equilibrated() {
    let sensor = sensor();
    // Each call draws 100 W for its first half and 300 W for the other: only whole calls show that nothing moves.
    let told = told(&sensor, 80, |s| if s % 4.0 < 2.0 { 100.0 } else { 300.0 }, Some(&|s| 60.0 + (s % 2.0)));
    let row = told.row(&calls(8, 72));
    assert_eq!((row.equilibrium, row.why.as_str()), (Some(Equilibrium::Equilibrated), ""));
    assert!(row.power_w.is_some_and(|watts| (watts - 200.0).abs() < 0.5), "{row:?}");
    assert!(row.power_moved.is_some_and(|moved| moved < 0.001), "{row:?}");
    assert!(row.temperature_moved_c.is_some_and(|moved| (0.8..=1.0).contains(&moved)), "{row:?}");
}

#[test]
fn a_load_that_still_moves_is_not_and_says_what_moves() {
    let sensor = sensor();
    let not = Some(Equilibrium::NotEquilibrated);
    let still = |_: f64| 60.0;
    let warming = told(&sensor, 80, |_| 200.0, Some(&|s| 50.0 + s * 0.1));
    let rising = told(&sensor, 80, |s| 200.0 + s * 0.1, Some(&still));
    let blind = told(&sensor, 80, |_| 200.0, None);
    let (found, why) = verdict(&warming, &calls(8, 72));
    assert_eq!((found, why.as_str()), (not, "temperature moved by 1.8 degrees, at most 1 is steady"));
    let (found, why) = verdict(&rising, &calls(8, 72));
    assert_eq!((found, why.as_str()), (not, "power moved by 0.6 %, at most 0.5 % are steady"));
    assert_eq!(verdict(&blind, &calls(8, 72)), (not, "the sensor tells no temperature".to_owned()));
    // Three blocks of at least 10 s from whole calls of 4 s are 36 s.
    let steady = told(&sensor, 80, |_| 200.0, Some(&still));
    assert_eq!(verdict(&steady, &calls(8, 44)).0, Some(Equilibrium::Equilibrated));
    let (found, why) = verdict(&steady, &calls(8, 40));
    assert_eq!(found, not);
    assert!(why.starts_with("too short"), "{why}");
}

#[test]
fn what_is_left_alone_has_ends_and_no_verdict() {
    let sensor = sensor();
    let told = told(&sensor, 80, |s| 300.0 - s, Some(&|s| 80.0 - s / 2.0));
    let row = told.row(&Stretch::new(0, Stage::IdleAfter, Nanos(10 * S), Nanos(70 * S)));
    assert_eq!((row.equilibrium, row.power_moved, row.why.as_str()), (None, None, ""));
    let near = |value: Option<f64>, wanted: f64| value.is_some_and(|value| (value - wanted).abs() < 0.2);
    assert!(near(row.power_begin_w, 285.0) && near(row.power_end_w, 235.0), "{row:?}");
    assert!(near(row.temperature_begin_c, 72.5) && near(row.temperature_end_c, 47.5), "{row:?}");
}
