//! Cells of one backend and phase together.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::analysis::engines::{Asked, Judged, Rule, floor_ms, judge};
use crate::stats::log_estimate::LogEstimate;
use crate::stats::summary::geometric_mean;
use crate::stats::{InputError, LEVEL};
use crate::terms::Mode;

use super::allowance::Allowance;
use super::cells::Compared;
use super::effect::{Alongside, Basis, Pair, effects};
use super::sessions::Sessions;
use super::verdict::{Settings, Verdict};

/// One backend in one phase, over its cells. `None` in a figure: no cell is compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupRow {
    /// Backend, the baseline's where two backends are compared.
    pub backend: String,
    /// The candidate's backend, where it is another one.
    pub backend_b: Option<String>,
    /// What is timed.
    pub mode: Mode,
    /// Its cells.
    pub cells: usize,
    /// Those of them that are compared.
    pub compared: usize,
    /// How many of the cells have each verdict; none that no cell has.
    pub verdicts: BTreeMap<Verdict, usize>,
    /// Geometric mean of the ratios of the cells compared, as they stand by themselves. They are these and no sample of others.
    pub ratio: Option<f64>,
    /// Lower end of its 95 % interval; sessions are what varies, and those of one model are shared by its cells. Never surer than the
    /// cells' own intervals make it; of one cell that cell's.
    pub ratio_low: Option<f64>,
    /// Upper end.
    pub ratio_high: Option<f64>,
    /// What is said of that mean, judged among all groups; of one cell what is said of that.
    pub verdict: Verdict,
    /// Whether it is the same by the floor alone, whatever its ratio.
    pub below_floor: bool,
}

/// One row per backend and phase, in the cells' order.
///
/// # Errors
/// Never for what a run folder holds.
pub fn rows(
    cells: &[Compared],
    settings: &Settings,
    allowance: Option<&Allowance>,
) -> Result<Vec<GroupRow>, InputError> {
    let groups = of(cells);
    let asked: Vec<Option<Asked>> = groups.iter().map(|group| asked(group, allowance)).collect();
    let mut judged = judge(&asked.iter().copied().flatten().collect::<Vec<_>>(), settings.rule)?.into_iter();
    let rows = groups.iter().zip(asked).map(|(group, asked)| {
        let found = asked.and_then(|asked| Some((asked, judged.next()?)));
        row(group, found, settings.rule)
    });
    Ok(rows.collect())
}

/// Cells by backend and phase, in the cells' order.
pub(super) fn of(cells: &[Compared]) -> Vec<Vec<&Compared>> {
    let mut groups: Vec<Vec<&Compared>> = Vec::new();
    for cell in cells {
        match groups.iter_mut().find(|group| key(group[0]) == key(cell)) {
            Some(group) => group.push(cell),
            None => groups.push(vec![cell]),
        }
    }
    groups
}

fn key(cell: &Compared) -> (&str, Mode) {
    (&cell.row.backend, cell.row.mode)
}

fn asked(group: &[&Compared], allowance: Option<&Allowance>) -> Option<Asked> {
    let first_ms: Vec<f64> =
        group.iter().filter(|cell| cell.effect.is_some()).filter_map(|cell| cell.row.first_ms()).collect();
    Some(Asked {
        ratio: mean(group, allowance)?,
        first_ms: geometric_mean(&first_ms)?,
        floor_ms: floor_ms(group.first()?.row.mode),
    })
}

fn row(group: &[&Compared], found: Option<(Asked, Judged)>, rule: Rule) -> GroupRow {
    let first = &group[0].row;
    let interval = found.and_then(|(asked, _)| asked.ratio.interval(LEVEL));
    let mut verdicts = BTreeMap::new();
    for cell in group {
        *verdicts.entry(cell.row.verdict).or_default() += 1;
    }
    let verdict = found.map_or(Verdict::NotComparable, |(_, judged)| known(group, judged.verdict.into()));
    let by_floor = found.is_some_and(|(asked, judged)| asked.is_same_by_floor(judged.verdict, rule));
    GroupRow {
        backend: first.backend.clone(),
        backend_b: group.iter().find_map(|cell| cell.row.backend_b.clone()),
        mode: first.mode,
        cells: group.len(),
        compared: group.iter().filter(|cell| cell.effect.is_some()).count(),
        verdicts,
        ratio: found.map(|(asked, _)| asked.ratio.value()),
        ratio_low: interval.map(|interval| interval.low),
        ratio_high: interval.map(|interval| interval.high),
        verdict,
        below_floor: verdict == Verdict::Same && by_floor,
    }
}

/// What may be said of a mean whose cells stand as they do: no more than of them. One that is not comparable makes the mean so.
fn known(group: &[&Compared], verdict: Verdict) -> Verdict {
    let compared: Vec<&Compared> = group.iter().copied().filter(|cell| cell.effect.is_some()).collect();
    if let [only] = compared.as_slice() {
        return only.row.verdict;
    }
    match verdict.direction() {
        _ if rests_on_one_session(group) => Verdict::Undecided,
        Some(_) if compared.iter().any(|cell| cell.row.verdict == Verdict::NotComparable) => Verdict::NotComparable,
        Some(slower) if group.iter().any(|cell| cell.row.doubted) => Verdict::extent_open(slower),
        _ => verdict,
    }
}

