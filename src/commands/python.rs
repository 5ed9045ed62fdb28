//! The machine's Python, which fetches runtimes.

use std::process::{Command, Stdio};

/// The first line of what `python3` prints. `None`: it cannot be started, or fails.
#[must_use]
pub fn version(arguments: &[&str]) -> Option<String> {
    let output = Command::new("python3").args(arguments).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.lines().next().unwrap_or_default().trim().to_owned())
}
