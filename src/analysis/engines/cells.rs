//! `engine_comparison.csv`: every cell on two engines.

use std::collections::{BTreeMap, HashMap};

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};

use crate::analysis::aggregate::distinct;
use crate::analysis::columns::columns;
use crate::analysis::compile::CompileAudit;
use crate::analysis::metrics::Metrics;
use crate::analysis::table::{Sources, Table};
use crate::record::manifest::Manifest;
use crate::record::plan::Plan;
use crate::stats::compare::{self, Group};
use crate::stats::location::LOOKING;
use crate::stats::log_estimate::LogEstimate;
use crate::stats::mann_whitney::mann_whitney;
use crate::stats::summary::geometric_mean;
use crate::stats::{InputError, LEVEL};
use crate::terms::{Dtype, Mode, Order, Repetitions};

use super::allowance::{PROCESS_ALLOWANCE, allowed_for};
use super::by_session::{BySession, Pair, Pairing, by_session};
use super::side::{FEWEST_CALLS, Question, Side, sides};
use super::verdict::{Asked, EngineVerdict, Rule, floor_ms, judge};

columns! {
    /// One cell in one mode on two engines. Samples are calls of one process of each engine, and how processes of one engine
    /// differ is allowed for; unless cells were measured in several sessions, which then are what is compared.
    pub struct EngineComparisonRow {
        /// The engine that the plan names first.
        backend_a: String,
        /// The other engine.
        backend_b: String,
        /// Model name.
        model: String,
        /// Hash of the weights. `None`: not the same on both, or not measured.
        weights_id: Option<String>,
        /// Element type of the sessions. `None`: as `weights_id`.
        dtype: Option<Dtype>,
        /// Scenario name.
        scenario: String,
        /// Rows decoded together.
        batch: u32,
        /// Timed decode steps.
        gen_tokens: u32,
        /// What is timed.
        mode: Mode,
        /// Device or provider that the first ran on. `None`: not proven, or not the same for all calls.
        actual_a: Option<String>,
        /// The same of the other.
        actual_b: Option<String>,
        /// Calls of the first that may be compared: those that count, prove where they ran, and made every step asked for.
        n_a: usize,
        /// The same of the other.
        n_b: usize,
        /// How calls are set against each other. `None`: not compared.
        pairing: Option<Pairing>,
        /// Rounds, or sessions, that have a call of each, where such are paired. `None`: they are not.
        n_pairs: Option<usize>,
        /// What the first takes: the geometric mean of its calls, those without a partner left out where calls are paired.
        /// `None`, here and in all figures below: not compared.
        location_a_ms: Option<f64>,
        /// What the other takes.
        location_b_ms: Option<f64>,
        /// Time of the other ÷ time of the first: the ratio of the two locations.
        /// Unit: ratio.
        ratio: Option<f64>,
        /// Lower end of its 95 % interval.
        /// Source: Student's t on logarithms of the rounds' ratios, or Welch's on those of the calls; either corrected for lag-1 autocorrelation as in `summary_by_model_backend_mode.csv`, wider by 1.15 where the calls themselves decided how many there are. From several sessions on the means of theirs, with their variance moderated over the cells of the two engines and mode (Smyth 2004).
        /// Unit: ratio.
        ratio_low: Option<f64>,
        /// Upper end.
        /// Unit: ratio.
        ratio_high: Option<f64>,
        /// Standard error of the ratio's logarithm, without the allowance below.
        /// Unit: natural logarithm.
        standard_error_ln: Option<f64>,
        /// Degrees of freedom of that error.
        /// Unit: degrees of freedom.
        df: Option<f64>,
        /// What the logarithm of either side may be off by because one process of each engine was measured: a standard
        /// deviation, in the interval. `None`: sessions are compared, which tell it themselves.
        /// Unit: natural logarithm.
        process_allowance_ln: Option<f64>,
        /// Smallest ratio above 1 that would have been told from 1 with 95 % power at the interval's level, this one row apart.
        /// Source: critical value of t and the quantile of the power, times the error.
        /// Unit: ratio.
        detectable_ratio: Option<f64>,
        /// p of both taking the same time, by the ratio's own t.
        /// Unit: probability.
        p: Option<f64>,
        /// `p`, corrected for all rows that are compared.
        /// Source: Holm 1979.
        /// Unit: probability.
        p_holm: Option<f64>,
        /// `p`, as share of false alarms among all rows with a smaller one.
        /// Source: Benjamini and Hochberg 1995.
        /// Unit: probability.
        q: Option<f64>,
        /// p of equal mean logarithms; all calls of both sides, each taken as independent. `None`: or neither side varies.
        /// Source: Welch's t test.
        /// Unit: probability.
        welch_p: Option<f64>,
        /// p of equal distributions; the same samples.
        /// Source: Mann and Whitney, as SciPy's `mannwhitneyu`.
        /// Unit: probability.
        mann_whitney_p: Option<f64>,
        /// Median of all differences between a call of the other and one of the first; the same samples.
        /// Source: Hodges and Lehmann.
        shift_ms: Option<f64>,
        /// Lower end of its 95 % interval. `None`: or too few calls for one.
        /// Source: inverted Mann-Whitney test.
        shift_low_ms: Option<f64>,
        /// Upper end.
        shift_high_ms: Option<f64>,
        /// What the other is to the first. Faster or slower: by more than 3 % with Holm's correction for all rows, and by more
        /// than 20 µs a step or 100 µs a prefill. Extent open: the same, but perhaps by less than 3 %. Same: the 90 % interval
        /// lies within 3 %, or the difference below those floors.
        verdict: EngineVerdict,
        /// Why nothing is compared. `None`: it is.
        reason: Option<String>,
    }
}

