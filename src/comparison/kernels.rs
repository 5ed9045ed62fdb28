//! What reference kernels read during a run.

/// One reading of a reference kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct KernelReading {
    /// What was run, e.g. `memory, 2 threads`.
    pub kernel: String,
    /// UUID of the NVIDIA board that it ran on. `None`: the processor.
    pub board: Option<String>,
    /// Work ÷ time, in the kernel's own unit.
    pub rate: f64,
}

impl KernelReading {
    /// Whether another one is of the same kernel on the same device.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        (&self.kernel, &self.board) == (&other.kernel, &other.board)
    }
}
