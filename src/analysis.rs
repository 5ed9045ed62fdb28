//! Derives every table from records alone: pure, and the same bytes every time.
//!
//! [`derive()`] makes [`Tables`] from what was recorded, the plan and the manifest's models; [`write()`] puts them into the
//! run folder as CSV. It knows no engine. All tables come from `metrics.csv`, one row per call and mode:
//!
//! ```text
//! record → metrics → summary (per cell) → aggregate (over scenarios)
//!                  │                    └ scope → scaling, predictors, shifts
//!                  ├ warmup, phases, early_stop, linearity      record → loads, degraded
//!                  ├ compile (with the record's evidence)
//!                  └ energy (with the power trace)
//! ```
//!
//! What may enter an aggregate is decided in one place, [`MetricRow::counts`]. Rows stand in the plan's order. A figure
//! that is not there is `None` and an empty field, never 0; where a fit cannot be made its row says why.

pub mod aggregate;
mod board_state;
pub mod compile;
pub mod degraded;
pub mod device_gap;
pub mod early_stop;
pub mod energy;
pub mod energy_soak;
mod groups;
pub mod linearity;
pub mod loads;
pub mod metrics;
pub mod models;
pub mod overview;
pub mod phases;
pub mod predictors;
pub mod scaling;
pub mod scope;
pub mod shifts;
mod simulated;
pub mod summary;
pub mod validate;
pub mod warmup;
pub mod write;

use crate::record::calibration::Measured;
use crate::record::manifest::Manifest;
use crate::record::plan::Plan;
use crate::store::{Recording, TraceRow};
use crate::terms::Finish;

pub use aggregate::AggregateRow;
pub use compile::{
    CacheState, CompileAuditRow, CompileGraphsRow, CompileOutcomeRow, CompileStepRow, GraphUse, Verdict,
};
pub use degraded::{DecisionRow, DegradedRow, SkippedRow};
pub use device_gap::DeviceGapRow;
pub use early_stop::EarlyStopRow;
pub use energy::{BaselineRow, EnergyEventRow, EnergySummaryRow};
pub use energy_soak::SoakRow;
pub use linearity::{DecodeLinearityRow, DecodeProjectionErrorRow};
pub use loads::{LoadPartRow, LoadRow};
pub use metrics::{MetricRow, Standing};
pub use models::ModelRow;
pub use overview::Overview;
pub use phases::{DecodeFractionRow, DecodeFractionSummaryRow};
pub use predictors::{CorrelationRow, MultivariateRow, OverheadRow};
pub use scaling::{CurvePoint, ScalingFitRow, ScalingResidualRow, curve};
pub use scope::ScopeKind;
pub use shifts::{Metric, ShiftRow};
pub use summary::{CvBand, Evidence, IntervalKind, SummaryRow};
pub use warmup::{WarmupRow, WarmupSummaryRow};
pub use write::{WriteError, files, write};

