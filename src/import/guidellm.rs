//! guidellm's report in JSON: `benchmarks[]`, each with `requests.successful`, `.incomplete` and `.errored`.
//!
//! A request has `time_to_first_token_ms`, `inter_token_latency_ms` (first to last token ÷ tokens less one), `request_latency` in
//! seconds, and counts of tokens. Every benchmark of a report is one load of the server: a cell of its own. Incomplete requests were cut
//! by the end of a benchmark: they are in no figure, and counted. Written from the tool's source, `schemas/request_stats.py`: no file
//! of a real server was at hand.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::terms::{Degraded, Mode};
use crate::units::Nanos;

use super::error::ImportError;
use super::json::{self, Place};
use super::request::{self, Streamed, boundary, concurrency_note, failed};
use super::sheet::{Sample, Series, Sheet, ToldEngine, ToldModel};
use super::source::Source;

/// Milliseconds to nanoseconds.
const MILLISECOND: f64 = 1e6;

/// One sheet: a report is one session.
pub(super) fn sheets(source: &Source) -> Result<Vec<Sheet>, ImportError> {
    let whole = json::whole(source)?;
    let file = Place::new(source, &whole, "");
    let version = file.get("metadata").map(|facts| facts.text_of("guidellm_version")).transpose()?.flatten();
    let mut sheet = Sheet { version: version.map(str::to_owned), ..Sheet::default() };
    for benchmark in file.need("benchmarks")?.items()? {
        let strategy = Strategy::of(&benchmark)?;
        sheet.notes.extend(concurrency_note(strategy.at_once).map(|note| format!("{}: {note}", strategy.name)));
        sheet.series.push(series(&file, &benchmark, &strategy)?);
    }
    Ok(vec![sheet])
}

/// How requests were sent.
struct Strategy {
    name: String,
    /// Requests at once. `None`: no limit is told.
    at_once: Option<u32>,
}

impl Strategy {
    /// Versions differ in where it stands: `config.strategy`, `args.strategy` or `scheduler.strategy`.
    fn of(benchmark: &Place<'_>) -> Result<Self, ImportError> {
        let holders = ["config", "args", "scheduler"].into_iter().filter_map(|key| benchmark.get(key));
        let Some(strategy) = holders.into_iter().find_map(|holder| holder.get("strategy")) else {
            return Err(benchmark.error("has no `strategy`", "`config`, `args` or `scheduler` with a `strategy`"));
        };
        let kind = strategy.need("type_")?.text()?;
        let streams = strategy.count_of("streams")?;
        let rate = strategy.number_of("rate")?;
        let at_once = if kind == "synchronous" { Some(1) } else { streams };
        let name = match (streams, rate) {
            (Some(streams), _) => format!("{kind}, {streams} at once"),
            (None, Some(rate)) => format!("{kind}, {rate} requests/s"),
            (None, None) => kind.to_owned(),
        };
        Ok(Self { name, at_once })
    }
}

fn series(file: &Place<'_>, benchmark: &Place<'_>, strategy: &Strategy) -> Result<Series, ImportError> {
    let requests = benchmark.need("requests")?;
    let mut samples = Vec::new();
    for request in requests.need("successful")?.items()? {
        samples.push(sample(&request)?);
    }
    for (key, kind) in [("errored", Degraded::Error), ("incomplete", Degraded::Incomplete)] {
        let Some(list) = requests.get(key) else { continue };
        for request in list.items()? {
            let why = request.get("error").and_then(|error| error.text().ok()).unwrap_or_default();
            samples.push(failed(request.at().to_owned(), kind, why));
        }
    }
    if samples.is_empty() {
        return Err(
            requests.error("holds no request", "a report with its requests: --sample-requests may leave them out")
        );
    }
    let engine = ToldEngine {
        name: "guidellm".to_owned(),
        title: "server, by guidellm".to_owned(),
        settings: BTreeMap::from([("device".to_owned(), "not told".to_owned())]),
        boundary: boundary(),
    };
    Ok(request::series(benchmark.at(), engine, model(file, benchmark), &strategy.name, samples))
}

/// The model, wherever this version has its name.
fn model(file: &Place<'_>, benchmark: &Place<'_>) -> ToldModel {
    let holders = [
        benchmark.get("config").and_then(|config| config.get("backend")),
        benchmark.get("worker"),
        file.get("args"),
        benchmark.get("config"),
    ];
    let named = |holder: Place<'_>| {
        let keys = ["model", "backend_model", "model_name"];
        keys.into_iter().find_map(|key| holder.get(key).and_then(|place| place.text().ok().map(str::to_owned)))
    };
    ToldModel::named(holders.into_iter().flatten().find_map(named).as_deref().unwrap_or("not told"))
}

fn sample(request: &Place<'_>) -> Result<Sample, ImportError> {
    let counts = [["prompt_tokens", "input_tokens"], ["output_tokens", "completion_tokens"]];
    let told = counts.map(|names| names.into_iter().find_map(|name| request.get(name)));
    let [prompt, new] = told.map(|place| place.map(|place| place.count()).transpose());
    let (prompt, new) = (prompt?, new?);
    let Some(first) = request.get("time_to_first_token_ms") else {
        let outcome = Ok(vec![(Mode::Whole, request.need("request_latency")?.time(1e9)?)]);
        return Ok(Sample { place: request.at().to_owned(), outcome, begin: None, prompt, new, steps: None });
    };
    let steps = new.map(|new| f64::from(new.saturating_sub(1))).filter(|&steps| steps > 0.0);
    let between = request.number_of("inter_token_latency_ms")?.zip(steps);
    let after = between.map(|(between, steps)| Nanos((between * steps * MILLISECOND).round().max(0.0) as u64));
    let first = first.time(MILLISECOND)?;
    let streamed = Streamed { first, after: after.filter(|after| after.0 > 0), prompt, new, begin: None };
    Ok(streamed.sample(request.at().to_owned()))
}

/// Whether a value is such a report.
pub(super) fn is(value: &Value) -> bool {
    value
        .get("benchmarks")
        .and_then(Value::as_array)
        .is_some_and(|all| all.iter().any(|one| one.get("requests").is_some()))
}
