//! `phasebench machine`: how fast this machine reads memory and computes, without any engine.

use std::io::Write;
use std::time::Duration;

use crate::cli::MachineArgs;
use crate::commands::CommandError;
use crate::commands::columns::aligned_table;
use crate::exit::Exit;
use crate::record::manifest::Machine;
use crate::report::chart::rates;
use crate::report::document::{Table, Text};
use crate::report::format;
use crate::speed;
use crate::store::{io_error, write_atomically};
use crate::terms::Kernel;

use found::{Found, SpeedRow};

mod boards;
mod found;
mod meaning;
mod model;
mod watch;

pub(super) use watch::key_of;

/// Rounds and the length of a turn: the median of 15 is known to about a third of their spread.
const REPETITIONS: u32 = 15;
const TURN: Duration = Duration::from_millis(50);
/// Rounds where a second must do.
const BRIEF_REPETITIONS: u32 = 6;
/// The chart's file.
const CHART: &str = "machine.svg";
/// What is printed with `--json`, as a file.
const FOUND: &str = "machine.json";

/// Measures and prints.
///
/// # Errors
/// No memory for the buffer, a file that cannot be written, standard output refuses.
pub fn execute(args: &MachineArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    if let Some(time) = args.watch {
        return watch::execute(time, out);
    }
    let threads = (!args.threads.is_empty()).then(|| args.threads.clone());
    let mut found = Found::measure(threads, Kernel::OF_PROCESSOR.to_vec(), REPETITIONS, TURN)?;
    found.boards = boards::measured(REPETITIONS, TURN);
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder).map_err(io_error(folder, "create"))?;
        write_atomically(&folder.join(FOUND), &serde_json::to_vec_pretty(&found)?)?;
        if let Ok(chart) = rates(&found.chart()) {
            write_atomically(&folder.join(CHART), chart.standalone().as_bytes())?;
        }
    }
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&found)?)?;
    } else {
        print(&found, out)?;
    }
    if let Some(folder) = args.out.as_ref().filter(|_| !args.json) {
        writeln!(out, "\nchart: {}", folder.join(CHART).display())?;
    }
    Ok(Exit::Good)
}

/// Memory and compute with all processors, in a second, as one line. `None`: no memory for it.
pub(super) fn brief(machine: &Machine) -> Option<String> {
    let threads = speed::thread_counts(machine.usable_processors()).pop();
    let kernels = vec![Kernel::Memory, Kernel::Compute];
    let found = Found::measure(threads.map(|threads| vec![threads]), kernels, BRIEF_REPETITIONS, TURN).ok()?;
    let told = found.speeds.iter().map(|row| format!("{} {}", row.kernel, row.with_unit()));
    let threads = threads
        .map_or_else(String::new, |threads| format!(" with {} (see: phasebench machine)", meaning::threads(threads)));
    Some(format!("{}{threads}{}", told.collect::<Vec<_>>().join(", "), meaning::beside(&found)))
}

/// The boards in one line, and whether each has a figure. `None`: there is none.
pub(super) fn brief_of_boards() -> Option<(String, bool)> {
    let boards = boards::measured(BRIEF_REPETITIONS, TURN);
    let told: Vec<String> = boards.iter().map(boards::BoardRow::brief).collect();
    (!told.is_empty()).then(|| (told.join("; "), boards.iter().all(boards::BoardRow::is_measured)))
}

/// The table and what it means.
fn print(found: &Found, out: &mut dyn Write) -> Result<(), CommandError> {
    let processor = found.machine.cpu_model.as_deref().unwrap_or(&found.machine.arch);
    writeln!(out, "{processor}, {}{}", found.machine.usable(), meaning::caches(&found.caches))?;
    writeln!(out, "vectors of {} bits; {} are read\n", found.vector_bits, found.buffer_bytes)?;
    let counts = found.thread_counts();
    let cell = |kernel| move |threads: &u32| found.of(kernel, *threads).map_or_else(String::new, figures);
    let table = Table::of(&counts)
        .count("threads", |threads| *threads)
        .interval("memory", "GB/s", "95 %", cell(Kernel::Memory))
        .interval("memory, plain pages", "GB/s", "95 %", cell(Kernel::MemoryPlain))
        .interval("compute", "GFLOP/s", "95 %", cell(Kernel::Compute))
        .captioned(Text::default());
    for line in aligned_table(&table) {
        writeln!(out, "{line}")?;
    }
    writeln!(out)?;
    for sentence in meaning::sentences(found).into_iter().chain(found.boards.iter().map(boards::BoardRow::sentence)) {
        writeln!(out, "{sentence}")?;
    }
    Ok(())
}

/// Median and interval in thousand millions.
fn figures(row: &SpeedRow) -> String {
    let bounds = row.low.zip(row.high).map(|(low, high)| (low / 1e9, high / 1e9));
    format::interval(row.per_second / 1e9, bounds)
}
