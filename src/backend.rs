//! The engines: what each must do is in `contract`, one file or folder for each below.

use self::worker::WorkerBackend;
use self::worker::settings::Workers;
use crate::scenario::{BackendSettings, Engine, Isolation};

pub mod cancel;
mod contract;
mod failure;
pub mod http;
mod load_parts;
pub mod ollama;
pub mod onnx;
pub mod simulated;
pub mod text;
pub mod watch;
pub mod worker;

pub use cancel::{CancelToken, Deadline};
pub use contract::{
    Backend, Call, CallShape, Description, LibraryFacts, LoadReport, Memory, Outcome, Prepared, Probed, Reply,
    ServerFacts, Session, Span, SpanClock, Surroundings, Tell,
};
pub use failure::{BackendError, CompileFailure, Failure};
pub use worker::folder::RunWorkers;

/// The engine a scenario asks for; nothing is started or loaded yet.
#[must_use]
pub fn open(settings: &BackendSettings, surroundings: &Surroundings) -> Box<dyn Backend> {
    let name = &settings.name;
    match &settings.engine {
        Engine::Torch(torch) => Box::new(WorkerBackend::new(name, Workers::torch(torch), surroundings)),
        Engine::Worker(worker) => Box::new(WorkerBackend::new(name, Workers::of_others(worker), surroundings)),
        Engine::Onnx(onnx) if onnx.isolation == Isolation::Process => {
            Box::new(WorkerBackend::new(name, Workers::onnx(onnx), surroundings))
        }
        Engine::Onnx(onnx) => Box::new(onnx::OnnxBackend::new(name, onnx.clone(), surroundings.clone())),
        Engine::Ollama(ollama) => Box::new(ollama::OllamaBackend::new(name, ollama.clone(), surroundings.clone())),
        Engine::Simulated(script) => {
            Box::new(simulated::SimulatedBackend::new(name, script.as_ref().clone(), surroundings.clone()))
        }
    }
}
