//! The one writer of a run.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::files;
use crate::hash::{sha256_file, sha256_hex};
use crate::lock::Held;
use crate::record::{FORMAT, Header, Line};
use crate::store::seal::{self, Chain, Seal};
use crate::store::{
    LOCK, MANIFEST, MEASUREMENTS, PLAN, POWER_TRACE, SPEC, StoreError, io_error, reader, sync_folder, write_atomically,
};

/// Appends to a run's record while it holds the folder's lock.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    file: File,
    /// Length of the file up to the last whole line.
    length: u64,
    /// The hash of its lines.
    chain: Chain,
    /// Whether its format has seals.
    sealed: bool,
    /// Whether the run came to its end.
    finished: bool,
    /// The seal that closes it. `None`: there is none yet.
    closing: Option<Seal>,
    _lock: Held,
}

impl Writer {
    /// Writes a new run's first files into a folder that is locked and empty.
    pub(super) fn begin(
        folder: &Path,
        lock: Held,
        scenario: &str,
        plan_json: &str,
        manifest_json: &str,
    ) -> Result<Self, StoreError> {
        write_atomically(&folder.join(SPEC), scenario.as_bytes())?;
        write_atomically(&folder.join(PLAN), plan_json.as_bytes())?;
        write_atomically(&folder.join(MANIFEST), manifest_json.as_bytes())?;
        let path = folder.join(MEASUREMENTS);
        let file = OpenOptions::new().append(true).create_new(true).open(&path).map_err(io_error(&path, "create"))?;
        let chain = Chain::default();
        let mut writer = Self {
            folder: folder.to_owned(),
            file,
            length: 0,
            chain,
            sealed: true,
            finished: false,
            closing: None,
            _lock: lock,
        };
        writer.append(&Line::Header(header(plan_json).into()))?;
        sync_folder(folder)?;
        Ok(writer)
    }

    /// Takes up a run: locks it, checks that scenario file and plan are the ones it began with and that the record is as its seals
    /// say, cuts off a torn last line, and returns those of the lines recorded that `keeps` says; it is shown every line.
    ///
    /// # Errors
    /// The folder is no run, is locked, was changed, or its record is damaged anywhere but at the end.
    pub fn resume(
        folder: &Path,
        keeps: &mut dyn FnMut(&Line) -> bool,
    ) -> Result<(Self, reader::Recording), StoreError> {
        if let Some(missing) = [PLAN, MANIFEST].into_iter().find(|name| !folder.join(name).exists()) {
            let path = folder.display().to_string();
            let why = if folder.join(LOCK).exists() && !folder.join(MEASUREMENTS).exists() {
                let again = format!("the command that began it, with --out {path}");
                format!("ended before anything was measured: no {missing} in it yet\n  try: {again}")
            } else {
                format!("not a run folder: no {missing} in it")
            };
            return Err(StoreError::Content { path, why });
        }
        super::refuse_links(folder)?;
        let lock = lock(folder)?;
        files::sweep_below(folder);
        let path = folder.join(MEASUREMENTS);
        let file =
            OpenOptions::new().append(true).read(true).create(true).open(&path).map_err(io_error(&path, "open"))?;
        let mut recording = reader::read_keeping(folder, keeps)?;
        if let Some(why) = recording.seals.broken.first() {
            return Err(changed(folder, MEASUREMENTS, why));
        }
        file.set_len(recording.length).map_err(io_error(&path, "cut off the torn last line"))?;
        let mut writer = Self {
            folder: folder.to_owned(),
            file,
            length: recording.length,
            chain: recording.chain.clone(),
            // A record goes on in the format that it began with.
            sealed: recording.lines.is_empty() || recording.is_sealed(),
            finished: recording.finished(),
            closing: recording.seals.closing.clone(),
            _lock: lock,
        };
        let plan_json = super::read_text(folder, PLAN)?;
        if recording.lines.is_empty() {
            // Killed before the first line was complete: nothing was measured yet.
            let first = Line::Header(header(&plan_json).into());
            writer.append(&first)?;
            recording.lines.push(first);
        }
        recording.check(folder, &plan_json)?;
        writer.seal_if_due()?;
        Ok((writer, recording))
    }

    /// Appends one line, and a seal where one is due; they are on the disk when this returns.
    ///
    /// # Errors
    /// What the system says. What was written before stays whole.
    pub fn append(&mut self, line: &Line) -> Result<(), StoreError> {
        let mut text = serde_json::to_vec(line).map_err(|e| self.unwritable(&e))?;
        text.push(b'\n');
        self.put(&text)?;
        self.closing = None;
        self.finished = matches!(line, Line::Finished(_));
        self.seal_if_due()
    }

