//! Reads a run's record, whole or torn.

use std::fs::File;
use std::io::{self, Read};
use std::mem;
use std::path::Path;

use memchr::{memchr_iter, memrchr};
use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;

use crate::hash::sha256_hex;
use crate::record::{
    CallRecord, Decision, FORMAT, Header, IdleRecord, ImportedCall, Line, LoadRecord, LoopRecord, OLDEST,
    ReferenceRecord, SEALED, Shared, StatedFigure, forget_known,
};
use crate::store::seal::{Chain, Seals, is_seal};
use crate::store::{MANIFEST, MEASUREMENTS, PLAN, SPEC, StoreError, io_error, read_text};

/// What the header calls the file.
pub const FILE_KIND: &str = "phasebench-measurements";

/// Bytes that are read at a time.
const BLOCK: usize = 1 << 22;

/// Lines that one thread parses at a time.
const LINES: usize = 64;

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
        self.shared_calls().map(|call| &**call)
    }

    /// The same, for whoever holds on to them.
    pub fn shared_calls(&self) -> impl Iterator<Item = &Shared<CallRecord>> {
        self.lines.iter().filter_map(|line| match line {
            Line::Call(call) => Some(call),
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
            Line::Decision(decision) => Some(&**decision),
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
            Line::Idle(idle) => Some(&**idle),
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
            Some(Line::Header(header)) => Some(&**header),
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
    let recording = read_keeping(folder, &mut |_| true)?;
    if recording.lines.is_empty() {
        let path = folder.join(MEASUREMENTS).display().to_string();
        return Err(StoreError::Content { path, why: "holds no complete line: nothing was measured".to_owned() });
    }
    Ok(recording)
}

/// Reads the record alone, and keeps the lines that `keeps` says. It is shown every line.
pub(super) fn read_keeping(folder: &Path, keeps: &mut dyn FnMut(&Line) -> bool) -> Result<Recording, StoreError> {
    let path = folder.join(MEASUREMENTS);
    let mut file = File::open(&path).map_err(io_error(&path, "read"))?;
    let mut reading = Reading::of(&path);
    // The last line of a block may go on in the next: what is left of it has no end.
    let (mut bytes, mut next) = (Vec::with_capacity(2 * BLOCK), Vec::with_capacity(2 * BLOCK));
    let mut searched = 0;
    let mut read = read_block(&mut file, &mut bytes).map_err(io_error(&path, "read"))?;
    while read > 0 {
        let Some(end) = memrchr(b'\n', &bytes[searched..]).map(|at| searched + at + 1) else {
            searched = bytes.len();
            read = read_block(&mut file, &mut bytes).map_err(io_error(&path, "read"))?;
            continue;
        };
        next.clear();
        next.extend_from_slice(&bytes[end..]);
        searched = next.len();
        read = reading.take(&bytes[..end], || read_block(&mut file, &mut next), keeps)?;
        mem::swap(&mut bytes, &mut next);
    }
    Ok(reading.finish(!bytes.is_empty()))
}

/// Appends the next bytes of a file. How many; 0 at its end.
fn read_block(file: &mut File, bytes: &mut Vec<u8>) -> io::Result<usize> {
    file.take(BLOCK as u64).read_to_end(bytes)
}

/// A record on the way of being read.
struct Reading<'a> {
    path: &'a Path,
    recording: Recording,
    chain: Chain,
    /// Lines so far.
    lines: usize,
}

impl<'a> Reading<'a> {
    fn of(path: &'a Path) -> Self {
        Self { path, recording: Recording::default(), chain: Chain::default(), lines: 0 }
    }

    /// Takes whole lines: they are hashed while they are parsed, and the next ones read, of which `ahead` says how many bytes.
    fn take(
        &mut self,
        bytes: &[u8],
        ahead: impl FnOnce() -> io::Result<usize> + Send,
        keeps: &mut dyn FnMut(&Line) -> bool,
    ) -> Result<usize, StoreError> {
        let lines = split(bytes);
        let (seals, chain) = (&mut self.recording.seals, &mut self.chain);
        let hashed = || rayon::join(|| look(seals, chain, &lines), ahead);
        let ((sealed, read), parsed) = rayon::join(hashed, || parse(&lines));
        // What is told of a damaged record is its first damage.
        let no_seal = sealed.as_ref().err().map(|(place, _)| *place);
        for (place, line) in parsed.into_iter().enumerate().take_while(|(place, _)| no_seal != Some(*place)) {
            let Some(line) = line.map_err(|error| self.damaged(place, &error))? else { continue };
            if self.lines + place == 0 {
                check_header(self.path, &line)?;
            }
            self.recording.lines.extend(keeps(&line).then_some(line));
        }
        sealed.map_err(|(place, error)| self.damaged(place, &error))?;
        self.recording.length += bytes.len() as u64;
        self.lines += lines.len();
        read.map_err(io_error(self.path, "read"))
    }

    fn damaged(&self, place: usize, error: &serde_json::Error) -> StoreError {
        StoreError::Line { path: self.path.display().to_string(), line: self.lines + place + 1, why: error.to_string() }
    }

    fn finish(mut self, torn: bool) -> Recording {
        forget_known();
        self.recording.torn = torn;
        if !self.recording.is_sealed() {
            self.recording.seals = mem::take(&mut self.recording.seals).of_an_unsealed_format();
        }
        self.recording.chain = self.chain;
        self.recording
    }
}

/// Lines with their ends.
fn split(bytes: &[u8]) -> Vec<&[u8]> {
    let mut begin = 0;
    let line_to = |end| &bytes[mem::replace(&mut begin, end + 1)..=end];
    memchr_iter(b'\n', bytes).map(line_to).collect()
}

/// Looks at the seals among lines and hashes all. Its error is the place of one that is no seal, and why.
fn look(seals: &mut Seals, chain: &mut Chain, lines: &[&[u8]]) -> Result<(), (usize, serde_json::Error)> {
    for (place, line) in lines.iter().enumerate() {
        seals.look(chain, line).map_err(|error| (place, error))?;
        chain.take(line);
    }
    Ok(())
}

/// Parses lines, some on every processor. `None`: a seal.
fn parse(lines: &[&[u8]]) -> Vec<Result<Option<Line>, serde_json::Error>> {
    lines.par_chunks(LINES).flat_map_iter(|lines| lines.iter().map(|line| parse_line(line))).collect()
}

/// A line. `None`: it is a seal.
fn parse_line(line: &[u8]) -> Result<Option<Line>, serde_json::Error> {
    if is_seal(line) { Ok(None) } else { serde_json::from_slice(line).map(Some) }
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
