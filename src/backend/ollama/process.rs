//! The server as a process of this machine: who listens, what it started, which environment it was given.
//!
//! A server's settings are in its environment and no request tells them. Where the system does not show another
//! user's process everything here is unknown, not assumed.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;

use crate::process::environment;
pub use crate::process::{is_running, resident, tree};

/// The process that listens on a port of this machine, at whatever address. `None`: it cannot be told.
#[must_use]
pub fn listener(port: u16) -> Option<u32> {
    crate::process::listener(port, |_| true)
}

/// What changes how a server answers or how fast: its settings, those it hands to its engine, and the devices it sees.
const SETTINGS: [&str; 5] = ["OLLAMA_", "LLAMA_ARG_", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GGML_"];

/// Variables whose value is a place on this machine and nobody's business.
const PRIVATE: [&str; 4] = ["OLLAMA_MODELS", "OLLAMA_ORIGINS", "OLLAMA_HOST", "OLLAMA_AUTH"];

/// The settings in a process's environment. `None`: the system does not show it.
#[must_use]
pub fn settings(pid: u32) -> Option<BTreeMap<String, String>> {
    environment(pid).map(only_settings)
}

fn only_settings(environment: HashMap<OsString, OsString>) -> BTreeMap<String, String> {
    let variables = environment.iter().map(|(name, value)| (name.to_string_lossy(), value.to_string_lossy()));
    let known = variables.filter(|(name, _)| {
        SETTINGS.iter().any(|prefix| name.starts_with(prefix)) && !PRIVATE.contains(&name.as_ref())
    });
    known.map(|(name, value)| (name.into_owned(), super::text::clean(&value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_else_is_kept() {
        let given =
            [("HOME", "/x"), ("OLLAMA_NUM_PARALLEL", "2"), ("OLLAMA_MODELS", "/secret"), ("LLAMA_ARG_CACHE_RAM", "0")];
        let found = only_settings(given.map(|(name, value)| (name.into(), value.into())).into());
        assert_eq!(found.len(), 2);
        assert_eq!(found["LLAMA_ARG_CACHE_RAM"], "0");
    }
}