/// Every table of a run. A field is named after its file; see the row types for columns.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tables {
    /// `metrics.csv`: every call in every mode it timed, in the record's order.
    pub metrics: Vec<MetricRow>,
    /// `summary_by_model_backend_mode.csv`: every cell and mode that has a call that counts.
    pub summary: Vec<SummaryRow>,
    /// `summary_by_model_backend_mode_agg.csv`: over the scenarios of one batch and decode length.
    pub aggregate: Vec<AggregateRow>,
    /// `scaling_fits.csv`: of each backend, element type, mode and shape the aggregate first, then its scenarios.
    pub scaling_fits: Vec<ScalingFitRow>,
    /// `scaling_residuals.csv`: the models of each fit that worked.
    pub scaling_residuals: Vec<ScalingResidualRow>,
    /// `scaling_fits_length_limited.csv`: the same fits over calls that ended by length, or do not tell how they ended.
    pub scaling_fits_length_limited: Vec<ScalingFitRow>,
    /// `multivariate_fits.csv`: size and depth together.
    pub multivariate_fits: Vec<MultivariateRow>,
    /// `overhead_compute_fits.csv`: a constant plus a part proportional to size.
    pub overhead_compute_fits: Vec<OverheadRow>,
    /// `architecture_correlations.csv`: ranks of latency against size, depth, width and heads.
    pub architecture_correlations: Vec<CorrelationRow>,
    /// `model_architecture.csv`: every model as each backend loads it.
    pub model_architecture: Vec<ModelRow>,
    /// `warmup_effect.csv`: per cell and mode.
    pub warmup_effect: Vec<WarmupRow>,
    /// `warmup_summary.csv`: over the cells of a backend and mode.
    pub warmup_summary: Vec<WarmupSummaryRow>,
    /// `load_breakdown.csv`: every load, failed ones too.
    pub load_breakdown: Vec<LoadRow>,
    /// `load_parts.csv`: the engine's own division of each load.
    pub load_parts: Vec<LoadPartRow>,
    /// `decode_fraction.csv`: per cell.
    pub decode_fraction: Vec<DecodeFractionRow>,
    /// `decode_fraction_summary.csv`: over the cells of a backend and decode length.
    pub decode_fraction_summary: Vec<DecodeFractionSummaryRow>,
    /// `batch_shift.csv`: whether fits survive another batch.
    pub batch_shift: Vec<ShiftRow>,
    /// `decode_length_shift.csv`: whether fits survive another decode length.
    pub decode_length_shift: Vec<ShiftRow>,
    /// `early_stop_summary.csv`: the run, every backend, then every backend, model and scenario.
    pub early_stop_summary: Vec<EarlyStopRow>,
    /// `decode_linearity.csv`: what a decode time must be divided by, per backend and model.
    pub decode_linearity: Vec<DecodeLinearityRow>,
    /// `decode_projection_error.csv`: how far off the longest answer is when it is guessed from a shorter one.
    pub decode_projection_error: Vec<DecodeProjectionErrorRow>,
    /// `compile_steps.csv`: every phase of every shape compiled before the first call.
    pub compile_steps: Vec<CompileStepRow>,
    /// `compile_audit.csv`: every cell and mode that asked for a compiler.
    pub compile_audit: Vec<CompileAuditRow>,
    /// `compile_graphs.csv`: shapes against graphs per backend, model and mode.
    pub compile_graphs: Vec<CompileGraphsRow>,
    /// `compile_outcome.csv`: whether to compile, per backend and mode.
    pub compile_outcome: Vec<CompileOutcomeRow>,
    /// `cuda_event_gap_summary.csv`: phases on the host's clock against the device's.
    pub cuda_event_gap_summary: Vec<DeviceGapRow>,
    /// `energy_events.csv` and `events.jsonl`: every phase of every call, where power was recorded.
    pub energy_events: Vec<EnergyEventRow>,
    /// `energy_summary.csv`: per cell and mode, where power was recorded.
    pub energy_summary: Vec<EnergySummaryRow>,
    /// `energy_soak.csv`: power and temperature stage by stage, where power was recorded.
    pub energy_soak: Vec<SoakRow>,
    /// `baseline.json`: idle power.
    pub baselines: Vec<BaselineRow>,
    /// `calibration.json`: what was measured of the sensors that were read.
    pub calibrations: Vec<Measured>,
    /// `degraded.csv`: the run, then every cell.
    pub degraded: Vec<DegradedRow>,
    /// `skipped.csv`: cells that a rule left out.
    pub skipped: Vec<SkippedRow>,
    /// `decisions.csv`: why cells took no further calls.
    pub decisions: Vec<DecisionRow>,
    /// `SIMULATED.txt`: what comes from a script. `None`: nothing does, and there is no such file.
    pub simulated: Option<String>,
}

/// Derives every table. Calls of cells that the plan does not have are in `metrics` only.
#[must_use]
pub fn derive(recording: &Recording, plan: &Plan, manifest: &Manifest, trace: &[TraceRow]) -> Tables {
    let mut metrics = metrics::derive(recording, plan, manifest);
    let (energy_events, baselines) = energy::derive(recording, manifest, trace);
    energy::fill(&mut metrics, recording, &energy_events);
    board_state::fill(&mut metrics, recording, manifest, trace);
    let summary = summary::derive(plan, &metrics, |_| true);
    let scopes = scope::scopes(&summary);
    let (scaling_fits, scaling_residuals) = scaling::derive(&scopes, plan.fit);
    let limited = summary::derive(plan, &metrics, |row| row.finish.is_none_or(|finish| finish == Finish::Length));
    let (scaling_fits_length_limited, _) = scaling::derive(&scope::scopes(&limited), plan.fit);
    let warmup_effect = warmup::derive(plan, &metrics);
    let decode_fraction = phases::derive(plan, &metrics);
    let (decode_linearity, decode_projection_error) = linearity::derive(plan, &metrics);
    let (compile_audit, compile_graphs) = compile::derive(recording, plan, &metrics);
    Tables {
        energy_summary: energy::summarise(plan, &metrics, recording, &energy_events),
        energy_soak: energy_soak::derive(recording, manifest, trace, &energy_events),
        energy_events,
        baselines,
        calibrations: energy::calibrations(manifest),
        cuda_event_gap_summary: device_gap::derive(recording, plan, &metrics),
        compile_steps: compile::steps(recording),
        compile_outcome: compile::outcome(&compile_audit),
        compile_audit,
        compile_graphs,
        aggregate: aggregate::derive(&summary),
        scaling_fits,
        scaling_residuals,
        scaling_fits_length_limited,
        multivariate_fits: predictors::multivariate(&scopes),
        overhead_compute_fits: predictors::overhead(&scopes, plan.fit),
        architecture_correlations: predictors::correlations(&scopes),
        model_architecture: models::derive(plan, manifest),
        warmup_summary: warmup::summarise(&warmup_effect),
        warmup_effect,
        load_breakdown: loads::derive(recording, &metrics),
        load_parts: loads::parts(recording),
        decode_fraction_summary: phases::summarise(&decode_fraction),
        decode_fraction,
        batch_shift: shifts::batch(&scopes, plan.fit),
        decode_length_shift: shifts::decode_length(&scopes, plan.fit),
        early_stop_summary: early_stop::derive(plan, &metrics),
        decode_linearity,
        decode_projection_error,
        degraded: degraded::derive(recording, plan),
        skipped: degraded::skipped(plan),
        decisions: degraded::decisions(recording, plan),
        simulated: simulated::derive(manifest),
        summary,
        metrics,
    }
}
