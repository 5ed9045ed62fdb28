//! Which engine is faster, phase by phase.

use crate::analysis::{EnginePairsRow, EngineVerdict, MetricRow};
use crate::report::document::{Assurance, Finding, Text};
use crate::report::format;
use crate::report::sections::ReportedRun;
use crate::report::sections::engines::{Ranking, Standing, rankings};
use crate::report::sections::names::{Names, counted, mode};
use crate::terms::{Mode, Order};

use super::share::share_of;
use super::steadiness::{BUSY, FOREIGN_SHARE, percent_or_all, ran_beside_others};

/// What every comparison inside a run leaves open.
const ONE_PROCESS: &str =
    "One process of each engine: the interval allows for what the next may differ by (sessions: 5 measures it).";

/// How sessions are set against each other where rounds are not interleaved.
const TURNS: &str =
    "Engines took turns by session, and each session is paired with the other engine's of the same pass.";

/// What is in it where cells were measured in several sessions.
const SEVERAL_PROCESSES: &str =
    "Sessions, loads in fresh engine processes, are what is compared: how they differ is in the interval.";

/// One finding per phase and element type in which engines are compared, or that they cannot be.
pub(super) fn findings(run: &ReportedRun<'_>, names: &Names) -> Vec<Finding> {
    let rankings = rankings(run.tables);
    if rankings.is_empty() && !run.tables.engine_pairs.is_empty() {
        return vec![nothing_compared(&run.tables.engine_pairs)];
    }
    rankings.iter().map(|ranking| finding(run, names, ranking)).collect()
}

fn nothing_compared(pairs: &[EnginePairsRow]) -> Finding {
    let mut reasons: Vec<&str> = pairs.iter().filter_map(|pair| pair.reasons.as_deref()).collect();
    reasons.dedup();
    Finding {
        question: "Which engine is faster?".to_owned(),
        assurance: Assurance::Withheld,
        answer: "No cell can be compared between engines.".into(),
        grounds: format!("{}.", reasons.first().copied().unwrap_or("no reason given")).into(),
    }
}

fn finding(run: &ReportedRun<'_>, names: &Names, ranking: &Ranking<'_>) -> Finding {
    let phase = mode(ranking.mode);
    let question = match names.engine("", ranking.dtype).trim() {
        "" => format!("{phase}: which engine is faster?"),
        dtype => format!("{phase} {dtype}: which engine is faster?"),
    };
    Finding {
        question,
        assurance: assurance(run, ranking),
        answer: answer(ranking),
        grounds: grounds(run, ranking).into(),
    }
}

/// The sentence: the fastest against each other, the nearest first.
fn answer(ranking: &Ranking<'_>) -> Text {
    let verb = match ranking.mode {
        Mode::Prefill | Mode::E2eKv => "prefills",
        Mode::KvDecode => "decodes",
        Mode::GenerateUncached => "generates without a cache",
        Mode::Ttft => "gives its first token",
        Mode::AfterFirst => "goes on after its first token",
        Mode::Request | Mode::Whole => "answers",
    };
    let mut answer = Text::default();
    for (place, standing) in ranking.others.iter().enumerate() {
        answer = clause(answer, ranking, standing, verb, place == 0);
    }
    let models = models(ranking);
    let these = if models.len() == 1 { models[0].to_owned() } else { format!("these {} models", models.len()) };
    answer.and(format!(", on {these}."))
}

/// Adds what is said of one other engine.
fn clause(answer: Text, ranking: &Ranking<'_>, standing: &Standing<'_>, verb: &str, first: bool) -> Text {
    let (fastest, other) = (ranking.fastest, standing.other);
    let times = format!("{}×{}", speed(standing), interval(standing));
    match (first, standing.verdict) {
        (true, EngineVerdict::Same) => {
            answer.strong(format!("{fastest} and {other} are the same")).and(format!(" within 3\u{a0}%: {times}"))
        }
        (true, EngineVerdict::NotSeparated) => {
            answer.strong("Not separated").and(format!(": {fastest} {verb} {times} as fast as {other}"))
        }
        (true, _) => answer.and(format!("{fastest} {verb} ")).strong(times).and(format!(" as fast as {other}")),
        (false, EngineVerdict::Same) => answer.and(format!("; the same as {other} within 3\u{a0}%: {times}")),
        (false, EngineVerdict::NotSeparated) => answer.and(format!("; not separated from {other}: {times}")),
        (false, _) => {
            let before = if ranking.others[0].verdict == EngineVerdict::Faster {
                ", ".to_owned()
            } else {
                format!("; {fastest} {verb} ")
            };
            answer.and(before).strong(times).and(format!(" as fast as {other}"))
        }
    }
}

fn speed(standing: &Standing<'_>) -> String {
    format::number(standing.speed, 3)
}

