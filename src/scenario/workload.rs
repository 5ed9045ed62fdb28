//! Workload files: which requests are served, how many, and how fast they must be.

mod requests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use requests::{Bin, Bins, RequestsError};

use super::node::Node;
use super::problem::{Problem, ScenarioError};
use super::section::{Choice, Kind, Section, TOKENS, optional, required, words};
use super::typed::{duration, each, items, number, optional as maybe, optional_text, owned, word};
use super::{consistency, read as reading, schema as schemas};

/// A workload file.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Names it in output.
    pub name: String,
    /// What is asked.
    pub requests: Requests,
    /// Mean load. `None`: not given, and nothing is told per month or of capacity.
    pub requests_per_second: Option<f64>,
    /// The busiest moment's load ÷ the mean.
    pub burst: f64,
    /// How fast answers must be.
    pub slos: Vec<Slo>,
    /// Longest prompt and answer together. Unit: tokens. `None`: the model's own.
    pub longest_context: Option<u32>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Requests {
    /// A few shapes with their shares.
    Mix(Vec<MixShape>),
    /// Shares of tokens read and written, whatever the requests are.
    Blends(Vec<Blend>),
    /// A CSV file of counts.
    Histogram(PathBuf),
    /// A file of requests as they came.
    Log(LogFile),
}

/// One shape of request.
#[derive(Debug, Clone, PartialEq)]
pub struct MixShape {
    /// Its name, unique in the file.
    pub name: String,
    /// Its weight among the others; they need not add up to 1.
    pub share: f64,
    /// Prompt tokens.
    pub prompt: u32,
    /// Tokens written.
    pub generated: u32,
}

/// Shares of tokens that are read and written.
#[derive(Debug, Clone, PartialEq)]
pub struct Blend {
    /// Its name, unique in the file.
    pub name: String,
    /// Read, 0 to 1.
    pub input: f64,
    /// Written, 0 to 1; with `input` 1.
    pub output: f64,
}

/// A file of requests as they came. Only the two counts are read of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// The file.
    pub file: PathBuf,
    /// How it is written.
    pub format: LogFormat,
    /// Column, or key: `usage.prompt_tokens` for one inside another.
    pub prompt: String,
    /// The same of the tokens written.
    pub generated: String,
}

/// How a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// A header and a line per request.
    Csv,
    /// An object per line.
    Jsonl,
}

/// How fast answers must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slo {
    /// What of an answer.
    pub of: Latency,
    /// Unit: as named.
    pub within: Duration,
    /// Of requests, that must be as fast. Unit: percent.
    pub percentile: f64,
}

/// What of an answer is to be fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Latency {
    /// Until the first token is known.
    Ttft,
    /// Per token after it.
    Tpot,
    /// All of it.
    E2e,
}

impl Latency {
    /// The name used in files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ttft => "ttft",
            Self::Tpot => "tpot",
            Self::E2e => "e2e",
        }
    }
}

const PROPER: Kind = Kind::Number { min: 0.0, max: 1e9, above: true, below: false };
const SHARE: Kind = Kind::Number { min: 0.0, max: 1.0, above: false, below: false };
const HOURS: usize = 24;

const SHAPE: Section = Section {
    what: "a shape of request",
    choice: None,
    fields: &[
        required("name", Kind::Name, "Its name, unique in the file."),
        required("share", PROPER, "Its weight among the others; they need not add up to 1."),
        required("prompt", TOKENS, "Prompt tokens, the beginning-of-text token counted in."),
        required("gen", TOKENS, "Tokens written."),
    ],
};

const BLEND: Section = Section {
    what: "a blend",
    choice: None,
    fields: &[
        required("name", Kind::Name, "Its name, unique in the file."),
        required("input", SHARE, "Share of tokens that are read."),
        required("output", SHARE, "Share of tokens that are written; with `input` 1."),
    ],
};

