//! `compile_outcome.csv`: whether to compile, prefill and decode judged apart.

use serde::{Deserialize, Serialize};

use super::audit::CompileAudit;
use crate::analysis::columns::columns;
use crate::analysis::engines::allowance_half_width;
use crate::analysis::table::{Sources, Table};
use crate::stats;
use crate::stats::summary::geometric_mean;
use crate::terms::Dtype;
use crate::terms::Mode;

use super::audit::CompileAuditRow;
use super::cache::CacheState;

columns! {
    /// One backend's compiler in one phase against the same cells uncompiled.
    pub struct CompileOutcomeRow {
        /// Backend name.
        backend: String,
        /// Element type.
        dtype: Dtype,
        /// What is timed.
        mode: Mode,
        /// The compiler asked for.
        backend_requested: String,
        /// Backend it is judged against. `None`: the run has no such cell.
        reference: Option<String>,
        /// Cells that asked for the compiler.
        n_cells: usize,
        /// Of these, proven to have run compiled in every timed call that counts.
        n_proven: usize,
        /// Of these, with a ratio: what the figures below are made from.
        n_compared: usize,
        /// Cells whose interval lies below 1.
        n_faster: usize,
        /// Cells whose interval lies above 1.
        n_slower: usize,
        /// Geometric mean of the cells' ratios, compiled ÷ not. `None`: none compared.
        /// Unit: ratio.
        ratio: Option<f64>,
        /// Lower end of its 95 % t interval over cells; of the one cell's own interval where there is but one.
        /// Source: Student's t over the logarithms of the cells' ratios, wider by what processes of one engine differ by where one of each was measured.
        /// Unit: ratio.
        ratio_low: Option<f64>,
        /// Upper end.
        /// Unit: ratio.
        ratio_high: Option<f64>,
        /// Geometric mean over cells of served p95 ÷ the reference's. `None`: a cell has fewer than 20 calls.
        /// Unit: ratio.
        p95_ratio: Option<f64>,
        /// The same for p99. `None`: a cell has fewer than 100 calls.
        /// Unit: ratio.
        p99_ratio: Option<f64>,
        /// Compilations inside timed calls.
        recompiles_in_timed_calls: u64,
        /// Time the compiler took, in compile steps and in calls; of every cell's coldest load.
        compile_ms: f64,
        /// How the compiler found its cache on disk meanwhile.
        cache: CacheState,
        /// Most calls that a cell needs to earn back what is charged to it. `None`: one never does, its compile time is no cold
        /// one, or none was compared.
        break_even_calls_max: Option<u64>,
        /// Whether to compile.
        verdict: CompileVerdict,
    }
}

/// Whether compiling a phase pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompileVerdict {
    /// The interval lies below 1: steady calls are faster.
    Faster,
    /// The interval lies above 1.
    Slower,
    /// The interval includes 1.
    NotResolved,
    /// There is nothing to compare with.
    NoReference,
    /// A cell is not proven to have run compiled.
    NotProven,
}

impl CompileVerdict {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::NotResolved => "not resolved",
            Self::NoReference => "no reference",
            Self::NotProven => "not proven",
        }
    }
}

/// `analysis/compile_outcome.csv`.
pub struct CompileOutcome;

impl Table for CompileOutcome {
    type Row = CompileOutcomeRow;
    const FILE: &'static str = "analysis/compile_outcome.csv";
    const ABOUT: &'static str = "Whether to compile, per backend, element type and mode, in the audit's order.";

