//! Lines of Ollama's own benchmark, `cmd/bench`: `BenchmarkModel/name=MODEL/step=STEP  COUNT  VALUE ns/token …`, or the same as CSV.
//!
//! A line is one epoch. The count of `prefill` and `generate` is their number of tokens, so that count × value is the time that the
//! server measured. The server's time of N new tokens covers the N − 1 steps after the first one; the tool divides it by N. Here it is
//! divided by N − 1. A prefill that the server took from its cache is not told from one that it made. Written from the tool's
//! documentation, `cmd/bench/README.md`: no file of a real server was at hand.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::terms::{Mode, Procedure};
use crate::units::Nanos;

use super::error::ImportError;
use super::go_bench;
use super::sheet::{Sample, Series, Sheet, ToldEngine, ToldModel};
use super::source::Source;
use super::table;

/// How a line of the tool begins.
pub(super) const BEGINNING: &str = "BenchmarkModel/name=";

/// The header of the tool's CSV.
pub(super) const HEADER: &str = "NAME,STEP,COUNT,NS_PER_COUNT,TOKEN_PER_SEC";

/// A line of either form.
struct Told {
    place: String,
    model: String,
    step: String,
    count: u32,
    time: Nanos,
}

/// A line as a sample, with what it timed.
type Measured = (Step, Sample);

/// One sheet: a file is one session.
pub(super) fn sheets(source: &Source) -> Result<Vec<Sheet>, ImportError> {
    let told = if source.text.trim_start().starts_with(HEADER) { of_csv(source)? } else { of_lines(source)? };
    let mut by_cell: BTreeMap<(String, &'static str), Vec<Measured>> = BTreeMap::new();
    let mut loads = 0;
    for line in told {
        let Some(step) = Step::of(source, &line)? else {
            loads += 1;
            continue;
        };
        let outcome = Ok(vec![(step.mode, line.time)]);
        let (prompt, new) = (step.prompt, step.new);
        let sample = Sample { place: line.place, outcome, begin: None, prompt, new, steps: step.steps };
        by_cell.entry((line.model, step.name)).or_default().push((step, sample));
    }
    let mut notes = vec!["prefills that the server took from its cache are not told from others".to_owned()];
    if loads > 0 {
        notes.push(format!("{loads} lines of loads are left out: they time no call"));
    }
    let series = by_cell.into_iter().map(|((model, name), lines)| series(&model, name, lines)).collect();
    Ok(vec![Sheet { series, notes, ..Sheet::default() }])
}

fn of_lines(source: &Source) -> Result<Vec<Told>, ImportError> {
    let mut told = Vec::new();
    for line in go_bench::lines(source)? {
        let place = line.number.to_string();
        let parts = line.name.strip_prefix(BEGINNING).and_then(|rest| rest.rsplit_once("/step="));
        let wrong = || {
            source.error(
                place.clone(),
                format!("`{}` is no line of the tool", line.name),
                format!("{BEGINNING}MODEL/step=STEP"),
            )
        };
        let (model, step) = parts.ok_or_else(wrong)?;
        let each = go_bench::time(source, &line, &["ns/token", "ns/request"])?;
        let per_token = line.values.iter().find(|(_, unit)| *unit == "ns/token").map(|(value, _)| *value);
        // Not from the rounded time: the value is a fraction of nanoseconds.
        let time = match per_token {
            Some(value) => source.time(&place, value * f64::from(line.iterations), 1.0)?,
            None => each,
        };
        told.push(Told { place, model: model.to_owned(), step: step.to_owned(), count: line.iterations, time });
    }
    Ok(told)
}

fn of_csv(source: &Source) -> Result<Vec<Told>, ImportError> {
    let mut told = Vec::new();
    for row in table::csv(source)? {
        let text = |name: &str| row.fields.get(name).and_then(Value::as_str).unwrap_or_default();
        let place = |name: &str| format!("{}/{name}", row.line);
        let wrong =
            |name: &str| source.error(place(name), format!("`{}` is no number", text(name)), "a finite number above 0");
        let count = text("COUNT").parse::<u32>().ok().filter(|&n| n > 0).ok_or_else(|| wrong("COUNT"))?;
        let each = text("NS_PER_COUNT").parse::<f64>().map_err(|_| wrong("NS_PER_COUNT"))?;
        let time = source.time(&place("NS_PER_COUNT"), each * f64::from(count), 1.0)?;
        let (model, step) = (text("NAME").to_owned(), text("STEP").to_owned());
        told.push(Told { place: row.line.to_string(), model, step, count, time });
    }
    Ok(told)
}

/// What a step of the tool is here.
struct Step {
    name: &'static str,
    mode: Mode,
    prompt: Option<u32>,
    new: Option<u32>,
    steps: Option<u32>,
}

impl Step {
    /// `None`: a load.
    fn of(source: &Source, line: &Told) -> Result<Option<Self>, ImportError> {
        let step = |name, mode| Self { name, mode, prompt: None, new: None, steps: None };
        Ok(match line.step.as_str() {
            "prefill" => Some(Self { prompt: Some(line.count), ..step("prefill", Mode::Prefill) }),
            "generate" if line.count < 2 => {
                let what = "one token was generated, which takes no step";
                return Err(source.error(line.place.clone(), what, "2 tokens or more"));
            }
            "generate" => {
                Some(Self { new: Some(line.count), steps: Some(line.count - 1), ..step("generate", Mode::KvDecode) })
            }
            "ttft" => Some(step("ttft", Mode::Ttft)),
            "total" => Some(step("total", Mode::Whole)),
            "load" => None,
            other => {
                let what = format!("`{other}` is no step that is known");
                return Err(source.error(line.place.clone(), what, "prefill, generate, ttft, total, load"));
            }
        })
    }
}

fn series(model: &str, name: &str, lines: Vec<Measured>) -> Series {
    let place = lines.first().map(|(_, sample)| sample.place.clone()).unwrap_or_default();
    let all_alike = |count: fn(&Step) -> Option<u32>| {
        let first = lines.first().and_then(|(step, _)| count(step))?;
        lines.iter().all(|(step, _)| count(step) == Some(first)).then_some(first)
    };
    let (prompt, steps) = (all_alike(|step| step.prompt), all_alike(|step| step.steps));
    let count = match prompt.or(steps) {
        Some(count) => format!(" {count}"),
        None if matches!(name, "prefill" | "generate") => ", mixed lengths".to_owned(),
        None => String::new(),
    };
    let boundary = [
        (Mode::Prefill, "the server's own prompt evaluation; whether it came from its cache is not told"),
        (
            Mode::KvDecode,
            "the server's own evaluation, which covers the steps after the first token: divided by tokens less one",
        ),
        (Mode::Ttft, "time to the first token by the client's clock: no prefill"),
        (Mode::Whole, "the whole request as the server tells it, a load included"),
    ];
    Series {
        place,
        engine: ToldEngine {
            name: "ollama-bench".to_owned(),
            title: "Ollama, by its own benchmark".to_owned(),
            settings: BTreeMap::from([("device".to_owned(), "not told".to_owned())]),
            boundary: boundary.into_iter().map(|(mode, text)| (mode, text.to_owned())).collect(),
        },
        model: ToldModel { name: model.to_owned(), params: None, bytes: None, quantisation: None },
        scenario: format!("{name}{count}"),
        procedure: if name == "prefill" { Procedure::Prefill } else { Procedure::PrefillDecode },
        batch: 1,
        prompt_tokens: prompt,
        gen_tokens: steps.unwrap_or(0),
        samples: lines.into_iter().map(|(_, sample)| sample).collect(),
        stated: Vec::new(),
    }
}
