//! What a fit runs over: one point per model, all alike in backend, element type, mode and shape.

use serde::{Deserialize, Serialize};

use crate::stats::measured::PointError;
use crate::stats::summary::geometric_mean;
use crate::stats::{InputError, LEVEL, student};
use crate::terms::Mode;
use crate::terms::{Dtype, FitAxis};

use super::aggregate::{comparable, distinct};
use super::columns::columns;
use super::key::CellKey;
use super::summary::{Proof, SummaryRow};

/// How much less sure a median is than the mean of the same values, many of a normal distribution: √(π/2).
const OF_MEDIAN: f64 = 1.253_314_137_315_5;

/// Over what a fit's latencies were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeKind {
    /// Geometric mean of medians over the scenarios that every model has.
    Aggregate,
    /// One scenario's medians.
    Scenario,
}

columns! {
    /// Which fit a row is of.
    pub struct FitKey {
        /// Names the fit, also in `scaling_residuals.csv`: `backend/dtype/mode/scope/batch/decode length`.
        fit_id: String,
        /// Backend name.
        backend: String,
        /// Element type of the sessions.
        dtype: Dtype,
        /// What is timed.
        mode: Mode,
        /// Over what the latencies are taken.
        scope: ScopeKind,
        /// Scenario name. `None`: an aggregate.
        scenario: Option<String>,
        /// Rows decoded together.
        batch: u32,
        /// Timed decode steps.
        gen_tokens: u32,
        /// Whether it is the fit to quote for this backend, element type and mode: the aggregate over most scenarios.
        headline: bool,
    }
}

/// The models of one fit.
#[derive(Debug, Clone)]
pub(super) struct Scope<'a> {
    /// Any of the rows: all agree in backend, dtype, mode, batch and decode length.
    pub(super) like: &'a SummaryRow,
    pub(super) kind: ScopeKind,
    pub(super) scenarios: Vec<&'a str>,
    /// The aggregate over most scenarios of its backend, element type and mode.
    pub(super) headline: bool,
    pub(super) points: Vec<Point<'a>>,
    /// What was left out, and why.
    pub(super) notes: Vec<String>,
}

/// One model.
#[derive(Debug, Clone)]
pub(super) struct Point<'a> {
    /// Any of its rows: for names and architecture.
    pub(super) row: &'a SummaryRow,
    pub(super) latency_ms: f64,
    pub(super) ms_per_token: Option<f64>,
    /// How well the logarithm of its latency is known. `None`: of one of its cells that cannot be told.
    pub(super) error: Option<PointError>,
    /// Prompt tokens per row of its scenarios, ascending. Empty: not known of all.
    pub(super) prompts: Vec<f64>,
}

/// The name of a predictor's column in the tables.
pub(super) fn axis_name(axis: FitAxis) -> &'static str {
    match axis {
        FitAxis::Params => "params_millions",
        FitAxis::NLayer => "n_layer",
        FitAxis::NEmbd => "n_embd",
        FitAxis::NHead => "n_head",
    }
}

/// A model's value of a predictor. `None`: not known.
pub(super) fn axis_value(axis: FitAxis, row: &SummaryRow) -> Option<f64> {
    let whole = |n: Option<u64>| n.map(|n| n as f64);
    match axis {
        FitAxis::Params => row.architecture.params_millions,
        FitAxis::NLayer => whole(row.architecture.n_layer),
        FitAxis::NEmbd => whole(row.architecture.n_embd),
        FitAxis::NHead => whole(row.architecture.n_head),
    }
}

/// Why there is no fit, in terms of models and their columns instead of x and y.
pub(super) fn explain(error: &InputError, predictors: &[&str]) -> String {
    let column = |axis: &str| match axis {
        "x" | "x1" => predictors.first().copied(),
        "x2" => predictors.get(1).copied(),
        _ => None,
    };
    match error {
        InputError::TooFew { n, needed } => {
            format!("{n} model{}, at least {needed} are needed", if *n == 1 { "" } else { "s" })
        }
        InputError::Constant { axis } => match column(axis) {
            Some(name) => format!("all models have the same {name}"),
            None => "all models have the same latency".to_owned(),
        },
        other => other.to_string(),
    }
}

