//! Every table of a run, one line each.
//!
//! [`Tables`] holds their rows, [`write()`](super::write()) makes their files, [`descriptions()`] tells what is in them.

use std::panic::resume_unwind;
use std::thread;

use crate::record::calibration::Measured;

use super::aggregate::Aggregate;
use super::claims::PublishedClaims;
use super::columns::Description;
use super::compile::{CompileAudit, CompileGraphs, CompileOutcome, CompileSteps};
use super::degraded::{Decisions, DegradedCalls, SkippedCells};
use super::device_gap::DeviceGap;
use super::disturbed::DisturbedCalls;
use super::early_stop::EarlyStops;
use super::energy::{self, BaselineRow, EnergyEvents, EnergySummary};
use super::energy_soak::EnergySoak;
use super::engines::{EngineComparison, EngineGroups, EnginePairs};
use super::imported::StatedFigures;
use super::kv_memory::{KvCrossoverPoints, KvMemoryEmpirical, KvMemoryTheoretical};
use super::linearity::{DecodeLinearity, DecodeProjectionError};
use super::loads::{LoadBreakdown, LoadParts};
use super::machine::MachineSpeed;
use super::metrics::{MetricRow, Metrics};
use super::models::ModelArchitecture;
use super::phases::{DecodeFraction, DecodeFractionSummary};
use super::predictors::{ArchitectureCorrelations, MultivariateFits, OverheadComputeFits};
use super::recommendations::Recommendations;
use super::roofline::Roofline;
use super::scaling::{ScalingFits, ScalingFitsLengthLimited, ScalingResiduals};
use super::shifts::{BatchShift, DecodeLengthShift};
use super::simulated;
use super::summary::Summary;
use super::table::{Sources, Table};
use super::warmup::{WarmupEffect, WarmupSummary};
use super::write::{TableFile, csv};

macro_rules! registry {
    ($($field:ident: $table:ty,)+) => {
        /// Every table of a run, and what stands beside them.
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct Tables {
            $(
                #[doc = concat!("See [`", stringify!($table), "`].")]
                pub $field: Vec<<$table as Table>::Row>,
            )+
            /// `baseline.json`: idle power.
            pub baselines: Vec<BaselineRow>,
            /// `calibration.json`: what was measured of the sensors that were read.
            pub calibrations: Vec<Measured>,
            /// `SIMULATED.txt`: what comes from a script. `None`: nothing does, and there is no such file.
            pub simulated: Option<String>,
        }

        impl Tables {
            pub(super) fn derive(from: &Sources<'_>) -> Self {
                Self::rows_of_all(from);
                Self::taken(from)
            }

            /// As [`derive`](Self::derive), while `beside` does something with the rows of `metrics.csv`.
            pub(super) fn derive_beside<R: Send>(
                from: &Sources<'_>,
                beside: impl FnOnce(&[MetricRow]) -> R + Send,
            ) -> (Self, R) {
                let metrics = from.rows::<Metrics>();
                let rows = metrics.as_slice();
                let done = thread::scope(|scope| {
                    let beside = scope.spawn(|| beside(rows));
                    Self::rows_of_all(from);
                    beside.join()
                });
                drop(metrics);
                (Self::taken(from), done.unwrap_or_else(|panic| resume_unwind(panic)))
            }

            /// Derives all before the first is given away: tables are made from each other's rows.
            fn rows_of_all(from: &Sources<'_>) {
                $(from.rows::<$table>();)+
            }

            fn taken(from: &Sources<'_>) -> Self {
                Self {
                    $($field: from.take::<$table>(),)+
                    baselines: energy::baselines(from),
                    calibrations: energy::calibrations(from.manifest),
                    simulated: simulated::derive(from.manifest),
                }
            }

            /// Every CSV file.
            pub(super) fn csv_files(&self) -> Vec<TableFile<'_>> {
                let mut files = Vec::new();
                $(
                    if !<$table>::NEEDS_POWER || !self.energy_events.is_empty() {
                        files.push(TableFile::new(<$table>::FILE, |out| csv::<$table>(&self.$field, out)));
                    }
                )+
                files
            }
        }

        /// What every table holds, without a run.
        #[must_use]
        pub fn descriptions() -> Vec<Description> {
            vec![$(Description::of::<$table>()),+]
        }
    };
}

registry! {
    energy_events: EnergyEvents,
    metrics: Metrics,
    summary: Summary,
    aggregate: Aggregate,
    engine_comparison: EngineComparison,
    engine_pairs: EnginePairs,
    engine_groups: EngineGroups,
    scaling_fits: ScalingFits,
    scaling_residuals: ScalingResiduals,
    scaling_fits_length_limited: ScalingFitsLengthLimited,
    multivariate_fits: MultivariateFits,
    overhead_compute_fits: OverheadComputeFits,
    architecture_correlations: ArchitectureCorrelations,
    model_architecture: ModelArchitecture,
    warmup_effect: WarmupEffect,
    warmup_summary: WarmupSummary,
    load_breakdown: LoadBreakdown,
    load_parts: LoadParts,
    decode_fraction: DecodeFraction,
    decode_fraction_summary: DecodeFractionSummary,
    batch_shift: BatchShift,
    decode_length_shift: DecodeLengthShift,
    early_stop_summary: EarlyStops,
    decode_linearity: DecodeLinearity,
    decode_projection_error: DecodeProjectionError,
    compile_steps: CompileSteps,
    compile_audit: CompileAudit,
    compile_graphs: CompileGraphs,
    compile_outcome: CompileOutcome,
    cuda_event_gap_summary: DeviceGap,
    kv_memory_theoretical: KvMemoryTheoretical,
    kv_memory_empirical: KvMemoryEmpirical,
    kv_crossover_points: KvCrossoverPoints,
    machine: MachineSpeed,
    roofline: Roofline,
    energy_summary: EnergySummary,
    energy_soak: EnergySoak,
    stated_figures: StatedFigures,
    disturbed: DisturbedCalls,
    degraded: DegradedCalls,
    skipped: SkippedCells,
    decisions: Decisions,
    recommendations: Recommendations,
    claims: PublishedClaims,
}
