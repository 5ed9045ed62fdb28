//! A call whose reply is known: made and recorded as any other.

use phasebench::backend::{BackendError, Call, CancelToken, Deadline, LoadReport, Outcome, Session};
use phasebench::clock::RealClock;
use phasebench::measure::{Setting, measure};
use phasebench::record::Line;
use phasebench::record::plan::Plan;
use phasebench::schedule::CallTask;
use phasebench::terms::{Dtype, Procedure, Regime, Role};
use phasebench::units::Nanos;

/// The plan of the run that the seeds are lines of.
const PLAN: &[u8] = include_bytes!("../run/plan.json");

/// A model in another process that answers so.
struct Answering {
    outcome: Option<Outcome>,
    loaded: LoadReport,
}

impl Session for Answering {
    fn loaded(&self) -> &LoadReport {
        &self.loaded
    }

    fn call(&mut self, _call: &Call, _by: Deadline, _cancel: &CancelToken) -> Outcome {
        self.outcome.take().unwrap_or(Outcome { reply: None, failure: None, session_usable: false })
    }

    fn engine_pids(&self) -> Vec<u32> {
        Vec::new()
    }

    fn in_process(&self) -> bool {
        false
    }

    fn close(self: Box<Self>) -> Result<(), BackendError> {
        Ok(())
    }
}

/// A call of so many rows and steps.
pub fn call(procedure: Procedure, rows: u32, steps: u32) -> Call {
    Call {
        procedure,
        scenario: "short".to_owned(),
        prompts: (0..rows).map(|row| vec![row + 1; 16]).collect(),
        texts: None,
        padded_to: 16,
        steps,
        index: 0,
        attempt: 0,
        seed: 0,
    }
}

/// Records what came of such a call, as its line.
pub fn measured(outcome: Outcome, procedure: Procedure, rows: u32, steps: u32) {
    let Ok(plan) = serde_json::from_slice::<Plan>(PLAN) else { return };
    let call = call(procedure, rows, steps);
    let setting = Setting {
        plan: &plan,
        task: &task(),
        call: &call,
        weights_id: "weights",
        dtype: Dtype::F32,
        epoch: 0,
        loaded_at: Nanos(0),
        last_end: None,
        co_resident: 0,
        waited: None,
        slowdown: None,
    };
    let mut session = Answering { outcome: Some(outcome), loaded: LoadReport::default() };
    let record = measure(&mut session, &setting, &RealClock::default(), None, &CancelToken::default());
    drop(serde_json::to_vec(&Line::Call(record.into())));
}

fn task() -> CallTask {
    CallTask {
        cell: 0,
        role: Role::Timed,
        index: 0,
        attempt: 0,
        regime: Regime::Warm,
        task_idx: 0,
        call_idx: 0,
        round: 0,
        residency_id: 0,
        load_index: 0,
        session_index: 0,
        in_vain: None,
    }
}
