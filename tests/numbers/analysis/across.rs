//! Runs beside each other: what is set against each other, and what only stands side by side.

use phasebench::analysis::Tables;
use phasebench::analysis::across::{Across, AcrossRun, Statement, Together, across};
use phasebench::record::Line;
use phasebench::terms::{Mode, Phase};

use super::compile::both;
use super::run::{FOUR, Model, Run, Shape, model, shape};

const SHAPES: [Shape; 1] = [shape("s", 16, 1, 32)];

fn wobble(call: u32) -> f64 {
    1.0 + 0.002 * f64::from(call % 3)
}

/// One model of 4 million whose decode takes so long.
fn one(decode_ms: f64) -> Run {
    Run::measured(&[model("m", 4.0, 2)], &SHAPES, 10, |_, _, call| (10.0 * wobble(call), decode_ms * wobble(call)))
}

/// Gives the model one key-value head for its two heads.
fn group(mut run: Run) -> Run {
    for entry in run.manifest.models.values_mut() {
        entry.architecture.as_mut().unwrap().n_kv_head = 1;
        entry.weights_id = "others".to_owned();
    }
    for call in run.calls() {
        call.weights_id = "others".to_owned().into();
    }
    run
}

/// Has every load ask for this compiler, and every call say that it ran.
fn compile(mut run: Run, by: &str) -> Run {
    for line in &mut run.lines {
        match line {
            Line::Load(load) if by != "eager" => {
                load.compilers = [Phase::Prefill, Phase::KvDecode].map(|phase| (phase, by.to_owned())).into();
            }
            Line::Call(call) => call.compile = both(by, 32).into(),
            _ => {}
        }
    }
    run
}

fn held(first: &Run, second: &Run) -> Across {
    let tables: [Tables; 2] = [first.tables(), second.tables()];
    let runs = [
        AcrossRun { name: "first", manifest: &first.manifest, tables: &tables[0] },
        AcrossRun { name: "second", manifest: &second.manifest, tables: &tables[1] },
    ];
    across(&runs)
}

#[test]
fn grouped_heads_are_set_against_as_many_as_heads() {
    let found = held(&one(40.0), &group(one(32.0)));
    let decode: Vec<_> = found.cells.iter().filter(|row| row.phase == Mode::KvDecode).collect();
    let [row] = decode[..] else { panic!("{:#?}", found.cells) };
    assert_eq!(
        (row.statement, row.first.run.as_str(), row.second.run.as_str()),
        (Statement::Grouped, "first", "second")
    );
    assert!((row.speed.unwrap() - 1.25).abs() < 1e-9, "{row:?}");
    // 1.96 standard deviations of two sides of 7 % each, and the little that the calls scatter.
    let reach = (row.speed_high.unwrap() / row.speed.unwrap()).ln();
    assert!((0.193..0.197).contains(&reach), "{reach}");
    assert_eq!(row.reason, None);
    assert_ne!(row.first.weights, row.second.weights);
}

/// Whichever run is named first, the compiled one is set against the eager one, in both phases.
#[test]
fn compiled_code_in_one_run_is_set_against_eager_in_another() {
    let (eager, compiled) = (compile(one(40.0), "eager"), compile(one(25.0), "inductor"));
    for (found, names) in
        [(held(&eager, &compiled), ["first", "second"]), (held(&compiled, &eager), ["second", "first"])]
    {
        let of: Vec<_> = found.cells.iter().map(|row| (row.statement, row.phase)).collect();
        assert_eq!(of, [(Statement::Compiled, Mode::Prefill), (Statement::Compiled, Mode::KvDecode)]);
        for (row, speed) in found.cells.iter().zip([1.0, 1.6]) {
            assert_eq!([row.first.run.as_str(), row.second.run.as_str()], names, "{row:?}");
            assert!((row.speed.unwrap() - speed).abs() < 1e-9, "{row:?}");
            let is_told_apart = row.speed_low.unwrap() > 1.0;
            assert_eq!(is_told_apart, row.phase == Mode::KvDecode, "{row:?}");
        }
    }
    // What asked for a compiler and does not say that it ran is neither.
    let mut unproven = compile(one(25.0), "inductor");
    for evidence in unproven.calls().flat_map(|call| call.compile.iter_mut()) {
        evidence.backend_actual = None;
    }
    assert!(held(&eager, &unproven).cells.is_empty());
    // Two runs of the same kind have nothing to ask of each other.
    assert!(held(&compiled, &compile(one(20.0), "inductor")).cells.is_empty());
}

#[test]
fn runs_of_other_hosts_stand_side_by_side() {
    let mut other = group(one(32.0));
    other.manifest.stack.machine.cpu_model = Some("another".to_owned());
    let found = held(&one(40.0), &other);
    assert!(!found.cells.is_empty());
    for row in &found.cells {
        assert_eq!((row.speed, row.reason.as_deref()), (None, Some("different hosts")), "{row:?}");
        assert!(row.first.ms > 0.0 && row.second.ms > 0.0);
    }
}

#[test]
fn laws_of_size_hold_differ_or_are_missing() {
    let law = |slope: f64| {
        move |model: Model, _: Shape, call: u32| {
            let decode = if model.n_layer == 3 { 90.0 } else { 30.0 };
            (model.millions.powf(slope) * wobble(call), decode * wobble(call))
        }
    };
    let run = |slope: f64| Run::measured(&FOUR, &SHAPES, 10, law(slope));
    let of = |found: &Across, phase: Mode| found.growth.iter().find(|row| row.phase == phase).unwrap().clone();
    let alike = held(&run(0.5), &run(0.5));
    assert_eq!(of(&alike, Mode::Prefill).verdict, Together::Holds);
    let neither = of(&alike, Mode::KvDecode);
    assert_eq!((neither.verdict, neither.first.slope), (Together::InNeither, None));
    assert!(neither.first.reason.is_some());
    let apart = of(&held(&run(0.5), &run(0.9)), Mode::Prefill);
    assert_eq!(apart.verdict, Together::Differs);
    assert!((apart.second.slope.unwrap() - 0.9).abs() < 1e-3);
}
