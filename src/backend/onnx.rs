//! ONNX Runtime inside this process, on the CPU or through CUDA.
//!
//! - [`library`] finds the shared library, [`api`] makes its version usable, [`runtime`] starts it once per process.
//! - [`options`] sets a session as the scenario says, [`graph`] reads what the loaded graph takes and gives,
//!   [`placement`] turns the runtime's record of where nodes went, or its profile of a call, into evidence.
//! - [`forward`] is one forward pass, [`generate`] the timed loops over it, [`session`] a call with its deadline.
//! - `tensorrt` keeps that provider's engines, and tells building them apart from the rest of a load.
//! - [`verify`] compares log-probabilities with a reference.

pub mod api;
pub mod generate;
pub mod library;
pub mod options;
pub mod placement;
mod probe;
mod profile;
mod raw;
pub mod runtime;
pub mod session;
mod tensorrt;
pub mod verify;

pub use phasebench_onnx_pass::{argmax, batch, error_text, forward, graph};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ort::memory::AllocationDevice;
use ort::session::builder::SessionBuilder;

use self::forward::LoadedGraph;
use self::library::build::Build;
use self::placement::Proof;
use self::runtime::{Runtime, RuntimeError};
use self::session::{Bounds, OnnxSession};
use self::tensorrt::{Created, Engines};
use super::cancel::{CancelToken, Deadline, Waited};
use super::{
    Backend, BackendError, CallShape, Description, Failure, LibraryFacts, LoadReport, Prepared, Session, Surroundings,
    watch,
};
use crate::model::onnx::Precision;
use crate::model::{self, ModelSource};
use crate::process;
use crate::scenario::{ArgMax, OnnxSettings, Provider};
use crate::terms::{BUILD_ENGINES, Degraded, Dtype, Mode, Procedure};
use crate::units::Bytes;

/// ONNX Runtime, set one way.
pub struct OnnxBackend {
    name: String,
    settings: OnnxSettings,
    surroundings: Surroundings,
}

/// What [`OnnxBackend::prepare`] makes and [`OnnxBackend::load`] takes.
struct Exported {
    graph: PathBuf,
    bounds: Bounds,
    /// `None`: another provider than TensorRT.
    tensorrt: Option<tensorrt::Model>,
}

/// What is known of a session before it is created, beside its graph.
#[derive(Clone, Copy, Default)]
struct Ahead<'a> {
    shapes: &'a [CallShape],
    /// As [`Exported::tensorrt`].
    tensorrt: Option<&'a tensorrt::Model>,
}

impl OnnxBackend {
    /// An engine with its name in the scenario file. Touches nothing yet.
    #[must_use]
    pub fn new(name: &str, settings: OnnxSettings, surroundings: Surroundings) -> Self {
        Self { name: name.to_owned(), settings, surroundings }
    }
}

impl Backend for OnnxBackend {
    fn describe(&mut self) -> Result<Description, BackendError> {
        let runtime = self.start().map_err(|error| self.unavailable(&error.to_string(), &error.fix()))?;
        if self.settings.provider != Provider::Cpu {
            self.preflight(&runtime)?;
        }
        let library = &runtime.library;
        let mut facts = options::facts(&self.settings, library.api);
        for (key, value) in [
            ("library", library.path.display().to_string()),
            ("library_sha256", library.sha256.clone()),
            ("build_info", library.build_info.clone()),
            ("providers_compiled_in", library.providers.join(" ")),
            ("ort_api", format!("1.{}", library.api)),
            ("arg_max", arg_max(self.settings.arg_max).to_owned()),
        ] {
            facts.insert(key.to_owned(), value);
        }
        if self.settings.provider == Provider::Tensorrt {
            facts.extend(tensorrt::version().map(|version| ("tensorrt".to_owned(), version)));
        }
        Ok(Description {
            engine: "ONNX Runtime".to_owned(),
            version: Some(library.version.clone()),
            facts,
            library: Some(LibraryFacts { path: library.path.clone(), sha256: library.sha256.clone() }),
            server: None,
            max_resident: None,
            boundary: boundary(self.settings.arg_max),
            procedures: Procedure::ALL.to_vec(),
            token_times: true,
            virtual_clock: false,
        })
    }

