//! Calls that ended before all decode steps were made, and what a decode time must be divided by.

use crate::analysis::linearity::Form;
use crate::analysis::{DecodeLinearityRow, DecodeProjectionErrorRow, EarlyStopRow, ScalingFitRow};
use crate::report::document::{Block, Column, Section, Table, Text};
use crate::report::format::{self, ABSENT};
use crate::terms::Mode;

use super::names::{Names, counted, mode, shape};
use super::{ROWS, ReportedRun, strongest};

/// Counts of one model that the table of projections shows: those nearest to these shares of the largest.
const SHARES: [f64; 4] = [1.0 / 16.0, 1.0 / 8.0, 1.0 / 4.0, 1.0 / 2.0];

/// `None`: no call ended early, none could have, and all made as many tokens.
pub(super) fn section(run: &ReportedRun<'_>, names: &Names) -> Option<Section> {
    let whole = run.tables.early_stop_summary.iter().find(|row| row.backend.is_none())?;
    let several = run.tables.decode_linearity.iter().any(|row| row.n_counts > 1);
    let possible = run.plan.sessions.iter().any(|session| session.may_stop_early);
    if whole.early_stops == 0 && !possible && !several {
        return None;
    }
    let mut blocks = vec![Block::Paragraph(intro(run, whole, several))];
    if whole.early_stops > 0 || possible {
        blocks.push(stops(run, names));
    }
    if several {
        blocks.push(linearity(run, names));
        blocks.extend(names.backends().iter().filter_map(|backend| right_form(run, backend)));
        blocks.extend(projections(run, names));
    }
    if whole.early_stops > 0 {
        blocks.extend(limited(run, names));
    }
    Some(Section { id: "early-stops", title: "Early stops and what they do to decode times".to_owned(), blocks })
}

