//! What files hold, by hash, remembered where nothing can have changed unseen.
//!
//! A remembered hash is believed while size, time of modification, time of change, inode and device of every file are
//! those it was computed for. The time of change is the kernel's own: a program that writes into a file and then sets its
//! time of modification back cannot set that one. A file that changed within the last [`SETTLED`] is hashed again next
//! time, since a file system's clock ticks in steps and a second change could hide in one.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Error, Result};
use crate::files;
use crate::hash::hex;

/// Longer than any step of a file system's clock.
const SETTLED: Duration = Duration::from_secs(3);

/// The folder in the cache.
const FOLDER: &str = "weights";

/// A hash as the cache keeps it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    files: Vec<Stamp>,
    sha256: String,
}

/// What changes when a file does.
#[derive(Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Stamp {
    /// For people who look into the cache.
    path: PathBuf,
    size_bytes: u64,
    modified_ns: i128,
    changed_ns: i128,
    inode: u64,
    device: u64,
}

/// SHA-256 over the content of files, one after the other. Unit: 64 hex digits.
///
/// # Errors
/// The file system refuses to read a file, or to write into the cache.
pub(super) fn sha256(files: &[PathBuf], cache_root: &Path) -> Result<String> {
    let stamps = stamps(files)?;
    let folder = cache_root.join(FOLDER);
    let memory = folder.join(format!("{}.json", key(&stamps)));
    // Whatever is wrong with a remembered hash, hashing again cures it.
    let known = fs::read(&memory).ok().and_then(|text| serde_json::from_slice::<Remembered>(&text).ok());
    if let Some(known) = known.filter(|known| known.files == stamps) {
        return Ok(known.sha256);
    }
    let sha256 = hash(files)?;
    if settled(&stamps) && self::stamps(files)? == stamps {
        let known = Remembered { files: stamps, sha256: sha256.clone() };
        remember(&folder, &memory, &known)?;
    }
    Ok(sha256)
}

/// The same, read now and not remembered.
///
/// # Errors
/// The file system refuses to read a file.
pub(super) fn hash(files: &[PathBuf]) -> Result<String> {
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    for path in files {
        let mut file = File::open(path).map_err(Error::io("open", path))?;
        loop {
            match file.read(&mut piece).map_err(Error::io("read", path))? {
                0 => break,
                n => hash.update(&piece[..n]),
            }
        }
    }
    Ok(hex(&hash.finalize()))
}

fn stamps(files: &[PathBuf]) -> Result<Vec<Stamp>> {
    files.iter().map(|path| stamp(path)).collect()
}

fn stamp(path: &Path) -> Result<Stamp> {
    let path = fs::canonicalize(path).map_err(Error::io("find", path))?;
    let found = fs::metadata(&path).map_err(Error::io("read", &path))?;
    Ok(Stamp {
        size_bytes: found.len(),
        modified_ns: nanoseconds(found.mtime(), found.mtime_nsec()),
        changed_ns: nanoseconds(found.ctime(), found.ctime_nsec()),
        inode: found.ino(),
        device: found.dev(),
        path,
    })
}

fn nanoseconds(seconds: i64, rest: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(rest)
}

/// Whether the last change of every file is long enough ago.
fn settled(stamps: &[Stamp]) -> bool {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let latest = i128::try_from(since_epoch.saturating_sub(SETTLED).as_nanos()).unwrap_or(0);
    stamps.iter().all(|stamp| stamp.changed_ns <= latest)
}

/// Names the memory of a list of files, whatever they hold.
fn key(stamps: &[Stamp]) -> String {
    let mut hash = Sha256::new();
    for stamp in stamps {
        hash.update(stamp.path.as_os_str().as_encoded_bytes());
        hash.update([0]);
    }
    hex(&hash.finalize())
}

fn remember(folder: &Path, memory: &Path, known: &Remembered) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let text = serde_json::to_vec(known).map_err(|e| Error::malformed(memory, e))?;
    files::replace(memory, &text).map_err(Error::io("write", memory))
}
