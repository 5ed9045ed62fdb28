//! Any engine that serves the worker protocol: at an address, or as a program that is started.

use crate::scenario::check::not_expanded;
use crate::scenario::limits::{Limits, WORKER_PROCESS, WORKER_START_MS, load_ms};
use crate::scenario::node::Node;
use crate::scenario::problem::Problem;
use crate::scenario::section::{Choice, Kind, Section, default, optional, whole, words};
use crate::scenario::settings::{EngineSettings, Placed};
use crate::scenario::typed::{self, items, word};
use crate::terms::Dtype;
use crate::units::Bytes;

/// Any engine that serves the worker protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectSettings {
    /// Where it comes from.
    pub source: WorkerSource,
    /// Device by the engine's name, e.g. `cpu`, `cuda:0`.
    pub device: String,
    /// Weights and KV cache.
    pub dtype: Dtype,
    /// Threads inside an operator. `None`: the engine's choice.
    pub threads: Option<u32>,
    /// The engine's own settings, `key=value` each.
    pub options: Vec<(String, String)>,
}

/// Where somebody else's worker comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerSource {
    /// It runs already, and goes on.
    Address {
        /// `unix:/path/to/socket` or `tcp:127.0.0.1:PORT`.
        address: String,
        /// Environment variable that holds the token it wants. `None`: none.
        token_env: Option<String>,
    },
    /// A program and its arguments before `--listen`; started for each session and ended with it.
    Command(Vec<String>),
}

impl ConnectSettings {
    /// A worker at this address; everything else is as a scenario file leaves it out.
    #[must_use]
    pub fn at(address: &str) -> Self {
        Self::of(WorkerSource::Address { address: address.to_owned(), token_env: None })
    }

    /// A worker that this program starts; everything else is as a scenario file leaves it out.
    #[must_use]
    pub fn started(command: &[String]) -> Self {
        Self::of(WorkerSource::Command(command.to_vec()))
    }

    fn of(source: WorkerSource) -> Self {
        Self { source, device: "cpu".to_owned(), dtype: Dtype::F32, threads: None, options: Vec::new() }
    }
}

impl EngineSettings for ConnectSettings {
    const KEY: &'static str = "worker";
    const DOC: &'static str = "Any engine that serves the worker protocol, at an address or as a program to start.";
    const SECTION: &'static Section = &SECTION;

    fn build(section: &Node) -> Option<Self> {
        let source = match typed::optional_text(section, "address")? {
            Some(address) => WorkerSource::Address { address, token_env: typed::optional_text(section, "token_env")? },
            None => WorkerSource::Command(typed::each(section, "command", |word| word.text().map(str::to_owned))?),
        };
        Some(Self {
            source,
            device: typed::owned(section, "device")?,
            dtype: word(section.get("dtype")?)?,
            threads: typed::optional(section, "threads", Node::whole)?,
            options: typed::each(section, "options", option)?,
        })
    }

    fn contradictions(placed: Placed<'_>, problems: &mut Vec<Problem>) {
        if let Some(program) = items(placed.section, "command").first()
            && let Some(text) = program.text()
        {
            problems.extend(not_expanded(program.at, text, "`command`"));
        }
        if let Some(address) = placed.section.get("address")
            && let Some(text) = address.text()
            && !text.starts_with("unix:/")
            && !text.starts_with("tcp:127.0.0.1:")
        {
            let message = "`address` must be a Unix socket or a port of this machine's loopback";
            problems
                .push(Problem::new(address.at, message).help("allowed", "unix:/path/to/socket or tcp:127.0.0.1:PORT"));
        }
        if let Some(address) = placed.section.get("address")
            && let Some(other) = earlier_at(address, placed)
        {
            let message = format!("`{other}` has the worker at this address, and a worker serves one model at a time");
            problems.push(Problem::new(address.at, message).help("allowed", "one worker for each backend"));
        }
        if let Some(token) = placed.section.get("token_env")
            && placed.section.get("command").is_some()
        {
            let message = "a worker that is started is given a token of its own; `token_env` is of one at an address";
            problems.push(Problem::new(token.at, message).help("try", "remove `token_env`"));
        }
        for option in items(placed.section, "options") {
            if option.text().is_some_and(|text| !text.contains('=')) {
                problems.push(Problem::new(option.at, "an option is `key=value`"));
            }
        }
    }
}

/// The name of a backend before this one whose worker has the same address. `None`: there is none.
fn earlier_at<'a>(address: &Node, placed: Placed<'a>) -> Option<&'a str> {
    let address = address.text()?;
    let before = items(placed.file, "backends").iter().take_while(|other| other.at != placed.backend.at);
    let mut workers = before.filter_map(|other| Some((other, other.get(ConnectSettings::KEY)?)));
    let (other, _) = workers.find(|(_, worker)| typed::text(worker, "address") == Some(address))?;
    typed::text(other, "name")
}

fn option(node: &Node) -> Option<(String, String)> {
    let (key, value) = node.text()?.split_once('=')?;
    Some((key.to_owned(), value.to_owned()))
}

impl Limits for ConnectSettings {
    fn kind(&self) -> &'static str {
        Self::KEY
    }

    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn threads(&self) -> Option<u32> {
        self.threads
    }

    fn asks_for_board(&self) -> bool {
        self.device.starts_with("cuda")
    }

    /// One worker holds one model; of those that are started there are as many as models.
    fn max_resident(&self) -> Option<u32> {
        match self.source {
            WorkerSource::Address { .. } => Some(1),
            WorkerSource::Command(_) => None,
        }
    }

    /// As the torch worker, for want of anything better known.
    fn resident(&self, weights: Bytes, cache: Bytes) -> Bytes {
        Bytes(weights.0.saturating_add(WORKER_PROCESS.0).saturating_add(cache.0))
    }

    fn load_ms(&self, millions: f64) -> f64 {
        load_ms(WORKER_START_MS, millions)
    }
}

const SECTION: Section = Section {
    what: "a worker",
    choice: Some(Choice { what: "address or command", keys: &["address", "command"] }),
    fields: &[
        optional("address", Kind::Text, "unix:/path/to/socket or tcp:127.0.0.1:PORT of a worker that runs already."),
        optional(
            "command",
            Kind::List { item: &Kind::Text, min: 1, unique: false },
            "A program and its arguments, started for each session with --listen ADDRESS --exit-on-stdin-close; relative \
             paths start where phasebench runs.",
        ),
        optional("token_env", Kind::Text, "Environment variable that holds the token a worker at an address wants."),
        default("device", Kind::Text, "cpu", "Device by the engine's name, e.g. cpu or cuda:0."),
        optional("threads", whole(1, 1024), "Threads inside an operator; the engine's choice if not given."),
        default("dtype", words(&["f32", "f16"]), "f32", "Weights and KV cache."),
        default(
            "options",
            Kind::List { item: &Kind::Text, min: 0, unique: true },
            "[]",
            "The engine's own settings, `key=value` each.",
        ),
    ],
};
