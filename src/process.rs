//! Processes of this machine as Linux shows them: what runs, what it started, what it uses and was given.
//!
//! What the system does not show to this user is unknown, not assumed: `None`, or left out of a list.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use procfs::net::TcpState;
use procfs::process::{ClearRefs, FDTarget, Process};

use crate::units::Bytes;

/// Every process that is shown to this user.
pub fn pids() -> impl Iterator<Item = u32> {
    let processes = procfs::process::all_processes().into_iter().flatten().flatten();
    processes.filter_map(|process| u32::try_from(process.pid()).ok())
}

fn shown(pid: u32) -> Option<Process> {
    Process::new(i32::try_from(pid).ok()?).ok()
}

/// A process and everything it started that still runs.
#[must_use]
pub fn tree(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = pids().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&pid) = tree.get(next) {
        tree.extend(parents.iter().filter(|(child, parent)| *parent == pid && *child != pid).map(|(child, _)| *child));
        next += 1;
    }
    tree
}

fn parent(pid: u32) -> Option<u32> {
    u32::try_from(shown(pid)?.stat().ok()?.ppid).ok()
}

/// When a process started. Unit: ticks after the boot. `None`: there is none, or it has ended and nobody has collected
/// it yet.
#[must_use]
pub fn started(pid: u32) -> Option<u64> {
    let stat = shown(pid)?.stat().ok()?;
    (stat.state != 'Z').then_some(stat.starttime)
}

/// The environment a process was started with. `None`: it is gone, or the system does not show it to this user.
#[must_use]
pub fn environment(pid: u32) -> Option<HashMap<OsString, OsString>> {
    shown(pid)?.environ().ok()
}

/// The words a process was started with, its own name first. `None`: it is gone, or the system does not show it.
#[must_use]
pub fn command_line(pid: u32) -> Option<Vec<String>> {
    shown(pid)?.cmdline().ok()
}

/// Whether one of a process's control groups has this in its name.
#[must_use]
pub fn is_in_group(pid: u32, name: &str) -> bool {
    let groups = shown(pid).and_then(|process| process.cgroups().ok());
    groups.is_some_and(|groups| groups.0.iter().any(|group| group.pathname.contains(name)))
}

/// Tells this process's namespace of process numbers from others. `None`: the system does not tell.
#[must_use]
pub fn namespace() -> Option<u64> {
    let namespaces = Process::myself().ok()?.namespaces().ok()?;
    namespaces.0.get(std::ffi::OsStr::new("pid")).map(|namespace| namespace.identifier)
}

/// Tells one boot of this machine from another. `None`: the system does not tell.
#[must_use]
pub fn boot_id() -> Option<String> {
    procfs::sys::kernel::random::boot_id().ok().filter(|id| !id.is_empty())
}

/// Processes that the kernel has killed for lack of memory since it started. `None`: it does not tell.
#[must_use]
pub fn killed_for_memory() -> Option<u64> {
    let counters = procfs::vmstat().ok()?;
    u64::try_from(*counters.get("oom_kill")?).ok()
}

/// Resident memory of these processes together. `None`: it cannot be told of any.
#[must_use]
pub fn resident(pids: &[u32]) -> Option<Bytes> {
    let known: Vec<u64> = pids.iter().filter_map(|&pid| resident_of(&shown(pid)?)).collect();
    (!known.is_empty()).then(|| Bytes(known.iter().sum()))
}

fn resident_of(process: &Process) -> Option<u64> {
    Some(process.statm().ok()?.resident * procfs::page_size())
}

/// A stretch over which this process's peak of memory is told.
#[derive(Debug, Clone, Copy)]
pub struct MemoryStretch {
    /// Whether the system's peak counts from the beginning; otherwise it is that of all before.
    begun: bool,
}

impl MemoryStretch {
    /// Begins it: the system's peak of the resident set becomes what is resident now.
    #[must_use]
    pub fn begin() -> Self {
        let begun = Process::myself().and_then(|process| process.clear_refs(ClearRefs::PeakRSS));
        Self { begun: begun.is_ok() }
    }

