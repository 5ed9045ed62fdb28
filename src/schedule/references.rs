//! When the machine itself is measured: while engines are quiet, and for no more than a share of the run's time.

use super::task::{ReferenceTask, Task};
use crate::record::plan::{Plan, ReferencePlan};
use crate::record::{Line, ReferenceWhen};
use crate::units::Nanos;

/// What was measured of the machine so far, and when.
#[derive(Debug, Clone, Default)]
pub(super) struct References {
    /// Measurements of all processes.
    count: u32,
    /// Those of this process, and the time that they took.
    of_process: u32,
    spent: Nanos,
    /// End of the last one of this process.
    last_end: Nanos,
    /// Whether a call was made since.
    worked: bool,
    /// When the last line of this process ended; its clock begins with it.
    now: Nanos,
}

impl References {
    /// A process takes up the run, on a clock of its own.
    pub(super) fn open(&mut self) {
        *self = Self { count: self.count, ..Self::default() };
    }

    /// A call was made, or a procedure repeated.
    pub(super) fn work(&mut self) {
        self.worked = true;
    }

    /// The machine was measured.
    pub(super) fn measure(&mut self) {
        self.count += 1;
        self.of_process += 1;
        self.worked = false;
    }

    /// Takes the time of a line into account.
    pub(super) fn note(&mut self, line: &Line) {
        let end = match line {
            Line::Header(_)
            | Line::Opened(_)
            | Line::Imported(_)
            | Line::Stated(_)
            | Line::Decision(_)
            | Line::Finished(_) => return,
            Line::Load(load) => load.begin_ns + load.duration_ns,
            Line::Idle(idle) => idle.end_ns,
            Line::Call(call) => call.begin_ns + call.total_wall_ns,
            Line::Loop(looped) => looped.end_ns,
            Line::Reference(reference) => {
                self.spent = self.spent + reference.end_ns.since(reference.begin_ns);
                self.last_end = reference.end_ns;
                reference.end_ns
            }
        };
        self.now = Nanos(self.now.0.max(end.0));
    }

    /// Whether one more keeps within the share.
    #[expect(clippy::cast_precision_loss, reason = "2^53 ns is 104 days")]
    fn is_affordable(&self, rule: &ReferencePlan) -> bool {
        let usual = match self.of_process {
            0 => rule.takes(ReferencePlan::KERNELS.1).0 as f64,
            several => self.spent.0 as f64 / f64::from(several),
        };
        self.spent.0 as f64 + usual <= rule.share * self.now.0 as f64
    }
}

/// The measurement that is made before a task; `task` is `None` where nothing is left to do. `None`: none is due.
///
/// The first one of a process comes before anything is loaded, where the plan expects the run to be long enough for that.
/// Others, and the first one of a short run, keep within the plan's share of the time that has passed.
pub(super) fn before(plan: &Plan, references: &References, task: Option<&Task>) -> Option<ReferenceTask> {
    let rule = plan.reference.as_ref()?;
    let is_first = references.of_process == 0;
    let since = references.now.since(references.last_end);
    let when = match task {
        Some(Task::Load(_)) if is_first && rule.begins => ReferenceWhen::Begin,
        Some(Task::Load(_)) if references.worked => ReferenceWhen::Border,
        Some(Task::Call(_)) if references.worked && (is_first || since >= rule.every_ns) => ReferenceWhen::Between,
        None if references.worked => ReferenceWhen::End,
        _ => return None,
    };
    let due = when == ReferenceWhen::Begin || references.is_affordable(rule);
    due.then_some(ReferenceTask { reference_index: references.count, when })
}
