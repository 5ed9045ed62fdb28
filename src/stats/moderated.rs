//! Cells that were measured in several sessions: the session is the independent unit, and cells lend each other what
//! they know of how much sessions differ.
//!
//! Calls of one loaded engine share its memory layout, its threads and its caches. A cell's location is the mean of its
//! sessions' mean logarithms; how those means differ holds what varies within sessions as well. With three sessions a cell
//! knows that variance from two degrees of freedom, so that cells which are alike share a prior for it: moderated
//! variance, Smyth 2004, "Linear models and empirical Bayes methods for assessing differential expression in microarray
//! experiments", Statistical Applications in Genetics and Molecular Biology 3(1). A cell that varies far more than the
//! prior explains keeps its own variance, in the spirit of Phipson et al. 2016, "Robust hyperparameter estimation protects
//! against hypervariable genes", Annals of Applied Statistics 10(2), whose weights need more cells than a run has.
//!
//! Three things are ours. Sessions never vary less than the calls within them imply. Cells that were measured in the same
//! processes, or at the same time, repeat each other: what they know together is counted as so many independent cells, by
//! the squared correlation of their session means. And sessions that are alike in time widen the interval as calls do.

use std::collections::BTreeMap;

use crate::stats::location::LOOKING;
use crate::stats::log_estimate::LogEstimate;
use crate::stats::series::variance_of_mean;
use crate::stats::{InputError, logs, moments, series, student};

mod persistence;
mod prior;
pub mod ratio;
#[cfg(test)]
mod simulation;

use persistence::Persistence;
use prior::VariancePrior;

/// One cell's values: by session in the order of time, and within it by call.
pub type Sessions = BTreeMap<u32, Vec<f64>>;

/// Sessions below which nothing is known of how they differ.
pub const FEWEST_SESSIONS: usize = 2;

/// Session means that vary by less than this share of what the calls within imply give no sign that sessions differ; the
/// interval then is the one that the calls imply. Taken as 1, intervals of three sessions cover 92 % where sessions differ
/// by twice that; taken as 0, they cover 98.6 % where sessions do not differ at all.
const NO_SIGN: f64 = 0.92;

/// A cell keeps its own variance where chance alone would put that of 1 cell in 10 so far above the prior's.
const BEYOND_PRIOR: f64 = 0.1;

/// Session means, over all cells together, below which nothing is said of how alike neighbours in time are.
const UNINFORMATIVE: f64 = 6.0;

/// Sessions of one cell below which it says nothing of that: of three, two products about their own mean are left.
const FEWEST_IN_TIME: usize = 4;

/// How many session means' worth of evidence counts for neighbours in time not being alike.
const PRIOR_WEIGHT: f64 = 10.0;

/// Where a cell lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SessionLocation {
    /// Mean of the sessions' mean logarithms, its standard error and the degrees of freedom of that.
    pub location: LogEstimate,
    /// How many sessions.
    pub sessions: usize,
    /// How many calls, all sessions together.
    pub calls: usize,
    /// Standard deviation of the logarithms within sessions: for small ones the coefficient of variation. `None`: no
    /// session has two calls.
    pub within_sd_ln: Option<f64>,
    /// Standard deviation of the sessions themselves: that of their means less what the calls within make of them, and
    /// 0 where those explain it all. From this cell alone.
    pub between_sd_ln: f64,
    /// Lag-1 autocorrelation of session means in the order of time that is reckoned with, the same for all cells.
    pub rho1: f64,
}

impl SessionLocation {
    /// The same where the intervals themselves decided how many sessions there are: wider by [`LOOKING`].
    #[must_use]
    pub fn adaptive(self) -> Self {
        Self { location: self.location.widened(LOOKING), ..self }
    }

    /// Half the interval's width ÷ estimate: 0.02 is ±2 %. `None`: `level` not between 0 and 1.
    #[must_use]
    pub fn relative_half_width(&self, level: f64) -> Option<f64> {
        Some((student::critical(level, self.location.df)? * self.location.standard_error).sinh())
    }
}

/// Locates cells that may share a prior, such as those of one backend and phase. What they share changes how wide their
/// intervals are, never where they lie. In the order given; the session numbers say what was measured side by side.
///
/// # Errors
/// For each cell by itself: fewer than [`FEWEST_SESSIONS`] sessions, a session without values, a value not finite or not
/// positive. Such a cell tells the others nothing.
#[must_use]
pub fn locations(cells: &[Sessions]) -> Vec<Result<SessionLocation, InputError>> {
    let cells: Vec<Result<Cell, InputError>> = cells.iter().map(Cell::of).collect();
    let usable: Vec<&Cell> = cells.iter().flatten().collect();
    let shared = Shared::of(&usable);
    cells.iter().map(|cell| cell.as_ref().map(|cell| shared.locate(cell)).map_err(Clone::clone)).collect()
}

