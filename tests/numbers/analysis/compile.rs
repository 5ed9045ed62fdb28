//! What a compiler was asked for, did and saved, against numbers worked out by hand.

use phasebench::analysis::{CacheState, CompileAuditRow, CompileVerdict, GraphUse};
use phasebench::record::plan::{CellId, SessionKey};
use phasebench::record::{CallRecord, CompileRecord, Line, LoadRecord};
use phasebench::terms::{CompileEvidence, Degraded, Mode, Phase, Procedure, Role, Status};
use phasebench::units::Nanos;

use super::run::{Model, Run, Shape, degrade, model, shape};

const TWO: [Model; 2] = [model("a", 1.0, 2), model("b", 4.0, 3)];
const SHAPES: [Shape; 2] = [shape("short", 8, 1, 16), shape("long", 32, 1, 16)];
const TIMED: u32 = 30;

/// What a compiler did in one call of a phase of `steps` calls to the model.
fn evidence(phase: Phase, requested: &str, steps: u64) -> CompileEvidence {
    let compiled = requested != "eager";
    CompileEvidence {
        phase,
        backend_requested: requested.to_owned(),
        backend_actual: Some(requested.to_owned()),
        calls: steps,
        executions: if compiled { steps } else { 0 },
        unique_graphs: 0,
        graph_breaks: 0,
        recompiles: 0,
        guard_failures: 0,
        cache_hits: 0,
        cache_misses: 0,
        compile_ns: Nanos(0),
        duration_ns: None,
        reasons: Vec::new(),
        bucket: None,
    }
}

/// The same of a call's two phases.
pub fn both(requested: &str, steps: u64) -> Vec<CompileEvidence> {
    vec![evidence(Phase::Prefill, requested, 1), evidence(Phase::KvDecode, requested, steps)]
}

/// Shapes compiled after a load: prefill takes 2 s, decode 1 s for the first and nothing after.
fn compiled() -> Vec<CompileRecord> {
    let step = |(place, shape): (usize, &Shape)| {
        let phase = |phase, seconds: f64, graphs| CompileEvidence {
            unique_graphs: graphs,
            cache_misses: graphs,
            compile_ns: Nanos::from_ms(seconds * 1e3),
            duration_ns: Some(Nanos::from_ms(seconds * 1e3 + 5.0)),
            ..evidence(phase, "inductor", 2)
        };
        let first = u64::from(place == 0);
        CompileRecord {
            procedure: Procedure::PrefillDecode,
            batch: 1,
            prompt_tokens: shape.prompt,
            steps: shape.steps,
            status: Status::Ok,
            detail: None,
            begin_ns: Nanos(0),
            duration_ns: Nanos::from_ms(4e3),
            phases: vec![phase(Phase::Prefill, 2.0, 1), phase(Phase::KvDecode, first as f64, first)],
        }
    };
    SHAPES.iter().enumerate().map(step).collect()
}

/// Backend `eng` uncompiled: 10 and 40 ms, with 1 % to and fro. Beside it `comp`, whose prefill takes `factor` as long and
/// whose decode half as long.
pub fn run(factor: f64) -> Run {
    let wobble = |i: u32| 1.0 + 0.01 * f64::from(i % 2);
    let mut run = Run::measured(&TWO, &SHAPES, TIMED, |_, _, i| (10.0 * wobble(i), 40.0 * wobble(i)));
    let mut beside = Run::measured(&TWO, &SHAPES, TIMED, |_, _, i| (10.0 * factor * wobble(i), 20.0 * wobble(i)));
    for call in run.calls() {
        call.compile = both("eager", 16).into();
    }
    for call in beside.calls() {
        call.compile = both("inductor", 16).into();
    }
    rename(&mut beside);
    run.plan.sessions.append(&mut beside.plan.sessions);
    run.plan.cells.append(&mut beside.plan.cells);
    let end = run.lines.pop();
    run.lines.extend(beside.lines.into_iter().filter(|line| matches!(line, Line::Load(_) | Line::Call(_))));
    run.lines.extend(end);
    run
}