/// A fit by these predictors, or why there is none.
pub(super) fn fit_or_reason<T>(fitted: Result<T, InputError>, predictors: &[FitAxis]) -> (Option<T>, Option<String>) {
    match fitted {
        Ok(fitted) => (Some(fitted), None),
        Err(error) => {
            let names: Vec<&str> = predictors.iter().map(|&axis| axis_name(axis)).collect();
            (None, Some(explain(&error, &names)))
        }
    }
}

impl<'a> Scope<'a> {
    /// What its rows are told apart by.
    pub(super) fn key(&self) -> FitKey {
        FitKey {
            fit_id: self.id(),
            backend: self.like.key.backend.clone(),
            dtype: self.like.key.dtype,
            mode: self.like.mode,
            scope: self.kind,
            scenario: self.scenario().map(str::to_owned),
            batch: self.like.key.batch,
            gen_tokens: self.like.key.gen_tokens,
            headline: self.headline,
        }
    }

    /// Stable name: `backend/dtype/mode/aggregate/batch1/gen64`, or `…/scenario:micro/…`.
    pub(super) fn id(&self) -> String {
        let scope = self.scenario().map_or_else(|| "aggregate".to_owned(), |name| format!("scenario:{name}"));
        let CellKey { backend, dtype, batch, gen_tokens, .. } = &*self.like.key;
        format!("{backend}/{}/{}/{scope}/batch{batch}/gen{gen_tokens}", dtype.as_str(), self.like.mode)
    }

    /// The scenario of a [`ScopeKind::Scenario`].
    pub(super) fn scenario(&self) -> Option<&'a str> {
        match self.kind {
            ScopeKind::Aggregate => None,
            ScopeKind::Scenario => self.scenarios.first().copied(),
        }
    }

    /// Keeps the points whose predictors are all known, and notes the others.
    pub(super) fn with(&self, axes: &[FitAxis]) -> Self {
        let mut kept = self.clone();
        kept.points.retain(|point| axes.iter().all(|&axis| axis_value(axis, point.row).is_some()));
        let unknown = self.points.iter().filter(|p| axes.iter().any(|&axis| axis_value(axis, p.row).is_none()));
        kept.notes.extend(unknown.map(|p| format!("`{}` is left out: its architecture is not known", p.row.key.model)));
        kept
    }

    /// A predictor's column; of points that [`Scope::with`] has kept.
    pub(super) fn column(&self, axis: FitAxis) -> Vec<f64> {
        self.points.iter().filter_map(|point| axis_value(axis, point.row)).collect()
    }

    /// The latencies.
    pub(super) fn latencies(&self) -> Vec<f64> {
        self.points.iter().map(|point| point.latency_ms).collect()
    }

    /// How well the logarithm of each latency is known. `None`: of one of them that cannot be told.
    pub(super) fn errors(&self) -> Option<Vec<PointError>> {
        self.points.iter().map(|point| point.error).collect()
    }

    /// The notes as one cell. `None`: nothing to note.
    pub(super) fn note(&self) -> Option<String> {
        (!self.notes.is_empty()).then(|| self.notes.join("; "))
    }
}

/// Every scope, in the summary's order; of each backend, element type, mode and shape the aggregate comes first. Rows
/// that do not prove where they ran are no points, but have their scopes and are named in the notes.
pub(super) fn scopes(summary: &[SummaryRow]) -> Vec<Scope<'_>> {
    let mut shapes: Vec<Vec<&SummaryRow>> = Vec::new();
    for row in summary {
        match shapes.iter_mut().find(|rows| comparable(rows[0], row)) {
            Some(rows) => rows.push(row),
            None => shapes.push(vec![row]),
        }
    }
    let mut scopes: Vec<Scope<'_>> = shapes.iter().flat_map(|rows| of_shape(rows)).collect();
    mark_headlines(&mut scopes);
    scopes
}

