//! The answer in one sentence, and what must be known before any number.

use crate::analysis::engines::Rule;
use crate::record::manifest::{Change, Weight};
use crate::stats::LEVEL;
use crate::stats::summary::median;

use super::allowance::Allowance;
use super::cells::Compared;
use super::disturbed;
use super::effect::Basis;
use super::groups;
use super::machine::{MachineRow, OwnSpeed};
use super::power::FINDS;
use super::row::CellRow;
use super::side::{OneSide, Sides};
use super::verdict::{Settings, Verdict};
use super::witness::NOTE;
use super::words::{change, counted, ends, percent, phase, span};

/// Share of a side's calls from which on a reader must know that they were disturbed.
const MANY: f64 = 0.25;
/// Changes that are named; the others are counted.
const MOST_CHANGES: usize = 4;

/// The answer in one sentence, with what changed.
#[must_use]
pub fn of(
    cells: &[Compared],
    machine: &[MachineRow],
    changes: &[Change],
    sides: &Sides<'_>,
    settings: &Settings,
    allowance: Option<&Allowance>,
) -> String {
    let mut parts = moved(cells, allowance);
    if parts.is_empty() {
        parts.push("Nothing is known to be slower or faster".to_owned());
    }
    parts.push(rest(cells, settings.rule));
    parts.retain(|part| !part.is_empty());
    if !sides.is_one_run() {
        parts.push(of_machine(machine, settings.rule));
    }
    if !sides.interleaved {
        parts.push("not interleaved".to_owned());
    }
    parts.push(of_changes(changes, sides));
    format!("{}.", parts.join("; "))
}

/// What is slower, fails, or is faster, for sure or by how much is open, by backend and phase: the worst first.
fn moved(cells: &[Compared], allowance: Option<&Allowance>) -> Vec<String> {
    let (groups, mut parts) = (groups::of(cells), Vec::new());
    let known =
        [Verdict::Slower, Verdict::NewlyFailing, Verdict::SlowerExtentOpen, Verdict::Faster, Verdict::FasterExtentOpen];
    for verdict in known {
        for group in &groups {
            let own: Vec<&Compared> = group.iter().copied().filter(|cell| cell.row.verdict == verdict).collect();
            let Some(first) = own.first() else { continue };
            let what = format!("{} on {}", phase(first.row.mode), backends(first));
            let where_ = format!("in {} of {}", own.len(), counted(group.len(), "cell"));
            parts.push(match verdict {
                Verdict::NewlyFailing => format!("{what} is newly failing {where_}"),
                Verdict::SlowerExtentOpen => format!("{what} is slower, by how much is open, {where_}"),
                Verdict::FasterExtentOpen => format!("{what} is faster, by how much is open, {where_}"),
                _ => {
                    let mean = groups::mean(&own, allowance);
                    let said = mean.map(|mean| {
                        change(mean.value(), mean.interval(LEVEL).map(|interval| (interval.low, interval.high)))
                    });
                    format!("{what} is {} {where_}", said.unwrap_or_else(|| verdict.as_str().to_owned()))
                }
            });
        }
    }
    parts
}

fn backends(cell: &Compared) -> String {
    match &cell.row.backend_b {
        Some(other) => format!("{other} (against {})", cell.row.backend),
        None => cell.row.backend.clone(),
    }
}

/// How the other cells stand.
fn rest(cells: &[Compared], rule: Rule) -> String {
    let count = |verdict: Verdict| cells.iter().filter(|cell| cell.row.verdict == verdict).count();
    let by_floor = cells.iter().any(|cell| cell.row.verdict == Verdict::Same && cell.row.reason.is_some());
    let or_less = if by_floor { " or below the floor" } else { "" };
    let within = format!("the same within {} %{or_less}", percent(rule.margin));
    let each = [
        (Verdict::Same, within.as_str()),
        (Verdict::Undecided, "undecided"),
        (Verdict::NotComparable, "not comparable"),
        (Verdict::Missing, "missing"),
    ];
    let said: Vec<String> = each
        .iter()
        .filter(|(verdict, _)| count(*verdict) > 0)
        .map(|(verdict, words)| format!("{} {words}", count(*verdict)))
        .collect();
    if said.is_empty() { String::new() } else { format!("of {}: {}", counted(cells.len(), "cell"), said.join(", ")) }
}

