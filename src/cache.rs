//! The user's cache folder: models, exports and runtimes, each under the hash of what it was made from.

use std::path::PathBuf;

/// `$PHASEBENCH_CACHE`, else the user's cache folder as the system names it, else a folder beside temporary files.
#[must_use]
pub fn root() -> PathBuf {
    match std::env::var_os("PHASEBENCH_CACHE") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => dirs::cache_dir().unwrap_or_else(std::env::temp_dir).join("phasebench"),
    }
}
