//! TensorRT's engines: built as a session is created, kept by what they were built from, told apart from the rest of a load.
//!
//! The provider builds an engine for what it takes of a graph when a session is created, if the shapes of all inputs are known
//! by then or bounded by a profile; else inside the first call, and again in every call whose shapes are new. So a profile is
//! made of the planned calls ([`Profile`]). With `trt_engine_cache_enable` it writes engines into `trt_engine_cache_path` and
//! reads them there next time, by file name alone: that they fit is the caller's affair. So the folder's name is a hash of
//! everything that they depend on ([`Content`]).
//!
//! ```text
//! <cache>/tensorrt/<key>/content        what the engines were built from, a line each
//! <cache>/tensorrt/<key>/*.engine       TensorRT's own files, beside the *.profile of each
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tempfile::TempDir;

use super::library::Inspected;
use crate::backend::{CallShape, Failure};
use crate::clock::Clock;
use crate::files;
use crate::hash::{sha256_file, sha256_hex};
use crate::lock::Held;
use crate::model::onnx::{ATTENTION_MASK, DATA_FILE, INPUT_IDS, POSITION_IDS, past_key, past_value};
use crate::scenario::OnnxSettings;
use crate::terms::model::Architecture;
use crate::terms::{Degraded, Procedure};
use crate::units::Nanos;

mod stack;

pub(super) use stack::version;

/// Options of the provider that say where engines are kept. A scenario that gives one of them keeps them itself.
const KEEPING: [&str; 2] = ["trt_engine_cache_enable", "trt_engine_cache_path"];

/// Characters of a key: as many as make two alike as good as impossible.
const KEY: usize = 32;

/// What of a model decides its engines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Model {
    /// SHA-256 of the graph file, and of the weights file where there is one.
    sha256: String,
    layers: usize,
    heads: usize,
    width: usize,
}

impl Model {
    /// Of an exported graph.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn of(graph: &Path, shape: &Architecture) -> io::Result<Self> {
        let weights = graph.with_file_name(DATA_FILE);
        let mut sha256 = sha256_file(graph)?;
        if weights.exists() {
            sha256 = format!("{sha256} {}", sha256_file(&weights)?);
        }
        Ok(Self { sha256, layers: shape.n_layer, heads: shape.n_kv_head, width: shape.head_dim })
    }
}

/// Bounds of the shapes that engines are built for: one optimisation profile for all planned calls, tuned for a decode step
/// where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Profile {
    rows: u32,
    /// Columns of the longest pass.
    columns: u32,
    /// Most columns that are cached before a pass.
    cached: u32,
}

/// One point of a profile. Its sizes fit each other, as those of every call do.
struct Point {
    rows: u32,
    columns: u32,
    cached: u32,
}

impl Profile {
    /// Of the planned calls. `None`: none is known.
    fn of(shapes: &[CallShape]) -> Option<Self> {
        let length = |shape: &CallShape| shape.prompt_tokens.saturating_add(shape.steps);
        let pass = |shape: &CallShape| match shape.procedure {
            Procedure::Uncached => length(shape),
            Procedure::Prefill | Procedure::PrefillDecode => shape.prompt_tokens,
        };
        Some(Self {
            rows: shapes.iter().map(|shape| shape.batch).max()?.max(1),
            columns: shapes.iter().map(pass).max()?.max(1),
            cached: shapes.iter().map(length).max()?.max(1),
        })
    }

