//! The evidence that a run has on a claim.

use crate::analysis::compile::{CompileOutcome, CompileOutcomeRow, CompileVerdict};
use crate::analysis::energy::{EnergyScope, EnergySummary, EnergySummaryRow};
use crate::analysis::engines::{EnginePairs, EnginePairsRow, EngineVerdict};
use crate::analysis::kv_memory::KvMemoryEmpirical;
use crate::analysis::loads::LoadBreakdown;
use crate::analysis::models::{ModelArchitecture, ModelRow};
use crate::analysis::phases::DecodeFractionSummary;
use crate::analysis::scaling::{ScalingFitRow, ScalingFits};
use crate::analysis::summary::{Summary, SummaryRow};
use crate::analysis::table::Table as _;
use crate::terms::Mode;
use crate::terms::claim::Assertion;
use crate::units::significant;

use super::evidence::Evidence;
use super::money::{energy_cost, own_hardware_saves};
use super::piece::{Known, Piece, held};
use super::proof::as_labelled;
use super::row::ClaimStatus;

/// Where rows are that hold prices.
const PRICED: &str = "phasebench decide --pricing";
/// Fewer models ask for no law.
const FEWEST_MODELS: usize = 3;

/// The file whose rows a claim is held against, and what each of them says.
pub(super) fn of(asserts: &Assertion, evidence: &Evidence<'_>) -> (&'static str, Vec<Piece>) {
    match asserts {
        Assertion::Faster { engine, than, phase, by } => {
            (EnginePairs::FILE, faster(evidence, (engine, than), *phase, *by))
        }
        Assertion::CompiledFaster { phase, by } => (CompileOutcome::FILE, compiled(evidence.outcomes, *phase, *by)),
        Assertion::Grows { phase, from, to, smallest, largest } => {
            let sizes = Sizes { smallest: *smallest, largest: *largest };
            (ScalingFits::FILE, grows(evidence, *phase, (*from, *to), sizes))
        }
        Assertion::DecodeShare { at_least } => {
            (DecodeFractionSummary::FILE, shares(evidence, |decode| (decode, decode >= *at_least)))
        }
        Assertion::PrefillShare { at_least } => {
            (DecodeFractionSummary::FILE, shares(evidence, |decode| (1.0 - decode, 1.0 - decode >= *at_least)))
        }
        Assertion::PrefillCheaper { by } => (Summary::FILE, prefill_cheaper(evidence.summary, *by)),
        Assertion::ColdStart { at_least } => (LoadBreakdown::FILE, cold_start(evidence, *at_least)),
        Assertion::CacheHelps { by } => (Summary::FILE, cache_helps(evidence.summary, *by)),
        Assertion::KvAsTheory => (KvMemoryEmpirical::FILE, kv_as_theory(evidence)),
        Assertion::GroupedHeadsSave { by } => (ModelArchitecture::FILE, grouped_heads_save(evidence.models, *by)),
        Assertion::AsLabelled => (Summary::FILE, as_labelled(evidence.summary, evidence.degraded)),
        Assertion::EnergyGraded { shorter_than_ms: None } => (EnergySummary::FILE, energy_graded(evidence.energy)),
        Assertion::EnergyGraded { shorter_than_ms: Some(ms) } => (EnergySummary::FILE, short_energy(evidence, *ms)),
        Assertion::EnergyCost { at_most } => (PRICED, energy_cost(evidence.priced, *at_most)),
        Assertion::OwnHardwareSaves { at_least } => (PRICED, own_hardware_saves(evidence.priced, *at_least)),
    }
}

impl Evidence<'_> {
    /// Whether a backend is the one that a claim names, by its own name or by its engine's.
    fn is(&self, backend: &str, named: &str) -> bool {
        let engine = self.manifest.stack.backends.get(backend).map(|entry| entry.engine.as_str());
        backend == named || engine.is_some_and(|engine| engine.eq_ignore_ascii_case(named))
    }
}

