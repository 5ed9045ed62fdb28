//! Scenario files from the outside: every problem told at its place, every shipped file good, plans as they should be.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use phasebench::model;
use phasebench::plan::{self, ModelFacts, Only, Plan};
use phasebench::spec::{self, Spec, SpecError};
use phasebench::terms::{Mode, Procedure};
use phasebench::units::Bytes;

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

fn parse(text: &str) -> Result<Spec, SpecError> {
    spec::parse(text, Path::new("test.yaml"), Path::new(""))
}

fn facts(spec: &Spec) -> Vec<ModelFacts> {
    spec.models.iter().map(|m| ModelFacts::new(&m.name, &model::architecture(&m.form).unwrap())).collect()
}

fn expand(spec: &Spec) -> Plan {
    plan::expand(spec, &facts(spec), BUDGET, &Only::default()).unwrap()
}

#[test]
fn every_problem_of_a_broken_file_is_told_at_its_place() {
    let files = yaml_files("tests/data/spec/broken");
    assert!(files.len() >= 25, "{} broken files", files.len());
    for path in files {
        let name = stem(&path);
        let shown = PathBuf::from(format!("{name}.yaml"));
        let error = match spec::parse(&fs::read_to_string(&path).unwrap(), &shown, Path::new("")) {
            Ok(_) => panic!("{name}.yaml was taken for good"),
            Err(error) => error,
        };
        insta::assert_snapshot!(name, error.to_string());
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = spec::read(Path::new("no/such/file.yaml")).unwrap_err().to_string();
    assert!(error.starts_with("error: cannot read scenario file no/such/file.yaml: "), "{error}");
}
