//! The engines that are held to the contract.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use phasebench::backend::onnx::library::source::find;
use phasebench::backend::onnx::{OnnxBackend, library};
use phasebench::backend::simulated::SimulatedBackend;
use phasebench::backend::worker::WorkerBackend;
use phasebench::backend::worker::clock::KernelClock;
use phasebench::backend::worker::launch::installed::{Image, Record};
use phasebench::backend::worker::serve::{Serving, serve};
use phasebench::backend::worker::settings::Workers;
use phasebench::backend::worker::torch::Environment;
use phasebench::backend::{
    Backend, BackendError, CallShape, CancelToken, Deadline, Description, Failure, Prepared, Session, Surroundings,
};
use phasebench::clock::RealClock;
use phasebench::model::{self, ModelSource};
use phasebench::scenario::{
    ArgMax, CompileBackend, CompileMode, CompileSettings, ConnectSettings, Dynamic, Fault, FaultKind, Isolation,
    Launch, Law, OnRecompile, OnnxSettings, Optimisation, Pace, Provider, Resources, RuntimeSource, SimulatedSettings,
    TorchDevice, TorchSettings, TorchSource,
};
use phasebench::terms::Dtype;
use phasebench::units::Bytes;
use tempfile::TempDir;

/// Address space that torch loads a small model in. Unit: KiB.
const TORCH_ADDRESS_SPACE: u64 = 8_000_000;

/// Says that something was not asked for, past the test harness, which keeps what passing tests print.
pub fn not_asked_for(what: &str, why: &str) {
    drop(writeln!(std::io::stderr(), "not run: {what}: {why}"));
}

/// An engine to be held to the contract.
pub struct Case {
    pub backend: Box<dyn Backend>,
    pub surroundings: Surroundings,
    /// Whether it computes: its tokens are then those of the weights, and ids are checked.
    pub real: bool,
    /// Whether it generates without a cache as well.
    pub uncached: bool,
    /// Whether its processes are ours to lose.
    pub processes: bool,
    /// The same engine, out of memory in every large call; or why it cannot be made so.
    pub starved: Result<Box<dyn Backend>, &'static str>,
    /// Whatever must live as long.
    _kept: Vec<TempDir>,
}

pub const ONNX: OnnxSettings = OnnxSettings {
    source: RuntimeSource::Selected,
    provider: Provider::Cpu,
    provider_options: Vec::new(),
    device: 0,
    threads: Some(1),
    optimisation: Optimisation::All,
    dtype: Dtype::F32,
    arg_max: ArgMax::Outside,
    isolation: Isolation::None,
};

/// Exports of all tests, so that none is made twice; runtimes are looked for where the program looks.
pub fn surroundings() -> Surroundings {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    let cache = CACHE.get_or_init(|| {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("worker-cache");
        let root = phasebench::cache::root();
        let located = library::locate(&root);
        let located =
            located.unwrap_or_else(|e| panic!("{e}\n  these tests need it: run `phasebench setup onnxruntime`"));
        library::select(&cache, &located.path).unwrap();
        if let Some(environment) = Environment::read(&root) {
            environment.write(&cache).unwrap();
        }
        if let Some(image) = Image::read(&root) {
            image.write(&cache).unwrap();
        }
        cache
    });
    Surroundings::new(Arc::new(RealClock::default()), cache.clone(), 1)
}

pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_phasebench"))
}

fn script(faults: Vec<Fault>) -> SimulatedSettings {
    let law = |base| Law { base, exponent: 0.0 };
    SimulatedSettings {
        load: law(Duration::from_millis(1)),
        prefill_per_token: law(Duration::from_micros(50)),
        decode_per_step: law(Duration::from_millis(2)),
        noise: 0.0,
        autocorrelation: 0.0,
        cold_factor: 1.0,
        cold_shape_factor: 1.0,
        drift_per_call: 0.0,
        early_stop_rate: 0.0,
        disturbances: None,
        faults,
        power_w: None,
        max_resident: None,
        pace: Pace::Real,
    }
}

fn starving() -> SimulatedSettings {
    script(vec![Fault { kind: FaultKind::Oom, model: None, scenario: None, every: 1 }])
}

