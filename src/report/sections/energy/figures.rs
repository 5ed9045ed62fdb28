//! Figures of cells: a table, and charts against model size.

use crate::analysis::aggregate::distinct;
use crate::analysis::energy::{COVERAGE_FACTOR, EnergyScope};
use crate::analysis::{EnergyEventRow, EnergySummaryRow};
use crate::report::chart::{self, Graded, GradedPoint, GradedSeries, Interval};
use crate::report::document::{Block, Table, Text};
use crate::report::format::ABSENT;
use crate::terms::energy::Grade;
use crate::terms::{Flag, Mode, Role};

use super::digits::Bounds;
use super::power::simulated;
use crate::report::sections::ReportedRun;
use crate::report::sections::names::{Names, counted, mode};

/// Most series of one chart.
const MOST_SERIES: usize = 6;

/// What may be shown of a row, with the phases it comes from.
struct Shown<'a> {
    row: &'a EnergySummaryRow,
    grade: Grade,
    energy: Bounds,
    /// `None`: no token count.
    per_token: Option<Bounds>,
    /// The phases whose figures it holds.
    events: Vec<&'a EnergyEventRow>,
}

impl<'a> Shown<'a> {
    /// `None`: no call, or loop, of it has a figure.
    fn of(run: &ReportedRun<'a>, row: &'a EnergySummaryRow) -> Option<Self> {
        let mut events: Vec<&EnergyEventRow> =
            run.tables.energy_events.iter().filter(|event| is_of(event, row)).collect();
        if let (Some(grade), Some(energy_j)) = (row.grade, row.energy_j) {
            events.retain(|event| event.counts());
            let bounds = |value, low, high| Bounds { value: Some(value), low, high };
            let energy = bounds(energy_j, row.energy_low_j?, row.energy_high_j?);
            let per_token = row.j_per_token.zip(row.j_per_token_low).zip(row.j_per_token_high);
            let per_token = per_token.map(|((value, low), high)| bounds(value, low, high));
            return Some(Self { row, grade, energy, per_token, events });
        }
        events.retain(|event| event.grade == Some(Grade::D));
        let around = |event: &EnergyEventRow, value: Option<f64>| {
            let both = event.u_stat?.hypot(event.u_sys.unwrap_or_default());
            Some(Bounds::around(value?, COVERAGE_FACTOR * both))
        };
        let energy = Bounds::holding(events.iter().filter_map(|event| around(event, event.energy_j)))?;
        let per_token = Bounds::holding(events.iter().filter_map(|event| around(event, event.j_per_token)));
        Some(Self { row, grade: Grade::D, energy, per_token, events })
    }

    /// Fewest sensor updates that a figure among them rests on.
    fn updates(&self) -> Option<u32> {
        self.events.iter().filter_map(|event| event.updates).min()
    }

    fn methods(&self) -> String {
        each_once(self.events.iter().filter_map(|event| event.method).map(|method| method.as_str()))
    }

    /// Energy without idle power, and of which kind that is. `None`: no idle power was measured.
    fn net(&self) -> Option<String> {
        let net = self.energy.as_coarse(self.row.energy_net_j?);
        Some(format!("{net} {}", self.idle_kinds()))
    }

    fn idle_kinds(&self) -> String {
        each_once(self.events.iter().filter_map(|event| event.idle_kind).map(|kind| kind.as_str()))
    }
}

/// Whether a phase belongs to a row, and its figure may be told.
fn is_of(event: &EnergyEventRow, row: &EnergySummaryRow) -> bool {
    let throttled = event.flags.contains(Flag::Throttled);
    let role = event.scope == EnergyScope::Looped || event.role == Some(Role::Timed);
    (&event.key.cell_id, event.phase.mode(), event.scope) == (&row.key.cell_id, row.mode, row.scope)
        && event.sensor == row.sensor
        && role
        && !throttled
}

