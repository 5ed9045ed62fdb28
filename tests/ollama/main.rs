//! The Ollama adapter against everything a server was seen, or can be made, to say.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod asking;
mod caching;
mod doctor;
mod faults;
mod fixture;
mod hostile;
mod managing;
mod run;
#[path = "../standin/standin.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod standin;
mod transcripts;
