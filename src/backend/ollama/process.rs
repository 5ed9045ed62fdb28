//! The server as a process of this machine: who listens, what it started, which environment it was given.
//!
//! A server's settings are in its environment and no request tells them. Where the system does not show another
//! user's process everything here is unknown, not assumed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::sync::{Mutex, PoisonError};

use crate::backend::text::clean;
use crate::process::{command_line, environment, started};
pub use crate::process::{resident, tree};

/// A server's process, and what it was started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerProcess {
    /// Its number.
    pub pid: u32,
    /// When it was started, in the kernel's clock ticks since boot: tells it from a later process of the same number.
    pub started: u64,
    /// Its settings. `None`: the system does not show its environment.
    pub settings: Option<BTreeMap<String, String>>,
    /// Its arguments. `None`: the system does not show them.
    pub arguments: Option<Vec<String>>,
}

impl ServerProcess {
    /// The process of this number. `None`: there is none.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let arguments = command_line(pid).map(|line| line.iter().skip(1).map(|word| clean(word)).collect());
        Some(Self { pid, started: started(pid)?, settings: settings(pid), arguments })
    }

    /// Whether it still runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        started(self.pid) == Some(self.started)
    }

    /// What of its settings another process has otherwise, in words. `None`: nothing, as far as both are known.
    #[must_use]
    pub fn differs(&self, other: &Self) -> Option<String> {
        if let (Some(was), Some(is)) = (&self.settings, &other.settings) {
            let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
            let shown =
                |value: Option<&String>| value.map_or_else(|| "not set".to_owned(), |value| format!("`{value}`"));
            let changed = names.into_iter().filter(|name| was.get(*name) != is.get(*name));
            let changed: Vec<String> = changed
                .map(|name| format!("{name} was {}, is {}", shown(was.get(name)), shown(is.get(name))))
                .collect();
            if !changed.is_empty() {
                return Some(changed.join("; "));
            }
        }
        let (was, is) = (self.arguments.as_ref()?, other.arguments.as_ref()?);
        (was != is).then(|| format!("its arguments were `{}`, are `{}`", was.join(" "), is.join(" ")))
    }
}

/// Runners that loads of this process started, in whatever session and below whatever server, with when each began: what
/// they do is our work. All others below a server are somebody else's.
static OURS: Mutex<BTreeMap<u32, u64>> = Mutex::new(BTreeMap::new());

/// Remembers the processes that appeared below a server during a load.
pub fn add_runners(runners: impl IntoIterator<Item = u32>) {
    let known = runners.into_iter().filter_map(|pid| Some((pid, started(pid)?)));
    OURS.lock().unwrap_or_else(PoisonError::into_inner).extend(known);
}

/// The server, and what of its tree works for us. Where no runner of ours below it is known it is the whole tree.
#[must_use]
pub fn ours(server: u32) -> Vec<u32> {
    let tree = tree(server);
    let mut runners = OURS.lock().unwrap_or_else(PoisonError::into_inner);
    runners.retain(|&pid, began| started(pid) == Some(*began));
    let below: Vec<u32> = runners.keys().copied().filter(|pid| tree.contains(pid)).collect();
    if below.is_empty() {
        return tree;
    }
    std::iter::once(server).chain(below.into_iter().flat_map(self::tree)).collect()
}

/// The process that listens on a port of this machine, at whatever address. `None`: it cannot be told.
#[must_use]
pub fn listener(port: u16) -> Option<u32> {
    crate::process::listener(port, |_| true)
}

