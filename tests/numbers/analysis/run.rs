//! Runs made up in code, with latencies that a test chooses.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use phasebench::analysis::{Tables, derive};
use phasebench::hash::sha256_hex;
use phasebench::manifest;
use phasebench::plan;
use phasebench::record::manifest::{Manifest, ModelEntry, ModelForm, ModelOrigin};
use phasebench::record::plan::{Cell, CellId, FORMAT as PLAN_FORMAT, Plan, PlannedSession, SessionKey};
use phasebench::record::{
    BesideRecord, CallRecord, Finished, Header, Line, LoadRecord, LoopBelow, MemoryRecord, OLDEST, Opened, SpanRecord,
    StepTimes, TokenCounts,
};
use phasebench::report::document::Document;
use phasebench::report::sections::{ReportedRun, compose};
use phasebench::store::{self, Recording};
use phasebench::terms::model::{Family, Synthetic};
use phasebench::terms::{
    Attribution, Degraded, Disturbed, Dtype, EarlyStop, Evidence, Finish, FitAxis, Mode, Order, Phase, Procedure,
    Regime, Repetitions, Role, SessionCount, Status,
};
use phasebench::units::{Bytes, Nanos};

/// The scenario file of every run here.
const SPEC: &str = "version: 1\n";

/// A model by name, with its parameters in millions and its depth.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    pub name: &'static str,
    pub millions: f64,
    pub n_layer: usize,
}

/// Four models whose sizes are 1, 4, 16 and 64 million.
pub const FOUR: [Model; 4] = [model("a", 1.0, 2), model("b", 4.0, 3), model("c", 16.0, 3), model("d", 64.0, 5)];

pub const fn model(name: &'static str, millions: f64, n_layer: usize) -> Model {
    Model { name, millions, n_layer }
}

/// A scenario with its decode length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    pub scenario: &'static str,
    pub prompt: u32,
    pub batch: u32,
    pub steps: u32,
}

pub const fn shape(scenario: &'static str, prompt: u32, batch: u32, steps: u32) -> Shape {
    Shape { scenario, prompt, batch, steps }
}

/// A run as recorded.
#[derive(Debug, Clone)]
pub struct Run {
    pub plan: Plan,
    pub manifest: Manifest,
    pub lines: Vec<Line>,
    now: Nanos,
    /// When the last call ended.
    last_end: Option<Nanos>,
    calls: u32,
}

impl Run {
    /// Every model measured by backend `eng` in every shape: a load, one cold or warmup call per cell, then `n` timed
    /// calls, whose prefill and decode latencies in milliseconds `law` gives by model, shape and number of the call.
    /// Warmups take twice as long as the first timed call, cold calls three times.
    pub fn measured(models: &[Model], shapes: &[Shape], n: u32, law: impl Fn(Model, Shape, u32) -> (f64, f64)) -> Self {
        let mut run = Self::planned(models, shapes, n);
        let stack_sha256 = run.manifest.stack_sha256.clone();
        let opened = Opened { epoch: 0, unix_ns: 7, stack_sha256, loop_below: LoopBelow::default() };
        run.lines.push(Line::Opened(opened.into()));
        for (load, model) in (0..).zip(models) {
            run.load(load, *model);
            for (place, shape) in shapes.iter().enumerate() {
                let (role, factor) = if place == 0 { (Role::Cold, 3.0) } else { (Role::Warmup, 2.0) };
                let (prefill, decode) = law(*model, *shape, 0);
                run.call(*model, *shape, role, load, 0, (prefill * factor, decode * factor));
            }
            for shape in shapes {
                for index in 0..n {
                    run.call(*model, *shape, Role::Timed, load, index, law(*model, *shape, index));
                }
            }
        }
        run.lines.push(Line::Finished(Finished { calls: run.calls, degraded: 0, made_again: 0 }));
        run
    }