fn faster(evidence: &Evidence<'_>, (engine, than): (&str, &str), phase: Mode, by: f64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for pair in evidence.pairs.iter().filter(|pair| pair.mode == phase) {
        let Some(speed_of_first) = speed_of_first(pair) else { continue };
        let (a, b) = (pair.backend_a.as_str(), pair.backend_b.as_str());
        let (name, other, speed, verdict) = if evidence.is(a, engine) && evidence.is(b, than) {
            (a, b, speed_of_first, pair.verdict.turned())
        } else if evidence.is(b, engine) && evidence.is(a, than) {
            (b, a, speed_of_first.inverse(), pair.verdict)
        } else {
            continue;
        };
        let status = if by > 1.0 { speed.at_least(by) } else { status_of(verdict) };
        pieces.push(Piece::new(format!("{name} against {other}"), status, format!("{speed} times as fast")));
    }
    pieces
}

/// How many times as fast the first engine of a pair is. `None`: they are not compared.
fn speed_of_first(pair: &EnginePairsRow) -> Option<Known> {
    Some(Known { value: pair.ratio?, low: pair.ratio_low?, high: pair.ratio_high? })
}

/// What the verdict on an engine says to its being faster.
fn status_of(verdict: EngineVerdict) -> ClaimStatus {
    match verdict {
        EngineVerdict::Faster | EngineVerdict::FasterExtentOpen => ClaimStatus::Supported,
        EngineVerdict::Slower | EngineVerdict::SlowerExtentOpen | EngineVerdict::Same => ClaimStatus::Contradicted,
        EngineVerdict::NotSeparated | EngineVerdict::NotCompared => ClaimStatus::NotIdentifiable,
    }
}

fn compiled(outcomes: &[CompileOutcomeRow], phase: Mode, by: f64) -> Vec<Piece> {
    let piece = |outcome: &CompileOutcomeRow| {
        let at_all = match outcome.verdict {
            CompileVerdict::Faster => ClaimStatus::Supported,
            CompileVerdict::Slower => ClaimStatus::Contradicted,
            CompileVerdict::NotResolved => ClaimStatus::NotIdentifiable,
            CompileVerdict::NoReference | CompileVerdict::NotProven => return None,
        };
        let ratio = Known { value: outcome.ratio?, low: outcome.ratio_low?, high: outcome.ratio_high? };
        let status = if by > 1.0 { ratio.inverse().at_least(by) } else { at_all };
        Some(Piece::new(&outcome.backend, status, format!("{ratio} of the time uncompiled")))
    };
    outcomes.iter().filter(|outcome| outcome.mode == phase).filter_map(piece).collect()
}

/// Sizes that a law is said of. Unit: millions of parameters.
#[derive(Clone, Copy)]
struct Sizes {
    smallest: Option<f64>,
    largest: Option<f64>,
}

impl Sizes {
    /// Whether all models of a fit are of these sizes.
    fn hold(self, fit: &ScalingFitRow, models: &[ModelRow]) -> bool {
        if self.smallest.is_none() && self.largest.is_none() {
            return true;
        }
        let millions = |name: &str| models.iter().find(|row| row.model == name)?.params_millions_effective;
        let holds = |size: f64| {
            self.smallest.is_none_or(|smallest| size >= smallest) && self.largest.is_none_or(|largest| size <= largest)
        };
        fit.models.split(';').all(|name| millions(name).is_some_and(holds))
    }
}

