//! What is written to `manifest.json`: the stack's fingerprint, the models, and each process that worked on the run.
//!
//! The [`Stack`] is what two runs must share before a difference between them can be laid on anything else; its
//! hash says at a glance whether they do. What identifies the experiment (scenario file, plan, weights) and what is
//! different every time (when it started, which boot) stands outside it.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::record::calibration::Measured;
use crate::record::plan::SessionKey;
use crate::terms::continuity::Continuity;
use crate::terms::sensor::FoundSensors;
use crate::terms::{Mode, Procedure, SIMULATED, SensorKind};
use crate::units::Nanos;

mod changes;
mod imported;
mod machine;
mod models;

pub use changes::{Change, Weight};
pub use imported::{Imported, ImportedFile};
pub use machine::{Gpu, Gpus, Machine, listed};
pub use models::{ModelEntry, ModelForm, ModelOrigin};

/// Version of this format. A reader refuses others.
pub const FORMAT: u32 = 1;

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not a manifest of a version this program reads.
    #[error("manifest.json has format {found}, this version reads {FORMAT}")]
    Format {
        /// The version it claims.
        found: u64,
    },
    /// A model has a shape that none can have.
    #[error("manifest.json: model `{model}`: {why}")]
    Shape {
        /// Its name.
        model: String,
        /// What is too large.
        why: String,
    },
    /// It does not parse.
    #[error("manifest.json: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// The whole of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// SHA-256 of `spec.yaml`, byte for byte.
    pub config_sha256: String,
    /// SHA-256 of `plan.json`, byte for byte.
    pub plan_sha256: String,
    /// SHA-256 of [`Manifest::stack`].
    pub stack_sha256: String,
    /// What the first process of the run found.
    pub stack: Stack,
    /// By the names of the scenario file.
    pub models: BTreeMap<String, ModelEntry>,
    /// Sessions kept loaded together, by residency id.
    pub residency: Vec<Vec<SessionKey>>,
    /// One per process that worked on the run; every resume adds one.
    pub epochs: Vec<Epoch>,
    /// Where the figures come from. `None`: this program measured them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Imported>,
}

/// What two runs must share for a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stack {
    /// This program.
    pub tool: Tool,
    /// The processor side.
    pub machine: Machine,
    /// The GPU side.
    pub gpus: Gpus,
    /// By the names of the scenario file.
    pub backends: BTreeMap<String, BackendEntry>,
}

/// This program as built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Version.
    pub version: String,
    /// Git commit, with `-modified` where the sources differed from it. `None`: not built from a repository.
    pub commit: Option<String>,
    /// The compiler's own version line. `None`: it did not say.
    pub rustc: Option<String>,
    /// `release` or `debug`. `None`: unknown.
    pub profile: Option<String>,
    /// Target triple. `None`: unknown.
    pub target: Option<String>,
    /// Instruction sets the compiler was allowed to use; more than the target's base with `target-cpu=native`.
    pub target_features: Vec<String>,
}

/// One engine, set one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendEntry {
    /// The engine's name for people.
    pub engine: String,
    /// Its version as it reports itself. `None`: it does not say.
    pub version: Option<String>,
    /// Build info, library hash, settings as made.
    pub facts: BTreeMap<String, String>,
    /// What each mode's timed region includes and leaves out.
    pub boundary: BTreeMap<Mode, String>,
    /// What it can be asked for.
    pub procedures: Vec<Procedure>,
    /// Most sessions it keeps loaded at once. `None`: no limit of its own.
    pub max_resident: Option<u32>,
    /// Whether replies carry a time per token.
    pub token_times: bool,
    /// Whether its time is simulated.
    pub virtual_clock: bool,
}

/// Facts that say with how many threads an engine computes: as ONNX Runtime, torch, and Ollama call them.
const THREADS: [&str; 3] = ["intra_op_threads", "threads", "num_thread"];

impl BackendEntry {
    /// Whether its times come from a script, and say nothing of any machine: also where the script is played in real time.
    #[must_use]
    pub fn is_scripted(&self) -> bool {
        self.virtual_clock || self.engine == SIMULATED
    }

    /// Threads that it computes with. `None`: it does not say.
    #[must_use]
    pub fn threads(&self) -> Option<u32> {
        let told = THREADS.into_iter().find_map(|name| self.facts.get(name))?;
        // `2: as many as physical cores` is what ONNX Runtime's says.
        let digits: String = told.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    }
}

