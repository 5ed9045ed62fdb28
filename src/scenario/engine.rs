//! The engines a scenario file can ask for.
//!
//! Each has a file below, with its settings, its keys, what these say about each other, and its limits. An engine is added
//! by such a file, a variant of [`Engine`], an item of [`ENGINES`] and an arm of [`Engine::limits`]; `backend::open` opens it.

pub mod ollama;
pub mod onnx;
pub mod simulated;
pub mod torch;
pub mod worker;

use std::path::Path;

use super::limits::Limits;
use super::node::Node;
use super::problem::Problem;
use super::section::Section;
use super::settings::{EngineSettings, Placed};

pub use ollama::{OllamaDevice, OllamaSettings};
pub use onnx::provider::Provider;
pub use onnx::{ArgMax, Isolation, OnnxSettings, Optimisation, RuntimeSource};
pub use simulated::{Fault, FaultKind, Law, Pace, SimulatedSettings};
pub use torch::compile::{CompileBackend, CompileMode, CompileSettings, Dynamic, OnRecompile};
pub use torch::{Launch, Resources, TorchDevice, TorchSettings, TorchSource};
pub use worker::{ConnectSettings, WorkerSource};

/// An engine with its settings.
#[derive(Debug, Clone, PartialEq)]
pub enum Engine {
    /// ONNX Runtime.
    Onnx(OnnxSettings),
    /// An Ollama server.
    Ollama(OllamaSettings),
    /// PyTorch, eager or compiled, in a worker.
    Torch(TorchSettings),
    /// Whatever serves the worker protocol.
    Worker(ConnectSettings),
    /// Scripted truth on a virtual clock.
    Simulated(Box<SimulatedSettings>),
}

impl Engine {
    /// What it cannot do, needs and costs, as it is set.
    #[must_use]
    pub fn limits(&self) -> &dyn Limits {
        match self {
            Self::Onnx(onnx) => onnx,
            Self::Ollama(ollama) => ollama,
            Self::Torch(torch) => torch,
            Self::Worker(worker) => worker,
            Self::Simulated(script) => script.as_ref(),
        }
    }

    /// The same in a fresh process for each session, where it would be in this one and can be in another.
    #[must_use]
    pub fn apart(self) -> Self {
        match self {
            Self::Onnx(onnx) => Self::Onnx(OnnxSettings { isolation: Isolation::Process, ..onnx }),
            other @ (Self::Ollama(_) | Self::Torch(_) | Self::Worker(_) | Self::Simulated(_)) => other,
        }
    }

    /// With paths that begin at `base`, the folder of the scenario file.
    #[must_use]
    pub fn below(self, base: &Path) -> Self {
        match self {
            Self::Onnx(onnx) => Self::Onnx(onnx.below(base)),
            Self::Torch(torch) => Self::Torch(torch.below(base)),
            other @ (Self::Ollama(_) | Self::Worker(_) | Self::Simulated(_)) => other,
        }
    }

    /// The settings of an Ollama server. `None`: it is another engine.
    #[must_use]
    pub fn as_ollama(&self) -> Option<&OllamaSettings> {
        match self {
            Self::Ollama(ollama) => Some(ollama),
            _ => None,
        }
    }
}

