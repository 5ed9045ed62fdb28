//! `phasebench history`: all runs of the same cells in the order of time, and where their levels change.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::HistoryArgs;
use crate::commands::CommandError;
use crate::commands::columns::aligned_table;
use crate::commands::compare::not_a_run;
use crate::commands::report::print_finding;
use crate::exit::Exit;
use crate::history::{self, Change, History, Level, Series};
use crate::report::document::{Block, Document, Table, Text};
use crate::report::files::{self, PAGE};
use crate::report::format;
use crate::store::{StoreError, io_error, write_inside};

/// The files beside the page.
const RUNS: &str = "history.csv";
const CHANGES: &str = "change_points.csv";
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
    let (runs, cells) = (history.runs.len(), history.series.len());
    writeln!(out, "{runs} runs, {cells} cells, {} changes of the stack", history.marks.len())?;
    for block in &document.verdict {
        if let Block::Findings(findings) = block {
            findings.iter().try_for_each(|finding| print_finding(finding, out))?;
        }
    }
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
        .words("cell", |series| series.cell.words())
        .count("runs", |series| series.points.len())
        .number("first level", "ms", |series| level(series.levels.first()))
        .number("last level", "ms", |series| level(series.levels.last()))
        .number("last run to first", "", trend)
        .count("changes", |series| series.changes.len())
        .captioned(Text::default());
    writeln!(out)?;
    for line in aligned_table(&table) {
        writeln!(out, "  {line}")?;
    }
    Ok(())
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
    let name = series.cell.words();
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
    write_inside(folder, Path::new(RUNS), &csv(folder, RUNS, &history::run_rows(history))?)?;
    write_inside(folder, Path::new(CHANGES), &csv(folder, CHANGES, &history::change_rows(history))?)?;
    let mut json = serde_json::to_vec_pretty(history)?;
    json.push(b'\n');
    write_inside(folder, Path::new(JSON), &json)?;
    Ok(folder.to_owned())
}

fn csv<R: Serialize>(folder: &Path, name: &str, rows: &[R]) -> Result<Vec<u8>, StoreError> {
    let unwritable = |why: String| StoreError::Content { path: folder.join(name).display().to_string(), why };
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row).map_err(|error| unwritable(error.to_string()))?;
    }
    writer.into_inner().map_err(|error| unwritable(error.to_string()))
}