    /// Appends many lines at once, and seals where they are due; they are on the disk when this returns, or none is there.
    ///
    /// # Errors
    /// What the system says.
    pub fn append_all(&mut self, lines: &[Line]) -> Result<(), StoreError> {
        let (mut text, mut chain) = (Vec::new(), self.chain.clone());
        for line in lines {
            let begin = text.len();
            serde_json::to_writer(&mut text, line).map_err(|e| self.unwritable(&e))?;
            text.push(b'\n');
            chain.take(&text[begin..]);
            if self.sealed && chain.unsealed() >= seal::EVERY {
                let seal = seal::line(chain.seal(BTreeMap::new())).map_err(|e| self.unwritable(&e))?;
                chain.take(&seal);
                text.extend_from_slice(&seal);
            }
        }
        self.write_synced(&text)?;
        self.chain = chain;
        self.closing = None;
        if let Some(last) = lines.last() {
            self.finished = matches!(last, Line::Finished(_));
        }
        Ok(())
    }

    /// Writes the seal that so many lines call for; also where a process was killed before it could.
    fn seal_if_due(&mut self) -> Result<(), StoreError> {
        if !self.sealed || self.chain.unsealed() < seal::EVERY {
            return Ok(());
        }
        let seal = seal::line(self.chain.seal(BTreeMap::new())).map_err(|e| self.unwritable(&e))?;
        self.put(&seal)
    }

    /// Closes a finished record with a seal that also holds the hashes of the manifest and of the power trace. Does
    /// nothing where the format has no seals, or the record is closed already.
    ///
    /// # Errors
    /// What the system says; a record that was closed with other files: they were changed since.
    pub fn close(&mut self) -> Result<(), StoreError> {
        if !self.sealed || !self.finished {
            return Ok(());
        }
        let files = closed_files(&self.folder)?;
        if let Some(seal) = &self.closing {
            let names = seal.files.keys().chain(files.keys());
            let mut others = names.filter(|name| seal.files.get(*name) != files.get(*name));
            let why = "is not as it was when the run was finished";
            return others.next().map_or(Ok(()), |name| Err(changed(&self.folder, name, why)));
        }
        let closing = self.chain.seal(files);
        let line = seal::line(closing.clone()).map_err(|e| self.unwritable(&e))?;
        self.put(&line)?;
        self.closing = Some(closing);
        Ok(())
    }

    /// Writes one whole line to the disk.
    fn put(&mut self, text: &[u8]) -> Result<(), StoreError> {
        self.write_synced(text)?;
        self.chain.take(text);
        Ok(())
    }

    /// Writes whole lines to the disk: all of them, or none.
    fn write_synced(&mut self, text: &[u8]) -> Result<(), StoreError> {
        let path = self.folder.join(MEASUREMENTS);
        // fsync per call: a power cut may cost one line, never two.
        let written = self.file.write_all(text).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // Half a line may be there; a reader would accept it as torn, but the next append would not know.
            let _ = self.file.set_len(self.length);
            return Err(io_error(&path, "append")(source));
        }
        self.length += text.len() as u64;
        if !files::is_still(&path, &self.file) {
            return Err(StoreError::Gone { path: path.display().to_string() });
        }
        Ok(())
    }

    fn unwritable(&self, error: &serde_json::Error) -> StoreError {
        let path = self.folder.join(MEASUREMENTS).display().to_string();
        StoreError::Content { path, why: format!("a record cannot be written as JSON: {error}") }
    }

    /// Replaces the manifest, e.g. with another process's entry.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn write_manifest(&self, manifest_json: &str) -> Result<(), StoreError> {
        write_atomically(&self.folder.join(MANIFEST), manifest_json.as_bytes())
    }

    /// The run folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// A file of a run that is not as it was written, so that nothing may be added to the run.
fn changed(folder: &Path, name: &str, why: &str) -> StoreError {
    let (path, run) = (folder.join(name).display().to_string(), folder.display());
    let why = format!(
        "{why}, so nothing is added to the run\n  try: put back the file as it was, or measure anew with another --out   \
         (phasebench validate {run} says all that was changed)"
    );
    StoreError::Content { path, why }
}

fn header(plan_json: &str) -> Header {
    Header {
        file: reader::FILE_KIND.to_owned(),
        format: FORMAT,
        plan_sha256: sha256_hex(plan_json.as_bytes()),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Takes the folder's lock, which the system drops with the process however it ends.
pub(super) fn lock(folder: &Path) -> Result<Held, StoreError> {
    let path = folder.join(LOCK);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io_error(&path, "lock"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            let _ = file.read_to_string(&mut owner);
            let owner = owner.trim().parse::<u32>().ok().map(|id| id.to_string());
            return Err(StoreError::Locked { path: folder.display().to_string(), owner });
        }
        Err(TryLockError::Error(source)) => return Err(io_error(&path, "lock")(source)),
    }
    let id = std::process::id().to_string();
    let noted =
        file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).and_then(|_| file.write_all(id.as_bytes()));
    noted.map_err(io_error(&path, "lock"))?;
    Ok(Held::new(file))
}

/// Hashes of the files that are complete once a run is finished, by their names.
///
/// # Errors
/// What the system says.
pub fn closed_files(folder: &Path) -> Result<BTreeMap<String, String>, StoreError> {
    let mut hashes = BTreeMap::new();
    for name in [MANIFEST, POWER_TRACE] {
        let path = folder.join(name);
        if path.exists() {
            hashes.insert(name.to_owned(), sha256_file(&path).map_err(io_error(&path, "read"))?);
        }
    }
    Ok(hashes)
}