    fn prepare(&mut self, model: &ModelSource) -> Result<Prepared, BackendError> {
        let failed = |why: &dyn std::fmt::Display| BackendError::Prepare {
            model: model.name.clone(),
            backend: self.name.clone(),
            why: why.to_string(),
        };
        let cache = &self.surroundings.cache;
        let folder = model::materialise(&model.form, cache).map_err(|e| failed(&e))?;
        let options = model::onnx::Options {
            precision: match self.settings.dtype {
                Dtype::F32 => Precision::F32,
                Dtype::F16 | Dtype::AsServed => Precision::F16,
            },
            arg_max: match self.settings.arg_max {
                ArgMax::Outside => model::onnx::ArgMax::Outside,
                ArgMax::Inside => model::onnx::ArgMax::Inside,
            },
        };
        let exported = model::onnx::export(&folder, options, cache).map_err(|e| failed(&e))?;
        let architecture = folder.architecture();
        let of_tensorrt = (self.settings.provider == Provider::Tensorrt)
            .then(|| tensorrt::Model::of(&exported.path, architecture))
            .transpose()
            .map_err(|e| failed(&e))?;
        Ok(Prepared {
            model: model.name.clone(),
            weights_id: exported.weights_id,
            dtype: self.settings.dtype,
            params: Some(folder.parameters()),
            bytes: Some(Bytes(exported.bytes)),
            path: Some(exported.path.clone()),
            shape: None,
            quantisation: None,
            inner: Box::new(Exported {
                graph: exported.path,
                bounds: Bounds { context: architecture.n_positions, vocabulary: architecture.vocab },
                tensorrt: of_tensorrt,
            }),
        })
    }

    fn load(
        &mut self,
        model: &Prepared,
        shapes: &[CallShape],
        by: Deadline,
        cancel: &CancelToken,
    ) -> Result<Box<dyn Session>, Failure> {
        Ok(Box::new(self.load_for(model, shapes, by, cancel)?))
    }
}

impl OnnxBackend {
    /// As [`Backend::load`], for callers that need more than the contract offers.
    ///
    /// # Errors
    /// See [`Backend::load`].
    pub fn load_session(&self, model: &Prepared, by: Deadline, cancel: &CancelToken) -> Result<OnnxSession, Failure> {
        self.load_for(model, &[], by, cancel)
    }

    fn load_for(
        &self,
        model: &Prepared,
        shapes: &[CallShape],
        by: Deadline,
        cancel: &CancelToken,
    ) -> Result<OnnxSession, Failure> {
        let Some(exported) = model.inner.downcast_ref::<Exported>() else {
            return Err(Failure::new(Degraded::Error, "the model was prepared for another engine"));
        };
        let ahead = Ahead { shapes, tensorrt: exported.tensorrt.as_ref() };
        self.open_for(&exported.graph, exported.bounds, ahead, by, cancel)
    }

    /// Loads a graph of the exporter's interface.
    ///
    /// # Errors
    /// The runtime's words, or what the graph lacks.
    pub fn open(
        &self,
        graph: &Path,
        bounds: Bounds,
        by: Deadline,
        cancel: &CancelToken,
    ) -> Result<OnnxSession, Failure> {
        self.open_for(graph, bounds, Ahead::default(), by, cancel)
    }

