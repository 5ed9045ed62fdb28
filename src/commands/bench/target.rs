//! What is measured: an engine with a model, in a word.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::model::mistaken;
use crate::scenario::naming::name_from;
use crate::scenario::{Problem, nearest};

use super::shapes;

/// Forms of a target, for an error's last line.
const FORMS: &str = "MODEL or onnx:MODEL (ONNX Runtime), torch:MODEL, compile:MODEL (torch.compile), ollama:MODEL or \
                     ollama:TAG; a MODEL is a model folder or synthetic:NAME";
/// Comes before the name of a made model.
const SYNTHETIC: &str = "synthetic:";

/// An engine that can be asked for in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetEngine {
    /// ONNX Runtime.
    Onnx,
    /// PyTorch.
    Torch,
    /// PyTorch with torch.compile.
    Compile,
    /// An Ollama server.
    Ollama,
}

impl TargetEngine {
    const ALL: [Self; 4] = [Self::Onnx, Self::Torch, Self::Compile, Self::Ollama];

    /// What chooses it, and the backend's name in the scenario file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Torch => "torch",
            Self::Compile => "compile",
            Self::Ollama => "ollama",
        }
    }
}

/// A model as a target names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetModel {
    /// A folder with weights.
    Folder(PathBuf),
    /// A made model: the shape's name.
    Synthetic(String),
    /// What a server calls it.
    Served(String),
}

impl TargetModel {
    /// Its name in the scenario file, unless another model has it.
    pub fn name(&self) -> String {
        let text = match self {
            Self::Folder(path) => path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            Self::Synthetic(name) | Self::Served(name) => name.clone(),
        };
        name_from(&text)
    }
}

/// An engine with a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// On what.
    pub engine: TargetEngine,
    /// What.
    pub model: TargetModel,
}

/// A target that cannot be measured.
#[derive(Debug, thiserror::Error)]
#[error("target `{target}`: {what}\n  allowed: {FORMS}{}", .help.as_ref().map(|help| format!("\n  {help}")).unwrap_or_default())]
pub struct BadTarget {
    target: String,
    what: String,
    help: Option<String>,
}

/// Targets that a run cannot begin with, each with why.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\nerror: "))]
pub struct Unmeasurable(Vec<String>);

impl Unmeasurable {
    /// What is wrong with the scenario file that was made of them.
    pub(super) fn of(problems: &[Problem]) -> Self {
        let told = problems.iter().map(|Problem { message, help, .. }| {
            let help: String = help.iter().map(|(label, text)| format!("\n  {label}: {text}")).collect();
            format!("{message}{help}")
        });
        Self(told.collect())
    }
}

impl Target {
    /// From one word of the command line; folders are looked for.
    ///
    /// # Errors
    /// It is none of the forms, a folder is no model, there is no such shape.
    pub fn parse(word: &str) -> Result<Self, BadTarget> {
        let bad = |what: String, help| BadTarget { target: word.to_owned(), what, help };
        let chosen = TargetEngine::ALL.into_iter().find_map(|engine| {
            let model = word.strip_prefix(engine.as_str())?.strip_prefix(':')?;
            Some((engine, model))
        });
        let (engine, model) = chosen.unwrap_or((TargetEngine::Onnx, word));
        if let Some(name) = model.strip_prefix(SYNTHETIC) {
            if shapes::find(name).is_none() {
                let names = shapes::names();
                let near = nearest(name, &names.iter().map(String::as_str).collect::<Vec<_>>())
                    .map(|near| format!("`{near}`? "));
                let help = format!("shapes: {}{}", near.unwrap_or_default(), names.join(", "));
                return Err(bad(format!("there is no shape `{name}`"), Some(help)));
            }
            return Ok(Self { engine, model: TargetModel::Synthetic(name.to_owned()) });
        }
        if model.is_empty() {
            return Err(bad("the model is missing".to_owned(), None));
        }
        let folder = Path::new(model);
        if folder.join("config.json").is_file() {
            let path = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
            return Ok(Self { engine, model: TargetModel::Folder(path) });
        }
        if engine == TargetEngine::Ollama && !mistaken::begins_at_home(model) {
            return Ok(Self { engine, model: TargetModel::Served(model.to_owned()) });
        }
        Err(bad(mistaken::words(folder).unwrap_or_else(|| "the folder has no config.json".to_owned()), None))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.model.name(), self.engine.as_str())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_an_engine_with_a_model() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        let path = folder.path().to_str().unwrap();
        let made = || TargetModel::Synthetic("gpt2-25m".to_owned());
        let of = |word: &str| Target::parse(word).unwrap();
        assert_eq!(of("synthetic:gpt2-25m"), Target { engine: TargetEngine::Onnx, model: made() });
        assert_eq!(of("compile:synthetic:gpt2-25m"), Target { engine: TargetEngine::Compile, model: made() });
        assert_eq!(of("ollama:synthetic:gpt2-25m"), Target { engine: TargetEngine::Ollama, model: made() });
        let there = TargetModel::Folder(folder.path().to_owned());
        assert_eq!(of(path), Target { engine: TargetEngine::Onnx, model: there.clone() });
        assert_eq!(of(&format!("torch:{path}")), Target { engine: TargetEngine::Torch, model: there });
        let served = Target { engine: TargetEngine::Ollama, model: TargetModel::Served("gemma3:270m".to_owned()) };
        assert_eq!(of("ollama:gemma3:270m"), served);
        assert_eq!(served.model.name(), "gemma3-270m");
    }

    #[test]
    fn a_hubs_cache_names_the_models_in_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("snapshots/abc")).unwrap();
        let error = Target::parse(folder.path().to_str().unwrap()).unwrap_err().to_string();
        assert!(error.contains("is a folder of the hub's cache, the model itself is one of: snapshots/abc"), "{error}");
    }

    #[test]
    fn an_error_names_the_target_and_what_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        for (word, what) in [
            ("nowhere/at/all", "there is no such folder"),
            (path.as_str(), "the folder has no config.json"),
            ("torch:", "the model is missing"),
            ("torch:~/models/small", mistaken::HOME),
            ("ollama:~/models/small", mistaken::HOME),
            ("vllm:some", "there is no such folder"),
            ("synthetic:gpt2-25n", "shapes: `gpt2-25m`? "),
        ] {
            let error = Target::parse(word).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains(word) && error.contains("allowed: "), "{error}");
        }
    }
}
