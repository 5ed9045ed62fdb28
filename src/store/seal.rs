//! Seals make any change of a record visible.
//!
//! After every [`EVERY`] lines, and once more when a run is finished, the record has a line that holds the hash of
//! everything before it. The closing one also holds the hashes of files that belong to the run and are complete by then.
//! A seal protects from damage and from edits that forget it, not from somebody who makes a new one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::hash::hex;

/// Lines between two seals.
pub const EVERY: u64 = 64;

/// How a line begins that is a seal.
const BEGINNING: &[u8] = b"{\"seal\":";

/// A seal as its line holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    seal: Seal,
}

/// What a seal says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// Lines before it, seals among them.
    pub lines: u64,
    /// SHA-256 of these lines, line ends included, in hexadecimal digits.
    pub sha256: String,
    /// SHA-256 of other files of the run by their names. Empty: the run was not finished.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

/// The hash of a record so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Chain {
    hash: Sha256,
    lines: u64,
    /// Lines since the last seal.
    unsealed: u64,
}

impl Chain {
    /// Takes one more line, its end included.
    pub(super) fn take(&mut self, line: &[u8]) {
        self.hash.update(line);
        self.lines += 1;
        self.unsealed = if is_seal(line) { 0 } else { self.unsealed + 1 };
    }

    /// Lines since the last seal.
    pub(super) fn unsealed(&self) -> u64 {
        self.unsealed
    }

    /// A seal over everything so far.
    pub(super) fn seal(&self, files: BTreeMap<String, String>) -> Seal {
        Seal { lines: self.lines, sha256: hex(&self.hash.clone().finalize()), files }
    }

    /// Whether a seal in this place says what came before it.
    fn agrees(&self, seal: &Seal) -> bool {
        let own = self.seal(BTreeMap::new());
        (own.lines, own.sha256) == (seal.lines, seal.sha256.clone())
    }
}

/// Whether a line is a seal.
pub(super) fn is_seal(line: &[u8]) -> bool {
    line.starts_with(BEGINNING)
}

/// A seal as a line, its end included.
pub(super) fn line(seal: Seal) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = serde_json::to_vec(&Sealed { seal })?;
    text.push(b'\n');
    Ok(text)
}

/// What the seals of a record say of it.
#[derive(Debug, Clone, Default)]
pub struct Seals {
    /// Seals that agree with the lines before them.
    pub agreeing: usize,
    /// What is not as it was written, in words. Empty: nothing, as far as seals reach.
    pub broken: Vec<String>,
    /// The last line, if it is the seal that closes a finished run.
    pub closing: Option<Seal>,
    /// Lines after the last seal.
    pub unsealed: u64,
    /// Number of the last line that is a seal. 0: there is none.
    last_sealed: u64,
}

impl Seals {
    /// What they say of a record whose format has none: a seal in it tells that its first line was changed.
    #[must_use]
    pub(super) fn of_an_unsealed_format(self) -> Self {
        let why = "its format is 1, which has no seals, and it holds some: the format in its first line is not the one it was \
                   written with";
        let broken = if self.last_sealed > 0 { vec![why.to_owned()] } else { Vec::new() };
        Self { broken, ..Self::default() }
    }

    /// Looks at one more line. Whether it was a seal.
    pub(super) fn look(&mut self, chain: &Chain, line: &[u8]) -> Result<bool, serde_json::Error> {
        if !is_seal(line) {
            self.closing = None;
            self.unsealed += 1;
            if self.unsealed == EVERY + 1 {
                self.broken.push(format!("a seal is missing after line {}", chain.lines));
            }
            return Ok(false);
        }
        let Sealed { seal } = serde_json::from_slice(line)?;
        if chain.agrees(&seal) {
            self.agreeing += 1;
        } else {
            let (first, last) = (self.last_sealed + 1, chain.lines);
            // No line is written so; git does it to text files on some machines.
            let why = if line.ends_with(b"\r\n") { ": their line endings were changed to CRLF" } else { "" };
            self.broken.push(format!("lines {first} to {last} are not as they were written{why}"));
        }
        self.last_sealed = chain.lines + 1;
        self.unsealed = 0;
        self.closing = Some(seal).filter(|seal| !seal.files.is_empty());
        Ok(true)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn read(lines: &[Vec<u8>]) -> Seals {
        let (mut chain, mut seals) = (Chain::default(), Seals::default());
        for line in lines {
            seals.look(&chain, line).unwrap();
            chain.take(line);
        }
        seals
    }

    fn written(n: u64) -> Vec<Vec<u8>> {
        let mut chain = Chain::default();
        let mut lines = Vec::new();
        for i in 0..n {
            lines.push(format!("{{\"i\":{i}}}\n").into_bytes());
            chain.take(&lines[lines.len() - 1]);
            if chain.unsealed() == EVERY {
                lines.push(line(chain.seal(BTreeMap::new())).unwrap());
                chain.take(&lines[lines.len() - 1]);
            }
        }
        let files = BTreeMap::from([("manifest.json".to_owned(), "00".to_owned())]);
        lines.push(line(chain.seal(files)).unwrap());
        lines
    }

    #[test]
    fn what_was_written_agrees_and_a_changed_line_does_not() {
        let lines = written(150);
        let good = read(&lines);
        assert_eq!((good.agreeing, good.broken.len(), good.unsealed), (3, 0, 0));
        assert!(good.closing.is_some());
        for place in [0, 63, 66, 130, 151] {
            let mut changed = lines.clone();
            changed[place][5] ^= 1;
            let found = read(&changed);
            assert!(!found.broken.is_empty(), "line {place}");
            assert_eq!(found.broken[0].starts_with("lines 1 to 64 "), place < 64, "{:?}", found.broken);
        }
    }

    #[test]
    fn a_format_without_seals_has_none() {
        let unsealed: Vec<_> = written(150).into_iter().filter(|line| !is_seal(line)).collect();
        assert_eq!(read(&unsealed).of_an_unsealed_format().broken, [""; 0]);
        let found = read(&written(150)).of_an_unsealed_format();
        assert_eq!((found.broken.len(), found.agreeing, found.unsealed), (1, 0, 0));
        assert!(found.broken[0].starts_with("its format is 1, which has no seals"), "{:?}", found.broken);
    }

    #[test]
    fn line_endings_that_were_changed_are_called_so() {
        let crlf = |line: Vec<u8>| [&line[..line.len() - 1], b"\r\n"].concat();
        let found = read(&written(70).into_iter().map(crlf).collect::<Vec<_>>());
        let why = "are not as they were written: their line endings were changed to CRLF";
        assert_eq!(found.broken, [format!("lines 1 to 64 {why}"), format!("lines 66 to 71 {why}")]);
    }

    #[test]
    fn lines_that_are_gone_or_without_a_seal_are_noticed() {
        let lines = written(150);
        let mut shorter = lines.clone();
        shorter.remove(40);
        assert!(!read(&shorter).broken.is_empty());
        let unsealed: Vec<_> = lines.iter().filter(|line| !is_seal(line)).cloned().collect();
        assert_eq!(read(&unsealed).broken, ["a seal is missing after line 64"]);
        let cut = read(&lines[..100]);
        assert_eq!((cut.broken.len(), cut.unsealed, cut.closing.is_none()), (0, 35, true));
    }
}
