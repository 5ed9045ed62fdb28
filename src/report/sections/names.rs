//! What things are called in a report.

use crate::record::plan::{Cell, Plan};
use crate::terms::{Dtype, FitAxis, Mode};

/// Names of cells and backends: no longer than it takes to tell them apart in this run.
#[derive(Debug)]
pub(super) struct Names {
    backends: Vec<String>,
    several_batches: bool,
    several_lengths: bool,
    several_dtypes: bool,
}

impl Names {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut backends: Vec<String> = Vec::new();
        for cell in &plan.cells {
            if !backends.contains(&cell.session.backend) {
                backends.push(cell.session.backend.clone());
            }
        }
        let several = |differ: fn(&Cell, &Cell) -> bool| {
            plan.cells.first().is_some_and(|first| plan.cells.iter().any(|cell| differ(first, cell)))
        };
        Self {
            several_batches: several(|a, b| a.batch != b.batch),
            several_lengths: several(|a, b| a.gen_tokens != b.gen_tokens),
            several_dtypes: several(|a, b| a.dtype != b.dtype),
            backends,
        }
    }

    /// Every backend with a cell, in the plan's order.
    pub(super) fn backends(&self) -> &[String] {
        &self.backends
    }

    /// Whether more than one backend has cells.
    pub(super) fn several_backends(&self) -> bool {
        self.backends.len() > 1
    }

    /// Whether batches differ between cells.
    pub(super) fn several_batches(&self) -> bool {
        self.several_batches
    }

    /// Whether decode lengths differ between cells.
    pub(super) fn several_lengths(&self) -> bool {
        self.several_lengths
    }

    /// A backend or what is measured on one, with the element type where that differs in the run.
    pub(super) fn engine(&self, name: &str, dtype: Dtype) -> String {
        if self.several_dtypes { format!("{name} ({})", dtype.as_str()) } else { name.to_owned() }
    }

    /// A cell within its backend.
    pub(super) fn cell(&self, model: &str, scenario: &str, batch: u32, gen_tokens: u32) -> String {
        let mut name = format!("{model} · {scenario}");
        if self.several_batches {
            name.push_str(&format!(" · batch {batch}"));
        }
        if self.several_lengths && gen_tokens > 0 {
            name.push_str(&format!(" · {gen_tokens} steps"));
        }
        name
    }

    /// A cell, with its backend where there are several.
    pub(super) fn cell_of_run(
        &self,
        backend: &str,
        model: &str,
        scenario: &str,
        batch: u32,
        gen_tokens: u32,
    ) -> String {
        let cell = self.cell(model, scenario, batch, gen_tokens);
        if self.several_backends() { format!("{backend} · {cell}") } else { cell }
    }

    /// ` on BACKEND` where there are several, to follow what a table or chart shows.
    pub(super) fn on(&self, backend: &str) -> String {
        if self.several_backends() { format!(" on {backend}") } else { String::new() }
    }

    /// A figure's id: `kind`, and the backend's place where there are several.
    pub(super) fn figure(&self, kind: &str, backend: &str) -> String {
        let letters = backend.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
        match self.backends.iter().position(|known| known == backend) {
            // The number keeps apart what the letters do not.
            Some(place) if self.several_backends() => format!("{kind}_{}_{}", place + 1, letters.collect::<String>()),
            _ => kind.to_owned(),
        }
    }
}

/// A mode at the start of a sentence.
pub(super) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Prefill => "Prefill",
        Mode::KvDecode => "Decode",
        Mode::E2eKv => "Prefill + decode",
        Mode::GenerateUncached => "Uncached generation",
        Mode::Ttft => "First token",
        Mode::AfterFirst => "After the first token",
        Mode::Request => "Whole request",
        Mode::Whole => "Prefill and decode as one",
    }
}

/// `batch 1, 8 steps`: what latencies of a mode share.
pub(super) fn call_shape(mode: Mode, batch: u32, gen_tokens: u32) -> String {
    if mode == Mode::Prefill { format!("batch {batch}") } else { format!("batch {batch}, {gen_tokens} steps") }
}

/// What latency is fitted against.
pub(super) fn axis_name(axis: FitAxis) -> &'static str {
    match axis {
        FitAxis::Params => "parameters",
        FitAxis::NLayer => "layers",
        FitAxis::NEmbd => "width",
        FitAxis::NHead => "heads",
    }
}

/// The same as an axis' name with its unit.
pub(super) fn axis_title(axis: FitAxis) -> &'static str {
    match axis {
        FitAxis::Params => "parameters (millions)",
        FitAxis::NLayer => "number of layers",
        FitAxis::NEmbd => "width of the residual stream",
        FitAxis::NHead => "number of attention heads",
    }
}

/// `3 models`, `1 model`.
pub(super) fn counted(n: usize, singular: &str) -> String {
    format!("{n} {singular}{}", if n == 1 { "" } else { "s" })
}
