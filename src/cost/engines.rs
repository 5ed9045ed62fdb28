//! The cells of a run as figures, engine by engine.

mod energy;
mod energy_bounds;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::analysis::columns::nested::rows;
use crate::analysis::engines::process_allowance;
use crate::analysis::{SummaryRow, Tables};
use crate::economics::figures::{Figure, FigureId, Figures, Product, Sum};
use crate::economics::request_time::{Measured, RequestTime};
use crate::record::manifest::Manifest;
use crate::record::plan::Plan;
use crate::stats::pooled::{CellError, KnownError, pooled};
use crate::stats::{LEVEL, student};
use crate::terms::{Dtype, Mode};

pub use energy::Energy;
use energy::energy;
pub(super) use energy::owned;
use energy_bounds::between;
pub use energy_bounds::{EnergyBounds, EnergyEnd};

use super::tails::{PooledCalls, Tails};

rows! {
    /// One engine with one model, in one batch size.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
    pub struct EngineName {
        /// Model name.
        pub model: String,
        /// Backend name.
        pub backend: String,
        /// Element type of the sessions.
        pub dtype: Dtype,
        /// Rows decoded together.
        pub batch: u32,
        /// How it decodes: with a KV cache, or by a full pass per token.
        pub decode: Mode,
    }
}

impl EngineName {
    /// What else it is besides model, backend and element type: ` × 8 without KV cache`. Empty: one row at a time, with a cache.
    #[must_use]
    pub fn peculiarity(&self) -> String {
        let batch = if self.batch == 1 { String::new() } else { format!(" × {}", self.batch) };
        let cache = if self.decode == Mode::GenerateUncached { " without KV cache" } else { "" };
        format!("{batch}{cache}")
    }

    /// What is said of it where the model is known: the backend, and what else it is.
    #[must_use]
    pub fn on(&self) -> String {
        format!("{}{}", self.backend, self.peculiarity())
    }

    /// Whether a row is a cell in which this engine decodes, and may be priced by.
    pub(super) fn decodes(&self, row: &SummaryRow) -> bool {
        row.mode == self.decode && self.is_of(row) && row.is_proven() && row.location_ms.is_some()
    }

    /// Whether a row is of this engine, in whichever mode.
    fn is_of(&self, row: &SummaryRow) -> bool {
        let key = &row.key;
        (&key.model, &key.backend, key.dtype, key.batch) == (&self.model, &self.backend, self.dtype, self.batch)
    }
}

/// `gpt2-25m on ort-cpu (f32)`, with the batch where it is not one, and whether it decodes without a cache.
impl fmt::Display for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {} ({}{})", self.model, self.backend, self.dtype.as_str(), self.peculiarity())
    }
}

/// What is known of an engine.
#[derive(Debug, Clone)]
pub struct Engine {
    /// Which one.
    pub name: EngineName,
    /// Mean time of a million prompt tokens over its cells. Unit: seconds.
    pub prefill_million_s: Sum,
    /// The same of tokens written.
    pub decode_million_s: Sum,
    /// Time of a call. Unit: milliseconds.
    pub time: RequestTime,
    /// What all its times may be off by against those of the others, since one process of each was measured: a standard
    /// deviation of the logarithm, in the draws. `None`: several sessions were, or there is no other.
    pub process_allowance: Option<f64>,
    /// Arithmetic means of the cells' rates, as the published rule wants them. Unit: tokens per second.
    pub mean_rates: (f64, f64),
    /// Energy, or why none is counted.
    pub energy: Result<Energy, String>,
    /// What its energy lies between where it is not counted because a figure is of grade D. `None`: it is counted, or some cell
    /// has no figure at all.
    pub energy_between: Option<EnergyBounds>,
    /// Longest context. Unit: tokens. `None`: not known.
    pub longest_context: Option<u64>,
    /// Cells in both phases.
    pub cells: usize,
    /// Fewest calls of a cell.
    pub calls: usize,
    /// How long the slow ones among its calls take.
    pub tails: Tails,
    /// Each cell's phase: those of prefill, then those of decode.
    pub measurements: Vec<Measurement>,
}

