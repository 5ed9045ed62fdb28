//! Processes of this machine as Linux shows them: what runs, and what it started.

use std::fs;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// Every process that is shown to this user.
pub fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether there is such a process.
#[must_use]
pub fn is_running(pid: u32) -> bool {
    fs::exists(format!("/proc/{pid}")).unwrap_or(false)
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

/// `pid (name) state ppid …`; the name may hold spaces and parentheses.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// The environment a process was started with, one `NAME=value` after the other, each ended by a 0. `None`: it is gone,
/// or the system does not show it to this user.
#[must_use]
pub fn environment(pid: u32) -> Option<Vec<u8>> {
    fs::read(format!("/proc/{pid}/environ")).ok()
}

/// Tells one boot of this machine from another. `None`: the system does not tell.
#[must_use]
pub fn boot_id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Resident memory of these processes together, in bytes. `None`: it cannot be told of any.
#[must_use]
pub fn resident(pids: &[u32]) -> Option<u64> {
    let of = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
    };
    let known: Vec<u64> = pids.iter().filter_map(of).collect();
    (!known.is_empty()).then(|| known.iter().sum())
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

/// The process that listens on a port of this machine; of several the one with the lowest number. `None`: none does, its
/// files are not shown to this user, or the address is no IPv4 one.
#[must_use]
pub fn listener(address: SocketAddr) -> Option<u32> {
    let SocketAddr::V4(address) = address else { return None };
    let sockets = fs::read_to_string("/proc/net/tcp").ok()?;
    let inode = sockets.lines().skip(1).find_map(|line| listening(line, address))?;
    let name = format!("socket:[{inode}]");
    let holds = |pid: &u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| target.as_os_str() == name.as_str())
    };
    pids().filter(holds).min()
}

/// The inode of a socket that listens at an address, by its line: `sl local remote state … inode`.
fn listening(line: &str, address: SocketAddrV4) -> Option<&str> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    let at = |ip: u32| format!("{:08X}:{:04X}", ip, address.port());
    // The kernel writes the address as the number it is in memory.
    let own = u32::from_ne_bytes(address.ip().octets());
    (*state == LISTEN && [at(own), at(0)].iter().any(|known| known == local)).then_some(*inode)
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
