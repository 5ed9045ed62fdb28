//! Whether compiling paid.

use crate::analysis::aggregate::distinct;
use crate::analysis::{CacheState, CompileAuditRow, CompileOutcomeRow, CompileVerdict};
use crate::report::document::{Assurance, Finding, Text};
use crate::report::format;
use crate::report::sections::ReportedRun;
use crate::report::sections::names::{Names, counted, mode};
use crate::terms::Mode;

/// One finding per backend and mode that asked for a compiler.
pub(super) fn findings(run: &ReportedRun<'_>, names: &Names) -> Vec<Finding> {
    let timed = run.tables.compile_outcome.iter().filter(|row| row.mode != Mode::E2eKv);
    timed.map(|row| finding(run, row, names)).collect()
}

fn finding(run: &ReportedRun<'_>, row: &CompileOutcomeRow, names: &Names) -> Finding {
    let engine = names.engine(&row.backend, row.dtype);
    let (assurance, answer) = answer(run, row);
    Finding {
        question: format!("Compiling {} on {engine}", mode(row.mode).to_lowercase()),
        assurance,
        answer,
        grounds: grounds(row).into(),
    }
}

fn answer(run: &ReportedRun<'_>, row: &CompileOutcomeRow) -> (Assurance, Text) {
    let times = format!("{} times", format::interval(row.ratio, row.ratio_low.zip(row.ratio_high)));
    let reference = row.reference.as_deref().unwrap_or("nothing");
    match row.verdict {
        CompileVerdict::Faster => {
            let answer = Text::plain("Faster: ").strong(times).and(format!(" {reference}'s"));
            match only_some(run, row) {
                None => (Assurance::Holds, answer.and(".")),
                Some(which) => (Assurance::Caution, answer.and(format!(" over all cells, but {which}."))),
            }
        }
        CompileVerdict::Slower => {
            (Assurance::Holds, Text::plain("Slower: ").strong(times).and(format!(" {reference}'s.")))
        }
        CompileVerdict::NotResolved => {
            (Assurance::Caution, Text::plain("Not resolved: ").strong(times).and(" includes 1."))
        }
        CompileVerdict::NoReference => {
            (Assurance::Withheld, "Nothing to compare with: no backend ran the same cells eagerly.".into())
        }
        CompileVerdict::NotProven => {
            let missing = counted(row.n_cells - row.n_proven, "cell");
            let answer = Text::plain("Withheld: ").strong(format!("{missing} not proven to have run compiled"));
            (Assurance::Withheld, answer.and("."))
        }
    }
}

/// Which cells are faster where not all are: a mean that lies below 1 may rest on a few of them. `None`: all are.
fn only_some(run: &ReportedRun<'_>, row: &CompileOutcomeRow) -> Option<String> {
    if row.n_faster == row.n_compared {
        return None;
    }
    let audited = run.tables.compile_audit.iter();
    let of_row =
        audited.filter(|cell| (&cell.key.backend, cell.key.dtype, cell.mode) == (&row.backend, row.dtype, row.mode));
    let compared: Vec<&CompileAuditRow> = of_row.filter(|cell| cell.ratio.is_some()).collect();
    let faster = compared.iter().filter(|cell| cell.ratio_high < Some(1.0));
    let models = distinct(compared.iter().map(|cell| cell.key.model.as_str()));
    let faster_models = distinct(faster.map(|cell| cell.key.model.as_str()));
    let count = format!("only {} of {} are", row.n_faster, counted(row.n_compared, "cell"));
    if faster_models.is_empty() || faster_models.len() == models.len() {
        return Some(count);
    }
    let whose = faster_models.join(", ");
    let size =
        if models.len() > 1 && faster_models[..] == smallest(run, &models)[..] { ", the smallest model" } else { "" };
    Some(format!("{count}: those of {whose}{size}"))
}

/// The model with the fewest parameters. Empty: of one they are not known.
fn smallest<'a>(run: &ReportedRun<'_>, models: &[&'a str]) -> Vec<&'a str> {
    let params =
        |model: &str| run.tables.summary.iter().find(|row| row.key.model == model)?.architecture.params_millions;
    let sizes: Option<Vec<(&str, f64)>> = models.iter().map(|model| Some((*model, params(model)?))).collect();
    let least = sizes.unwrap_or_default().into_iter().min_by(|a, b| a.1.total_cmp(&b.1));
    least.into_iter().map(|(model, _)| model).collect()
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
