//! Requests by their lengths: from a mix, a histogram or a log, of which nothing but two counts per request is kept.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::{LogFile, LogFormat, Requests};
use crate::scenario::csv_table::{CsvError, CsvTable};

/// Requests of one length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// Prompt tokens.
    pub prompt: u32,
    /// Tokens written.
    pub generated: u32,
    /// How many, or their share among others; above 0.
    pub weight: f64,
}

/// Requests by their lengths.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bins {
    /// By prompt, then by tokens written; each pair once.
    pub bins: Vec<Bin>,
    /// Rows or lines read.
    pub rows: u64,
    /// Of these without a weight, or with one of 0.
    pub weightless: u64,
    /// Of these without one of the two counts, or with an answer or prompt of no token.
    pub without_counts: u64,
}

/// Why requests cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RequestsError {
    /// A histogram or a CSV log.
    #[error(transparent)]
    Csv(#[from] CsvError),
    /// It cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The system's error.
        source: io::Error,
    },
    /// A line of a JSONL log.
    #[error("{path}:{line}: {why}; allowed: a JSON object with whole numbers under `{prompt}` and `{generated}`")]
    Line {
        /// The file.
        path: String,
        /// From 1.
        line: u64,
        /// What the reader says.
        why: String,
        /// Key of the prompt's tokens.
        prompt: String,
        /// Key of the tokens written.
        generated: String,
    },
    /// A weight below 0.
    #[error("{path}:{line}: column `weight` is {found}, allowed: 0 or more")]
    Weight {
        /// The file.
        path: String,
        /// From 1.
        line: u64,
        /// The weight.
        found: f64,
    },
    /// Nothing is left.
    #[error("{path}: no request with both counts and a weight{hint}")]
    Nothing {
        /// The file.
        path: String,
        /// What may be wrong.
        hint: String,
    },
}

impl Requests {
    /// Their lengths. `None`: blends have no requests.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else than counts.
    pub fn bins(&self) -> Result<Option<Bins>, RequestsError> {
        match self {
            Self::Blends(_) => Ok(None),
            Self::Mix(shapes) => {
                let mut found = Counted::default();
                shapes.iter().for_each(|shape| found.add(Some(shape.prompt), Some(shape.generated), shape.share));
                Ok(Some(found.bins()))
            }
            Self::Histogram(file) => histogram(file).map(Some),
            Self::Log(log) => match log.format {
                LogFormat::Csv => csv_log(log).map(Some),
                LogFormat::Jsonl => json_log(log).map(Some),
            },
        }
    }
}

#[derive(Default)]
struct Counted {
    weights: HashMap<(u32, u32), f64>,
    found: Bins,
}

impl Counted {
    fn add(&mut self, prompt: Option<u32>, generated: Option<u32>, weight: f64) {
        self.found.rows += 1;
        match (prompt.filter(|n| *n > 0), generated.filter(|n| *n > 0)) {
            (Some(_), Some(_)) if weight <= 0.0 => self.found.weightless += 1,
            (Some(prompt), Some(generated)) => *self.weights.entry((prompt, generated)).or_default() += weight,
            _ => self.found.without_counts += 1,
        }
    }

    fn bins(self) -> Bins {
        let of = |((prompt, generated), weight)| Bin { prompt, generated, weight };
        let mut bins: Vec<Bin> = self.weights.into_iter().map(of).collect();
        bins.sort_by_key(|bin| (bin.prompt, bin.generated));
        Bins { bins, ..self.found }
    }

    /// The same, unless nothing is left.
    fn bins_of(self, path: &Path, hint: impl Into<String>) -> Result<Bins, RequestsError> {
        if self.weights.is_empty() {
            return Err(RequestsError::Nothing { path: path.display().to_string(), hint: hint.into() });
        }
        Ok(self.bins())
    }
}

