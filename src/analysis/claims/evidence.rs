//! The rows that a run has for claims.

use crate::analysis::compile::CompileOutcomeRow;
use crate::analysis::degraded::DegradedRow;
use crate::analysis::energy::EnergySummaryRow;
use crate::analysis::engines::EnginePairsRow;
use crate::analysis::kv_memory::KvEmpiricalRow;
use crate::analysis::loads::LoadRow;
use crate::analysis::models::ModelRow;
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
    pub(super) models: &'a [ModelRow],
    pub(super) degraded: &'a [DegradedRow],
    /// `None`: there are no prices, and nothing is said of money.
    pub(super) priced: Option<&'a Priced>,
}

/// What prices say of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Priced {
    /// Share of energy in what a million tokens cost, 0 to 1, with what they are of; of those whose energy is counted.
    pub energy_shares: Vec<(String, f64)>,
    /// How much less a machine of one's own costs by the hour than the first tier, 0 to 1, with its tier.
    pub own_saves: Vec<(String, f64)>,
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
            models: &tables.model_architecture,
            degraded: &tables.degraded,
            priced: None,
        }
    }

    /// The same with what prices say.
    #[must_use]
    pub fn priced(self, priced: &'a Priced) -> Self {
        Self { priced: Some(priced), ..self }
    }
}
