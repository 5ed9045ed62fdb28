//! `vllm bench serve`, `vllm bench latency` and `vllm bench throughput`.
//!
//! All times are the client's. `serve` has samples of whole requests, and with `--save-detailed` of first tokens and gaps between
//! chunks; a failed request has 0.0 there, and a text in `errors`. `latency` times a whole batch and does not tell its lengths.
//! `throughput` has one time for all requests together. No file tells version, device or element type.
//! Written from files of vLLM 0.32.0.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use crate::record::Statistic;
use crate::stats::summary::quantile;
use crate::terms::{Degraded, Mode, Procedure};
use crate::units::Nanos;

use super::error::ImportError;
use super::json::{self, Place, scalar};
use super::request::{self, Streamed, boundary, concurrency_note, failed, load};
use super::sheet::{Claims, Sample, Series, Sheet, Stated, ToldEngine, ToldModel};
use super::source::Source;

/// Seconds to nanoseconds.
const SECOND: f64 = 1e9;

/// `vllm bench serve --save-result`.
pub(super) fn serve(source: &Source) -> Result<Vec<Sheet>, ImportError> {
    let whole = json::whole(source)?;
    let file = Place::new(source, &whole, "");
    let at_once = file.count_of("max_concurrency")?;
    let rate = file.need("request_rate")?;
    let rate = if rate.text().is_ok_and(|text| text == "inf") { None } else { Some(rate.number()?) };
    let (completed, broken) = (file.need("completed")?.count()?, file.need("failed")?.count()?);
    let samples = if file.get("ttfts").is_some() { detailed(&file)? } else { plain(&file)? };
    let good = samples.iter().filter(|sample| sample.outcome.is_ok()).count();
    if (good, samples.len() - good) != (completed as usize, broken as usize) {
        let bad = samples.len() - good;
        let what =
            format!("`completed` is {completed} and `failed` {broken}, and {good} requests went well, {bad} did not");
        return Err(file.error(what, "counts that agree with the lists"));
    }
    let mut notes: Vec<String> = concurrency_note(at_once).into_iter().collect();
    notes.extend(chunk_note(&file)?);
    notes.extend(contradictions(&file, &samples)?);
    let model = ToldModel::named(file.need("model_id")?.text()?);
    let mut series = request::series("", server(&file)?, model, &load(at_once, rate), samples);
    if file.get("ttfts").is_none() {
        series.stated = stated(&file, completed)?;
        notes.push("first tokens are stated without samples: --save-detailed would have them".to_owned());
    }
    let measured_unix_ns = file.text_of("date")?.map(|date| when(&file, date)).transpose()?;
    if measured_unix_ns.is_some() {
        notes.push("its date is a local time, taken as UTC".to_owned());
    }
    Ok(vec![Sheet { series: vec![series], notes, measured_unix_ns, ..Sheet::default() }])
}

/// What is left of the arguments as settings.
fn server(file: &Place<'_>) -> Result<ToldEngine, ImportError> {
    let known = ["endpoint_type", "backend", "burstiness", "tokenizer_id"];
    let fields = file.fields().into_iter().filter(|(name, _)| known.contains(name));
    let mut settings: BTreeMap<String, String> =
        fields.filter_map(|(name, value)| Some((name.to_owned(), scalar(value)?))).collect();
    settings.insert("device".to_owned(), "not told".to_owned());
    Ok(ToldEngine {
        name: "vllm-serve".to_owned(),
        title: format!("server with {} interface, by vllm bench serve", file.need("backend")?.text()?),
        settings,
        boundary: boundary(),
    })
}

/// `20261129-150556`.
fn when(file: &Place<'_>, date: &str) -> Result<u64, ImportError> {
    let digits = |range: std::ops::Range<usize>| date.get(range).unwrap_or("?");
    let text = format!(
        "{}-{}-{}T{}:{}:{}Z",
        digits(0..4),
        digits(4..6),
        digits(6..8),
        digits(9..11),
        digits(11..13),
        digits(13..15)
    );
    let parsed = humantime::parse_rfc3339(&text).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let ns = parsed.and_then(|since| u64::try_from(since.as_nanos()).ok());
    ns.ok_or_else(|| file.error(format!("`date` is `{date}`"), "a date such as 20261129-150556"))
}

/// Lists that belong to the requests, all of one length.
fn list<'a>(file: &Place<'a>, key: &str, length: usize) -> Result<Vec<Place<'a>>, ImportError> {
    let list = file.need(key)?;
    let items = list.items()?;
    if items.len() != length {
        return Err(
            list.error(format!("has {} items", items.len()), format!("{length}, as many as `ttfts` or `latencies`"))
        );
    }
    Ok(items)
}

