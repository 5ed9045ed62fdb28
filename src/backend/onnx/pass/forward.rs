//! One forward pass: the KV cache goes in as values and comes out as values, never through our memory.

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, RunOptions, Session, SessionInputValue, SessionOutputs};
use ort::value::{DynTensor, DynValue, Tensor, TensorElementType, TensorRef, ValueType};

use phasebench_clock::Clock;
use phasebench_units::{Bytes, Nanos};

use super::batch::View;
use super::graph::{Input, Output, Signature};
use super::{argmax, error_text};

/// A loaded graph and how values reach it.
#[derive(Debug)]
pub struct LoadedGraph {
    session: Session,
    signature: Signature,
    route: Route,
}

/// How values get in and out.
#[derive(Debug)]
enum Route {
    /// Outputs are the runtime's own buffers in host memory and are handed back as inputs.
    Values(Option<Column>),
    /// The KV cache is bound to a device's memory and stays there; what we look at is copied to the host.
    Bound(Box<Bound>),
}

/// Ids and positions of one column, in tensors that serve every decode step: making a tensor costs microseconds.
#[derive(Debug)]
struct Column {
    rows: usize,
    ids: Tensor<i64>,
    positions: Tensor<i64>,
}

/// Values bound to the memory of a device.
#[derive(Debug)]
struct Bound {
    binding: IoBinding,
    device: MemoryInfo<'static>,
    host: MemoryInfo<'static>,
}

/// What a forward pass takes.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    /// The next columns.
    pub view: View<'a>,
    /// The KV cache of the columns before.
    pub past: &'a Cache,
    /// Lets another thread end the pass.
    pub options: &'a RunOptions,
    /// Tells the time spent inside the runtime.
    pub clock: &'a dyn Clock,
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
        Self::Runtime(error_text(&error))
    }
}

/// The KV cache: tensors by slot.
pub type Cache = Vec<DynValue>;

impl LoadedGraph {
    /// The KV cache lives in host memory.
    #[must_use]
    pub fn new(session: Session, signature: Signature) -> Self {
        Self { session, signature, route: Route::Values(None) }
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
        let bound = Bound {
            binding: session.create_binding()?,
            device: memory(device, index, MemoryType::Default)?,
            host: memory(AllocationDevice::CPU, 0, MemoryType::CPUOutput)?,
        };
        Ok(Self { session, signature, route: Route::Bound(Box::new(bound)) })
    }

    /// Ends a profile that the session was built with, and names its file.
    ///
    /// # Errors
    /// The runtime's words.
    pub fn end_profiling(&mut self) -> ort::Result<String> {
        self.session.end_profiling()
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

    /// Evaluates the next columns; the grown cache becomes `present`.
    ///
    /// # Errors
    /// The runtime's words; after a [`RunOptions::terminate`] too. `present` is then empty.
    pub fn forward(&mut self, pass: &Pass<'_>, present: &mut Cache) -> ort::Result<Answer> {
        present.clear();
        let Self { session, signature, route } = self;
        let (value, inside) = match route {
            Route::Values(column) => by_value(session, signature, column, pass, present)?,
            Route::Bound(bound) => bound.run(session, signature, pass, present)?,
        };
        let value = value.ok_or_else(|| ort::Error::new("the session returned no logits"))?;
        Ok(Answer { value, inside })
    }
}

impl Column {
    /// The tensors, filled with the next column; made where there are none for so many rows.
    fn filled<'a>(kept: &'a mut Option<Self>, view: &View<'_>) -> ort::Result<&'a Self> {
        let column = match kept.take() {
            Some(mut column) if column.rows == view.rows => {
                column.ids.extract_tensor_mut().1.copy_from_slice(view.ids);
                column.positions.extract_tensor_mut().1.copy_from_slice(view.positions);
                column
            }
            _ => {
                let tensor = |values: &[i64]| Tensor::from_array(([view.rows, 1], values.to_vec()));
                Self { rows: view.rows, ids: tensor(view.ids)?, positions: tensor(view.positions)? }
            }
        };
        Ok(kept.insert(column))
    }
}

fn by_value(
    session: &mut Session,
    signature: &Signature,
    kept: &mut Option<Column>,
    pass: &Pass<'_>,
    present: &mut Cache,
) -> ort::Result<(Option<DynValue>, Nanos)> {
    let view = pass.view;
    let column = if view.width == 1 { Some(Column::filled(kept, &view)?) } else { None };
    let tensor = |width, values| TensorRef::from_array_view(([view.rows, width], values));
    let mut values: Vec<SessionInputValue<'_>> = Vec::with_capacity(signature.inputs.len());
    for role in &signature.inputs {
        values.push(match (role, column) {
            (Input::Ids, Some(column)) => column.ids.view().into(),
            (Input::Positions, Some(column)) => column.positions.view().into(),
            (Input::Ids, None) => tensor(view.width, view.ids)?.into(),
            (Input::Positions, None) => tensor(view.width, view.positions)?.into(),
            (Input::Mask, _) => tensor(view.total, view.mask)?.into(),
            (Input::Past(slot), _) => pass.past[*slot].view().into(),
        });
    }
    let begin = pass.clock.now();
    let results = session.run_with_options(&values[..], pass.options)?;
    let inside = pass.clock.now().since(begin);
    Ok((sort(&signature.outputs, results, present), inside))
}

impl Bound {
    fn run(
        &mut self,
        session: &mut Session,
        signature: &Signature,
        pass: &Pass<'_>,
        present: &mut Cache,
    ) -> ort::Result<(Option<DynValue>, Nanos)> {
        let view = pass.view;
        // Owned: when the crate binds a borrowed tensor it copies it with a graph of its own, and hangs in that.
        let tensor = |width, values: &[i64]| Tensor::from_array(([view.rows, width], values.to_vec()));
        for (role, outlet) in signature.inputs.iter().zip(session.inputs()) {
            let name = outlet.name();
            match role {
                Input::Ids => self.binding.bind_input(name, &tensor(view.width, view.ids)?)?,
                Input::Positions => self.binding.bind_input(name, &tensor(view.width, view.positions)?)?,
                Input::Mask => self.binding.bind_input(name, &tensor(view.total, view.mask)?)?,
                Input::Past(slot) => self.binding.bind_input(name, &pass.past[*slot])?,
            }
        }
        for (role, outlet) in signature.outputs.iter().zip(session.outputs()) {
            let stays = matches!(role, Output::Present(_));
            self.binding.bind_output_to_device(outlet.name(), if stays { &self.device } else { &self.host })?;
        }
        let begin = pass.clock.now();
        let results = session.run_binding_with_options(&self.binding, pass.options)?;
        self.binding.synchronize_outputs()?;
        let inside = pass.clock.now().since(begin);
        let value = sort(&signature.outputs, results, present);
        // A bound output would be written again, into a buffer that is too small by then; and the cache would live on.
        self.binding.clear();
        Ok((value, inside))
    }
}

/// Keeps the grown cache and returns the answer.
fn sort(roles: &[Output], results: SessionOutputs<'_>, present: &mut Cache) -> Option<DynValue> {
    let mut answer = None;
    for (role, (_, value)) in roles.iter().zip(results) {
        match role {
            Output::Present(_) => present.push(value),
            Output::Logits | Output::NextToken => answer = Some(value),
        }
    }
    answer
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
