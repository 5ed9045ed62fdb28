//! Tables against numbers worked out by hand, on runs made up in code.

mod across;
mod boards;
mod cells;
mod claims;
mod compile;
mod compile_report;
pub mod engines;
mod engines_report;
mod files;
mod findings;
mod fit_command;
mod fits;
mod forged;
mod kv_memory;
mod linearity;
mod recommendations;
pub mod run;
mod sessions;
mod tables_page;
mod validation;
