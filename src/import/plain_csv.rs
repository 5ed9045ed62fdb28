//! Plain CSV, for tools that have no format of their own here: a row per call, or per stated figure.
//!
//! | column | holds |
//! |---|---|
//! | `mode` | `prefill`, `kv_decode`, `ttft`, `after_first_token` or `whole` |
//! | `latency_ns`, `latency_us`, `latency_ms` or `latency_s` | the time: exactly one of these; empty in a row that failed |
//! | `model` | the model's name |
//! | `engine` | the engine's name; `csv` without it |
//! | `version` | the engine's version, the same in every row |
//! | `scenario` | what was asked for; made from the lengths without it |
//! | `batch` | rows at once; 1 without it |
//! | `prompt_tokens`, `gen_tokens` | prompt tokens of a row, steps that a decode's time covers |
//! | `session` | a number from 0: sessions that one file holds |
//! | `status` | `ok`, or any other word for a call that failed |
//!
//! The first three must be there; other columns are refused. Lines that begin with `#` are skipped.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::terms::{Degraded, Mode, Procedure};

use super::error::ImportError;
use super::request::failed;
use super::sheet::{Sample, Series, Sheet, ToldEngine, ToldModel};
use super::source::Source;
use super::table::{self, Row};

/// The times that it may have, in nanoseconds.
const LATENCIES: [(&str, f64); 4] = [("latency_ns", 1.0), ("latency_us", 1e3), ("latency_ms", 1e6), ("latency_s", 1e9)];

/// All other columns.
const COLUMNS: [&str; 10] =
    ["mode", "model", "engine", "version", "scenario", "batch", "prompt_tokens", "gen_tokens", "session", "status"];

/// Modes that a file may name: the derived one is made from its parts.
const MODES: [Mode; 5] = [Mode::Prefill, Mode::KvDecode, Mode::Ttft, Mode::AfterFirst, Mode::Whole];

/// What tells cells apart.
type Cell = (String, String, String, Mode, u32, Option<u32>, Option<u32>);

/// One sheet per session that the file tells.
pub(super) fn sheets(source: &Source) -> Result<Vec<Sheet>, ImportError> {
    let rows = table::csv(source)?;
    let latency = latency_column(source, &rows)?;
    let mut sessions: BTreeMap<u32, BTreeMap<Cell, Vec<Sample>>> = BTreeMap::new();
    let mut version: Option<String> = None;
    for row in &rows {
        let row = Cells { source, row };
        let told = row.text("version").filter(|text| !text.is_empty());
        match (&version, told) {
            (Some(first), Some(told)) if first != told => {
                let what = format!("version {told}, {first} before");
                return Err(row.error(
                    "version",
                    what,
                    "one version: import others into folders of their own, and compare",
                ));
            }
            (None, Some(told)) => version = Some(told.to_owned()),
            _ => {}
        }
        let session = row.count("session")?.unwrap_or(0);
        let (cell, sample) = sample(&row, latency)?;
        sessions.entry(session).or_default().entry(cell).or_default().push(sample);
    }
    let sheets = sessions.into_values().map(|cells| {
        let series = cells.into_iter().map(|(cell, samples)| series(cell, samples)).collect();
        Sheet { series, version: version.clone(), ..Sheet::default() }
    });
    Ok(sheets.collect())
}

/// The column with the time, and its unit in nanoseconds.
fn latency_column(source: &Source, rows: &[Row]) -> Result<(&'static str, f64), ImportError> {
    let Some(first) = rows.first() else { return Err(source.error("", "has no row", "a row per call")) };
    let names: Vec<&str> = first.fields.keys().map(String::as_str).collect();
    let known: Vec<&str> = COLUMNS.iter().copied().chain(LATENCIES.map(|(name, _)| name)).collect();
    if names.contains(&"latency") {
        return Err(source.error("1", "column `latency` has no unit", LATENCIES.map(|(name, _)| name).join(", ")));
    }
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        return Err(source.error("1", format!("column `{unknown}` is not known"), known.join(", ")));
    }
    if let Some(missing) = ["mode", "model"].into_iter().find(|name| !names.contains(name)) {
        return Err(source.error("1", format!("column `{missing}` is missing"), "mode, model and a latency"));
    }
    let mut found = LATENCIES.into_iter().filter(|(name, _)| names.contains(name));
    match (found.next(), found.next()) {
        (Some(column), None) => Ok(column),
        _ => Err(source.error(
            "1",
            "has no latency, or several",
            format!("one of {}", LATENCIES.map(|(name, _)| name).join(", ")),
        )),
    }
}

