//! The stand-in for Ollama, byte by byte: what is built on it is only as good as it is.

mod client;
mod faults;
mod files;
mod replays;
mod scripts;
