//! `machine.csv`: the machine's own speed while the run went on.

use std::collections::BTreeMap;

use crate::record::{ReferenceRecord, ReferenceWhen, SpeedRecord};
use crate::stats::LEVEL;
use crate::stats::median::{Median, located};
use crate::store::Recording;
use crate::terms::{BoardSpeed, Kernel};
use crate::units::Bytes;

use super::columns::columns;
use super::table::{Sources, Table};

columns! {
    /// One kernel with one number of threads, or on one board, at one moment of the run.
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
        /// How many threads worked. `None`: it is no work of the processor's.
        threads: Option<u32>,
        /// Repetitions; 0 where it was not measured.
        n: usize,
        /// Their median: bytes per second of the memory kernels, floating-point operations per second of `compute`, bytes read and
        /// bytes written per second of `device_copy`. `None`: it was not measured.
        /// Unit: 1/s.
        per_second: Option<f64>,
        /// The same ÷ the median of all of the run's with this kernel and these threads, or on this board. `None`: as above.
        /// Unit: ratio.
        relative: Option<f64>,
        /// Share of all processors' time that other programs used meanwhile. `None`: not told, or it is the work of a board.
        /// Unit: fraction.
        foreign_cpu: Option<f64>,
        /// UUID of the NVIDIA board whose memory was measured. `None`: it is the work of the processor, or no board was reached.
        board: Option<String>,
        /// Why it was not measured. `None`: it was.
        not_measured: Option<String>,
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
            rows.extend(reference.speeds.iter().filter_map(|speed| of_processor(reference, speed, &of_run)));
            rows.extend(reference.boards.iter().map(|board| of_board(reference, board, &of_run)));
        }
        rows
    }
}

/// `None`: there are no repetitions.
fn of_processor(reference: &ReferenceRecord, speed: &SpeedRecord, of_run: &Speeds) -> Option<MachineRow> {
    let found = located(&speed.per_second, LEVEL)?;
    let usual = of_run.with(speed.kernel, speed.threads)?;
    Some(MachineRow {
        reference: reference.reference_index,
        when: reference.when,
        epoch: reference.epoch,
        begin_ns: reference.begin_ns.0,
        kernel: speed.kernel,
        threads: Some(speed.threads),
        n: speed.per_second.len(),
        per_second: Some(found.value),
        relative: Some(found.value / usual.value),
        foreign_cpu: reference.foreign_cpu,
        board: None,
        not_measured: None,
    })
}

fn of_board(reference: &ReferenceRecord, board: &BoardSpeed, of_run: &Speeds) -> MachineRow {
    let found = located(&board.per_second, LEVEL).map(|found| found.value);
    let usual = board.uuid.as_deref().and_then(|uuid| of_run.board(uuid));
    MachineRow {
        reference: reference.reference_index,
        when: reference.when,
        epoch: reference.epoch,
        begin_ns: reference.begin_ns.0,
        kernel: Kernel::DeviceCopy,
        threads: None,
        n: board.per_second.len(),
        per_second: found,
        relative: found.zip(usual).map(|(found, usual)| found / usual.copy.value),
        foreign_cpu: None,
        board: board.uuid.clone(),
        not_measured: board.not_measured.clone(),
    }
}

/// A board's memory over a whole run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Board {
    /// How fast it is copied, read and written bytes together.
    pub(super) copy: Median,
    /// The cache of the second level. `None`: not told.
    pub(super) l2: Option<Bytes>,
}

/// The machine's own speed over a whole run.
#[derive(Debug, Clone, Default)]
pub(super) struct Speeds {
    located: BTreeMap<(Kernel, u32), Median>,
    /// Boards by UUID; those of which there is a figure.
    boards: BTreeMap<String, Board>,
    /// The caches of the last level together. `None`: not told.
    pub(super) last_level_cache: Option<Bytes>,
}

impl Speeds {
    /// Every repetition of the run together. Empty: it measured none.
    pub(super) fn of(recording: &Recording) -> Self {
        let mut all: BTreeMap<(Kernel, u32), Vec<f64>> = BTreeMap::new();
        let mut on_boards: BTreeMap<String, (Vec<f64>, Option<Bytes>)> = BTreeMap::new();
        let mut last_level_cache = None;
        for reference in recording.references() {
            last_level_cache = last_level_cache.or(reference.last_level_cache_bytes);
            for speed in &reference.speeds {
                all.entry((speed.kernel, speed.threads)).or_default().extend(&speed.per_second);
            }
            for board in &reference.boards {
                let Some(uuid) = &board.uuid else { continue };
                let (rates, l2) = on_boards.entry(uuid.clone()).or_default();
                rates.extend(&board.per_second);
                *l2 = l2.or(board.l2_bytes);
            }
        }
        let boards = on_boards.into_iter().filter_map(|(uuid, (rates, l2))| {
            let copy = located(&rates, LEVEL)?;
            Some((uuid, Board { copy, l2 }))
        });
        let boards = boards.collect();
        let located = all.into_iter().filter_map(|(what, rates)| Some((what, located(&rates, LEVEL)?)));
        Self { located: located.collect(), boards, last_level_cache }
    }

    /// Of one kernel with so many threads. `None`: not measured.
    pub(super) fn with(&self, kernel: Kernel, threads: u32) -> Option<Median> {
        self.located.get(&(kernel, threads)).copied()
    }

    /// Of one board. `None`: not measured.
    pub(super) fn board(&self, uuid: &str) -> Option<Board> {
        self.boards.get(uuid).copied()
    }

    /// Of one kernel with the threads of an engine; where those are not known or were not measured, the fastest.
    pub(super) fn roof(&self, kernel: Kernel, threads: Option<u32>) -> Option<Median> {
        let same = threads.and_then(|threads| self.with(kernel, threads));
        let all = self.located.iter().filter(|((of, _), _)| *of == kernel).map(|(_, median)| *median);
        same.or_else(|| all.max_by(|a, b| a.value.total_cmp(&b.value)))
    }
}
