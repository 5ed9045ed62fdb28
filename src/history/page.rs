//! A history as a document.

use crate::comparison::words::counted;
use crate::record::manifest::Tool;
use crate::report::chart::{Interval, Trend, TrendLevel, TrendPoint, trend};
use crate::report::document::{Assurance, Block, Document, Finding, Section, Table, Text};
use crate::report::format::{self, ABSENT};

use super::cells::{CHANGE_NEEDS, Change, Level, Point, Series};
use super::side_by_side::{History, NOISE_NEEDS, Noise};
use super::tables::time;

/// Most charts of a page; all cells stand in `history.csv`.
const MOST_CHARTS: usize = 24;

/// A page of the history of runs.
#[must_use]
pub fn page(history: &History) -> Document {
    let stacks = history.marks.len() + 1;
    let facts = [
        ("runs", history.runs.len().to_string()),
        ("from", history.runs.first().map_or_else(|| ABSENT.to_owned(), |run| time(run.started_unix_ns))),
        ("to", history.runs.last().map_or_else(|| ABSENT.to_owned(), |run| time(run.started_unix_ns))),
        ("cells", history.series.len().to_string()),
        ("stacks in a row", stacks.to_string()),
    ];
    Document {
        title: "History".to_owned(),
        facts: facts.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect(),
        verdict: vec![Block::Findings(vec![changed(history), newest(history)])],
        sections: [changes(history), charts(history), stacks_section(history)].into_iter().flatten().collect(),
        made_by: format!("Made by phasebench {} from the runs' own rows.", Tool::this().version),
    }
}

/// Whether levels changed, in the cells that have runs enough to show it.
pub(super) fn changed(history: &History) -> Finding {
    let moved: Vec<&Series> = history.series.iter().filter(|series| !series.changes.is_empty()).collect();
    let all: usize = moved.iter().map(|series| series.changes.len()).sum();
    let beside = moved.iter().flat_map(|series| &series.changes).filter(|change| change.stack_change.is_some()).count();
    let enough = history.series.iter().filter(|series| series.can_show_a_change()).count();
    let few = history.series.len() - enough;
    let cells = counted(enough, "cell");
    let (assurance, answer) = match (enough, all) {
        (0, _) => (Assurance::Withheld, too_few_runs(history)),
        (_, 0) => (Assurance::Holds, format!("No level changed in {cells}.")),
        (_, 1) => (Assurance::Holds, format!("1 change of level in 1 of {cells}.")),
        (_, all) => (Assurance::Holds, format!("{all} changes of level in {} of {cells}.", moved.len())),
    };
    let left_out = match (enough, few) {
        (0, _) | (_, 0) => String::new(),
        (_, few) => format!(
            " Not asked of {}: of fewer than {CHANGE_NEEDS} runs, a change needs {} on either side.",
            counted(few, "cell"),
            CHANGE_NEEDS / 2
        ),
    };
    let grounds = format!(
        "Found by divisive splits, kept at p below 0.001 between the levels beside them. At most two runs from a change of \
         stack: {beside}."
    );
    Finding {
        question: "Did anything change?".to_owned(),
        assurance,
        answer: format!("{answer}{left_out}").into(),
        grounds: grounds.into(),
    }
}

/// Why no level can be said to change.
fn too_few_runs(history: &History) -> String {
    if history.series.is_empty() {
        return "No run has a cell that can be followed: none proves where it ran, or has samples.".to_owned();
    }
    let most = history.series.iter().map(|series| series.points.len()).max().unwrap_or(0);
    let each = CHANGE_NEEDS / 2;
    format!("No cell has more than {}: a change needs {each} on either side.", counted(most, "run"))
}

/// Whether the newest run is one of its level.
pub(super) fn newest(history: &History) -> Finding {
    let question = "Is the newest run like those before it?".to_owned();
    let Some(noise) = &history.noise else {
        let grounds = format!(
            "Of no stack do {NOISE_NEEDS} runs before it have its cells, so how much runs differ is not known."
        );
        return Finding {
            question,
            assurance: Assurance::Withheld,
            answer: "Not known.".into(),
            grounds: grounds.into(),
        };
    };
    let judged = history.newest();
    let outside: Vec<_> = judged.iter().filter(|(_, newest)| !newest.within).collect();
    let (assurance, answer) = match outside.first() {
        None if judged.len() == 1 => (Assurance::Holds, "Yes, in its one cell.".to_owned()),
        None => (Assurance::Holds, format!("Yes, in all of {} cells.", judged.len())),
        Some((series, newest)) => {
            let (name, by) = (&series.name, format::percent(newest.ratio - 1.0));
            let cells = counted(judged.len(), "cell");
            (Assurance::Caution, format!("Not in {} of {cells}, first {name}: {by}.", outside.len()))
        }
    };
    let is_new = |series: &&Series| series.points.len() == 1 && series.is_in(history.runs.len().saturating_sub(1));
    let unjudged = match history.series.iter().filter(is_new).count() {
        0 => String::new(),
        new => format!(" Not asked of {} that no run before it has.", counted(new, "further cell")),
    };
    let grounds = format!(
        "{} differ by {} over all cells (standard deviation, levels apart). Every cell is held against the runs before it at its \
         last level, and against how much those differ; where nothing changed, any is named in at most 5 of 100 runs (Holm).",
        whose(history, noise),
        format::percent(noise.ln)
    );
    Finding { question, assurance, answer: format!("{answer}{unjudged}").into(), grounds: grounds.into() }
}