fn detailed(file: &Place<'_>) -> Result<Vec<Sample>, ImportError> {
    let firsts = file.need("ttfts")?.items()?;
    let n = firsts.len();
    let (inputs, outputs) = (list(file, "input_lens", n)?, list(file, "output_lens", n)?);
    let (gaps, errors) = (list(file, "itls", n)?, list(file, "errors", n)?);
    let whole = file.get("latencies").map(|_| list(file, "latencies", n)).transpose()?;
    let starts = file.get("start_times").map(|_| list(file, "start_times", n)).transpose()?;
    let start = |i: usize| starts.as_ref().map(|starts| starts[i].number()).transpose();
    let first_start = (0..n).filter_map(|i| start(i).ok().flatten()).fold(f64::INFINITY, f64::min);
    let mut samples = Vec::with_capacity(n);
    for i in 0..n {
        let (place, error) = (firsts[i].at().to_owned(), errors[i].text()?);
        if !error.is_empty() || firsts[i].number()? == 0.0 {
            samples.push(failed(place, Degraded::Error, error));
            continue;
        }
        let first = firsts[i].time(SECOND)?;
        let after = match &whole {
            Some(whole) => rest(&whole[i], first)?,
            None => sum(&gaps[i])?,
        };
        let begin = start(i)?.map(|at| Nanos(((at - first_start).max(0.0) * SECOND).round() as u64));
        let streamed =
            Streamed { first, after, prompt: Some(inputs[i].count()?), new: Some(outputs[i].count()?), begin };
        samples.push(streamed.sample(place));
    }
    Ok(samples)
}

/// What is left of a whole request after its first token. `None`: nothing, as of a request for one token.
pub(super) fn rest(whole: &Place<'_>, first: Nanos) -> Result<Option<Nanos>, ImportError> {
    let all = whole.time(SECOND)?;
    if all < first {
        return Err(
            whole.error(format!("is {all}, and its first token came after {first}"), "a request that ends after it")
        );
    }
    Ok(Some(all.since(first)).filter(|rest| rest.0 > 0))
}

/// The sum of gaps between chunks: to the last one. `None`: there was one chunk.
pub(super) fn sum(gaps: &Place<'_>) -> Result<Option<Nanos>, ImportError> {
    let mut all = 0.0;
    for gap in gaps.items()? {
        let seconds = gap.number()?;
        if seconds < 0.0 {
            return Err(gap.error(format!("is {seconds}"), "seconds from 0"));
        }
        all += seconds;
    }
    Ok(Some(Nanos((all * SECOND).round() as u64)).filter(|all| all.0 > 0))
}

/// Whole requests alone.
fn plain(file: &Place<'_>) -> Result<Vec<Sample>, ImportError> {
    let whole = |place: Place<'_>| {
        let at = place.at().to_owned();
        if place.number()? == 0.0 {
            return Ok(failed(at, Degraded::Error, ""));
        }
        let outcome = Ok(vec![(Mode::Whole, place.time(SECOND)?)]);
        Ok(Sample { place: at, outcome, begin: None, prompt: None, new: None, steps: None })
    };
    file.need("latencies")?.items()?.into_iter().map(whole).collect()
}

/// Chunks that held more than one token. `None`: none did.
fn chunk_note(file: &Place<'_>) -> Result<Option<String>, ImportError> {
    let (Some(gaps), Some(lengths)) = (file.get("itls"), file.get("output_lens")) else { return Ok(None) };
    let (gaps, lengths) = (gaps.items()?, lengths.items()?);
    let mut fewer = 0;
    for (gaps, length) in gaps.iter().zip(&lengths) {
        fewer += usize::from(gaps.items()?.len() + 1 < length.count()? as usize);
    }
    let note = format!(
        "in {fewer} of {} requests chunks held more than one token: gaps between chunks are not tokens",
        gaps.len()
    );
    Ok((fewer > 0).then_some(note))
}

/// What is stated of the requests and is not so. Its standard deviations are those of a population.
fn contradictions(file: &Place<'_>, samples: &[Sample]) -> Result<Vec<String>, ImportError> {
    let ms = |mode: Mode| -> Vec<f64> {
        let times = samples.iter().filter_map(|sample| sample.outcome.as_ref().ok());
        let time = |times: &Vec<(Mode, Nanos)>| match mode {
            Mode::Request => Some(times.iter().map(|(_, time)| time.as_ms()).sum()),
            mode => times.iter().find(|(timed, _)| *timed == mode).map(|(_, time)| time.as_ms()),
        };
        times.filter_map(time).collect()
    };
    let mut notes = Vec::new();
    for (name, mode) in [("ttft", Mode::Ttft), ("e2el", Mode::Request)] {
        let claims = Claims {
            mean: file.number_of(&format!("mean_{name}_ms"))?,
            median: file.number_of(&format!("median_{name}_ms"))?,
            sd: file.number_of(&format!("std_{name}_ms"))?,
        };
        notes.extend(claims.contradicted(name, "ms", &ms(mode)));
    }
    Ok(notes)
}

