//! `phasebench boards`: the process that asks NVIDIA's driver, so that the program that starts it need not.

use std::io::Write;
use std::time::Duration;

use crate::cli::BoardsArgs;
use crate::commands::CommandError;
use crate::exit::Exit;
use crate::speed::board;

/// Measures every board and prints what it found, as [`board::measure_apart`] reads it.
///
/// # Errors
/// Standard output refuses.
pub fn execute(args: &BoardsArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let time = Duration::from_millis(args.time_ms.into());
    let boards = board::copy::measure(board::LIBRARY.as_ref(), args.repetitions, time);
    writeln!(out, "{}", serde_json::to_string(&boards)?)?;
    Ok(Exit::Good)
}