    fn open_for(
        &self,
        graph: &Path,
        bounds: Bounds,
        ahead: Ahead<'_>,
        by: Deadline,
        cancel: &CancelToken,
    ) -> Result<OnnxSession, Failure> {
        let error = |why: &str| session::failure(why, Waited::Done, by);
        let clock = self.surroundings.clock.clone();
        let this_process = [std::process::id()];
        let host_rss_before = process::resident(&this_process);
        let runtime = self.start().map_err(|e| error(&e.to_string()))?;
        let begin = clock.now();
        let api = runtime.library.api;
        let engines = self.engines(&runtime, ahead).map_err(|why| error(&why))?;
        let settings = engines.as_ref().map_or_else(|| self.settings.clone(), |engines| engines.set(&self.settings));
        let builder = || options::builder(&runtime.environment, &settings, api).map_err(|e| error(&error_text(&e)));
        let mut first = Some(builder()?);
        let set = clock.now();
        let Created { session, built } = tensorrt::create(engines.as_ref(), &*clock, || {
            let builder = first.take().map_or_else(&builder, Ok)?;
            commit(builder, graph, by, cancel)
        })?;
        let created = clock.now();
        let host_rss_after = process::resident(&this_process);
        let proof = self.prove(&session, api, || {
            profile::nodes(builder().map_err(|e| e.message)?, graph, &*clock, |session| self.wrap(session))
        });
        let proven = clock.now();
        let graph = self.wrap(session).map_err(|e| error(&e))?;
        let on_device = self.settings.provider.is_on_cuda();
        let mut attribution = placement::attribution(self.settings.provider, &proof);
        if on_device {
            attribution.evidence.device = Some(format!("cuda:{}", self.settings.device));
        }
        attribution.evidence.shown.extend(engines.iter().flat_map(|engines| engines.shown(built)));
        let building = built.map(|time| (BUILD_ENGINES.to_owned(), time));
        let creating = created.since(set + built.unwrap_or_default());
        let report = LoadReport {
            parts: [("session_options".to_owned(), set.since(begin))]
                .into_iter()
                .chain(building)
                .chain([("create_session".to_owned(), creating)])
                .collect(),
            attribution,
            host_rss_before,
            host_rss_after,
            device_bytes: None,
            proof: proof.took_long().then(|| proven.since(created)),
        };
        Ok(OnnxSession { graph, clock, bounds, report, on_device, engines })
    }

    /// Where TensorRT has the engines of a session. `None`: another provider, or the scenario says where.
    fn engines(&self, runtime: &Runtime, ahead: Ahead<'_>) -> Result<Option<Engines>, String> {
        let Some(model) = ahead.tensorrt else { return Ok(None) };
        let library = &runtime.library;
        // Only a provider that was asked for has loaded TensorRT, which tells its version then.
        drop(options::builder(&runtime.environment, &self.settings, library.api).map_err(|e| error_text(&e))?);
        Engines::of(&self.surroundings.cache, model, &self.settings, ahead.shapes, library)
    }

    /// How values reach a session's graph.
    fn wrap(&self, session: ort::session::Session) -> Result<LoadedGraph, String> {
        let signature = graph::signature(&session)?;
        if !self.settings.provider.is_on_cuda() {
            return Ok(LoadedGraph::new(session, signature));
        }
        let device = i32::try_from(self.settings.device).unwrap_or(i32::MAX);
        LoadedGraph::bound(session, signature, AllocationDevice::CUDA, device).map_err(|e| error_text(&e))
    }

    /// Where a session's nodes went: as the runtime recorded it, else as it profiles it.
    fn prove(
        &self,
        session: &ort::session::Session,
        api: u32,
        profile: impl FnOnce() -> Result<Vec<raw::Node>, String>,
    ) -> Proof {
        if api >= api::TELLS_ASSIGNMENT
            && let Ok(nodes) = raw::placement(session)
            && !nodes.is_empty()
        {
            return Proof::Assigned(nodes);
        }
        profile().map_or_else(Proof::None, Proof::Profiled)
    }

    /// The runtime that the settings name.
    fn start(&self) -> Result<Runtime, RuntimeError> {
        let OnnxSettings { source, provider, .. } = &self.settings;
        runtime::start(library::source::find(&self.surroundings.cache, source, *provider)?)
    }

