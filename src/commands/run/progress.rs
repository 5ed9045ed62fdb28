//! What a run shows while it goes on: the cell, the rate, the time left. Nothing where nobody watches.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::record::plan::Plan;
use crate::record::{CallRecord, Line};
use crate::run::Observer;
use crate::schedule::{Recorded, Task};
use crate::terminal::harmless;
use crate::terms::Phase;
use crate::units::Nanos;

/// A bar over the models to prepare.
pub fn preparing(sessions: usize) -> ProgressBar {
    let style =
        ProgressStyle::with_template("preparing {msg} [{pos}/{len}]").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(sessions as u64).with_style(style)
}

/// Shows a run's progress on standard error, where that is a terminal.
pub struct Watching {
    bar: ProgressBar,
    cells: Vec<CellTime>,
}

/// What is known of a cell's calls.
#[derive(Default, Clone)]
struct CellTime {
    calls: u32,
    wall: Duration,
}

impl Watching {
    /// Takes up where `lines` end.
    pub fn new(plan: &Plan, lines: &[Line]) -> Self {
        let style = ProgressStyle::with_template("[{elapsed}] {bar:24} {pos}/{len} calls {prefix} {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let done = lines.iter().filter(|l| matches!(l, Line::Call(_))).count();
        let bar = ProgressBar::new(u64::from(plan.repetitions.max()) * plan.cells.len() as u64).with_style(style);
        bar.set_position(done as u64);
        Self { bar, cells: vec![CellTime::default(); plan.cells.len()] }
    }

    /// Clears the line.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Time left, from the mean call of each cell; cells not yet seen take the mean of all.
    fn left(&self, plan: &Plan, recorded: &Recorded) -> Option<Nanos> {
        let seen: u32 = self.cells.iter().map(|c| c.calls).sum();
        let wall: Duration = self.cells.iter().map(|c| c.wall).sum();
        let mean = wall.checked_div(seen)?;
        let left = self.cells.iter().enumerate().map(|(cell, time)| {
            let state = recorded.cell(cell);
            let (fewest, most) = (plan.repetitions.min(), plan.repetitions.max());
            let expected = if state.timed < fewest { fewest } else { most };
            let calls = if state.stopped { 0 } else { expected.saturating_sub(state.timed) };
            time.wall.checked_div(time.calls).unwrap_or(mean) * calls
        });
        Some(left.sum::<Duration>().into())
    }
}

impl Observer for Watching {
    fn begins(&mut self, plan: &Plan, recorded: &Recorded, task: &Task) {
        if self.bar.is_hidden() {
            return;
        }
        let message = match task {
            Task::Load(load) => {
                let key = &plan.sessions[load.session].key;
                format!("loading {} × {}", key.backend, key.model)
            }
            Task::Call(call) => {
                let cell = &plan.cells[call.cell];
                let left = self.left(plan, recorded).map(|left| format!(" · {left} left")).unwrap_or_default();
                let (key, steps) = (&cell.session, cell.gen_tokens);
                format!("{} × {} × {} × {steps} steps: {}{left}", key.backend, key.model, cell.scenario, call.role)
            }
            Task::Loop(task) => {
                let cell = &plan.cells[task.cell];
                let (key, what) = (&cell.session, task.procedure);
                format!("{} × {} × {}: {what} repeated for the power sensor", key.backend, key.model, cell.scenario)
            }
            Task::Stop(_) => return,
        };
        self.bar.set_message(harmless(&message));
    }

    fn recorded(&mut self, plan: &Plan, recorded: &Recorded, line: &Line) {
        let Line::Call(call) = line else { return };
        let cell = plan.cells.iter().position(|c| c.id == call.cell_id);
        if let Some(time) = cell.and_then(|c| self.cells.get_mut(c)) {
            time.calls += 1;
            time.wall += call.total_wall_ns.duration();
        }
        if self.bar.is_hidden() {
            return;
        }
        let open: u64 = (0..plan.cells.len())
            .map(|c| recorded.cell(c))
            .map(|state| u64::from(if state.stopped { state.timed } else { plan.repetitions.max() }))
            .sum();
        let timed: u64 = (0..plan.cells.len()).map(|c| u64::from(recorded.cell(c).timed)).sum();
        self.bar.set_length(u64::from(recorded.calls()) + open - timed);
        self.bar.set_position(u64::from(recorded.calls()));
        if let Some(rate) = rate(call) {
            self.bar.set_prefix(rate);
        }
    }
}

/// Decode rate of a call, for people.
fn rate(call: &CallRecord) -> Option<String> {
    let decode = call.spans.iter().find(|s| s.phase == Phase::KvDecode)?;
    let tokens = f64::from(call.tokens.decode_steps_timed * call.batch);
    let seconds = decode.duration().as_secs();
    (seconds > 0.0).then(|| format!("{:.0} tok/s", tokens / seconds))
}
