//! Every engine, through the library and through the program: ONNX Runtime, Ollama, and what answers behind the worker
//! protocol, as a process and in a container.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests"
)]

#[path = "../support/c_library.rs"]
mod c_library;
mod docker;
#[path = "../support/fake_cuda.rs"]
mod fake_cuda;
mod fallback;
mod frozen;
#[path = "../support/in_time.rs"]
mod in_time;
#[path = "../support/not_run.rs"]
mod not_run;
mod ollama;
mod onnx;
mod quota;
mod real_ollama;
#[path = "../standin/standin.rs"]
mod standin;
mod standin_test;
mod worker;