    /// As the provider takes it. The smallest is a pass of one token on an empty cache, which the proof of placement makes.
    fn options(self, model: &Model) -> [(&'static str, String); 3] {
        let Self { rows, columns, cached } = self;
        [
            ("trt_profile_min_shapes", Point { rows: 1, columns: 1, cached: 0 }.shapes(model)),
            ("trt_profile_opt_shapes", Point { rows, columns: 1, cached }.shapes(model)),
            ("trt_profile_max_shapes", Point { rows, columns, cached }.shapes(model)),
        ]
    }
}

impl Point {
    /// `input_ids:1x8,…`: every input of the exporter's graphs.
    fn shapes(&self, model: &Model) -> String {
        let Self { rows, columns, cached } = self;
        let all = columns.saturating_add(*cached);
        let mut shapes = vec![
            format!("{INPUT_IDS}:{rows}x{columns}"),
            format!("{ATTENTION_MASK}:{rows}x{all}"),
            format!("{POSITION_IDS}:{rows}x{columns}"),
        ];
        for layer in 0..model.layers {
            let cache = format!("{rows}x{}x{cached}x{}", model.heads, model.width);
            shapes.extend([past_key(layer), past_value(layer)].map(|name| format!("{name}:{cache}")));
        }
        shapes.join(",")
    }
}

/// Everything that an engine depends on, by name. `Err`: something of it is not told, so that engines cannot be kept.
type Content = Result<BTreeMap<&'static str, String>, String>;

/// The content of a session's engines; `options` are those of the provider but for where engines are kept.
fn content(
    model: &Model,
    options: &[(String, String)],
    device: u32,
    library: &Inspected,
    tensorrt: Option<&str>,
    boards: Result<String, String>,
) -> Content {
    let tensorrt = tensorrt.ok_or("the version of TensorRT is not told")?;
    let options: Vec<String> = options.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Ok(BTreeMap::from([
        ("model", model.sha256.clone()),
        ("provider_options", options.join(" ")),
        ("device", device.to_string()),
        ("onnxruntime", format!("{} {}", library.version, library.sha256)),
        ("tensorrt", tensorrt.to_owned()),
        ("boards", boards?),
    ]))
}

/// Where the engines of a session are.
#[derive(Debug)]
pub(super) struct Engines {
    folder: PathBuf,
    /// Set beside what the scenario sets.
    options: Vec<(String, String)>,
    version: Option<String>,
    place: Place,
}

/// How long engines stay.
#[derive(Debug)]
enum Place {
    /// In the cache, by their content; nobody else builds there meanwhile.
    Kept {
        /// Ends with the session.
        _lock: Held,
    },
    /// With the session.
    Passing {
        /// Why they are not kept.
        why: String,
        /// Removed with the session.
        _folder: TempDir,
    },
}

/// One engine's file: its size, and when it was written.
type Written = BTreeMap<PathBuf, (u64, SystemTime)>;

impl Engines {
    /// Of a session on this machine. `None`: the scenario says itself where engines are kept.
    ///
    /// # Errors
    /// There is no folder for them.
    pub(super) fn of(
        cache: &Path,
        model: &Model,
        settings: &OnnxSettings,
        shapes: &[CallShape],
        library: &Inspected,
    ) -> Result<Option<Self>, String> {
        let asked = |name: &str| settings.provider_options.iter().any(|(key, _)| key == name);
        if KEEPING.iter().any(|key| asked(key)) {
            return Ok(None);
        }
        let profile = Profile::of(shapes).map(|profile| profile.options(model)).into_iter().flatten();
        // A profile in part would be none.
        let has_own = settings.provider_options.iter().any(|(key, _)| key.starts_with("trt_profile_"));
        let mut options: Vec<(String, String)> =
            profile.filter(|_| !has_own).map(|(key, value)| (key.to_owned(), value)).collect();
        let version = version();
        let mut all = options.clone();
        all.extend(settings.provider_options.iter().cloned());
        let content = content(model, &all, settings.device, library, version.as_deref(), stack::boards());
        let (folder, place) = place(&cache.join("tensorrt"), content)?;
        let path = folder.to_str().ok_or_else(|| format!("{} is no text", folder.display()))?.to_owned();
        options.extend(KEEPING.map(str::to_owned).into_iter().zip(["1".to_owned(), path]));
        Ok(Some(Self { folder, options, version, place }))
    }

    /// Settings of a session that has its engines here.
    pub(super) fn set(&self, settings: &OnnxSettings) -> OnnxSettings {
        let mut settings = settings.clone();
        settings.provider_options.extend(self.options.iter().cloned());
        settings
    }

    /// Engines that are there now.
    pub(super) fn written(&self) -> Written {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let engines = entries.filter(|path| path.extension().is_some_and(|extension| extension == "engine"));
        let told = engines.filter_map(|path| {
            let metadata = fs::metadata(&path).ok()?;
            Some((path, (metadata.len(), metadata.modified().ok()?)))
        });
        told.collect()
    }

    /// Removes all engines.
    fn forget(&self) {
        for path in self.written().into_keys() {
            // What stays is read again, and refused again.
            drop(fs::remove_file(path));
        }
    }

