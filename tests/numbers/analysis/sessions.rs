//! Cells measured in several sessions: the session is the unit of every interval, fit and comparison.

use phasebench::analysis::{IntervalKind, Pairing, SummaryRow, Tables};
use phasebench::record::Line;
use phasebench::stats::LEVEL;
use phasebench::stats::moderated::{Sessions, locations};
use phasebench::terms::{Mode, Role, SessionCount};

use crate::analysis::engines::interleaved;
use crate::analysis::run::{FOUR, Model, Run, Shape, shape};

const SESSIONS: u32 = 3;

/// Makes the calls of every cell those of so many sessions, in order.
fn in_sessions(run: &mut Run, calls: u32) {
    run.plan.session_count = SessionCount { min: SESSIONS, max: SESSIONS };
    for line in &mut run.lines {
        if let Line::Call(call) = line
            && call.role == Role::Timed
        {
            call.session_index = call.index * SESSIONS / calls;
        }
    }
}

/// Calls vary by about 1 %, sessions by 10 %.
fn level(call: u32) -> f64 {
    [1.0, 1.1, 1.21][(call / 4) as usize] * (1.0 + 0.01 * f64::from(call * 7 % 4))
}

fn rows(tables: &Tables, mode: Mode) -> Vec<&SummaryRow> {
    tables.summary.iter().filter(|row| row.mode == mode).collect()
}

#[test]
fn the_interval_holds_how_sessions_differ() {
    let mut run =
        Run::measured(&FOUR, &[shape("s", 8, 1, 50)], 12, |model, _, i| (model.millions * level(i), 100.0 * level(i)));
    let of_one = run.tables();
    in_sessions(&mut run, 12);
    let tables = run.tables();
    let cells: Vec<Sessions> = FOUR
        .iter()
        .map(|model| {
            let calls = |session: u32| (4 * session..4 * session + 4).map(|i| model.millions * level(i)).collect();
            (0..SESSIONS).map(|session| (session, calls(session))).collect()
        })
        .collect();
    let expected = locations(&cells);
    for ((row, expected), of_one) in rows(&tables, Mode::Prefill).iter().zip(expected).zip(rows(&of_one, Mode::Prefill))
    {
        let expected = expected.unwrap();
        let interval = expected.location.interval(LEVEL).unwrap();
        assert_eq!((row.sessions, row.interval_kind), (3, IntervalKind::SessionLocation));
        assert!((row.location_ms.unwrap() / expected.location.value() - 1.0).abs() < 1e-6);
        assert!((row.ci_low_ms.unwrap() / interval.low - 1.0).abs() < 1e-5, "{row:?} {expected:?}");
        assert!((row.ci_high_ms.unwrap() / interval.high - 1.0).abs() < 1e-5);
        assert!(row.cv_within.unwrap() < 0.02 && (0.09..0.10).contains(&row.cv_between.unwrap()), "{row:?}");
        assert!(row.ci_relative.unwrap() > 1.3 * of_one.ci_relative.unwrap(), "{row:?} {of_one:?}");
        assert_eq!(row.central_ms(), row.location_ms.unwrap(), "what fits use");
        assert_eq!((of_one.sessions, of_one.cv_within, of_one.cv_between), (1, None, None));
        assert_eq!(of_one.central_ms(), of_one.median_ms);
    }
    let (slope, of_one) = (&tables.scaling_fits[0], &of_one.scaling_fits[0]);
    let width = |fit: &phasebench::analysis::ScalingFitRow| fit.slope_t_high.unwrap() - fit.slope_t_low.unwrap();
    assert!(width(slope) > width(of_one), "a slope knows how well its cells are known: {slope:?}");
}

/// What slows a session of both engines alike is in no ratio; what differs from session to session is in its interval.
#[test]
fn engines_are_compared_by_session() {
    let calls = 15;
    let session = |i: u32| i * SESSIONS / calls;
    let both = |i: u32| [1.0, 1.3, 0.9][session(i) as usize];
    let own = |i: u32| [0.97, 1.0, 1.03][session(i) as usize];
    let plain = |_: Model, _: Shape, i: u32| (10.0 * both(i), 100.0 * both(i));
    let double = |_: Model, _: Shape, i: u32| (20.0 * both(i), 200.0 * both(i) * own(i));
    let mut run = interleaved(&[("one", &plain), ("two", &double)]);
    in_sessions(&mut run, calls);
    let tables = run.tables();
    for row in &tables.engine_comparison {
        assert_eq!((row.pairing, row.process_allowance_ln), (Some(Pairing::ByRound), None));
        let ratio = row.ratio.unwrap();
        assert!((ratio - 2.0).abs() < 0.01, "{row:?}");
        match row.mode {
            Mode::Prefill => assert!(row.ratio_high.unwrap() - row.ratio_low.unwrap() < 1e-3, "{row:?}"),
            _ => assert!(row.ratio_high.unwrap() / row.ratio_low.unwrap() > 1.05, "{row:?}"),
        }
    }
    assert!(!tables.engine_comparison.is_empty());
    run.plan.order = phasebench::terms::Order::Blocked;
    let blocked = run.tables();
    let row = &blocked.engine_comparison[0];
    assert_eq!((row.pairing, row.n_pairs, row.process_allowance_ln), (Some(Pairing::BySession), Some(3), None));
    assert!((row.ratio.unwrap() - 2.0).abs() < 0.01, "{row:?}");
}
