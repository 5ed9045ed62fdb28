//! One forward pass: the KV cache goes in as values and comes out as values, never through our memory.

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, RunOptions, Session, SessionInputValue};
use ort::value::{DynTensor, DynValue, TensorElementType, TensorRef, ValueType};

use super::argmax;
use super::batch::View;
use super::graph::{Input, Output, Signature};
use crate::clock::Clock;
use crate::units::{Bytes, Nanos};

/// A loaded graph and how values reach it.
#[derive(Debug)]
pub struct Engine {
    session: Session,
    signature: Signature,
    route: Route,
}

/// How values get in and out.
#[derive(Debug)]
enum Route {
    /// Outputs are the runtime's own buffers in host memory and are handed back as inputs.
    Values,
    /// The KV cache is bound to a device's memory and stays there; what we look at is copied to the host.
    Bound { binding: IoBinding, device: MemoryInfo<'static>, host: MemoryInfo<'static> },
}

/// What a forward pass answered.
#[derive(Debug)]
pub struct Answer {
    /// Logits of the last position, or the next token of each row; in host memory.
    pub value: DynValue,
    /// Time between entering the runtime and leaving it.
    pub inside: Nanos,
}

/// Why a forward pass has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The runtime's words.
    #[error("{0}")]
    Runtime(String),
    /// The model computed something that is no number.
    #[error("NaN among the logits of row {row}")]
    NotANumber {
        /// The first such row.
        row: usize,
    },
}

impl From<ort::Error> for ForwardError {
    fn from(error: ort::Error) -> Self {
        Self::Runtime(error.message().to_owned())
    }
}

/// The KV cache: tensors by slot.
pub type Cache = Vec<DynValue>;

impl Engine {
    /// The KV cache lives in host memory.
    #[must_use]
    pub fn new(session: Session, signature: Signature) -> Self {
        Self { session, signature, route: Route::Values }
    }

    /// The KV cache lives in the memory of `device`, e.g. [`AllocationDevice::CUDA`].
    ///
    /// # Errors
    /// The runtime's words.
    pub fn bound(
        session: Session,
        signature: Signature,
        device: AllocationDevice<'static>,
        index: i32,
    ) -> ort::Result<Self> {
        let memory = |on, index, kind| MemoryInfo::new(on, index, AllocatorType::Device, kind);
        let route = Route::Bound {
            binding: session.create_binding()?,
            device: memory(device, index, MemoryType::Default)?,
            host: memory(AllocationDevice::CPU, 0, MemoryType::CPUOutput)?,
        };
        Ok(Self { session, signature, route })
    }

    /// What the graph takes and gives.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The KV cache before the first token.
    ///
    /// # Errors
    /// The runtime's words.
    pub fn empty_cache(&self, rows: usize) -> ort::Result<Cache> {
        let Signature { heads, head_dim, element, slots, .. } = self.signature;
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        let empty = || DynTensor::new(&Allocator::default(), element, [rows, heads, 0, head_dim]);
        (0..slots).map(|_| empty().map(DynTensor::into_dyn)).collect()
    }