/// A cell's session means and what lies within them.
#[derive(Debug)]
struct Cell {
    /// By session.
    means: BTreeMap<u32, f64>,
    mean: f64,
    /// `None`: no session has two calls.
    within: Option<Within>,
    calls: usize,
}

/// What calls vary within sessions.
#[derive(Debug)]
struct Within {
    /// Standard deviation of a call.
    sd: f64,
    /// Variance that it leaves the mean session mean.
    variance_of_session: f64,
    df: f64,
}

impl Cell {
    fn of(sessions: &Sessions) -> Result<Self, InputError> {
        if sessions.len() < FEWEST_SESSIONS {
            return Err(InputError::TooFew { n: sessions.len(), needed: FEWEST_SESSIONS });
        }
        Self::of_any(sessions)
    }

    /// Of one session or more.
    fn of_any(sessions: &Sessions) -> Result<Self, InputError> {
        let logs: BTreeMap<u32, Vec<f64>> = sessions
            .iter()
            .map(|(&index, values)| Ok((index, logs("values", values, 1)?)))
            .collect::<Result<_, InputError>>()?;
        let means: BTreeMap<u32, f64> = logs.iter().map(|(&index, y)| (index, moments::mean(y))).collect();
        let all: Vec<f64> = means.values().copied().collect();
        let deviations: Vec<Vec<f64>> = logs.values().map(|y| deviations(y)).collect();
        Ok(Self {
            mean: moments::mean(&all),
            means,
            within: Within::of(&deviations, series::PRIOR_RHO),
            calls: logs.values().map(Vec::len).sum(),
        })
    }

    fn deviations(&self) -> Vec<f64> {
        self.means.values().map(|mean| mean - self.mean).collect()
    }

    /// Variance of a session mean, and its degrees of freedom, where neighbours in time are alike by `rho1`.
    fn between(&self, rho1: f64) -> (f64, f64) {
        let sessions = self.means.len();
        let squares: f64 = self.deviations().iter().map(|d| d * d).sum();
        let of_mean = variance_of_mean(sessions, rho1);
        let inflation = sessions as f64 * of_mean;
        (squares / (sessions as f64 - inflation), (sessions as f64 - 1.0) / inflation)
    }
}

impl Within {
    /// From deviations from session means. The calls' autocorrelation is one for all sessions of the cell, drawn towards `prior_rho`.
    fn of(deviations: &[Vec<f64>], prior_rho: f64) -> Option<Self> {
        let squares: f64 = deviations.iter().flatten().map(|d| d * d).sum();
        let freedom: usize = deviations.iter().map(|session| session.len() - 1).sum();
        if freedom == 0 {
            return None;
        }
        let calls = deviations.iter().map(Vec::len).sum::<usize>() as f64;
        let rho1 = Persistence::of(deviations).drawn_towards(prior_rho, calls, series::PRIOR_WEIGHT);
        let of_means: Vec<f64> = deviations.iter().map(|y| variance_of_mean(y.len(), rho1)).collect();
        let worth: f64 = deviations.iter().zip(&of_means).map(|(y, of_mean)| y.len() as f64 * (1.0 - of_mean)).sum();
        let variance = squares / worth;
        let independent: f64 = of_means.iter().map(|of_mean| 1.0 / of_mean).sum();
        let sessions = deviations.len() as f64;
        Some(Self {
            sd: variance.sqrt(),
            variance_of_session: variance * of_means.iter().sum::<f64>() / sessions,
            df: (independent - sessions).max(1.0),
        })
    }

    /// The mean of so many session means as the calls within would have it.
    fn located(&self, ln: f64, sessions: usize) -> LogEstimate {
        LogEstimate { ln, standard_error: (self.variance_of_session / sessions as f64).sqrt(), df: self.df }
    }
}

fn deviations(y: &[f64]) -> Vec<f64> {
    let mean = moments::mean(y);
    y.iter().map(|value| value - mean).collect()
}

/// What cells know together.
struct Shared {
    rho1: f64,
    /// `None`: a single cell, or cells without spread.
    prior: Option<VariancePrior>,
    /// Degrees of freedom of all cells together, as far as they are independent.
    df: f64,
}

