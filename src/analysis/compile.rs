//! What a compiler was asked for, what it did, and whether it paid.
//!
//! - `compile_steps.csv`: every shape compiled before the first call.
//! - `compile_audit.csv`: every cell and phase that asked for a compiler: proof, time, tails, break-even.
//! - `compile_graphs.csv`: shapes against graphs per session and phase.
//! - `compile_outcome.csv`: per backend and phase, whether to compile.
//!
//! A phase belongs here if a call's evidence says that a compiler was asked for, or the load of its session does: a cell
//! that never got so far is one that is not proven. The reference it is judged against is the same cell on a backend whose
//! evidence says `eager`. No engine is known by name.

mod audit;
mod audited;
mod cache;
mod graphs;
mod outcome;
mod spent;
mod steps;
mod tally;

pub use audit::{CompileAudit, CompileAuditRow, GraphUse};
pub use cache::CacheState;
pub use graphs::{CompileGraphs, CompileGraphsRow};
pub use outcome::{CompileOutcome, CompileOutcomeRow, CompileVerdict};
pub use steps::{CompileStepRow, CompileSteps};