    /// Whether the provider can be had, before anything is exported or loaded for it.
    fn preflight(&self, runtime: &Runtime) -> Result<(), BackendError> {
        let (library, provider) = (&runtime.library, self.settings.provider);
        let word = provider.word();
        let fix = provider_fix(provider);
        if !library.has(provider) {
            let (path, has) = (library.path.display(), library.providers.join(", "));
            let name = provider.name();
            return Err(
                self.unavailable(&format!("provider {word}: {path} was built without {name} (it has {has})"), &fix)
            );
        }
        options::preflight(&runtime.environment, &self.settings, library.api).map_err(|error| {
            let device =
                if provider.is_indexed() { format!(", device {}", self.settings.device) } else { String::new() };
            let fix = if lacks_tensorrt(&error_text(&error)) { TENSORRT_FIX.to_owned() } else { fix.clone() };
            let fix = match (provider.is_indexed(), self.settings.provider_options.is_empty()) {
                (true, _) => format!("{fix}   (and check the driver with nvidia-smi)"),
                (false, false) => format!("{fix}   (or without `provider_options`, which are handed on as they are)"),
                (false, true) => fix,
            };
            self.unavailable(&format!("provider {word}{device}: {}", error_text(&error)), &fix)
        })
    }

    fn unavailable(&self, what: &str, fix: &str) -> BackendError {
        BackendError::Unavailable { backend: self.name.clone(), what: what.to_owned(), fix: fix.to_owned() }
    }
}

/// What helps where the provider is there and TensorRT is not, or is another one.
const TENSORRT_FIX: &str = "install NVIDIA's TensorRT in the version that the message names, where the system's loader finds it \
                            (LD_LIBRARY_PATH=FOLDER phasebench …)";

/// Whether it is TensorRT's own library that the system's loader did not find.
fn lacks_tensorrt(message: &str) -> bool {
    message.contains("libnvinfer") || message.contains("libnvonnxparser")
}

/// Creates a session, as long as there is time for it.
fn commit(
    mut builder: SessionBuilder,
    graph: &Path,
    by: Deadline,
    cancel: &CancelToken,
) -> Result<ort::session::Session, Failure> {
    let canceler = builder.canceler();
    let (loaded, waited) =
        watch::watched(by, cancel, move || drop(canceler.cancel()), || builder.commit_from_file(graph));
    let session = loaded.map_err(|e| session::failure(&error_text(&e), waited, by))?;
    if waited != Waited::Done {
        // A version that cannot be stopped has loaded it to the end nevertheless.
        return Err(session::failure("", waited, by));
    }
    Ok(session)
}

/// What helps where a provider is missing.
fn provider_fix(provider: Provider) -> String {
    match provider {
        Provider::Cuda | Provider::Openvino => {
            format!("phasebench setup onnxruntime{}", Build::with(provider).flag())
        }
        Provider::Tensorrt => {
            "phasebench setup onnxruntime --cuda   (on a machine with an NVIDIA GPU, with NVIDIA's TensorRT \
                               where the system's loader finds it)"
                .to_owned()
        }
        _ => format!("name a library that was built with it: onnx: {{ library: PATH, provider: {} }}", provider.word()),
    }
}

fn arg_max(place: ArgMax) -> &'static str {
    match place {
        ArgMax::Outside => "outside: by this program, on a view of the logits",
        ArgMax::Inside => "inside: by a node of the graph",
    }
}

/// What lies between the two clock readings of each mode.
fn boundary(place: ArgMax) -> BTreeMap<Mode, String> {
    let choice = match place {
        ArgMax::Outside => "arg-max over the logits by this program",
        ArgMax::Inside => "arg-max inside the graph",
    };
    let left_out = "token ids made, padded and checked before; host buffers allocated before";
    [
        (
            Mode::Prefill,
            format!("one Run over all prompt tokens, KV cache kept as runtime values, {choice}; {left_out}"),
        ),
        (
            Mode::KvDecode,
            format!(
                "per step one Run on one token per row, KV cache fed back without host copies, {choice}; \
                 ends when the last step's token is known; {left_out}"
            ),
        ),
        (Mode::E2eKv, "prefill and kv_decode added up".to_owned()),
        (
            Mode::GenerateUncached,
            format!("per step one Run over the whole sequence with an empty cache, {choice}; {left_out}"),
        ),
    ]
    .into()
}
