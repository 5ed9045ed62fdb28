//! A run as `compare` and `rerun` read it.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use crate::analysis::compile::CompileAudit;
use crate::analysis::imported::StatedFigures;
use crate::analysis::metrics::Metrics;
use crate::analysis::{CompileAuditRow, Sources};
use crate::commands::CommandError;
use crate::comparison::kernels::KernelReading;
use crate::comparison::{CellName, Measured, RunSide, SideCell, Taking};
use crate::record::given_up::{TimedCalls, given_up_of};
use crate::record::{Line, ReferenceRecord, SpeedRecord};
use crate::run_folder::UnreadRun;
use crate::stats::summary::median;
use crate::store::{Recording, StoreError};
use crate::terms::{BoardSpeed, Kernel};

/// A run that was opened, with what a comparison reads of it.
#[derive(Clone)]
pub(in crate::commands) struct Opened {
    pub(in crate::commands) name: String,
    pub(in crate::commands) run: Arc<UnreadRun>,
    pub(in crate::commands) measured: Measured,
    audit: Vec<CompileAuditRow>,
    cells: Vec<SideCell>,
    kernels: Vec<KernelReading>,
    pub(super) finished: bool,
}

/// Opens a run.
pub(in crate::commands) fn open(path: &Path) -> Result<Opened, CommandError> {
    Ok(opened(path, false)?)
}

/// Opens several, side by side: nearly all of the time goes into reading their records.
pub(in crate::commands) fn open_each(paths: &[PathBuf]) -> Result<Vec<Opened>, CommandError> {
    let at_once = thread::available_parallelism().map_or(1, NonZero::get);
    let mut found = Vec::with_capacity(paths.len());
    for some in paths.chunks(at_once) {
        let some: Vec<Result<Opened, StoreError>> = thread::scope(|scope| {
            let begun: Vec<_> = some.iter().map(|path| scope.spawn(move || opened(path, false))).collect();
            begun.into_iter().map(|opening| opening.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        found.extend(some);
    }
    Ok(found.into_iter().collect::<Result<_, _>>()?)
}

/// Opens a run that was slowed on purpose, for whoever slowed it: what was slowed counts as if it had been measured.
pub(in crate::commands) fn open_planted(path: &Path) -> Result<Opened, CommandError> {
    Ok(opened(path, true)?)
}

fn opened(path: &Path, planted: bool) -> Result<Opened, StoreError> {
    let run = UnreadRun::open(path, planted)?;
    let (mut taking, mut timed) = (Taking::new(&run.plan, &run.manifest, planted), TimedCalls::default());
    let recording = run.record(&mut |line| {
        let Line::Call(call) = line else { return true };
        taking.call(call);
        timed.count(call, &run.plan);
        // What a compiler did is judged over all calls of a cell.
        !call.compile.is_empty()
    })?;
    let sources = Sources::new(&recording, &run.plan, &run.manifest, &[]);
    let audit = sources.rows::<CompileAudit>().to_vec();
    for row in sources.rows::<Metrics>().iter().filter(|row| row.is_imported()) {
        taking.row(row);
    }
    for row in sources.rows::<StatedFigures>().iter() {
        taking.stated(row);
    }
    drop(sources);
    for given_up in given_up_of(&recording.lines, &run.plan, &timed) {
        taking.given_up(&given_up);
    }
    let measured = taking.done();
    let cells = measured.cells(&run.plan, &audit, run.manifest.imported.is_some());
    let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    let (kernels, finished) = (kernels(&recording), recording.finished());
    Ok(Opened { name, run: Arc::new(run), measured, audit, cells, kernels, finished })
}

/// What the reference kernels did during a run: one reading per kernel each time they ran.
fn kernels(recording: &Recording) -> Vec<KernelReading> {
    let of = |reference: &ReferenceRecord| {
        let on_processor = reference.speeds.iter().filter_map(on_processor);
        on_processor.chain(reference.boards.iter().filter_map(on_board)).collect::<Vec<_>>()
    };
    recording.references().flat_map(of).collect()
}

fn on_processor(speed: &SpeedRecord) -> Option<KernelReading> {
    let threads = if speed.threads == 1 { "thread" } else { "threads" };
    let kernel = format!("{}, {} {threads}", speed.kernel.as_str(), speed.threads);
    Some(KernelReading { kernel, board: None, rate: rate(&speed.per_second)? })
}

/// `None`: it was not measured, or nothing tells it from others.
fn on_board(speed: &BoardSpeed) -> Option<KernelReading> {
    let uuid = speed.uuid.clone()?;
    // Boards of one name are told apart by the beginning of what the driver calls them.
    let name = speed.name.as_deref().map_or_else(String::new, |name| format!("{name} "));
    let kernel = format!("{}, {name}{uuid:.12}", Kernel::DeviceCopy.as_str());
    Some(KernelReading { kernel, board: Some(uuid), rate: rate(&speed.per_second)? })
}

/// The median of some repetitions. `None`: there is none.
fn rate(per_second: &[f64]) -> Option<f64> {
    median(per_second).filter(|rate| *rate > 0.0)
}

impl Opened {
    pub(in crate::commands) fn side(&self) -> RunSide<'_> {
        RunSide {
            name: &self.name,
            plan: &self.run.plan,
            manifest: &self.run.manifest,
            finished: self.finished,
            cells: &self.cells,
            kernels: &self.kernels,
        }
    }

    /// Its cells as a history follows them.
    pub(super) fn cell_names(&self) -> BTreeSet<CellName> {
        let run = self.side();
        self.cells.iter().filter_map(|cell| CellName::of_side(cell, &run)).collect()
    }

    /// The same with what other runs of the same plan measured, as further sessions.
    pub(in crate::commands) fn with<'o>(mut self, more: impl IntoIterator<Item = &'o Self>) -> Self {
        for other in more {
            self.measured.extend(&other.measured);
            self.kernels.extend(other.kernels.iter().cloned());
        }
        self.cells = self.measured.cells(&self.run.plan, &self.audit, self.run.manifest.imported.is_some());
        self
    }

    /// Whether every cell was measured in one session.
    pub(super) fn has_one_session(&self) -> bool {
        self.measured.sessions() == 1
    }

    /// Whether the cells that this and another run of the plan have are the same in all that a cell is.
    pub(super) fn has_cells_of(&self, other: &Self) -> bool {
        let (run, other_run) = (self.side(), other.side());
        let mut both = self.cells.iter().filter_map(|own| {
            let same = |theirs: &&SideCell| theirs.cell.id == own.cell.id && theirs.mode == own.mode;
            let theirs = other.cells.iter().find(same)?;
            CellName::of_side(own, &run).zip(CellName::of_side(theirs, &other_run))
        });
        both.all(|(own, theirs)| own == theirs)
    }
}

/// Whether two folders are one, or one is a copy of the other.
pub(super) fn is_same_run(a: &UnreadRun, b: &UnreadRun) -> bool {
    let real = |run: &UnreadRun| run.path.canonicalize().ok();
    (real(a).is_some() && real(a) == real(b)) || a.manifest.is_of_same_run(&b.manifest)
}