    /// Evaluates the next columns on the cache `past`; the grown cache becomes `present`.
    ///
    /// # Errors
    /// The runtime's words; after a [`RunOptions::terminate`] too. `present` is then empty.
    pub fn forward(
        &mut self,
        view: View<'_>,
        past: &Cache,
        present: &mut Cache,
        options: &RunOptions,
        clock: &dyn Clock,
    ) -> ort::Result<Answer> {
        let ids = TensorRef::from_array_view(([view.rows, view.width], view.ids))?.into_dyn();
        let positions = TensorRef::from_array_view(([view.rows, view.width], view.positions))?.into_dyn();
        let mask = TensorRef::from_array_view(([view.rows, view.total], view.mask))?.into_dyn();
        let value_of = |role: &Input| match role {
            Input::Ids => ids.view(),
            Input::Positions => positions.view(),
            Input::Mask => mask.view(),
            Input::Past(slot) => past[*slot].view(),
        };
        present.clear();
        let Signature { inputs, outputs, .. } = &self.signature;
        let (results, inside) = match &mut self.route {
            Route::Values => {
                let values: Vec<SessionInputValue<'_>> = inputs.iter().map(|role| value_of(role).into()).collect();
                let begin = clock.now();
                let results = self.session.run_with_options(&values[..], options)?;
                (results, clock.now().since(begin))
            }
            Route::Bound { binding, device, host } => {
                for (role, outlet) in inputs.iter().zip(self.session.inputs()) {
                    binding.bind_input(outlet.name(), &value_of(role))?;
                }
                // Bound again each time: a bound output keeps the last buffer, whose shape is too small now.
                for (role, outlet) in outputs.iter().zip(self.session.outputs()) {
                    let stays = matches!(role, Output::Present(_));
                    binding.bind_output_to_device(outlet.name(), if stays { device } else { host })?;
                }
                let begin = clock.now();
                let results = self.session.run_binding_with_options(binding, options)?;
                binding.synchronize_outputs()?;
                (results, clock.now().since(begin))
            }
        };
        let mut answer = None;
        for (role, (_, value)) in outputs.iter().zip(results) {
            match role {
                Output::Present(_) => present.push(value),
                Output::Logits | Output::NextToken => answer = Some(value),
            }
        }
        let value = answer.ok_or_else(|| ort::Error::new("the session returned no logits"))?;
        Ok(Answer { value, inside })
    }
}

/// Chooses the next token of every row.
///
/// # Errors
/// NaN among the logits; a type this adapter does not know.
pub fn choose(answer: &DynValue, tokens: &mut [i64]) -> Result<(), ForwardError> {
    match element(answer) {
        Some(TensorElementType::Int64) => {
            tokens.copy_from_slice(answer.try_extract_tensor::<i64>()?.1);
            Ok(())
        }
        Some(TensorElementType::Float16) => largest(answer.try_extract_tensor()?.1, tokens, argmax::f16),
        _ => largest(answer.try_extract_tensor()?.1, tokens, argmax::f32),
    }
}

fn largest<T>(logits: &[T], tokens: &mut [i64], argmax: impl Fn(&[T]) -> Option<usize>) -> Result<(), ForwardError> {
    let vocabulary = logits.len() / tokens.len().max(1);
    for (row, (token, logits)) in tokens.iter_mut().zip(logits.chunks(vocabulary.max(1))).enumerate() {
        let place = argmax(logits).ok_or(ForwardError::NotANumber { row })?;
        *token = i64::try_from(place).unwrap_or(i64::MAX);
    }
    Ok(())
}

/// Logits of every row, as single precision. For verification, not for timing.
///
/// # Errors
/// The graph answers with tokens, not logits.
pub fn logits(answer: &DynValue, rows: usize) -> Result<Vec<Vec<f32>>, ForwardError> {
    let flat: Vec<f32> = match element(answer) {
        Some(TensorElementType::Float16) => {
            let halves = answer.try_extract_tensor::<half::f16>()?.1;
            halves.iter().map(|half| half.to_f32()).collect()
        }
        _ => answer.try_extract_tensor::<f32>()?.1.to_vec(),
    };
    Ok(flat.chunks((flat.len() / rows.max(1)).max(1)).map(<[f32]>::to_vec).collect())
}

/// What a KV cache occupies, from its tensors' own shapes, and the device it lies on.
#[must_use]
pub fn cache_size(cache: &Cache) -> (Option<Bytes>, Option<String>) {
    let (mut bytes, mut device) = (0, None);
    for value in cache {
        let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
            return (None, None);
        };
        let Some(size) = ty.byte_size(shape.num_elements()) else {
            return (None, None);
        };
        bytes += u64::try_from(size).unwrap_or(u64::MAX);
        if let Ok(tensor) = value.view().downcast::<ort::value::DynTensorValueType>() {
            device = Some(tensor.memory_info().allocation_device().as_str().to_owned());
        }
    }
    (Some(Bytes(bytes)), device)
}

fn element(value: &DynValue) -> Option<TensorElementType> {
    match value.dtype() {
        ValueType::Tensor { ty, .. } => Some(*ty),
        _ => None,
    }
}