/// Which runs the noise is from, in words.
fn whose(history: &History, noise: &Noise) -> String {
    let before = &history.runs[..history.runs.len().saturating_sub(1)];
    let last = before.iter().rposition(|run| run.stack_sha256 == noise.stack_sha256).map_or(0, |place| place + 1);
    match history.runs.last() {
        Some(newest) if newest.stack_sha256 != noise.stack_sha256 => format!(
            "{} runs of the stack that run {last} has (of its own there are fewer than {NOISE_NEEDS} before it)",
            noise.runs
        ),
        _ => format!("{} earlier runs of its stack", noise.runs),
    }
}

/// One line of the table of changes.
#[derive(Clone, Copy)]
struct Line<'a> {
    series: &'a Series,
    change: &'a Change,
    before: &'a Level,
    after: &'a Level,
}

fn changes(history: &History) -> Option<Section> {
    let lines = history.series.iter().flat_map(|series| {
        let levels = series.levels.windows(2);
        let line = |(change, levels): (&'_ Change, &'_ [Level])| (*change, levels[0], levels[1]);
        series.changes.iter().zip(levels).map(move |pair| (series, line(pair)))
    });
    let owned: Vec<_> = lines.collect();
    if owned.is_empty() {
        return None;
    }
    let lines: Vec<Line<'_>> =
        owned.iter().map(|(series, (change, before, after))| Line { series, change, before, after }).collect();
    let table = Table::of(&lines)
        .words("cell", |line| line.series.name.clone())
        .count("first run", |line| line.change.run + 1)
        .words("date", |line| {
            history.runs.get(line.change.run).map_or_else(|| ABSENT.to_owned(), |run| time(run.started_unix_ns))
        })
        .number("before", "ms", |line| format::ms(Some(line.before.ms)))
        .number("after", "ms", |line| format::ms(Some(line.after.ms)))
        .interval("ratio", "", "95\u{a0}%", |line| format::interval(Some(line.change.ratio), line.change.interval))
        .words("changed in the stack, at most two runs off", |line| {
            let changed = history.manifest_changes(line.change.stack_change);
            if changed.is_empty() { "nothing".to_owned() } else { changed.join("; ") }
        })
        .captioned(Text::plain("Changes of level, from ").code("change_points.csv").and("."));
    Some(Section { id: "changes", title: "What changed".to_owned(), blocks: vec![table.into()] })
}

fn charts(history: &History) -> Option<Section> {
    let mut shown: Vec<&Series> = history.series.iter().collect();
    // Those that changed first; the order of the runs otherwise.
    shown.sort_by_key(|series| series.changes.is_empty());
    let left_out = shown.len().saturating_sub(MOST_CHARTS);
    shown.truncate(MOST_CHARTS);
    let mut blocks: Vec<Block> = shown.iter().zip(1..).map(|(series, number)| chart(history, series, number)).collect();
    if blocks.is_empty() {
        return None;
    }
    if left_out > 0 {
        blocks.push(Block::Note(
            Text::plain(format!("Without a chart here: {}; all are in ", counted(left_out, "further cell")))
                .code("history.csv")
                .and("."),
        ));
    }
    Some(Section { id: "cells", title: "How every cell went".to_owned(), blocks })
}

fn chart(history: &History, series: &Series, number: usize) -> Block {
    let point = |point: &Point| TrendPoint {
        run: point.run + 1,
        ms: point.ms,
        interval: point.interval_ms.map(|(low, high)| Interval { low, high }),
    };
    let level = |level: &Level| TrendLevel { first: level.first_run + 1, last: level.last_run + 1, ms: level.ms };
    let data = Trend {
        title: series.name.clone(),
        points: series.points.iter().map(point).collect(),
        levels: series.levels.iter().map(level).collect(),
        stack_changes: history.marks.iter().map(|mark| mark.at + 1).collect(),
    };
    let caption = match series.changes.len() {
        0 if !series.can_show_a_change() => format!("Of fewer than {CHANGE_NEEDS} runs: no change would be found."),
        0 => "One level throughout.".to_owned(),
        1 => "Its level changes once.".to_owned(),
        n => format!("Its level changes {n} times."),
    };
    Block::figure(&format!("history_{number}"), caption.into(), trend(&data))
}

fn stacks_section(history: &History) -> Option<Section> {
    if history.marks.is_empty() {
        return None;
    }
    let table = Table::of(&history.marks)
        .count("from run", |mark| mark.at + 1)
        .words("date", |mark| {
            history.runs.get(mark.at).map_or_else(|| ABSENT.to_owned(), |run| time(run.started_unix_ns))
        })
        .words("what is not as in the run before", |mark| mark.changes.join("; "))
        .captioned(Text::plain("Changes of the stack, from each run's ").code("manifest.json").and("."));
    Some(Section { id: "stacks", title: "When the stack changed".to_owned(), blocks: vec![table.into()] })
}
