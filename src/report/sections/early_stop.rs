//! Calls that ended before all decode steps were made, and what a decode time must be divided by.

mod linearity;

use crate::analysis::{EarlyStopRow, ScalingFitRow};
use crate::report::document::{Block, Section, Table, Text};
use crate::report::format::{self, ABSENT};
use crate::terms::Mode;

use super::names::{Names, call_shape, counted, mode};
use super::{MOST_ROWS, ReportedRun, strongest};

/// `None`: no call ended early, none could have, and all made as many tokens.
pub(super) fn section(run: &ReportedRun<'_>, names: &Names) -> Option<Section> {
    let whole_run = run.tables.early_stop_summary.iter().find(|row| row.backend.is_none())?;
    let several_lengths = run.tables.decode_linearity.iter().any(|row| row.n_counts > 1);
    let possible = run.plan.sessions.iter().any(|session| session.may_stop_early);
    let stopped = whole_run.early_stops > 0;
    if !stopped && !possible && !several_lengths {
        return None;
    }
    let mut blocks = vec![Block::Paragraph(intro(run, whole_run, several_lengths))];
    if stopped || possible {
        blocks.push(stops(run, names));
    }
    if several_lengths {
        blocks.extend(linearity::blocks(run, names));
    }
    if stopped {
        blocks.extend(with_and_without_scaling(run, names));
    }
    Some(Section { id: "early-stops", title: "Early stops and what they do to decode times".to_owned(), blocks })
}

fn intro(run: &ReportedRun<'_>, whole_run: &EarlyStopRow, several_lengths: bool) -> Text {
    if whole_run.early_stops == 0 && !several_lengths {
        return "No call ended at a stop token before all its steps were made, though an engine here may do so: every \
                decode time is of the steps asked for."
            .into();
    }
    if whole_run.early_stops == 0 {
        return "No call ended early. Decode lengths differ, which shows what a decode time must be divided by before \
                calls of different length are compared."
            .into();
    }
    let rule = run.plan.early_stop;
    let again = match rule.retries {
        0 => "Such a call is not made again.".to_owned(),
        n => format!("A timed call that does is made again, up to {}.", counted(n as usize, "time")),
    };
    let scaled = if rule.scale {
        format!(
            "Where the last try ends early too, its decode time is scaled, time ÷ steps made × steps asked for, if it \
             made at least {}; a shorter one is left out.",
            counted(rule.min_steps as usize, "step")
        )
    } else {
        "Where the last try ends early too, it is left out.".to_owned()
    };
    let calls = counted(whole_run.calls, "call");
    Text::plain(format!("{} of {calls} that decode ", whole_run.early_stops)).and(format!(
        "({}) ended at a stop token before all steps were made. {again} {scaled}",
        format::percent(whole_run.share)
    ))
}

/// The run, its backends where there are several, and the cells that stop most often.
fn stops(run: &ReportedRun<'_>, names: &Names) -> Block {
    let rows = &run.tables.early_stop_summary;
    let totals = rows.iter().filter(|row| row.model.is_none() && (row.backend.is_none() || names.several_backends()));
    let stopping: Vec<&EarlyStopRow> = rows.iter().filter(|row| row.model.is_some() && row.early_stops > 0).collect();
    let most_stopping = strongest(&stopping, MOST_ROWS, |row| row.share.unwrap_or_default()).into_iter().copied();
    let left_out = stopping.len().saturating_sub(MOST_ROWS);
    let more = if left_out > 0 { format!(" {left_out} more have early stops.") } else { String::new() };
    let caption =
        Text::plain("Every try is a call of its own; given up: timed calls whose last try does not count. From ")
            .code("analysis/early_stop_summary.csv")
            .and(format!(".{more}"));
    Table::of(totals.chain(most_stopping))
        .words("calls of", |row| calls_of(names, row))
        .count("calls", |row| row.calls)
        .count("ended early", |row| row.early_stops)
        .number("share", "", |row| format::percent(row.share))
        .number("tries per timed call", "", |row| format::fixed(row.tries_per_timed_call, 2))
        .count("scaled", |row| row.scaled)
        .count("too short", |row| row.too_short)
        .count("given up", |row| row.unfinished)
        .captioned(caption)
        .into()
}

fn calls_of(names: &Names, row: &EarlyStopRow) -> Text {
    match (&row.backend, &row.model, &row.scenario) {
        (Some(backend), Some(model), Some(scenario)) if names.several_backends() => {
            format!("{backend} · {model} · {scenario}").into()
        }
        (_, Some(model), Some(scenario)) => format!("{model} · {scenario}").into(),
        (Some(backend), ..) => Text::default().strong(backend),
        _ => Text::default().strong("whole run"),
    }
}

/// A fit over all calls that count, and the same over those that made all their steps.
#[derive(Clone, Copy)]
struct FitPair<'a> {
    all_calls: &'a ScalingFitRow,
    /// `None`: no such call.
    length_limited: Option<&'a ScalingFitRow>,
}

/// Whether scaled calls bend the aggregate fits. `None`: there is no fit.
fn with_and_without_scaling(run: &ReportedRun<'_>, names: &Names) -> Option<Block> {
    let limited = &run.tables.scaling_fits_length_limited;
    let aggregates =
        run.tables.scaling_fits.iter().filter(|fit| fit.key.scenario.is_none() && fit.key.mode != Mode::E2eKv);
    let pairs: Vec<FitPair<'_>> = aggregates
        .map(|fit| FitPair {
            all_calls: fit,
            length_limited: limited.iter().find(|other| other.key.fit_id == fit.key.fit_id),
        })
        .collect();
    if pairs.is_empty() {
        return None;
    }
    let caption = Text::plain(
        "Whether scaling bends the fits: the aggregate power laws over all calls that count, and over those alone that made \
         all their steps. From ",
    )
    .code("analysis/scaling_fits.csv")
    .and(" and ")
    .code("analysis/scaling_fits_length_limited.csv")
    .and(".");
    let table = Table::of(&pairs)
        .words("backend", |pair| names.engine(&pair.all_calls.key.backend, pair.all_calls.key.dtype))
        .words("mode", |pair| mode(pair.all_calls.key.mode))
        .words("shape", |pair| {
            let fit = pair.all_calls;
            call_shape(fit.key.mode, fit.key.batch, fit.key.gen_tokens)
        })
        .count("models", |pair| pair.all_calls.n_models)
        .interval("slope, all calls", "", "95\u{a0}%\u{a0}t", |pair| slope(Some(pair.all_calls)))
        .count("models", |pair| pair.length_limited.map_or(0, |fit| fit.n_models))
        .interval("slope, length-limited calls", "", "95\u{a0}%\u{a0}t", |pair| slope(pair.length_limited))
        .captioned(caption);
    Some(table.into())
}

fn slope(fit: Option<&ScalingFitRow>) -> String {
    match fit {
        None => "no call".to_owned(),
        Some(fit) if fit.actionable => format::interval(fit.slope, fit.slope_t_low.zip(fit.slope_t_high)),
        Some(fit) => format!("not identifiable: {}", fit.reason.as_deref().unwrap_or(ABSENT)),
    }
}
