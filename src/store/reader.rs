//! Reads a run's record, whole or torn.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::hash::sha256_hex;
use crate::record::{
    CallRecord, Decision, FORMAT, Header, IdleRecord, ImportedCall, Line, LoadRecord, LoopRecord, OLDEST,
    ReferenceRecord, SEALED, StatedFigure,
};
use crate::store::seal::{Chain, Seals};
use crate::store::{MANIFEST, MEASUREMENTS, PLAN, SPEC, StoreError, io_error, read_text};

/// What the header calls the file.
pub const FILE_KIND: &str = "phasebench-measurements";

/// Bytes that are read at a time.
const BLOCK: usize = 1 << 20;

/// Everything recorded of a run.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    /// The lines in order.
    pub lines: Vec<Line>,
    /// Length of the file up to the last whole line, in bytes.
    pub length: u64,
    /// Whether something after that was left out: a torn last line.
    pub torn: bool,
    /// What its seals say of it.
    pub seals: Seals,
    /// The hash of its whole lines.
    pub(super) chain: Chain,
}

impl Recording {
    /// The calls in order.
    pub fn calls(&self) -> impl Iterator<Item = &CallRecord> {
        self.lines.iter().filter_map(|line| match line {
            Line::Call(call) => Some(&**call),
            _ => None,
        })
    }

    /// The loads in order.
    pub fn loads(&self) -> impl Iterator<Item = &LoadRecord> {
        self.lines.iter().filter_map(|line| match line {
            Line::Load(load) => Some(&**load),
            _ => None,
        })
    }

    /// The decisions in order.
    pub fn decisions(&self) -> impl Iterator<Item = &Decision> {
        self.lines.iter().filter_map(|line| match line {
            Line::Decision(decision) => Some(decision),
            _ => None,
        })
    }

    /// What was measured of the machine itself, in order.
    pub fn references(&self) -> impl Iterator<Item = &ReferenceRecord> {
        self.lines.iter().filter_map(|line| match line {
            Line::Reference(reference) => Some(&**reference),
            _ => None,
        })
    }

    /// The stretches in which everything was left alone, in order.
    pub fn idles(&self) -> impl Iterator<Item = &IdleRecord> {
        self.lines.iter().filter_map(|line| match line {
            Line::Idle(idle) => Some(idle),
            _ => None,
        })
    }

    /// What was repeated for a power sensor, in order.
    pub fn loops(&self) -> impl Iterator<Item = &LoopRecord> {
        self.lines.iter().filter_map(|line| match line {
            Line::Loop(looped) => Some(&**looped),
            _ => None,
        })
    }

    /// Calls of another tool, in order.
    pub fn imported(&self) -> impl Iterator<Item = &ImportedCall> {
        self.lines.iter().filter_map(|line| match line {
            Line::Imported(call) => Some(&**call),
            _ => None,
        })
    }

    /// Figures that another tool states, in order.
    pub fn stated(&self) -> impl Iterator<Item = &StatedFigure> {
        self.lines.iter().filter_map(|line| match line {
            Line::Stated(figure) => Some(&**figure),
            _ => None,
        })
    }

    /// The first line.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        match self.lines.first() {
            Some(Line::Header(header)) => Some(header),
            _ => None,
        }
    }

    /// Whether its lines are sealed: those of the first version are not.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.header().is_some_and(|header| header.format >= SEALED)
    }

    /// Whether the run came to its end.
    #[must_use]
    pub fn finished(&self) -> bool {
        matches!(self.lines.last(), Some(Line::Finished(_)))
    }

    /// Checks that scenario file and plan are the ones the record was made with.
    ///
    /// # Errors
    /// Which file changed.
    pub fn check(&self, folder: &Path, plan_json: &str) -> Result<(), StoreError> {
        let expected = self.header().map(|h| h.plan_sha256.clone()).unwrap_or_default();
        unchanged(&folder.join(PLAN), plan_json, expected)?;
        let manifest = read_text(folder, MANIFEST)?;
        let manifest: serde_json::Value = serde_json::from_str(&manifest).map_err(|e| StoreError::Content {
            path: folder.join(MANIFEST).display().to_string(),
            why: format!("not JSON: {e}"),
        })?;
        let expected = manifest.get("config_sha256").and_then(|v| v.as_str()).unwrap_or_default().to_owned();
        unchanged(&folder.join(SPEC), &read_text(folder, SPEC)?, expected)
    }
}

