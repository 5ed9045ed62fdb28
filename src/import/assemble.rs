//! One run of the sheets of all files: cells, engines, models, sessions, and the record.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::hash::sha256_hex;
use crate::plan;
use crate::record::manifest::{
    BackendEntry, Epoch, FORMAT, Gpu, Gpus, Imported, ImportedFile, Machine, Manifest, ModelEntry, ModelForm,
    ModelOrigin, Stack, Tool,
};
use crate::record::plan::{Plan, PlannedSession, SessionKey};
use crate::record::{Finished, ImportedCall, Line, LoopBelow, Opened};
use crate::terms::{Disturbed, Dtype, EarlyStop, FitAxis, Mode, Order, Procedure, Repetitions, SessionCount};
use crate::units::{Bytes, Nanos};

use super::error::ImportError;
use super::format::Format;
use super::sheet::{Sheet, ToldEngine, ToldModel, one_told};
use super::source::Source;

mod assembled;

use assembled::{Assembled, EngineNames};

/// A run made of other tools' files; not written yet.
#[derive(Debug)]
pub struct ImportedRun {
    /// What stands where a scenario file would: which files these were.
    pub spec: String,
    /// Their cells.
    pub plan: Plan,
    /// The plan's bytes.
    pub plan_json: String,
    /// Tool, files and notes.
    pub manifest: Manifest,
    /// The record.
    pub lines: Vec<Line>,
}

/// The run that these files are. `sheets`: one list per source.
pub(super) fn run(format: Format, sources: &[Source], sheets: Vec<Vec<Sheet>>) -> Result<ImportedRun, ImportError> {
    let version = one_version(sources, &sheets)?;
    let machine = Told::of(sources, &sheets)?;
    let names = EngineNames::of(&sheets);
    let mut run = Assembled::default();
    for (file, (source, sheets)) in (0..).zip(sources.iter().zip(&sheets)) {
        for sheet in sheets {
            run.take(file, source, sheet, &names)?;
        }
    }
    let name = format!("imported-{}", format.name());
    let plan = plan(&name, &run);
    let plan_json = plan::to_json(&plan).map_err(|error| ImportError::new("import", "", error.to_string(), ""))?;
    let spec = spec(format, sources);
    let imported = imported(format, version.clone(), sources, &sheets);
    let started = imported.files.iter().filter_map(|file| file.measured_unix_ns).min();
    let started = started.or_else(|| sources.iter().filter_map(|source| source.modified_unix_ns).min()).unwrap_or(0);
    let manifest = manifest(&spec, &plan_json, &run, version, imported, machine, started);
    let plan_json = String::from_utf8(plan_json).unwrap_or_default();
    let lines = lines(run, &manifest, started);
    Ok(ImportedRun { spec, plan, plan_json, manifest, lines })
}

/// The version that all files agree in. `None`: none tells.
fn one_version(sources: &[Source], sheets: &[Vec<Sheet>]) -> Result<Option<String>, ImportError> {
    let mut first: Option<(&Source, &String)> = None;
    for (source, sheet) in
        sources.iter().zip(sheets).flat_map(|(source, sheets)| sheets.iter().map(move |s| (source, s)))
    {
        let Some(version) = &sheet.version else { continue };
        match first {
            Some((other, known)) if known != version => {
                let what = format!("is of version {version}, {} of {known}", other.name);
                return Err(source.error(
                    "",
                    what,
                    "one version: import others into folders of their own, and compare",
                ));
            }
            Some(_) => {}
            None => first = Some((source, version)),
        }
    }
    Ok(first.map(|(_, version)| version.clone()))
}

