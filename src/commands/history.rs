//! `phasebench history`: all runs of the same cells in the order of time, and where their levels change.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::cli::HistoryArgs;
use crate::commands::CommandError;
use crate::commands::columns::aligned_table;
use crate::commands::findings::{findings, print_finding};
use crate::commands::out_folder::{not_a_run, write_table};
use crate::comparison::words::counted;
use crate::exit::Exit;
use crate::history::{self, Change, History, Level, Series};
use crate::report::document::{Document, Table, Text};
use crate::report::files::{self, PAGE};
use crate::report::format::{self, ABSENT};
use crate::store::{io_error, write_inside};

/// All of it, beside the page.
const JSON: &str = "history.json";

/// Reads the runs, prints what changed, and writes page and tables where they are asked for.
///
/// # Errors
/// A folder that is no run and holds none, a run that is damaged, a folder that cannot be written.
pub fn execute(args: &HistoryArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    args.out.as_deref().map_or(Ok(()), not_a_run)?;
    let history = History::of(history::read(&args.runs)?);
    let document = history::page(&history);
    let written = args.out.as_deref().map(|folder| write(&history, &document, folder)).transpose()?;
    if args.json {
        writeln!(out, "{:#}", serde_json::to_value(&history)?)?;
        return Ok(Exit::Good);
    }
    let (runs, cells) = (counted(history.runs.len(), "run"), counted(history.series.len(), "cell"));
    writeln!(out, "{runs}, {cells}, {} of the stack", counted(history.marks.len(), "change"))?;
    findings(&document).try_for_each(|finding| print_finding(finding, out))?;
    print_table(&history, out)?;
    for series in &history.series {
        for (change, levels) in series.changes.iter().zip(series.levels.windows(2)) {
            print_change(&history, series, change, levels, out)?;
        }
    }
    if let Some(folder) = written {
        writeln!(out, "\nhistory: {}", folder.join(PAGE).display())?;
    }
    Ok(Exit::Good)
}

fn print_table(history: &History, out: &mut dyn Write) -> Result<(), CommandError> {
    let trend = |series: &Series| match (series.points.first(), series.points.last()) {
        (Some(first), Some(last)) => format!("{:+.1} %", 100.0 * (last.ms / first.ms - 1.0)),
        _ => String::new(),
    };
    let level = |level: Option<&Level>| format::ms(level.map(|level| level.ms));
    let table = Table::of(&history.series)
        .words("cell", |series| series.name.clone())
        .count("runs", |series| series.points.len())
        .number("first level", "ms", |series| level(series.levels.first()))
        .number("last level", "ms", |series| level(series.levels.last()))
        .number("last run to first", "", trend)
        .number("changes", "", changes)
        .captioned(Text::default());
    writeln!(out)?;
    for line in aligned_table(&table) {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

/// How often its level changes. Of too few runs nobody knows.
fn changes(series: &Series) -> String {
    if series.can_show_a_change() { series.changes.len().to_string() } else { ABSENT.to_owned() }
}

fn print_change(
    history: &History,
    series: &Series,
    change: &Change,
    levels: &[Level],
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let percent = |ratio: f64| format!("{:+.1}", 100.0 * (ratio - 1.0));
    let interval = change.interval.map(|(low, high)| format!(" [{}, {}]", percent(low), percent(high)));
    let name = &series.name;
    let folder = history.runs.get(change.run).map_or("", |run| run.folder.as_str());
    writeln!(
        out,
        "\n{name}: {} %{} from run {} on ({folder}): {} → {} ms, p {:.1e}",
        percent(change.ratio),
        interval.unwrap_or_default(),
        change.run + 1,
        format::ms(levels.first().map(|level| level.ms)),
        format::ms(levels.last().map(|level| level.ms)),
        change.p
    )?;
    let changed = history.manifest_changes(change.stack_change);
    if changed.is_empty() {
        writeln!(out, "  nothing changed in the stack within two runs")?;
    }
    for what in changed {
        writeln!(out, "  stack: {what}")?;
    }
    Ok(())
}

/// Page, charts, tables and JSON.
fn write(history: &History, document: &Document, folder: &Path) -> Result<PathBuf, CommandError> {
    fs::create_dir_all(folder).map_err(io_error(folder, "create"))?;
    files::write(document, folder)?;
    for file in history::csv_files(history)? {
        write_table(&file, folder)?;
    }
    let mut json = serde_json::to_vec_pretty(history)?;
    json.push(b'\n');
    write_inside(folder, Path::new(JSON), &json)?;
    Ok(folder.to_owned())
}
