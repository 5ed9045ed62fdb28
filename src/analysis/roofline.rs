//! `roofline.csv`: how near each cell comes to what the machine can do at most.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::record::manifest::Manifest;
use crate::roofline::{Demand, Use};
use crate::stats::median::Median;
use crate::store::Recording;
use crate::terms::model::Architecture;
use crate::terms::{Kernel, Mode};
use crate::units::Bytes;

use super::columns::columns;
use super::groups::{Group, by_cell};
use super::key::CellKey;
use super::machine::{Board, Speeds};
use super::metrics::Metrics;
use super::place::{Place, Places};
use super::summary::{Summary, SummaryRow};
use super::table::{Sources, Table};

/// A cell that does more than this share of a roof shows that the machine was measured too slow: beside others, or too briefly.
const EXCEEDS: f64 = 1.05;
/// From this share of the time on, a roof is what holds a cell: the larger part of it.
const HOLDS: f64 = 0.5;

columns! {
    /// One cell in one mode that is proven to have run on the processor, or on one NVIDIA board that was measured, with a model
    /// whose shape and element type are known.
    pub struct RooflineRow {
        ..key: Arc<CellKey>,
        /// `prefill` or `kv_decode`.
        mode: Mode,
        /// Tokens of a row's prompt, padding included.
        prompt_padded: u32,
        /// One prefill, or the mean decode step: location ÷ steps; the median where there is no location.
        step_ms: f64,
        /// Weights that a step reads at least: all but the tables of which it reads a row for each token.
        weights_bytes: f64,
        /// Keys and values that the mean step reads, over all rows.
        kv_read_bytes: f64,
        /// Operations that a step makes at least; a multiply-add is two.
        /// Source: 2 × parameters × tokens, with attention.
        /// Unit: operations.
        operations: f64,
        /// Bytes of both ÷ time.
        /// Unit: bytes/s.
        achieved_bytes_per_s: f64,
        /// Operations ÷ time.
        /// Unit: 1/s.
        achieved_operations_per_s: f64,
        /// Threads of the engine, as it reports them. `None`: it does not, or it ran on a board.
        /// Unit: threads.
        threads: Option<u32>,
        /// What the machine reads, with these threads where that was measured, else at most; of a board what it copies, reading and
        /// writing together. `None`: the run measured none.
        /// Unit: bytes/s.
        memory_roof: Option<f64>,
        /// The same on plain pages. `None`: as above; boards have none.
        /// Unit: bytes/s.
        memory_plain_roof: Option<f64>,
        /// What it computes. `None`: as above; of boards it is not measured.
        /// Unit: 1/s.
        compute_roof: Option<f64>,
        /// Whether the weights fit into the last level of the caches, of a board its L2, so that they need not come from memory.
        /// `None`: not told.
        fits_cache: Option<bool>,
        /// Achieved bytes ÷ `memory_roof`. `None`: no roof.
        /// Unit: fraction.
        memory_share: Option<f64>,
        /// Lower end of its 95 % interval: the cell's time and the roof at their ends. `None`: no roof, or no interval of either.
        /// Unit: fraction.
        memory_share_low: Option<f64>,
        /// Upper end.
        /// Unit: fraction.
        memory_share_high: Option<f64>,
        /// Achieved operations ÷ `compute_roof`. `None`: no roof.
        /// Unit: fraction.
        compute_share: Option<f64>,
        /// Lower end of its 95 % interval. `None`: as above.
        /// Unit: fraction.
        compute_share_low: Option<f64>,
        /// Upper end.
        /// Unit: fraction.
        compute_share_high: Option<f64>,
        /// Tokens per second as measured: of the prompt, or decoded, over all rows.
        tokens_per_s: f64,
        /// The same at the nearer roof; memory is none where the weights fit into the caches. `None`: no roof, or one that the
        /// cell exceeds by more than 5 %, which was measured too low; prefill on a board, whose arithmetic is not measured.
        /// Source: Williams, Waterman and Patterson, Roofline (2009).
        ceiling_tokens_per_s: Option<f64>,
        /// What takes the larger part of the time. `None`: as above; on a board, memory does not.
        held_by: Option<HeldBy>,
        /// UUID of the board that it ran on. `None`: it ran on the processor.
        board: Option<String>,
    }
}

/// What holds a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldBy {
    /// Reading memory.
    Memory,
    /// Reading memory on plain pages, which is slower than the machine could.
    MemoryPlain,
    /// Multiplying and adding.
    Compute,
    /// Neither: what is left where both would be over.
    Overhead,
}

/// `analysis/roofline.csv`.
pub struct Roofline;

impl Table for Roofline {
    type Row = RooflineRow;
    const FILE: &'static str = "analysis/roofline.csv";
    const ABOUT: &'static str = "Prefill and decode of every cell that is proven to have run on the processor, or on one NVIDIA board that was measured, and whose bytes are known, in the plan's order.";

