//! Arguments of what makes something of rates, runs and models.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::scenario::quantity;
use crate::scenario::workload::{Latency, Slo};
use crate::terms::{SensorKind, model};
use crate::units::Bytes;

/// A number of months.
fn months(text: &str) -> Result<f64, String> {
    let months = text.parse::<f64>().ok().filter(|months| *months > 0.0 && *months <= 1200.0);
    months.ok_or_else(|| "allowed: more than 0, at most 1200".to_owned())
}

/// A model with a success rate.
fn success(text: &str) -> Result<(String, f64), String> {
    let allowed = || "allowed: MODEL=RATE, the rate above 0 and up to 1".to_owned();
    let (model, rate) = text.rsplit_once('=').ok_or_else(allowed)?;
    let rate = rate.parse::<f64>().ok().filter(|rate| *rate > 0.0 && *rate <= 1.0).ok_or_else(allowed)?;
    Ok((model.to_owned(), rate))
}

/// A name of an element type, of those that a model can be stored in.
fn stored_dtype(text: &str) -> Result<model::Dtype, String> {
    let known = [model::Dtype::F32, model::Dtype::F16, model::Dtype::Bf16];
    known.into_iter().find(|dtype| dtype.as_str() == text).ok_or_else(|| "allowed: f32, f16, bf16".to_owned())
}

/// How fast answers must be.
fn slo(text: &str) -> Result<Slo, String> {
    let allowed = || "allowed: OF=TIME@PERCENTILE, OF being ttft, tpot or e2e, such as ttft=500ms@95".to_owned();
    let (of, rest) = text.split_once('=').ok_or_else(allowed)?;
    let (within, percentile) = rest.split_once('@').ok_or_else(allowed)?;
    let known = [Latency::Ttft, Latency::Tpot, Latency::E2e];
    let of = known.into_iter().find(|latency| latency.as_str() == of).ok_or_else(allowed)?;
    let within = quantity::duration(within).map_err(|why| format!("`{within}` {why}; {}", allowed()))?;
    let percentile = percentile.parse::<f64>().ok().filter(|of| *of > 0.0 && *of < 100.0).ok_or_else(allowed)?;
    Ok(Slo { of, within, percentile })
}

/// `decide`
#[derive(Debug, Args)]
#[command(after_help = "Example: phasebench decide results/RUN --pricing scenarios/pricing/tr123.yaml")]
pub struct DecideArgs {
    /// The run folder; of several, the decisions of each, and what two say together; the first is the one that is priced
    #[arg(value_name = "RUN", required = true)]
    pub run: Vec<PathBuf>,
    /// Prices, such as scenarios/pricing/tr123.yaml
    #[arg(long, value_name = "FILE")]
    pub pricing: Option<PathBuf>,
    /// Requests, such as scenarios/workloads/tr123_packs.yaml; those that the run's scenario file names if not given
    #[arg(long, value_name = "FILE", requires = "pricing")]
    pub workload: Option<PathBuf>,
    /// How fast answers must be, such as ttft=500ms@95, besides what the workload says; without a workload every measured cell is
    /// the request; may be given more than once
    #[arg(long, value_name = "OF=TIME@PERCENTILE", value_parser = slo)]
    pub slo: Vec<Slo>,
    /// Success rate of a model, 0 to 1, such as small=0.7: what a dearer model must reach; may be given more than once
    #[arg(long, value_name = "MODEL=RATE", value_parser = success, requires = "pricing")]
    pub success: Vec<(String, f64)>,
    /// What weights and KV cache may take together: longest contexts and largest batches
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes)]
    pub memory: Option<Bytes>,
    /// Statements that the run is held against, such as scenarios/claims/example.yaml; if not given, those that its
    /// scenario file names, else those of published reports
    #[arg(long, value_name = "FILE")]
    pub claims: Option<PathBuf>,
    /// Also write decisions.csv and claims.csv into this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `fit`