/// What changes how a server answers or how fast: its settings, those it hands to its engine, and the devices it sees.
const SETTINGS: [&str; 5] = ["OLLAMA_", "LLAMA_ARG_", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GGML_"];

/// Variables whose value is a place on this machine and nobody's business.
const PRIVATE: [&str; 4] = ["OLLAMA_MODELS", "OLLAMA_ORIGINS", "OLLAMA_HOST", "OLLAMA_AUTH"];

/// The settings in a process's environment. `None`: the system does not show it.
#[must_use]
pub fn settings(pid: u32) -> Option<BTreeMap<String, String>> {
    environment(pid).map(only_settings)
}

fn only_settings(environment: HashMap<OsString, OsString>) -> BTreeMap<String, String> {
    let variables = environment.iter().map(|(name, value)| (name.to_string_lossy(), value.to_string_lossy()));
    let known = variables.filter(|(name, _)| {
        SETTINGS.iter().any(|prefix| name.starts_with(prefix)) && !PRIVATE.contains(&name.as_ref())
    });
    known.map(|(name, value)| (name.into_owned(), clean(&value))).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_a_later_one_of_its_number() {
        let own = ServerProcess::of(std::process::id()).unwrap();
        assert!(own.runs() && ServerProcess::of(u32::MAX).is_none());
        assert!(!ServerProcess { started: own.started + 1, ..own }.runs());
    }

    /// A server with two runners.
    struct Server {
        process: std::process::Child,
        runners: [u32; 2],
    }

    impl Server {
        fn start() -> Self {
            let mut server = std::process::Command::new("sh");
            let script = "sleep 1000 & echo $!; sleep 1000 & echo $!; wait";
            let mut process = server.args(["-c", script]).stdout(std::process::Stdio::piped()).spawn().unwrap();
            let mut lines = std::io::BufRead::lines(std::io::BufReader::new(process.stdout.take().unwrap()));
            let mut runner = || lines.next().unwrap().unwrap().parse::<u32>().unwrap();
            let runners = [runner(), runner()];
            Self { process, runners }
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            for pid in self.runners.into_iter().chain([self.process.id()]) {
                crate::process::kill(pid);
            }
            self.process.wait().unwrap();
        }
    }

    /// One of a server's runners is ours, the other's load is not; and what is known of one server is not forgotten when
    /// another is asked about.
    #[test]
    fn the_runners_of_others_are_not_ours() {
        let (a, b) = (Server::start(), Server::start());
        let (server, [mine, theirs]) = (a.process.id(), a.runners);
        let before = ours(server);
        assert!([mine, theirs].iter().all(|pid| before.contains(pid)), "as long as none is known all are");
        add_runners([mine]);
        assert_eq!(ours(server), [server, mine]);
        add_runners([b.runners[1]]);
        for _ in 0..2 {
            assert_eq!(ours(b.process.id()), [b.process.id(), b.runners[1]]);
            assert_eq!(ours(server), [server, mine]);
        }
    }

    #[test]
    fn other_settings_are_named() {
        let process = |settings: &[(&str, &str)], arguments: &[&str]| ServerProcess {
            pid: 1,
            started: 1,
            settings: Some(only_settings(settings.iter().map(|&(name, value)| (name.into(), value.into())).collect())),
            arguments: Some(arguments.iter().map(|&word| word.to_owned()).collect()),
        };
        let before =
            process(&[("OLLAMA_KV_CACHE_TYPE", "f16"), ("OLLAMA_NUM_PARALLEL", "1"), ("HOME", "/x")], &["serve"]);
        let same = ServerProcess {
            pid: 2,
            started: 9,
            ..process(&[("OLLAMA_NUM_PARALLEL", "1"), ("OLLAMA_KV_CACHE_TYPE", "f16")], &["serve"])
        };
        assert_eq!(before.differs(&same), None);
        let other = process(
            &[("OLLAMA_FLASH_ATTENTION", "1"), ("OLLAMA_KV_CACHE_TYPE", "q8_0"), ("OLLAMA_NUM_PARALLEL", "1")],
            &["serve"],
        );
        let words = before.differs(&other).unwrap();
        assert_eq!(words, "OLLAMA_FLASH_ATTENTION was not set, is `1`; OLLAMA_KV_CACHE_TYPE was `f16`, is `q8_0`");
        let hidden = ServerProcess { settings: None, ..other };
        assert_eq!(before.differs(&hidden), None, "what is not shown is unknown");
        let arguments = before.differs(&ServerProcess { arguments: Some(vec!["run".to_owned()]), ..hidden }).unwrap();
        assert_eq!(arguments, "its arguments were `serve`, are `run`");
    }

    #[test]
    fn nothing_else_is_kept() {
        let given =
            [("HOME", "/x"), ("OLLAMA_NUM_PARALLEL", "2"), ("OLLAMA_MODELS", "/secret"), ("LLAMA_ARG_CACHE_RAM", "0")];
        let found = only_settings(given.map(|(name, value)| (name.into(), value.into())).into());
        assert_eq!(found.len(), 2);
        assert_eq!(found["LLAMA_ARG_CACHE_RAM"], "0");
    }
}
