//! phasebench measures how LLM inference scales on one box, phase by phase.
//!
//! One measurement's way through the program:
//!
//! ```text
//! scenario → plan → schedule → measure (load, warm up, timed window) → record → store
//! store → analysis → report
//! ```
//!
//! - [`scenario`] reads a scenario file into a validated [`scenario::ScenarioFile`]. Pure but for the prompt files it names.
//! - [`plan`] expands it into cells with stable ids. Pure.
//! - [`schedule`] decides the next task from the plan and what is recorded. Pure.
//! - [`backend`] is the contract every engine fulfils; [`model`] the one folder all engines load from.
//! - [`energy`] says what readings of a power sensor mean for a phase, [`calibrate`] measures the sensor's timing.
//! - [`speed`] measures the machine itself, without any engine.
//! - [`measure`] makes one call, [`run`] is the loop, [`record`] what is written, [`store`] where.
//! - [`run_folder`] opens a run that was recorded; every command that reads one begins there.
//! - [`economics`] turns time and energy into money, [`kv`] shapes into memory, [`roofline`] shapes into what a step must read
//!   and compute. Pure formulas.
//! - [`comparison`] sets two runs against each other: did anything change?
//! - [`cost`] puts prices on a run's cells, or on a table of rates, for a workload.
//! - [`analysis`] derives every table from records alone, [`report`] prints them.
//!
//! Prefill and decode are never mixed; a number without proof is withheld; `None` is never 0.

pub mod cli;
pub mod commands;
pub use phasebench_derived::{analysis, comparison, cost, history, report, run_folder};
pub use phasebench_ground::{
    cache, clock, economics, energy, exit, files, hash, kv, lock, model, plan, process, record, roofline, scenario,
    secret, stats, store, terminal, terms, text, units,
};
pub use phasebench_live::{
    backend, calibrate, import, kernels, manifest, measure, run, schedule, signals, speed, telemetry,
};
