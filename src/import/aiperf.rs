//! AIPerf's `profile_export.jsonl`: one request per line, with `metadata`, `metrics` of `{ value, unit }`, and `error`.
//!
//! Of a failed request `error` is an object; one that was cancelled is among them. Only the phase `profiling` counts. Written from
//! the tool's documentation, `docs/tutorials/working-with-profile-exports.md`: no file of a real server was at hand.

use std::collections::BTreeMap;

use crate::terms::{Degraded, Mode};
use crate::units::Nanos;

use super::error::ImportError;
use super::json::{self, Place};
use super::request::{self, Streamed, boundary, failed};
use super::sheet::{Sample, Sheet, ToldEngine, ToldModel};
use super::source::Source;

/// Units of time that it has, in nanoseconds.
const UNITS: [(&str, f64); 4] = [("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("sec", 1e9)];

/// One sheet: a file is one session.
pub(super) fn sheets(source: &Source) -> Result<Vec<Sheet>, ImportError> {
    let lines = json::lines(source)?;
    let records: Vec<Place<'_>> =
        lines.iter().map(|(line, value)| Place::new(source, value, line.to_string())).collect();
    let mut samples = Vec::new();
    let mut begins = Vec::new();
    let mut other_phases = 0;
    for record in &records {
        let metadata = record.need("metadata")?;
        if metadata.text_of("benchmark_phase")?.is_some_and(|phase| phase != "profiling") {
            other_phases += 1;
            continue;
        }
        begins.push((metadata.number_of("request_start_ns")?, metadata.number_of("request_end_ns")?));
        samples.push(sample(record)?);
    }
    let (first, peak) = (begins.iter().filter_map(|(begin, _)| *begin).reduce(f64::min), at_once(&begins));
    for (sample, (begin, _)) in samples.iter_mut().zip(&begins) {
        sample.begin = begin.zip(first).map(|(begin, first)| Nanos((begin - first).max(0.0) as u64));
    }
    let mut notes = Vec::new();
    if other_phases > 0 {
        notes.push(format!("{other_phases} requests of other phases than `profiling` are left out"));
    }
    if peak > 1 {
        notes.push(format!("up to {peak} requests at once: their times hold waiting for each other"));
    }
    notes.push("the model is not in the file".to_owned());
    let engine = ToldEngine {
        name: "aiperf".to_owned(),
        title: "server, by AIPerf".to_owned(),
        settings: BTreeMap::from([("device".to_owned(), "not told".to_owned())]),
        boundary: boundary(),
    };
    // How many were asked for is not in the file, and the most that were seen vary from run to run.
    let load = if peak > 1 { "several at once" } else { "1 at once" };
    let series = request::series("", engine, ToldModel::named("not told"), load, samples);
    let measured_unix_ns = first.map(|first| first as u64);
    Ok(vec![Sheet { series: vec![series], notes, measured_unix_ns, ..Sheet::default() }])
}

/// Most requests that were under way together. 1 where the file does not tell.
fn at_once(times: &[(Option<f64>, Option<f64>)]) -> usize {
    let whole = times.iter().filter_map(|&(begin, end)| begin.zip(end));
    let mut events: Vec<(f64, i32)> = whole.flat_map(|(begin, end)| [(begin, 1), (end, -1)]).collect();
    // An end before a begin at the same time: they were not together.
    events.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let (mut now, mut most) = (0, 1);
    for (_, change) in events {
        now += change;
        most = most.max(now);
    }
    usize::try_from(most).unwrap_or(1)
}

fn sample(record: &Place<'_>) -> Result<Sample, ImportError> {
    if let Some(error) = record.get("error") {
        let why = error.get("message").and_then(|message| message.text().ok()).unwrap_or_default();
        return Ok(failed(record.at().to_owned(), Degraded::Error, why));
    }
    let metrics = record.need("metrics")?;
    let whole = time(&metrics, "request_latency")?.ok_or_else(|| {
        metrics.error("`request_latency` is missing", "a line of profile_export.jsonl has it, or an `error`")
    })?;
    let (prompt, new) = (tokens(&metrics, "input_sequence_length")?, tokens(&metrics, "output_sequence_length")?);
    let Some(first) = time(&metrics, "time_to_first_token")? else {
        let outcome = Ok(vec![(Mode::Whole, whole)]);
        return Ok(Sample { place: record.at().to_owned(), outcome, begin: None, prompt, new, steps: None });
    };
    if whole < first {
        return Err(metrics
            .error(format!("`request_latency` is {whole}, `time_to_first_token` {first}"), "the whole is longer"));
    }
    let after = Some(whole.since(first)).filter(|after| after.0 > 0);
    Ok(Streamed { first, after, prompt, new, begin: None }.sample(record.at().to_owned()))
}

/// A time with its unit. `None`: it is not there.
fn time(metrics: &Place<'_>, name: &str) -> Result<Option<Nanos>, ImportError> {
    let Some(metric) = metrics.get(name) else { return Ok(None) };
    let unit = metric.need("unit")?;
    let known = UNITS.iter().find(|(name, _)| unit.text().is_ok_and(|text| text == *name));
    let Some((_, ns)) = known else {
        return Err(unit.error(format!("is {:?}, no unit of time that is known", unit.text()?), "ns, us, ms, sec"));
    };
    metric.need("value")?.time(*ns).map(Some)
}

fn tokens(metrics: &Place<'_>, name: &str) -> Result<Option<u32>, ImportError> {
    metrics.get(name).map(|metric| metric.need("value")?.count()).transpose()
}
