//! What is done: engines and sensors, the machine's own speed, one call and the loop over all; and the import of what other
//! tools have done.
//!
//! A crate of its own, as `ground.rs` is.

pub mod backend;
pub mod calibrate;
pub mod import;
pub mod manifest;
pub mod measure;
pub mod run;
pub mod schedule;
pub mod signals;
pub mod speed;
pub mod telemetry;
pub use phasebench_ground::{
    cache, clock, economics, energy, exit, files, hash, kv, lock, model, plan, process, record, roofline, scenario,
    secret, stats, store, terminal, terms, text, units,
};
pub use phasebench_kernels as kernels;