    fn derive(from: &Sources<'_>) -> Vec<RooflineRow> {
        let summaries = from.rows::<Summary>();
        let metrics = from.rows::<Metrics>();
        let cells = Cells::new(from.recording, from.manifest, &summaries);
        by_cell(from, &metrics, |_| true).iter().filter_map(|group| cells.row(group)).collect()
    }
}

/// What all rows are made from.
struct Cells<'a> {
    manifest: &'a Manifest,
    summaries: BTreeMap<(&'a str, Mode), &'a SummaryRow>,
    places: Places<'a>,
    speeds: Speeds,
}

impl<'a> Cells<'a> {
    fn new(recording: &'a Recording, manifest: &'a Manifest, summaries: &'a [SummaryRow]) -> Self {
        let proven = summaries.iter().filter(|row| row.is_proven());
        Self {
            manifest,
            summaries: proven.map(|row| ((row.key.cell_id.as_str(), row.mode), row)).collect(),
            places: Places::of(recording, manifest),
            speeds: Speeds::of(recording),
        }
    }

    /// `None`: nothing can be claimed of the cell.
    fn row(&self, group: &Group<'_>) -> Option<RooflineRow> {
        let key = group.key();
        let summary = *self.summaries.get(&(key.cell_id.as_str(), group.mode))?;
        let backend = self.manifest.stack.backends.get(&key.backend)?;
        let roofs = match self.places.of_cell(&key.cell_id)? {
            Place::Processor => Roofs::of_processor(&self.speeds, backend.threads()),
            Place::Board(uuid) => Roofs::of_board(uuid, self.speeds.board(uuid)?),
        };
        if backend.is_scripted() || *summary.key != *key {
            return None;
        }
        let shape = self.manifest.models.get(&key.model)?.architecture.as_ref()?;
        let prompt = group.counted().iter().filter_map(|row| row.prompt_padded()).max()?;
        let steps = key.gen_tokens;
        let of = Use { element_bytes: key.dtype.bytes()?, batch: key.batch, prompt, steps };
        let (demand, times, tokens) = demand_of(group.mode, shape, of)?;
        let time = Time::of(summary, times);
        Some(roofs.compared(key, group.mode, of, demand, time, tokens))
    }
}

/// What a cell is set beside.
struct Roofs {
    memory: Option<Median>,
    plain: Option<Median>,
    compute: Option<Median>,
    /// The last cache before memory.
    cache: Option<Bytes>,
    threads: Option<u32>,
    board: Option<String>,
}

impl Roofs {
    fn of_processor(speeds: &Speeds, threads: Option<u32>) -> Self {
        let roof = |kernel| speeds.roof(kernel, threads);
        Self {
            memory: roof(Kernel::Memory),
            plain: roof(Kernel::MemoryPlain),
            compute: roof(Kernel::Compute),
            cache: speeds.last_level_cache,
            threads,
            board: None,
        }
    }

    /// Of memory alone: what a board computes is not measured.
    fn of_board(uuid: &str, board: Board) -> Self {
        let memory = Some(board.copy);
        Self { memory, plain: None, compute: None, cache: board.l2, threads: None, board: Some(uuid.to_owned()) }
    }

    fn compared(self, key: Arc<CellKey>, mode: Mode, of: Use, demand: Demand, time: Time, tokens: f64) -> RooflineRow {
        let Self { memory, plain, compute, .. } = self;
        let on_board = self.board.is_some();
        let fits_cache = self.cache.map(|cache| demand.bytes() <= cache.0 as f64);
        let of_memory = Share::of(demand.bytes(), time, memory);
        let of_compute = Share::of(demand.operations, time, compute);
        let of_plain = Share::of(demand.bytes(), time, plain);
        let from_memory = fits_cache != Some(true);
        let shortest = [(demand.bytes(), memory.filter(|_| from_memory)), (demand.operations, compute)];
        let shortest = shortest.into_iter().filter_map(|(amount, roof)| Some(amount / roof?.value)).reduce(f64::max);
        let value = |share: &Option<Share>| share.as_ref().map(|share| share.value);
        let binding = [value(&of_memory).filter(|_| from_memory), value(&of_compute)];
        let exceeded = binding.into_iter().flatten().any(|share| share > EXCEEDS);
        let plain_share = value(&of_plain).filter(|_| from_memory);
        let held_by = if on_board { held_on_board(binding[0]) } else { held_by(binding[0], plain_share, binding[1]) };
        // The arithmetic that a prefill is mostly made of may be the nearer roof, and is not known.
        let is_hidden = exceeded || (on_board && mode == Mode::Prefill);
        RooflineRow {
            key,
            mode,
            prompt_padded: of.prompt,
            step_ms: time.ms,
            weights_bytes: demand.weights_bytes,
            kv_read_bytes: demand.kv_bytes,
            operations: demand.operations,
            achieved_bytes_per_s: demand.bytes() / time.ms * 1e3,
            achieved_operations_per_s: demand.operations / time.ms * 1e3,
            threads: self.threads,
            memory_roof: memory.map(|roof| roof.value),
            memory_plain_roof: plain.map(|roof| roof.value),
            compute_roof: compute.map(|roof| roof.value),
            fits_cache,
            memory_share: value(&of_memory),
            memory_share_low: of_memory.and_then(|share| share.low),
            memory_share_high: of_memory.and_then(|share| share.high),
            compute_share: value(&of_compute),
            compute_share_low: of_compute.and_then(|share| share.low),
            compute_share_high: of_compute.and_then(|share| share.high),
            tokens_per_s: tokens / time.ms * 1e3,
            ceiling_tokens_per_s: shortest.filter(|_| !is_hidden).map(|seconds| tokens / seconds),
            held_by: held_by.filter(|_| !exceeded),
            board: self.board,
        }
    }
}