pub fn simulated() -> Result<Case, String> {
    let surroundings = surroundings();
    let backend = |script| Box::new(SimulatedBackend::new("simulated", script, surroundings.clone()));
    Ok(Case {
        backend: backend(script(Vec::new())),
        starved: Ok(backend(starving())),
        real: false,
        uncached: true,
        processes: false,
        _kept: Vec::new(),
        surroundings,
    })
}

/// The simulated engine says what its numbers are of; behind the protocol it is asked for the weights' own name.
struct Renamed(SimulatedBackend);

impl Backend for Renamed {
    fn describe(&mut self) -> Result<Description, BackendError> {
        self.0.describe()
    }

    fn prepare(&mut self, model: &ModelSource) -> Result<Prepared, BackendError> {
        let weights_id = model::materialise(&model.form, &surroundings().cache).unwrap().weights_id().unwrap();
        Ok(Prepared { weights_id, ..self.0.prepare(model)? })
    }

    fn load(
        &mut self,
        model: &Prepared,
        shapes: &[CallShape],
        by: Deadline,
        cancel: &CancelToken,
    ) -> Result<Box<dyn Session>, Failure> {
        self.0.load(model, shapes, by, cancel)
    }
}

/// The simulated engine behind the protocol, at an address.
fn served(script: SimulatedSettings, folder: &TempDir, around: &Surroundings) -> WorkerBackend {
    let address = format!("unix:{}/s", folder.path().display());
    let serving = Serving { listen: address.parse().unwrap(), token: None, exit_on_stdin_close: false };
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let surroundings = Surroundings { clock: Arc::new(KernelClock), ..surroundings() };
        let make = move |_: &_| {
            let backend = SimulatedBackend::new("served", script.clone(), surroundings.clone());
            Ok(Box::new(Renamed(backend)) as Box<dyn Backend>)
        };
        let told = |_: &_| tell.send(()).map_err(std::io::Error::other);
        serve(&serving, Box::new(make), &CancelToken::default(), told).unwrap();
    });
    told.recv().unwrap();
    WorkerBackend::new("served", Workers::of_others(&ConnectSettings::at(&address)), around)
}

pub fn simulated_at_an_address() -> Result<Case, String> {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let surroundings = surroundings();
    Ok(Case {
        backend: Box::new(served(script(Vec::new()), &folders[0], &surroundings)),
        starved: Ok(Box::new(served(starving(), &folders[1], &surroundings))),
        real: false,
        uncached: true,
        processes: false,
        _kept: folders.into(),
        surroundings,
    })
}

pub fn onnx_in_process() -> Result<Case, String> {
    let surroundings = surroundings();
    let backend = Box::new(OnnxBackend::new("onnx", ONNX, surroundings.clone()));
    let starved = Err("its memory is this program's own");
    Ok(Case { backend, starved, real: true, uncached: true, processes: false, _kept: Vec::new(), surroundings })
}

pub fn onnx_out_of_process() -> Result<Case, String> {
    let surroundings = surroundings();
    let backend = |program: &Path| {
        Box::new(WorkerBackend::new("onnx", Workers::onnx(&ONNX), &surroundings).with_program(program))
    };
    let folder = tempfile::tempdir().unwrap();
    let limited = limited(&folder, 2_000_000);
    Ok(Case {
        backend: backend(program()),
        starved: Ok(backend(&limited)),
        real: true,
        uncached: true,
        processes: true,
        _kept: vec![folder],
        surroundings,
    })
}

/// Environment variable that names ONNX Runtimes of the user's cache to hold to the contract: `1.20.1`, `1.24.1/openvino`.
const OTHERS: &str = "PHASEBENCH_TEST_ONNXRUNTIMES";

/// Other ONNX Runtimes than the one in use, each in a process of its own, by name.
pub fn onnx_of_other_versions() -> Result<Vec<(String, Case)>, String> {
    asked_for(OTHERS)?;
    let named = std::env::var(OTHERS).unwrap();
    Ok(named.split_whitespace().map(|name| (name.to_owned(), onnx_of_version(name))).collect())
}