fn rests_on_one_session(group: &[&Compared]) -> bool {
    group.iter().filter_map(|cell| cell.effect.as_ref()).any(|(effect, ..)| effect.basis == Basis::OneSession)
}

/// Geometric mean of the ratios of cells that are compared, each as it is by itself, with its error: what it varies by over the
/// sessions that its cells have in common, and never less than the cells' own errors make of it. Of one cell it is that cell's.
/// `None`: none is compared.
#[must_use]
pub fn mean(cells: &[&Compared], allowance: Option<&Allowance>) -> Option<LogEstimate> {
    let compared: Vec<&Compared> = cells.iter().copied().filter(|cell| cell.effect.is_some()).collect();
    let ratios: Vec<LogEstimate> = compared.iter().copied().filter_map(ratio).collect();
    let independent = LogEstimate::mean(&ratios)?;
    let mean = match ratios.as_slice() {
        [only] => *only,
        _ => {
            let models = by_model(&compared);
            let shared = of_common_sessions(&models).or_else(|| of_dependent_cells(&models))?;
            independent.or_wider(LogEstimate { ln: independent.ln, ..shared })
        }
    };
    // What the machine does hits all cells alike: more of them do not make it smaller.
    Some(mean.with_error(allowance.map_or(0.0, |allowance| allowance.ln) * std::f64::consts::SQRT_2))
}

fn ratio(cell: &Compared) -> Option<LogEstimate> {
    cell.effect.as_ref().map(|(effect, ..)| effect.ratio)
}

/// Cells of one model share their processes and are no independent witnesses.
fn by_model<'c>(cells: &[&'c Compared]) -> Vec<Vec<&'c Compared>> {
    let mut models: BTreeMap<&str, Vec<&Compared>> = BTreeMap::new();
    for &cell in cells {
        models.entry(&cell.row.model).or_default().push(cell);
    }
    models.into_values().collect()
}

/// The mean over models, from the sessions that all cells of a model have, each of them as one value. `None`: some cells rest on
/// one session, or have no session in common.
fn of_common_sessions(models: &[Vec<&Compared>]) -> Option<LogEstimate> {
    let in_blocks = models.iter().flatten().any(|cell| {
        let effect = cell.effect.as_ref();
        effect.is_some_and(|(effect, ..)| effect.basis == Basis::Blocks)
    });
    let mut sides = Vec::new();
    for of_model in models {
        let a = together(of_model.iter().filter_map(|cell| cell.effect.as_ref()).map(|(_, a, _)| a))?;
        let b = together(of_model.iter().filter_map(|cell| cell.effect.as_ref()).map(|(_, _, b)| b))?;
        sides.push((a, b));
    }
    let alongside = if in_blocks { Alongside::Sessions } else { Alongside::Nothing };
    let pairs: Vec<Pair<'_>> = sides.iter().map(|(a, b)| Pair { group: 0, a, b, alongside }).collect();
    // With one session a side there is one value a side, and no error.
    let found = effects(&pairs).ok()?;
    if found.iter().any(|effect| effect.basis == Basis::OneSession) {
        return None;
    }
    let of_models: Vec<LogEstimate> = found.iter().map(|effect| effect.ratio).collect();
    over_models(models, &of_models)
}

/// The mean over models, where cells of one may have all of their errors in common. `None`: there is no cell.
fn of_dependent_cells(models: &[Vec<&Compared>]) -> Option<LogEstimate> {
    let of_model = |cells: &Vec<&Compared>| {
        let ratios: Vec<LogEstimate> = cells.iter().copied().filter_map(ratio).collect();
        LogEstimate::mean_of_dependent(&ratios)
    };
    let of_models: Vec<LogEstimate> = models.iter().map(of_model).collect::<Option<_>>()?;
    over_models(models, &of_models)
}

/// Models together, each with as much weight as it has cells, and independent of the others. `None`: there is none.
fn over_models(models: &[Vec<&Compared>], means: &[LogEstimate]) -> Option<LogEstimate> {
    let least_df = means.iter().map(|mean| mean.df).reduce(f64::min)?;
    let cells = models.iter().map(Vec::len).sum::<usize>() as f64;
    let (mut ln, mut variance, mut by_df) = (0.0, 0.0, 0.0);
    for (mean, of_model) in means.iter().zip(models) {
        let weight = of_model.len() as f64 / cells;
        let own = (weight * mean.standard_error).powi(2);
        ln += weight * mean.ln;
        variance += own;
        by_df += own * own / mean.df;
    }
    let df = if by_df > 0.0 { variance * variance / by_df } else { least_df };
    Some(LogEstimate { ln, standard_error: variance.sqrt(), df })
}

/// Cells of one model as one: in every session that all of them have, the mean over cells. `None`: there is none.
fn together<'a>(cells: impl Iterator<Item = &'a Sessions>) -> Option<Sessions> {
    let means: Vec<BTreeMap<u32, f64>> = cells.map(Sessions::means).collect();
    let n = means.len() as f64;
    let indices = |cell: &BTreeMap<u32, f64>| cell.keys().copied().collect::<BTreeSet<u32>>();
    let common = means.iter().map(indices).reduce(|a, b| &a & &b)?;
    let mean = |index: &u32| means.iter().filter_map(|cell| cell.get(index)).sum::<f64>() / n;
    let by_session = common.iter().map(|index| (*index, vec![mean(index).exp()])).collect();
    (!common.is_empty()).then_some(Sessions { by_session, stated: None })
}
