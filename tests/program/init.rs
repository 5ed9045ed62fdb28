//! `init` through the program itself: what it writes can be planned, and nothing is written over.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::program::text;

fn phasebench(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
    // Nobody listens there.
    command.current_dir(folder).args(arguments).env("OLLAMA_HOST", "127.0.0.1:9").output().unwrap()
}

#[test]
fn what_is_here_becomes_a_scenario_that_can_be_planned() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/same-weights");
    let here = tempfile::tempdir().unwrap();
    let output = phasebench(here.path(), &["init", data.to_str().unwrap(), "--out", "found.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let written = fs::read_to_string(here.path().join("found.yaml")).unwrap();
    assert!(written.contains("name: tiny-llama, huggingface: ") && written.contains("model.gguf"), "{written}");
    assert!(written.contains("  - { name: onnx, onnx: ") && written.contains("# Ollama: "), "{written}");
    let planned = phasebench(here.path(), &["plan", "found.yaml", "--json"]);
    assert_eq!(planned.status.code(), Some(0), "{written}{}", text(&planned.stderr));

    let again = phasebench(here.path(), &["init", data.to_str().unwrap(), "--out", "found.yaml"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("found.yaml: exists already"), "{}", text(&again.stderr));
    assert_eq!(fs::read_to_string(here.path().join("found.yaml")).unwrap(), written);
}

/// What cannot be read or written is a matter of files, a bad address one of the command line.
#[test]
fn exit_codes_tell_files_from_words() {
    let here = tempfile::tempdir().unwrap();
    for (arguments, code, words) in [
        (&["init", "nowhere"][..], 4, "nowhere: "),
        (&["init", "--out", "nowhere/x.yaml"], 4, "nowhere/x.yaml: create: "),
        (&["models", "pull", "x", "--url", "nonsense"], 2, "--url: "),
    ] {
        let output = phasebench(here.path(), arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}

#[test]
fn more_model_folders_than_a_scenario_takes_are_counted() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/same-weights/tiny-gpt2");
    let here = tempfile::tempdir().unwrap();
    for number in 0..13 {
        let folder = here.path().join(format!("model-{number}"));
        fs::create_dir(&folder).unwrap();
        for name in ["config.json", "model.safetensors"] {
            fs::copy(fixture.join(name), folder.join(name)).unwrap();
        }
    }
    let output = phasebench(here.path(), &["init"]);
    let said = text(&output.stdout);
    assert!(
        said.contains("13 model folders found below .; the smallest 12 are in it"),
        "{said}{}",
        text(&output.stderr)
    );
}

/// An empty folder gets made models, a machine without engines the script.
#[test]
fn nothing_here_is_a_scenario_too() {
    let here = tempfile::tempdir().unwrap();
    let printed = Command::new(env!("CARGO_BIN_EXE_phasebench"))
        .current_dir(here.path())
        .args(["init", "--out", "-"])
        .env("OLLAMA_HOST", "127.0.0.1:9")
        .env("PHASEBENCH_CACHE", here.path().join("cache"))
        .env_remove("PHASEBENCH_ONNXRUNTIME")
        .output()
        .unwrap();
    let written = text(&printed.stdout);
    assert!(written.contains("synthetic: { family: gpt2") && written.contains("simulated: {}"), "{written}");
    fs::write(here.path().join("nothing.yaml"), &written).unwrap();
    let planned = phasebench(here.path(), &["plan", "nothing.yaml"]);
    assert_eq!(planned.status.code(), Some(0), "{written}{}", text(&planned.stderr));
}