fn onnx_of_version(name: &str) -> Case {
    let (version, provider) = name.split_once('/').unwrap_or((name, "cpu"));
    let provider = Provider::of_word(provider).unwrap();
    let located = find(&phasebench::cache::root(), &RuntimeSource::Version(version.to_owned()), provider).unwrap();
    let settings = OnnxSettings { source: RuntimeSource::Library(located.path), provider, ..ONNX };
    let surroundings = surroundings();
    let backend = |program: &Path| {
        Box::new(WorkerBackend::new("onnx", Workers::onnx(&settings), &surroundings).with_program(program))
    };
    let folder = tempfile::tempdir().unwrap();
    let limited = limited(&folder, 2_000_000);
    Case {
        backend: backend(program()),
        starved: if provider == Provider::Cpu { Ok(backend(&limited)) } else { Err("its libraries need more to load") },
        real: true,
        uncached: true,
        processes: true,
        _kept: vec![folder],
        surroundings: surroundings.clone(),
    }
}

/// This program with so much address space in KiB for all it starts: a model loads, and no tensor of a large batch fits.
fn limited(folder: &TempDir, address_space: u64) -> PathBuf {
    let limited = folder.path().join("limited");
    let script = format!("#!/bin/sh\nulimit -v {address_space}\nexec '{}' \"$@\"\n", program().display());
    std::fs::write(&limited, script).unwrap();
    std::fs::set_permissions(&limited, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    limited
}

/// Environment variable that asks for tests of the torch environment.
pub const TORCH: &str = "PHASEBENCH_TEST_TORCH";

/// Whether an environment variable asks for tests.
pub fn asked_for(variable: &str) -> Result<(), String> {
    let asked = std::env::var(variable).is_ok_and(|asked| !asked.is_empty());
    if asked { Ok(()) } else { Err(format!("{variable} is not set")) }
}

fn torch(launch: Launch, compile: Option<CompileSettings>) -> Result<Case, String> {
    asked_for(match launch {
        Launch::Process => TORCH,
        Launch::Docker => "PHASEBENCH_TEST_DOCKER",
    })?;
    Ok(torch_as(launch, compile))
}

/// What was asked for and is not set up is an error, not left out.
fn torch_as(launch: Launch, compile: Option<CompileSettings>) -> Case {
    let surroundings = surroundings();
    let spec = TorchSettings {
        source: TorchSource::Selected,
        launch,
        resources: Resources::default(),
        device: TorchDevice::Cpu,
        dtype: Dtype::F32,
        threads: Some(1),
        compile,
    };
    // What is compiled is the pass with a cache.
    let uncached = spec.compile.is_none();
    let folder = tempfile::tempdir().unwrap();
    // A container has a limit of its own; a process has the address space, of which torch's libraries take much.
    let memory = (launch == Launch::Docker).then_some(Bytes(2 << 30));
    let resources = Resources { memory, ..Resources::default() };
    let starved = TorchSettings { resources, ..spec.clone() };
    let keeper = if launch == Launch::Docker { program().to_owned() } else { limited(&folder, TORCH_ADDRESS_SPACE) };
    let backend = |spec: TorchSettings, program: &Path| {
        Box::new(WorkerBackend::new("torch", Workers::torch(&spec), &surroundings).with_program(program))
    };
    Case {
        backend: backend(spec, program()),
        starved: Ok(backend(starved, &keeper)),
        real: true,
        uncached,
        processes: true,
        _kept: vec![folder],
        surroundings: surroundings.clone(),
    }
}

pub fn torch_eager() -> Result<Case, String> {
    torch(Launch::Process, None)
}

pub fn torch_in_docker() -> Result<Case, String> {
    torch(Launch::Docker, None)
}

pub fn torch_compile() -> Result<Case, String> {
    let compile = CompileSettings {
        prefill: true,
        decode: true,
        backend: CompileBackend::Inductor,
        mode: CompileMode::Default,
        dynamic: Dynamic::Static,
        buckets: Vec::new(),
        fullgraph: true,
        on_recompile: OnRecompile::Fail,
        recompile_limit: None,
    };
    torch(Launch::Process, Some(compile))
}