    /// For the evidence of a load.
    pub(super) fn shown(&self, built: Option<Nanos>) -> [(String, String); 2] {
        let count = self.written().len();
        let kept = match &self.place {
            Place::Kept { .. } => "kept".to_owned(),
            Place::Passing { why, .. } => format!("not kept: {why}"),
        };
        let engines = match (count, built) {
            (0, _) => "none as the session was created: they are built inside calls".to_owned(),
            (_, Some(_)) => format!("{count} built in this load; {kept}"),
            (_, None) => format!("{count} from an earlier load"),
        };
        let version = self.version.clone().unwrap_or_else(|| "not told".to_owned());
        [("tensorrt.engines".to_owned(), engines), ("tensorrt.version".to_owned(), version)]
    }
}

/// The folder of a content, and how long it stays.
fn place(root: &Path, content: Content) -> Result<(PathBuf, Place), String> {
    let kept = content.and_then(|content| {
        let lines: String = content.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        let folder = root.join(&sha256_hex(lines.as_bytes())[..KEY]);
        let lock = hold(&folder, &lines).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok((folder, Place::Kept { _lock: lock }))
    });
    kept.or_else(|why: String| {
        let passing = tempfile::tempdir().map_err(|error| error.to_string())?;
        Ok((passing.path().to_owned(), Place::Passing { why, _folder: passing }))
    })
}

/// Makes a folder and keeps others out of it.
fn hold(folder: &Path, content: &str) -> io::Result<Held> {
    fs::create_dir_all(folder)?;
    let lock = File::create(folder.join("lock"))?;
    lock.try_lock().map_err(|_| io::Error::other("another session has its engines there"))?;
    files::replace(&folder.join("content"), content.as_bytes())?;
    Ok(Held::new(lock))
}

/// A session, and what building its engines took.
#[derive(Debug)]
pub(super) struct Created<S> {
    pub(super) session: S,
    /// Time of the session that built them and is gone. `None`: they were there, or are built inside calls.
    pub(super) built: Option<Nanos>,
}

/// Creates a session whose engines are there: where `new` has to build some first, it is made once more, so that what a session
/// takes is the same with engines of this load and of an earlier one.
///
/// # Errors
/// What `new` says.
pub(super) fn create<S>(
    engines: Option<&Engines>,
    clock: &dyn Clock,
    mut new: impl FnMut() -> Result<S, Failure>,
) -> Result<Created<S>, Failure> {
    let Some(engines) = engines else { return Ok(Created { session: new()?, built: None }) };
    let begin = clock.now();
    let before = engines.written();
    let mut made = new();
    if !before.is_empty() && made.as_ref().is_err_and(|failure| is_unreadable(&failure.message)) {
        // Cut off while it was written, or of a board with more memory.
        engines.forget();
        made = new();
    }
    let session = made.map_err(named)?;
    if engines.written() == before {
        return Ok(Created { session, built: None });
    }
    let built = clock.now().since(begin);
    drop(session);
    Ok(Created { session: new().map_err(named)?, built: Some(built) })
}

/// Whether the provider cannot read an engine that was kept.
fn is_unreadable(message: &str) -> bool {
    message.to_lowercase().contains("could not deserialize engine from cache")
}

/// A failure by what TensorRT did not do: build an engine. What it lacks memory for stays what it is.
fn named(failure: Failure) -> Failure {
    const NOT_BUILT: [&str; 4] = [
        "failed to create engine from network",
        "failed to deserialize engine",
        "could not build engine",
        "failed to build engine",
    ];
    let message = failure.message.to_lowercase();
    if failure.kind != Degraded::Error || !NOT_BUILT.iter().any(|words| message.contains(words)) {
        return failure;
    }
    Failure::new(Degraded::CompileFailed, &format!("TensorRT could not build its engine: {}", failure.message))
}

/// Why a call does not count in which engines were built. `None`: none was.
pub(super) fn built_inside(before: &Written, after: &Written) -> Option<Failure> {
    let new = after.iter().filter(|(path, written)| before.get(*path) != Some(*written)).count();
    (new > 0).then(|| {
        let message = format!(
            "TensorRT built {new} of its engines inside the call, whose shapes are beyond those that it built for: \
             provider_options trt_profile_min_shapes, trt_profile_opt_shapes, trt_profile_max_shapes say for which"
        );
        Failure::new(Degraded::Reloaded, &message)
    })
}

#[cfg(test)]
mod tests;
