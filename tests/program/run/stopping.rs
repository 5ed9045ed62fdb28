//! Adaptive stopping on the whole path from scenario file to record: the interval at which a cell stopped covers
//! the scripted truth often enough, and stopping does not bend the estimate.

use std::sync::Arc;

use phasebench::backend::{self, CancelToken, Surroundings};
use phasebench::clock::VirtualClock;
use phasebench::plan;
use phasebench::record::Line;
use phasebench::record::plan::{Plan, SessionKey};
use phasebench::run::{Engines, Job, Observer, PowerBeside, Prompts, Run, RunEnd};
use phasebench::scenario::{self, ScenarioFile};
use phasebench::schedule::{Recorded, Task};
use phasebench::stats::{self, location, summary};
use phasebench::store::Writer;
use phasebench::terms::{Phase, Role};
use phasebench::{model, units};

use crate::run::fixture::Scenario;

struct Silent;

impl Observer for Silent {
    fn begins(&mut self, _: &Plan, _: &Recorded, _: &Task) {}
    fn recorded(&mut self, _: &Plan, _: &Recorded, _: &Line) {}
}

/// One run in this process; the decode times of its timed calls in order, in milliseconds.
fn decode_times(spec: &ScenarioFile, folder: &std::path::Path) -> Vec<f64> {
    let facts: Vec<_> =
        spec.models.iter().map(|m| plan::ModelFacts::new(&m.name, &model::architecture(&m.form).unwrap())).collect();
    let plan = plan::expand(spec, &facts, units::Bytes(1 << 34), &plan::Only::default()).unwrap();
    let clock = Arc::new(VirtualClock::default());
    let surroundings = Surroundings::new(clock.clone(), folder.join("cache"), spec.seed);
    let mut engine = backend::open(&spec.backends[0], &surroundings);
    let prepared = engine.prepare(&spec.models[0]).unwrap();
    let key = SessionKey { backend: spec.backends[0].name.clone(), model: spec.models[0].name.clone() };
    let engines = Engines { backends: [(key.backend.clone(), engine)].into(), prepared: [(key, prepared)].into() };
    let prompts = Prompts::build(spec, &plan).unwrap();
    let run = folder.join(spec.seed.to_string());
    let writer = Writer::create(&run, "", "{}", "{}").unwrap();
    let (recorded, cancel, stack_sha256) = (Recorded::new(&plan), CancelToken::default(), String::new());
    let mut job = Job { plan, recorded, engines, prompts, writer, clock, cancel, stack_sha256 };
    let ended = Run::new(&mut job, &mut PowerBeside::default()).execute(0, &mut Silent).unwrap();
    assert!(matches!(ended, RunEnd::Complete(_)));
    let text = std::fs::read_to_string(run.join("measurements.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Line>(line).unwrap());
    lines
        .filter_map(|line| match line {
            Line::Call(call) if call.role == Role::Timed => {
                call.spans.iter().find(|s| s.phase == Phase::KvDecode).map(|s| s.duration().as_ms())
            }
            _ => None,
        })
        .collect()
}

#[test]
fn adaptive_intervals_cover_the_truth() {
    const SEEDS: u64 = 500;
    // Where there is a file system in memory, syncing after each call costs nothing.
    let memory = std::path::Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let (mut covered, mut errors, mut calls) = (0, Vec::new(), 0);
    for seed in 0..SEEDS {
        let scenario = Scenario {
            seed,
            models: 1,
            prompts: &[8],
            repetitions: "{ min: 3, max: 30, until_relative_ci: 0.02 }",
            script: "{ noise: 0.05, autocorrelation: 0.3, decode_per_step: { base: 1ms, exponent: 0 } }",
            ..Scenario::default()
        };
        let spec = scenario::parse(&scenario.text(), "scenario.yaml".as_ref(), "".as_ref()).unwrap();
        let times = decode_times(&spec, folder.path());
        calls += times.len();
        let truth = 16.0;
        let location = location::adaptive_location(&times, stats::LEVEL).unwrap();
        covered += u64::from(location.interval.contains(truth));
        errors.push(location.estimate / truth - 1.0);
    }
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    let (coverage, mean_calls) = (covered as f64 / SEEDS as f64, calls as f64 / SEEDS as f64);
    let bias = summary::median(&errors).unwrap();
    println!("{SEEDS} seeds: coverage {coverage:.3}, median bias {:.3} %, {mean_calls:.1} calls", bias * 100.0);
    assert!(coverage >= 0.93, "coverage {coverage}");
    assert!(bias.abs() <= 0.005, "median bias {bias}");
}
