//! Scenario files from the outside: every problem told at its place, every shipped file good, plans as they should be.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod broken;
mod claims;
mod planned;
mod prices;
mod random;
mod schema;
mod shipped;

use std::fs;
use std::path::{Path, PathBuf};

use phasebench::model;
use phasebench::plan::{self, ModelFacts, Only};
use phasebench::record::plan::Plan;
use phasebench::scenario::{self, ScenarioError, ScenarioFile};
use phasebench::units::Bytes;

/// Memory for sessions in tests, whatever machine they run on.
const BUDGET: Bytes = Bytes(8 << 30);

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    files
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

fn parse(text: &str) -> Result<ScenarioFile, ScenarioError> {
    scenario::parse(text, Path::new("test.yaml"), Path::new("folder"))
}

fn facts(spec: &ScenarioFile) -> Vec<ModelFacts> {
    let fact = |m: &model::ModelSource| match &m.form {
        model::Form::Served(_) => ModelFacts::unknown(&m.name),
        form => ModelFacts::new(&m.name, &model::architecture(form).unwrap()),
    };
    spec.models.iter().map(fact).collect()
}

fn expand(spec: &ScenarioFile, only: &Only) -> Plan {
    plan::expand(spec, &facts(spec), BUDGET, only).unwrap()
}
