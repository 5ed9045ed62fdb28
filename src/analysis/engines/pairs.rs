//! `engine_pairs.csv`: two engines in one phase, over all cells.

use crate::analysis::aggregate::distinct;
use crate::analysis::columns::columns;
use crate::analysis::table::{Sources, Table};
use crate::stats::LEVEL;
use crate::stats::log_estimate::LogEstimate;
use crate::stats::summary::geometric_mean;
use crate::terms::{Dtype, Mode};

use super::allowance::allowed_for;
use super::cells::{EngineComparison, EngineComparisonRow};
use super::verdict::{Asked, EngineVerdict, Judged, Rule, floor_ms, judge};

columns! {
    /// Two engines in one phase, over the cells of `engine_comparison.csv` that are compared. The cells are these and no
    /// sample of others: how they differ from each other is in no interval.
    pub struct EnginePairsRow {
        /// The engine that the plan names first.
        backend_a: String,
        /// The other engine.
        backend_b: String,
        /// Element type of the sessions. `None`: nothing is compared.
        dtype: Option<Dtype>,
        /// What is timed.
        mode: Mode,
        /// Cells that both were asked for.
        n_cells: usize,
        /// Of these, with a ratio.
        n_compared: usize,
        /// Models of those with a ratio, joined by `;`.
        models: String,
        /// Cells in which the other is faster, extent open or not.
        n_faster: usize,
        /// Cells in which the other is slower, extent open or not.
        n_slower: usize,
        /// Cells in which both are the same.
        n_same: usize,
        /// Of the cells with a ratio, those whose calls are paired by round.
        n_paired: usize,
        /// Time of the other ÷ time of the first: geometric mean of the cells' ratios. `None`, here and below: nothing is
        /// compared.
        /// Unit: ratio.
        ratio: Option<f64>,
        /// Lower end of its 95 % interval.
        /// Source: Student's t on the mean of the cells' logarithms with their own errors, degrees of freedom after Welch and Satterthwaite; the allowance for one process of each engine is not made smaller by the number of cells.
        /// Unit: ratio.
        ratio_low: Option<f64>,
        /// Upper end.
        /// Unit: ratio.
        ratio_high: Option<f64>,
        /// Smallest ratio above 1 that would have been told from 1 with 95 % power, this one row apart.
        /// Source: as in `engine_comparison.csv`.
        /// Unit: ratio.
        detectable_ratio: Option<f64>,
        /// p of both taking the same time.
        /// Unit: probability.
        p: Option<f64>,
        /// `p`, corrected for all rows of this table.
        /// Source: Holm 1979.
        /// Unit: probability.
        p_holm: Option<f64>,
        /// What the other is to the first over all cells, judged as in `engine_comparison.csv` among the rows of this table.
        verdict: EngineVerdict,
        /// Why cells are not compared, each reason once, joined by `;`. `None`: all are.
        reasons: Option<String>,
    }
}

/// `analysis/engine_pairs.csv`.
pub struct EnginePairs;

impl Table for EnginePairs {
    type Row = EnginePairsRow;
    const FILE: &'static str = "analysis/engine_pairs.csv";
    const ABOUT: &'static str =
        "Every pair of engines with cells in common, once per phase and element type, in the plan's order.";

    fn derive(from: &Sources<'_>) -> Vec<EnginePairsRow> {
        let cells = from.rows::<EngineComparison>();
        judged_pairs([cells.as_slice()].into_iter(), from.plan.session_count.is_several())
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Pairs of engines over the cells of each group, judged among those of all groups together.
pub(super) fn judged_pairs<'a>(
    groups: impl Iterator<Item = &'a [EngineComparisonRow]>,
    of_sessions: bool,
) -> Vec<Vec<EnginePairsRow>> {
    let groups: Vec<Vec<Pair<'a>>> = groups.map(|cells| pairs(cells, of_sessions)).collect();
    let asked: Vec<Asked> = groups.iter().flatten().filter_map(|pair| pair.mean).collect();
    let mut judged = judge(&asked, Rule::default()).unwrap_or_default().into_iter();
    let mut row_of = |pair: &Pair<'a>| {
        let found = pair.mean.and_then(|mean| Some((mean.ratio, judged.next()?)));
        row(&pair.cells, found)
    };
    groups.iter().map(|pairs| pairs.iter().map(&mut row_of).collect()).collect()
}