/// The first tokens that a file without details states.
fn stated(file: &Place<'_>, n: u32) -> Result<Vec<Stated>, ImportError> {
    let Some(mean) = file.get("mean_ttft_ms") else { return Ok(Vec::new()) };
    let sd = file.number_of("std_ttft_ms")?;
    Ok(vec![Stated {
        place: mean.at().to_owned(),
        mode: Mode::Ttft,
        statistic: Statistic::Mean,
        value_ms: mean.time(1e6)?.as_ms(),
        sd_ms: sd.map(|sd| of_sample(sd, n)),
        n: Some(n),
    }])
}

/// A sample's standard deviation of a population's.
pub(super) fn of_sample(sd: f64, n: u32) -> f64 {
    if n > 1 { sd * (f64::from(n) / f64::from(n - 1)).sqrt() } else { sd }
}

/// `vllm bench latency --output-json`.
pub(super) fn latency(source: &Source) -> Result<Vec<Sheet>, ImportError> {
    let whole = json::whole(source)?;
    let file = Place::new(source, &whole, "");
    let samples = plain(&file)?;
    let seconds: Vec<f64> = file.need("latencies")?.items()?.iter().map(Place::number).collect::<Result<_, _>>()?;
    let mut notes = Claims { mean: file.number_of("avg_latency")?, ..Claims::default() }.contradicted(
        "/avg_latency",
        "s",
        &seconds,
    );
    for (percent, value) in file.get("percentiles").map(|place| place.fields()).unwrap_or_default() {
        let wanted = percent.parse::<f64>().ok().map(|percent| percent / 100.0).and_then(|p| quantile(&seconds, p));
        if let Some((stated, found)) = value.as_f64().zip(wanted).filter(|(a, b)| (a - b).abs() > 1e-9 * b.abs()) {
            notes.push(format!("/percentiles/{percent}: {stated} s is stated, its samples have {found}"));
        }
    }
    notes.push("prompt length, output length and batch are not in the file: they are those of the command".to_owned());
    let series = whole_batch(&file, "vllm-latency", "vLLM, by vllm bench latency", "one batch to its end", samples)?;
    Ok(vec![Sheet { series: vec![series], notes, ..Sheet::default() }])
}

/// `vllm bench throughput --output-json`.
pub(super) fn throughput(source: &Source) -> Result<Vec<Sheet>, ImportError> {
    let whole = json::whole(source)?;
    let file = Place::new(source, &whole, "");
    let elapsed = file.need("elapsed_time")?;
    let (requests, tokens) = (file.need("num_requests")?.count()?, file.need("total_num_tokens")?.count()?);
    let outcome = Ok(vec![(Mode::Whole, elapsed.time(SECOND)?)]);
    let sample = Sample { place: elapsed.at().to_owned(), outcome, begin: None, prompt: None, new: None, steps: None };
    let seconds = [elapsed.number()?];
    let mut notes = Vec::new();
    if let Some(rate) = file.number_of("requests_per_second")? {
        let claims = Claims { mean: Some(f64::from(requests) / rate), ..Claims::default() };
        notes.extend(claims.contradicted("/requests_per_second", "s", &seconds));
    }
    notes.push(
        "one time for all requests together: no latency of one, and prompt and new tokens are one number".to_owned(),
    );
    let scenario = format!("{requests} requests, {tokens} tokens");
    let series = whole_batch(&file, "vllm-throughput", "vLLM, by vllm bench throughput", &scenario, vec![sample])?;
    Ok(vec![Sheet { series: vec![series], notes, ..Sheet::default() }])
}

fn whole_batch(
    file: &Place<'_>,
    name: &str,
    title: &str,
    scenario: &str,
    samples: Vec<Sample>,
) -> Result<Series, ImportError> {
    let text = "generate() of a whole batch, prompts and new tokens, by the caller's clock: no phase".to_owned();
    Ok(Series {
        place: String::new(),
        engine: ToldEngine {
            name: name.to_owned(),
            title: title.to_owned(),
            settings: BTreeMap::from([("device".to_owned(), "not told".to_owned())]),
            boundary: BTreeMap::from([(Mode::Whole, text)]),
        },
        model: ToldModel::named(file.need("model_id")?.text()?),
        scenario: scenario.to_owned(),
        procedure: Procedure::PrefillDecode,
        batch: 1,
        prompt_tokens: None,
        gen_tokens: 0,
        samples,
        stated: Vec::new(),
    })
}
