//! What requests cost on the engines of a run, or at the rates of a table.
//!
//! - [`engines`]: cells as figures that are drawn together, with what energy may be counted.
//! - [`request`]: a workload on one engine, with the share of it that was measured.
//! - [`bill`]: figures with prices: every table that `phasebench cost` prints of a run.
//! - [`decision`]: what a bill advises.
//! - [`rates`]: the same of any table of rates, also by the published reports' own rule.
//! - [`missing`]: the scenario file that would measure what a workload lacks.
//! - `cells`: what figures are in a CSV file.
//! - `tails`: how long the slow ones among calls take.

pub mod bill;
mod cells;
pub mod decision;
pub mod engines;
pub mod missing;
pub mod rates;
pub mod request;
mod tails;