    fn derive(from: &Sources<'_>) -> Vec<CompileOutcomeRow> {
        let compile_audit = from.rows::<CompileAudit>();
        let mut keys = Vec::new();
        for row in compile_audit.iter() {
            let key = (row.key.backend.as_str(), row.key.dtype, row.mode);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let of = |key: &(&str, Dtype, Mode)| {
            let same = |row: &&CompileAuditRow| (row.key.backend.as_str(), row.key.dtype, row.mode) == *key;
            compile_audit.iter().filter(same).collect::<Vec<_>>()
        };
        keys.iter().map(|key| outcome(&of(key))).collect()
    }
}

fn outcome(cells: &[&CompileAuditRow]) -> CompileOutcomeRow {
    let first = cells[0];
    let proven: Vec<&CompileAuditRow> = cells.iter().copied().filter(|cell| cell.backend_actual.is_some()).collect();
    let compared: Vec<&CompileAuditRow> = proven.iter().copied().filter(|cell| cell.ratio.is_some()).collect();
    let ratios: Vec<f64> = compared.iter().filter_map(|cell| cell.ratio).collect();
    let interval = match compared[..] {
        [only] => only.ratio_low.zip(only.ratio_high),
        _ => {
            let logs: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
            let estimate = stats::interval::mean(&logs).ok();
            estimate.map(|mean| with_processes(mean, &compared))
        }
    };
    let break_even: Option<Vec<u64>> = compared.iter().map(|cell| cell.break_even_calls).collect();
    CompileOutcomeRow {
        backend: first.key.backend.clone(),
        dtype: first.key.dtype,
        mode: first.mode,
        backend_requested: first.backend_requested.clone(),
        reference: cells.iter().find_map(|cell| cell.reference.clone()),
        n_cells: cells.len(),
        n_proven: proven.len(),
        n_compared: compared.len(),
        n_faster: compared.iter().filter(|cell| cell.ratio_high < Some(1.0)).count(),
        n_slower: compared.iter().filter(|cell| cell.ratio_low > Some(1.0)).count(),
        ratio: geometric_mean(&ratios),
        ratio_low: interval.map(|(low, _)| low),
        ratio_high: interval.map(|(_, high)| high),
        p95_ratio: tails(&compared, |cell| (cell.served_p95_ms, cell.reference_served_p95_ms)),
        p99_ratio: tails(&compared, |cell| (cell.served_p99_ms, cell.reference_served_p99_ms)),
        recompiles_in_timed_calls: cells.iter().map(|cell| cell.recompiles_in_timed_calls).sum(),
        compile_ms: cells.iter().map(|cell| cell.compile_ms()).sum(),
        cache: CacheState::together(cells.iter().filter(|cell| cell.compile_ms() > 0.0).map(|cell| cell.cache))
            .unwrap_or(CacheState::Unknown),
        break_even_calls_max: break_even.and_then(|calls| calls.into_iter().max()),
        verdict: match interval {
            _ if proven.len() < cells.len() => CompileVerdict::NotProven,
            Some((_, high)) if high < 1.0 => CompileVerdict::Faster,
            Some((low, _)) if low > 1.0 => CompileVerdict::Slower,
            Some(_) => CompileVerdict::NotResolved,
            None if compared.is_empty() => CompileVerdict::NoReference,
            None => CompileVerdict::NotResolved,
        },
    }
}

/// The ends of the interval of the ratio of these cells, whose logarithm is estimated, with what processes of one engine differ
/// by: the cells share them, so that it does not get smaller with their number. Where sessions tell it nothing is added.
fn with_processes(mean: stats::interval::Estimate, cells: &[&CompileAuditRow]) -> (f64, f64) {
    let allowance = cells.iter().filter_map(|cell| cell.process_allowance_ln).reduce(f64::max).unwrap_or_default();
    let half_width = (mean.interval.high - mean.value).hypot(allowance_half_width(allowance));
    ((mean.value - half_width).exp(), (mean.value + half_width).exp())
}

/// Geometric mean over cells of a tail against the reference's.
fn tails(cells: &[&CompileAuditRow], of: impl Fn(&CompileAuditRow) -> (Option<f64>, Option<f64>)) -> Option<f64> {
    let ratios: Option<Vec<f64>> = cells
        .iter()
        .map(|cell| {
            let (own, theirs) = of(cell);
            Some(own? / theirs.filter(|theirs| *theirs > 0.0)?)
        })
        .collect();
    geometric_mean(&ratios?)
}
