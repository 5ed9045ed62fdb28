//! What another tool measured, as its files say it: never taken for calls of ours.
//!
//! A file's name, hash and tool stand in the manifest, see [`Imported`](super::manifest::Imported); a line says which file, and
//! where in it.

use serde::{Deserialize, Serialize};

use super::plan::CellId;
use crate::terms::{Mode, Status};
use crate::units::Nanos;

/// One call of another tool: a sample of its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportedCall {
    /// Unique in the record.
    pub call_id: String,
    /// The cell.
    pub cell_id: CellId,
    /// Number among the cell's calls, from 0.
    pub index: u32,
    /// Which of its cell's sessions, from 0: a file is one, unless it tells its sessions apart.
    pub session_index: u32,
    /// Number of the file in the manifest, from 0.
    pub file: u32,
    /// Where in the file: a JSON pointer, or a line.
    pub place: String,
    /// Whether it counts.
    pub status: Status,
    /// Why not, in the tool's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What was timed, each once. Empty: it failed.
    pub times: Vec<ImportedTime>,
    /// When it began, since the first of its file. `None`: not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begin_ns: Option<Nanos>,
    /// Prompt tokens, over all rows. `None`: not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u32>,
    /// New tokens, over all rows. `None`: not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_tokens: Option<u32>,
    /// Steps between tokens that the time of a decode, or after the first token, covers. `None`: none was timed, or not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode_steps: Option<u32>,
}

impl ImportedCall {
    /// How long it took in a mode; a whole request is the sum of its two parts. `None`: not timed.
    #[must_use]
    pub fn time(&self, mode: Mode) -> Option<Nanos> {
        let timed = |wanted: Mode| self.times.iter().find(|time| time.mode == wanted).map(|time| time.duration_ns);
        match mode {
            Mode::Request => Some(timed(Mode::Ttft)? + timed(Mode::AfterFirst)?),
            mode => timed(mode),
        }
    }

    /// The modes that it has a time of, the derived one among them.
    pub fn modes(&self) -> impl Iterator<Item = Mode> + '_ {
        Mode::ALL.iter().copied().filter(|&mode| self.time(mode).is_some())
    }
}

/// How long something took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportedTime {
    /// What was timed; never a derived mode.
    pub mode: Mode,
    /// How long.
    pub duration_ns: Nanos,
}

/// A figure that a file states without its samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatedFigure {
    /// The cell.
    pub cell_id: CellId,
    /// Which of its cell's sessions, from 0.
    pub session_index: u32,
    /// Number of the file in the manifest, from 0.
    pub file: u32,
    /// Where in the file.
    pub place: String,
    /// What was timed.
    pub mode: Mode,
    /// What the value is of its samples.
    pub statistic: Statistic,
    /// The value. Unit: milliseconds.
    pub value_ms: f64,
    /// Sample standard deviation of single calls. Unit: milliseconds. `None`: not stated.
    pub sd_ms: Option<f64>,
    /// Calls it is of. `None`: not stated.
    pub n: Option<u32>,
}

/// What a stated value is of its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// Arithmetic mean of times.
    Mean,
    /// Tokens ÷ the mean of rates: the harmonic mean of times.
    HarmonicMean,
    /// Median of times.
    Median,
}
