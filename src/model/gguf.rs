//! Export to GGUF: one file with weights, shape and tokenizer, from any model folder, for servers on llama.cpp.
//!
//! Names, layout and keys are those llama.cpp knows: matrices `[out, in]` throughout, llama's query and key rows ordered
//! for rotary pairs that lie side by side, phi as architecture `phi2`. In half precision the matrices are f16; vectors
//! and learned positions stay f32. A tied output embedding is left out, so that the server counts it once.
//!
//! The server adds bos where the configuration names one, as every engine here does. What llama.cpp would compute
//! otherwise than the folder says, or its tokenizer would split otherwise, is an error. Unicode normalisation (NFC) is
//! the one exception: the server does none, which changes nothing for text that is normalised already.

mod format;
mod layout;
mod metadata;
mod vocabulary;
mod writer;

pub use format::{ALIGNMENT, FORMAT_VERSION};
pub use metadata::META_WEIGHTS_ID;

use std::fs;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::folder::Folder;
use super::{Error, Precision, Result, cached};
use crate::files::{self, UnfinishedFile};
use crate::hash::hex;

/// Raised whenever the same folder gives another file.
pub const EXPORTER_VERSION: u32 = 1;

/// Name of the file in an export's folder.
pub const FILE: &str = "model.gguf";
/// Name of the file beside it that holds its SHA-256, in the form `sha256sum` writes and checks.
pub const HASH_FILE: &str = "model.gguf.sha256";

/// An export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gguf {
    /// The file.
    pub path: PathBuf,
    /// What its matrices are held in.
    pub precision: Precision,
    /// The weights it was made from, see [`Folder::weights_id`].
    pub weights_id: String,
    /// Its size. Unit: bytes.
    pub bytes: u64,
    /// Its SHA-256, taken while it was written. Unit: 64 hex digits.
    pub sha256: String,
}

/// Exports a folder into the cache, unless it is there.
///
/// # Errors
/// The server could not run the model as the folder describes it, see the module; a weight does not fit the precision;
/// or the file system refuses.
pub fn export(folder: &Folder, precision: Precision, cache_root: &Path) -> Result<Gguf> {
    let weights_id = folder.weights_id()?;
    // The same weights under another configuration or tokenizer are another file.
    let mut other = Sha256::new();
    other.update(serde_json::to_vec(folder.architecture()).map_err(|e| Error::malformed(folder.path(), e))?);
    other.update(tokenizer(folder)?.1);
    let other = &hex(&other.finalize())[..8];
    let at = cache_root.join("gguf").join(format!("{weights_id}-{other}-{precision}-v{EXPORTER_VERSION}"));
    cached::folder(&at, cache_root, |unfinished| write(folder, precision, unfinished).map(drop))?;

    let path = at.join(FILE);
    let bytes = fs::metadata(&path).map_err(Error::io("read", &path))?.len();
    let hash = at.join(HASH_FILE);
    let text = fs::read_to_string(&hash).map_err(Error::io("read", &hash))?;
    let sha256 = text.split_whitespace().next().unwrap_or_default().to_owned();
    Ok(Gguf { path, precision, weights_id, bytes, sha256 })
}

/// Exports a folder into another, existing one, replacing what is there; the file appears whole or not at all.
///
/// # Errors
/// As [`export`].
pub fn write(folder: &Folder, precision: Precision, into: &Path) -> Result<Gguf> {
    write_file(folder, precision, &into.join(FILE))
}

/// As [`write()`], with another name; the hash stands beside it under that name and `.sha256`.
///
/// # Errors
/// As [`export`].
pub fn write_file(folder: &Folder, precision: Precision, path: &Path) -> Result<Gguf> {
    let into = path.parent().filter(|into| !into.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (tokenizer, text) = tokenizer(folder)?;
    let vocabulary = vocabulary::read(&tokenizer, &text, folder.architecture())?;
    let metadata = metadata::of(folder, precision, vocabulary)?;
    let weights = layout::weights(folder, precision)?;

    let unfinished = UnfinishedFile::new_in(into).map_err(Error::io("create a file in", into))?;
    let out = BufWriter::with_capacity(1 << 20, unfinished.file());
    let written = writer::write(folder, &metadata, &weights, out, path)?;
    unfinished.finish(path).map_err(Error::io("create", path))?;
    let hash = into.join(format!("{name}.sha256"));
    let line = format!("{}  {name}\n", written.sha256);
    files::replace(&hash, line.as_bytes()).map_err(Error::io("write", &hash))?;
    Ok(Gguf {
        path: path.to_owned(),
        precision,
        weights_id: folder.weights_id()?,
        bytes: written.bytes,
        sha256: written.sha256,
    })
}

/// Path and content of the folder's `tokenizer.json`.
fn tokenizer(folder: &Folder) -> Result<(PathBuf, Vec<u8>)> {
    let path = folder.path().join("tokenizer.json");
    let text = fs::read(&path).map_err(Error::io("read", &path))?;
    Ok((path, text))
}
