//! What reference kernels read during a run.

/// One reading of a reference kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct KernelReading {
    /// What was run, e.g. `memory, 2 threads`.
    pub kernel: String,
    /// Work ÷ time, in the kernel's own unit.
    pub rate: f64,
}
