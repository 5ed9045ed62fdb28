//! Which process a container belongs to, in a label; and whether that process is gone.

use std::fmt;
use std::fs;
use std::str::FromStr;

use crate::hash::sha256_hex;
use crate::process::{boot_id, namespace, started};

/// A process, told apart from every later one with its number, from another boot and from another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Hash of the machine's id, since the id itself is to be kept private. Empty: the machine has none.
    machine: String,
    /// Which boot of it.
    boot: String,
    /// Namespace that the process id is of.
    namespace: String,
    pid: u32,
    /// When it started, in ticks after the boot.
    start: u64,
}

/// `machine/boot/namespace/pid/start`, as a label's value.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}/{}", self.machine, self.boot, self.namespace, self.pid, self.start)
    }
}

/// Whatever is not an owner of ours is nobody we may judge.
impl FromStr for Owner {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<&str> = text.split('/').collect();
        let [machine, boot, namespace, pid, start] = parts[..] else { return Err(()) };
        Ok(Self {
            machine: machine.to_owned(),
            boot: boot.to_owned(),
            namespace: namespace.to_owned(),
            pid: pid.parse().map_err(|_| ())?,
            start: start.parse().map_err(|_| ())?,
        })
    }
}

impl Owner {
    /// This process.
    #[must_use]
    pub fn this() -> Self {
        let pid = std::process::id();
        let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default().trim().to_owned();
        Self {
            machine: if machine.is_empty() { machine } else { sha256_hex(machine.as_bytes())[..12].to_owned() },
            boot: boot_id().unwrap_or_default(),
            namespace: namespace().map(|number| number.to_string()).unwrap_or_default(),
            pid,
            start: started(pid).unwrap_or(0),
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the process does not run any more, as far as this process can tell: `false` for another machine's, and
    /// for one whose numbers are not ours.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.is_gone_for(&Self::this())
    }

    fn is_gone_for(&self, this: &Self) -> bool {
        if self.machine != this.machine {
            return false;
        }
        if self.boot != this.boot {
            // Without an id of the machine another boot may be another machine.
            return !this.machine.is_empty() && !this.boot.is_empty() && !self.boot.is_empty();
        }
        self.namespace == this.namespace && started(self.pid) != Some(self.start)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn this_process_runs_and_survives_being_written() {
        let this = Owner::this();
        assert!(this.start > 0 && !this.boot.is_empty() && !this.namespace.is_empty(), "{this}");
        assert!(!this.is_gone());
        assert_eq!(this.to_string().parse::<Owner>().unwrap(), this);
        for text in ["", "a/b/c", "a/b/c/pid/1", "a/b/c/1/2/3"] {
            assert!(text.parse::<Owner>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_process_that_ended_is_gone_and_one_with_its_number_is_another() {
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let owner = Owner { pid: child.id(), start: started(child.id()).unwrap(), ..Owner::this() };
        assert!(!owner.is_gone());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(owner.is_gone());
        let earlier = Owner { start: Owner::this().start - 1, ..Owner::this() };
        assert!(earlier.is_gone());
    }

    #[test]
    fn others_are_not_judged() {
        let this = Owner { machine: "m".to_owned(), ..Owner::this() };
        let gone = Owner { start: 1, ..this.clone() };
        assert!(gone.is_gone_for(&this));
        assert!(!Owner { machine: "other".to_owned(), ..gone.clone() }.is_gone_for(&this));
        assert!(!Owner { namespace: "1".to_owned(), ..gone.clone() }.is_gone_for(&this));
        let rebooted = Owner { boot: "before".to_owned(), ..gone };
        assert!(rebooted.is_gone_for(&this));
        let nameless = Owner { machine: String::new(), ..this };
        assert!(!Owner { boot: "before".to_owned(), ..nameless.clone() }.is_gone_for(&nameless));
    }
}
