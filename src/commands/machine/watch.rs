//! `phasebench machine --watch`: the machine's own speed over a while, kept in the cache.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::backend::Deadline;
use crate::clock::unix_ns;
use crate::commands::CommandError;
use crate::commands::scenario::machine_memory;
use crate::exit::Exit;
use crate::manifest;
use crate::record::manifest::{Machine, Tool};
use crate::report::format;
use crate::signals::cancelled_by_signals;
use crate::speed::watch::{FEWEST_RUNS, FORMAT, Look, ModelLook, Watched, keep, key, read};
use crate::speed::{self, Effort, caches};
use crate::store::io_error;
use crate::terms::Kernel;

use super::model::SmallModel;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(10);
/// A turn of a kernel.
const TURN: Duration = Duration::from_millis(50);

/// What tells this machine from others that share its cache.
pub(in crate::commands) fn key_of(machine: &Machine) -> String {
    let processor = machine.cpu_model.as_deref().unwrap_or(&machine.arch);
    let cores = machine.logical_cores.unwrap_or_default().to_string();
    let memory = machine.memory_gib.unwrap_or_default().to_string();
    key(&[processor, &cores, &memory, machine.firmware.as_deref().unwrap_or_default()])
}

/// What tells this program on this system from others: what they see is not mixed.
fn program(machine: &Machine) -> String {
    let Tool { version, commit, profile, .. } = Tool::this();
    let told = |value: Option<String>| value.unwrap_or_default();
    key(&[&version, &told(commit), &told(profile), machine.kernel.as_deref().unwrap_or_default()])
}

/// Looks every ten seconds, at the kernels and at a small model; whatever ends it, what was seen is kept.
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
    let mut watched = earlier.unwrap_or(Watched { format: FORMAT, threads, looks: Vec::new(), model: Vec::new() });
    let cancel = cancelled_by_signals()?;
    let mut model = SmallModel::ready(&cancel)?;
    let program = program(&machine);
    let begin = Instant::now();
    while !cancel.is_cancelled() {
        let unix_s = unix_ns() / 1_000_000_000;
        let located = speed::measure(&effort, buffer)?;
        watched.looks.extend(located.iter().filter_map(|speed| {
            let per_second = speed.location()?.value;
            Some(Look { unix_s, stack: program.clone(), kernel: speed.kernel, per_second })
        }));
        if let Some(model) = &mut model
            && let Some(ms) = model.look()
        {
            watched.model.push(ModelLook { unix_s, stack: model.stack.clone(), ms });
        }
        keep(&cache, &own, &watched).map_err(io_error(&cache, "write"))?;
        if begin.elapsed() + PAUSE > time {
            break;
        }
        cancel.wait(Deadline(PAUSE), || false);
    }
    let looks = watched.looks.len() / 2;
    match watched.run_to_run_sd() {
        Some(sd) => {
            writeln!(out, "{looks} looks are kept; minutes differ by {} (standard deviation)", format::percent(sd))?
        }
        None => writeln!(out, "{looks} looks are kept; how much minutes differ takes at least five of them to tell")?,
    }
    if let Some(found) = watched.model_run_to_run(FEWEST_RUNS) {
        let (minutes, sd) = (found.minutes, format::percent(found.ln));
        writeln!(out, "a small model on ONNX Runtime: {minutes} minutes, which differ by {sd}")?;
    }
    Ok(Exit::Good)
}