fn histogram(path: &Path) -> Result<Bins, RequestsError> {
    let file = CsvTable::read(path)?;
    let (prompt, generated) = (file.find("prompt_tokens")?, file.find("gen_tokens")?);
    let weight = file.find("weight")?;
    let mut found = Counted::default();
    file.rows(|record| {
        let of_row = file.number(record, weight)?.unwrap_or(0.0);
        if of_row < 0.0 {
            let line = record.position().map_or(0, |at| file.line(at));
            return Err(RequestsError::Weight { path: path.display().to_string(), line, found: of_row });
        }
        found.add(file.count(record, prompt)?, file.count(record, generated)?, of_row);
        Ok(())
    })?;
    found.bins_of(path, "")
}

fn csv_log(log: &LogFile) -> Result<Bins, RequestsError> {
    let file = CsvTable::read(&log.file)?;
    let (prompt, generated) = (file.find(&log.prompt)?, file.find(&log.generated)?);
    let mut found = Counted::default();
    file.rows(|record| {
        found.add(file.count(record, prompt)?, file.count(record, generated)?, 1.0);
        Ok::<(), CsvError>(())
    })?;
    found.bins_of(&log.file, "")
}

fn json_log(log: &LogFile) -> Result<Bins, RequestsError> {
    let path = || log.file.display().to_string();
    let unreadable = |source| RequestsError::Read { path: path(), source };
    let mut file = BufReader::with_capacity(1 << 20, File::open(&log.file).map_err(unreadable)?);
    let (prompt, generated): (Vec<&str>, Vec<&str>) =
        (log.prompt.split('.').collect(), log.generated.split('.').collect());
    let wanted = Wanted { prompt: Some(&prompt), generated: Some(&generated) };
    let (mut found, mut line, mut number) = (Counted::default(), Vec::new(), 0);
    loop {
        line.clear();
        if file.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            break;
        }
        number += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let mut reader = serde_json::Deserializer::from_slice(&line);
        let counts = wanted.deserialize(&mut reader).and_then(|counts| reader.end().map(|()| counts));
        let counts = counts.map_err(|error| RequestsError::Line {
            path: path(),
            line: number,
            why: plain(&error),
            prompt: log.prompt.clone(),
            generated: log.generated.clone(),
        })?;
        found.add(counts.prompt, counts.generated, 1.0);
    }
    found.bins_of(&log.file, format!("; looked for `{}` and `{}`", log.prompt, log.generated))
}

/// What is wrong, without the reader's own line, which is always the first.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

/// The two counts of a request.
#[derive(Default)]
struct Counts {
    prompt: Option<u32>,
    generated: Option<u32>,
}

/// Where in an object the two counts stand: the keys that lead there. `None`: not in this one.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    prompt: Option<&'a [&'a str]>,
    generated: Option<&'a [&'a str]>,
}