#[derive(Debug, Args)]
#[command(after_help = "Example: phasebench fit metrics.csv --x params_millions --y latency_ms")]
pub struct FitArgs {
    /// A CSV file with a header, or - for standard input
    pub table: PathBuf,
    /// Column of the predictor
    #[arg(long, value_name = "COL")]
    pub x: String,
    /// Column of the latency
    #[arg(long, value_name = "COL")]
    pub y: String,
    /// Column of a second predictor
    #[arg(long, value_name = "COL")]
    pub x2: Option<String>,
    /// Fit the rows of each value of this column apart
    #[arg(long, value_name = "COL")]
    pub group: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `cost`
#[derive(Debug, Args)]
#[command(after_help = "Example: phasebench cost results/RUN --pricing scenarios/pricing/tr119.yaml")]
pub struct CostArgs {
    /// A run folder, or a CSV file with a header
    #[arg(value_name = "RUN|TABLE.csv")]
    pub of: PathBuf,
    /// Pricing file, such as scenarios/pricing/tr119.yaml
    #[arg(long, value_name = "FILE")]
    pub pricing: PathBuf,
    /// Workload file, such as scenarios/workloads/whitepaper.yaml; the one that the run's scenario file names if not given. Without
    /// any, a million tokens of each phase is all
    #[arg(long, value_name = "FILE")]
    pub workload: Option<PathBuf>,
    /// Only this tier of the pricing file; may be given more than once, the first is what single figures are in
    #[arg(long, value_name = "NAME")]
    pub tier: Vec<String>,
    /// How long machines are held against hire; the hardware's months if not given, else 36
    #[arg(long, value_name = "N", value_parser = months)]
    pub months: Option<f64>,
    /// Success rate of a model, 0 to 1, such as small=0.7: what a dearer model must reach; may be given more than once
    #[arg(long, value_name = "MODEL=RATE", value_parser = success)]
    pub success: Vec<(String, f64)>,
    /// How a table's rates become times; of a run both are shown
    #[arg(long, value_enum, default_value_t)]
    pub rule: CostRule,
    /// Columns of a table whose values rows are averaged over
    #[arg(long, value_name = "COL,…", value_delimiter = ',')]
    pub group: Vec<String>,
    /// Column of prefill's rate; prefill_tokens_per_s if not given
    #[arg(long, value_name = "COL", conflicts_with = "rate")]
    pub prefill: Option<String>,
    /// Column of decode's rate; decode_tokens_per_s or kv_decode_tokens_per_s if not given
    #[arg(long, value_name = "COL", conflicts_with = "rate")]
    pub decode: Option<String>,
    /// Column of one rate for all tokens
    #[arg(long, value_name = "COL")]
    pub rate: Option<String>,
    /// Also write what a run costs as CSV files into this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Sensor that a table's power is from: nvml, rapl or hwmon
    #[arg(long, value_name = "KIND")]
    pub sensor: Option<SensorKind>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// How a table's rates become times.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum CostRule {
    /// Times are averaged, and taken between the lengths measured
    #[default]
    Measured,
    /// Rates are averaged, as the published reports do
    Tr119,
}

/// `kv`
#[derive(Debug, Args)]
#[command(after_help = "Example: phasebench kv models/small --context 1024,8192 --memory 12GiB")]
pub struct KvArgs {
    /// A model folder, or a config.json
    pub model: PathBuf,
    /// Contexts to reckon, in tokens
    #[arg(long, value_name = "TOKENS,…", value_delimiter = ',', default_value = "64,128,256,512,1024,2048",
        value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub context: Vec<u64>,
    /// Sequences at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub batch: u64,
    /// What weights and cache may take together; the machine's memory if not given
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes)]
    pub memory: Option<Bytes>,
    /// Size of the weights, such as that of a quantised file; counted from the model if not given
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes)]
    pub weights: Option<Bytes>,
    /// Element type of weights and cache: f32, f16 or bf16; beside it stands a cache of 8 bits
    #[arg(long, default_value = "f16", value_parser = stored_dtype)]
    pub dtype: model::Dtype,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