/// A row by column.
struct Cells<'a> {
    source: &'a Source,
    row: &'a Row,
}

impl Cells<'_> {
    /// `None`: there is no such column.
    fn text(&self, column: &str) -> Option<&str> {
        self.row.fields.get(column).and_then(Value::as_str)
    }

    fn error(&self, column: &str, what: impl Into<String>, allowed: impl Into<String>) -> ImportError {
        self.source.error(format!("{}/{column}", self.row.line), what, allowed)
    }

    /// `None`: empty, or no such column.
    fn count(&self, column: &str) -> Result<Option<u32>, ImportError> {
        let Some(text) = self.text(column).filter(|text| !text.is_empty()) else { return Ok(None) };
        let wrong = |_| self.error(column, format!("`{text}` is no count"), "a whole number from 0");
        text.parse::<u32>().map(Some).map_err(wrong)
    }
}

fn sample(row: &Cells<'_>, (column, unit_ns): (&'static str, f64)) -> Result<(Cell, Sample), ImportError> {
    let mode = row.text("mode").unwrap_or_default();
    let known = MODES.into_iter().find(|known| known.as_str() == mode);
    let allowed = || MODES.map(Mode::as_str).join(", ");
    let mode = known.ok_or_else(|| row.error("mode", format!("`{mode}` is no mode"), allowed()))?;
    let model = row.text("model").unwrap_or_default();
    if model.is_empty() {
        return Err(row.error("model", "is empty", "the model's name"));
    }
    let (prompt, steps) = (row.count("prompt_tokens")?, row.count("gen_tokens")?);
    let batch = row.count("batch")?.unwrap_or(1);
    if batch == 0 {
        return Err(row.error("batch", "is 0", "a whole number from 1"));
    }
    let scenario = match row.text("scenario").filter(|text| !text.is_empty()) {
        Some(scenario) => scenario.to_owned(),
        None => lengths(mode, prompt, steps),
    };
    let engine = row.text("engine").filter(|text| !text.is_empty()).unwrap_or("csv");
    let cell = (engine.to_owned(), model.to_owned(), scenario, mode, batch, prompt, steps);
    let place = row.row.line.to_string();
    let status = row.text("status").filter(|text| !text.is_empty()).unwrap_or("ok");
    if status != "ok" {
        return Ok((cell, failed(place, Degraded::Error, status)));
    }
    let text = row.text(column).unwrap_or_default();
    let wrong = |_| row.error(column, format!("`{text}` is no number"), "a finite number above 0");
    let time = row.source.time(&format!("{place}/{column}"), text.parse::<f64>().map_err(wrong)?, unit_ns)?;
    let sample = Sample {
        place,
        outcome: Ok(vec![(mode, time)]),
        begin: None,
        prompt: prompt.map(|prompt| prompt.saturating_mul(batch)),
        new: None,
        steps: steps.filter(|&steps| steps > 0 && matches!(mode, Mode::KvDecode | Mode::AfterFirst)),
    };
    Ok((cell, sample))
}

fn lengths(mode: Mode, prompt: Option<u32>, steps: Option<u32>) -> String {
    let tokens = |count: Option<u32>| count.map_or_else(|| "?".to_owned(), |count| count.to_string());
    match mode {
        Mode::Prefill => format!("prompt {}", tokens(prompt)),
        _ => format!("prompt {}, {} steps", tokens(prompt), tokens(steps)),
    }
}

fn series((engine, model, scenario, mode, batch, prompt, steps): Cell, samples: Vec<Sample>) -> Series {
    let text = "as whoever wrote the file timed it; the file does not say what is in it".to_owned();
    Series {
        place: samples.first().map(|sample| sample.place.clone()).unwrap_or_default(),
        engine: ToldEngine {
            name: engine.clone(),
            title: engine,
            settings: BTreeMap::from([("device".to_owned(), "not told".to_owned())]),
            boundary: BTreeMap::from([(mode, text)]),
        },
        model: ToldModel { name: model, params: None, bytes: None, quantisation: None },
        scenario,
        procedure: if mode == Mode::Prefill { Procedure::Prefill } else { Procedure::PrefillDecode },
        batch,
        prompt_tokens: prompt,
        gen_tokens: steps.unwrap_or(0),
        samples,
        stated: Vec::new(),
    }
}