fn grows(evidence: &Evidence<'_>, phase: Mode, (from, to): (f64, f64), sizes: Sizes) -> Vec<Piece> {
    let asked = |fit: &&ScalingFitRow| {
        let is_law = fit.key.headline && fit.key.mode == phase && fit.n_models >= FEWEST_MODELS;
        is_law && sizes.hold(fit, evidence.models)
    };
    let piece = |fit: &ScalingFitRow| {
        let slope = fit.slope.zip(fit.slope_t_low).zip(fit.slope_t_high).filter(|_| fit.actionable);
        match slope.map(|((value, low), high)| Known { value, low, high }) {
            Some(slope) => Piece::new(&fit.key.backend, slope.between(from, to), format!("slope {slope} in {}", fit.x)),
            None => {
                let why = fit.reason.as_deref().unwrap_or("no law holds");
                Piece::new(&fit.key.backend, ClaimStatus::NotIdentifiable, why)
            }
        }
    };
    evidence.fits.iter().filter(asked).map(piece).collect()
}

/// `asked` makes of decode's share the share that is asked about, and whether it holds.
fn shares(evidence: &Evidence<'_>, asked: impl Fn(f64) -> (f64, bool)) -> Vec<Piece> {
    let pieces = evidence.shares.iter().map(|row| {
        let of = format!("{}, {} tokens, batch {}", row.backend, row.gen_tokens, row.batch);
        let (share, holds) = asked(row.decode_fraction_median);
        Piece::new(of, held(holds), format!("{} %", significant(100.0 * share, 3)))
    });
    pieces.collect()
}

/// Time of a token that is written ÷ time of one that is read, cell by cell.
#[expect(clippy::cast_precision_loss, reason = "counts of tokens")]
fn prefill_cheaper(summary: &[SummaryRow], by: f64) -> Vec<Piece> {
    let of_mode = |mode: Mode| summary.iter().filter(move |row| row.mode == mode && row.is_proven());
    let mut pieces = Vec::new();
    for decode in of_mode(Mode::KvDecode) {
        let Some(prefill) = of_mode(Mode::Prefill).find(|row| asks_the_same(row, decode)) else { continue };
        let tokens = decode.tokens.zip(prefill.tokens).filter(|(written, _)| *written > 0);
        let Some(((written, read), ratio)) = tokens.zip(speed(prefill, decode)) else { continue };
        let per_token = ratio.times(read as f64 / written as f64);
        pieces.push(Piece::new(cell(decode), per_token.at_least(by), format!("{per_token} times less")));
    }
    pieces
}

/// A model with grouped heads beside one with full heads that is at most twice and at least half as large.
#[expect(clippy::cast_precision_loss, reason = "counts of elements")]
fn grouped_heads_save(models: &[ModelRow], by: f64) -> Vec<Piece> {
    let mut known: Vec<&ModelRow> = Vec::new();
    for row in models {
        if !known.iter().any(|other| other.model == row.model) {
            known.push(row);
        }
    }
    // Elements: engines may hold them in different types.
    let elements = |row: &ModelRow| Some((row.n_layer? * row.n_kv_head? * row.head_dim?) as f64);
    let is_grouped = |row: &ModelRow| Some(row.n_kv_head? < row.n_head?);
    let mut pieces = Vec::new();
    for full in known.iter().filter(|row| is_grouped(row) == Some(false)) {
        for grouped in known.iter().filter(|row| is_grouped(row) == Some(true)) {
            let sizes = full.params_millions_effective.zip(grouped.params_millions_effective);
            let alike = sizes.is_some_and(|(a, b)| (0.5..=2.0).contains(&(a / b)));
            let Some((more, less)) = elements(full).zip(elements(grouped)).filter(|(_, less)| alike && *less > 0.0)
            else {
                continue;
            };
            let saved = more / less;
            let of = format!("{} against {}", grouped.model, full.model);
            pieces.push(Piece::new(of, held(saved >= by), format!("{} times less", significant(saved, 3))));
        }
    }
    pieces
}

fn cold_start(evidence: &Evidence<'_>, at_least: f64) -> Vec<Piece> {
    let piece = |load: &crate::analysis::LoadRow| {
        let ratio = load.cold_start_ratio?;
        let of = format!("{} on {}", load.model, load.backend);
        Some(Piece::new(of, held(ratio >= at_least), format!("{} warm prefills", significant(ratio, 3))))
    };
    evidence.loads.iter().filter_map(piece).collect()
}