    fn planned(models: &[Model], shapes: &[Shape], n: u32) -> Self {
        let sessions = models.iter().map(|m| PlannedSession {
            key: key(m.name),
            warmups: 1,
            resident_bytes: Bytes(1),
            max_resident: None,
            may_stop_early: false,
        });
        let cells = models.iter().flat_map(|model| shapes.iter().map(|shape| cell(*model, *shape)));
        let plan = Plan {
            format: PLAN_FORMAT,
            name: "made-up".to_owned(),
            seed: 1,
            order: Order::Blocked,
            repetitions: Repetitions::Fixed(n),
            session_count: SessionCount::ONE,
            early_stop: EarlyStop { retries: 3, min_steps: 8, scale: true },
            disturbed: Disturbed::never(),
            reference: None,
            slowdown: None,
            modes: vec![Mode::Prefill, Mode::KvDecode],
            fit: FitAxis::Params,
            timeout_ns: Nanos(1),
            degraded_rate: 0.05,
            memory_budget_bytes: Bytes(1 << 40),
            sessions: sessions.collect(),
            cells: cells.collect(),
            skipped: Vec::new(),
            workload: None,
            claims: Vec::new(),
        };
        let plan_json = plan::to_json(&plan).unwrap();
        let mut manifest = manifest::begin(manifest::collect(BTreeMap::new()), SPEC.as_bytes(), &plan_json, 7);
        manifest.models = models.iter().map(|model| (model.name.to_owned(), entry(*model))).collect();
        let header = Header {
            file: store::reader::FILE_KIND.to_owned(),
            // Lines of this one are not sealed.
            format: OLDEST,
            plan_sha256: sha256_hex(&plan_json),
            tool_version: "0".to_owned(),
        };
        Self { plan, manifest, lines: vec![Line::Header(header.into())], now: Nanos(0), last_end: None, calls: 0 }
    }

    fn load(&mut self, load_index: u32, model: Model) {
        self.lines.push(Line::Load(Box::new(LoadRecord {
            load_index,
            session_index: 0,
            session: key(model.name),
            evicted: Vec::new(),
            residency_id: 0,
            round: 0,
            status: Status::Ok,
            detail: None,
            begin_ns: self.now,
            duration_ns: Nanos::from_ms(50.0),
            parts_ns: vec![("read".to_owned(), Nanos::from_ms(30.0)), ("plan".to_owned(), Nanos::from_ms(15.0))],
            regime: if load_index == 0 { Regime::ColdProcess } else { Regime::ColdModel },
            attribution: attribution(),
            weights_id: Some(weights(model.name)),
            host_rss_before_bytes: Some(Bytes(1000)),
            host_rss_after_bytes: Some(Bytes(900)),
            device_bytes: None,
            planned_resident_bytes: Bytes(5),
            compilers: Default::default(),
            compiled: Vec::new(),
        })));
        self.now = self.now + Nanos::from_ms(50.0);
    }

