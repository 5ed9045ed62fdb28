//! The server as a process of this machine: who listens, what it started, which environment it was given.
//!
//! A server's settings are in its environment and no request tells them. Where the system does not show another
//! user's process everything here is unknown, not assumed.

use std::collections::BTreeMap;
use std::fs;

use super::super::process::{environment, pids};

pub use super::super::process::{is_running, resident, tree};

/// The process that listens on a port of this machine. `None`: it cannot be told.
#[must_use]
pub fn listener(port: u16) -> Option<u32> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|file| fs::read_to_string(file).unwrap_or_default());
    let inode = tables.iter().find_map(|table| listening_inode(table, port))?;
    let socket = format!("socket:[{inode}]");
    pids().find(|pid| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        descriptors
            .map(|entry| fs::read_link(entry.path()))
            .any(|link| link.is_ok_and(|l| l.as_os_str() == socket.as_str()))
    })
}

/// `sl local_address rem_address st … inode`: state `0A` listens, the port is hexadecimal.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local) = fields.get(1)?.rsplit_once(':')?;
        let listens = *fields.get(3)? == "0A" && u16::from_str_radix(local, 16) == Ok(port);
        if listens { fields.get(9)?.parse().ok() } else { None }
    })
}

/// What changes how a server answers or how fast: its settings, those it hands to its engine, and the devices it sees.
const SETTINGS: [&str; 5] = ["OLLAMA_", "LLAMA_ARG_", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GGML_"];

/// Variables whose value is a place on this machine and nobody's business.
const PRIVATE: [&str; 4] = ["OLLAMA_MODELS", "OLLAMA_ORIGINS", "OLLAMA_HOST", "OLLAMA_AUTH"];

/// The settings in a process's environment. `None`: the system does not show it.
#[must_use]
pub fn settings(pid: u32) -> Option<BTreeMap<String, String>> {
    environment(pid).map(|environment| parse_settings(&environment))
}

fn parse_settings(environment: &[u8]) -> BTreeMap<String, String> {
    let variables = environment.split(|&byte| byte == 0).map(String::from_utf8_lossy);
    let pairs = variables.filter_map(|variable| {
        let (name, value) = variable.split_once('=')?;
        let known = SETTINGS.iter().any(|prefix| name.starts_with(prefix)) && !PRIVATE.contains(&name);
        known.then(|| (name.to_owned(), super::text::clean(value)))
    });
    pairs.collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_listening_line_is_told_from_a_connection() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:2CAA 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 11 1\n\
             1: 0100007F:2CAA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 22 1\n";
        assert_eq!(listening_inode(table, 11434), Some(22));
        assert_eq!(listening_inode(table, 11435), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_found_by_its_port() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(listener(port), Some(std::process::id()));
        assert!(tree(std::process::id()).contains(&std::process::id()));
        assert!(is_running(std::process::id()) && !is_running(u32::MAX));
        assert!(settings(std::process::id()).is_some());
    }

    #[test]
    fn only_settings_are_kept() {
        let found =
            parse_settings(b"HOME=/x\0OLLAMA_NUM_PARALLEL=2\0OLLAMA_MODELS=/secret\0LLAMA_ARG_CACHE_RAM=0\0broken\0");
        assert_eq!(found.len(), 2);
        assert_eq!(found["LLAMA_ARG_CACHE_RAM"], "0");
    }
}