/// What is left of a path below `key`. `None`: it does not lead there.
fn below<'a>(path: Option<&'a [&'a str]>, key: &str) -> Option<&'a [&'a str]> {
    path.and_then(|path| path.split_first()).and_then(|(first, rest)| (*first == key).then_some(rest))
}

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Counts;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Counts, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Counts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    /// A log writes `null` for the usage of a request that failed.
    fn visit_unit<E>(self) -> Result<Counts, E> {
        Ok(Counts::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Counts, A::Error> {
        let mut counts = Counts::default();
        while let Some(key) = map.next_key::<Key>()? {
            let inside = Wanted { prompt: below(self.prompt, &key.0), generated: below(self.generated, &key.0) };
            match (inside.prompt, inside.generated) {
                (Some([]), _) => counts.prompt = map.next_value()?,
                (_, Some([])) => counts.generated = map.next_value()?,
                (None, None) => drop(map.next_value::<IgnoredAny>()?),
                _ => {
                    let found = map.next_value_seed(inside)?;
                    counts.prompt = found.prompt.or(counts.prompt);
                    counts.generated = found.generated.or(counts.generated);
                }
            }
        }
        Ok(counts)
    }
}

/// A key, with escapes undone.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Key(String);

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;

    use super::*;

    fn log(name: &str, text: &str, prompt: &str, generated: &str) -> Result<Bins, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        let format = LogFormat::of_name(name).unwrap();
        let (prompt, generated) = (prompt.to_owned(), generated.to_owned());
        let requests = Requests::Log(LogFile { file, format, prompt, generated });
        let told = |error: RequestsError| error.to_string().replace(&folder.path().display().to_string(), "");
        requests.bins().map(Option::unwrap).map_err(told)
    }

    fn weights(bins: &Bins) -> Vec<(u32, u32, f64)> {
        bins.bins.iter().map(|bin| (bin.prompt, bin.generated, bin.weight)).collect()
    }

    #[test]
    fn requests_of_one_length_are_one_bin_and_failed_ones_are_counted() {
        let text = "{\"id\":\"a\",\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5}}\n\n\
                    {\"usage\":{\"completion_tokens\":5,\"x\":[1],\"prompt_tokens\":10},\"text\":\"secret\"}\n\
                    {\"usage\":null}\n{\"error\":true}\n{\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":0}}\n\
                    {\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":7}}";
        let bins = log("a.jsonl", text, "usage.prompt_tokens", "usage.completion_tokens").unwrap();
        assert_eq!(weights(&bins), [(2, 7, 1.0), (10, 5, 2.0)]);
        assert_eq!((bins.rows, bins.without_counts, bins.weightless), (6, 3, 0));
        let bins = log("a.csv", "p,g,who\n10,5,x\n10,5,y\n,5,z\n", "p", "g").unwrap();
        assert_eq!((weights(&bins), bins.without_counts), (vec![(10, 5, 2.0)], 1));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (name, text, said) in [
            (
                "a.jsonl",
                "{\"p\":1,\"g\":1}\n{\"p\":\"one\",\"g\":1}\n",
                "/a.jsonl:2: invalid type: string \"one\", expected u32",
            ),
            (
                "a.jsonl",
                "{\"p\":1,\"g\":1}\n{\"p\":-1,\"g\":1}\n",
                "/a.jsonl:2: invalid value: integer `-1`, expected u32",
            ),
            ("a.jsonl", "[1]\n", "/a.jsonl:1: invalid type: sequence, expected a JSON object"),
            ("a.jsonl", "{\"p\":1\n", "/a.jsonl:1: EOF while parsing an object"),
            ("a.jsonl", "{\"q\":1}\n", "/a.jsonl: no request with both counts and a weight; looked for `p` and `g`"),
            ("a.csv", "p,g\n1,2\n1.5,2\n", "/a.csv:3: column `p`: `1.5` is no number; allowed: a whole number from 0"),
            ("a.csv", "prompt,g\n", "/a.csv:1: unknown column `p`"),
        ] {
            let error = log(name, text, "p", "g").unwrap_err();
            assert!(error.starts_with(said), "{error}");
        }
    }

    #[test]
    fn a_histogram_with_gaps_and_weights_of_nothing_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("h.csv");
        let of = |text: &str| {
            fs::write(&file, format!("prompt_tokens,gen_tokens,weight\n{text}")).unwrap();
            Requests::Histogram(file.clone()).bins().map(Option::unwrap).map_err(|error| error.to_string())
        };
        let bins = of("64,32,0.5\n1024,32,0\n64,32,0.25\n2048,,1\n4096,1,\n").unwrap();
        assert_eq!(weights(&bins), [(64, 32, 0.75)]);
        assert_eq!((bins.rows, bins.weightless, bins.without_counts), (5, 2, 1));
        assert!(of("64,32,-1\n").unwrap_err().ends_with("h.csv:2: column `weight` is -1, allowed: 0 or more"));
        assert!(of("64,32,0\n").unwrap_err().contains("no request with both counts and a weight"));
    }
}