fn of_machine(machine: &[MachineRow], rule: Rule) -> String {
    match OwnSpeed::of(machine, rule.margin) {
        None => "the machine's own speed was not measured often enough on both sides".to_owned(),
        Some(OwnSpeed::Same { low, high }) => format!("the machine is the same {}", ends(low, high)),
        Some(OwnSpeed::Moved(row)) => {
            format!("the machine itself is {} ({})", change(row.ratio, Some((row.low, row.high))), row.kernel)
        }
        Some(OwnSpeed::Unknown { best, .. }) if machine.len() == 1 => {
            format!("the machine's own speed is known only to {} ({})", ends(best.low, best.high), best.kernel)
        }
        Some(OwnSpeed::Unknown { low, high, best }) => format!(
            "the machine's own speed is known only to {}, best to {} ({})",
            ends(low, high),
            ends(best.low, best.high),
            best.kernel
        ),
    }
}

fn of_changes(changes: &[Change], sides: &Sides<'_>) -> String {
    let heavy: Vec<&Change> = changes.iter().filter(|change| change.weight == Weight::Speed).collect();
    let other = changes.iter().any(|change| change.weight == Weight::Harmless);
    let begin = if sides.is_one_run() { "they differ in" } else { "changed since" };
    let named: Vec<String> = heavy.iter().take(MOST_CHANGES).map(|change| change.in_words()).collect();
    match heavy.len() {
        0 if other => "nothing that can change speed changed".to_owned(),
        0 if sides.is_one_run() => "nothing that is recorded of them differs".to_owned(),
        0 => "nothing in the stack changed".to_owned(),
        1 => format!("{begin}: {}, nothing else{}", named[0], if other { " that can change speed" } else { "" }),
        n => {
            let more = if n > MOST_CHANGES { format!(" and {} more", n - MOST_CHANGES) } else { String::new() };
            let back = heavy[0].before.as_ref().map_or_else(
                || format!("without the new {}", heavy[0].what),
                |before| format!("with {} {before} again", heavy[0].what),
            );
            format!("{begin}: {}{more}; a run {back} and all else as it is now would tell them apart", named.join(", "))
        }
    }
}

/// What a reader must know before any number.
#[must_use]
pub fn notes(cells: &[Compared], sides: &Sides<'_>, allowance: Option<&Allowance>) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(allowance.map(|allowance| apart_in_time(cells, sides, allowance)));
    if cells.iter().any(|cell| cell.row.basis == Some(Basis::OneSession)) {
        // Two backends of one plan are loaded in the same order in all its runs, which may be all that they differ by.
        let runs = "; five runs of the baseline's plan and stack tell it too, with --history DIR";
        notes.push(format!(
            "One session each side: what differs between processes is unknown, so no cell can be more than undecided. \
             `sessions: 5` in the scenario file measures that{}.",
            if sides.is_one_run() { "" } else { runs }
        ));
    }
    let is_stated = |cell: &&Compared| cell.effect.as_ref().is_some_and(|(_, a, _)| a.stated.is_some());
    let stated = cells.iter().filter(is_stated).count();
    if stated > 0 {
        notes.push(format!(
            "Without samples: of {} the files state figures alone, which nothing here can check.",
            counted(stated, "cell")
        ));
    }
    for side in [&sides.baseline, &sides.candidate] {
        if !side.run.manifest.one_stack() {
            notes.push(format!("The stack changed during {}: its calls are of more than one.", side.name));
        }
    }
    notes.extend(unfinished(sides));
    notes.extend(disturbed_note(cells, sides));
    notes.extend(cells.iter().any(|cell| cell.row.doubted).then(|| NOTE.to_owned()));
    if cells.iter().all(|cell| cell.row.ratio.is_none()) {
        notes.push("Nothing was compared.".to_owned());
    }
    notes.extend(unseen(cells));
    notes
}

