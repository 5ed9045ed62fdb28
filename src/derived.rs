//! What is made of a recorded run, from its folder alone: tables, comparisons, costs, reports, histories.
//!
//! A crate of its own, as `ground.rs` is.

pub mod analysis;
pub mod comparison;
pub mod cost;
pub mod history;
pub mod report;
pub mod run_folder;
pub use phasebench_ground::{
    cache, clock, economics, energy, exit, files, hash, kv, lock, model, plan, process, record, roofline, scenario,
    secret, stats, store, terminal, terms, text, units,
};
