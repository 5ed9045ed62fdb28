//! What a run shows while it goes on: the cell, the rate, the time left. One line on a terminal, elsewhere plain lines, for a log:
//! one for each load of something new, and one every few seconds.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::record::plan::Plan;
use crate::record::{CallRecord, Line};
use crate::run::Observer;
use crate::schedule::{Recorded, Task};
use crate::terminal::{harmless, warn};
use crate::terms::Phase;
use crate::units::Nanos;

/// Between two lines of a log.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Shows which models are prepared.
pub struct Preparing {
    bar: ProgressBar,
    is_virtual: bool,
}

impl Preparing {
    /// So many sessions. On a virtual clock there is nothing to wait for, and nothing is written into a log.
    pub fn new(sessions: usize, is_virtual: bool) -> Self {
        let style = ProgressStyle::with_template("preparing [{pos}/{len}] {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { bar: ProgressBar::new(sessions as u64).with_style(style), is_virtual }
    }

    /// The next one begins.
    pub fn begins(&self, session: &str) {
        if self.bar.is_hidden() && !self.is_virtual {
            let (number, all) = (self.bar.position() + 1, self.bar.length().unwrap_or(0));
            warn(&format!("preparing {session} ({number} of {all})"));
        }
        self.bar.set_message(harmless(session));
    }

    /// It is ready.
    pub fn ends(&self) {
        self.bar.inc(1);
    }

    /// Clears the line.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Shows a run's progress on standard error.
pub struct Watching {
    bar: ProgressBar,
    cells: Vec<CellTime>,
    /// The cell that is being called.
    called: Option<usize>,
    /// Lines in the place of the bar. `None`: standard error is a terminal.
    log: Option<Log>,
}

/// When a line is written into a log.
struct Log {
    is_virtual: bool,
    began: Instant,
    last: Instant,
    /// Sessions whose load was told.
    loaded: BTreeSet<usize>,
}

impl Log {
    fn new(is_virtual: bool, now: Instant) -> Self {
        Self { is_virtual, began: now, last: now, loaded: BTreeSet::new() }
    }

    /// Whether the beginning of a task is told: a session's first load, and whatever comes after a while of silence. On a
    /// virtual clock a load takes no time.
    fn is_due(&mut self, task: &Task, now: Instant) -> bool {
        let new = matches!(task, Task::Load(load) if self.loaded.insert(load.session)) && !self.is_virtual;
        let due = new || now.duration_since(self.last) >= LOG_EVERY;
        if due {
            self.last = now;
        }
        due
    }
}

/// What is known of a cell's calls.
#[derive(Default, Clone)]
struct CellTime {
    calls: u32,
    wall: Duration,
}

impl Watching {
    /// Takes up where `recorded` ends. `is_virtual`: the run's clock is.
    pub fn new(plan: &Plan, recorded: &Recorded, is_virtual: bool) -> Self {
        // No bar: what stands before the message fits forty columns, and the message takes what is left.
        let style = ProgressStyle::with_template("[{elapsed}] {pos}/{len} calls, {percent}% {prefix} {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(u64::from(plan.division().most_calls()) * plan.cells.len() as u64).with_style(style);
        bar.set_position(u64::from(recorded.calls()));
        let log = bar.is_hidden().then(|| Log::new(is_virtual, Instant::now()));
        Self { bar, cells: vec![CellTime::default(); plan.cells.len()], called: None, log }
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
            let (fewest, most) = (plan.division().fewest_calls(), plan.division().most_calls());
            let expected = if state.timed < fewest { fewest } else { most };
            let calls = if state.stopped { 0 } else { expected.saturating_sub(state.timed) };
            time.wall.checked_div(time.calls).unwrap_or(mean) * calls
        });
        Some(left.sum::<Duration>().into())
    }
}

impl Observer for Watching {
    fn begins(&mut self, plan: &Plan, recorded: &Recorded, task: &Task) {
        self.called = if let Task::Call(call) = task { Some(call.cell) } else { None };
        let now = Instant::now();
        if self.log.as_mut().is_some_and(|log| !log.is_due(task, now)) {
            return;
        }
        let message = match task {
            Task::Load(load) => {
                let key = &plan.sessions[load.session].key;
                format!("loading {} × {}", key.backend, key.model)
            }
            Task::Call(call) => {
                let cell = &plan.cells[call.cell];
                let (key, steps) = (&cell.session, cell.gen_tokens);
                let called =
                    format!("{} × {} × {} × {steps} steps: {}", key.backend, key.model, cell.scenario, call.role);
                after_time_left(self.left(plan, recorded), called)
            }
            Task::Loop(task) => {
                let cell = &plan.cells[task.cell];
                let (key, what) = (&cell.session, task.procedure);
                format!("{} × {} × {}: {what} repeated for the power sensor", key.backend, key.model, cell.scenario)
            }
            Task::Reference(_) => "measuring the machine itself".to_owned(),
            Task::Stop(_) => return,
        };
        if let Some(log) = &self.log {
            let (made, all) = calls(plan, recorded);
            let since = Nanos::from(now.duration_since(log.began));
            warn(&format!("after {since}, {made} of {all} calls: {message}"));
        }
        self.bar.set_message(harmless(&message));
    }

