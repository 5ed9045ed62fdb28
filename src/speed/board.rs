//! How fast NVIDIA's boards are in their own memory: the driver copies a buffer that is larger than a board's caches.
//!
//! [`copy`] does it in this process, through `driver`, which is loaded when the program runs. A run never does: it has it
//! done by a process of its own, `phasebench boards` ([`measure_apart`]). Whatever the driver does there, a crash or a hang
//! included, is nothing to the run, and no context of it stays on the board to take memory and power beside the calls.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::terms::BoardSpeed;

pub mod copy;
mod driver;

/// NVIDIA's driver library: a driver alone installs it under this name.
pub const LIBRARY: &str = "libcuda.so.1";

/// The hidden command that measures boards, and its options: repetitions, and the time of each in milliseconds.
pub const COMMAND: [&str; 3] = ["boards", "--repetitions", "--time-ms"];

/// Longest time for all boards together; a driver that is not kept loaded takes seconds to start.
const WITHIN: Duration = Duration::from_secs(30);

/// Longest answer that is read.
const MOST_BYTES: u64 = 1 << 20;

/// Every board that CUDA shows, measured by a process of its own; `time` is that of a repetition. Where there is none to
/// measure, one entry that says why.
#[must_use]
pub fn measure_apart(repetitions: u32, time: Duration) -> Vec<BoardSpeed> {
    let untold = |error| format!("the system does not tell which file this program is: {error}");
    let program: Result<PathBuf, String> = std::env::current_exe().map_err(untold);
    let answered = program.and_then(|program| answer(&program, repetitions, time, WITHIN));
    answered.unwrap_or_else(|why| vec![BoardSpeed::unreached(why)])
}

/// What the process says, if it ends well within a time.
fn answer(program: &Path, repetitions: u32, time: Duration, within: Duration) -> Result<Vec<BoardSpeed>, String> {
    let [command, of_repetitions, of_time] = COMMAND;
    let mut asking = Command::new(program);
    asking.arg(command).args([of_repetitions, &repetitions.to_string(), of_time, &time.as_millis().to_string()]);
    let started = asking.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = started.map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
    let said = child.stdout.take();
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut text = Vec::new();
        let read = said.map_or(Ok(0), |said| said.take(MOST_BYTES).read_to_end(&mut text));
        // Nobody listens any more where it took too long.
        drop(send.send(read.map(|_| text)));
    });
    let Ok(read) = receive.recv_timeout(within) else {
        // A process that the driver holds need not end at once: it is not waited for here.
        drop(child.kill());
        thread::spawn(move || child.wait());
        return Err(format!("the driver did not answer within {} s", within.as_secs_f64()));
    };
    let ended = child.wait().map_err(|error| format!("the process that asked the driver is lost: {error}"))?;
    if !ended.success() {
        return Err(format!("the process that asked the driver ended with {ended}"));
    }
    let text = read.map_err(|error| format!("what was measured cannot be read: {error}"))?;
    let boards: Vec<BoardSpeed> =
        serde_json::from_slice(&text).map_err(|error| format!("what was measured cannot be read: {error}"))?;
    if boards.is_empty() { Err("the process that asked the driver told of no board".to_owned()) } else { Ok(boards) }
}

#[cfg(test)]
mod tests;
