//! The library as the process has it open: once, however often it is opened.

use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use crate::Ns;
use crate::device::Device;
use crate::layout::Refusal;
use crate::load::Source;
use crate::settings::{Problem, Settings};
use crate::simulated::Load;

/// The variable that names the file of settings.
const VARIABLE: &str = "FAKE_NVML";

static SESSION: Mutex<Option<Session>> = Mutex::new(None);

struct Session {
    /// How often it is open.
    times: usize,
    opened: Instant,
    device: Device,
    source: Source,
}

impl Session {
    fn new(file: Option<&Path>) -> Result<Self, Vec<Problem>> {
        let settings = file.map_or_else(|| Ok(Settings::default()), Settings::read)?;
        let opened = Instant::now();
        let source = Source::open(&settings, opened)?;
        Ok(Self { times: 1, opened, device: Device::new(settings), source })
    }
}

fn session() -> MutexGuard<'static, Option<Session>> {
    SESSION.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens it with the settings that the environment names. Every opening needs its own closing.
pub fn open() -> Result<(), Refusal> {
    open_with(env::var_os(VARIABLE).as_deref().map(Path::new))
}

/// Opens it with the settings of `file`, or with the defaults. If it is open already, nothing is read.
pub fn open_with(file: Option<&Path>) -> Result<(), Refusal> {
    let mut session = session();
    match session.as_mut() {
        Some(session) => session.times += 1,
        None => *session = Some(Session::new(file).map_err(|problems| tell(&problems))?),
    }
    Ok(())
}

/// Says what is wrong; NVML has no way to return a text.
fn tell(problems: &[Problem]) -> Refusal {
    let mut error = io::stderr().lock();
    for problem in problems {
        let _ = writeln!(error, "error: {VARIABLE}: {problem}");
    }
    Refusal::Unknown
}

/// Closes it; the last closing ends everything.
pub fn close() -> Result<(), Refusal> {
    let mut session = session();
    let open = session.as_mut().ok_or(Refusal::Uninitialized)?;
    open.times -= 1;
    if open.times == 0 {
        *session = None;
    }
    Ok(())
}

/// Whether it is open.
pub fn is_open() -> Result<(), Refusal> {
    session().as_ref().map(|_| ()).ok_or(Refusal::Uninitialized)
}

/// How many boards there are, whatever has become of them.
pub fn boards() -> Result<u32, Refusal> {
    session().as_ref().map(|session| session.device.settings().boards).ok_or(Refusal::Uninitialized)
}

/// Asks the board, after the wait that the settings want: what it says is of the moment after the wait.
pub fn ask<T>(answer: impl FnOnce(&mut Device, &Load, Ns) -> Result<T, Refusal>) -> Result<T, Refusal> {
    let slow = session().as_ref().ok_or(Refusal::Uninitialized)?.device.settings().faults.slow;
    // Others may ask meanwhile.
    thread::sleep(slow);
    let mut session = session();
    let Session { opened, device, source, .. } = session.as_mut().ok_or(Refusal::Uninitialized)?;
    source.at_now(
        *opened,
        |load, now| {
            if device.lost(now) { Err(Refusal::GpuIsLost) } else { answer(device, load, now) }
        },
    )
}
