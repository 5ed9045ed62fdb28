//! `phasebench machine --watch`: the machine's own speed over a while, kept in the cache.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use crate::clock::unix_ns;
use crate::commands::CommandError;
use crate::commands::scenario::machine_memory;
use crate::exit::Exit;
use crate::manifest;
use crate::record::manifest::Machine;
use crate::report::format;
use crate::speed::watch::{FORMAT, Look, Watched, keep, key, read};
use crate::speed::{self, Effort, caches};
use crate::terms::Kernel;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(10);
/// A turn of a kernel.
const TURN: Duration = Duration::from_millis(50);

/// What tells this machine from others that share its cache.
pub(super) fn key_of(machine: &Machine) -> String {
    let processor = machine.cpu_model.as_deref().unwrap_or(&machine.arch);
    let cores = machine.logical_cores.unwrap_or_default().to_string();
    let memory = machine.memory_gib.unwrap_or_default().to_string();
    key(&[processor, &cores, &memory, machine.firmware.as_deref().unwrap_or_default()])
}

/// Looks every ten seconds; whatever ends it, what was seen is kept.
///
/// # Errors
/// No memory for the buffer, the cache cannot be written, standard output refuses.
pub(super) fn execute(time: Duration, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let machine = manifest::machine::collect();
    let threads = speed::thread_counts(machine.usable_processors()).pop().unwrap_or(1);
    let (cache, own) = (crate::cache::root(), key_of(&machine));
    let buffer = speed::buffer(&caches::here(), machine_memory().ok());
    let kernels = vec![Kernel::Memory, Kernel::Compute];
    let effort = Effort { kernels, threads: vec![threads], repetitions: 3, time: TURN };
    let earlier = read(&cache, &own).filter(|watched| watched.threads == threads);
    let mut watched = earlier.unwrap_or(Watched { format: FORMAT, threads, looks: Vec::new() });
    let begin = Instant::now();
    loop {
        let unix_s = unix_ns() / 1_000_000_000;
        let located = speed::measure(&effort, buffer)?;
        let looks = located
            .iter()
            .filter_map(|speed| Some(Look { unix_s, kernel: speed.kernel, per_second: speed.location()?.value }));
        watched.looks.extend(looks);
        keep(&cache, &own, &watched)?;
        if begin.elapsed() + PAUSE > time {
            break;
        }
        thread::sleep(PAUSE);
    }
    let looks = watched.looks.len() / 2;
    match watched.run_to_run_sd() {
        Some(sd) => {
            writeln!(out, "{looks} looks are kept; minutes differ by {} (standard deviation)", format::percent(sd))?
        }
        None => writeln!(out, "{looks} looks are kept; how much minutes differ takes at least five of them to tell")?,
    }
    Ok(Exit::Good)
}