/// Makes everything of a run another backend's.
fn rename(run: &mut Run) {
    let key = |session: &mut SessionKey| session.backend = "comp".to_owned();
    let id = |id: &mut CellId| id.0.push_str("-comp");
    run.plan.sessions.iter_mut().for_each(|session| key(&mut session.key));
    for cell in &mut run.plan.cells {
        key(&mut cell.session);
        id(&mut cell.id);
    }
    for line in &mut run.lines {
        match line {
            Line::Load(load) => {
                load.load_index += 10;
                key(&mut load.session);
                load.compilers = [Phase::Prefill, Phase::KvDecode].map(|phase| (phase, "inductor".to_owned())).into();
                load.compiled = compiled();
            }
            Line::Call(call) => {
                call.load_index += 10;
                call.call_id.push_str("-comp");
                key(&mut call.session);
                id(&mut call.cell_id);
            }
            _ => {}
        }
    }
}

fn audit(run: &Run, scenario: &str, mode: Mode) -> CompileAuditRow {
    let rows = run.tables().compile_audit;
    rows.into_iter()
        .find(|row| (row.key.model.as_str(), row.key.scenario.as_str(), row.mode) == ("a", scenario, mode))
        .unwrap()
}

/// The timed calls of model `a` in a scenario on the compiled backend.
pub fn timed<'a>(run: &'a mut Run, scenario: &'a str) -> impl Iterator<Item = &'a mut CallRecord> {
    run.calls().filter(move |call| {
        call.session.backend == "comp"
            && call.role == Role::Timed
            && call.scenario == scenario
            && call.session.model == "a"
    })
}

#[test]
fn a_proven_cell_tells_its_time_its_saving_and_when_it_has_paid() {
    let run = run(0.75);
    let row = audit(&run, "short", Mode::KvDecode);
    assert_eq!((row.key.backend.as_str(), row.reference.as_deref()), ("comp", Some("eng")));
    assert_eq!((row.backend_requested.as_str(), row.backend_actual.as_deref()), ("inductor", Some("inductor")));
    assert_eq!((row.n_timed, row.model_calls, row.executions), (30, 480, 480));
    assert_eq!(row.cache, CacheState::Cold);
    let near = |found: Option<f64>, expected: f64| assert!((found.unwrap() - expected).abs() < 1e-9, "{found:?}");
    near(row.ratio, 0.5);
    near(row.median_ms, 20.1);
    near(row.reference_median_ms, 40.2);
    assert!(row.ratio_low.unwrap() < 0.5 && row.ratio_high.unwrap() > 0.5);
    // The first shape's decode took 1 s to compile, and a call saves 20.1 ms: 49.75 calls.
    assert_eq!((row.compile_step_ms, row.break_even_calls), (Some(1000.0), Some(50)));
    assert_eq!((row.served_p95_ms, row.served_p99_ms), (Some(20.2), None), "99 % of 30 calls is not known");
    let prefill = audit(&run, "long", Mode::Prefill);
    near(prefill.ratio, 0.75);
    assert_eq!(prefill.break_even_calls, Some(797), "2000 ms ÷ 2.5125 ms");
}

fn loads<'a>(run: &'a mut Run, model: &'a str) -> impl Iterator<Item = &'a mut LoadRecord> {
    let loads =
        run.lines.iter_mut().filter_map(|line| if let Line::Load(load) = line { Some(&mut **load) } else { None });
    loads.filter(move |load| load.session.backend == "comp" && load.session.model == model)
}

/// A second load of model `a` on the compiled backend, which finds what the first has left on disk.
fn reload(run: &mut Run) {
    let mut again = loads(run, "a").next().unwrap().clone();
    again.load_index += 1;
    for phase in again.compiled.iter_mut().flat_map(|step| &mut step.phases) {
        (phase.cache_hits, phase.cache_misses) = (phase.unique_graphs, 0);
        phase.compile_ns = Nanos(phase.compile_ns.0 / 4);
    }
    let end = run.lines.len() - 1;
    run.lines.insert(end, Line::Load(Box::new(again)));
}

#[test]
fn a_graph_that_serves_several_shapes_is_charged_to_each_of_them() {
    let run = run(0.75);
    let of = |scenario, mode| {
        let row = audit(&run, scenario, mode);
        (row.graph, row.compile_step_ms, row.charged_compile_ms, row.break_even_calls)
    };
    // Decode has one graph, which the first shape compiled; 1000 ms ÷ 20.1 ms.
    assert_eq!(of("short", Mode::KvDecode), (GraphUse::Shared, Some(1000.0), Some(1000.0), Some(50)));
    assert_eq!(of("long", Mode::KvDecode), (GraphUse::Shared, None, Some(1000.0), Some(50)));
    let reason = |scenario| audit(&run, scenario, Mode::KvDecode).compile_ms_reason;
    assert_eq!(reason("long").as_deref(), Some("another shape's graph serves this one"));
    assert_eq!(reason("short"), None);
    // Prefill has one per shape.
    assert_eq!(of("long", Mode::Prefill), (GraphUse::Own, Some(2000.0), Some(2000.0), Some(797)));
}