fn intro(run: &ReportedRun<'_>, whole: &EarlyStopRow, several: bool) -> Text {
    if whole.early_stops == 0 && !several {
        return "No call ended at a stop token before all its steps were made, though an engine here may do so: every \
                decode time is of the steps asked for."
            .into();
    }
    if whole.early_stops == 0 {
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
    Text::plain(format!("{} of {} that decode ", whole.early_stops, counted(whole.calls, "call"))).and(format!(
        "({}) ended at a stop token before all steps were made. {again} {scaled}",
        format::percent(whole.share)
    ))
}

fn stops(run: &ReportedRun<'_>, names: &Names) -> Block {
    let columns = vec![
        Column::words("calls of"),
        Column::numbers("calls"),
        Column::numbers("ended early"),
        Column::numbers("share"),
        Column::numbers("tries per timed call"),
        Column::numbers("scaled"),
        Column::numbers("too short"),
        Column::numbers("given up"),
    ];
    let all = &run.tables.early_stop_summary;
    let totals = all.iter().filter(|row| row.model.is_none() && (row.backend.is_none() || names.several_backends()));
    let cells: Vec<&EarlyStopRow> = all.iter().filter(|row| row.model.is_some() && row.early_stops > 0).collect();
    let shown = strongest(&cells, ROWS, |row| row.share.unwrap_or_default());
    let rows = totals.chain(shown.into_iter().copied()).map(|row| {
        let mut cells = vec![match (&row.backend, &row.model, &row.scenario) {
            (Some(backend), Some(model), Some(scenario)) if names.several_backends() => {
                format!("{backend} · {model} · {scenario}").into()
            }
            (_, Some(model), Some(scenario)) => format!("{model} · {scenario}").into(),
            (Some(backend), ..) => Text::default().strong(backend),
            _ => Text::default().strong("whole run"),
        }];
        let count = |n: usize| Text::from(n.to_string());
        cells.extend([count(row.calls), count(row.early_stops), format::percent(row.share).into()]);
        cells.push(format::fixed(row.tries_per_timed_call, 2).into());
        cells.extend([count(row.scaled), count(row.too_short), count(row.unfinished)]);
        cells
    });
    let left_out = cells.len().saturating_sub(ROWS);
    let more = if left_out > 0 { format!(" {left_out} more have early stops.") } else { String::new() };
    let caption =
        Text::plain("Every try is a call of its own; given up: timed calls whose last try does not count. From ")
            .code("analysis/early_stop_summary.csv")
            .and(format!(".{more}"));
    Block::Table(Table { caption, columns, rows: rows.collect() })
}

/// A model, with its backend and batch where there are several.
fn named(names: &Names, backend: &str, model: &str, batch: u32) -> String {
    let mut name = if names.several_backends() { format!("{backend} · {model}") } else { model.to_owned() };
    if names.several_batches() {
        name.push_str(&format!(" · batch {batch}"));
    }
    name
}

fn linearity(run: &ReportedRun<'_>, names: &Names) -> Block {
    let columns = vec![
        Column::words("model"),
        Column::numbers("calls"),
        Column::numbers("new tokens"),
        Column::numbers("R²"),
        Column::numbers("slope (ms)"),
        Column::numbers("intercept (steps)"),
        Column::numbers("÷ (count − 1)"),
        Column::numbers("÷ count"),
        Column::words("right form"),
    ];
    let row = |row: &DecodeLinearityRow| -> Vec<Text> {
        let counts = row
            .count_min
            .zip(row.count_max)
            .map_or_else(|| ABSENT.to_owned(), |(low, high)| format!("{low:.0} to {high:.0} ({})", row.n_counts));
        vec![
            named(names, &row.backend, &row.model, row.batch).into(),
            row.n_calls.to_string().into(),
            counts.into(),
            format::r2(row.r2).into(),
            format::ms(row.slope_ms_per_step).into(),
            format::fixed(row.intercept_steps, 2).into(),
            format::ratio(row.step_spread).into(),
            format::ratio(row.proportional_spread).into(),
            judged(row).into(),
        ]
    };
    let caption = Text::plain(
        "Decode time against the number of new tokens, the first one from the prefill included; in brackets how many \
         different ones. Slope and intercept are those of time = intercept + slope · count. The columns ÷ show the largest ÷ \
         the smallest of the medians per count: near 1 where the form is right. The last column says where the calls lie between the step form (0) and the \
         proportional one (1), with the 95\u{a0}% interval; a form is right if all of it is nearer to that form. From ",
    )
    .code("analysis/decode_linearity.csv")
    .and(".");
    let shown = run.tables.decode_linearity.iter().filter(|row| row.n_counts > 1);
    Block::Table(Table { caption, columns, rows: shown.map(row).collect() })
}

/// The form that is right, with where the calls lie between the two, or why it is not known.
fn judged(row: &DecodeLinearityRow) -> String {
    let form = match row.form {
        Form::Step => "step",
        Form::Proportional => "proportional",
        Form::Undecided => "undecided",
    };
    match (row.between_forms, row.between_forms_low.zip(row.between_forms_high)) {
        (Some(place), Some((low, high))) => {
            let [place, low, high] = [place, low, high].map(|value| format::fixed(value, 2));
            format!("{form}: {place} [{low}, {high}]")
        }
        _ => format!("{form}: {}", row.reason),
    }
}

/// Which form is right for one backend, and what the other one does. `None`: none of its models has several counts.
fn right_form(run: &ReportedRun<'_>, backend: &str) -> Option<Block> {
    let rows: Vec<&DecodeLinearityRow> =
        run.tables.decode_linearity.iter().filter(|row| row.backend == backend && row.n_counts > 1).collect();
    let entry = run.manifest.stack.backends.get(backend);
    let engine = entry.map_or_else(String::new, |entry| {
        format!(" ({} {})", entry.engine, entry.version.as_deref().unwrap_or(ABSENT))
    });
    let of = |form: Form| rows.iter().filter(move |row| row.form == form);
    let (step, proportional) = (of(Form::Step).count(), of(Form::Proportional).count());
    let verdicts = format!("{} of {}", step.max(proportional), counted(rows.len(), "model"));
    let range = |spread: fn(&DecodeLinearityRow) -> Option<f64>, form: Form| {
        format::ratio(of(form).filter_map(|row| spread(row)).reduce(f64::max))
    };
    let first = rows.first()?;
    let text = match (step, proportional) {
        (0, 0) => {
            return Some(Block::Paragraph(
                Text::plain(format!("On {backend}{engine} the calls do "))
                    .strong("not tell the right form")
                    .and(format!(": {}.", first.reason)),
            ));
        }
        (_, 0) => Text::plain(format!("On {backend}{engine} "))
            .strong("the step form is right")
            .and(format!(
                ", time ÷ (count − 1), for {verdicts}. The first new token comes out of the prefill, so an answer of N tokens \
                 takes N − 1 decode steps. Divided so, the medians stay within {} of each other; divided by the count they \
                 move by up to {}. The naive form, time ÷ count, takes every step for 1/N shorter than it is: by 50\u{a0}% \
                 after 2 tokens, 12.5\u{a0}% after 8, 3.1\u{a0}% after 32. Answers that end early then look fast, and the more \
                 so the earlier they end.",
                range(|row| row.step_spread, Form::Step),
                range(|row| row.proportional_spread, Form::Step),
            )),
        (0, _) => Text::plain(format!("On {backend}{engine} "))
            .strong("the proportional form is right")
            .and(format!(
                ", time ÷ count, for {verdicts}: the first new token is timed like every other. Divided so, the medians stay \
                 within {} of each other; divided by count − 1 they move by up to {}.",
                range(|row| row.proportional_spread, Form::Proportional),
                range(|row| row.step_spread, Form::Proportional),
            )),
        _ => Text::plain(format!("On {backend}{engine} the models "))
            .strong("disagree")
            .and(": the step form is right for some, the proportional for others. Nothing should be scaled there."),
    };
    let scaled = run.tables.metrics.iter().any(|row| row.scaled && row.backend == backend);
    if proportional > 0 && scaled {
        return Some(Block::Note(text.and(
            " Times of this run were scaled by the steps that the backend says it timed: compare the two columns of equivalents \
             in metrics.csv before using them.",
        )));
    }
    Some(Block::Paragraph(text))
}

/// What short answers say about the longest, by each form.
fn projections(run: &ReportedRun<'_>, names: &Names) -> Option<Block> {
    let same = |a: &DecodeProjectionErrorRow, b: &DecodeProjectionErrorRow| {
        (&a.backend, &a.model, &a.weights_id, a.batch) == (&b.backend, &b.model, &b.weights_id, b.batch)
    };
    let all = &run.tables.decode_projection_error;
    let chosen: Vec<&DecodeProjectionErrorRow> = all.chunk_by(|a, b| same(a, b)).flat_map(near_shares).collect();
    if chosen.is_empty() {
        return None;
    }
    let columns = vec![
        Column::words("model"),
        Column::numbers("from (tokens)"),
        Column::numbers("to (tokens)"),
        Column::numbers("measured (ms)"),
        Column::numbers("proportional"),
        Column::numbers("step"),
        Column::numbers("affine"),
    ];
    let error = |share: Option<f64>| Text::from(format::change_percent(share.map(|share| share * 100.0)));
    let rows = chosen.iter().take(ROWS).map(|row| {
        vec![
            named(names, &row.backend, &row.model, row.batch).into(),
            format::fixed(row.count, 0).into(),
            format::fixed(row.count_target, 0).into(),
            format::ms(row.measured_ms).into(),
            error(Some(row.proportional_error)),
            error(Some(row.step_error)),
            error(row.affine_error),
        ]
    });
    let caption = Text::plain(
        "How far off the time at the largest count is when it is projected from the median at a smaller one: time ÷ count × \
         target, time ÷ (count − 1) × (target − 1), and by a line through the medians at all smaller counts. All counts are in ",
    )
    .code("analysis/decode_projection_error.csv")
    .and(".");
    Some(Block::Table(Table { caption, columns, rows: rows.collect() }))
}

/// The rows of one model nearest to [`SHARES`] of the target, each once.
fn near_shares(rows: &[DecodeProjectionErrorRow]) -> Vec<&DecodeProjectionErrorRow> {
    let mut places: Vec<usize> = SHARES
        .iter()
        .filter_map(|share| {
            let off = |row: &DecodeProjectionErrorRow| (row.count / (row.count_target * share)).ln().abs();
            (0..rows.len()).min_by(|&a, &b| off(&rows[a]).total_cmp(&off(&rows[b])))
        })
        .collect();
    places.dedup();
    places.into_iter().map(|place| &rows[place]).collect()
}

/// The aggregate fits over all calls that count, beside those over calls that made all their steps.
fn limited(run: &ReportedRun<'_>, names: &Names) -> Option<Block> {
    let aggregates = |fit: &&ScalingFitRow| fit.scenario.is_none() && fit.mode != Mode::E2eKv;
    let whole: Vec<&ScalingFitRow> = run.tables.scaling_fits.iter().filter(aggregates).collect();
    if whole.is_empty() {
        return None;
    }
    let columns = vec![
        Column::words("backend"),
        Column::words("mode"),
        Column::words("shape"),
        Column::numbers("models"),
        Column::numbers("slope, all calls [95\u{a0}%\u{a0}t]"),
        Column::numbers("models"),
        Column::numbers("slope, length-limited calls [95\u{a0}%\u{a0}t]"),
    ];
    let slope = |fit: Option<&ScalingFitRow>| -> Text {
        match fit {
            None => "no call".into(),
            Some(fit) if fit.actionable => format::interval(fit.slope, fit.slope_t_low.zip(fit.slope_t_high)).into(),
            Some(fit) => format!("not identifiable: {}", fit.reason.as_deref().unwrap_or(ABSENT)).into(),
        }
    };
    let rows = whole.iter().map(|fit| {
        let other = run.tables.scaling_fits_length_limited.iter().find(|other| other.fit_id == fit.fit_id);
        vec![
            names.engine(&fit.backend, fit.dtype).into(),
            mode(fit.mode).into(),
            shape(fit.mode, fit.batch, fit.gen_tokens).into(),
            fit.n_models.to_string().into(),
            slope(Some(fit)),
            other.map_or_else(|| "0".to_owned(), |other| other.n_models.to_string()).into(),
            slope(other),
        ]
    });
    let caption = Text::plain(
        "Whether scaling bends the fits: the aggregate power laws over all calls that count, and over those alone that made \
         all their steps. From ",
    )
    .code("analysis/scaling_fits.csv")
    .and(" and ")
    .code("analysis/scaling_fits_length_limited.csv")
    .and(".");
    Some(Block::Table(Table { caption, columns, rows: rows.collect() }))
}