impl EngineComparisonRow {
    /// A cell on two engines of which no call is known.
    #[must_use]
    pub fn uncompared(
        [backend_a, backend_b]: [&str; 2],
        model: &str,
        scenario: &str,
        batch: u32,
        gen_tokens: u32,
        mode: Mode,
    ) -> Self {
        Self {
            backend_a: backend_a.to_owned(),
            backend_b: backend_b.to_owned(),
            model: model.to_owned(),
            weights_id: None,
            dtype: None,
            scenario: scenario.to_owned(),
            batch,
            gen_tokens,
            mode,
            actual_a: None,
            actual_b: None,
            n_a: 0,
            n_b: 0,
            pairing: None,
            n_pairs: None,
            location_a_ms: None,
            location_b_ms: None,
            ratio: None,
            ratio_low: None,
            ratio_high: None,
            standard_error_ln: None,
            df: None,
            process_allowance_ln: None,
            detectable_ratio: None,
            p: None,
            p_holm: None,
            q: None,
            welch_p: None,
            mann_whitney_p: None,
            shift_ms: None,
            shift_low_ms: None,
            shift_high_ms: None,
            verdict: EngineVerdict::NotCompared,
            reason: None,
        }
    }

    /// The ratio with its error, the allowance aside. `None`: not compared.
    pub(super) fn known_ratio(&self) -> Option<LogEstimate> {
        Some(LogEstimate { ln: self.ratio?.ln(), standard_error: self.standard_error_ln?, df: self.df? })
    }

    /// What the first engine takes per decode step, or per prefill. `None`: not compared.
    pub(super) fn first_ms(&self) -> Option<f64> {
        Some(self.location_a_ms? / self.mode.units(self.gen_tokens))
    }
}

/// `analysis/engine_comparison.csv`.
pub struct EngineComparison;

impl Table for EngineComparison {
    type Row = EngineComparisonRow;
    const FILE: &'static str = "analysis/engine_comparison.csv";
    const ABOUT: &'static str = "Every cell that two engines were asked for, once per pair of engines and mode; pairs and cells in the plan's order. Prefill and decode together follow from the two apart and are not compared.";

    fn derive(from: &Sources<'_>) -> Vec<EngineComparisonRow> {
        let (metrics, audit) = (from.rows::<Metrics>(), from.rows::<CompileAudit>());
        let sides = sides(from, &metrics, &audit);
        let backends = distinct(sides.iter().map(|side| side.cell.session.backend.as_str()));
        let mut pairs: Vec<Pair<'_>> = Vec::new();
        for (place, first) in backends.iter().enumerate() {
            for second in &backends[place + 1..] {
                let of = |side: &&Side<'_>, backend: &str| side.cell.session.backend == backend;
                let seconds = sides.iter().rev().filter(|side| of(side, second));
                let asked: HashMap<Question<'_>, &Side<'_>> = seconds.map(|side| (side.question(), side)).collect();
                for a in sides.iter().filter(|side| of(side, first)) {
                    pairs.extend(asked.get(&a.question()).map(|b| (a, *b)));
                }
            }
        }
        let by_session =
            if from.plan.session_count.is_several() { by_session(from.plan, &pairs) } else { vec![None; pairs.len()] };
        let with_sessions = pairs.par_iter().zip(&by_session);
        let (plan, manifest) = (from.plan, from.manifest);
        let mut rows: Vec<EngineComparisonRow> =
            with_sessions.map(|(pair, known)| row(*pair, plan, manifest, known.as_ref())).collect();
        // No p is beyond 0 to 1, so that this cannot fail.
        judged(&mut rows).map_or_else(|_| Vec::new(), |()| rows)
    }
}

fn row((a, b): Pair<'_>, plan: &Plan, manifest: &Manifest, known: Option<&BySession>) -> EngineComparisonRow {
    let alike = a.measured_as.filter(|alike| b.measured_as == Some(*alike));
    let engines = [a, b].map(|side| side.cell.session.backend.as_str());
    let cell = a.cell;
    let mut row = EngineComparisonRow {
        weights_id: alike.map(|(weights_id, _)| weights_id.to_owned()),
        dtype: alike.map(|(_, dtype)| dtype),
        actual_a: a.actual(),
        actual_b: b.actual(),
        n_a: a.calls.len(),
        n_b: b.calls.len(),
        reason: a.differs_from(b, manifest),
        ..EngineComparisonRow::uncompared(
            engines,
            &cell.session.model,
            &cell.scenario,
            cell.batch,
            cell.gen_tokens,
            a.mode,
        )
    };
    if row.reason.is_none()
        && let Err(error) = measure(&mut row, a, b, plan, known)
    {
        row.reason = Some(error.to_string());
    }
    row
}

