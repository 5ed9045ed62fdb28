//! `summary_by_model_backend_mode.csv`: one row per cell and mode.

use std::collections::BTreeSet;
use std::sync::Arc;

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use serde::{Deserialize, Serialize};

use crate::stats::interval::Interval;
use crate::stats::location::{adaptive_location, log_location};
use crate::stats::moderated::SessionLocation;
use crate::stats::series::{self, autocorrelation};
use crate::stats::summary::Summary as Sample;
use crate::stats::{self, LEVEL};
use crate::terms::Repetitions;
use crate::terms::{Flag, Mode, Regime, Role};

use super::columns::columns;
use super::groups::{Group, by_cell, latencies};
use super::key::CellKey;
use super::metric_row::tokens_per_s;
use super::metrics::Metrics;
use super::metrics::{MetricRow, Standing};
use super::models::ArchitectureColumns;
use super::session_locations::session_locations;
use super::table::{Sources, Table};

/// Mean and median that differ by more than this share tell different stories.
pub const SKEW: f64 = 0.10;

columns! {
    /// One cell in one mode, over its timed calls on a warm engine that are not degraded.
    pub struct SummaryRow {
        ..key: Arc<CellKey>,
        /// What is timed.
        mode: Mode,
        /// Always `warm`: others are in `metrics.csv` and `warmup_effect.csv`.
        regime: Regime,
        /// Whether the pooled calls prove where they ran, and most of them lie in their phases. Where they do not, the row is
        /// in no aggregate, fit or ranking.
        attribution: Proof,
        /// Where they ran. `None`: not proven, or not the same for all.
        actual: Option<String>,
        ..architecture: ArchitectureColumns,
        /// Prompt tokens sent per row, the mean where rows differ. `None`: not told.
        /// Unit: tokens.
        prompt_tokens: Option<f64>,
        /// Calls pooled.
        n: usize,
        /// Timed calls left out because they are degraded.
        n_degraded: usize,
        /// Timed calls that went well without proof of where they ran: left out where other calls of the cell have that
        /// proof, else all that is pooled.
        n_unattributed: usize,
        /// Pooled calls that carry a flag.
        n_flagged: usize,
        /// Pooled calls that something outside disturbed in every try.
        n_disturbed: usize,
        /// Median latency: what fits and aggregates use.
        median_ms: f64,
        /// Arithmetic mean.
        mean_ms: f64,
        /// Sample standard deviation. `None`: one call.
        sd_ms: Option<f64>,
        /// Smallest.
        min_ms: f64,
        /// Largest.
        max_ms: f64,
        /// 95th percentile. `None`: fewer than 20 calls.
        /// Source: quantile of type 7, NumPy's default.
        p95_ms: Option<f64>,
        /// 99th percentile. `None`: fewer than 100 calls.
        /// Source: quantile of type 7, NumPy's default.
        p99_ms: Option<f64>,
        /// Coefficient of variation, a fraction. `None`: one call.
        /// Unit: fraction.
        cv: Option<f64>,
        /// Where `cv` lies: up to 2 % it is `steady`, up to 5 % `moderate`, up to 15 % `noisy`, above `unstable`. `None`: one call.
        cv_band: Option<CvBand>,
        /// Sessions that the pooled calls come from: loads in fresh engine processes. One, or several where the scenario file
        /// asks for them.
        sessions: usize,
        /// Coefficient of variation within sessions, a fraction. `None`, here and below: fewer than two sessions, or too few
        /// calls in them.
        /// Unit: fraction.
        cv_within: Option<f64>,
        /// Coefficient of variation of the sessions themselves: that of their means beyond what the calls within make of them,
        /// 0 where those explain it all.
        /// Unit: fraction.
        cv_between: Option<f64>,
        /// How the interval was made: from calls of one session (`log_location`) or from the means of several (`session_location`);
        /// `adaptive`: wider, since the calls themselves decided how many there are.
        interval_kind: IntervalKind,
        /// What the interval is of: `exp` of the mean logarithm, from sessions that of their means. `None`, here and in the four
        /// below: fewer than 3 calls.
        /// Source: geometric mean, the median of log-normal latencies.
        location_ms: Option<f64>,
        /// Lower end of the 95 % interval.
        /// Source: a t interval on logarithms, corrected for lag-1 autocorrelation (bias of it: Marriott and Pope 1954, Kendall 1954); from sessions with their variance moderated over the cells of one backend, type and mode (Smyth 2004).
        ci_low_ms: Option<f64>,
        /// Upper end of the 95 % interval.
        /// Source: a t interval on logarithms, corrected for lag-1 autocorrelation (bias of it: Marriott and Pope 1954, Kendall 1954); from sessions with their variance moderated over the cells of one backend, type and mode (Smyth 2004).
        ci_high_ms: Option<f64>,
        /// Half its width ÷ `location_ms`.
        ci_relative: Option<f64>,
        /// Independent calls that these are worth; from sessions so many independent sessions, one more than the degrees of
        /// freedom of the interval.
        /// Source: AR(1), its correlation corrected for small samples (Marriott and Pope 1954, Kendall 1954).
        /// Unit: calls.
        n_effective: Option<f64>,
        /// Lag-1 autocorrelation in call order. `None`: fewer than 3 calls, or all equal.
        /// Unit: correlation.
        rho1: Option<f64>,
        /// Fitted change from first call to last, a fraction. `None`: fewer than 5 calls, or all equal.
        /// Source: a line through the logarithms in call order.
        drift_relative: Option<f64>,
        /// Two-sided p of no drift. `None`: as above.
        /// Source: t test of that line, corrected for AR(1) residuals.
        /// Unit: probability.
        drift_p: Option<f64>,
        /// Calls outside the Tukey fences; they are pooled all the same. `None`: fewer than 4 calls.
        /// Source: Tukey's fences, 1.5 interquartile ranges outside the quartiles.
        outliers: Option<usize>,
        /// Mean ÷ median.
        /// Unit: ratio.
        mean_over_median: Option<f64>,
        /// Whether mean and median differ by more than 10 %.
        skewed: bool,
        /// Tokens per call over all rows, of the first pooled call.
        tokens: Option<u64>,
        /// `tokens` ÷ median latency.
        tokens_per_s: Option<f64>,
        /// Median latency per decode step, or per prompt token of a row. `None` for `e2e_kv`.
        ms_per_token: Option<f64>,
    }
}