/// How one engine is asked for in a scenario file: `EngineSettings` of any type.
#[derive(Clone, Copy)]
pub struct EngineFormat {
    /// The key below a backend that chooses it.
    pub key: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// Its keys.
    pub section: &'static Section,
    /// The engine from its section, once that was checked.
    pub build: fn(&Node) -> Option<Engine>,
    /// See `EngineSettings::contradictions`.
    pub contradictions: fn(Placed<'_>, &mut Vec<Problem>),
    /// See `EngineSettings::asks_for_virtual_clock`.
    pub asks_for_virtual_clock: fn(&Node) -> Option<bool>,
}

const fn format<S: EngineSettings>(build: fn(&Node) -> Option<Engine>) -> EngineFormat {
    EngineFormat {
        key: S::KEY,
        doc: S::DOC,
        section: S::SECTION,
        build,
        contradictions: S::contradictions,
        asks_for_virtual_clock: S::asks_for_virtual_clock,
    }
}

/// Every engine, in the order in which they are documented.
pub const ENGINES: [EngineFormat; 5] = [
    format::<OnnxSettings>(|node| OnnxSettings::build(node).map(Engine::Onnx)),
    format::<OllamaSettings>(|node| OllamaSettings::build(node).map(Engine::Ollama)),
    format::<TorchSettings>(|node| TorchSettings::build(node).map(Engine::Torch)),
    format::<ConnectSettings>(|node| ConnectSettings::build(node).map(Engine::Worker)),
    format::<SimulatedSettings>(|node| {
        SimulatedSettings::build(node).map(|script| Engine::Simulated(Box::new(script)))
    }),
];

/// The engines that a backend names, each with its section: one where the file is right.
pub fn named(backend: &Node) -> impl Iterator<Item = (&'static EngineFormat, &Node)> {
    const ALL: &[EngineFormat] = &ENGINES;
    ALL.iter().filter_map(|engine| Some((engine, backend.get(engine.key)?)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fmt::Debug;

    use super::*;
    use crate::scenario::{check, node};

    /// What an empty section, or one with only what must be there, is checked and built to.
    fn built<S: EngineSettings>(yaml: &str) -> S {
        let mut problems = Vec::new();
        let mut section = node::parse(yaml, &mut problems).unwrap();
        check::section(&mut section, S::SECTION, &mut problems);
        assert!(problems.is_empty(), "{yaml}: {problems:?}");
        S::build(&section).unwrap()
    }

    fn defaults_are_documented<S: EngineSettings + Default + PartialEq + Debug>() {
        assert_eq!(built::<S>("{}"), S::default());
    }

    #[test]
    fn an_empty_section_is_the_default() {
        defaults_are_documented::<OnnxSettings>();
        defaults_are_documented::<OllamaSettings>();
        defaults_are_documented::<TorchSettings>();
        defaults_are_documented::<SimulatedSettings>();
        let address = "tcp:127.0.0.1:7000";
        let connected: ConnectSettings = built(&format!("{{ address: \"{address}\" }}"));
        assert_eq!(connected, ConnectSettings::at(address));
        let started: ConnectSettings = built("{ command: [python3, my_worker.py] }");
        assert_eq!(started, ConnectSettings::started(&["python3".to_owned(), "my_worker.py".to_owned()]));
        let compiled: TorchSettings = built("{ compile: {} }");
        assert_eq!(compiled.compile, Some(CompileSettings::default()));
    }

    #[test]
    fn sessions_of_an_engine_in_this_process_are_children_unless_it_says_otherwise() {
        let isolation = |engine: &str, sessions: u32| {
            let text = format!(
                "version: 1\nname: s\nsessions: {sessions}\nrepetitions: {{ fixed: 9 }}\nscenarios: [{{ name: s, prompt: {{ tokens: 8 }} }}]\n\
                 models: [{{ name: m, huggingface: m }}]\nbackends: [{{ name: b, onnx: {engine} }}]\n"
            );
            let file = crate::scenario::parse(&text, "s.yaml".as_ref(), "".as_ref()).unwrap();
            match &file.backends[0].engine {
                Engine::Onnx(onnx) => onnx.isolation,
                other => unreachable!("{other:?}"),
            }
        };
        assert_eq!(isolation("{}", 1), Isolation::None);
        assert_eq!(isolation("{}", 3), Isolation::Process);
        assert_eq!(isolation("{ isolation: none }", 3), Isolation::None);
        assert_eq!(isolation("{ isolation: process }", 1), Isolation::Process);
    }

    #[test]
    fn an_engine_is_known_by_one_key() {
        for engine in ENGINES {
            let mut problems = Vec::new();
            let section = if engine.key == "worker" { "{ address: \"unix:/s\" }" } else { "{}" };
            let mut node = node::parse(section, &mut problems).unwrap();
            check::section(&mut node, engine.section, &mut problems);
            let built = (engine.build)(&node).unwrap();
            assert_eq!(built.limits().kind(), engine.key);
            assert_eq!((engine.asks_for_virtual_clock)(&node), Some(built.limits().virtual_clock()), "{}", engine.key);
        }
    }
}
