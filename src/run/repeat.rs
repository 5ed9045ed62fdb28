//! Loops: a procedure over and over, for a power sensor that one call is too short for.

use crate::hash::seeded;
use crate::measure::{LoopSetting, given_up, looped};
use crate::record::Line;
use crate::schedule::LoopTask;
use crate::terms::Procedure;

use super::{Run, RunError, unprepared};

/// Why a loop is not made.
const NO_RULE: &str = "no sensor of this process has its own timing for where the calls ran";

impl Run<'_> {
    /// Repeats a procedure for the power sensor. `None`: cancelled.
    pub(super) fn repeat(&mut self, task: &LoopTask) -> Result<Option<Line>, RunError> {
        let cell = &self.plan.cells[task.cell];
        let session = self.ordering.session_of(task.cell);
        let key = &self.plan.sessions[session].key;
        let prepared = self.engines.prepared.get(key).ok_or_else(|| unprepared(key))?;
        let co_resident = self.open.others();
        let open = self.open.get_mut(session).ok_or_else(|| unprepared(key))?;
        let on_board = self.recorded.cell(task.cell).on_board;
        let rule = self.power.loop_rule(on_board);
        let mut call = self.prompts.call(cell);
        call.procedure = task.procedure;
        if task.procedure == Procedure::Prefill {
            call.steps = 0;
        }
        let id = task.loop_id(self.plan);
        let seed = |number: u32| seeded(self.plan.seed, &[&id, &number.to_string()]);
        let setting = LoopSetting {
            plan: self.plan,
            task,
            call,
            seed: &seed,
            weights_id: &prepared.weights_id,
            dtype: prepared.dtype,
            epoch: self.epoch,
            co_resident,
        };
        // Waiting for a sensor that this process does not have would leave the run unfinished for ever.
        let Some(rule) = rule else {
            return Ok(Some(Line::Loop(Box::new(given_up(&setting, NO_RULE, &**self.clock)))));
        };
        let session_ref = open.session.as_mut();
        let mut record = looped(session_ref, &setting, &rule, &**self.clock, self.watcher.as_mut(), self.cancel);
        self.power.write_and_flag(&mut record.flags, record.begin_ns, &record.attribution, &record.beside.boards)?;
        self.last_end = Some(record.end_ns);
        if self.cancel.is_cancelled() {
            return Ok(None);
        }
        if record.session_lost {
            self.open.lose(session);
        }
        Ok(Some(Line::Loop(Box::new(record))))
    }
}