/// Two engines in a phase.
struct Pair<'a> {
    /// Never empty.
    cells: Vec<&'a EngineComparisonRow>,
    /// `None`: nothing is compared.
    mean: Option<Asked>,
}

fn pairs(cells: &[EngineComparisonRow], of_sessions: bool) -> Vec<Pair<'_>> {
    let mut pairs: Vec<Pair<'_>> = Vec::new();
    for cell in cells {
        match pairs.iter_mut().find(|pair| same_pair(pair.cells[0], cell)) {
            Some(pair) => pair.cells.push(cell),
            None => pairs.push(Pair { cells: vec![cell], mean: None }),
        }
    }
    for pair in &mut pairs {
        pair.mean = mean(&pair.cells, of_sessions);
    }
    pairs
}

/// Whether two cells are of the same engines and phase; where the element type is not known, with others of that kind.
fn same_pair(a: &EngineComparisonRow, b: &EngineComparisonRow) -> bool {
    (&a.backend_a, &a.backend_b, a.mode, a.dtype) == (&b.backend_a, &b.backend_b, b.mode, b.dtype)
}

/// The mean ratio of the cells that are compared; of cells that share their sessions as unsure as one of them. `None`: none
/// is.
fn mean(cells: &[&EngineComparisonRow], of_sessions: bool) -> Option<Asked> {
    let ratios: Vec<LogEstimate> = cells.iter().filter_map(|cell| cell.known_ratio()).collect();
    let first_ms: Vec<f64> = cells.iter().filter_map(|cell| cell.first_ms()).collect();
    let allowance = cells.iter().filter_map(|cell| cell.process_allowance_ln).reduce(f64::max);
    let mean = if of_sessions { LogEstimate::mean_of_dependent(&ratios)? } else { LogEstimate::mean(&ratios)? };
    Some(Asked {
        ratio: allowed_for(mean, allowance),
        first_ms: geometric_mean(&first_ms)?,
        floor_ms: floor_ms(cells.first()?.mode),
    })
}

fn row(cells: &[&EngineComparisonRow], found: Option<(LogEstimate, Judged)>) -> EnginePairsRow {
    let first = cells[0];
    let compared: Vec<&EngineComparisonRow> = cells.iter().copied().filter(|cell| cell.ratio.is_some()).collect();
    let count = |is: fn(&EngineComparisonRow) -> bool| compared.iter().filter(|cell| is(cell)).count();
    let reasons = distinct(cells.iter().filter_map(|cell| cell.reason.as_deref()));
    let interval = found.and_then(|(ratio, _)| ratio.interval(LEVEL));
    EnginePairsRow {
        backend_a: first.backend_a.clone(),
        backend_b: first.backend_b.clone(),
        dtype: first.dtype,
        mode: first.mode,
        n_cells: cells.len(),
        n_compared: compared.len(),
        models: distinct(compared.iter().map(|cell| cell.model.as_str())).join(";"),
        n_faster: count(|cell| cell.verdict.is_faster()),
        n_slower: count(|cell| cell.verdict.is_slower()),
        n_same: count(|cell| cell.verdict == EngineVerdict::Same),
        n_paired: count(|cell| cell.n_pairs.is_some()),
        ratio: found.map(|(ratio, _)| ratio.value()),
        ratio_low: interval.map(|interval| interval.low),
        ratio_high: interval.map(|interval| interval.high),
        detectable_ratio: found.and_then(|(ratio, _)| ratio.detectable()),
        p: found.map(|(_, judged)| judged.p),
        p_holm: found.map(|(_, judged)| judged.p_holm),
        verdict: found.map_or(EngineVerdict::NotCompared, |(_, judged)| judged.verdict),
        reasons: (!reasons.is_empty()).then(|| reasons.join("; ")),
    }
}