fn plan(name: &str, run: &Assembled) -> Plan {
    let modes: BTreeSet<Mode> =
        run.calls.iter().flat_map(ImportedCall::modes).chain(run.stated.iter().map(|s| s.mode)).collect();
    let mut keys: Vec<&SessionKey> = Vec::new();
    for cell in &run.cells {
        if !keys.contains(&&cell.session) {
            keys.push(&cell.session);
        }
    }
    let session = |key: &SessionKey| PlannedSession {
        key: key.clone(),
        warmups: 0,
        resident_bytes: Bytes(run.models.get(&key.model).and_then(|model| model.bytes).unwrap_or(0)),
        max_resident: None,
        may_stop_early: false,
    };
    let longest = run.calls.iter().flat_map(|call| &call.times).map(|time| time.duration_ns).max();
    Plan {
        format: crate::record::plan::FORMAT,
        name: name.to_owned(),
        seed: 0,
        order: Order::Blocked,
        repetitions: Repetitions::Fixed(run.counts.values().copied().max().unwrap_or(0)),
        session_count: sessions_of(run),
        reference: None,
        slowdown: None,
        early_stop: EarlyStop::unscaled(),
        disturbed: Disturbed::never(),
        modes: modes.into_iter().collect(),
        fit: FitAxis::Params,
        timeout_ns: longest.unwrap_or(Nanos(0)),
        degraded_rate: 1.0,
        memory_budget_bytes: Bytes(0),
        sessions: keys.into_iter().map(session).collect(),
        cells: run.cells.clone(),
        skipped: Vec::new(),
        workload: None,
        claims: Vec::new(),
    }
}

/// Sessions of the cells that have fewest and most.
fn sessions_of(run: &Assembled) -> SessionCount {
    let counts = || run.sessions.values().map(|last| last + 1);
    SessionCount { min: counts().min().unwrap_or(1), max: counts().max().unwrap_or(1) }
}

/// What stands where a scenario file would.
fn spec(format: Format, sources: &[Source]) -> String {
    let mut text =
        format!("# Imported from {}: no scenario file was run, and the run cannot be resumed.\n", format.tool());
    for source in sources {
        text.push_str(&format!("# {}  {}\n", source.sha256, source.name));
    }
    text
}

fn imported(format: Format, version: Option<String>, sources: &[Source], sheets: &[Vec<Sheet>]) -> Imported {
    let several = sources.len() > 1;
    let mut notes = Vec::new();
    let mut files = Vec::new();
    for (source, sheets) in sources.iter().zip(sheets) {
        let measured_unix_ns = sheets.iter().filter_map(|sheet| sheet.measured_unix_ns).min();
        files.push(ImportedFile {
            name: source.name.clone(),
            sha256: source.sha256.clone(),
            bytes: source.text.len() as u64,
            measured_unix_ns,
        });
        let told = sheets.iter().flat_map(|sheet| &sheet.notes);
        notes.extend(told.map(|note| if several { format!("{}: {note}", source.name) } else { note.clone() }));
        if measured_unix_ns.is_none() {
            notes.push(format!("{}: no date in the file, the date of its last change is taken", source.name));
        }
    }
    Imported { format: format.name().to_owned(), tool: format.tool().to_owned(), version, files, notes }
}

/// The machine as files tell it.
struct Told {
    cpu: Option<String>,
    gpu: Option<String>,
}

impl Told {
    /// Sessions of one cell are of one machine.
    fn of(sources: &[Source], sheets: &[Vec<Sheet>]) -> Result<Self, ImportError> {
        let mut machine = Self { cpu: None, gpu: None };
        let placed = sources.iter().zip(sheets);
        for (source, sheet) in placed.flat_map(|(source, sheets)| sheets.iter().map(move |sheet| (source, sheet))) {
            for (known, told) in [(&mut machine.cpu, &sheet.cpu), (&mut machine.gpu, &sheet.gpu)] {
                let allowed = "one machine: import others into folders of their own, and compare";
                one_told(known, told.as_deref()).map_err(|what| source.error("", what, allowed))?;
            }
        }
        Ok(machine)
    }

    fn machine(&self) -> Machine {
        Machine {
            cpu_model: self.cpu.clone(),
            microcode: None,
            arch: "unknown".to_owned(),
            physical_cores: None,
            logical_cores: None,
            smt: None,
            numa_nodes: None,
            cpu_affinity: None,
            cpu_quota_cores: None,
            memory_gib: None,
            frequency_driver: None,
            governors: BTreeMap::new(),
            boost: None,
            huge_pages: None,
            os: None,
            kernel: None,
            virtualised: None,
            firmware: None,
            container: None,
        }
    }

