//! Runs of several scenarios beside each other: decode with a KV cache against without, compiled code against eager, grouped
//! heads against one key-value head per head, and whether a law of size holds in each.
//!
//! Only runs of one host are set against each other, cell by cell, and cells of the same weights where the weights are not what
//! is asked about; others stand side by side with the reason. Every ratio between two runs, which were measured at different
//! times, or between cells of one session each, allows for [`PROCESS_ALLOWANCE`] on either side.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::record::manifest::Manifest;
use crate::terms::Mode;

use super::columns::nested::{csv_files, one_cell, rows};
use super::engines::{PROCESS_ALLOWANCE, allowance_half_width};
use super::registry::Tables;
use super::scaling::ScalingFitRow;
use super::summary::SummaryRow;

/// Models whose parameters differ by less than this share are of about equal size.
const ALIKE: f64 = 0.1;
/// Fewer models ask for no law.
const FEWEST_MODELS: usize = 3;

/// One of the runs.
#[derive(Debug, Clone, Copy)]
pub struct AcrossRun<'a> {
    /// Its folder's name.
    pub name: &'a str,
    /// Its manifest.
    pub manifest: &'a Manifest,
    /// Its tables.
    pub tables: &'a Tables,
}

/// What several runs say together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Across {
    /// Cells of two runs against each other.
    pub cells: Vec<AcrossRow>,
    /// Laws of size of two runs beside each other.
    pub growth: Vec<GrowthRow>,
}

csv_files! {
    Across {
        cells: AcrossRow => "across_runs.csv",
        growth: GrowthRow => "growth_across_runs.csv",
    }
}

one_cell!(Statement, Together);

/// What is asked of two cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statement {
    /// Decode with a KV cache, against without.
    Cached,
    /// Compiled code, against the same engine without.
    Compiled,
    /// Grouped key-value heads, against one per head, at about equal parameters.
    Grouped,
}

rows! {
    /// Two cells of the same shape, of two runs or of one.
    #[derive(Debug, Clone, PartialEq, Serialize)]
    pub struct AcrossRow {
        /// What is asked.
        pub statement: Statement,
        /// What is timed; of `cached` decode, whether with a cache or without.
        pub phase: Mode,
        /// Prompt tokens sent per row.
        /// Unit: tokens.
        pub prompt_tokens: f64,
        /// Timed decode steps.
        pub gen_tokens: u32,
        /// Rows decoded together.
        pub batch: u32,
        /// Without a cache, eager, or with one key-value head per head.
        pub first: Side,
        /// With a cache, compiled, or grouped.
        pub second: Side,
        /// How many times as fast the second is. Null: they only stand side by side.
        /// Unit: ratio.
        pub speed: Option<f64>,
        /// Lower end of its 95 % interval. Null: as `speed`.
        /// Unit: ratio.
        pub speed_low: Option<f64>,
        /// Upper end.
        /// Unit: ratio.
        pub speed_high: Option<f64>,
        /// Why they only stand side by side. Null: they do not.
        pub reason: Option<String>,
    }

    /// One of two cells.
    #[derive(Debug, Clone, PartialEq, Serialize)]
    pub struct Side {
        /// The run.
        pub run: String,
        /// Begin of its stack's fingerprint.
        pub fingerprint: String,
        /// Backend name.
        pub backend: String,
        /// Model name.
        pub model: String,
        /// Begin of the weights' hash.
        pub weights: String,
        /// Location of the cell.
        pub ms: f64,
    }

    /// The headline fits of one phase on one engine in two runs.
    #[derive(Debug, Clone, PartialEq, Serialize)]
    pub struct GrowthRow {
        /// What is timed.
        pub phase: Mode,
        /// Backend name.
        pub backend: String,
        /// The earlier of the runs named.
        pub first: Law,
        /// The later.
        pub second: Law,
        /// What they say together.
        pub verdict: Together,
    }

    /// A fit of one run.
    #[derive(Debug, Clone, PartialEq, Serialize)]
    pub struct Law {
        /// The run.
        pub run: String,
        /// Begin of its stack's fingerprint.
        pub fingerprint: String,
        /// Of models.
        pub n_models: usize,
        /// Exponent of the fit. Null: it may not be quoted.
        /// Unit: exponent.
        pub slope: Option<f64>,
        /// Lower end of its 95 % interval. Null: as `slope`.
        /// Unit: exponent.
        pub low: Option<f64>,
        /// Upper end.
        /// Unit: exponent.
        pub high: Option<f64>,
        /// Why it may not be quoted. Null: it may.
        pub reason: Option<String>,
    }
}

/// What two fits say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Together {
    /// Both may be quoted, and their intervals overlap.
    Holds,
    /// Both may be quoted, and their intervals lie apart.
    Differs,
    /// Only one of them may be quoted.
    NotInBoth,
    /// Neither may be quoted.
    InNeither,
}

impl Together {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Holds => "holds in both",
            Self::Differs => "differs",
            Self::NotInBoth => "holds in one only",
            Self::InNeither => "in neither",
        }
    }
}