/// Whether a file has the recorded hash; says where only its line endings are others.
fn unchanged(path: &Path, text: &str, expected: String) -> Result<(), StoreError> {
    let found = sha256_hex(text.as_bytes());
    let path = path.display().to_string();
    if found == expected {
        return Ok(());
    }
    if differs_in_line_endings(text, &expected) {
        return Err(StoreError::LineEndings { path });
    }
    Err(StoreError::Changed { path, found, expected })
}

/// Whether a text that has not the recorded hash has it with other line endings.
#[must_use]
pub fn differs_in_line_endings(text: &str, expected: &str) -> bool {
    let lf = text.replace("\r\n", "\n");
    [lf.replace('\n', "\r\n"), lf].iter().any(|other| sha256_hex(other.as_bytes()) == expected)
}

/// Reads a run for analysis, and checks it.
///
/// # Errors
/// The folder is no run, is damaged, was changed, or was written in another format.
pub fn read(folder: &Path) -> Result<Recording, StoreError> {
    let plan_json = read_text(folder, PLAN)?;
    let recording = read_lines(folder)?;
    recording.check(folder, &plan_json)?;
    Ok(recording)
}

/// Reads a run and checks it as [`read`] does, and keeps of its record the lines that `keeps` says. It is shown every line: a
/// record can be larger than memory, and what is made of a line is small.
///
/// # Errors
/// As [`read`].
pub fn read_some(folder: &Path, keeps: &mut dyn FnMut(&Line) -> bool) -> Result<Recording, StoreError> {
    let plan_json = read_text(folder, PLAN)?;
    let recording = read_keeping(folder, &mut |line| matches!(line, Line::Header(_)) | keeps(line))?;
    recording.check(folder, &plan_json)?;
    Ok(recording)
}

/// Reads the record, whatever the other files of the run are like.
///
/// # Errors
/// It is not there, is damaged, was written in another format, or holds no complete line.
pub fn read_lines(folder: &Path) -> Result<Recording, StoreError> {
    let recording = read_file(folder)?;
    if recording.lines.is_empty() {
        let path = folder.join(MEASUREMENTS).display().to_string();
        return Err(StoreError::Content { path, why: "holds no complete line: nothing was measured".to_owned() });
    }
    Ok(recording)
}

/// Reads the record alone.
pub(super) fn read_file(folder: &Path) -> Result<Recording, StoreError> {
    read_keeping(folder, &mut |_| true)
}

fn read_keeping(folder: &Path, keeps: &mut dyn FnMut(&Line) -> bool) -> Result<Recording, StoreError> {
    let path = folder.join(MEASUREMENTS);
    let mut file = BufReader::with_capacity(BLOCK, File::open(&path).map_err(io_error(&path, "read"))?);
    let (mut recording, mut chain) = (Recording::default(), Chain::default());
    let mut bytes = Vec::new();
    for number in 0.. {
        bytes.clear();
        if file.read_until(b'\n', &mut bytes).map_err(io_error(&path, "read"))? == 0 {
            break;
        }
        let line = bytes.as_slice();
        if line.last() != Some(&b'\n') {
            recording.torn = true;
            break;
        }
        let damaged = |e: serde_json::Error| StoreError::Line {
            path: path.display().to_string(),
            line: number + 1,
            why: e.to_string(),
        };
        if !recording.seals.look(&chain, line).map_err(damaged)? {
            let parsed: Line = serde_json::from_slice(line).map_err(damaged)?;
            if number == 0 {
                check_header(&path, &parsed)?;
            }
            recording.lines.extend(keeps(&parsed).then_some(parsed));
        }
        chain.take(line);
        recording.length += line.len() as u64;
    }
    if !recording.is_sealed() {
        // Nobody said that there would be seals.
        recording.seals = Seals::default();
    }
    recording.chain = chain;
    Ok(recording)
}

fn check_header(path: &Path, first: &Line) -> Result<(), StoreError> {
    let why = match first {
        Line::Header(header) if header.file != FILE_KIND => format!("is `{}`, expected `{FILE_KIND}`", header.file),
        Line::Header(header) if !(OLDEST..=FORMAT).contains(&header.format) => format!(
            "has format {}, this version of phasebench reads formats {OLDEST} to {FORMAT}; use phasebench {}",
            header.format, header.tool_version
        ),
        Line::Header(_) => return Ok(()),
        _ => "does not begin with a header line".to_owned(),
    };
    Err(StoreError::Content { path: path.display().to_string(), why })
}