const HISTOGRAM: Section = Section {
    what: "a histogram",
    choice: None,
    fields: &[required(
        "file",
        Kind::Path,
        "CSV file with columns prompt_tokens, gen_tokens and weight, relative to this file.",
    )],
};

const LOG: Section = Section {
    what: "a request log",
    choice: None,
    fields: &[
        required("file", Kind::Path, "CSV or JSONL file, a request per line, relative to this file."),
        required(
            "prompt",
            Kind::Text,
            "Column or key of the prompt's tokens; `usage.prompt_tokens` for a key inside a key.",
        ),
        required("gen", Kind::Text, "The same of the tokens written."),
        optional("format", words(&["csv", "jsonl"]), "How it is written; by the file's ending if not given."),
    ],
};

const SLO: Section = Section {
    what: "an SLO",
    choice: None,
    fields: &[
        required(
            "of",
            words(&["ttft", "tpot", "e2e"]),
            "What of an answer: until the first token, per further token, or all of it.",
        ),
        required("within", Kind::Duration, "How fast it must be."),
        required(
            "percentile",
            Kind::Number { min: 0.0, max: 100.0, above: true, below: true },
            "Of requests, that must be as fast, in percent.",
        ),
    ],
};

const FILE: Section = Section {
    what: "a workload file",
    choice: Some(Choice { what: "kind of requests", keys: &["mix", "blends", "histogram", "log"] }),
    fields: &[
        required("version", Kind::Version, "Version of this format: 1."),
        required("name", Kind::Name, "Names it in output."),
        optional(
            "mix",
            Kind::List { item: &Kind::Section(&SHAPE), min: 1, unique: false },
            "A few shapes of request with their shares.",
        ),
        optional(
            "blends",
            Kind::List { item: &Kind::Section(&BLEND), min: 1, unique: false },
            "Shares of tokens read and written, each priced per million tokens.",
        ),
        optional("histogram", Kind::Section(&HISTOGRAM), "Counts of requests by their lengths."),
        optional("log", Kind::Section(&LOG), "Requests as they came; only the two counts are read, no text."),
        optional("requests_per_second", PROPER, "Mean load; nothing is told per month or of capacity without."),
        optional(
            "burst_factor",
            Kind::Number { min: 1.0, max: 1e6, above: false, below: false },
            "The busiest moment's load over the mean; 1 if neither this nor `hourly` is given.",
        ),
        optional(
            "hourly",
            Kind::List {
                item: &Kind::Number { min: 0.0, max: 1e12, above: false, below: false },
                min: HOURS,
                unique: false,
            },
            "Load of each hour of a day in any unit, 24 numbers; the burst factor follows from it.",
        ),
        optional("longest_context", TOKENS, "Longest prompt and answer together; the model's own if not given."),
        optional("slo", Kind::List { item: &Kind::Section(&SLO), min: 1, unique: true }, "How fast answers must be."),
    ],
};

/// Reads and validates a workload file; the histogram or log that it names is read by [`Requests::bins`].
///
/// # Errors
/// It cannot be read, or has problems: all of them are told.
pub fn read(path: &Path) -> Result<Workload, ScenarioError> {
    parse(&reading::text("workload file", path)?, path, path.parent().unwrap_or(Path::new("")))
}

/// Validates a workload file's text. `path` is for messages, `base` is where relative paths start.
///
/// # Errors
/// Every problem of the text.
pub fn parse(text: &str, path: &Path, base: &Path) -> Result<Workload, ScenarioError> {
    reading::whole(text, path, &FILE, check, |root| build(root, base))
}

/// The JSON Schema of workload files.
#[must_use]
pub fn schema() -> Value {
    schemas::of(&FILE, "phasebench workload file")
}