fn mark_headlines(scopes: &mut [Scope<'_>]) {
    let aggregates: Vec<usize> = (0..scopes.len()).filter(|&i| scopes[i].kind == ScopeKind::Aggregate).collect();
    for &i in &aggregates {
        let alike = |j: usize| {
            let (a, b) = (scopes[i].like, scopes[j].like);
            a.key.backend == b.key.backend && a.key.dtype == b.key.dtype && a.mode == b.mode
        };
        let larger = |j: usize| {
            let (own, other) = (scopes[i].scenarios.len(), scopes[j].scenarios.len());
            other > own || (other == own && j < i)
        };
        let beaten = aggregates.iter().any(|&j| j != i && alike(j) && larger(j));
        scopes[i].headline = !beaten;
    }
}

/// The aggregate and the scenarios of rows that differ in nothing but model and scenario.
fn of_shape<'a>(all: &[&'a SummaryRow]) -> Vec<Scope<'a>> {
    let names = distinct(all.iter().map(|row| row.key.scenario.as_str()));
    let (proven, unproven): (Vec<&SummaryRow>, Vec<&SummaryRow>) = all.iter().copied().partition(|row| row.is_proven());
    let (rows, repeated) = once_per_weights(&proven);
    let mut scopes = vec![aggregate(all[0], &rows, &names, [unplaced(&unproven), repeated.clone()].concat())];
    for name in names {
        let points: Vec<Point<'_>> =
            rows.iter().filter(|row| row.key.scenario == name).map(|row| single(row)).collect();
        let unproven: Vec<&SummaryRow> = unproven.iter().copied().filter(|row| row.key.scenario == name).collect();
        scopes.push(Scope {
            like: all[0],
            kind: ScopeKind::Scenario,
            scenarios: vec![name],
            headline: false,
            points,
            notes: [unplaced(&unproven), repeated.clone()].concat(),
        });
    }
    scopes
}

/// A note for each model of these rows, with its scenarios.
fn unplaced(rows: &[&SummaryRow]) -> Vec<String> {
    let (unplaced, unaccounted): (Vec<&SummaryRow>, Vec<&SummaryRow>) =
        rows.iter().partition(|row| matches!(row.attribution, Proof::Unattributed | Proof::Imported));
    let mut notes = left_out(&unplaced, "nothing proves where it ran");
    notes.extend(left_out(&unaccounted, "most of its calls' time belongs to no phase"));
    notes
}

fn left_out(rows: &[&SummaryRow], why: &str) -> Vec<String> {
    let models = distinct(rows.iter().map(|row| row.key.model.as_str()));
    let note = |model: &&str| {
        let scenarios =
            distinct(rows.iter().filter(|row| row.key.model == *model).map(|row| row.key.scenario.as_str()));
        format!("`{model}` is left out in {}: {why}", scenarios.join(", "))
    };
    models.iter().map(note).collect()
}

/// Leaves out models whose weights another name has already brought in: they are no second observation.
fn once_per_weights<'a>(rows: &[&'a SummaryRow]) -> (Vec<&'a SummaryRow>, Vec<String>) {
    let first_name =
        |row: &SummaryRow| rows.iter().find(|other| other.key.weights_id == row.key.weights_id).map(|r| &r.key.model);
    let (kept, twice): (Vec<&SummaryRow>, Vec<&SummaryRow>) =
        rows.iter().copied().partition(|row| first_name(row) == Some(&row.key.model));
    let names = distinct(twice.iter().map(|row| row.key.model.as_str()));
    let notes = names.iter().map(|name| {
        let original = twice.iter().find(|row| row.key.model == *name).and_then(|row| first_name(row));
        format!("`{name}` has the weights of `{}` and is counted once", original.map_or("", |name| name))
    });
    (kept, notes.collect())
}

fn single(row: &SummaryRow) -> Point<'_> {
    Point {
        row,
        latency_ms: row.central_ms(),
        ms_per_token: row.ms_per_token,
        error: error_of(row),
        prompts: row.prompt_tokens.into_iter().collect(),
    }
}