/// Runs that were ended before all was measured, as far as they are not one.
fn unfinished(sides: &Sides<'_>) -> Vec<String> {
    let runs =
        if sides.is_one_run() { vec![sides.baseline.run] } else { vec![sides.baseline.run, sides.candidate.run] };
    let begun = runs.into_iter().filter(|run| !run.finished);
    begun
        .map(|run| {
            format!(
                "{} did not come to its end: it has fewer calls and sessions than it planned, and some cells none.",
                run.name
            )
        })
        .collect()
}

/// How the sides were measured at different times, and what is made of that.
fn apart_in_time(cells: &[Compared], sides: &Sides<'_>, allowance: &Allowance) -> String {
    let Some((runs, minutes)) = allowance.baseline_runs() else {
        let turns = if sides.is_one_run() {
            "`order: interleaved` or `sessions: 5` in the scenario file"
        } else {
            "Both in one plan, compared with --between,"
        };
        return format!(
            "Not interleaved: the sides were measured at different times, so either may be off by {} % although nothing \
             changed ({}); intervals allow for it. {turns} would not need that.",
            percent(1.0 + allowance.ln),
            allowance.because()
        );
    };
    let differ: Vec<f64> = cells.iter().filter_map(|cell| cell.row.session_sd_ln).collect();
    let by = median(&differ)
        .map_or_else(String::new, |ln| format!(" (by {} % in the middle of the cells)", percent(ln.exp())));
    format!(
        "Not interleaved: the sides were measured at different times. The baseline is {runs} runs of one stack with one session \
         each, begun within {}, and the candidate's one session is held against those; how much such runs differ{by} is in the \
         intervals. Both in one plan, compared with --between, would find smaller changes.",
        span(minutes)
    )
}

/// What undecided cells would have shown, and how many sessions would decide them. `None`: there are none such.
fn unseen(cells: &[Compared]) -> Option<String> {
    let undecided = |cell: &&Compared| {
        cell.row.verdict == Verdict::Undecided && cell.row.basis != Some(Basis::OneSession) && cell.row.ratio.is_some()
    };
    let undecided: Vec<&Compared> = cells.iter().filter(undecided).collect();
    let seen = undecided.iter().filter_map(|cell| cell.row.detectable_ratio).reduce(f64::max)?;
    let sessions: Vec<u32> = undecided.iter().filter_map(|cell| cell.row.sessions_to_decide).collect();
    let more = match sessions.iter().max() {
        Some(most) => format!("; {most} sessions a side would decide {} of them at this noise", sessions.len()),
        None if undecided.iter().any(|cell| cell.row.basis == Some(Basis::Runs)) => String::new(),
        None => "; no number of sessions up to 100 would decide any of them at this noise".to_owned(),
    };
    Some(format!(
        "{} undecided: a change of {:.0} % would have been found in each of them ({:.0} % power){more}.",
        counted(undecided.len(), "cell"),
        100.0 * (seen - 1.0),
        100.0 * FINDS
    ))
}

/// What a reader must know of calls that were disturbed from outside. `None`: few were.
fn disturbed_note(cells: &[Compared], sides: &Sides<'_>) -> Option<String> {
    let of = |count: fn(&CellRow) -> (u64, usize), side: &OneSide<'_>| {
        let compared = cells.iter().map(|cell| count(&cell.row));
        let (disturbed, calls) = compared.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        let share = disturbed::share(disturbed, calls);
        (share, format!("{:.0} % of the calls of {}", 100.0 * share, side.name))
    };
    let baseline = of(|row| (row.disturbed_a, row.calls_a), &sides.baseline);
    let candidate = of(|row| (row.disturbed_b, row.calls_b), &sides.candidate);
    (baseline.0.max(candidate.0) >= MANY).then(|| {
        format!(
            "{} and {} were disturbed from outside, other programs mostly; `disturbed.csv` of `analyze` says by what. What \
             took longer on the side that was disturbed more is not judged. A quiet machine would tell.",
            baseline.1, candidate.1
        )
    })
}
