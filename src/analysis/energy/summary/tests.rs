use super::*;

/// 100 J with so many joules of uncertainty by chance, and so many that all calls share.
fn call(energy: f64, random: f64, shared: f64) -> CallFigures {
    CallFigures {
        energy,
        net: Some(energy - 60.0),
        power: Some(100.0),
        j_per_token: Some(energy / 10.0),
        random,
        shared,
        idle: Some(3.0),
    }
}

fn near(found: Option<f64>, wanted: f64) -> bool {
    found.is_some_and(|found| (found - wanted).abs() < 1e-9)
}

#[test]
fn chance_gets_smaller_with_more_calls_and_what_they_share_does_not() {
    let of = |n: usize, random, shared| Figures::of(&vec![call(100.0, random, shared); n]);
    assert!(near(of(1, 10.0, 0.0).u_stat, 0.10));
    assert!(near(of(25, 10.0, 0.0).u_stat, 0.02));
    assert!(near(of(25, 0.0, 8.0).u_stat, 0.08));
    assert!(near(of(25, 10.0, 8.0).u_stat, (0.02_f64.powi(2) + 0.08_f64.powi(2)).sqrt()));
    // Idle power is one measurement for all of them.
    assert!(near(of(25, 10.0, 0.0).u_net, (2.0_f64.powi(2) + 3.0_f64.powi(2)).sqrt() / 40.0));
}

#[test]
fn calls_that_scatter_more_than_they_should_are_as_uncertain_as_they_show() {
    let calls = [80.0, 100.0, 120.0].map(|energy| call(energy, 1.0, 0.0));
    let found = Figures::of(&calls);
    assert!(near(found.energy, 100.0) && near(found.u_stat, 20.0 / 3.0_f64.sqrt() / 100.0), "{found:?}");
    assert_eq!(Figures::of(&[]), Figures::default());
}

#[test]
fn a_net_figure_that_one_call_lacks_is_not_a_mean() {
    let found = Figures::of(&[call(100.0, 1.0, 0.0), CallFigures { net: None, idle: None, ..call(100.0, 1.0, 0.0) }]);
    assert!(found.energy.is_some() && found.net.is_none() && found.u_net.is_none(), "{found:?}");
}

#[test]
fn an_interval_around_a_negative_value_is_in_order() {
    let found = Interval::of(Some(-10.0), Some(0.1));
    assert!(found.low.is_some_and(|low| low < -10.0) && found.high.is_some_and(|high| high > -10.0), "{found:?}");
    assert_eq!(Interval::of(Some(1.0), None).low, None);
}
