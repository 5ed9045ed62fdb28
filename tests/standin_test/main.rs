//! The stand-in for Ollama, byte by byte: what is built on it is only as good as it is.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod client;
mod faults;
mod files;
mod replays;
mod scripts;
#[path = "../standin/standin.rs"]
mod standin;
