//! What one file says, before it is a run: what every tool's file is made into.

use std::collections::BTreeMap;

use crate::record::Statistic;
use crate::stats::summary::Summary;
use crate::terms::{Degraded, Mode, Procedure};
use crate::units::Nanos;

/// One session of one file.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    /// The tool's version. `None`: the file does not tell.
    pub(super) version: Option<String>,
    /// When it was measured. `None`: the file does not tell.
    pub(super) measured_unix_ns: Option<u64>,
    /// Processor model. `None`: the file does not tell.
    pub(super) cpu: Option<String>,
    /// GPU. `None`: the file does not tell, or says that there is none.
    pub(super) gpu: Option<String>,
    /// Its cells.
    pub(super) series: Vec<Series>,
    /// What a reader must know.
    pub(super) notes: Vec<String>,
}

/// One cell as one session measured it.
#[derive(Debug, Clone)]
pub(super) struct Series {
    /// Where it stands in the file.
    pub(super) place: String,
    /// The engine.
    pub(super) engine: ToldEngine,
    /// The model.
    pub(super) model: ToldModel,
    /// What was asked for, e.g. `pp512`, `64→32 tokens, 1 at once`.
    pub(super) scenario: String,
    /// The nearest of what an engine here can be asked for.
    pub(super) procedure: Procedure,
    /// Rows at once.
    pub(super) batch: u32,
    /// Prompt tokens of a row. `None`: not told, or not the same for all.
    pub(super) prompt_tokens: Option<u32>,
    /// Steps after the first token; 0 where they are not told, not the same for all, or none.
    pub(super) gen_tokens: u32,
    /// Its calls.
    pub(super) samples: Vec<Sample>,
    /// What is stated without samples.
    pub(super) stated: Vec<Stated>,
}

/// An engine as the file tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ToldEngine {
    /// What its cells are named by where nothing else tells engines apart.
    pub(super) name: String,
    /// The engine's name for people.
    pub(super) title: String,
    /// How it was set.
    pub(super) settings: BTreeMap<String, String>,
    /// What the time of each mode includes.
    pub(super) boundary: BTreeMap<Mode, String>,
}

/// A model as the file tells it: nothing of it was hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ToldModel {
    /// Its name.
    pub(super) name: String,
    /// Parameters. `None`: not told.
    pub(super) params: Option<u64>,
    /// Size. `None`: not told.
    pub(super) bytes: Option<u64>,
    /// Quantisation, or the whole of what the tool calls its type. `None`: not told.
    pub(super) quantisation: Option<String>,
}

impl ToldModel {
    /// Only its name is told. A path is shortened to its last part.
    pub(super) fn named(name: &str) -> Self {
        Self { name: last_part(name), params: None, bytes: None, quantisation: None }
    }
}

/// The last part of a path that says something: `models/gpt2.gguf/model.gguf` → `gpt2`.
pub(super) fn last_part(path: &str) -> String {
    let parts = path.rsplit(['/', '\\']).map(|part| part.trim_end_matches(".gguf")).filter(|part| !part.is_empty());
    let mut parts = parts.filter(|part| *part != "model");
    parts.next().unwrap_or(path).to_owned()
}

/// Takes what a place tells of the machine, which must be the same wherever it is told.
///
/// # Errors
/// What is told here and was told before, in words.
pub(super) fn one_told(known: &mut Option<String>, told: Option<&str>) -> Result<(), String> {
    let Some(told) = told else { return Ok(()) };
    match known {
        Some(known) if known.as_str() != told => Err(format!("is of {told}, what stands before it of {known}")),
        Some(_) => Ok(()),
        None => {
            *known = Some(told.to_owned());
            Ok(())
        }
    }
}

/// One call.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// Where it stands in the file.
    pub(super) place: String,
    /// What was timed, or how it failed.
    pub(super) outcome: Result<Vec<(Mode, Nanos)>, (Degraded, String)>,
    /// When it began, since the first of the file. `None`: not told.
    pub(super) begin: Option<Nanos>,
    /// Prompt tokens. `None`: not told.
    pub(super) prompt: Option<u32>,
    /// New tokens. `None`: not told.
    pub(super) new: Option<u32>,
    /// Steps that the time of a decode, or after the first token, covers. `None`: none, or not told.
    pub(super) steps: Option<u32>,
}

/// A figure without samples.
#[derive(Debug, Clone)]
pub(super) struct Stated {
    pub(super) place: String,
    pub(super) mode: Mode,
    pub(super) statistic: Statistic,
    pub(super) value_ms: f64,
    pub(super) sd_ms: Option<f64>,
    pub(super) n: Option<u32>,
}

/// How far a stated standard deviation may be from that of its samples, as a share: rounding, and either divisor.
const SD_AGREES: f64 = 0.01;
/// How far a stated mean or median may be from that of its samples, as a share.
const VALUE_AGREES: f64 = 1e-3;

/// What a file states of samples that it has.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Claims {
    pub(super) mean: Option<f64>,
    pub(super) median: Option<f64>,
    pub(super) sd: Option<f64>,
}

impl Claims {
    /// How samples contradict them, in words; figures are in `unit`. Empty: they agree. Either divisor of a standard deviation,
    /// n or n − 1, is agreed with.
    pub(super) fn contradicted(&self, of: &str, unit: &str, samples: &[f64]) -> Vec<String> {
        let Ok(found) = Summary::of(samples) else { return Vec::new() };
        let mut notes = Vec::new();
        for (name, claimed, value) in [("mean", self.mean, found.mean), ("median", self.median, found.median)] {
            if let Some(claimed) = claimed.filter(|claimed| (claimed - value).abs() > VALUE_AGREES * value.abs()) {
                notes.push(format!("{of}: a {name} of {claimed:.6} {unit} is stated, its samples have {value:.6}"));
            }
        }
        if let Some((claimed, sd)) = self.sd.zip(found.sd) {
            let population = sd * ((found.n as f64 - 1.0) / found.n as f64).sqrt();
            let agrees =
                [sd, population].iter().any(|own| (claimed - own).abs() <= SD_AGREES * own + 1e-9 * found.mean.abs());
            if !agrees {
                let times = if sd > 0.0 { format!(", {:.3} times as much", claimed / sd) } else { String::new() };
                notes.push(format!(
                    "{of}: a standard deviation of {claimed:.6} {unit} is stated, its samples have {sd:.6}{times}"
                ));
            }
        }
        notes
    }
}
