//! What is computed, against numbers known from elsewhere: statistics, model folders and their exports, one measured
//! call, tables and charts.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod analysis;
mod compare;
mod cost;
mod economics;
mod gguf;
mod golden;
mod measure;
mod measure_looped;
mod model;
mod report_render;
mod roofline;
