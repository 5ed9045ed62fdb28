//! `llama-bench` of llama.cpp: JSON, JSONL, CSV, SQL and Markdown.
//!
//! Only JSON and JSONL have samples (`samples_ns`, one per repetition). CSV and SQL state mean and standard deviation of the times,
//! Markdown those of the rates, and none of them how many repetitions there were. `pp` is the evaluation of a prompt without
//! sampling, `tg` so many single-token evaluations after `n_depth` tokens, and a `pp+tg` test is both in one, so no phase.
//! Written from files of build 11434.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value};

use crate::record::Statistic;
use crate::terms::{Mode, Procedure};
use crate::units::Nanos;

use super::error::ImportError;
use super::json::{self, Place, scalar};
use super::sheet::{Claims, Sample, Series, Sheet, Stated, ToldEngine, ToldModel, last_part, one_told};
use super::source::Source;
use super::table::{self, Row};

/// Columns that are no settings of the engine: what was measured, of what, when, and by which build.
const NO_SETTINGS: [&str; 19] = [
    "build_commit",
    "build_number",
    "cpu_info",
    "gpu_info",
    "backends",
    "model_filename",
    "model_type",
    "model_size",
    "model_n_params",
    "n_prompt",
    "n_gen",
    "n_depth",
    "test_time",
    "avg_ns",
    "stddev_ns",
    "avg_ts",
    "stddev_ts",
    "samples_ns",
    "samples_ts",
];

/// Columns of the text formats that are numbers.
const NUMBERS: [&str; 10] = [
    "build_number",
    "model_size",
    "model_n_params",
    "n_prompt",
    "n_gen",
    "n_depth",
    "avg_ns",
    "stddev_ns",
    "avg_ts",
    "stddev_ts",
];

/// One file's sheets: it is one session.
pub(super) fn sheets(source: &Source) -> Result<Vec<Sheet>, ImportError> {
    let text = source.text.trim_start();
    if text.starts_with('|') || source.text.contains("\n| ---") {
        return markdown(source).map(|sheet| vec![sheet]);
    }
    let rows = if text.starts_with('[') {
        let whole = json::whole(source)?;
        let items = Place::new(source, &whole, "").items()?;
        return of_rows(items).map(|sheet| vec![sheet]);
    } else if text.starts_with('{') {
        let lines = json::lines(source)?;
        let items = lines.iter().map(|(line, value)| Place::new(source, value, line.to_string())).collect();
        return of_rows(items).map(|sheet| vec![sheet]);
    } else if text.starts_with("CREATE TABLE") || text.starts_with("INSERT INTO") {
        table::inserts(source, "llama_bench")?
    } else {
        table::csv(source)?
    };
    let values = rows.into_iter().map(|row| Ok((row.line, typed(source, row)?))).collect::<Result<Vec<_>, _>>()?;
    let items = values.iter().map(|(line, value)| Place::new(source, value, line.to_string())).collect();
    of_rows(items).map(|sheet| vec![sheet])
}

/// A row of text with its numbers as numbers.
fn typed(source: &Source, row: Row) -> Result<Value, ImportError> {
    let mut fields = Map::new();
    for (name, value) in row.fields {
        let text = value.as_str().unwrap_or_default();
        let value = if NUMBERS.contains(&name.as_str()) {
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
            let wrong =
                || source.error(format!("{}/{name}", row.line), format!("`{text}` is no number"), "a finite number");
            Value::from(number.ok_or_else(wrong)?)
        } else {
            value
        };
        fields.insert(name, value);
    }
    Ok(Value::Object(fields))
}

fn of_rows(rows: Vec<Place<'_>>) -> Result<Sheet, ImportError> {
    let mut sheet = Sheet::default();
    let mut first_build: Option<(String, String)> = None;
    for row in &rows {
        let version = format!("b{} ({})", row.need("build_number")?.count()?, row.need("build_commit")?.text()?);
        match &first_build {
            Some((place, build)) if *build != version => {
                let what = format!("is of build {version}, {place} of {build}");
                return Err(row.error(what, "one build: import others into folders of their own, and compare"));
            }
            Some(_) => {}
            None => first_build = Some((row.at().to_owned(), version)),
        }
        for (known, key) in [(&mut sheet.cpu, "cpu_info"), (&mut sheet.gpu, "gpu_info")] {
            let told = row.text_of(key)?.filter(|text| !text.is_empty());
            one_told(known, told).map_err(|what| row.error(what, "one machine: import others by themselves"))?;
        }
        let time = row.text_of("test_time")?.map(|text| (text, humantime::parse_rfc3339(text)));
        if let Some((text, time)) = time {
            let wrong = |_| row.error(format!("`test_time` is `{text}`"), "a time such as 2026-11-29T15:33:18Z");
            let since = time.map_err(wrong)?.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
            let ns = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
            sheet.measured_unix_ns = Some(sheet.measured_unix_ns.map_or(ns, |first| first.min(ns)));
        }
        let (series, notes) = series(row)?;
        sheet.series.push(series);
        sheet.notes.extend(notes);
    }
    sheet.version = first_build.map(|(_, build)| build);
    Ok(sheet)
}

