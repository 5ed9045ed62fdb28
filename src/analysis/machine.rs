//! `machine.csv`: the machine's own speed while the run went on.

use std::collections::BTreeMap;

use crate::record::ReferenceWhen;
use crate::stats::LEVEL;
use crate::stats::median::{Median, located};
use crate::store::Recording;
use crate::terms::Kernel;
use crate::units::Bytes;

use super::columns::columns;
use super::table::{Sources, Table};

columns! {
    /// One kernel with one number of threads, at one moment of the run.
    pub struct MachineRow {
        /// Number of the measurement in the run, from 0.
        reference: u32,
        /// When in the run.
        when: ReferenceWhen,
        /// Process that measured, from 0.
        epoch: u32,
        /// When it began, on the clock of `epoch`.
        begin_ns: u64,
        /// What was measured.
        kernel: Kernel,
        /// How many threads worked.
        threads: u32,
        /// Repetitions.
        n: usize,
        /// Their median: bytes per second of the memory kernels, floating-point operations per second of `compute`.
        /// Unit: 1/s.
        per_second: f64,
        /// The same ÷ the median of all of the run's with this kernel and these threads.
        /// Unit: ratio.
        relative: f64,
        /// Share of all processors' time that other programs used meanwhile. `None`: not told.
        /// Unit: fraction.
        foreign_cpu: Option<f64>,
    }
}

/// `analysis/machine.csv`.
pub struct MachineSpeed;

impl Table for MachineSpeed {
    type Row = MachineRow;
    const FILE: &'static str = "analysis/machine.csv";
    const ABOUT: &'static str =
        "The machine's own speed by reference kernels, measured while engines were quiet, in the run's order.";

    fn derive(from: &Sources<'_>) -> Vec<MachineRow> {
        let of_run = Speeds::of(from.recording);
        let mut rows = Vec::new();
        for reference in from.recording.references() {
            for speed in &reference.speeds {
                let usual = of_run.with(speed.kernel, speed.threads).map(|usual| usual.value);
                let Some((found, usual)) = located(&speed.per_second, LEVEL).zip(usual) else { continue };
                rows.push(MachineRow {
                    reference: reference.reference_index,
                    when: reference.when,
                    epoch: reference.epoch,
                    begin_ns: reference.begin_ns.0,
                    kernel: speed.kernel,
                    threads: speed.threads,
                    n: speed.per_second.len(),
                    per_second: found.value,
                    relative: found.value / usual,
                    foreign_cpu: reference.foreign_cpu,
                });
            }
        }
        rows
    }
}

/// The machine's own speed over a whole run.
#[derive(Debug, Clone, Default)]
pub(super) struct Speeds {
    located: BTreeMap<(Kernel, u32), Median>,
    /// The caches of the last level together. `None`: not told.
    pub(super) last_level_cache: Option<Bytes>,
}

impl Speeds {
    /// Every repetition of the run together. Empty: it measured none.
    pub(super) fn of(recording: &Recording) -> Self {
        let mut all: BTreeMap<(Kernel, u32), Vec<f64>> = BTreeMap::new();
        let mut last_level_cache = None;
        for reference in recording.references() {
            last_level_cache = last_level_cache.or(reference.last_level_cache_bytes);
            for speed in &reference.speeds {
                all.entry((speed.kernel, speed.threads)).or_default().extend(&speed.per_second);
            }
        }
        let located = all.into_iter().filter_map(|(what, rates)| Some((what, located(&rates, LEVEL)?)));
        Self { located: located.collect(), last_level_cache }
    }

    /// Of one kernel with so many threads. `None`: not measured.
    pub(super) fn with(&self, kernel: Kernel, threads: u32) -> Option<Median> {
        self.located.get(&(kernel, threads)).copied()
    }

    /// Of one kernel with the threads of an engine; where those are not known or were not measured, the fastest.
    pub(super) fn roof(&self, kernel: Kernel, threads: Option<u32>) -> Option<Median> {
        let same = threads.and_then(|threads| self.with(kernel, threads));
        let all = self.located.iter().filter(|((of, _), _)| *of == kernel).map(|(_, median)| *median);
        same.or_else(|| all.max_by(|a, b| a.value.total_cmp(&b.value)))
    }
}
