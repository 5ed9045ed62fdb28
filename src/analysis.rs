//! Derives every table from records alone: pure, and the same bytes every time.
//!
//! [`derive()`] makes [`Tables`] from what was recorded, the plan and the manifest's models; [`write()`] puts them into the
//! run folder as CSV, [`derive_and_write()`] does both at once. It knows no engine. All tables come from `metrics.csv`, one row per call and mode:
//!
//! ```text
//! record → metrics → summary (per cell) → aggregate (over scenarios)
//!                  │                    └ scope → scaling, predictors, shifts
//!                  ├ warmup, phases, early_stop, linearity      record → loads, degraded
//!                  ├ compile (with the record's evidence)
//!                  ├ engines (two and more on the same cells)
//!                  └ energy (with the power trace)
//! ```
//!
//! What may enter an aggregate is decided in one place, [`MetricRow::counts`]. Rows stand in the plan's order. A figure
//! that is not there is `None` and an empty field, never 0; where a fit cannot be made its row says why.

pub mod across;
pub mod aggregate;
mod board;
mod call_rows;
pub mod claims;
pub mod cold_starts;
pub mod columns;
pub mod compile;
pub mod degraded;
pub mod device_gap;
pub mod disturbed;
pub mod early_stop;
pub mod energy;
pub mod energy_soak;
pub mod engines;
mod flags;
mod groups;
pub mod imported;
mod judged_again;
mod key;
pub mod kv_memory;
pub mod linearity;
pub mod loads;
pub mod machine;
mod metric_row;
pub mod metrics;
pub mod models;
pub mod overview;
pub mod phases;
pub mod place;
pub mod predictors;
pub mod recommendations;
mod registry;
pub mod roofline;
pub mod scaling;
pub mod scope;
mod session_locations;
pub mod shifts;
mod simulated;
pub mod summary;
pub mod table;
pub mod validate;
pub mod warmup;
pub mod write;

use crate::record::manifest::Manifest;
use crate::record::plan::Plan;
use crate::store::{Recording, TraceRow};

pub use aggregate::AggregateRow;
pub use board::BoardColumns;
pub use call_rows::CallRows;
pub use claims::{ClaimRow, ClaimStatus};
pub use compile::{
    CacheState, CompileAuditRow, CompileGraphsRow, CompileOutcomeRow, CompileStepRow, CompileVerdict, GraphUse,
};
pub use degraded::{DecisionRow, DegradedRow, SkippedRow};
pub use device_gap::DeviceGapRow;
pub use disturbed::DisturbedRow;
pub use early_stop::EarlyStopRow;
pub use energy::{BaselineRow, EnergyColumns, EnergyEventRow, EnergySummaryRow};
pub use energy_soak::SoakRow;
pub use engines::{EngineComparisonRow, EngineGroupsRow, EnginePairsRow, EngineVerdict, Pairing, Samples};
pub use flags::Flags;
pub use imported::StatedRow;
pub use key::{CellKey, PlannedKey};
pub use kv_memory::{KvCrossoverRow, KvEmpiricalRow, KvTheoryRow};
pub use linearity::{DecodeLinearityRow, DecodeProjectionErrorRow};
pub use loads::{LoadPartRow, LoadRow};
pub use machine::MachineRow;
pub use metrics::{Extras, MetricColumns, MetricRow, Standing, Told};
pub use models::{ArchitectureColumns, ModelRow};
pub use overview::Overview;
pub use phases::{DecodeFractionRow, DecodeFractionSummaryRow};
pub use predictors::{CorrelationRow, MultivariateRow, OverheadRow};
pub use recommendations::RecommendationRow;
pub use registry::{Tables, descriptions};
pub use roofline::{HeldBy, RooflineRow};
pub use scaling::{CurvePoint, ScalingFitRow, ScalingResidualRow, curve};
pub use scope::{FitKey, ScopeKind};
pub use shifts::{Metric, ShiftRow};
pub use summary::{CvBand, IntervalKind, Proof, SummaryRow};
pub use table::Sources;
pub use warmup::{WarmupRow, WarmupSummaryRow};
pub use write::{Out, TableFile, WriteError, derive_and_write, files, table_files, write};

/// Derives every table. Calls of cells that the plan does not have are in `metrics` only.
#[must_use]
pub fn derive(recording: &Recording, plan: &Plan, manifest: &Manifest, trace: &[TraceRow]) -> Tables {
    Tables::derive(&Sources::new(recording, plan, manifest, trace))
}