/// Whether a cell's calls prove where they ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Every pooled call does.
    Attributed,
    /// None does.
    Unattributed,
    /// Another tool made them, and nothing proves to us where. Such rows are compared only with each other, never with calls of
    /// ours.
    Imported,
    /// They do, and more of most of them belongs to no phase than to one: the phases' times are not those of the work.
    Unaccounted,
}

impl Proof {
    /// Whether rows of either kind may stand against each other: what was measured here and proves where it ran, or what other
    /// tools measured. Nothing else says that both sides ran alike.
    #[must_use]
    pub fn compares_with(self, other: Self) -> bool {
        self == other && matches!(self, Self::Attributed | Self::Imported)
    }
}

impl SummaryRow {
    /// Whether the row may enter aggregates, fits and rankings: something proves where its calls ran, and their phases account
    /// for them.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.attribution == Proof::Attributed
    }

    /// What fits use: the location where it rests on several sessions, which count alike however many calls they have; else
    /// the median.
    #[must_use]
    pub fn central_ms(&self) -> f64 {
        self.location_ms.filter(|_| self.interval_kind.is_of_sessions()).unwrap_or(self.median_ms)
    }

    /// Whether a call is among those that the row pools.
    #[must_use]
    pub fn pools(&self, call: &MetricRow) -> bool {
        call.counts()
            && call.key.cell_id == self.key.cell_id
            && (call.mode, call.key.dtype) == (self.mode, self.key.dtype)
            && call.key.weights_id == self.key.weights_id
            && call.attributed == matches!(self.attribution, Proof::Attributed | Proof::Unaccounted)
    }
}

/// How much repetitions of a cell vary.
///
/// The limits are ours: what a difference of a few per cent between engines needs to be seen in some ten calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CvBand {
    /// Up to 2 %.
    Steady,
    /// Up to 5 %.
    Moderate,
    /// Up to 15 %.
    Noisy,
    /// Above.
    Unstable,
}

