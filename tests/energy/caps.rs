//! What limits a figure that is good in itself: others on the board, a board that is divided or throttled, idle power
//! that moves.

use std::fs;

use phasebench::analysis::energy::EnergyScope;
use phasebench::analysis::{BaselineRow, EnergyEventRow, EnergySummaryRow};
use phasebench::terms::energy::{Grade, NoFigure};
use phasebench::terms::{Flag, Role};

use crate::fixture::{BOARD, Fixture, succeeded};

const TELEMETRY: &str = "{ period: 8ms, idle: 0s, looped: 0s, calibrate: false, sensors: [nvml] }";

/// Timed phases and rows of calls of a run with one more setting of the board. `None`: the machine did not let it.
fn with(setting: &str, fixture: Fixture) -> Option<(Vec<EnergyEventRow>, Vec<EnergySummaryRow>)> {
    if !fixture.run_undisturbed(fixture.with_driver(&format!("{BOARD}{setting}\n"))) {
        return None;
    }
    fixture.report();
    let events: Vec<_> = fixture.events().into_iter().filter(|event| event.role == Some(Role::Timed)).collect();
    assert_eq!(events.len(), 6, "{events:?}");
    let rows: Vec<_> = fixture.summary().into_iter().filter(|row| row.scope == EnergyScope::Natural).collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    Some((events, rows))
}

#[test]
fn with_processes_of_others_on_the_board_a_figure_is_an_interval_only() {
    let Some((events, rows)) = with("processes = 1", Fixture::new(TELEMETRY)) else { return };
    assert!(events.iter().all(|event| event.grade.is_none_or(|grade| grade == Grade::D)), "{events:?}");
    assert!(
        events.iter().any(|event| event.grade.is_some())
            && events.iter().all(|event| event.flags.contains(Flag::ForeignLoad))
    );
    for row in rows {
        assert!(row.graded == 0 && row.energy_j.is_none() && row.reasons.contains("grade_d"), "{row:?}");
    }
}

#[test]
fn a_divided_board_gives_no_figure_however_long_a_phase_is() {
    for fixture in [Fixture::new(TELEMETRY), Fixture::new(TELEMETRY).with_short_phases()] {
        let Some((events, rows)) = with("mig = enabled", fixture) else { return };
        assert!(
            events.iter().all(|event| event.reason == Some(NoFigure::Mig) && event.energy_j.is_none()),
            "{events:?}"
        );
        assert!(rows.iter().all(|row| row.reasons == "mig"), "{rows:?}");
    }
}

#[test]
fn throttled_calls_keep_their_grade_and_are_left_out_of_means() {
    // Heat, by the driver's bit for it.
    let Some((events, rows)) = with("reasons = 0x40", Fixture::new(TELEMETRY)) else { return };
    assert!(events.iter().all(|event| event.flags.contains(Flag::Throttled)), "{events:?}");
    assert!(events.iter().any(|event| event.grade == Some(Grade::C)), "{events:?}");
    for row in rows {
        assert!(row.calls > 0 && row.throttled == row.calls && row.graded == 0 && row.energy_j.is_none(), "{row:?}");
        assert_eq!(row.reasons, "throttled", "{row:?}");
    }
}

#[test]
fn the_power_limit_is_a_flag_and_no_more() {
    let Some((events, rows)) = with("reasons = 0x4", Fixture::new(TELEMETRY)) else { return };
    assert!(
        events.iter().all(|event| event.flags.contains(Flag::PowerCapped) && !event.flags.contains(Flag::Throttled)),
        "{events:?}"
    );
    assert!(rows.iter().all(|row| row.throttled == 0 && row.graded > 0), "{rows:?}");
}

