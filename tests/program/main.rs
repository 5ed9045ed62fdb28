//! The program as its users run it: the commands around a run, runs on a simulated engine, reports.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod bench;
mod boards;
#[path = "../support/c_library.rs"]
mod c_library;
mod compare;
mod cost;
mod decide;
#[path = "../support/fake_cuda.rs"]
mod fake_cuda;
mod forged_record;
mod front;
mod history;
mod import;
mod import_damaged;
#[path = "../support/in_time.rs"]
mod in_time;
mod init;
mod kv;
mod machine;
mod named_files;
#[path = "../support/not_run.rs"]
mod not_run;
mod printed;
mod program;
mod report;
mod rerun;
mod run;
mod several;
mod single_runs;
mod upgrade_check;