impl CvBand {
    /// The band that a coefficient of variation lies in; a limit belongs to the band below it.
    #[must_use]
    pub fn of(cv: f64) -> Self {
        match cv {
            cv if cv <= 0.02 => Self::Steady,
            cv if cv <= 0.05 => Self::Moderate,
            cv if cv <= 0.15 => Self::Noisy,
            _ => Self::Unstable,
        }
    }
}

/// How a cell's interval was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntervalKind {
    /// [`log_location`]: the number of calls was fixed beforehand.
    LogLocation,
    /// [`adaptive_location`]: wider, because the calls themselves decided how many there are.
    AdaptiveLocation,
    /// [`crate::stats::moderated::locations`]: from the means of sessions, whose number was fixed beforehand.
    SessionLocation,
    /// The same, wider, because the sessions themselves decided how many there are.
    AdaptiveSessionLocation,
}

impl IntervalKind {
    /// Whether it holds what differs between processes.
    #[must_use]
    pub fn is_of_sessions(self) -> bool {
        matches!(self, Self::SessionLocation | Self::AdaptiveSessionLocation)
    }
}

/// `analysis/summary_by_model_backend_mode.csv`.
pub struct Summary;

impl Table for Summary {
    type Row = SummaryRow;
    const FILE: &'static str = "analysis/summary_by_model_backend_mode.csv";
    const ABOUT: &'static str = "Every cell and mode that has a call that counts, in the plan's order.";

    fn derive(from: &Sources<'_>) -> Vec<SummaryRow> {
        let metrics = from.rows::<Metrics>();
        summarise(from, &metrics, |_| true)
    }
}

/// One row per group with a call that counts, in the plan's order. `keep` leaves rows out beforehand.
pub(super) fn summarise(
    from: &Sources<'_>,
    metrics: &[MetricRow],
    keep: impl Fn(&MetricRow) -> bool + Sync,
) -> Vec<SummaryRow> {
    let (plan, groups) = (from.plan, by_cell(from, metrics, keep));
    let pooled: Vec<Pooled<'_>> = groups.par_iter().map(Pooled::of).collect();
    let by_sessions = if plan.session_count.is_several() {
        session_locations(plan, &pooled.iter().map(|pooled| pooled.counted.as_slice()).collect::<Vec<_>>())
    } else {
        vec![None; pooled.len()]
    };
    let located = groups.par_iter().zip(&pooled).zip(by_sessions);
    located.filter_map(|((group, pooled), by_sessions)| row(group, pooled, plan.repetitions, by_sessions)).collect()
}

/// The calls of a group that are pooled.
struct Pooled<'a> {
    attribution: Proof,
    counted: Vec<&'a MetricRow>,
    n_unattributed: usize,
}

impl<'a> Pooled<'a> {
    fn of(group: &Group<'a>) -> Self {
        // A call that does not prove where it ran is never pooled with one that does.
        let (proven, unproven): (Vec<_>, Vec<_>) = group.counted().into_iter().partition(|row| row.attributed);
        let n_unattributed = unproven.len();
        let unaccounted = proven.iter().filter(|row| row.flags.contains(Flag::Unaccounted)).count();
        let (attribution, counted) = match proven.len() {
            0 if unproven.iter().any(|row| row.is_imported()) => (Proof::Imported, unproven),
            0 => (Proof::Unattributed, unproven),
            calls if 2 * unaccounted > calls => (Proof::Unaccounted, proven),
            _ => (Proof::Attributed, proven),
        };
        Self { attribution, counted, n_unattributed }
    }

    fn sessions(&self) -> usize {
        self.counted.iter().map(|call| call.session_index).collect::<BTreeSet<_>>().len()
    }
}

/// Where a cell lies, however that is known.
struct Located {
    ms: f64,
    interval: Interval,
    relative: f64,
    n_effective: f64,
}