impl Statement {
    /// In words, of the second against the first.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cached => "with a KV cache, against without",
            Self::Compiled => "compiled, against eager",
            Self::Grouped => "grouped heads, against one key-value head per head",
        }
    }

    /// The same after "as fast".
    #[must_use]
    pub fn compared(self) -> &'static str {
        match self {
            Self::Cached => "with a KV cache as without",
            Self::Compiled => "compiled as eager",
            Self::Grouped => "with grouped heads as with one key-value head per head",
        }
    }
}

/// Sets runs against each other, in the order in which they are given.
#[must_use]
pub fn across(runs: &[AcrossRun<'_>]) -> Across {
    let mut found = Across { cells: Vec::new(), growth: Vec::new() };
    for (place, first) in runs.iter().enumerate() {
        for (other, second) in runs.iter().enumerate() {
            found.cells.extend(cells(*first, *second));
            if place < other {
                found.growth.extend(growth(*first, *second));
            }
        }
    }
    found
}

/// A cell that may be set against others.
#[derive(Clone, Copy)]
struct Known<'a> {
    run: AcrossRun<'a>,
    row: &'a SummaryRow,
    compiled: bool,
}

impl<'a> AcrossRun<'a> {
    fn known(self) -> Vec<Known<'a>> {
        let audit = self.tables.compile_audit.iter();
        let proven = audit.clone().filter(|row| row.backend_actual.is_some());
        let compiled: BTreeSet<(&str, Mode)> = proven.map(|row| (row.key.cell_id.as_str(), row.mode)).collect();
        let asked: BTreeSet<(&str, Mode)> = audit.map(|row| (row.key.cell_id.as_str(), row.mode)).collect();
        let usable = self.tables.summary.iter().filter(|row| row.is_proven() && row.location_ms.is_some());
        let of = |row: &'a SummaryRow| {
            let cell = (row.key.cell_id.as_str(), row.mode);
            let is_compiled = compiled.contains(&cell);
            // What asked for a compiler and does not prove it is neither compiled nor eager.
            (is_compiled || !asked.contains(&cell)).then_some(Known { run: self, row, compiled: is_compiled })
        };
        usable.filter_map(of).collect()
    }

    fn fingerprint(self) -> String {
        short(&self.manifest.stack_sha256)
    }
}

fn short(hash: &str) -> String {
    hash.get(..12).unwrap_or(hash).to_owned()
}

fn cells(first: AcrossRun<'_>, second: AcrossRun<'_>) -> Vec<AcrossRow> {
    let (of_first, of_second) = (first.known(), second.known());
    let same_run = first.name == second.name;
    let mut rows = Vec::new();
    for a in &of_first {
        for b in of_second.iter().filter(|b| a.same_shape(b)) {
            if let Some(statement) = a.statement(b, same_run) {
                rows.push(row(statement, a, b, same_run));
            }
        }
    }
    rows
}

impl Known<'_> {
    fn engine(&self) -> Option<&str> {
        let entry = self.run.manifest.stack.backends.get(&self.row.key.backend)?;
        Some(entry.engine.as_str())
    }

    fn same_shape(&self, other: &Known<'_>) -> bool {
        let prompt = |known: &Known<'_>| known.row.prompt_tokens.map(f64::to_bits);
        prompt(self).is_some()
            && prompt(self) == prompt(other)
            && (self.row.key.batch, self.row.key.gen_tokens) == (other.row.key.batch, other.row.key.gen_tokens)
            && self.engine() == other.engine()
    }

    /// What this cell, as the first of two, and another can be asked. `None`: nothing.
    fn statement(&self, other: &Known<'_>, same_run: bool) -> Option<Statement> {
        let (a, b) = (self.row, other.row);
        let same_model = a.key.model == b.key.model;
        let same_backend = a.key.backend == b.key.backend && self.compiled == other.compiled;
        if same_model && same_backend && a.mode == Mode::GenerateUncached && b.mode == Mode::KvDecode {
            return Some(Statement::Cached);
        }
        if a.mode != b.mode || !matches!(a.mode, Mode::Prefill | Mode::KvDecode) {
            return None;
        }
        // Inside one run that is what `compile_outcome.csv` is for.
        if same_model && !same_run && !self.compiled && other.compiled {
            return Some(Statement::Compiled);
        }
        (same_backend && self.is_multi_head() && other.is_grouped() && self.as_large_as(other))
            .then_some(Statement::Grouped)
    }

    fn is_multi_head(&self) -> bool {
        let heads = &self.row.architecture;
        heads.n_head.is_some() && heads.n_head == heads.n_kv_head
    }

    fn is_grouped(&self) -> bool {
        let heads = &self.row.architecture;
        heads.n_head.zip(heads.n_kv_head).is_some_and(|(heads, own)| own < heads)
    }

    fn as_large_as(&self, other: &Known<'_>) -> bool {
        let (own, theirs) = (self.row.architecture.params_millions, other.row.architecture.params_millions);
        own.zip(theirs).is_some_and(|(own, theirs)| (own / theirs).ln().abs() < ALIKE)
    }

    fn side(&self) -> Side {
        Side {
            run: self.run.name.to_owned(),
            fingerprint: self.run.fingerprint(),
            backend: self.row.key.backend.clone(),
            model: self.row.key.model.clone(),
            weights: short(&self.row.key.weights_id),
            ms: self.row.location_ms.unwrap_or_default(),
        }
    }

    /// Half the width of the location's interval, of its logarithm.
    fn half_width(&self) -> Option<f64> {
        Some((self.row.ci_high_ms? / self.row.location_ms?).ln())
    }
}