/// What a step asks for, how many of them the cell's latency holds, and how many tokens one gives. `None`: another mode, whose
/// steps are not alike.
fn demand_of(mode: Mode, shape: &Architecture, of: Use) -> Option<(Demand, f64, f64)> {
    match mode {
        Mode::Prefill => Some((Demand::of_prefill(shape, of), 1.0, f64::from(of.batch) * f64::from(of.prompt))),
        Mode::KvDecode => Some((Demand::of_step(shape, of), f64::from(of.steps.max(1)), f64::from(of.batch))),
        Mode::E2eKv | Mode::GenerateUncached | Mode::Ttft | Mode::AfterFirst | Mode::Request | Mode::Whole => None,
    }
}

/// What takes the larger part of the time, by the shares of it that the roofs take. `None`: compute's is not known.
fn held_by(memory: Option<f64>, plain: Option<f64>, compute: Option<f64>) -> Option<HeldBy> {
    let compute = compute?;
    let memory = memory.unwrap_or_default();
    Some(match memory.max(compute) >= HOLDS {
        true if memory >= compute => HeldBy::Memory,
        true => HeldBy::Compute,
        false if plain.is_some_and(|plain| plain >= HOLDS) => HeldBy::MemoryPlain,
        false => HeldBy::Overhead,
    })
}

/// The same where only memory's share is known. `None`: it is not the larger part, and what is cannot be told.
fn held_on_board(memory: Option<f64>) -> Option<HeldBy> {
    memory.filter(|memory| *memory >= HOLDS).map(|_| HeldBy::Memory)
}

/// One step's time with its interval, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Time {
    ms: f64,
    bounds: Option<(f64, f64)>,
}

impl Time {
    fn of(summary: &SummaryRow, steps: f64) -> Self {
        let bounds = summary.ci_low_ms.zip(summary.ci_high_ms).map(|(low, high)| (low / steps, high / steps));
        Self { ms: summary.location_ms.unwrap_or(summary.median_ms) / steps, bounds }
    }
}

/// What is achieved ÷ what the machine can.
#[derive(Debug, Clone, Copy)]
struct Share {
    value: f64,
    low: Option<f64>,
    high: Option<f64>,
}

impl Share {
    /// The widest that both intervals allow. `None`: no roof.
    fn of(amount: f64, time: Time, roof: Option<Median>) -> Option<Self> {
        let roof = roof?;
        let share = |ms: f64, rate: f64| amount / (ms / 1e3) / rate;
        let ends = time.bounds.zip(roof.interval);
        Some(Self {
            value: share(time.ms, roof.value),
            low: ends.map(|((_, slow), rate)| share(slow, rate.high)),
            high: ends.map(|((fast, _), rate)| share(fast, rate.low)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_the_larger_part_holds() {
        for (memory, plain, compute, held) in [
            (Some(0.8), Some(1.5), Some(0.1), Some(HeldBy::Memory)),
            (Some(0.6), Some(1.1), Some(0.7), Some(HeldBy::Compute)),
            (Some(0.4), Some(0.8), Some(0.1), Some(HeldBy::MemoryPlain)),
            (Some(0.2), Some(0.3), Some(0.1), Some(HeldBy::Overhead)),
            // In the caches: memory is no roof.
            (None, None, Some(0.3), Some(HeldBy::Overhead)),
            (Some(0.9), None, None, None),
        ] {
            assert_eq!(held_by(memory, plain, compute), held);
        }
    }

    #[test]
    fn on_a_board_memory_alone_is_known() {
        for (memory, held) in [(Some(0.8), Some(HeldBy::Memory)), (Some(0.4), None), (None, None)] {
            assert_eq!(held_on_board(memory), held);
        }
    }

    #[test]
    fn a_share_is_as_wide_as_both_intervals() {
        let roof = Median { value: 2e9, interval: Some(crate::stats::interval::Interval { low: 1e9, high: 4e9 }) };
        let time = Time { ms: 10.0, bounds: Some((5.0, 20.0)) };
        let share = Share::of(1e7, time, Some(roof)).map(|share| (share.value, share.low, share.high));
        assert_eq!(share, Some((0.5, Some(0.125), Some(2.0))));
    }
}