impl Shared {
    fn of(cells: &[&Cell]) -> Self {
        let independent = independent_cells(cells);
        let in_time = cells.iter().filter(|cell| cell.means.len() >= FEWEST_IN_TIME);
        let standardised: Vec<Vec<f64>> = in_time.filter_map(|cell| standardised(&cell.deviations())).collect();
        let repeats = cells.len() as f64 / independent.max(1.0);
        let worth = standardised.iter().map(|y| y.len() as f64 - 1.0).sum::<f64>() / repeats.max(1.0);
        let rho1 = if worth < UNINFORMATIVE {
            0.0
        } else {
            Persistence::of(&standardised).drawn_towards(0.0, worth, PRIOR_WEIGHT)
        };
        let variances: Vec<(f64, f64)> = cells.iter().map(|cell| cell.between(rho1)).collect();
        let df = variances.iter().map(|(_, df)| df).sum::<f64>() / repeats.max(1.0);
        Self { rho1, prior: VariancePrior::of(&variances), df }
    }

    fn locate(&self, cell: &Cell) -> SessionLocation {
        let (own, own_df) = cell.between(self.rho1);
        let (variance, df) = match &self.prior {
            Some(prior) if !prior.is_exceeded(own, own_df, BEYOND_PRIOR) => {
                (prior.posterior(own, own_df), (prior.df + own_df).min(self.df).max(own_df))
            }
            _ => (own, own_df),
        };
        let of_mean = variance_of_mean(cell.means.len(), self.rho1);
        let by_sessions = LogEstimate { ln: cell.mean, standard_error: (variance * of_mean).sqrt(), df };
        let implied = cell.within.as_ref().map(|within| within.variance_of_session);
        SessionLocation {
            location: cell.within.as_ref().map_or(by_sessions, |within| {
                let by_calls = within.located(cell.mean, cell.means.len());
                let no_sign = variance < NO_SIGN * NO_SIGN * within.variance_of_session;
                if no_sign { by_calls } else { by_sessions.or_wider(by_calls) }
            }),
            sessions: cell.means.len(),
            calls: cell.calls,
            within_sd_ln: cell.within.as_ref().map(|within| within.sd),
            between_sd_ln: (own - implied.unwrap_or(0.0)).max(0.0).sqrt(),
            rho1: self.rho1,
        }
    }
}

/// Deviations in units of their own standard deviation. `None`: they are 0.
fn standardised(deviations: &[f64]) -> Option<Vec<f64>> {
    let sd = moments::sd(deviations).filter(|sd| *sd > 0.0)?;
    Some(deviations.iter().map(|d| d / sd).collect())
}

/// So many cells that have nothing in common would know as much of how sessions differ.
///
/// Variances of normal values that correlate by r do so by r², so that `n` of them are worth `n / (1 + (n − 1)·r²)`. The
/// mean r² is over all pairs of cells with at least three sessions of the same numbers, less what chance gives to m of them,
/// `1/(m − 1)`, and less its standard error, so that cells with nothing in common are not taken for some that have.
fn independent_cells(cells: &[&Cell]) -> f64 {
    let mut shared = Vec::new();
    for (place, cell) in cells.iter().enumerate() {
        shared.extend(cells[..place].iter().filter_map(|other| shared_variation(cell, other)));
    }
    let n = cells.len() as f64;
    if shared.is_empty() {
        return n;
    }
    let error = moments::sd(&shared).unwrap_or(0.0) / (shared.len() as f64).sqrt();
    let shared = (moments::mean(&shared) - error).clamp(0.0, 1.0);
    n / (1.0 + (n - 1.0) * shared)
}

/// Squared correlation of two cells' session means, corrected for chance. `None`: fewer than three sessions in common, or
/// one of the two does not vary.
fn shared_variation(a: &Cell, b: &Cell) -> Option<f64> {
    let (own, theirs): (Vec<f64>, Vec<f64>) =
        a.means.iter().filter_map(|(index, mean)| Some((*mean, *b.means.get(index)?))).unzip();
    let m = own.len() as f64;
    if own.len() < 3 {
        return None;
    }
    let (own, theirs) = (standardised(&deviations(&own))?, standardised(&deviations(&theirs))?);
    let r = own.iter().zip(&theirs).map(|(x, y)| x * y).sum::<f64>() / (m - 1.0);
    Some((r * r * (m - 1.0) - 1.0) / (m - 2.0))
}
