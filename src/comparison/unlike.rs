//! Why two cells of one name are not the same thing.

use crate::record::Statistic;
use crate::record::manifest::{BackendEntry, Machine, Manifest};
use crate::terms::Mode;

use super::side::{OneSide, SideCell};

/// The fact under which an engine of several clocks names the one that it has.
const CLOCK: &str = "clock";

/// Why a cell of the baseline cannot be compared with one of the candidate. `None`: it can.
pub(super) fn unlike(a: &SideCell, b: &SideCell, of: (&OneSide<'_>, &OneSide<'_>)) -> Option<String> {
    if let Some(reason) = unlike_tools(of.0.run.manifest, of.1.run.manifest) {
        return Some(reason);
    }
    let known_by = (known_by(a), known_by(b));
    if known_by.0 != known_by.1 {
        return Some(format!("one side has {}, the other {}", known_by.0, known_by.1));
    }
    let ((a_weights, a_type), (b_weights, b_type)) = a.measured_as.as_ref().zip(b.measured_as.as_ref())?;
    if a_type != b_type {
        return Some(format!("element types differ: {} and {}", a_type.as_str(), b_type.as_str()));
    }
    if a_weights != b_weights {
        return Some(format!("weights differ: {a_weights:.12} and {b_weights:.12}"));
    }
    let (asked_a, asked_b) = (&a.cell, &b.cell);
    if asked_a.batch != asked_b.batch {
        return Some(format!("batch differs: {} and {}", asked_a.batch, asked_b.batch));
    }
    if asked_a.gen_tokens != asked_b.gen_tokens {
        return Some(format!("decode steps differ: {} and {}", asked_a.gen_tokens, asked_b.gen_tokens));
    }
    let (own, theirs) = (a.prompt_tokens, b.prompt_tokens);
    if own != theirs {
        let told = |tokens: Option<f64>| tokens.map_or_else(|| "not told".to_owned(), |tokens| tokens.to_string());
        return Some(format!("prompt tokens differ: {} and {}", told(own), told(theirs)));
    }
    if a.mode == Mode::KvDecode && of.0.run.plan.early_stop != of.1.run.plan.early_stop {
        return Some("what is made of calls that end early differs".to_owned());
    }
    let engines = (entry(of.0, a), entry(of.1, b));
    if let (Some(own), Some(theirs)) = engines
        && let Some(reason) = unlike_engines(own, theirs, a.mode)
    {
        return Some(reason);
    }
    let on_gpu = !on_processor(a) || !on_processor(b);
    unlike_hosts(of.0.run.manifest, of.1.run.manifest, on_gpu)
}

/// Why figures of two tools are not of one kind: what was measured here proves where it ran, and what was imported does not.
fn unlike_tools(a: &Manifest, b: &Manifest) -> Option<String> {
    let tool = |manifest: &Manifest| match &manifest.imported {
        Some(imported) => format!("imported from {}", imported.tool),
        None => "measured by phasebench".to_owned(),
    };
    let (own, theirs) = (tool(a), tool(b));
    (own != theirs).then(|| format!("one side is {own}, the other {theirs}"))
}

/// What a cell's time is known by: a mean, a median and the location of samples are not the same of the same calls.
fn known_by(cell: &SideCell) -> &'static str {
    match cell.sessions.stated.map(|stated| stated.statistic) {
        None => "samples",
        Some(Statistic::Mean) => "a stated mean without samples",
        Some(Statistic::HarmonicMean) => "a stated mean of rates without samples",
        Some(Statistic::Median) => "a stated median without samples",
    }
}

fn entry<'a>(side: &OneSide<'a>, cell: &SideCell) -> Option<&'a BackendEntry> {
    side.run.manifest.stack.backends.get(&cell.cell.session.backend)
}

fn unlike_engines(a: &BackendEntry, b: &BackendEntry, mode: Mode) -> Option<String> {
    if a.virtual_clock != b.virtual_clock {
        return Some("the time of one of them is scripted, not measured".to_owned());
    }
    let clocks = (a.facts.get(CLOCK), b.facts.get(CLOCK));
    if clocks.0 != clocks.1 {
        let told = |clock: Option<&String>| clock.map_or("not told", String::as_str).to_owned();
        return Some(format!("the engine's own clock differs: {} and {}", told(clocks.0), told(clocks.1)));
    }
    (a.boundary.get(&mode) != b.boundary.get(&mode))
        .then(|| format!("what the timed region of {} includes differs; `manifest.json` has both", mode.as_str()))
}

/// Whether a cell ran on the processor, as far as is proven.
fn on_processor(cell: &SideCell) -> bool {
    cell.actual.as_deref().is_some_and(|actual| actual.to_ascii_lowercase().contains("cpu"))
}

/// Why what was measured on two machines is not compared. `None`: as far as is known they are one, but for their GPUs.
#[must_use]
pub fn another_machine(own: &Machine, theirs: &Machine) -> Option<String> {
    let told = |value: &Option<String>| value.clone().unwrap_or_else(|| "not told".to_owned());
    if (&own.arch, &own.cpu_model) != (&theirs.arch, &theirs.cpu_model) {
        return Some(format!("another machine: {} and {}", told(&own.cpu_model), told(&theirs.cpu_model)));
    }
    if own.logical_cores != theirs.logical_cores {
        let told = |cores: Option<u32>| cores.map_or_else(|| "not told".to_owned(), |cores| cores.to_string());
        let (own, theirs) = (told(own.logical_cores), told(theirs.logical_cores));
        return Some(format!("another machine: {own} and {theirs} processors"));
    }
    None
}

/// Why two machines are not one.
fn unlike_hosts(a: &Manifest, b: &Manifest, on_gpu: bool) -> Option<String> {
    let other = another_machine(&a.stack.machine, &b.stack.machine);
    if other.is_some() {
        return other;
    }
    let boards = |manifest: &Manifest| -> Vec<String> {
        let names = manifest.stack.gpus.devices.iter();
        names.map(|gpu| gpu.uuid.clone().or_else(|| gpu.name.clone()).unwrap_or_default()).collect()
    };
    (on_gpu && boards(a) != boards(b)).then(|| "another GPU".to_owned())
}