/// A phase of a cell, per million tokens.
#[derive(Debug, Clone)]
pub struct Measurement {
    /// Scenario name.
    pub scenario: String,
    /// Decode steps.
    pub gen_tokens: u32,
    /// What was timed.
    pub phase: Mode,
    /// Prompt tokens really sent per row.
    pub prompt_tokens: f64,
    /// Calls that count.
    pub calls: usize,
    /// Unit: seconds.
    pub seconds: Product,
    /// Unit: joules. `None`: energy is not counted.
    pub joules: Option<Product>,
}

/// Modes that an engine may decode in, the one that it is priced by first. They are never mixed.
const DECODES: [Mode; 2] = [Mode::KvDecode, Mode::GenerateUncached];

/// Every engine of a run that has both phases, in the order of the tables.
#[must_use]
pub fn engines(tables: &Tables, manifest: &Manifest, plan: &Plan) -> (Vec<Engine>, Figures) {
    let mut figures = Figures::default();
    let mut gains = BTreeMap::new();
    let usable: Vec<&SummaryRow> =
        tables.summary.iter().filter(|row| row.is_proven() && row.location_ms.is_some()).collect();
    let mut found: Vec<(EngineName, Phases<'_>)> = Vec::new();
    for row in &usable {
        let name = name(row, &usable);
        if !found.iter().any(|(known, _)| *known == name) {
            let phases = Phases::of(&name, &usable);
            found.push((name, phases));
        }
    }
    let allowance = process_allowance(plan).filter(|_| found.len() > 1);
    let pooled = PooledCalls::of(&usable, &tables.metrics);
    let of = |(name, phases): (EngineName, Phases<'_>)| {
        let tails = pooled.tails(&phases.prefill, &phases.decode);
        engine(name, &phases, tails, (tables, manifest), allowance, &mut figures, &mut gains)
    };
    let found = found.into_iter().filter_map(of).collect();
    (found, figures)
}

/// Why a run has no engine that can be priced, in words.
#[must_use]
pub fn why_none(tables: &Tables) -> String {
    let measured = |modes: &[Mode]| tables.summary.iter().any(|row| modes.contains(&row.mode));
    let why = if tables.summary.is_empty() {
        "no call counts"
    } else if !measured(&[Mode::Prefill]) {
        "the run did not measure `prefill`, which every request begins with"
    } else if !measured(&DECODES) {
        "the run measured no decode, neither `kv_decode` nor `generate_uncached`"
    } else if !tables.summary.iter().any(|row| row.is_proven()) {
        "no cell's calls prove where they ran and lie in their phases"
    } else if !tables.summary.iter().any(|row| row.is_proven() && row.location_ms.is_some()) {
        "no cell has three calls that count"
    } else {
        "no engine has cells of both prefill and decode with three calls that count and prove where they ran"
    };
    format!("nothing can be priced: {why}")
}

/// The engine of a row. Where it decodes both ways, it is priced with the cache.
fn name(row: &SummaryRow, all: &[&SummaryRow]) -> EngineName {
    let key = &row.key;
    let named = |decode: Mode| EngineName {
        model: key.model.clone(),
        backend: key.backend.clone(),
        dtype: key.dtype,
        batch: key.batch,
        decode,
    };
    let measured = |decode: &Mode| all.iter().any(|other| other.mode == *decode && named(*decode).is_of(other));
    named(DECODES.into_iter().find(measured).unwrap_or(DECODES[0]))
}

/// Cells of an engine, by phase.
struct Phases<'a> {
    prefill: Vec<&'a SummaryRow>,
    decode: Vec<&'a SummaryRow>,
}

