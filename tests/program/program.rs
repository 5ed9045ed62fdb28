//! The program, started in a folder, and what it printed.

use std::path::Path;
use std::process::{Command, Output};

pub fn phasebench(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_phasebench")).current_dir(folder).args(arguments).output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