fn each_once<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: std::collections::BTreeSet<&str> = names.collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// Energy per token against model size, for one mode. `None`: no row of it has a figure.
pub(super) fn per_token(run: &ReportedRun<'_>, names: &Names, timed: Mode) -> Option<Block> {
    let rows = run.tables.energy_summary.iter().filter(|row| row.mode == timed);
    let told: Vec<Shown<'_>> =
        rows.filter_map(|row| Shown::of(run, row)).filter(|shown| shown.per_token.is_some()).collect();
    let of_known_size = told.iter().filter(|shown| shown.row.params_millions.is_some());
    let points: Vec<&Shown<'_>> = of_known_size.filter(|shown| is_best_of_cell(shown, &told)).collect();
    let mut series = series(run, names, &points);
    if series.is_empty() {
        return None;
    }
    let left_out: Vec<String> = series.iter().skip(MOST_SERIES).map(|series| series.name.clone()).collect();
    series.truncate(MOST_SERIES);
    let data = Graded {
        title: format!("{}: energy per token{}", mode(timed), simulated(run)),
        x_name: "parameters (millions)".to_owned(),
        y_name: "energy per token (J)".to_owned(),
        series,
    };
    let caption = caption(&points, &left_out).and(" From ").code("analysis/energy_summary.csv").and(".");
    Some(Block::figure(&format!("energy_{timed}"), caption, chart::graded(&data)))
}

/// One point stands for a cell: the better graded of its calls and its loop, of equals the calls.
fn is_best_of_cell(shown: &Shown<'_>, all: &[Shown<'_>]) -> bool {
    let of_cell = all.iter().filter(|other| other.row.key.cell_id == shown.row.key.cell_id);
    of_cell.min_by_key(|other| (other.grade, other.row.scope)).is_some_and(|best| best.row.scope == shown.row.scope)
}

/// The points by what is varied besides the model, in the order of the whole table, so that a series looks the same in the
/// charts of both modes.
fn series(run: &ReportedRun<'_>, names: &Names, points: &[&Shown<'_>]) -> Vec<GradedSeries> {
    let all: Vec<String> = run.tables.energy_summary.iter().map(|row| series_name(row, names)).collect();
    let all = distinct(all.iter().map(String::as_str)).into_iter();
    let series = all.map(|name| GradedSeries {
        name: name.to_owned(),
        points: points
            .iter()
            .filter(|shown| series_name(shown.row, names) == name)
            .filter_map(|shown| graded_point(shown))
            .collect(),
    });
    series.filter(|series| !series.points.is_empty()).collect()
}

/// `None`: size or tokens are not known.
fn graded_point(shown: &Shown<'_>) -> Option<GradedPoint> {
    let bounds = shown.per_token?;
    Some(GradedPoint {
        x: shown.row.params_millions?,
        value: bounds.value,
        interval: Interval { low: bounds.low, high: bounds.high },
        grade: shown.grade.as_str(),
    })
}

/// What is varied besides the model, in words.
fn series_name(row: &EnergySummaryRow, names: &Names) -> String {
    let name = names.cell("", &row.key.scenario, row.key.batch, row.key.gen_tokens);
    let name = name.trim_start_matches(" · ").to_owned();
    if names.several_backends() { format!("{} · {name}", row.key.backend) } else { name }
}