impl<'a> Phases<'a> {
    fn of(name: &EngineName, usable: &[&'a SummaryRow]) -> Self {
        let of_mode = |mode: Mode| usable.iter().copied().filter(|row| row.mode == mode && name.is_of(row)).collect();
        Self { prefill: of_mode(Mode::Prefill), decode: of_mode(name.decode) }
    }
}

fn engine(
    name: EngineName,
    Phases { prefill, decode }: &Phases<'_>,
    tails: Tails,
    (tables, manifest): (&Tables, &Manifest),
    process_allowance: Option<f64>,
    figures: &mut Figures,
    gains: &mut BTreeMap<String, FigureId>,
) -> Option<Engine> {
    let (prefill_ms, decode_ms) = (timed(prefill, figures), timed(decode, figures));
    let process = process_allowance.map(|log_error| figures.add(Figure { value: 1.0, log_error, df: None }));
    let time = RequestTime::new(&prefill_ms, &decode_ms, process)?;
    let energy = energy(prefill, decode, tables, figures, gains);
    let seconds = [(prefill, &prefill_ms), (decode, &decode_ms)].map(|(rows, cells)| millions(rows, cells, process));
    let energy_between = if energy.is_err() { between(prefill, decode, tables, figures) } else { None };
    let architecture = manifest.models.get(&name.model).and_then(|entry| entry.architecture.as_ref());
    let served = manifest.models.get(&name.model).and_then(|entry| entry.served.as_ref()?.n_positions);
    Some(Engine {
        prefill_million_s: mean(&seconds[0], prefill_ms.len(), figures),
        decode_million_s: mean(&seconds[1], decode_ms.len(), figures),
        measurements: measurements([prefill, decode], &seconds, energy.as_ref().ok()),
        time,
        process_allowance,
        mean_rates: (mean_rate(prefill)?, mean_rate(decode)?),
        energy,
        energy_between,
        longest_context: architecture.map(|shape| shape.n_positions as u64).or(served),
        cells: prefill.len().min(decode.len()),
        calls: prefill.iter().chain(decode).map(|row| row.n).min().unwrap_or_default(),
        tails,
        name,
    })
}

/// Time of each cell's call, of decode per step. Cells whose prompt is not known are left out.
fn timed(rows: &[&SummaryRow], figures: &mut Figures) -> Vec<Measured> {
    let located: Vec<Located> = rows.iter().filter_map(|row| Located::of(row)).collect();
    let errors = errors(&located.iter().map(|cell| cell.error).collect::<Vec<_>>());
    let cells = located.iter().zip(errors).map(|(cell, error)| {
        let figure = Figure { value: cell.ms, log_error: error.standard_error, df: Some(error.df) };
        Measured { prompt: cell.prompt, steps: cell.steps, figure: figures.add(figure) }
    });
    cells.collect()
}

/// A cell with the error that its interval stands for.
struct Located {
    prompt: f64,
    steps: f64,
    /// Of a call, of decode per step.
    ms: f64,
    error: LocationError,
}

/// How far a cell's location is known.
#[derive(Debug, Clone, Copy)]
enum LocationError {
    /// From its calls: how far one depends on the one before is estimated from all such cells together.
    OfCalls(CellError),
    /// From its sessions, whose interval holds already what cells know of each other.
    OfSessions(KnownError),
}

impl Located {
    /// `None`: no prompt is known, or there is no interval.
    fn of(row: &SummaryRow) -> Option<Self> {
        let (prompt, steps) = (row.prompt_tokens.filter(|tokens| *tokens > 0.0)?, f64::from(row.key.gen_tokens));
        let per = if DECODES.contains(&row.mode) { steps } else { 1.0 };
        let ms = row.location_ms? / per;
        Some(Self { prompt, steps, ms, error: LocationError::of(row)? })
    }
}

impl LocationError {
    /// `None`: there is no interval.
    fn of(row: &SummaryRow) -> Option<Self> {
        let (value, high, n_effective) = (row.location_ms?, row.ci_high_ms?, row.n_effective?);
        let df = n_effective - 1.0;
        let standard_error = (high / value).ln() / student::critical(LEVEL, df)?;
        Some(if row.interval_kind.is_of_sessions() {
            Self::OfSessions(KnownError { standard_error, df })
        } else {
            Self::OfCalls(CellError { n: row.n, n_effective, rho1: row.rho1, standard_error })
        })
    }
}

/// The errors of cells of one engine and phase, cell by cell.
fn errors(cells: &[LocationError]) -> Vec<KnownError> {
    let of_calls = cells.iter().filter_map(|error| match error {
        LocationError::OfCalls(error) => Some(*error),
        LocationError::OfSessions(_) => None,
    });
    let mut of_calls = pooled(&of_calls.collect::<Vec<_>>()).into_iter();
    let known = cells.iter().filter_map(|error| match error {
        LocationError::OfCalls(_) => of_calls.next(),
        LocationError::OfSessions(known) => Some(*known),
    });
    known.collect()
}

/// The time that a million tokens take in each cell, with the cell's place among the rows.
#[expect(clippy::cast_precision_loss, reason = "a count of tokens")]
fn millions(rows: &[&SummaryRow], cells: &[Measured], process: Option<FigureId>) -> Vec<(usize, Product)> {
    let known = rows.iter().enumerate().filter(|(_, row)| row.prompt_tokens.is_some_and(|tokens| tokens > 0.0));
    let of_cell = |((place, row), cell): ((usize, &&SummaryRow), &Measured)| {
        let steps = if DECODES.contains(&row.mode) { cell.steps } else { 1.0 };
        let tokens = row.tokens.filter(|tokens| *tokens > 0)?;
        let powers = [Some(cell.figure), process].into_iter().flatten().map(|figure| (figure, 1.0)).collect();
        Some((place, Product { scale: 1e3 * steps / tokens as f64, powers }))
    };
    known.zip(cells).filter_map(of_cell).collect()
}

/// The mean over so many cells: times are averaged, rates never.
#[expect(clippy::cast_precision_loss, reason = "a count of cells")]
fn mean(of: &[(usize, Product)], cells: usize, figures: &Figures) -> Sum {
    let mut sum = Sum::default();
    for (_, product) in of {
        sum.add(&Product { scale: product.scale / cells as f64, powers: product.powers.clone() }, figures);
    }
    sum
}

/// Each cell's phases by themselves.
fn measurements(
    phases: [&[&SummaryRow]; 2],
    seconds: &[Vec<(usize, Product)>; 2],
    energy: Option<&Energy>,
) -> Vec<Measurement> {
    let mut found = Vec::new();
    // Energy of prefill's cells stands before that of decode's.
    for ((rows, seconds), before) in phases.into_iter().zip(seconds).zip([0, phases[0].len()]) {
        found.extend(seconds.iter().map(|(place, seconds)| {
            let row = rows[*place];
            Measurement {
                scenario: row.key.scenario.clone(),
                gen_tokens: row.key.gen_tokens,
                phase: row.mode,
                prompt_tokens: row.prompt_tokens.unwrap_or_default(),
                calls: row.n,
                seconds: seconds.clone(),
                joules: energy.and_then(|energy| energy.million_j.get(before + place).cloned()),
            }
        }));
    }
    found
}

#[expect(clippy::cast_precision_loss, reason = "a count of cells")]
fn mean_rate(rows: &[&SummaryRow]) -> Option<f64> {
    let rates: Vec<f64> = rows.iter().filter_map(|row| row.tokens_per_s).collect();
    (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / rates.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sessions that differ by more than their calls do are few, however many calls they have.
    #[test]
    fn a_cell_of_sessions_keeps_their_few_degrees_of_freedom() {
        let calls = CellError { n: 90, n_effective: 60.0, rho1: Some(0.1), standard_error: 0.001 };
        let sessions = KnownError { standard_error: 0.02, df: 4.0 };
        let mixed = [LocationError::OfCalls(calls), LocationError::OfSessions(sessions), LocationError::OfCalls(calls)];
        let known = errors(&mixed);
        assert_eq!(known[1], sessions);
        assert_eq!(
            [known[0], known[2]],
            pooled(&[calls, calls])[..],
            "a cell of sessions tells others nothing of calls"
        );
    }
}