#[test]
fn an_average_over_a_second_tells_of_phases_longer_than_that_and_is_never_better_than_c() {
    let averages = "counter = not_supported\ninstant = not_supported\naverage_window_ms = 1000";
    let Some((events, _)) = with(averages, Fixture::new(TELEMETRY).with_long_prefills()) else { return };
    let (long, short): (Vec<_>, Vec<_>) =
        events.into_iter().partition(|event| event.end_ns - event.begin_ns > 1_500_000_000);
    assert_eq!((long.len(), short.len()), (3, 3));
    assert!(short.iter().all(|event| event.reason == Some(NoFigure::TooShort)), "{short:?}");
    assert!(long.iter().any(|event| event.energy_j.is_some()), "{long:?}");
    assert!(long.iter().all(|event| event.grade.is_none_or(|grade| grade >= Grade::C)), "{long:?}");
}

#[test]
fn idle_power_that_moves_is_flagged_and_makes_net_energy_uncertain() {
    let fixture = Fixture::new("{ period: 8ms, idle: 600ms, looped: 0s, calibrate: false, sensors: [nvml] }");
    let program = fixture.with_driver(BOARD);
    // The rest after the run, which takes 2.8 s of sleeping at least, lies behind the step, the one before it does not.
    fs::write(fixture.path().join("load"), "0 100\n2.5 200\n").unwrap();
    if !fixture.run_undisturbed(program) {
        return;
    }
    fixture.report();
    let events = fixture.events();
    assert!(events.iter().all(|event| event.energy_j.is_none() || event.flags.contains(Flag::IdleDrift)), "{events:?}");
    assert!(events.iter().any(|event| event.flags.contains(Flag::IdleDrift)), "{events:?}");
    let text = fs::read_to_string(fixture.run_folder().join("baseline.json")).unwrap();
    let rows: Vec<BaselineRow> = serde_json::from_str(&text).unwrap();
    let idles: Vec<_> = rows.into_iter().filter_map(|row| row.idle).collect();
    assert_eq!(idles.len(), 3);
    // The baseline with the model resident is not measured twice, and so no better known.
    assert!(idles[..2].iter().all(|idle| (idle.u_watts - 50.0).abs() < 5.0), "{idles:?}");
    for event in events.iter().filter(|event| event.energy_net_j.is_some()) {
        let seconds = (event.end_ns - event.begin_ns) as f64 / 1e9;
        let uncertain = event.u_net.unwrap() * event.energy_net_j.unwrap().abs();
        assert!(uncertain >= 45.0 * seconds, "{event:?}");
    }
}

/// Heat that slows a board disturbs a call, whether power is recorded or not; its power limit does not.
#[test]
fn a_call_on_a_board_that_heat_slows_is_made_again() {
    let telemetry = format!("telemetry: {TELEMETRY}\n");
    let can_be_disturbed = "pace: real\n      disturbances: { rate: 0, slowdown: 0 }";
    for (reasons, recorded, calls, flagged) in
        [("0x40", true, 6, true), ("0x4", true, 3, false), ("0x40", false, 3, true), ("0x4", false, 3, false)]
    {
        let fixture = Fixture::new(TELEMETRY);
        let path = fixture.path().join("scenario.yaml");
        let text = fs::read_to_string(&path).unwrap();
        // What a script says of the surroundings is all that there is, but for what a sensor of the run says.
        let text = if recorded { text.replace("pace: real", can_be_disturbed) } else { text.replace(&telemetry, "") };
        fs::write(&path, text).unwrap();
        succeeded(&fixture.run(fixture.with_driver(&format!("{BOARD}reasons = {reasons}\nprocesses = self\n"))));
        let recording = phasebench::store::read(&fixture.run_folder()).unwrap();
        let timed: Vec<_> = recording.calls().filter(|call| call.role == Role::Timed).collect();
        assert_eq!(timed.len(), calls, "{reasons}, power recorded: {recorded}");
        assert!(timed.iter().all(|call| call.flags.contains(&Flag::Throttled) == flagged), "{reasons} {recorded}");
        let report = fixture.report();
        assert_eq!(report.contains("the board slowed down"), recorded && flagged);
    }
}