fn check(root: &Node, problems: &mut Vec<Problem>) {
    consistency::duplicates(items(root, "mix"), problems);
    consistency::duplicates(items(root, "blends"), problems);
    for blend in items(root, "blends") {
        if let (Some(input), Some(output)) = (number(blend, "input"), number(blend, "output"))
            && (input + output - 1.0).abs() > 1e-9
        {
            let message = format!("`input` and `output` add up to {}, allowed: 1", input + output);
            problems.push(Problem::new(blend.at, message));
        }
    }
    if let Some(log) = root.get("log")
        && log.get("format").is_none()
        && let Some(file) = log.get("file")
        && file.text().is_some_and(|name| LogFormat::of_name(name).is_none())
    {
        let message = format!("{} does not tell by its ending how it is written", file.shown());
        problems.push(Problem::new(file.at, message).help("try", "format: csv, or format: jsonl"));
    }
    load(root, problems);
}

fn load(root: &Node, problems: &mut Vec<Problem>) {
    let Some(hourly) = root.get("hourly") else { return };
    if let Some(factor) = root.get("burst_factor") {
        let message = "`burst_factor` cannot stand beside `hourly`, from which it follows";
        problems.push(Problem::new(factor.at, message).help("try", "keep one"));
    }
    let hours = hourly.items().len();
    if hours > HOURS {
        problems.push(Problem::new(hourly.at, format!("`hourly` has {hours} numbers, allowed: {HOURS}")));
    }
    if hours == HOURS && hourly.items().iter().all(|hour| hour.number() == Some(0.0)) {
        problems.push(Problem::new(hourly.at, "`hourly` has no load in any hour"));
    }
}

impl LogFormat {
    fn of_name(name: &str) -> Option<Self> {
        match Path::new(name).extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            _ => None,
        }
    }
}

fn build(root: &Node, base: &Path) -> Option<Workload> {
    Some(Workload {
        name: owned(root, "name")?,
        requests: asked(root, base)?,
        requests_per_second: maybe(root, "requests_per_second", Node::number)?,
        burst: burst(root)?,
        slos: maybe(root, "slo", |list| list.items().iter().map(slo).collect())?.unwrap_or_default(),
        longest_context: maybe(root, "longest_context", Node::whole)?,
    })
}

fn asked(root: &Node, base: &Path) -> Option<Requests> {
    if root.get("mix").is_some() {
        return each(root, "mix", shape).map(Requests::Mix);
    }
    if root.get("blends").is_some() {
        return each(root, "blends", blend).map(Requests::Blends);
    }
    if let Some(histogram) = root.get("histogram") {
        return Some(Requests::Histogram(base.join(owned(histogram, "file")?)));
    }
    let log = root.get("log")?;
    let file = owned(log, "file")?;
    let named = optional_text(log, "format")?.is_some();
    let format = if named { word(log.get("format")?)? } else { LogFormat::of_name(&file)? };
    let (prompt, generated) = (owned(log, "prompt")?, owned(log, "gen")?);
    Some(Requests::Log(LogFile { file: base.join(file), format, prompt, generated }))
}

/// Of 24 hours the busiest over the mean.
#[expect(clippy::cast_precision_loss, reason = "24 hours")]
fn burst(root: &Node) -> Option<f64> {
    let Some(hourly) = root.get("hourly") else {
        return Some(maybe(root, "burst_factor", Node::number)?.unwrap_or(1.0));
    };
    let hours: Vec<f64> = hourly.items().iter().map(Node::number).collect::<Option<_>>()?;
    let busiest = hours.iter().copied().fold(0.0, f64::max);
    Some(busiest * hours.len() as f64 / hours.iter().sum::<f64>())
}

fn shape(node: &Node) -> Option<MixShape> {
    Some(MixShape {
        name: owned(node, "name")?,
        share: number(node, "share")?,
        prompt: node.get("prompt")?.whole()?,
        generated: node.get("gen")?.whole()?,
    })
}

fn blend(node: &Node) -> Option<Blend> {
    Some(Blend { name: owned(node, "name")?, input: number(node, "input")?, output: number(node, "output")? })
}

fn slo(node: &Node) -> Option<Slo> {
    Some(Slo { of: word(node.get("of")?)?, within: duration(node, "within")?, percentile: number(node, "percentile")? })
}