/// What the letters, marks and whiskers of a chart are, and what is not in it.
fn caption(points: &[&Shown<'_>], left_out: &[String]) -> Text {
    let methods = each_once(points.iter().flat_map(|shown| &shown.events).filter_map(|e| e.method).map(|m| m.as_str()));
    let updates = points.iter().filter_map(|shown| shown.updates()).min();
    let mut text = format!(
        "Gross energy, 95\u{a0}% intervals with the sensor's gain in them; the letter is the grade. By {methods}, on at \
         least {}.",
        counted(updates.unwrap_or_default() as usize, "sensor update")
    );
    if points.iter().any(|shown| shown.grade == Grade::D) {
        text.push_str(" Of grade D there is an interval and no mark.");
    }
    if points.iter().any(|shown| shown.row.scope == EnergyScope::Looped) {
        text.push_str(" Where a loop for the sensor is graded better than the calls, its figure stands here.");
    }
    if !left_out.is_empty() {
        let names = left_out.join(", ");
        text.push_str(&format!(" Not drawn, but in the table: {} more of the same kind, {names}.", left_out.len()));
    }
    Text::plain(text)
}

/// Every row with a method, grade, number of updates and kind of idle power to each figure.
pub(super) fn table(run: &ReportedRun<'_>, names: &Names) -> Block {
    let mut sensors: Vec<&str> = run.tables.energy_summary.iter().filter_map(|row| row.sensor.as_deref()).collect();
    sensors.sort_unstable();
    sensors.dedup();
    let sensors = if sensors.is_empty() { ABSENT.to_owned() } else { sensors.join(", ") };
    let caption = Text::plain(format!(
        "Charged to {sensors}: mean of a cell's warm calls of grade A to C. Where all are of grade D, the interval that holds \
         theirs, and no figure. Beside the worst grade, how many calls have one of A to C. Two digits of each interval are \
         shown. Net is without idle power over the phase, of the kind named; updates are the fewest that one of the figures \
         rests on. Throttled calls are left out. "
    ))
    .and(looped(run))
    .and("From ")
    .code("analysis/energy_summary.csv")
    .and("; every phase of every call is in ")
    .code("analysis/energy_events.csv")
    .and(".");
    let rows: Vec<TableRow<'_>> =
        run.tables.energy_summary.iter().map(|row| TableRow { row, shown: Shown::of(run, row) }).collect();
    Table::of(&rows)
        .words("cell", |TableRow { row, .. }| {
            names.cell_of_run(&row.key.backend, &row.key.model, &row.key.scenario, row.key.batch, row.key.gen_tokens)
        })
        .words("mode", |row| mode(row.row.mode))
        .words("scope", |row| row.row.scope.as_str())
        .words("grade", |TableRow { row, shown }| {
            let grade = shown.as_ref().map_or_else(|| ABSENT.to_owned(), |shown| shown.grade.to_string());
            format!("{grade} ({} of {})", row.graded, row.calls - row.throttled)
        })
        .interval("energy", "J", "95 %", |row| row.figure_or_absent(|shown| Some(shown.energy.text())))
        .number("power", "W", |row| row.figure_or_absent(|shown| Some(shown.energy.alike(shown.row.power_w?))))
        .interval("J per token", "", "95 %", |row| row.figure_or_absent(|shown| Some(shown.per_token?.text())))
        .number("net (J), of idle power", "", |row| row.figure_or_absent(|shown| shown.net()))
        .words("method, or why not", |row| how(row.row, row.shown.as_ref()))
        .captioned(caption)
        .into()
}

/// A row of the table. `shown` is `None` where it has no figure.
struct TableRow<'a> {
    row: &'a EnergySummaryRow,
    shown: Option<Shown<'a>>,
}

impl TableRow<'_> {
    /// A figure, or that there is none.
    fn figure_or_absent(&self, figure: fn(&Shown<'_>) -> Option<String>) -> String {
        self.shown.as_ref().and_then(figure).unwrap_or_else(|| ABSENT.to_owned())
    }
}

/// How a row's figures were obtained, and why others there are none.
fn how(row: &EnergySummaryRow, shown: Option<&Shown<'_>>) -> String {
    let methods = shown.map(|shown| match shown.updates() {
        Some(updates) => format!("{} on {}", shown.methods(), counted(updates as usize, "update")),
        None => shown.methods(),
    });
    let methods = methods.unwrap_or_default();
    match (methods.as_str(), row.reasons.as_str()) {
        (methods, "") => methods.to_owned(),
        ("", reasons) => reasons.to_owned(),
        (methods, reasons) => format!("{methods}; others {reasons}"),
    }
}

/// What the rows of scope `looped` are; nothing where there is none.
fn looped(run: &ReportedRun<'_>) -> String {
    let loops = || run.tables.energy_events.iter().filter(|event| event.scope == EnergyScope::Looped);
    let busy = loops().filter_map(|event| event.busy).reduce(f64::min);
    let Some(busy) = busy else { return String::new() };
    format!(
        "Rows of scope looped are one repetition of many without pause, made because the phase alone is too short for the \
         sensor: counted by windows, engine warm, at least {:.0}\u{a0}% of their time in phases. Decode's is what prefill and \
         decode take less what prefill takes. ",
        (busy * 100.0).floor()
    )
}
