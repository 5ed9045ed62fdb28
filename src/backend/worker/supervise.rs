//! A worker's keeper: a small process between us and the worker, so that nothing the worker started outlives us.
//!
//! It adopts whatever the worker's children leave behind, and ends all of it when its standard input is closed (which
//! the kernel does when we die, however we die), when it is asked to end, and when the worker ends by itself. If the
//! keeper itself is killed the kernel kills the worker; what that one had started is found by its environment, see
//! [`super::folder`].

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::launch::WorkerEnd;
use crate::process::{kill, tree};

/// Runs a command until it ends or has to. Its standard input stays open as long as the keeper lives.
///
/// # Errors
/// The command cannot be started, or the system refuses what a keeper needs.
pub fn run(command: &[OsString]) -> io::Result<WorkerEnd> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no command"))?;
    adopt_orphans()?;
    ctrlc::set_handler(end_descendants).map_err(io::Error::other)?;
    let keeper = std::process::id();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped());
    // SAFETY: between fork and exec only system calls are made, nothing is allocated and no lock is taken.
    unsafe { command.pre_exec(move || die_with(keeper)) };
    let unstartable = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", program.display()));
    let mut child = command.spawn().map_err(unstartable)?;
    let held_open = child.stdin.take();
    std::thread::spawn(|| {
        let mut byte = [0];
        // Whatever ends the reading, nobody is left who wants the worker.
        while io::stdin().read(&mut byte).is_ok_and(|read| read > 0) {}
        end_descendants();
    });
    let worker = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    let ended = loop {
        match reap()? {
            Some((pid, ended)) if pid == worker => break ended,
            Some(_) => {}
            None => break WorkerEnd::default(),
        }
    };
    loop {
        end_descendants();
        if reap()?.is_none() {
            drop(held_open);
            return Ok(ended);
        }
    }
}

/// Kills everything below this process; what a killed process had started is then below this one too.
fn end_descendants() {
    tree(std::process::id()).into_iter().skip(1).for_each(kill);
}

/// Waits for one child, own or adopted. `None`: there is none.
fn reap() -> io::Result<Option<(libc::pid_t, WorkerEnd)>> {
    let mut status = 0;
    loop {
        // SAFETY: writes one int to a place that is valid for it.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, 0) };
        if pid > 0 {
            let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
            let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
            return Ok(Some((pid, WorkerEnd { code, signal, out_of_memory: false })));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ECHILD) => return Ok(None),
            Some(libc::EINTR) => {}
            _ => return Err(error),
        }
    }
}

/// Ends this process as the worker ended, so that whoever waits for the keeper sees how.
pub fn end_like(ended: WorkerEnd) -> ! {
    if let Some(signal) = ended.signal {
        leave_no_core();
        // SAFETY: takes numbers; restores the signal's default action and sends it to this process.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }
    std::process::exit(ended.code.unwrap_or(1))
}

#[cfg(target_os = "linux")]
fn adopt_orphans() -> io::Result<()> {
    // SAFETY: takes numbers and changes this process only.
    match unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// In the child, before it becomes the worker: a session of its own, and death with its keeper.
#[cfg(target_os = "linux")]
fn die_with(keeper: u32) -> io::Result<()> {
    // SAFETY: these take numbers and change this process only.
    let alone = unsafe {
        libc::setsid();
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        libc::getppid()
    };
    // The keeper may have died before the kernel was told.
    if u32::try_from(alone) == Ok(keeper) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
}

/// The worker's own memory may be worth an image; the keeper's is not.
#[cfg(target_os = "linux")]
fn leave_no_core() {
    // SAFETY: takes numbers and changes this process only.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
}

#[cfg(not(target_os = "linux"))]
fn adopt_orphans() -> io::Result<()> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn die_with(_keeper: u32) -> io::Result<()> {
    // SAFETY: takes nothing and changes this process only.
    unsafe { libc::setsid() };
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn leave_no_core() {}
