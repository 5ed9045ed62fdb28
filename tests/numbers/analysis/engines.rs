//! Engines against each other: figures worked out by hand, what is not compared and why, and how often verdicts are right.

use std::rc::Rc;

use phasebench::analysis::engines::{EngineComparison, EnginePairs};
use phasebench::analysis::table::{Sources, Table};
use phasebench::analysis::{EngineComparisonRow, EnginePairsRow, EngineVerdict, Pairing, Samples};
use phasebench::record::manifest::BackendEntry;
use phasebench::record::plan::{CellId, SessionKey};
use phasebench::record::{CallRecord, Line};
use phasebench::terms::{Dtype, Mode, Order, Repetitions, Role, SessionCount};
use phasebench::units::Nanos;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::run::{Model, Run, Shape, model, shape};

const TWO: [Model; 2] = [model("a", 1.0, 2), model("b", 4.0, 3)];
const SHAPES: [Shape; 2] = [shape("short", 8, 1, 16), shape("long", 32, 1, 16)];
const ROUNDS: u32 = 15;
const SESSIONS: u32 = 5;

/// Milliseconds of prefill and decode of an engine by model, shape and round.
pub type Law<'a> = &'a dyn Fn(Model, Shape, u32) -> (f64, f64);

/// Engines that take turns in every round of five sessions.
pub fn interleaved(engines: &[(&str, Law<'_>)]) -> Run {
    interleaved_over(&SHAPES, engines)
}

/// The same in other shapes.
pub fn interleaved_over(shapes: &[Shape], engines: &[(&str, Law<'_>)]) -> Run {
    in_sessions(shapes, engines, SESSIONS, ROUNDS)
}

/// The same in so many sessions, and rounds of all sessions together.
fn in_sessions(shapes: &[Shape], engines: &[(&str, Law<'_>)], sessions: u32, rounds: u32) -> Run {
    let mut run: Option<Run> = None;
    for (place, (name, law)) in (0..).zip(engines) {
        let mut next = Run::measured(&TWO, shapes, rounds, law);
        rename(&mut next, name, place * 10);
        run = Some(match run {
            None => next,
            Some(run) => beside(run, next),
        });
    }
    let mut run = run.unwrap();
    run.plan.order = Order::Interleaved;
    run.plan.session_count = SessionCount { min: sessions, max: sessions };
    for call in run.calls().filter(|call| call.role == Role::Timed) {
        call.session_index = call.index * sessions / rounds;
    }
    run
}

/// The same calls, all of one session.
pub fn in_one_session(mut run: Run) -> Run {
    run.plan.session_count = SessionCount::ONE;
    run.calls().for_each(|call| call.session_index = 0);
    run
}

/// Makes everything of a run another backend's, its loads counted from `load`.
fn rename(run: &mut Run, backend: &str, load: u32) {
    let key = |session: &mut SessionKey| session.backend = backend.to_owned();
    let id = |id: &mut CellId| id.0.push_str(&format!("-{backend}"));
    run.plan.sessions.iter_mut().for_each(|session| key(&mut session.key));
    for cell in &mut run.plan.cells {
        key(&mut cell.session);
        id(&mut cell.id);
    }
    for line in &mut run.lines {
        match line {
            Line::Load(record) => {
                record.load_index += load;
                key(&mut record.session);
            }
            Line::Call(call) => {
                call.load_index += load;
                call.call_id.push_str(&format!("-{backend}"));
                key(&mut call.session);
                id(&mut call.cell_id);
            }
            _ => {}
        }
    }
}

fn beside(mut run: Run, mut other: Run) -> Run {
    run.plan.sessions.append(&mut other.plan.sessions);
    run.plan.cells.append(&mut other.plan.cells);
    let end = run.lines.pop();
    run.lines.extend(other.lines.into_iter().filter(|line| matches!(line, Line::Load(_) | Line::Call(_))));
    run.lines.extend(end);
    run
}

fn rows<T: Table>(run: &Run) -> Rc<Vec<T::Row>> {
    let recording = run.recording();
    Sources::new(&recording, &run.plan, &run.manifest, &[]).rows::<T>()
}

fn cell(run: &Run, scenario: &str, mode: Mode) -> EngineComparisonRow {
    let rows = rows::<EngineComparison>(run);
    let found = rows.iter().find(|row| (row.model.as_str(), row.scenario.as_str(), row.mode) == ("a", scenario, mode));
    found.unwrap().clone()
}

fn pair(run: &Run, mode: Mode) -> EnginePairsRow {
    rows::<EnginePairs>(run).iter().find(|row| row.mode == mode).unwrap().clone()
}

/// A machine that is slower in every third round, for whoever is called then.
fn slowed(round: u32) -> f64 {
    if round.is_multiple_of(3) { 1.4 } else { 1.0 }
}

pub fn steady(_: Model, _: Shape, round: u32) -> (f64, f64) {
    (10.0 * slowed(round), 40.0 * slowed(round))
}

/// Prefill as [`steady`], decode in 0.8 of its time, give or take 1 % in turns.
pub fn quicker(model: Model, shape: Shape, round: u32) -> (f64, f64) {
    let (prefill, decode) = steady(model, shape, round);
    let wobble = 0.01 * [1.0, -1.0, 0.0, -1.0, 1.0][round as usize % 5];
    (prefill * f64::exp(wobble), 0.8 * decode * f64::exp(wobble))
}

fn near(found: Option<f64>, expected: f64) {
    assert!((found.unwrap() - expected).abs() < 1e-6, "{found:?}, not {expected}");
}

#[test]
fn calls_of_one_round_are_set_against_each_other() {
    let run = interleaved(&[("one", &steady), ("two", &quicker)]);
    let row = cell(&run, "short", Mode::KvDecode);
    assert_eq!((row.backend_a.as_str(), row.backend_b.as_str()), ("one", "two"));
    assert_eq!((row.n_a, row.n_b, row.pairing, row.n_pairs), (15, 15, Some(Pairing::ByRound), Some(15)));
    near(row.ratio, 0.8);
    near(row.location_a_ms, 40.0 * 1.4_f64.powf(1.0 / 3.0));
    near(row.location_b_ms, 32.0 * 1.4_f64.powf(1.0 / 3.0));
    // What slows both is not in the interval of the ratio; of 40 ms and 32 ms it would be half.
    assert!(row.ratio_low.unwrap() > 0.79 && row.ratio_high.unwrap() < 0.81, "{row:?}");
    assert_eq!((row.verdict, row.process_allowance_ln, row.reason.as_deref()), (EngineVerdict::Faster, None, None));
    assert_eq!((row.dtype, row.actual_a.as_deref()), (Some(Dtype::F32), row.actual_b.as_deref()));
    // A third of the calls of either side take 1.4 as long: the median of all differences lies between quick calls.
    assert!(row.shift_ms.unwrap() < -7.0 && row.shift_low_ms.unwrap() < row.shift_high_ms.unwrap(), "{row:?}");
    assert!(row.p < row.welch_p && row.p_holm >= row.p && row.q >= row.p, "{row:?}");
    let same = cell(&run, "short", Mode::Prefill);
    assert_eq!(same.verdict, EngineVerdict::Same);
    near(same.ratio, 1.0);
}

#[test]
fn a_pair_is_the_mean_over_cells_and_counts_them() {
    let run = interleaved(&[("one", &steady), ("two", &quicker)]);
    let (decode, prefill) = (pair(&run, Mode::KvDecode), pair(&run, Mode::Prefill));
    assert_eq!((decode.n_cells, decode.n_compared, decode.n_faster, decode.n_paired), (4, 4, 4, 4));
    assert_eq!((decode.models.as_str(), decode.verdict), ("a;b", EngineVerdict::Faster));
    near(decode.ratio, 0.8);
    let of_cell = cell(&run, "short", Mode::KvDecode);
    let width = |low: Option<f64>, high: Option<f64>| (high.unwrap() / low.unwrap()).ln();
    // Cells that share their sessions are together as unsure as one of them.
    let (one, four) = (width(of_cell.ratio_low, of_cell.ratio_high), width(decode.ratio_low, decode.ratio_high));
    assert!((four / one - 1.0).abs() < 1e-9, "{one} {four}");
    assert_eq!((prefill.n_same, prefill.verdict, prefill.reasons), (4, EngineVerdict::Same, None));
    assert_eq!(rows::<EnginePairs>(&run).len(), 2, "prefill and decode together are not a phase");
}

/// The next process of the same engine may be faster or slower, in turns or not: 8 % are not known to be the engine's.
#[test]
fn engines_of_one_process_each_are_given_an_allowance() {
    let slightly = |_: Model, _: Shape, round: u32| (9.2 * (1.0 + 0.001 * f64::from(round % 2)), 16.0);
    let plain = |_: Model, _: Shape, round: u32| (10.0 * (1.0 + 0.001 * f64::from(round % 2)), 40.0);
    let run = interleaved(&[("one", &plain), ("two", &slightly)]);
    assert_eq!(pair(&run, Mode::Prefill).verdict, EngineVerdict::Faster, "five processes of each tell");
    let mut run = in_one_session(run);
    for (order, pairing) in [(Order::Interleaved, Pairing::ByRound), (Order::Blocked, Pairing::Unpaired)] {
        run.plan.order = order;
        let row = cell(&run, "long", Mode::Prefill);
        assert_eq!((row.pairing, row.process_allowance_ln), (Some(pairing), Some(0.07)));
        assert_eq!(row.verdict, EngineVerdict::NotSeparated);
        // 1.96 standard deviations of two sides of 7 % each.
        let reach = (row.ratio_high.unwrap() / row.ratio.unwrap()).ln();
        assert!((reach - 1.96 * 0.07 * 2.0_f64.sqrt()).abs() < 1e-3, "{reach}");
        let over_all = pair(&run, Mode::Prefill);
        let wide = (over_all.ratio_high.unwrap() / over_all.ratio.unwrap()).ln();
        assert!((wide - reach).abs() < 1e-3, "more cells do not make it smaller: {wide}");
        assert_eq!(over_all.verdict, EngineVerdict::NotSeparated);
        // No process differs 2.5 times from the next.
        assert_eq!(pair(&run, Mode::KvDecode).verdict, EngineVerdict::Faster);
    }
}

#[test]
fn an_interval_that_was_looked_at_is_wider() {
    let mut run = interleaved(&[("one", &steady), ("two", &quicker)]);
    let fixed = cell(&run, "short", Mode::KvDecode).standard_error_ln.unwrap();
    run.plan.repetitions = Repetitions::Adaptive { min: 5, max: 15, until_relative_ci: 0.02 };
    near(cell(&run, "short", Mode::KvDecode).standard_error_ln, 1.15 * fixed);
}

/// Whatever may not be compared says why, and enters nothing.
#[test]
fn what_is_not_alike_is_not_compared() {
    let changed = |change: &dyn Fn(&mut Run)| {
        let mut run = interleaved(&[("one", &steady), ("two", &quicker)]);
        change(&mut run);
        let row = cell(&run, "short", Mode::KvDecode);
        assert_eq!((row.verdict, row.ratio, row.p, row.shift_ms), (EngineVerdict::NotCompared, None, None, None));
        let all: Vec<EnginePairsRow> = rows::<EnginePairs>(&run).iter().cloned().collect();
        let decode: Vec<&EnginePairsRow> = all.iter().filter(|pair| pair.mode == Mode::KvDecode).collect();
        assert_eq!(decode.iter().map(|pair| pair.n_cells).sum::<usize>(), 4, "{decode:?}");
        assert_eq!(decode.iter().map(|pair| pair.n_compared).sum::<usize>(), 3, "{decode:?}");
        row.reason.unwrap()
    };
    let calls = |run: &mut Run, change: &dyn Fn(&mut CallRecord)| {
        let of_cell = |call: &&mut CallRecord| {
            (call.session.backend.as_str(), call.session.model.as_str(), call.scenario.as_str())
                == ("two", "a", "short")
        };
        run.calls().filter(of_cell).for_each(change);
    };
    for (reason, change) in [
        (
            "weights differ",
            &(|call: &mut CallRecord| call.weights_id = "others".to_owned().into()) as &dyn Fn(&mut CallRecord),
        ),
        ("element types differ: f32 and f16", &|call| call.dtype = Dtype::F16),
        ("nothing proves where the calls on two ran", &|call| call.attribution.actual = None),
        ("prompt tokens differ: 8 and 9", &|call| call.tokens.prompt_sent = Some(9)),
        ("no call on two counts", &|call| call.role = Role::Warmup),
        ("2 of 2 calls on two made every step and prove where they ran, at least 3 are needed", &|call| {
            if call.index > 1 {
                call.role = Role::Warmup;
            }
        }),
        ("weights or element type changed during the run on two", &|call| {
            if call.index > 7 {
                call.weights_id = "others".to_owned().into();
            }
        }),
    ] {
        assert_eq!(changed(&|run| calls(run, change)), reason);
    }
    let scripted = "the time of one of them is scripted, not measured";
    let mut run = interleaved(&[("one", &steady), ("two", &quicker)]);
    let entry = BackendEntry {
        engine: "simulated".to_owned(),
        version: None,
        facts: Default::default(),
        boundary: Default::default(),
        procedures: Vec::new(),
        max_resident: None,
        token_times: false,
        virtual_clock: true,
    };
    run.manifest.stack.backends.insert("two".to_owned(), entry);
    assert_eq!(cell(&run, "short", Mode::KvDecode).reason.as_deref(), Some(scripted));
    assert_eq!(pair(&run, Mode::KvDecode).reasons.as_deref(), Some(scripted));
}

#[test]
fn three_engines_are_tested_at_once_and_say_what_their_samples_are() {
    let noisy = |factor: f64| {
        move |m: Model, s: Shape, round: u32| {
            let (prefill, decode) = quicker(m, s, round + 2);
            (prefill * factor, decode * factor)
        }
    };
    let run = interleaved(&[("one", &noisy(1.0)), ("two", &noisy(1.5)), ("three", &noisy(2.0))]);
    let tables = run.tables();
    let groups = &tables.engine_groups;
    let calls: Vec<_> = groups.iter().filter(|row| row.samples == Samples::Calls).collect();
    let scenarios: Vec<_> = groups.iter().filter(|row| row.samples == Samples::Scenarios).collect();
    assert_eq!((calls.len(), scenarios.len()), (8, 4));
    assert_eq!((calls[0].backends.as_str(), calls[0].n_samples, scenarios[0].n_samples), ("one;two;three", 45, 6));
    assert!(calls.iter().all(|row| row.anova_p < Some(1e-6) && row.kruskal_p < Some(1e-3)), "{calls:?}");
    assert_eq!((scenarios[0].scenario.as_deref(), scenarios[0].model.as_str()), (None, "a"));
    assert_eq!(tables.engine_pairs.len(), 6);
    assert!(interleaved(&[("one", &steady), ("two", &quicker)]).tables().engine_groups.is_empty());
}

/// Log-normal noise of 5 % with an autocorrelation of 0.3, cell by cell, on a machine that is slower now and then.
fn noise(seed: u64, factor: f64) -> impl Fn(Model, Shape, u32) -> (f64, f64) {
    move |model, shape, round| {
        let cell = model.n_layer as u64 * 1000 + u64::from(shape.prompt);
        let value = |phase: u64| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_mul(1_000_003) ^ (cell * 2 + phase));
            let mut draw = || -> f64 { StandardNormal.sample(&mut rng) };
            let mut state: f64 = draw();
            for _ in 0..round {
                state = 0.3 * state + (1.0 - 0.09_f64).sqrt() * draw();
            }
            (0.05 * state).exp() * slowed(round)
        };
        (10.0 * factor * value(0), 40.0 * factor * value(1))
    }
}

/// How many of so many runs say something of the second engine, by its true factor.
struct Said {
    /// Runs in which any cell or phase is called faster.
    faster: usize,
    /// Runs in which any is called slower.
    slower: usize,
    /// Runs in which both phases over all cells are called faster.
    phases_faster: usize,
    /// Cells called faster.
    cells_faster: usize,
}

/// Gives every timed call of an engine new latencies.
fn retime(run: &mut Run, backend: &str, law: Law<'_>) {
    for call in run.calls().filter(|call| call.role == Role::Timed && call.session.backend == backend) {
        let model = TWO.into_iter().find(|model| model.name == call.session.model).unwrap();
        let shape = SHAPES.into_iter().find(|shape| call.scenario == shape.scenario).unwrap();
        let (prefill, decode) = law(model, shape, call.round);
        let first = call.begin_ns + Nanos::from_ms(prefill);
        let end = first + Nanos::from_ms(decode);
        (call.spans[0].end_ns, call.spans[1].begin_ns, call.spans[1].end_ns) = (first, first, end);
        call.total_wall_ns = end - call.begin_ns;
    }
}

/// What is said of two engines, the second of which takes `factor` of the time, and of which each process is faster or slower
/// than the next by a standard deviation of `process_sd`; in the sessions that the run has.
fn said(run: &Run, rounds: u32, factor: f64, process_sd: f64, runs: u64) -> Said {
    let mut said = Said { faster: 0, slower: 0, phases_faster: 0, cells_faster: 0 };
    let mut run = run.clone();
    let sessions = run.plan.session_count.max;
    for seed in 0..runs {
        let process = |engine: u64, round: u32| {
            let session = u64::from(round * sessions / rounds);
            let mut rng = ChaCha8Rng::seed_from_u64(seed * 1_000_033 + engine * 1009 + session);
            let draw: f64 = StandardNormal.sample(&mut rng);
            (process_sd * draw).exp()
        };
        let law = |engine: u64, factor: f64| {
            let calls = noise(2 * seed + engine, factor);
            move |model: Model, shape: Shape, round: u32| {
                let (prefill, decode) = calls(model, shape, round);
                (prefill * process(engine, round), decode * process(engine, round))
            }
        };
        retime(&mut run, "one", &law(0, 1.0));
        retime(&mut run, "two", &law(1, factor));
        let recording = run.recording();
        let sources = Sources::new(&recording, &run.plan, &run.manifest, &[]);
        let (cells, pairs) = (sources.rows::<EngineComparison>(), sources.rows::<EnginePairs>());
        let verdicts: Vec<EngineVerdict> =
            cells.iter().map(|row| row.verdict).chain(pairs.iter().map(|row| row.verdict)).collect();
        said.faster += usize::from(verdicts.iter().any(|verdict| verdict.is_faster()));
        said.slower += usize::from(verdicts.iter().any(|verdict| verdict.is_slower()));
        said.phases_faster += usize::from(pairs.iter().all(|row| row.verdict.is_faster()));
        said.cells_faster += cells.iter().filter(|row| row.verdict.is_faster()).count();
    }
    said
}

#[test]
fn equal_engines_are_seldom_called_different_and_ten_per_cent_are_found() {
    const RUNS: u64 = 200;
    const MANY_ROUNDS: u32 = 60;
    let engines: [(&str, Law<'_>); 2] = [("one", &steady), ("two", &steady)];
    let sessions = in_sessions(&SHAPES, &engines, 10, MANY_ROUNDS);
    let one = in_one_session(interleaved(&engines));
    println!(
        "{RUNS} runs of two engines, 2 models × 2 scenarios × 2 phases, 5 % noise, autocorrelation 0.3:\n\
         sessions  processes  factor  any faster  any slower  both phases faster  cells faster"
    );
    for (run, rounds, process_sd, factor) in [
        (&sessions, MANY_ROUNDS, 0.02, 1.0),
        (&sessions, MANY_ROUNDS, 0.02, 1.0 / 1.1),
        (&sessions, MANY_ROUNDS, 0.07, 1.0),
        (&one, ROUNDS, 0.07, 1.0),
        (&one, ROUNDS, 0.07, 1.0 / 1.5),
    ] {
        let said = said(run, rounds, factor, process_sd, RUNS);
        let share = |part: usize| part as f64 / RUNS as f64;
        let (count, cells) = (run.plan.session_count.max, said.cells_faster as f64 / (8 * RUNS) as f64);
        let what = format!("{count:>8}  {process_sd:>9}  {factor:>6.3}");
        println!(
            "{what}  {:>10.3}  {:>10.3}  {:>18.3}  {cells:>12.3}",
            share(said.faster),
            share(said.slower),
            share(said.phases_faster)
        );
        if factor == 1.0 {
            assert!(share(said.faster) <= 0.05 && share(said.slower) <= 0.05, "{what}, seeds 0..{RUNS}");
        } else {
            assert!(share(said.phases_faster) >= 0.95 && said.slower == 0, "{what}, seeds 0..{RUNS}");
        }
    }
}
