//! Engines in another process, behind the worker protocol (`backends/proto/worker.proto`).
//!
//! - [`protocol`] is the generated code.

pub mod launch;
pub mod protocol;

use super::{
    Backend, BackendError, CallShape, CancelToken, Deadline, Description, Failure, Prepared, Session, Surroundings,
};
use crate::model::ModelSource;
use crate::spec::Engine;

/// An engine behind the worker protocol.
pub struct WorkerBackend {}

impl WorkerBackend {
    /// An engine with its name in the scenario file. Starts nothing yet.
    #[must_use]
    pub fn new(_name: &str, _engine: &Engine, _surroundings: &Surroundings) -> Self {
        Self {}
    }
}

impl Backend for WorkerBackend {
    fn describe(&mut self) -> Result<Description, BackendError> {
        Err(BackendError::Close { backend: String::new(), why: String::new() })
    }

    fn prepare(&mut self, _model: &ModelSource) -> Result<Prepared, BackendError> {
        Err(BackendError::Close { backend: String::new(), why: String::new() })
    }

    fn load(
        &mut self,
        _model: &Prepared,
        _shapes: &[CallShape],
        _by: Deadline,
        _cancel: &CancelToken,
    ) -> Result<Box<dyn Session>, Failure> {
        Err(Failure::new(crate::terms::Degraded::Error, ""))
    }
}