fn interval(standing: &Standing<'_>) -> String {
    let printed = format::interval(standing.speed, standing.interval);
    printed.split_once(' ').map_or_else(String::new, |(_, bounds)| format!(" {bounds}"))
}

fn models<'a>(ranking: &Ranking<'a>) -> Vec<&'a str> {
    let mut models: Vec<&str> = Vec::new();
    for name in ranking.others.iter().flat_map(|standing| standing.pair.models.split(';')) {
        if !models.contains(&name) {
            models.push(name);
        }
    }
    models
}

fn assurance(run: &ReportedRun<'_>, ranking: &Ranking<'_>) -> Assurance {
    let known = |standing: &Standing<'_>| {
        let answered = matches!(standing.verdict, EngineVerdict::Faster | EngineVerdict::Same);
        answered && standing.n_slower == 0 && standing.pair.n_paired == standing.pair.n_compared
    };
    let undisturbed = reservations(run, ranking).is_empty();
    if undisturbed && ranking.others.iter().all(known) { Assurance::Holds } else { Assurance::Caution }
}

/// What happened during the run that no interval holds, in whole sentences.
fn reservations(run: &ReportedRun<'_>, ranking: &Ranking<'_>) -> Vec<String> {
    let mut reservations = Vec::new();
    // What slows both sides cancels in a ratio only where it slows both alike.
    let of_ranking = |call: &&MetricRow| {
        let backend = call.key.backend.as_str();
        let compared = backend == ranking.fastest || ranking.others.iter().any(|standing| standing.other == backend);
        compared && call.counts() && (call.mode, call.key.dtype) == (ranking.mode, ranking.dtype)
    };
    let calls: Vec<&MetricRow> = run.tables.metrics.iter().filter(of_ranking).collect();
    let beside = calls.iter().filter(|call| ran_beside_others(call)).count();
    if let Some(share) = share_of(beside, calls.len()).filter(|share| *share > FOREIGN_SHARE) {
        reservations.push(format!("{BUSY} during {} of the calls.", percent_or_all(share)));
    }
    if !run.manifest.one_stack() {
        reservations.push("The software stack changed during the run.".to_owned());
    }
    if !run.recording.finished() {
        reservations.push("The run is not finished.".to_owned());
    }
    reservations
}

fn grounds(run: &ReportedRun<'_>, ranking: &Ranking<'_>) -> String {
    let mut grounds = vec![by_cell(ranking)];
    let open = |standing: &&Standing<'_>| standing.verdict == EngineVerdict::FasterExtentOpen;
    for standing in ranking.others.iter().filter(open) {
        grounds.push(format!("Against {} it may be by less than 3\u{a0}%.", standing.other));
    }
    let undecided = |standing: &&Standing<'_>| standing.verdict == EngineVerdict::NotSeparated;
    for standing in ranking.others.iter().filter(undecided) {
        let percent = standing.pair.detectable_ratio.map(|ratio| (ratio - 1.0) * 100.0);
        let difference = format::number(percent, 2);
        grounds.push(format!("Against {} a difference of {difference}\u{a0}% would have been seen.", standing.other));
    }
    let taking_turns = run.plan.session_count.is_several() && run.plan.order != Order::Interleaved;
    grounds.push(if taking_turns { TURNS } else { pairing(ranking) }.to_owned());
    let left_out: usize = ranking.others.iter().map(|other| other.pair.n_cells - other.pair.n_compared).sum();
    if left_out > 0 {
        grounds.push(format!("{} not compared, see below.", counted(left_out, "cell")));
    }
    let several = run.plan.session_count.is_several();
    grounds.push(if several { SEVERAL_PROCESSES } else { ONE_PROCESS }.to_owned());
    grounds.extend(reservations(run, ranking));
    grounds.join(" ")
}

/// `Faster in 8 of 8 cells against torch-eager, in 6 of 8 cells against ort-cpu (slower in 1).`
fn by_cell(ranking: &Ranking<'_>) -> String {
    let against = |standing: &Standing<'_>| {
        let Standing { other, pair, n_faster, n_slower, .. } = standing;
        let slower = if *n_slower > 0 { format!(" (slower in {n_slower})") } else { String::new() };
        format!("in {n_faster} of {} against {other}{slower}", counted(pair.n_compared, "cell"))
    };
    let each: Vec<String> = ranking.others.iter().map(against).collect();
    format!("Faster {}.", each.join(", "))
}

/// How calls are set against each other.
fn pairing(ranking: &Ranking<'_>) -> &'static str {
    let (paired, compared) = ranking.others.iter().fold((0, 0), |(paired, compared), standing| {
        (paired + standing.pair.n_paired, compared + standing.pair.n_compared)
    });
    match paired {
        0 => "Engines were not measured in turns (order: interleaved pairs their calls).",
        n if n == compared => "Calls are paired by round.",
        _ => "Some calls are paired by round.",
    }
}