/// How well the logarithm of what a fit uses of a cell is known, from the interval of its location. `None`: too few calls to tell.
fn error_of(row: &SummaryRow) -> Option<PointError> {
    let (low, high) = row.ci_low_ms.zip(row.ci_high_ms)?;
    let df = row.n_effective? - 1.0;
    let half_width = (high / low).ln() / 2.0;
    let of_central = if row.interval_kind.is_of_sessions() { 1.0 } else { OF_MEDIAN };
    let standard_error = of_central * half_width / student::critical(LEVEL, df)?;
    standard_error.is_finite().then_some(PointError { standard_error, df })
}

/// Of the mean of several logarithms, each known by itself: degrees of freedom after Welch and Satterthwaite.
fn error_of_mean(errors: &[PointError]) -> Option<PointError> {
    let variances: Vec<f64> = errors.iter().map(|error| error.standard_error.powi(2)).collect();
    let variance: f64 = variances.iter().sum();
    let least_df = errors.iter().map(|error| error.df).reduce(f64::min)?;
    let by_df: f64 = variances.iter().zip(errors).map(|(variance, error)| variance * variance / error.df).sum();
    let df = if by_df > 0.0 { variance * variance / by_df } else { least_df };
    Some(PointError { standard_error: variance.sqrt() / errors.len() as f64, df })
}

/// The same where they may share all of their errors: cells of one model were measured in the same sessions.
fn error_of_dependent_mean(errors: &[PointError]) -> Option<PointError> {
    let sum: f64 = errors.iter().map(|error| error.standard_error).sum();
    let least_df = errors.iter().map(|error| error.df).reduce(f64::min)?;
    Some(PointError { standard_error: sum / errors.len() as f64, df: least_df })
}

fn aggregate<'a>(
    like: &'a SummaryRow,
    rows: &[&'a SummaryRow],
    names: &[&'a str],
    mut notes: Vec<String>,
) -> Scope<'a> {
    let mut models: Vec<Vec<&'a SummaryRow>> = Vec::new();
    for row in rows {
        match models.iter_mut().find(|m| m[0].key.model == row.key.model && m[0].key.weights_id == row.key.weights_id) {
            Some(rows) => rows.push(row),
            None => models.push(vec![row]),
        }
    }
    let common = |name: &&str| models.iter().all(|rows| rows.iter().any(|row| row.key.scenario == *name));
    let (kept, left_out): (Vec<&str>, Vec<&str>) = names.iter().copied().partition(common);
    if !left_out.is_empty() {
        notes.push(format!("scenarios that not every model has are left out: {}", left_out.join(", ")));
    }
    let points = models.iter().filter_map(|rows| {
        let rows: Vec<&SummaryRow> = rows.iter().copied().filter(|r| kept.contains(&r.key.scenario.as_str())).collect();
        pooled(&rows)
    });
    let points = points.collect();
    Scope { like, kind: ScopeKind::Aggregate, scenarios: kept, headline: false, points, notes }
}

/// One model over several scenarios.
fn pooled<'a>(rows: &[&'a SummaryRow]) -> Option<Point<'a>> {
    let medians: Vec<f64> = rows.iter().map(|row| row.central_ms()).collect();
    let per_token: Option<Vec<f64>> = rows.iter().map(|row| row.ms_per_token).collect();
    let errors: Option<Vec<PointError>> = rows.iter().map(|row| error_of(row)).collect();
    let mut prompts: Vec<f64> = rows.iter().map(|row| row.prompt_tokens).collect::<Option<_>>().unwrap_or_default();
    prompts.sort_by(f64::total_cmp);
    let of_sessions = rows.iter().any(|row| row.interval_kind.is_of_sessions());
    let of_mean = if of_sessions { error_of_dependent_mean } else { error_of_mean };
    Some(Point {
        row: rows.first()?,
        latency_ms: geometric_mean(&medians)?,
        ms_per_token: per_token.and_then(|values| geometric_mean(&values)),
        error: errors.and_then(|errors| of_mean(&errors)),
        prompts,
    })
}
