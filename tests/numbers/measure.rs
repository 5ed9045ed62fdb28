//! One call of an engine that is nothing but its answer: what is recorded of it, and what is refused.

use std::path::Path;
use std::time::Duration;

use phasebench::backend::{
    BackendError, Call, CancelToken, Deadline, Failure, LoadReport, Outcome, Reply, Session, Span, SpanClock,
};
use phasebench::clock::{Clock, VirtualClock};
use phasebench::measure::{Setting, measure};
use phasebench::model;
use phasebench::plan::{self, ModelFacts, Only};
use phasebench::record::CallRecord;
use phasebench::record::plan::Plan;
use phasebench::scenario;
use phasebench::schedule::CallTask;
use phasebench::terms::{Degraded, Dtype, Finish, Phase, Procedure, Regime, Role, Status};
use phasebench::units::{Bytes, Nanos};

/// Answers with a reply made beforehand: 10 ms of prefill, 1 ms for each step.
struct Scripted<'a> {
    clock: &'a VirtualClock,
    reply: Reply,
    elsewhere: bool,
    report: LoadReport,
    inspected: Option<fn(&mut Outcome)>,
}

impl Session for Scripted<'_> {
    fn loaded(&self) -> &LoadReport {
        &self.report
    }

    fn call(&mut self, _: &Call, _: Deadline, _: &CancelToken) -> Outcome {
        let mut reply = self.reply.clone();
        for (phase, ms) in [(Phase::Prefill, 10), (Phase::KvDecode, u64::from(reply.steps_timed))] {
            let begin = self.clock.now();
            self.clock.pass(Duration::from_millis(ms));
            let (clock, uncertainty) = (SpanClock::Exact, Nanos(0));
            reply.spans.push(Span {
                phase,
                begin,
                end: self.clock.now(),
                clock,
                uncertainty,
                mean_power_w: None,
                device: None,
            });
        }
        Outcome { reply: Some(reply), failure: None, session_usable: true }
    }

    fn inspect(&mut self, outcome: &mut Outcome) {
        self.clock.pass(Duration::from_millis(7));
        if let Some(inspect) = self.inspected {
            inspect(outcome);
        }
    }

    fn engine_pids(&self) -> Vec<u32> {
        Vec::new()
    }

    fn in_process(&self) -> bool {
        !self.elsewhere
    }

    fn close(self: Box<Self>) -> Result<(), BackendError> {
        Ok(())
    }
}

