//! The load that a sensor is measured under: prefills of a small model on ONNX Runtime, in this process.

use crate::backend::onnx::OnnxBackend;
use crate::backend::{Backend, BackendError, Call, CallShape, CancelToken, Deadline, Session, Surroundings};
use crate::clock::Clock;
use crate::model::{Form, ModelSource};
use crate::scenario::{OnnxSettings, Provider};
use crate::terms::Procedure;
use crate::terms::model::{Family, Synthetic};
use crate::units::Nanos;

/// The backend's name in messages.
const BACKEND: &str = "calibrate";

/// Longest time one piece of work, or the load of the model, may take.
const LONGEST: Deadline = Deadline(std::time::Duration::from_secs(60));

/// Something that keeps a device busy for as long as it is told to.
pub trait Load {
    /// What runs, and on what.
    fn name(&self) -> String;

    /// Works until `end`, and to the end of the piece under way.
    ///
    /// # Errors
    /// The engine's words, or that someone cancelled.
    fn work(&mut self, clock: &dyn Clock, end: Nanos) -> Result<(), String>;
}

/// Where the load is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The processor, all of it.
    Processor,
    /// A GPU through CUDA, by its number.
    Cuda(u32),
}

/// Prefills of one small model, each about a millisecond, so that pulses can be short.
pub struct Prefills {
    device: Device,
    session: Box<dyn Session>,
    call: Call,
    cancel: CancelToken,
}

impl Prefills {
    /// Loads the model and warms it.
    ///
    /// # Errors
    /// ONNX Runtime is not here, or cannot use the device.
    pub fn open(device: Device, surroundings: &Surroundings, cancel: &CancelToken) -> Result<Self, BackendError> {
        let (provider, number) = match device {
            Device::Processor => (Provider::Cpu, 0),
            Device::Cuda(number) => (Provider::Cuda, number),
        };
        let onnx = OnnxSettings { provider, device: number, ..OnnxSettings::default() };
        // A GPU needs wider layers for the same millisecond, and for drawing power that shows.
        let (n_layer, n_embd, tokens) = if provider == Provider::Cuda { (4, 1024, 256) } else { (2, 128, 32) };
        let recipe =
            Synthetic { vocab: 512, n_positions: 512, ..Synthetic::new(Family::Gpt2, n_layer, n_embd, n_embd / 64) };
        let model = ModelSource { name: "load".to_owned(), form: Form::Synthetic(recipe) };
        let mut engine = OnnxBackend::new(BACKEND, onnx, surroundings.clone());
        engine.describe()?;
        let prepared = engine.prepare(&model)?;
        let call = Call {
            procedure: Procedure::Prefill,
            scenario: "load".to_owned(),
            prompts: vec![(0..tokens).map(|id| id % 500).collect()],
            texts: None,
            padded_to: tokens,
            steps: 0,
            index: 0,
            attempt: 0,
            seed: 0,
        };
        let shape: CallShape = call.shape();
        let session = engine.load(&prepared, &[shape], LONGEST, cancel).map_err(|failure| BackendError::Prepare {
            model: model.name.clone(),
            backend: BACKEND.to_owned(),
            why: failure.to_string(),
        })?;
        let mut load = Self { device, session, call, cancel: cancel.clone() };
        for _ in 0..10 {
            load.once().map_err(|why| BackendError::Prepare {
                model: model.name.clone(),
                backend: BACKEND.to_owned(),
                why,
            })?;
        }
        Ok(load)
    }

    fn once(&mut self) -> Result<(), String> {
        if self.cancel.is_cancelled() {
            return Err("cancelled".to_owned());
        }
        let outcome = self.session.call(&self.call, LONGEST, &self.cancel);
        outcome.failure.map_or(Ok(()), |failure| Err(failure.to_string()))
    }
}

impl Load for Prefills {
    fn name(&self) -> String {
        let device = match self.device {
            Device::Processor => "the processor".to_owned(),
            Device::Cuda(number) => format!("cuda:{number}"),
        };
        format!("prefills on ONNX Runtime on {device}")
    }

    fn work(&mut self, clock: &dyn Clock, end: Nanos) -> Result<(), String> {
        while clock.now() < end {
            self.once()?;
        }
        Ok(())
    }
}
