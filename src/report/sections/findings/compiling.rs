//! Whether compiling paid.

use crate::analysis::{CacheState, CompileOutcomeRow, Verdict};
use crate::report::document::{Assurance, Finding, Text};
use crate::report::format;
use crate::report::sections::ReportedRun;
use crate::report::sections::names::{Names, counted, mode};
use crate::terms::Mode;

/// One finding per backend and mode that asked for a compiler.
pub(super) fn findings(run: &ReportedRun<'_>, names: &Names) -> Vec<Finding> {
    let timed = run.tables.compile_outcome.iter().filter(|row| row.mode != Mode::E2eKv);
    timed.map(|row| finding(row, names)).collect()
}

fn finding(row: &CompileOutcomeRow, names: &Names) -> Finding {
    let engine = names.engine(&row.backend, row.dtype);
    let (assurance, answer) = answer(row);
    Finding {
        question: format!("Compiling {} on {engine}", mode(row.mode).to_lowercase()),
        assurance,
        answer,
        grounds: grounds(row).into(),
    }
}

fn answer(row: &CompileOutcomeRow) -> (Assurance, Text) {
    let times = format!("{} times", format::interval(row.ratio, row.ratio_low.zip(row.ratio_high)));
    let reference = row.reference.as_deref().unwrap_or("nothing");
    match row.verdict {
        Verdict::Faster => (Assurance::Holds, Text::plain("Faster: ").strong(times).and(format!(" {reference}'s."))),
        Verdict::Slower => (Assurance::Holds, Text::plain("Slower: ").strong(times).and(format!(" {reference}'s."))),
        Verdict::NotResolved => (Assurance::Caution, Text::plain("Not resolved: ").strong(times).and(" includes 1.")),
        Verdict::NoReference => {
            (Assurance::Withheld, "Nothing to compare with: no backend ran the same cells eagerly.".into())
        }
        Verdict::NotProven => {
            let missing = counted(row.n_cells - row.n_proven, "cell");
            let answer = Text::plain("Withheld: ").strong(format!("{missing} not proven to have run compiled"));
            (Assurance::Withheld, answer.and("."))
        }
    }
}

fn grounds(row: &CompileOutcomeRow) -> String {
    let cache = match row.cache {
        CacheState::Cold => "its cache cold",
        CacheState::Warm => "its cache warm",
        CacheState::Mixed => "its cache partly warm",
        CacheState::Unknown => "no cache told",
    };
    let mut grounds = format!(
        "{} of {} faster, {} slower; {} s compiling, {cache}",
        row.n_faster,
        counted(row.n_compared, "cell"),
        row.n_slower,
        format::ms(row.compile_ms / 1e3),
    );
    if let Some(calls) = row.break_even_calls_max {
        grounds.push_str(&format!(", earned back after at most {calls} calls of each cell"));
    }
    if row.recompiles_in_timed_calls > 0 {
        let recompiles = usize::try_from(row.recompiles_in_timed_calls).unwrap_or(usize::MAX);
        grounds.push_str(&format!("; {} inside timed calls", counted(recompiles, "recompile")));
    }
    grounds.push('.');
    grounds
}
