//! Whether to compile a phase.

use crate::analysis::compile::{CompileOutcome, CompileOutcomeRow, CompileVerdict};
use crate::analysis::engines::{EnginePairs, EnginePairsRow, EngineVerdict};
use crate::analysis::table::{Sources, Table as _};
use crate::units::significant;

use super::row::{RecommendationRow, Standing, Topic};

/// One row per compiler and phase.
pub(super) fn recommend(from: &Sources<'_>) -> Vec<RecommendationRow> {
    let pairs = from.rows::<EnginePairs>();
    from.rows::<CompileOutcome>().iter().map(|outcome| row(outcome, on_these_cells(outcome, &pairs))).collect()
}

/// What the compiled engine is to the uncompiled one over the cells that were measured, as these and no sample of others.
/// `None`: they are not compared.
fn on_these_cells(outcome: &CompileOutcomeRow, pairs: &[EnginePairsRow]) -> Option<EngineVerdict> {
    let reference = outcome.reference.as_ref()?;
    let same = pairs.iter().filter(|pair| pair.mode == outcome.mode && pair.dtype == Some(outcome.dtype));
    same.filter(|pair| pair.ratio.is_some()).find_map(|pair| {
        if pair.backend_a == *reference && pair.backend_b == outcome.backend {
            Some(pair.verdict)
        } else if pair.backend_b == *reference && pair.backend_a == outcome.backend {
            Some(pair.verdict.turned())
        } else {
            None
        }
    })
}

fn row(outcome: &CompileOutcomeRow, here: Option<EngineVerdict>) -> RecommendationRow {
    let (standing, advice) = match outcome.verdict {
        CompileVerdict::Faster => (Standing::Decided, "compile it"),
        CompileVerdict::Slower => (Standing::Decided, "leave it eager"),
        CompileVerdict::NotResolved if here.is_some_and(EngineVerdict::is_faster) => (
            Standing::Hint,
            "compile it for what was measured, where it is faster; whether it is for other cells is open",
        ),
        CompileVerdict::NotResolved if here.is_some_and(EngineVerdict::is_slower) => (
            Standing::Hint,
            "leave it eager for what was measured, where compiled is slower; whether it is for other cells is open",
        ),
        CompileVerdict::NotResolved => {
            (Standing::NotSeparated, "compiling is not known to help: leave it eager, which starts sooner")
        }
        CompileVerdict::NoReference => (Standing::NoData, "measure the same cells uncompiled"),
        CompileVerdict::NotProven => (Standing::NoData, "nothing proves that compiled code ran"),
    };
    RecommendationRow {
        topic: Topic::Compile,
        about: format!("{} on {} ({})", outcome.mode, outcome.backend, outcome.dtype.as_str()),
        standing,
        advice: advice.to_owned(),
        figures: figures(outcome),
        rows: [CompileOutcome::FILE, EnginePairs::FILE].join("; "),
        overturned_by:
            "shapes that were not measured, which compile inside calls; too few calls to earn the compilation back"
                .to_owned(),
    }
}

/// `None`: nothing is compared.
fn figures(outcome: &CompileOutcomeRow) -> Option<String> {
    let (ratio, low, high) = (outcome.ratio?, outcome.ratio_low?, outcome.ratio_high?);
    let (ratio, low, high) = (significant(ratio, 3), significant(low, 3), significant(high, 3));
    let reference = outcome.reference.as_deref().unwrap_or("uncompiled");
    let calls = outcome.break_even_calls_max.map(|calls| format!("; earned back after {calls} calls of a cell"));
    let seconds = significant(outcome.compile_ms / 1e3, 3);
    let calls = calls.unwrap_or_default();
    Some(format!("{ratio} [{low}, {high}] of the time of {reference}; compiling takes {seconds} s{calls}"))
}
