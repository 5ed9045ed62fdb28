//! `phasebench doctor --clean`: removes what killed runs have left.

use std::io::{self, Write};

use crate::backend::worker::folder;
use crate::backend::worker::launch::docker::leftovers::{self, Leftover};
use crate::backend::worker::launch::docker::{engine, engine::DockerEngine};
use crate::exit::Exit;

/// Removes containers and folders of workers whose run is gone, with the processes in them, and says which. Those of
/// running processes, of other machines and of other programs stay.
///
/// # Errors
/// An engine that lists containers and does not remove them; `out` cannot be written.
pub fn execute(out: &mut dyn Write) -> anyhow::Result<Exit> {
    let temporary = std::env::temp_dir();
    for folder in folder::sweep(&temporary) {
        writeln!(out, "removed {}: its run is gone", folder.display())?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match engine::connect().await {
            Ok(engine) => containers(&engine, out).await?,
            // Without an engine there are no containers: nothing is left, and nothing is wrong.
            Err(error) => writeln!(out, "no containers were looked for: {error}")?,
        }
        Ok(Exit::Good)
    })
}

async fn containers(engine: &DockerEngine, out: &mut dyn Write) -> anyhow::Result<()> {
    let found = leftovers::sweep(engine).await.map_err(|why| anyhow::anyhow!("docker at {}: {why}", engine.host))?;
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