#[test]
fn a_reload_with_a_warm_cache_changes_neither_seconds_nor_break_even() {
    let mut run = run(0.75);
    let before = audit(&run, "short", Mode::Prefill);
    reload(&mut run);
    assert_eq!(audit(&run, "short", Mode::Prefill), before);
    assert_eq!((before.cache, before.compile_step_ms), (CacheState::Cold, Some(2000.0)));
}

#[test]
fn what_a_filled_cache_gave_is_not_earned_back() {
    let mut run = run(0.75);
    for model in ["a", "b"] {
        for phase in loads(&mut run, model).flat_map(|load| &mut load.compiled).flat_map(|step| &mut step.phases) {
            (phase.cache_hits, phase.cache_misses) = (phase.unique_graphs, 0);
        }
    }
    let row = audit(&run, "short", Mode::Prefill);
    assert_eq!((row.cache, row.charged_compile_ms, row.break_even_calls), (CacheState::Warm, None, None));
    assert!(row.saved_ms.is_some_and(|saved| saved > 0.0) && row.compile_step_ms == Some(2000.0), "{row:?}");
    let outcome = run.tables().compile_outcome;
    assert!(outcome.iter().all(|row| row.cache == CacheState::Warm && row.break_even_calls_max.is_none()));
    // One that was cold makes it neither.
    let cold = loads(&mut run, "b").next().unwrap();
    cold.compiled[0].phases[0].cache_misses = std::mem::take(&mut cold.compiled[0].phases[0].cache_hits);
    assert_eq!(run.tables().compile_outcome[0].cache, CacheState::Mixed);
}

/// A cell that asked for a compiler and never got to a call is not one fewer: it is not proven.
#[test]
fn cells_without_a_call_are_listed_and_withhold_the_verdict() {
    let mut run = run(0.75);
    run.lines.retain(
        |line| !matches!(line, Line::Call(call) if call.session.backend == "comp" && call.session.model == "a"),
    );
    let load = loads(&mut run, "a").next().unwrap();
    load.status = Status::Degraded(Degraded::Timeout);
    load.detail = Some("compiling ended the session".to_owned());
    load.compiled.truncate(1);
    load.compiled[0].phases.clear();
    let row = audit(&run, "long", Mode::KvDecode);
    assert_eq!((row.backend_requested.as_str(), row.backend_actual.as_deref(), row.n_timed), ("inductor", None, 0));
    assert_eq!(row.without_evidence.as_deref(), Some("timeout: compiling ended the session"));
    assert_eq!((row.graph, row.charged_compile_ms, row.median_ms), (GraphUse::Own, None, None));
    let outcome = run.tables().compile_outcome;
    assert_eq!(outcome.len(), 2);
    for row in outcome {
        assert_eq!(
            (row.verdict, row.n_cells, row.n_proven, row.n_compared),
            (CompileVerdict::NotProven, 4, 2, 2),
            "{row:?}"
        );
    }
}

#[test]
fn prefill_and_decode_are_judged_apart() {
    let outcome = |factor: f64| {
        let rows = run(factor).tables().compile_outcome;
        rows.iter().map(|row| (row.mode, row.verdict)).collect::<Vec<_>>()
    };
    assert_eq!(outcome(0.75), [(Mode::Prefill, CompileVerdict::Faster), (Mode::KvDecode, CompileVerdict::Faster)]);
    assert_eq!(outcome(1.25), [(Mode::Prefill, CompileVerdict::Slower), (Mode::KvDecode, CompileVerdict::Faster)]);
    assert_eq!(outcome(1.0), [(Mode::Prefill, CompileVerdict::NotResolved), (Mode::KvDecode, CompileVerdict::Faster)]);
    let slower = run(1.25).tables().compile_outcome[0].clone();
    assert_eq!((slower.n_slower, slower.n_compared, slower.break_even_calls_max), (4, 4, None));
}

