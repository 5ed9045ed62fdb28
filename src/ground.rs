//! What is asked and what is stored, with the words, formulas and statistics that everything shares. Reads files at most; knows
//! neither engines nor sensors.
//!
//! A crate of its own under the paths of the whole, so that it is compiled beside what it does not need, and by itself where
//! only what uses it has changed.

pub mod cache;
pub mod economics;
pub mod energy;
pub mod exit;
pub mod files;
pub mod hash;
pub mod kv;
pub mod lock;
pub mod model;
pub mod plan;
pub mod process;
pub mod record;
pub mod roofline;
pub mod scenario;
pub mod secret;
pub mod stats;
pub mod store;
pub mod terminal;
pub mod terms;
pub mod text;
pub use phasebench_clock as clock;
pub use phasebench_units as units;
