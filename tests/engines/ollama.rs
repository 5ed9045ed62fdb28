//! The Ollama adapter against everything a server was seen, or can be made, to say.

mod asking;
mod caching;
mod doctor;
mod faults;
pub mod fixture;
mod hostile;
mod managing;
mod run;
mod transcripts;
