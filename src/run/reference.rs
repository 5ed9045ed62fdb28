//! The machine itself, measured between the calls of a run.

use std::collections::BTreeSet;

use crate::clock::Clock;
use crate::record::plan::{Plan, ReferencePlan};
use crate::record::{ReferenceRecord, ReferenceWhen, SpeedRecord};
use crate::schedule::ReferenceTask;
use crate::speed::{self, Effort, board, caches};
use crate::telemetry::meanwhile::Meanwhile;
use crate::terms::Kernel;
use crate::units::Bytes;

/// Which part of the memory that resident sessions may take is left to the buffer.
const OF_BUDGET: u64 = 4;

/// Repetitions on a board: its driver takes longer to start than they take.
const ON_BOARD: u32 = 3;

/// Measures it: once, with every number of threads that is asked for. Where there is no memory for the buffer, the record says
/// nothing of speed. Boards come last, in a process of their own, where the plan wants them.
pub(super) fn measure(
    plan: &Plan,
    rule: &ReferencePlan,
    task: ReferenceTask,
    epoch: u32,
    clock: &dyn Clock,
) -> ReferenceRecord {
    let caches = caches::here();
    let buffer = speed::buffer(&caches, None).0.min(plan.memory_budget_bytes.0 / OF_BUDGET);
    // As many as [`ReferencePlan::KERNELS`] says.
    let kernels = match task.when {
        ReferenceWhen::Begin => Kernel::OF_PROCESSOR.to_vec(),
        // What pages cost does not change on the way.
        ReferenceWhen::Border | ReferenceWhen::Between | ReferenceWhen::End => vec![Kernel::Memory, Kernel::Compute],
    };
    let effort = Effort { kernels, threads: threads(rule), repetitions: 1, time: crate::kernels::SHORTEST };
    let (beside, begin) = (Meanwhile::begin(), clock.now());
    let speeds = speed::measure(&effort, Bytes(buffer)).unwrap_or_default();
    let shares = beside.shares();
    let boards = if rule.boards { board::measure_apart(ON_BOARD, crate::kernels::SHORTEST) } else { Vec::new() };
    let end = clock.now();
    let speeds = speeds.into_iter();
    let record = |speed: speed::Speed| SpeedRecord {
        kernel: speed.kernel,
        threads: speed.threads,
        per_second: speed.per_second,
    };
    ReferenceRecord {
        reference_index: task.reference_index,
        when: task.when,
        epoch,
        begin_ns: begin,
        end_ns: end,
        buffer_bytes: Bytes(buffer),
        last_level_cache_bytes: caches::last_level(&caches),
        speeds: speeds.map(record).collect(),
        boards,
        foreign_cpu: shares.map(|shares| shares.foreign),
    }
}

/// One, those of the backends, and all that this process may use; none beyond these.
fn threads(rule: &ReferencePlan) -> Vec<u32> {
    let usable =
        std::thread::available_parallelism().map_or(1, |usable| u32::try_from(usable.get()).unwrap_or(u32::MAX));
    let counts: BTreeSet<u32> =
        rule.threads.iter().copied().chain([1, usable]).filter(|count| *count <= usable).collect();
    counts.into_iter().collect()
}
