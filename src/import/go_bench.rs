//! Lines of Go's `testing` package: `BenchmarkName-8  1000  12345 ns/op  …`.
//!
//! A line is the mean over its iterations, and taken as one sample of it: `go test -count` gives several. What follows the time
//! are other units, which are checked and left out. Configuration lines, `pkg: example.org/tokenizer`, hold for the results that
//! follow them, until another one says otherwise. Written from the format's specification,
//! go.googlesource.com/proposal/+/master/design/14313-benchmark-format.md.

use std::collections::BTreeMap;

use crate::terms::{Mode, Procedure};
use crate::units::Nanos;

use super::error::ImportError;
use super::sheet::{Sample, Series, Sheet, ToldEngine, ToldModel, one_told};
use super::source::Source;

/// Units that may stand beside the time.
const BESIDE: [&str; 6] = ["B/op", "allocs/op", "MB/s", "tokens/s", "tokens/sec", "token/sec"];

/// What the configuration lines before a line of results say of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Configuration<'a> {
    pkg: Option<&'a str>,
    goos: Option<&'a str>,
    goarch: Option<&'a str>,
    cpu: Option<&'a str>,
}

impl<'a> Configuration<'a> {
    /// Takes a line where it is one of these; without a value it takes back what was said.
    fn take(&mut self, line: &'a str) {
        let Some((key, value)) = line.split_once(':') else { return };
        let value = Some(value.trim()).filter(|value| !value.is_empty());
        match key {
            "pkg" => self.pkg = value,
            "goos" => self.goos = value,
            "goarch" => self.goarch = value,
            "cpu" => self.cpu = value,
            _ => {}
        }
    }
}

/// A line's name, iterations, and values by unit.
pub(super) struct Line<'a> {
    configuration: Configuration<'a>,
    pub(super) number: usize,
    pub(super) name: &'a str,
    pub(super) iterations: u32,
    pub(super) values: Vec<(f64, &'a str)>,
}

/// Every line of results with what holds for it; `PASS` and `ok` are skipped.
pub(super) fn lines<'a>(source: &'a Source) -> Result<Vec<Line<'a>>, ImportError> {
    let mut found = Vec::new();
    let mut configuration = Configuration::default();
    for (text, number) in source.text.lines().zip(1..) {
        if !text.starts_with("Benchmark") {
            configuration.take(text);
            continue;
        }
        let place = number.to_string();
        let words: Vec<&str> = text.split_whitespace().collect();
        // `go test -v` prints the name alone before the line with the result.
        let [name, iterations, values @ ..] = words.as_slice() else { continue };
        let count = || {
            source.error(place.clone(), format!("`{iterations}` is no number of iterations"), "a whole number above 0")
        };
        let iterations = iterations.parse::<u32>().ok().filter(|&n| n > 0).ok_or_else(count)?;
        if values.is_empty() || values.len() % 2 != 0 {
            return Err(source.error(
                place,
                "a value stands without its unit",
                "pairs of a value and its unit, such as 12345 ns/op",
            ));
        }
        let pair = |pair: &[&'a str]| {
            let wrong = || source.error(number.to_string(), format!("`{}` is no number", pair[0]), "a finite number");
            let value = pair[0].parse::<f64>().ok().filter(|value| value.is_finite()).ok_or_else(wrong)?;
            Ok((value, pair[1]))
        };
        let values = values.chunks(2).map(pair).collect::<Result<Vec<_>, ImportError>>()?;
        found.push(Line { configuration, number, name, iterations, values });
    }
    if found.is_empty() {
        return Err(source.error("", "has no line of results", "lines such as BenchmarkName-8 1000 12345 ns/op"));
    }
    Ok(found)
}

/// The time of a line, in one of these units.
pub(super) fn time(source: &Source, line: &Line<'_>, allowed: &[&str]) -> Result<Nanos, ImportError> {
    let place = line.number.to_string();
    if let Some((_, unit)) = line.values.iter().find(|(_, unit)| !allowed.contains(unit) && !BESIDE.contains(unit)) {
        let known = allowed.iter().chain(&BESIDE).copied().collect::<Vec<_>>().join(", ");
        return Err(source.error(place, format!("`{unit}` is no unit that is known"), known));
    }
    let mut times = line.values.iter().filter(|(_, unit)| allowed.contains(unit));
    match (times.next(), times.next()) {
        (Some(&(value, _)), None) => source.time(&place, value, 1.0),
        _ => Err(source.error(place, "has no time, or several", format!("one value in {}", allowed.join(" or ")))),
    }
}

/// One sheet: a file is one session.
pub(super) fn sheets(source: &Source) -> Result<Vec<Sheet>, ImportError> {
    let lines = lines(source)?;
    let notes = vec!["a line is the mean over its iterations, and counts as one sample".to_owned()];
    let mut sheet = Sheet { notes, ..Sheet::default() };
    let mut places: BTreeMap<(Configuration<'_>, &str), usize> = BTreeMap::new();
    for line in &lines {
        let time = time(source, line, &["ns/op"])?;
        one_told(&mut sheet.cpu, line.configuration.cpu)
            .map_err(|what| source.error(line.number.to_string(), what, "one machine: import others by themselves"))?;
        let benchmark = (Configuration { cpu: None, ..line.configuration }, line.name);
        let place = *places.entry(benchmark).or_insert_with(|| {
            sheet.series.push(series(line));
            sheet.series.len() - 1
        });
        sheet.series[place].samples.push(Sample {
            place: line.number.to_string(),
            outcome: Ok(vec![(Mode::Whole, time)]),
            begin: None,
            prompt: None,
            new: None,
            steps: None,
        });
    }
    Ok(vec![sheet])
}

/// The cell that a line is the first of.
fn series(line: &Line<'_>) -> Series {
    let told = [("goos", line.configuration.goos), ("goarch", line.configuration.goarch)];
    let told = told.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())));
    let device = ("device".to_owned(), "not told".to_owned());
    // The whole path: how packages are called must not hang on which others are imported with them.
    let package = line.configuration.pkg.unwrap_or("not told").to_owned();
    Series {
        place: line.number.to_string(),
        engine: ToldEngine {
            name: "go-bench".to_owned(),
            title: "Go benchmark".to_owned(),
            settings: told.chain([device]).collect(),
            boundary: BTreeMap::from([(Mode::Whole, "mean time of an operation over a line's iterations".to_owned())]),
        },
        model: ToldModel { name: package, params: None, bytes: None, quantisation: None },
        scenario: line.name.trim_start_matches("Benchmark").to_owned(),
        procedure: Procedure::PrefillDecode,
        batch: 1,
        prompt_tokens: None,
        gen_tokens: 0,
        samples: Vec::new(),
        stated: Vec::new(),
    }
}