const SCENARIO: &str = "version: 1
name: measure
gen_tokens: [16]
scenarios: [{ name: s, prompt: { text: \"Once upon a time\" }, batch: 2 }]
models: [{ name: m, synthetic: { family: gpt2, n_layer: 2, n_embd: 32, n_head: 2, vocab: 300 } }]
backends: [{ name: b, simulated: {} }]
";

fn planned() -> Plan {
    let spec = scenario::parse(SCENARIO, Path::new("scenario.yaml"), Path::new("")).unwrap();
    let facts: Vec<ModelFacts> =
        spec.models.iter().map(|m| ModelFacts::new(&m.name, &model::architecture(&m.form).unwrap())).collect();
    plan::expand(&spec, &facts, Bytes(1 << 34), &Only::default()).unwrap()
}

/// A good answer to two rows of 5 and 4 prompt tokens, all 16 steps made.
fn reply() -> Reply {
    Reply {
        steps_timed: 16,
        prompt_tokens: Some(vec![5, 4]),
        new_tokens: vec![17, 17],
        tokens: vec![vec![2; 17]; 2],
        finish: Some(Finish::Length),
        ..Reply::default()
    }
}

/// How a call goes beside the usual.
#[derive(Default)]
struct Beside {
    attempt: u32,
    role: Option<Role>,
    own_tokenizer: bool,
    elsewhere: bool,
    inspected: Option<fn(&mut Outcome)>,
    slowdown: Option<f64>,
}

fn recorded(reply: Reply, beside: &Beside) -> CallRecord {
    let (plan, clock) = (planned(), VirtualClock::default());
    let prompts = if beside.own_tokenizer { vec![Vec::new(); 2] } else { vec![vec![1; 5], vec![1; 4]] };
    let call = Call {
        procedure: Procedure::PrefillDecode,
        scenario: "s".to_owned(),
        padded_to: if beside.own_tokenizer { 0 } else { 5 },
        prompts,
        texts: None,
        steps: 16,
        index: 0,
        attempt: beside.attempt,
        seed: 1,
    };
    let task = CallTask {
        cell: 0,
        role: beside.role.unwrap_or(Role::Timed),
        index: 0,
        attempt: beside.attempt,
        in_vain: None,
        regime: Regime::Warm,
        task_idx: 0,
        call_idx: 0,
        round: 0,
        residency_id: 0,
        load_index: 0,
        session_index: 0,
    };
    let setting = Setting {
        plan: &plan,
        task: &task,
        call: &call,
        weights_id: "w",
        dtype: Dtype::F32,
        epoch: 0,
        loaded_at: Nanos(0),
        last_end: None,
        co_resident: 0,
        waited: None,
        slowdown: beside.slowdown,
    };
    let (elsewhere, inspected) = (beside.elsewhere, beside.inspected);
    let mut session = Scripted { clock: &clock, reply, elsewhere, report: LoadReport::default(), inspected };
    measure(&mut session, &setting, &clock, None, &CancelToken::default())
}

#[test]
fn a_good_answer_is_recorded_with_its_counts() {
    let call = recorded(reply(), &Beside::default());
    assert_eq!((call.status, call.detail.as_deref()), (Status::Ok, None));
    let counts = call.tokens;
    assert_eq!((counts.prompt_sent, counts.prompt_padded, counts.new_tokens), (Some(9), 5, Some(34)));
}

/// 10 ms of prefill and 16 steps of 1 ms, a quarter longer: the time passes, each phase is charged its share, and the call is
/// no measurement.
#[test]
fn a_planted_delay_passes_inside_the_call_and_is_told_with_it() {
    let call = recorded(
        Reply {
            step_ends: (1..=16).map(|step| Nanos::from_ms(10.0 + f64::from(step))).collect(),
            outside_engine: Some(Nanos::from_ms(2.0)),
            ..reply()
        },
        &Beside { slowdown: Some(1.25), ..Beside::default() },
    );
    let lengths: Vec<f64> = call.spans.iter().map(|span| span.duration().as_ms()).collect();
    assert_eq!(lengths, [12.5, 20.0]);
    assert_eq!((call.spans[1].begin_ns, call.total_wall_ns), (Nanos::from_ms(12.5), Nanos::from_ms(32.5)));
    assert_eq!(call.step_ns, vec![Nanos::from_ms(1.25); 16].into());
    assert_eq!(call.outside_engine_ns, Some(Nanos::from_ms(6.0)));
    assert_eq!(call.status, Status::Degraded(Degraded::Planted));
    assert_eq!(call.detail.as_deref(), Some("a self-test made it take 1.25 times as long, 6.50 ms of waiting"));
    let planted = call.planted.unwrap();
    assert_eq!((planted.factor, planted.pause_ns), (1.25, vec![Nanos::from_ms(2.5), Nanos::from_ms(4.0)]));
}

/// A call that failed keeps its own reason, and is not waited for.
#[test]
fn a_call_that_failed_is_not_delayed() {
    let short = Reply { steps_timed: 3, tokens: vec![vec![2; 4]; 2], new_tokens: vec![4, 4], ..reply() };
    let call = recorded(short, &Beside { slowdown: Some(1.25), ..Beside::default() });
    assert_eq!((call.status, &call.planted), (Status::Degraded(Degraded::Incomplete), &None));
    let left_alone = recorded(reply(), &Beside::default());
    assert_eq!((left_alone.status, left_alone.planted), (Status::Ok, None));
}

#[test]
fn an_inspection_is_outside_the_calls_time_and_may_change_the_outcome() {
    let inspected: fn(&mut Outcome) = |outcome| {
        if let Some(reply) = &mut outcome.reply {
            reply.attribution.evidence.shown.insert("resident".to_owned(), "100 %".to_owned());
        }
        outcome.failure = Some(Failure::new(Degraded::WrongDevice, "half of it ran elsewhere"));
    };
    let call = recorded(reply(), &Beside { inspected: Some(inspected), ..Beside::default() });
    assert_eq!(call.status, Status::Degraded(Degraded::WrongDevice));
    assert_eq!(call.attribution.evidence.shown["resident"], "100 %");
    assert_eq!(call.total_wall_ns, Nanos::from_ms(26.0), "the 7 ms of the inspection are not in it");
}

/// An engine in another process need not tell ids, nor take any.
#[test]
fn what_only_the_engine_knows_is_taken_from_it() {
    let elsewhere = Beside { own_tokenizer: true, elsewhere: true, ..Beside::default() };
    let silent = |reply: Reply| Reply { tokens: Vec::new(), ..reply };
    let call = recorded(silent(reply()), &elsewhere);
    assert_eq!(call.status, Status::Ok, "{:?}", call.detail);
    assert_eq!((call.tokens.prompt_sent, call.tokens.prompt_padded), (Some(9), 5));
    assert!(call.token_ids.is_empty());
    let call = recorded(Reply { prompt_tokens: None, new_tokens: Vec::new(), ..silent(reply()) }, &elsewhere);
    assert_eq!(call.status, Status::Ok, "{:?}", call.detail);
    assert_eq!((call.tokens.prompt_sent, call.tokens.prompt_evaluated, call.tokens.new_tokens), (None, None, None));
}

#[test]
fn an_answer_that_contradicts_itself_is_degraded() {
    let here = Beside::default();
    let elsewhere = Beside { elsewhere: true, ..Beside::default() };
    for (changed, beside, why) in [
        (Reply { tokens: Vec::new(), ..reply() }, &here, "expected 17 new tokens in each of 2 rows"),
        (Reply { tokens: vec![vec![2; 17]], ..reply() }, &elsewhere, "expected 17 new tokens in each of 2 rows"),
        (
            Reply { tokens: Vec::new(), new_tokens: vec![17, 15], ..reply() },
            &elsewhere,
            "16 decode steps timed in 2 rows, but [17, 15] new tokens counted",
        ),
        (Reply { prompt_tokens: Some(vec![5, 5]), ..reply() }, &here, "prompt tokens sent [5, 4], evaluated [5, 5]"),
        (Reply { prompt_tokens: Some(vec![5]), ..reply() }, &here, "prompt tokens sent [5, 4], evaluated [5]"),
    ] {
        let call = recorded(changed, beside);
        assert_eq!((call.status, call.detail.as_deref()), (Status::Degraded(Degraded::Invariant), Some(why)));
    }
}

#[test]
fn an_answer_that_ends_early_is_judged_by_steps_role_and_try() {
    let early = |steps: u32, finish| Reply {
        steps_timed: steps,
        new_tokens: vec![steps + 1; 2],
        tokens: vec![vec![2; steps as usize + 1]; 2],
        finish: Some(finish),
        ..reply()
    };
    let degraded = Status::Degraded;
    for (steps, finish, role, attempt, status) in [
        (10, Finish::Stop, Role::Timed, 0, degraded(Degraded::EarlyStop)),
        (7, Finish::Stop, Role::Timed, 0, degraded(Degraded::TooShort)),
        (10, Finish::Stop, Role::Timed, 3, Status::Ok),
        (7, Finish::Stop, Role::Timed, 3, degraded(Degraded::TooShort)),
        (10, Finish::Stop, Role::Cold, 0, Status::Ok),
        (10, Finish::Length, Role::Timed, 3, degraded(Degraded::Incomplete)),
        (0, Finish::Stop, Role::Warmup, 0, degraded(Degraded::TooShort)),
    ] {
        let call = recorded(early(steps, finish), &Beside { attempt, role: Some(role), ..Beside::default() });
        assert_eq!(call.status, status, "{steps} steps, {finish}, {role}, try {attempt}");
        let scaled = status.is_ok().then(|| 16.0 / f64::from(steps));
        assert_eq!(call.decode_scale(), scaled);
    }
}