/// What a test measures, from its numbers of tokens.
struct Test {
    name: String,
    mode: Mode,
    procedure: Procedure,
    prompt: u32,
    gen_tokens: u32,
}

impl Test {
    fn of(row: &Place<'_>, prompt: u32, gen_tokens: u32, depth: u32) -> Result<Self, ImportError> {
        let (name, mode, procedure) = match (prompt, gen_tokens) {
            (0, 0) => return Err(row.error("`n_prompt` and `n_gen` are both 0", "at least one of them above 0")),
            (prompt, 0) => (format!("pp{prompt}"), Mode::Prefill, Procedure::Prefill),
            (0, steps) => (format!("tg{steps}"), Mode::KvDecode, Procedure::PrefillDecode),
            (prompt, steps) => (format!("pp{prompt}+tg{steps}"), Mode::Whole, Procedure::PrefillDecode),
        };
        let name = if depth > 0 { format!("{name} @ d{depth}") } else { name };
        Ok(Self { name, mode, procedure, prompt, gen_tokens })
    }
}

fn series(row: &Place<'_>) -> Result<(Series, Vec<String>), ImportError> {
    let counts = [row.need("n_prompt")?.count()?, row.need("n_gen")?.count()?, row.count_of("n_depth")?.unwrap_or(0)];
    let test = Test::of(row, counts[0], counts[1], counts[2])?;
    let (mut samples, mut stated, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    let sd_ns = row.number_of("stddev_ns")?;
    match row.get("samples_ns") {
        Some(list) => {
            for place in list.items()? {
                samples.push(sample(&test, place.at().to_owned(), place.time(1.0)?));
            }
            if samples.is_empty() {
                return Err(list.error("is empty", "a time per repetition"));
            }
            notes.extend(contradictions(row, &test, &list)?);
        }
        None => stated.push(Stated {
            place: format!("{}/avg_ns", row.at()),
            mode: test.mode,
            statistic: Statistic::Mean,
            value_ms: row.need("avg_ns")?.time(1.0)?.as_ms(),
            sd_ms: sd_ns.map(|ns| ns / 1e6),
            n: None,
        }),
    }
    let model_type = row.text_of("model_type")?.unwrap_or_default();
    let file = row.text_of("model_filename")?.map(last_part);
    let model = ToldModel {
        name: file.unwrap_or_else(|| model_type.to_owned()),
        params: row.number_of("model_n_params")?.map(|n| n as u64),
        bytes: row.number_of("model_size")?.map(|n| n as u64),
        quantisation: Some(model_type.to_owned()).filter(|text| !text.is_empty()),
    };
    let settings = row.fields().into_iter().filter(|(name, _)| !NO_SETTINGS.contains(name));
    let mut settings: BTreeMap<String, String> =
        settings.filter_map(|(name, value)| Some((name.to_owned(), scalar(value)?))).collect();
    settings.insert("device".to_owned(), row.text_of("backends")?.unwrap_or("not told").to_owned());
    Ok((of_test(&test, row.at(), engine(settings), model, samples, stated), notes))
}

fn sample(test: &Test, place: String, time: Nanos) -> Sample {
    let decodes = test.mode == Mode::KvDecode;
    Sample {
        place,
        outcome: Ok(vec![(test.mode, time)]),
        begin: None,
        prompt: Some(test.prompt).filter(|&prompt| prompt > 0),
        new: Some(test.gen_tokens).filter(|&new| new > 0),
        steps: decodes.then_some(test.gen_tokens),
    }
}

fn of_test(
    test: &Test,
    place: &str,
    engine: ToldEngine,
    model: ToldModel,
    samples: Vec<Sample>,
    stated: Vec<Stated>,
) -> Series {
    Series {
        place: place.to_owned(),
        engine,
        model,
        scenario: test.name.clone(),
        procedure: test.procedure,
        batch: 1,
        prompt_tokens: Some(test.prompt).filter(|&prompt| prompt > 0),
        gen_tokens: test.gen_tokens,
        samples,
        stated,
    }
}

/// What is stated of a row's samples and is not so.
fn contradictions(row: &Place<'_>, test: &Test, list: &Place<'_>) -> Result<Vec<String>, ImportError> {
    let times = list.items()?.iter().map(Place::number).collect::<Result<Vec<_>, _>>()?;
    let of = format!("{} ({})", row.at(), test.name);
    let claims = |mean: &str, sd: &str| -> Result<Claims, ImportError> {
        Ok(Claims { mean: row.number_of(mean)?, median: None, sd: row.number_of(sd)? })
    };
    let mut notes = claims("avg_ns", "stddev_ns")?.contradicted(&of, "ns", &times);
    if row.get("samples_ts").is_some() {
        let tokens = f64::from(test.prompt + test.gen_tokens);
        let rates: Vec<f64> = times.iter().map(|ns| tokens * 1e9 / ns).collect();
        notes.extend(claims("avg_ts", "stddev_ts")?.contradicted(&of, "tokens/s", &rates));
    }
    Ok(notes)
}

fn engine(settings: BTreeMap<String, String>) -> ToldEngine {
    let boundary = [
        (
            Mode::Prefill,
            "evaluation of random prompt tokens in batches of n_batch, to its synchronised end; no sampling, no first token",
        ),
        (
            Mode::KvDecode,
            "so many evaluations of one token each, after n_depth tokens of context, to their synchronised end; random tokens, no \
             sampling",
        ),
        (Mode::Whole, "a prompt and then single tokens in one time: no phase"),
    ];
    ToldEngine {
        name: "llama-bench".to_owned(),
        title: "llama.cpp".to_owned(),
        settings,
        boundary: boundary.into_iter().map(|(mode, text)| (mode, text.to_owned())).collect(),
    }
}

/// A Markdown table: rates with their standard deviation, `1234.56 ± 7.89`, and a last line with the build.
fn markdown(source: &Source) -> Result<Sheet, ImportError> {
    const NO_SETTINGS: [&str; 6] = ["model", "size", "params", "backend", "test", "t/s"];
    let mut sheet = Sheet::default();
    let build = source.text.lines().find_map(|line| line.trim().strip_prefix("build: "));
    sheet.version = build
        .and_then(|text| text.split_once(" ("))
        .map(|(commit, number)| format!("b{} ({commit})", number.trim_end_matches(')')));
    for row in table::markdown(source)? {
        let line = row.line.to_string();
        let cell = |name: &str| -> Result<&str, ImportError> {
            let missing =
                || source.error(line.clone(), format!("column `{name}` is missing"), "model, backend, test, t/s");
            row.fields.get(name).and_then(Value::as_str).ok_or_else(missing)
        };
        let (name, rate) = (cell("test")?, cell("t/s")?);
        let wrong_test =
            || source.error(line.clone(), format!("`{name}` is no test"), "pp512, tg128 or pp512+tg128, with @ d1024");
        let (prompt, gen_tokens, depth) = tokens_of(name).ok_or_else(wrong_test)?;
        let value = Value::Null;
        let test = Test::of(&Place::new(source, &value, line.clone()), prompt, gen_tokens, depth)?;
        let wrong_rate =
            || source.error(line.clone(), format!("`{rate}` is no rate"), "1234.56 ± 7.89, in tokens per second");
        let (mean, sd) = rate.split_once('±').ok_or_else(wrong_rate)?;
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        let (mean, sd) = number(mean).filter(|&mean| mean > 0.0).zip(number(sd)).ok_or_else(wrong_rate)?;
        let value_ms = f64::from(prompt + gen_tokens) * 1e3 / mean;
        let stated = Stated {
            place: line.clone(),
            mode: test.mode,
            statistic: Statistic::HarmonicMean,
            value_ms,
            sd_ms: Some(value_ms * sd / mean),
            n: None,
        };
        let settings = row.fields.iter().filter(|(name, _)| !NO_SETTINGS.contains(&name.as_str()));
        let mut settings: BTreeMap<String, String> =
            settings.filter_map(|(name, value)| Some((name.clone(), scalar(value)?))).collect();
        settings.insert("device".to_owned(), cell("backend")?.to_owned());
        let model = cell("model")?;
        let model =
            ToldModel { name: model.to_owned(), params: None, bytes: None, quantisation: Some(model.to_owned()) };
        sheet.series.push(of_test(&test, &line, engine(settings), model, Vec::new(), vec![stated]));
    }
    Ok(sheet)
}

/// `pp32+tg16 @ d64` → 32, 16, 64. `None`: no test.
fn tokens_of(name: &str) -> Option<(u32, u32, u32)> {
    let (test, depth) = match name.split_once(" @ d") {
        Some((test, depth)) => (test, depth.parse().ok()?),
        None => (name, 0),
    };
    let (mut prompt, mut gen_tokens) = (0, 0);
    for part in test.trim().split('+') {
        match part.split_at_checked(2)? {
            ("pp", tokens) => prompt = tokens.parse().ok()?,
            ("tg", tokens) => gen_tokens = tokens.parse().ok()?,
            _ => return None,
        }
    }
    Some((prompt, gen_tokens, depth))
}