fn row(statement: Statement, a: &Known<'_>, b: &Known<'_>, same_run: bool) -> AcrossRow {
    let reason = apart(statement, a, b);
    let speed = if reason.is_none() { speed(a, b, same_run) } else { None };
    AcrossRow {
        statement,
        phase: b.row.mode,
        prompt_tokens: a.row.prompt_tokens.unwrap_or_default(),
        gen_tokens: a.row.key.gen_tokens,
        batch: a.row.key.batch,
        first: a.side(),
        second: b.side(),
        speed: speed.map(|(value, _)| value),
        speed_low: speed.map(|(value, width)| value * (-width).exp()),
        speed_high: speed.map(|(value, width)| value * width.exp()),
        reason,
    }
}

/// Why two cells only stand side by side. `None`: they may be set against each other.
fn apart(statement: Statement, a: &Known<'_>, b: &Known<'_>) -> Option<String> {
    if !same_host(a.run.manifest, b.run.manifest) {
        return Some("different hosts".to_owned());
    }
    if a.row.key.dtype != b.row.key.dtype {
        return Some(format!("element types differ: {} and {}", a.row.key.dtype.as_str(), b.row.key.dtype.as_str()));
    }
    let asks_of_weights = statement == Statement::Grouped;
    (!asks_of_weights && a.row.key.weights_id != b.row.key.weights_id).then(|| "different weights".to_owned())
}

/// Whether two runs tell of the same machine and boards.
fn same_host(a: &Manifest, b: &Manifest) -> bool {
    let (own, theirs) = (&a.stack.machine, &b.stack.machine);
    let boards = |manifest: &Manifest| -> Vec<Option<String>> {
        manifest.stack.gpus.devices.iter().map(|board| board.name.clone()).collect()
    };
    (&own.cpu_model, &own.arch, own.logical_cores, own.memory_gib)
        == (&theirs.cpu_model, &theirs.arch, theirs.logical_cores, theirs.memory_gib)
        && boards(a) == boards(b)
}

/// How many times as fast the second is, and half the width of its interval, of the logarithm. `None`: a cell has no interval.
fn speed(a: &Known<'_>, b: &Known<'_>, same_run: bool) -> Option<(f64, f64)> {
    let ratio = a.row.location_ms? / b.row.location_ms?;
    let of_cells = a.half_width()?.hypot(b.half_width()?);
    let knows_processes = [a, b].iter().all(|known| known.row.interval_kind.is_of_sessions());
    let allowance = if same_run && knows_processes { 0.0 } else { allowance_half_width(PROCESS_ALLOWANCE) };
    Some((ratio, of_cells.hypot(allowance)))
}

fn growth(first: AcrossRun<'_>, second: AcrossRun<'_>) -> Vec<GrowthRow> {
    let headlines = |run: AcrossRun<'_>| -> Vec<ScalingFitRow> {
        let fits = run.tables.scaling_fits.iter();
        fits.filter(|fit| fit.key.headline && fit.n_models >= FEWEST_MODELS).cloned().collect()
    };
    let of_second = headlines(second);
    let mut rows = Vec::new();
    for fit in headlines(first) {
        let alike = |other: &&ScalingFitRow| {
            (&other.key.backend, other.key.mode, &other.x) == (&fit.key.backend, fit.key.mode, &fit.x)
        };
        let Some(other) = of_second.iter().find(alike) else { continue };
        let (a, b) = (law(first, &fit), law(second, other));
        rows.push(GrowthRow {
            phase: fit.key.mode,
            backend: fit.key.backend.clone(),
            verdict: together(&a, &b),
            first: a,
            second: b,
        });
    }
    rows
}

fn law(run: AcrossRun<'_>, fit: &ScalingFitRow) -> Law {
    let quoted = fit.actionable;
    Law {
        run: run.name.to_owned(),
        fingerprint: run.fingerprint(),
        n_models: fit.n_models,
        slope: fit.slope.filter(|_| quoted),
        low: fit.slope_t_low.filter(|_| quoted),
        high: fit.slope_t_high.filter(|_| quoted),
        reason: fit.reason.clone(),
    }
}

fn together(a: &Law, b: &Law) -> Together {
    match (a.low.zip(a.high), b.low.zip(b.high)) {
        (Some((low, high)), Some((other_low, other_high))) => {
            if low <= other_high && other_low <= high {
                Together::Holds
            } else {
                Together::Differs
            }
        }
        (None, None) => Together::InNeither,
        _ => Together::NotInBoth,
    }
}