    /// Resident set now and at its largest since the beginning. `None`: the system does not tell.
    #[must_use]
    pub fn resident(self) -> (Option<Bytes>, Option<Bytes>) {
        let Ok(process) = Process::myself() else { return (None, None) };
        let Ok(status) = process.status() else { return (resident_of(&process).map(Bytes), None) };
        let of_kib = |kib: u64| Bytes(kib * 1024);
        (status.vmrss.map(of_kib), status.vmhwm.map(of_kib).filter(|_| self.begun))
    }
}

/// Ends a process at once. Does nothing where it is gone or somebody else's.
pub fn kill(pid: u32) {
    if let Some(pid) = libc::pid_t::try_from(pid).ok().filter(|&pid| pid > 1) {
        // SAFETY: takes two numbers; a process id above 1 is one process and no group.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}

/// The process at the other end of a Unix socket. `None`: it is in a namespace that this process does not see.
#[must_use]
pub fn peer(stream: &UnixStream) -> Option<u32> {
    let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut size = libc::socklen_t::try_from(size_of::<libc::ucred>()).ok()?;
    let socket = stream.as_raw_fd();
    // SAFETY: the system writes at most `size` bytes to `found`, which is as large; both live until it returns.
    let told = unsafe {
        libc::getsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast::<libc::c_void>(),
            &raw mut size,
        )
    };
    u32::try_from(found.pid).ok().filter(|&pid| told == 0 && pid > 0)
}

/// The process that listens on a port of this machine, at an address that `is_meant`; of several the one with the lowest
/// number. `None`: none does, or its files are not shown to this user.
#[must_use]
pub fn listener(port: u16, is_meant: impl Fn(IpAddr) -> bool) -> Option<u32> {
    let sockets = [procfs::net::tcp(), procfs::net::tcp6()].into_iter().flatten().flatten();
    let mut listening =
        sockets.filter(|socket| socket.state == TcpState::Listen && socket.local_address.port() == port);
    let inode = listening.find(|socket| is_meant(socket.local_address.ip().to_canonical()))?.inode;
    pids().filter(|&pid| has_open(pid, inode)).min()
}

/// Whether a process has this socket open.
fn has_open(pid: u32, socket: u64) -> bool {
    let files = shown(pid).and_then(|process| process.fd().ok());
    files.into_iter().flatten().flatten().any(|file| matches!(file.target, FDTarget::Socket(inode) if inode == socket))
}

/// A handle that becomes readable when the process ends.
///
/// # Errors
/// The system's words; `ESRCH` where there is no such process.
pub fn handle(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes two numbers; what it returns is a new file of this process, or negative.
    let file = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(pid), 0) };
    match libc::c_int::try_from(file) {
        // SAFETY: the system has just opened it for us alone.
        Ok(file) if file >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(file) }),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn this_process_is_there() {
        let this = std::process::id();
        assert!(started(this).is_some() && started(u32::MAX).is_none() && started(i32::MAX.unsigned_abs()).is_none());
        assert!(tree(this).contains(&this));
        assert!(started(this) > Some(0));
        assert!(environment(this).unwrap().contains_key(std::ffi::OsStr::new("PATH")));
        assert!(namespace() > Some(0));
        assert_eq!(boot_id().unwrap().len(), 36);
    }

    #[test]
    fn memory_grows_with_what_is_written() {
        let this = [std::process::id()];
        let (before, stretch) = (resident(&this).unwrap(), MemoryStretch::begin());
        let written = vec![1_u8; 64 << 20];
        let (now, peak) = stretch.resident();
        assert!(now.unwrap().0 >= before.0 + (32 << 20), "{before:?} {now:?}");
        // Not every system lets a process reset its peak.
        assert!(peak.is_none_or(|peak| peak.0 >= before.0 + (32 << 20)), "{before:?} {peak:?}");
        assert_eq!(written.len(), 64 << 20);
        assert_eq!(resident(&[u32::MAX]), None);
    }

    #[test]
    fn a_listener_is_found_by_its_port_and_a_connection_is_none() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let connected = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let this = Some(std::process::id());
        assert_eq!(listener(port, |_| true), this);
        assert_eq!(listener(port, |ip| ip == Ipv4Addr::LOCALHOST), this);
        assert_eq!(listener(port, |ip| ip == Ipv4Addr::new(127, 0, 0, 2)), None);
        assert_eq!(listener(connected.local_addr().unwrap().port(), |_| true), None);
    }
}