/// Cells that were decoded with a cache and without.
fn cache_helps(summary: &[SummaryRow], by: f64) -> Vec<Piece> {
    let of_mode = |mode: Mode| summary.iter().filter(move |row| row.mode == mode && row.is_proven());
    let mut pieces = Vec::new();
    for cached in of_mode(Mode::KvDecode) {
        let Some(uncached) = of_mode(Mode::GenerateUncached).find(|row| asks_the_same(row, cached)) else { continue };
        let Some(speed) = speed(cached, uncached) else { continue };
        pieces.push(Piece::new(cell(cached), speed.at_least(by), format!("{speed} times as fast")));
    }
    pieces
}

fn cell(row: &SummaryRow) -> String {
    let key = &row.key;
    format!("{} on {}, {} × {}, batch {}", key.model, key.backend, key.scenario, key.gen_tokens, key.batch)
}

fn asks_the_same(a: &SummaryRow, b: &SummaryRow) -> bool {
    let (a, b) = (&a.key, &b.key);
    (&a.backend, &a.model, &a.weights_id, a.dtype) == (&b.backend, &b.model, &b.weights_id, b.dtype)
        && (&a.scenario, a.batch, a.gen_tokens) == (&b.scenario, b.batch, b.gen_tokens)
}

/// How many times as fast one row is as another: errors of independent cells, added as squares. `None`: one has no interval.
fn speed(of: &SummaryRow, than: &SummaryRow) -> Option<Known> {
    let half = |row: &SummaryRow| Some((row.ci_high_ms? / row.location_ms?).ln());
    let (value, width) = (than.location_ms? / of.location_ms?, half(of)?.hypot(half(than)?));
    Some(Known { value, low: value * (-width).exp(), high: value * width.exp() })
}

fn kv_as_theory(evidence: &Evidence<'_>) -> Vec<Piece> {
    let piece = |row: &crate::analysis::KvEmpiricalRow| {
        let difference = row.difference?;
        let of = format!("{} on {}, {}", row.key.model, row.key.backend, row.key.scenario);
        Some(Piece::new(of, held(difference == 0), format!("{difference:+} bytes")))
    };
    evidence.caches.iter().filter_map(piece).collect()
}

/// Of phases that are shorter: one without a grade in any call is not known.
fn short_energy(evidence: &Evidence<'_>, ms: f64) -> Vec<Piece> {
    let is_short = |row: &&EnergySummaryRow| {
        let same = |cell: &&SummaryRow| cell.mode == row.mode && cell.key.cell_id == row.key.cell_id;
        let found = evidence.summary.iter().find(same).and_then(|cell| cell.location_ms);
        row.scope == EnergyScope::Natural && found.is_some_and(|found| found < ms)
    };
    let pieces = evidence.energy.iter().filter(is_short).map(|row| {
        let of = format!("{} of {} on {}, {}", row.mode, row.key.model, row.key.backend, row.key.scenario);
        let known = format!("{} of {} calls have a grade", row.graded, row.calls);
        Piece::new(of, held(row.graded == row.calls), known)
    });
    pieces.collect()
}

/// A row whose energy has no grade leaves the claim open.
fn energy_graded(rows: &[EnergySummaryRow]) -> Vec<Piece> {
    let pieces = rows.iter().map(|row| {
        let of = format!("{} of {} on {}, {}", row.mode, row.key.model, row.key.backend, row.key.scenario);
        match row.grade.filter(|_| row.graded > 0) {
            Some(grade) => Piece::new(of, ClaimStatus::Supported, format!("grade {}", grade.as_str())),
            None => Piece::new(of, ClaimStatus::NotIdentifiable, "no grade"),
        }
    });
    pieces.collect()
}