    /// Appends one call that went well.
    pub fn call(&mut self, model: Model, shape: Shape, role: Role, load: u32, index: u32, latency_ms: (f64, f64)) {
        let cell = cell(model, shape);
        let call_id = match role {
            Role::Timed => format!("{}-timed-{index:04}", cell.id),
            _ => format!("{}-load{load}-{role}-{index}", cell.id),
        };
        let begin = self.now;
        let first = begin + Nanos::from_ms(latency_ms.0);
        let end = first + Nanos::from_ms(latency_ms.1);
        self.now = end;
        let record = CallRecord {
            call_id,
            cell_id: cell.id.into(),
            role,
            index,
            attempt: 0,
            regime: match role {
                Role::Cold => Regime::ColdModel,
                Role::Warmup => Regime::ColdShape,
                Role::Rewarm | Role::Timed => Regime::Warm,
            },
            task_idx: 0,
            call_idx: self.calls,
            round: index,
            residency_id: 0,
            load_index: load,
            session_index: 0,
            epoch: 0,
            session: cell.session.into(),
            weights_id: weights(model.name).into(),
            dtype: Dtype::F32,
            scenario: cell.scenario.into(),
            batch: shape.batch,
            procedure: Procedure::PrefillDecode,
            status: Status::Ok,
            detail: None,
            flags: Vec::new().into(),
            attribution: attribution().into(),
            tokens: TokenCounts {
                prompt_requested: Some(shape.prompt),
                prompt_sent: Some(shape.prompt * shape.batch),
                prompt_evaluated: None,
                prompt_cached: None,
                prompt_padded: shape.prompt,
                steps_requested: shape.steps,
                decode_steps_timed: shape.steps,
                new_tokens: Some((shape.steps + 1) * shape.batch),
            }
            .into(),
            spans: vec![span(Phase::Prefill, begin, first), span(Phase::KvDecode, first, end)],
            begin_ns: begin,
            total_wall_ns: end - begin,
            waited: None,
            in_vain: None,
            planted: None,
            since_last_call_ns: self.last_end.map(|last| begin - last),
            session_age_ns: Nanos(0),
            client_cpu_ns: None,
            outside_engine_ns: None,
            step_ns: StepTimes::default(),
            engine_ns: BTreeMap::new().into(),
            memory: MemoryRecord::default().into(),
            beside: BesideRecord::default().into(),
            compile: Vec::new().into(),
            token_ids: Vec::new().into(),
            finish: None,
            session_lost: false,
        };
        self.lines.push(Line::Call(record.into()));
        self.last_end = Some(end);
        self.calls += 1;
    }

    /// Numbers the calls again, one after the other in time, and counts them at the end: after some were added or changed.
    pub fn settle(&mut self) {
        let (mut place, mut last_end, mut now) = (0, None, Nanos(0));
        for line in &mut self.lines {
            match line {
                Line::Load(load) => {
                    load.begin_ns = now;
                    now = now + load.duration_ns;
                }
                Line::Call(call) => {
                    let call = &mut **call;
                    for span in &mut call.spans {
                        span.begin_ns = now + span.begin_ns.since(call.begin_ns);
                        span.end_ns = now + span.end_ns.since(call.begin_ns);
                    }
                    (call.begin_ns, call.call_idx) = (now, place);
                    call.since_last_call_ns = last_end.map(|last| now - last);
                    now = now + call.total_wall_ns;
                    (last_end, place) = (Some(now), place + 1);
                }
                _ => {}
            }
        }
        self.count();
    }

    /// Counts the calls at the end, as a run does.
    fn count(&mut self) {
        let rule = self.plan.retries();
        let calls: Vec<CallRecord> = self.calls().map(|call| call.clone()).collect();
        let counted = |is: &dyn Fn(&CallRecord) -> bool| calls.iter().filter(|call| is(call)).count() as u32;
        let found = Finished {
            calls: counted(&|_| true),
            degraded: counted(&|call| !call.status.is_ok() && !call.is_made_again(rule)),
            made_again: counted(&|call| call.is_made_again(rule)),
        };
        if let Some(Line::Finished(told)) = self.lines.last_mut() {
            *told = found;
        }
    }

    /// The calls, to be changed.
    pub fn calls(&mut self) -> impl Iterator<Item = &mut CallRecord> {
        self.lines.iter_mut().filter_map(|line| match line {
            Line::Call(call) => Some(&mut **call),
            _ => None,
        })
    }

    /// The call of this id, to be changed.
    pub fn find(&mut self, call_id: &str) -> &mut CallRecord {
        self.calls().find(|call| call.call_id == call_id).unwrap()
    }

    /// Leaves out every call of a model in a scenario.
    pub fn forget(&mut self, model: &str, scenario: &str) {
        let of = |call: &CallRecord| call.session.model == model && call.scenario == scenario;
        self.lines.retain(|line| !matches!(line, Line::Call(call) if of(call)));
    }