    fn recorded(&mut self, plan: &Plan, recorded: &Recorded, line: &Line) {
        let Line::Call(call) = line else { return };
        if let Some(time) = self.called.and_then(|cell| self.cells.get_mut(cell)) {
            time.calls += 1;
            time.wall += call.total_wall_ns.duration();
        }
        if self.bar.is_hidden() {
            return;
        }
        let (made, all) = calls(plan, recorded);
        self.bar.set_length(all);
        self.bar.set_position(made);
        if let Some(rate) = rate(call) {
            self.bar.set_prefix(rate);
        }
    }
}

/// Calls made, and those that there will be at most.
fn calls(plan: &Plan, recorded: &Recorded) -> (u64, u64) {
    let cells = || (0..plan.cells.len()).map(|cell| recorded.cell(cell));
    let most: u64 =
        cells().map(|cell| u64::from(if cell.stopped { cell.timed } else { plan.division().most_calls() })).sum();
    let timed: u64 = cells().map(|cell| u64::from(cell.timed)).sum();
    let made = u64::from(recorded.calls());
    (made, made + most - timed)
}

/// What is called, behind the time left: a terminal cuts off the end of a line, and names may be long.
fn after_time_left(left: Option<Nanos>, called: String) -> String {
    match left {
        Some(left) => format!("{left} left · {called}"),
        None => called,
    }
}

/// Decode rate of a call, for people.
fn rate(call: &CallRecord) -> Option<String> {
    let decode = call.spans.iter().find(|s| s.phase == Phase::KvDecode)?;
    let tokens = f64::from(call.tokens.decode_steps_timed * call.batch);
    let seconds = decode.duration().as_secs();
    (seconds > 0.0).then(|| format!("{:.0} tok/s", tokens / seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::LoadTask;

    fn load(session: usize) -> Task {
        Task::Load(LoadTask { session, session_index: 0, evict: Vec::new(), load_index: 0, residency_id: 0, round: 0 })
    }

    #[test]
    fn the_time_left_stands_before_names_that_may_be_cut_off() {
        let called = || "ort-cpu × gpt2-100m × medium × 4 steps: timed".to_owned();
        let shown = after_time_left(Some(Nanos::from(Duration::from_secs(90))), called());
        assert!(shown.ends_with(&format!(" left · {}", called())), "{shown}");
        assert_eq!(after_time_left(None, called()), called());
    }

    #[test]
    fn a_log_has_every_first_load_and_otherwise_a_line_every_few_seconds() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut log = Log::new(false, begin);
        let told =
            [(load(0), 0), (load(0), 1), (load(1), 2), (load(0), 11), (load(0), 12), (load(1), 13), (load(0), 22)];
        let told: Vec<bool> = told.into_iter().map(|(task, seconds)| log.is_due(&task, at(seconds))).collect();
        assert_eq!(told, [true, false, true, false, true, false, true]);
        let mut quick = Log::new(true, begin);
        assert!(!quick.is_due(&load(0), at(9)) && quick.is_due(&load(1), at(10)));
    }
}
