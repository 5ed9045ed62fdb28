//! SGLang's `bench_serving --output-file`: one JSON object per line, each a run of its own, so a session.
//!
//! With `--output-details` a line has lists per request: `input_lens`, `output_lens`, `ttfts`, `itls`, `errors`, times in seconds.
//! There is no list of whole requests: one ends with its last chunk. Without the lists there are means and standard deviations of a
//! population in milliseconds. Written from the tool's documentation and source, `docs/developer_guide/bench_serving.md` and
//! `python/sglang/bench_serving.py`: no file of a real server was at hand.

use crate::record::Statistic;
use crate::terms::{Degraded, Mode};

use super::error::ImportError;
use super::json::{self, Place};
use super::request::{self, Streamed, boundary, concurrency_note, failed, load};
use super::sheet::{Claims, Sample, Sheet, Stated, ToldEngine, ToldModel};
use super::source::Source;
use super::vllm::{of_sample, sum};

/// One sheet per line.
pub(super) fn sheets(source: &Source) -> Result<Vec<Sheet>, ImportError> {
    let lines = json::lines(source)?;
    lines.iter().map(|(line, value)| sheet(&Place::new(source, value, line.to_string()))).collect()
}

fn sheet(run: &Place<'_>) -> Result<Sheet, ImportError> {
    let at_once = run.count_of("max_concurrency")?;
    // `inf`, a number, or `trace`.
    let rate = run.get("request_rate").and_then(|rate| rate.number().ok());
    let completed = run.need("completed")?.count()?;
    let samples = if run.get("ttfts").is_some() { detailed(run)? } else { Vec::new() };
    let good = samples.iter().filter(|sample| sample.outcome.is_ok()).count();
    if !samples.is_empty() && good != completed as usize {
        return Err(run.error(
            format!("`completed` is {completed}, and {good} requests went well"),
            "a count that agrees with the lists",
        ));
    }
    let firsts = times(&samples);
    let claims = Claims {
        mean: run.number_of("mean_ttft_ms")?,
        median: run.number_of("median_ttft_ms")?,
        sd: run.number_of("std_ttft_ms")?,
    };
    let mut notes: Vec<String> = concurrency_note(at_once).into_iter().collect();
    notes.extend(claims.contradicted(&format!("{}/ttft", run.at()), "ms", &firsts));
    let stated = if samples.is_empty() { stated(run, completed)? } else { Vec::new() };
    let load = load(at_once, rate);
    let mut series = request::series(run.at(), server(run)?, model(run)?, &load, samples);
    series.stated = stated;
    // Lines that ask for something else are no sessions of one cell, in whichever import they are.
    let dataset = run.text_of("dataset_name")?.filter(|name| !name.is_empty());
    let asked = asked_lengths(run, dataset)?;
    series.scenario = match (dataset, asked) {
        (Some(dataset), Some(asked)) => format!("{dataset} {asked} asked, {load}"),
        (None, Some(asked)) => format!("{asked} asked, {load}"),
        (Some(dataset), None) => format!("{dataset}, {}", series.scenario),
        (None, None) => series.scenario,
    };
    Ok(Sheet { series: vec![series], notes, version: None, ..Sheet::default() })
}

fn times(samples: &[Sample]) -> Vec<f64> {
    let good = samples.iter().filter_map(|sample| sample.outcome.as_ref().ok());
    good.filter_map(|times| times.first().map(|(_, first)| first.as_ms())).collect()
}

fn server(run: &Place<'_>) -> Result<ToldEngine, ImportError> {
    let backend = run.need("backend")?.text()?;
    let settings = [("backend", backend), ("device", "not told")];
    Ok(ToldEngine {
        name: "sglang-bench-serving".to_owned(),
        title: format!("server with {backend} interface, by SGLang's bench_serving"),
        settings: settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        boundary: boundary(),
    })
}

/// The lengths that were asked for, in tokens: `128→32`, or `256 new tokens`. `None`: the line does not say, or says
/// it of another dataset, for every option stands in every line with its default.
fn asked_lengths(run: &Place<'_>, dataset: Option<&str>) -> Result<Option<String>, ImportError> {
    if dataset == Some("sharegpt") {
        let new = run.count_of("sharegpt_output_len")?;
        return Ok(new.map(|new| format!("{new} new tokens")));
    }
    if dataset.is_some_and(|name| !name.starts_with("random") && name != "image") {
        return Ok(None);
    }
    let (prompt, new) = (run.count_of("random_input_len")?, run.count_of("random_output_len")?);
    if prompt.is_none() && new.is_none() {
        return Ok(None);
    }
    let tokens = |told: Option<u32>| told.map_or_else(|| "not told".to_owned(), |tokens| tokens.to_string());
    let range = run.number_of("random_range_ratio")?.map(|ratio| format!(" (range ratio {ratio})"));
    Ok(Some(format!("{}→{}{}", tokens(prompt), tokens(new), range.unwrap_or_default())))
}

/// The model's name. Older versions do not write it.
fn model(run: &Place<'_>) -> Result<ToldModel, ImportError> {
    let server = run.get("server_info");
    let names =
        [run.get("model"), run.get("model_id"), run.get("model_path"), server.and_then(|info| info.get("model_path"))];
    match names.into_iter().flatten().next() {
        Some(name) => Ok(ToldModel::named(name.text()?)),
        None => Ok(ToldModel::named("not told")),
    }
}

fn detailed(run: &Place<'_>) -> Result<Vec<Sample>, ImportError> {
    let firsts = run.need("ttfts")?.items()?;
    let list = |key: &str| {
        let list = run.need(key)?;
        let items = list.items()?;
        let wrong =
            || list.error(format!("has {} items", items.len()), format!("{}, as many as `ttfts`", firsts.len()));
        if items.len() == firsts.len() { Ok(items) } else { Err(wrong()) }
    };
    let (inputs, outputs, gaps, errors) = (list("input_lens")?, list("output_lens")?, list("itls")?, list("errors")?);
    let mut samples = Vec::with_capacity(firsts.len());
    for (i, first) in firsts.iter().enumerate() {
        let error = errors[i].text()?;
        if !error.is_empty() || first.number()? == 0.0 {
            samples.push(failed(first.at().to_owned(), Degraded::Error, error));
            continue;
        }
        let streamed = Streamed {
            first: first.time(1e9)?,
            after: sum(&gaps[i])?,
            prompt: Some(inputs[i].count()?),
            new: Some(outputs[i].count()?),
            begin: None,
        };
        samples.push(streamed.sample(first.at().to_owned()));
    }
    Ok(samples)
}

fn stated(run: &Place<'_>, n: u32) -> Result<Vec<Stated>, ImportError> {
    let figures = [("ttft", Mode::Ttft), ("e2e_latency", Mode::Whole)];
    let mut stated = Vec::new();
    for (name, mode) in figures {
        let Some(mean) = run.get(&format!("mean_{name}_ms")) else { continue };
        let sd = run.number_of(&format!("std_{name}_ms"))?;
        let value_ms = mean.time(1e6)?.as_ms();
        stated.push(Stated {
            place: mean.at().to_owned(),
            mode,
            statistic: Statistic::Mean,
            value_ms,
            sd_ms: sd.map(|sd| of_sample(sd, n)),
            n: Some(n),
        });
    }
    if stated.is_empty() {
        return Err(run.error("has neither `ttfts` nor `mean_ttft_ms`", "a line of bench_serving"));
    }
    Ok(stated)
}