impl Located {
    /// How the interval is made, and what it is; the latter `None` where there are too few calls.
    fn of(
        values: &[f64],
        repetitions: Repetitions,
        by_sessions: Option<SessionLocation>,
    ) -> (IntervalKind, Option<Self>) {
        let adaptive = matches!(repetitions, Repetitions::Adaptive { .. });
        if let Some(found) = by_sessions {
            let kind = if adaptive { IntervalKind::AdaptiveSessionLocation } else { IntervalKind::SessionLocation };
            return (kind, Self::by_sessions(found));
        }
        let (kind, location) = if adaptive {
            (IntervalKind::AdaptiveLocation, adaptive_location(values, LEVEL))
        } else {
            (IntervalKind::LogLocation, log_location(values, LEVEL))
        };
        let located = location.ok().map(|location| Self {
            ms: location.estimate,
            interval: location.interval,
            relative: location.relative_half_width,
            n_effective: location.n_effective,
        });
        (kind, located)
    }

    fn by_sessions(found: SessionLocation) -> Option<Self> {
        Some(Self {
            ms: found.location.value(),
            interval: found.location.interval(LEVEL)?,
            relative: found.relative_half_width(LEVEL)?,
            n_effective: found.location.df + 1.0,
        })
    }
}

fn row(
    group: &Group<'_>,
    pooled: &Pooled<'_>,
    repetitions: Repetitions,
    by_sessions: Option<SessionLocation>,
) -> Option<SummaryRow> {
    let counted = &pooled.counted;
    let first = counted.first()?;
    let values = latencies(counted);
    let summary = Sample::of(&values).ok()?;
    let (interval_kind, location) = Located::of(&values, repetitions, by_sessions);
    let drift = series::drift(&values).ok();
    let mean_over_median = (summary.median > 0.0).then(|| summary.mean / summary.median);
    let per_token: Vec<f64> = counted.iter().filter_map(|row| row.ms_per_token()).collect();
    let degraded = |row: &&&MetricRow| row.role == Role::Timed && row.status == Standing::Degraded;
    Some(SummaryRow {
        key: group.key(),
        mode: group.mode,
        regime: Regime::Warm,
        attribution: pooled.attribution,
        actual: first.actual().filter(|_| counted.iter().all(|row| row.actual() == first.actual())).map(str::to_owned),
        architecture: *first.architecture,
        prompt_tokens: first.prompt_tokens(),
        n: summary.n,
        n_degraded: group.rows.iter().filter(degraded).count(),
        n_unattributed: if pooled.attribution == Proof::Imported { 0 } else { pooled.n_unattributed },
        n_flagged: counted.iter().filter(|row| !row.flags.is_empty()).count(),
        n_disturbed: counted.iter().filter(|row| row.disturbed).count(),
        median_ms: summary.median,
        mean_ms: summary.mean,
        sd_ms: summary.sd,
        min_ms: summary.min,
        max_ms: summary.max,
        p95_ms: summary.p95,
        p99_ms: summary.p99,
        cv: summary.cv,
        cv_band: summary.cv.map(CvBand::of),
        sessions: pooled.sessions(),
        cv_within: by_sessions.and_then(|found| found.within_sd_ln),
        cv_between: by_sessions.map(|found| found.between_sd_ln),
        interval_kind,
        location_ms: location.as_ref().map(|l| l.ms),
        ci_low_ms: location.as_ref().map(|l| l.interval.low),
        ci_high_ms: location.as_ref().map(|l| l.interval.high),
        ci_relative: location.as_ref().map(|l| l.relative),
        n_effective: location.map(|l| l.n_effective),
        rho1: autocorrelation(&values),
        drift_relative: drift.map(|d| d.relative_change),
        drift_p: drift.map(|d| d.p),
        outliers: summary.outliers,
        mean_over_median,
        skewed: mean_over_median.is_some_and(|ratio| (ratio - 1.0).abs() > SKEW),
        tokens: first.tokens(),
        tokens_per_s: first.tokens().and_then(|tokens| tokens_per_s(tokens as f64, summary.median)),
        ms_per_token: stats::summary::median(&per_token),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_belongs_to_the_band_below_it() {
        for (cv, band) in [
            (0.0, CvBand::Steady),
            (0.02, CvBand::Steady),
            (0.0201, CvBand::Moderate),
            (0.05, CvBand::Moderate),
            (0.15, CvBand::Noisy),
            (0.151, CvBand::Unstable),
        ] {
            assert_eq!(CvBand::of(cv), band, "{cv}");
        }
    }
}
