//! `phasebench doctor --clean`: removes what killed programs have left, and shows and trims the cache.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::backend::onnx::library;
use crate::backend::worker::folder;
use crate::backend::worker::launch::docker::leftovers::{self, Leftover};
use crate::backend::worker::launch::docker::{engine, engine::DockerEngine};
use crate::backend::worker::torch;
use crate::cache::{self, Entry, Keep};
use crate::cli::DoctorArgs;
use crate::commands::CommandError;
use crate::commands::error::EngineRefused;
use crate::exit::Exit;
use crate::files;
use crate::terminal::warn;
use crate::units::Bytes;

const DAY: u64 = 24 * 3600;

/// Removes unfinished files of the cache, containers and folders of workers whose program is gone, with the processes in
/// them, and says which. Those of running processes, of other machines and of other programs stay. Then shows what the
/// cache holds, and which of it is too much for what is asked for; that is removed only if `--yes` says so.
///
/// # Errors
/// An engine that lists containers and does not remove them; the cache is in use, or cannot be written; `out` cannot be
/// written.
pub fn execute(args: &DoctorArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let temporary = std::env::temp_dir();
    for folder in folder::sweep(&temporary) {
        writeln!(out, "removed {}: its run is gone", folder.display())?;
    }
    let root = cache::root();
    for unfinished in files::sweep_below(&root) {
        writeln!(out, "removed {}: whoever made it is gone", unfinished.display())?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match engine::connect().await {
            Ok(engine) => containers(&engine, out).await?,
            // Without an engine there are no containers: nothing is left, and nothing is wrong.
            Err(error) => writeln!(out, "no containers were looked for: {error}")?,
        }
        Ok::<(), CommandError>(())
    })?;
    let entries = cache::entries(&root);
    show(&root, &entries, out)?;
    match args.keep {
        Some(keep) => trim(&root, &entries, keep, args.yes, out),
        None => Ok(Exit::Good),
    }
}

fn show(root: &Path, entries: &[Entry], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "cache {}: {}", root.display(), total(entries.iter()))?;
    let now = SystemTime::now();
    for Entry { path, bytes, used } in entries {
        let unused = now.duration_since(*used).map_or(0, |unused: Duration| unused.as_secs() / DAY);
        let unused = if unused == 0 { "used today".to_owned() } else { format!("unused for {unused} d") };
        let name = path.strip_prefix(root).unwrap_or(path);
        writeln!(out, "  {:>10}  {unused:16}  {}", bytes.to_string(), name.display())?;
    }
    Ok(())
}

/// Says what is too much, and removes it if `really`.
fn trim(root: &Path, entries: &[Entry], keep: Keep, really: bool, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let surplus = cache::surplus(entries, keep, &needed(root), SystemTime::now());
    if surplus.is_empty() {
        writeln!(out, "nothing of it is too much")?;
        return Ok(Exit::Good);
    }
    let alone = if really { cache::hold_alone(root)? } else { None };
    if really && alone.is_none() {
        warn("another phasebench works with the cache: nothing was removed");
        return Ok(Exit::Store);
    }
    for entry in &surplus {
        if really {
            cache::remove(entry)?;
        }
        writeln!(out, "{} {}", if really { "removed" } else { "would be removed:" }, entry.path.display())?;
    }
    let bytes = total(surplus.iter().copied());
    writeln!(out, "{bytes} {}", if really { "removed" } else { "would be removed; add --yes to remove them" })?;
    Ok(Exit::Good)
}

/// Files of the runtimes in use, which only `setup` brings back.
fn needed(root: &Path) -> Vec<PathBuf> {
    let library = library::locate(root).ok().map(|found| found.path);
    let torch = torch::find(root).ok().map(|found| [found.python, found.package]);
    library.into_iter().chain(torch.into_iter().flatten()).collect()
}

fn total<'a>(entries: impl Iterator<Item = &'a Entry>) -> Bytes {
    Bytes(entries.map(|entry| entry.bytes.0).sum())
}

async fn containers(engine: &DockerEngine, out: &mut dyn Write) -> Result<(), CommandError> {
    let refused = |why| EngineRefused { host: engine.host.clone(), why };
    let found = leftovers::sweep(engine).await.map_err(refused)?;
    if found.is_empty() {
        writeln!(out, "docker at {}: no container is left of an earlier run", engine.host)?;
    }
    found.iter().try_for_each(|leftover| tell(leftover, out))?;
    Ok(())
}

fn tell(leftover: &Leftover, out: &mut dyn Write) -> io::Result<()> {
    let Leftover { container, run, owner_pid, status } = leftover;
    let id = container.get(..12).unwrap_or(container);
    // One that was not a worker's has none.
    let of = if run.is_empty() { String::new() } else { format!(" of run {run}") };
    writeln!(out, "removed container {id}{of} ({status}): its process {owner_pid} is gone")
}