    fn gpus(&self) -> Gpus {
        let device = |name: &String| Gpu {
            name: Some(name.clone()),
            uuid: None,
            memory_bytes: None,
            compute_capability: None,
            power_limit_w: None,
            ecc: None,
            mig: None,
        };
        let devices: Vec<Gpu> = self.gpu.iter().map(device).collect();
        let absent = devices.is_empty().then(|| "the imported files tell none".to_owned());
        Gpus { driver: None, cuda: None, devices, absent }
    }
}

fn manifest(
    spec: &str,
    plan_json: &[u8],
    run: &Assembled,
    version: Option<String>,
    imported: Imported,
    machine: Told,
    started_unix_ns: u64,
) -> Manifest {
    let backends = run.engines.iter().map(|(name, engine)| (name.clone(), backend(engine, version.clone())));
    let stack =
        Stack { tool: Tool::this(), machine: machine.machine(), gpus: machine.gpus(), backends: backends.collect() };
    let stack_sha256 = sha256_hex(&stack.bytes());
    let epoch = Epoch {
        started_unix_ns,
        boot_sha256: None,
        stack_sha256: stack_sha256.clone(),
        changed_stack: None,
        power: None,
    };
    let models = run.models.iter().map(|(name, model)| (name.clone(), model_entry(model, run)));
    Manifest {
        format: FORMAT,
        config_sha256: sha256_hex(spec.as_bytes()),
        plan_sha256: sha256_hex(plan_json),
        stack_sha256,
        stack,
        models: models.collect(),
        residency: Vec::new(),
        epochs: vec![epoch],
        imported: Some(imported),
    }
}

fn backend(engine: &ToldEngine, version: Option<String>) -> BackendEntry {
    BackendEntry {
        engine: engine.title.clone(),
        version,
        facts: engine.settings.clone(),
        boundary: engine.boundary.clone(),
        procedures: Procedure::ALL.to_vec(),
        max_resident: None,
        token_times: false,
        virtual_clock: false,
    }
}

/// Nothing was hashed: the id stands for what the files say of the model, so that only models said to be alike are compared.
fn model_entry(model: &ToldModel, run: &Assembled) -> ModelEntry {
    let said = json!([model.name, model.params, model.bytes, model.quantisation]).to_string();
    let form = |backend: &String| {
        let form = ModelForm {
            dtype: Dtype::AsServed,
            weights_id: None,
            quantisation: model.quantisation.clone(),
            bytes: model.bytes.map(Bytes),
            file_sha256: BTreeMap::new(),
        };
        (backend.clone(), form)
    };
    let of_model = run.cells.iter().filter(|cell| cell.session.model == model.name).map(|cell| &cell.session.backend);
    ModelEntry {
        source: ModelOrigin::Served(model.name.clone()),
        weights_id: format!("said-{}", &sha256_hex(said.as_bytes())[..12]),
        params: model.params,
        architecture: None,
        served: None,
        forms: of_model.map(form).collect(),
        tokenizer_switched_off: Vec::new(),
        unused_tensors: Vec::new(),
    }
}

fn lines(run: Assembled, manifest: &Manifest, started_unix_ns: u64) -> Vec<Line> {
    let opened = Opened {
        epoch: 0,
        unix_ns: started_unix_ns,
        stack_sha256: manifest.stack_sha256.clone(),
        loop_below: LoopBelow::default(),
    };
    let count = |calls: usize| u32::try_from(calls).unwrap_or(u32::MAX);
    let degraded = run.calls.iter().filter(|call| !call.status.is_ok()).count();
    let finished = Finished { calls: count(run.calls.len()), degraded: count(degraded), made_again: 0 };
    let calls = run.calls.into_iter().map(|call| Line::Imported(Box::new(call)));
    let stated = run.stated.into_iter().map(|figure| Line::Stated(Box::new(figure)));
    [Line::Opened(opened.into())].into_iter().chain(calls).chain(stated).chain([Line::Finished(finished)]).collect()
}