    /// What a reader makes of it.
    pub fn recording(&self) -> Recording {
        let mut recording = Recording::default();
        recording.lines.clone_from(&self.lines);
        recording
    }

    pub fn tables(&self) -> Tables {
        derive(&self.recording(), &self.plan, &self.manifest, &[])
    }

    /// What `told` says of the run with these tables, on which no power was recorded.
    pub fn reported<T>(&self, tables: &Tables, told: impl FnOnce(&ReportedRun<'_>) -> T) -> T {
        let (plan, manifest, recording) = (&self.plan, &self.manifest, &self.recording());
        told(&ReportedRun { tables, plan, manifest, recording, trace: &[], contradictions: None })
    }

    /// The report.
    pub fn report(&self) -> Document {
        self.reported(&self.tables(), compose)
    }

    /// Writes the run folder, with hashes that fit.
    pub fn write(&self, folder: &Path) {
        let plan_json = plan::to_json(&self.plan).unwrap();
        let mut manifest = self.manifest.clone();
        manifest.plan_sha256 = sha256_hex(&plan_json);
        let mut lines = self.lines.clone();
        if let Some(Line::Header(header)) = lines.first_mut() {
            header.plan_sha256 = sha256_hex(&plan_json);
        }
        let text: String = lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
        fs::write(folder.join(store::SPEC), SPEC).unwrap();
        fs::write(folder.join(store::PLAN), plan_json).unwrap();
        fs::write(folder.join(store::MANIFEST), manifest.to_json().unwrap()).unwrap();
        fs::write(folder.join(store::MEASUREMENTS), text).unwrap();
    }
}

/// Makes a call degraded.
pub fn degrade(call: &mut CallRecord, kind: Degraded, detail: &str) {
    call.status = Status::Degraded(kind);
    call.detail = Some(detail.to_owned());
}

/// Says that a call's generation ended so.
pub fn finish(call: &mut CallRecord, finish: Finish) {
    call.finish = Some(finish);
}

fn key(model: &str) -> SessionKey {
    SessionKey { backend: "eng".to_owned(), model: model.to_owned() }
}

fn weights(model: &str) -> String {
    format!("weights-{model}")
}

fn attribution() -> Attribution {
    Attribution {
        requested: "cpu".to_owned(),
        actual: Some("cpu".to_owned()),
        evidence: Evidence::from(BTreeMap::from([("script".to_owned(), "this test".to_owned())])),
    }
}

fn span(phase: Phase, begin_ns: Nanos, end_ns: Nanos) -> SpanRecord {
    SpanRecord {
        phase,
        begin_ns,
        end_ns,
        reconstructed: false,
        uncertainty_ns: Nanos(0),
        power_mean_w: None,
        device_ns: None,
    }
}

fn cell(model: Model, shape: Shape) -> Cell {
    Cell {
        id: CellId(format!("{}-{}-{}-{}", model.name, shape.scenario, shape.batch, shape.steps)),
        session: key(model.name),
        dtype: Dtype::F32,
        scenario: shape.scenario.to_owned(),
        batch: shape.batch,
        prompt_tokens: Some(shape.prompt),
        gen_tokens: shape.steps,
        procedure: Procedure::PrefillDecode,
    }
}

fn entry(model: Model) -> ModelEntry {
    let form = ModelForm {
        dtype: Dtype::F32,
        weights_id: None,
        quantisation: None,
        bytes: Some(Bytes(4)),
        file_sha256: BTreeMap::new(),
    };
    ModelEntry {
        source: ModelOrigin::Folder(model.name.to_owned()),
        weights_id: weights(model.name),
        params: Some((model.millions * 1e6) as u64),
        architecture: Some(Synthetic::new(Family::Gpt2, model.n_layer, 64, 2).architecture().unwrap()),
        served: None,
        forms: BTreeMap::from([("eng".to_owned(), form)]),
        tokenizer_switched_off: Vec::new(),
        unused_tensors: Vec::new(),
    }
}
