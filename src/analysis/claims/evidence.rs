//! The rows that a run has for claims.

use crate::analysis::compile::CompileOutcomeRow;
use crate::analysis::energy::EnergySummaryRow;
use crate::analysis::engines::EnginePairsRow;
use crate::analysis::kv_memory::KvEmpiricalRow;
use crate::analysis::loads::LoadRow;
use crate::analysis::phases::DecodeFractionSummaryRow;
use crate::analysis::registry::Tables;
use crate::analysis::scaling::ScalingFitRow;
use crate::analysis::summary::SummaryRow;
use crate::record::manifest::Manifest;

/// The rows that claims are held against.
pub struct Evidence<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) pairs: &'a [EnginePairsRow],
    pub(super) outcomes: &'a [CompileOutcomeRow],
    pub(super) fits: &'a [ScalingFitRow],
    pub(super) shares: &'a [DecodeFractionSummaryRow],
    pub(super) loads: &'a [LoadRow],
    pub(super) summary: &'a [SummaryRow],
    pub(super) caches: &'a [KvEmpiricalRow],
    pub(super) energy: &'a [EnergySummaryRow],
}

impl<'a> Evidence<'a> {
    /// Of a run.
    #[must_use]
    pub fn of(tables: &'a Tables, manifest: &'a Manifest) -> Self {
        Self {
            manifest,
            pairs: &tables.engine_pairs,
            outcomes: &tables.compile_outcome,
            fits: &tables.scaling_fits,
            shares: &tables.decode_fraction_summary,
            loads: &tables.load_breakdown,
            summary: &tables.summary,
            caches: &tables.kv_memory_empirical,
            energy: &tables.energy_summary,
        }
    }
}