/// One process at work on the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// Calendar time at its start, in nanoseconds.
    pub started_unix_ns: u64,
    /// Tells one boot of the machine from another; hashed. `None`: the system does not tell.
    pub boot_sha256: Option<String>,
    /// SHA-256 of the stack this process found.
    pub stack_sha256: String,
    /// That stack, where it is not the first one.
    pub changed_stack: Option<Stack>,
    /// How power was recorded. `None`: it was not asked for.
    #[serde(default)]
    pub power: Option<PowerEntry>,
}

/// Power recorded by one process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerEntry {
    /// Time between two readings that was asked for.
    pub period_ns: Nanos,
    /// Kinds of sensors that every call is charged to, the first one first. `None`: to the device it ran on.
    pub charged: Option<Vec<SensorKind>>,
    /// What this machine has.
    pub found: FoundSensors,
    /// What was measured of the sensors' timing; of others it is assumed.
    #[serde(default)]
    pub calibrations: Vec<Measured>,
    /// NVIDIA's boards by the number under which CUDA showed them, as far as that is known.
    #[serde(default)]
    pub cuda: BTreeMap<u32, String>,
    /// How evenly it was read. `None`: the process did not come to its end.
    pub continuity: Option<Continuity>,
}

impl PowerEntry {
    /// Time between two readings of a sensor's counter: longer than asked for where reading it so often changes it.
    #[must_use]
    pub fn counter_period(&self, sensor: &str) -> Nanos {
        let measured = self.calibrations.iter().find(|one| one.sensor == sensor);
        let safe = measured.and_then(|one| one.calibration.safe_poll_ns).unwrap_or_default();
        let period = self.period_ns.0.max(1);
        Nanos(safe.0.div_ceil(period).max(1).saturating_mul(period))
    }
}

impl Manifest {
    /// Whether another one is of the same run: a copy has the same beginnings of its processes, and the same imported files.
    #[must_use]
    pub fn is_of_same_run(&self, other: &Self) -> bool {
        let begun =
            |manifest: &Self| -> Vec<u64> { manifest.epochs.iter().map(|epoch| epoch.started_unix_ns).collect() };
        self.plan_sha256 == other.plan_sha256 && self.imported == other.imported && begun(self) == begun(other)
    }

    /// Whether every process of the run found the same stack.
    #[must_use]
    pub fn one_stack(&self) -> bool {
        self.epochs.iter().all(|epoch| epoch.stack_sha256 == self.stack_sha256)
    }

    /// Reads `manifest.json`.
    ///
    /// # Errors
    /// [`Error::Format`] for another version, [`Error::Shape`] for a model that cannot be, [`Error::Malformed`] for anything
    /// that is no manifest.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        // The version first: a newer file must be refused for its version, not for the first field it adds.
        let tree: serde_json::Value = serde_json::from_slice(bytes)?;
        let format = tree.get("format").and_then(serde_json::Value::as_u64);
        if let Some(found) = format.filter(|&found| found != u64::from(FORMAT)) {
            return Err(Error::Format { found });
        }
        let manifest: Self = serde_json::from_value(tree)?;
        let wrong = manifest.models.iter().find_map(|(name, model)| {
            let why = model.architecture.as_ref()?.impossible()?;
            Some(Error::Shape { model: name.clone(), why })
        });
        match wrong {
            Some(error) => Err(error),
            None => Ok(manifest),
        }
    }

    /// The text of `manifest.json`.
    ///
    /// # Errors
    /// Never for a manifest that this program made.
    pub fn to_json(&self) -> Result<String, Error> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }
}

impl Stack {
    /// Its bytes as they are hashed: structs serialise in field order and the maps are sorted, so equal stacks give equal
    /// bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The commit of the running program. The library does not know it: it is compiled once for many commits.
static COMMIT: OnceLock<&str> = OnceLock::new();

/// Says what commit the running program was built from; the first to say so is heard.
pub fn built_from(commit: Option<&'static str>) {
    if let Some(commit) = commit {
        COMMIT.get_or_init(|| commit);
    }
}

impl Tool {
    /// The program that is running.
    #[must_use]
    pub fn this() -> Self {
        let told = |value: &str| Some(value.to_owned()).filter(|value| !value.is_empty());
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: COMMIT.get().copied().and_then(told),
            rustc: told(env!("PHASEBENCH_RUSTC")),
            profile: told(env!("PHASEBENCH_PROFILE")),
            target: told(env!("PHASEBENCH_TARGET")),
            target_features: env!("PHASEBENCH_TARGET_FEATURES").split(',').filter_map(told).collect(),
        }
    }
}
