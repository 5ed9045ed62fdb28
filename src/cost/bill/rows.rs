//! Rows of a bill about phases and requests.

use serde::Serialize;

use crate::analysis::columns::nested::rows;
use crate::cost::engines::EngineName;
use crate::cost::request::Coverage;
use crate::economics::figures::Uncertain;
use crate::economics::request_time::Reach;

use super::money::Money;

rows! {
    /// A million tokens of a phase.
    #[derive(Debug, Serialize)]
    pub struct PhaseRow {
        /// The engine.
        pub engine: EngineName,
        /// Name of the tier.
        pub tier: String,
        /// `prefill`, `decode`, or the name of a blend.
        pub phase: String,
        /// What the million tokens take.
        /// Unit: seconds.
        pub seconds: Uncertain,
        /// Per million tokens.
        pub cost: Money,
    }

    /// A workload's mean request on an engine.
    #[derive(Debug, Serialize)]
    pub struct RequestRow {
        /// The engine.
        pub engine: EngineName,
        /// How much of the workload was measured.
        pub coverage: Coverage,
        /// Prompt tokens of the mean covered request.
        /// Unit: tokens.
        pub prompt_tokens: f64,
        /// Tokens written by it.
        /// Unit: tokens.
        pub gen_tokens: f64,
        /// Time of a request as one of a batch. Null: nothing is covered.
        /// Unit: seconds.
        pub seconds: Option<Uncertain>,
        /// The same by the published rule.
        /// Unit: seconds.
        pub by_mean_rates_s: Option<f64>,
        /// That rule against ours.
        /// Unit: percent.
        pub by_mean_rates_percent: Option<f64>,
        /// Whether prefill was measured at one length, and is taken to grow in proportion.
        pub proportional: bool,
        /// Energy of a request. Null: not counted.
        /// Unit: joules.
        pub joules: Option<Uncertain>,
        /// Why energy is not counted. Null: it is.
        pub no_energy: Option<String>,
        /// Share of draws in which no engine with the same model is cheaper. Null: it is the only one, or too little is covered.
        /// Unit: fraction.
        pub cheapest_in: Option<f64>,
        /// Fewest calls of a cell.
        pub calls: usize,
    }

    /// A thousand requests on a tier.
    #[derive(Debug, Serialize)]
    pub struct ThousandRow {
        /// The engine.
        pub engine: EngineName,
        /// Name of the tier.
        pub tier: String,
        /// Share of the workload that was measured.
        /// Unit: fraction.
        pub coverage: f64,
        /// Per thousand requests.
        pub cost: Money,
        /// The total per million tokens of these requests, read and written.
        /// Unit: money.
        pub per_million_tokens: Uncertain,
    }

    /// One shape of a mix.
    #[derive(Debug, Serialize)]
    pub struct ShapeRow {
        /// The engine.
        pub engine: EngineName,
        /// The shape's name.
        pub shape: String,
        /// Whether it was measured.
        pub reach: Reach,
        /// What such a request takes. Null: it was not measured.
        /// Unit: seconds.
        pub seconds: Option<Uncertain>,
        /// Per thousand requests on the first tier. Null: it was not measured.
        pub cost: Option<Money>,
    }
}
