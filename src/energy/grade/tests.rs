use super::*;

fn calibrated(coverage: Coverage) -> Calibration {
    Calibration { id: Some("measured".to_owned()), coverage, ..Calibration::assumed() }
}

fn found(method: Method, updates: u32, u_stat: f64) -> Estimate {
    Estimate { method, gross_j: 100.0, u_stat, u_shared: 0.0, updates, swept: method == Method::SteadySlope }
}

/// The best figure that there is.
fn best() -> Estimate {
    found(Method::InnerEdge, 50, 0.001)
}

fn graded(found: &Estimate, coverage: Coverage, caps: Caps) -> Result<Grade, NoFigure> {
    grade(found, &calibrated(coverage), &caps)
}

#[test]
fn a_grade_needs_both_updates_and_a_small_uncertainty() {
    let inner = |updates, u| graded(&found(Method::InnerEdge, updates, u), Coverage::Full, Caps::default());
    for (updates, u, wanted) in [
        (20, 0.02, Ok(Grade::A)),
        (19, 0.02, Ok(Grade::B)),
        (20, 0.021, Ok(Grade::B)),
        (10, 0.05, Ok(Grade::B)),
        (9, 0.05, Ok(Grade::C)),
        (10, 0.051, Ok(Grade::C)),
        (5, 0.15, Ok(Grade::C)),
        (4, 0.15, Ok(Grade::D)),
        (5, 0.151, Ok(Grade::D)),
        (2, 0.5, Ok(Grade::D)),
        (50, 0.51, Err(NoFigure::UTooLarge)),
    ] {
        assert_eq!(inner(updates, u), wanted, "{updates} updates, {u}");
    }
}

#[test]
fn power_readings_are_never_grade_a_and_three_of_them_are_enough_for_c() {
    let instant = |updates, u| graded(&found(Method::InstantInside, updates, u), Coverage::Full, Caps::default());
    assert_eq!(instant(50, 0.01), Ok(Grade::B));
    assert_eq!(instant(3, 0.15), Ok(Grade::C));
    assert_eq!(instant(2, 0.15), Ok(Grade::D));
}

#[test]
fn isolated_events_count_once_there_are_enough_of_them() {
    let padded = |coverage, events, u| {
        graded(&found(Method::Padded, 2 * events, u), coverage, Caps { events, ..Caps::default() })
    };
    for (coverage, enough) in [(Coverage::Full, 5), (Coverage::Partial, 32), (Coverage::Unknown, 32)] {
        assert_eq!(padded(coverage, 1, 0.01), Ok(Grade::D), "{coverage:?}");
        assert_eq!(padded(coverage, enough - 1, 0.01), Ok(Grade::D), "{coverage:?}");
        assert_eq!(padded(coverage, enough, 0.01), Ok(Grade::C), "never better: {coverage:?}");
        assert_eq!(padded(coverage, enough, 0.16), Ok(Grade::D), "{coverage:?}");
    }
}

#[test]
fn circumstances_cap_the_best_figure() {
    let none = Caps::default();
    for (name, caps, wanted) in [
        ("nothing", none, Ok(Grade::A)),
        ("reconstructed", Caps { reconstructed: true, ..none }, Ok(Grade::B)),
        ("readings missing", Caps { readings_missing: true, ..none }, Ok(Grade::C)),
        ("registers differ", Caps { registers_differ: true, ..none }, Ok(Grade::C)),
        ("average only", Caps { average_only: true, ..none }, Ok(Grade::C)),
        ("foreign", Caps { foreign: true, ..none }, Ok(Grade::D)),
        ("divided", Caps { divided: true, ..none }, Err(NoFigure::Mig)),
    ] {
        assert_eq!(graded(&best(), Coverage::Full, caps), wanted, "{name}");
        // What limits either of two limits a figure from both.
        for both in [caps.and(none), none.and(caps)] {
            assert_eq!(graded(&best(), Coverage::Full, both), wanted, "{name}, of two");
        }
    }
    let all = Caps { foreign: true, readings_missing: true, reconstructed: true, ..none };
    assert_eq!(graded(&best(), Coverage::Unknown, all), Ok(Grade::D), "the worst holds");
    let poor = found(Method::InnerEdge, 5, 0.3);
    assert_eq!(
        graded(&poor, Coverage::Full, Caps { reconstructed: true, ..none }),
        Ok(Grade::D),
        "a cap lifts nothing"
    );
}

#[test]
fn what_is_not_known_of_the_sensor_caps_too() {
    assert_eq!(graded(&best(), Coverage::Unknown, Caps::default()), Ok(Grade::B));
    assert_eq!(graded(&best(), Coverage::Partial, Caps::default()), Ok(Grade::A));
    let assumed = Calibration { id: None, ..calibrated(Coverage::Full) };
    assert_eq!(grade(&best(), &assumed, &Caps::default()), Ok(Grade::C), "nobody measured this board");
}

#[test]
fn a_loop_on_a_partial_sensor_counts_only_if_it_was_swept() {
    let swept = found(Method::SteadySlope, 250, 0.01);
    let unswept = Estimate { swept: false, ..swept };
    assert_eq!(graded(&swept, Coverage::Partial, Caps::default()), Ok(Grade::A));
    assert_eq!(graded(&unswept, Coverage::Partial, Caps::default()), Ok(Grade::D));
    assert_eq!(graded(&unswept, Coverage::Full, Caps::default()), Ok(Grade::A));
}
