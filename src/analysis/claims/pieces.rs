//! The evidence that a run has on a claim.

use crate::analysis::compile::{CompileOutcome, CompileOutcomeRow, CompileVerdict};
use crate::analysis::energy::{EnergySummary, EnergySummaryRow};
use crate::analysis::engines::{EnginePairs, EnginePairsRow, EngineVerdict};
use crate::analysis::kv_memory::KvMemoryEmpirical;
use crate::analysis::loads::LoadBreakdown;
use crate::analysis::phases::DecodeFractionSummary;
use crate::analysis::scaling::{ScalingFitRow, ScalingFits};
use crate::analysis::summary::{Summary, SummaryRow};
use crate::analysis::table::Table as _;
use crate::terms::Mode;
use crate::terms::claim::Assertion;
use crate::units::significant;

use super::evidence::Evidence;
use super::piece::{Known, Piece};
use super::row::ClaimStatus;

/// Fewer models ask for no law.
const FEWEST_MODELS: usize = 3;

/// The file whose rows a claim is held against, and what each of them says.
pub(super) fn of(asserts: &Assertion, evidence: &Evidence<'_>) -> (&'static str, Vec<Piece>) {
    match asserts {
        Assertion::Faster { engine, than, phase, by } => {
            (EnginePairs::FILE, faster(evidence, (engine, than), *phase, *by))
        }
        Assertion::CompiledFaster { phase } => (CompileOutcome::FILE, compiled(evidence.outcomes, *phase)),
        Assertion::Grows { phase, from, to } => (ScalingFits::FILE, grows(evidence.fits, *phase, (*from, *to))),
        Assertion::DecodeShare { at_least } => (DecodeFractionSummary::FILE, decode_share(evidence, *at_least)),
        Assertion::ColdStart { at_least } => (LoadBreakdown::FILE, cold_start(evidence, *at_least)),
        Assertion::CacheHelps { by } => (Summary::FILE, cache_helps(evidence.summary, *by)),
        Assertion::KvAsTheory => (KvMemoryEmpirical::FILE, kv_as_theory(evidence)),
        Assertion::EnergyGraded => (EnergySummary::FILE, energy_graded(evidence.energy)),
    }
}

fn held(holds: bool) -> ClaimStatus {
    if holds { ClaimStatus::Supported } else { ClaimStatus::Contradicted }
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

fn compiled(outcomes: &[CompileOutcomeRow], phase: Mode) -> Vec<Piece> {
    let piece = |outcome: &CompileOutcomeRow| {
        let status = match outcome.verdict {
            CompileVerdict::Faster => ClaimStatus::Supported,
            CompileVerdict::Slower => ClaimStatus::Contradicted,
            CompileVerdict::NotResolved => ClaimStatus::NotIdentifiable,
            CompileVerdict::NoReference | CompileVerdict::NotProven => return None,
        };
        let ratio = Known { value: outcome.ratio?, low: outcome.ratio_low?, high: outcome.ratio_high? };
        Some(Piece::new(&outcome.backend, status, format!("{ratio} of the time uncompiled")))
    };
    outcomes.iter().filter(|outcome| outcome.mode == phase).filter_map(piece).collect()
}

fn grows(fits: &[ScalingFitRow], phase: Mode, (from, to): (f64, f64)) -> Vec<Piece> {
    let asked = |fit: &&ScalingFitRow| fit.key.headline && fit.key.mode == phase && fit.n_models >= FEWEST_MODELS;
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
    fits.iter().filter(asked).map(piece).collect()
}

fn decode_share(evidence: &Evidence<'_>, at_least: f64) -> Vec<Piece> {
    let pieces = evidence.shares.iter().map(|row| {
        let of = format!("{}, {} tokens, batch {}", row.backend, row.gen_tokens, row.batch);
        let share = row.decode_fraction_median;
        Piece::new(of, held(share >= at_least), format!("{} %", significant(100.0 * share, 3)))
    });
    pieces.collect()
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
        let key = &cached.key;
        let of =
            format!("{} on {}, {} × {}, batch {}", key.model, key.backend, key.scenario, key.gen_tokens, key.batch);
        pieces.push(Piece::new(of, speed.at_least(by), format!("{speed} times as fast")));
    }
    pieces
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