/// Fills in every figure that does not depend on other rows.
fn measure(
    row: &mut EngineComparisonRow,
    a: &Side<'_>,
    b: &Side<'_>,
    plan: &Plan,
    by_session: Option<&BySession>,
) -> Result<(), InputError> {
    let (all_a, all_b) = (a.latencies_ms(), b.latencies_ms());
    let known = match by_session {
        Some(found) => of_sessions(row, found),
        None => of_calls(row, a, b, plan)?,
    };
    row.ratio = Some(known.value());
    row.standard_error_ln = Some(known.standard_error);
    row.df = Some(known.df);
    row.process_allowance_ln = by_session.is_none().then_some(PROCESS_ALLOWANCE);
    let judged = allowed_for(known, row.process_allowance_ln);
    row.detectable_ratio = judged.detectable();
    let interval = judged.interval(LEVEL);
    row.ratio_low = interval.map(|interval| interval.low);
    row.ratio_high = interval.map(|interval| interval.high);
    row.welch_p = compare::welch(&Group::of_logs(&all_a)?, &Group::of_logs(&all_b)?).map(|welch| welch.p);
    let by_order = mann_whitney(&all_a, &all_b, LEVEL)?;
    row.mann_whitney_p = Some(by_order.p);
    row.shift_ms = Some(by_order.shift);
    row.shift_low_ms = by_order.shift_interval.map(|interval| interval.low);
    row.shift_high_ms = by_order.shift_interval.map(|interval| interval.high);
    Ok(())
}

/// Fills in how sessions are set against each other.
fn of_sessions(row: &mut EngineComparisonRow, found: &BySession) -> LogEstimate {
    row.pairing = Some(found.pairing);
    row.n_pairs = Some(found.n_pairs);
    row.location_a_ms = Some(found.first_ms);
    row.location_b_ms = Some(found.first_ms * found.ratio.value());
    found.ratio
}

/// Fills in how calls are set against each other.
fn of_calls(row: &mut EngineComparisonRow, a: &Side<'_>, b: &Side<'_>, plan: &Plan) -> Result<LogEstimate, InputError> {
    let (all_a, all_b) = (a.latencies_ms(), b.latencies_ms());
    let pairs = by_round(a, b, plan.order);
    let (used_a, used_b) = pairs.as_ref().map_or((&all_a, &all_b), |(a, b)| (a, b));
    let known = match pairs {
        Some(_) => LogEstimate::paired(used_b, used_a)?,
        None => LogEstimate::unpaired(used_b, used_a)?,
    };
    row.pairing = Some(if pairs.is_some() { Pairing::ByRound } else { Pairing::Unpaired });
    row.n_pairs = pairs.as_ref().map(|(a, _)| a.len());
    row.location_a_ms = geometric_mean(used_a);
    row.location_b_ms = geometric_mean(used_b);
    Ok(match plan.repetitions {
        Repetitions::Fixed(_) => known,
        Repetitions::Adaptive { .. } => known.widened(LOOKING),
    })
}

/// Latencies of both engines round by round, where the order has rounds: rounds that have a call of each. `None`: it has
/// none, or too few such rounds.
fn by_round(a: &Side<'_>, b: &Side<'_>, order: Order) -> Option<(Vec<f64>, Vec<f64>)> {
    if order != Order::Interleaved {
        return None;
    }
    let rounds = |side: &Side<'_>| -> BTreeMap<u32, f64> {
        side.calls.iter().filter_map(|call| Some((call.round, call.latency_ms?))).collect()
    };
    let theirs = rounds(b);
    let pairs: Vec<(f64, f64)> =
        rounds(a).into_iter().filter_map(|(round, own)| Some((own, *theirs.get(&round)?))).collect();
    (pairs.len() >= FEWEST_CALLS).then(|| pairs.into_iter().unzip())
}

/// Judges all rows that are compared together.
fn judged(rows: &mut [EngineComparisonRow]) -> Result<(), InputError> {
    let asked = |row: &EngineComparisonRow| {
        let ratio = allowed_for(row.known_ratio()?, row.process_allowance_ln);
        Some(Asked { ratio, first_ms: row.first_ms()?, floor_ms: floor_ms(row.mode) })
    };
    let compared: Vec<(&mut EngineComparisonRow, Asked)> =
        rows.iter_mut().filter_map(|row| asked(row).map(|asked| (row, asked))).collect();
    let all: Vec<Asked> = compared.iter().map(|(_, asked)| *asked).collect();
    for ((row, _), judged) in compared.into_iter().zip(judge(&all, Rule::default())?) {
        row.p = Some(judged.p);
        row.p_holm = Some(judged.p_holm);
        row.q = Some(judged.q);
        row.verdict = judged.verdict;
    }
    Ok(())
}