#[test]
fn a_call_without_proof_withholds_the_verdict() {
    let mut run = run(0.75);
    let call = timed(&mut run, "short").next().unwrap();
    call.compile[1].executions = 3;
    call.compile[1].backend_actual = None;
    let row = audit(&run, "short", Mode::KvDecode);
    assert_eq!((row.backend_actual, row.executions, row.model_calls), (None, 467, 480));
    let outcome = run.tables().compile_outcome;
    assert_eq!((outcome[0].verdict, outcome[1].verdict), (CompileVerdict::Faster, CompileVerdict::NotProven));
    assert_eq!((outcome[1].n_cells, outcome[1].n_proven, outcome[1].n_compared), (4, 3, 3));
}

#[test]
fn a_fallback_is_counted_and_never_a_compiled_time() {
    let mut run = run(0.75);
    for call in timed(&mut run, "long").take(10) {
        degrade(call, Degraded::Fallback, "3 of 16 calls ran compiled");
        call.compile[1].backend_actual = None;
    }
    let row = audit(&run, "long", Mode::KvDecode);
    assert_eq!((row.n_timed, row.n_fallback), (30, 10));
    assert_eq!(row.backend_actual.as_deref(), Some("inductor"), "of the calls that count");
    assert_eq!(
        run.tables().metrics.iter().filter(|m| m.key.cell_id == row.key.cell_id && m.counts()).count(),
        2 * 20 + 20
    );
}

#[test]
fn graphs_are_counted_against_shapes_and_recompiles_in_timed_calls_told() {
    let mut run = run(0.75);
    let graphs = |run: &Run, mode| {
        let rows = run.tables().compile_graphs;
        rows.into_iter().find(|row| row.model == "a" && row.mode == mode).unwrap()
    };
    let (prefill, decode) = (graphs(&run, Mode::Prefill), graphs(&run, Mode::KvDecode));
    assert_eq!((prefill.n_shapes, prefill.unique_graphs, prefill.n_loads), (2, 2, 1));
    assert_eq!((decode.n_shapes, decode.unique_graphs, decode.recompiles_in_timed_calls), (1, 1, 0));
    assert_eq!((prefill.compile_ms, decode.compile_ms), (4000.0, 1000.0));

    let call = timed(&mut run, "long").nth(4).unwrap();
    call.compile[0] = CompileEvidence {
        unique_graphs: 1,
        recompiles: 1,
        cache_hits: 1,
        compile_ns: Nanos::from_ms(300.0),
        ..call.compile[0].clone()
    };
    let prefill = graphs(&run, Mode::Prefill);
    assert_eq!((prefill.unique_graphs, prefill.recompiles_in_timed_calls, prefill.compile_ms), (3, 1, 4300.0));
    let row = audit(&run, "long", Mode::Prefill);
    assert_eq!((row.cache, row.compile_in_calls_ms), (CacheState::Mixed, Some(300.0)));
}

#[test]
fn every_step_is_a_row_and_a_failed_one_keeps_its_words() {
    let mut run = run(0.75);
    let load = run.lines.iter_mut().rev().find_map(|line| match line {
        Line::Load(load) => Some(load),
        _ => None,
    });
    let load = load.unwrap();
    load.compiled[1].status = Status::Degraded(Degraded::CompileFailed);
    load.compiled[1].detail = Some("no compiler".to_owned());
    load.compiled[1].phases.clear();
    let steps = run.tables().compile_steps;
    assert_eq!(steps.len(), 7, "two models of two shapes of two phases, one of them without");
    let failed = steps.last().unwrap();
    assert_eq!((failed.mode, failed.detail.as_deref()), (None, Some("no compiler")));
    assert_eq!(failed.degraded_kind, Some(Degraded::CompileFailed));
    assert_eq!(steps[0].duration_ms, Some(2005.0));
}

#[test]
fn a_run_without_a_compiler_has_no_such_rows() {
    let tables = Run::measured(&TWO, &SHAPES, 3, |_, _, _| (1.0, 2.0)).tables();
    assert!(tables.compile_audit.is_empty() && tables.compile_outcome.is_empty() && tables.compile_graphs.is_empty());
    let mut alone = run(0.75);
    for call in alone.calls().filter(|call| call.session.backend == "eng") {
        call.compile.clear();
    }
    let outcome = alone.tables().compile_outcome;
    assert!(outcome.iter().all(|row| row.verdict == CompileVerdict::NoReference && row.reference.is_none()));
}
