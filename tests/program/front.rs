//! The commands around a run, through the program itself: doctor, setup, models, completions.
//!
//! Nothing is fetched: where setup needs Python, a script stands in for it. `models verify` needs the real runtime,
//! from `PHASEBENCH_ONNXRUNTIME` or from the user's cache; without one its test fails.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use clap::{CommandFactory as _, Parser as _};
use phasebench::cli::{Cli, HELP_WIDTH};

use crate::program::text;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn phasebench(cache: &Path, path: Option<&Path>, arguments: &[&str]) -> std::io::Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
    command.args(arguments).env("PHASEBENCH_CACHE", cache).env_remove("PHASEBENCH_ONNXRUNTIME");
    if let Some(path) = path {
        command.env("PATH", path);
    }
    command.output()
}

/// A folder with a `python3` whose pip "downloads" whatever `download` does; `$dest` is where to.
fn python(download: &str) -> std::io::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let script = format!(
        "#!/bin/sh
case \"$*\" in
  --version) echo Python 3.99 ;;
  '-m pip --version') echo pip 99 from /private/place ;;
  '-m pip download '*)
    while [ $# -gt 0 ]; do [ \"$1\" = --dest ] && dest=$2; shift; done
    {download} ;;
  *) exit 9 ;;
esac
"
    );
    let file = folder.path().join("python3");
    fs::write(&file, script)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

#[test]
fn doctor_finds_things_missing_and_is_content() -> Outcome {
    let cache = tempfile::tempdir()?;
    let output = phasebench(cache.path(), None, &["doctor"])?;
    let found = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{found}");
    assert!(found.contains("try: phasebench setup onnxruntime\n"), "{found}");
    assert!(found.contains("simulated"), "{found}");

    let output = phasebench(cache.path(), None, &["doctor", "--json"])?;
    let found: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let findings = found["findings"].as_array().ok_or("no findings")?;
    let cpu = findings.iter().find(|finding| finding["name"] == "onnx, provider cpu").ok_or("no cpu")?;
    assert_eq!(cpu["ready"], false);
    assert_eq!(cpu["fix"], "phasebench setup onnxruntime");
    // The reason does not tell where the user's folders are.
    assert!(!cpu["detail"].to_string().contains(&cache.path().display().to_string()), "{cpu}");
    assert_eq!(found["machine"]["arch"], std::env::consts::ARCH);
    Ok(())
}

/// Who asks at a terminal sees the path that they gave; JSON is passed on.
#[test]
fn doctor_shows_a_path_of_the_scenario_file_and_its_json_does_not() -> Outcome {
    let (cache, place) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let library = place.path().join("private/libonnxruntime.so").display().to_string();
    let scenario = format!(
        "version: 1\nname: s\nscenarios: [{{ name: a, prompt: {{ tokens: 8 }} }}]\n\
         models: [{{ name: m, synthetic: {{ family: gpt2, n_layer: 1, n_embd: 8, n_head: 1 }} }}]\n\
         backends: [{{ name: b, onnx: {{ library: {library} }} }}]\n"
    );
    let file = place.path().join("s.yaml");
    fs::write(&file, scenario)?;
    let file = file.display().to_string();
    let output = phasebench(cache.path(), None, &["doctor", &file])?;
    let found = text(&output.stdout);
    assert_eq!(output.status.code(), Some(7), "{found}");
    assert!(found.contains(&library), "{found}");
    let found = text(&phasebench(cache.path(), None, &["doctor", &file, "--json"])?.stdout);
    assert!(found.contains("/…/libonnxruntime.so") && !found.contains(&library), "{found}");
    Ok(())
}

#[test]
fn setup_without_python_says_what_to_install() -> Outcome {
    let (cache, nothing) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let output = phasebench(cache.path(), Some(nothing.path()), &["setup", "onnxruntime"])?;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{said}");
    assert!(said.contains("python3 is not installed") && said.contains("apt install python3"), "{said}");
    assert!(output.stdout.is_empty());
    Ok(())
}

#[test]
fn a_wheel_that_is_not_the_pinned_one_is_refused_with_both_hashes() -> Outcome {
    let (cache, python) = (tempfile::tempdir()?, python("printf abc > \"$dest/some.whl\"")?);
    let output = phasebench(cache.path(), Some(python.path()), &["setup", "onnxruntime"])?;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{said}");
    let found = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert!(said.contains(&format!("some.whl: sha256 is {found}, expected ")), "{said}");
    let left: Vec<_> = fs::read_dir(cache.path().join("onnxruntime"))?.flatten().collect();
    assert!(left.is_empty(), "nothing half done stays behind: {left:?}");
    Ok(())
}

#[test]
fn a_pip_that_fails_is_an_error_that_names_the_way_out() -> Outcome {
    let (cache, python) = (tempfile::tempdir()?, python("echo 'no such host' >&2; exit 1")?);
    let output = phasebench(cache.path(), Some(python.path()), &["setup", "onnxruntime"])?;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{said}");
    assert!(said.contains("no such host") && said.contains("could not download onnxruntime"), "{said}");
    assert!(said.contains("--library PATH"), "{said}");
    Ok(())
}

#[test]
fn a_file_that_is_no_library_is_not_selected() -> Outcome {
    let cache = tempfile::tempdir()?;
    let file = cache.path().join("libonnxruntime.so");
    fs::write(&file, "no library")?;
    let output = phasebench(cache.path(), None, &["setup", "onnxruntime", "--library", &file.display().to_string()])?;
    assert_eq!(output.status.code(), Some(7));
    assert!(text(&output.stderr).contains("cannot be loaded"), "{}", text(&output.stderr));
    assert!(!cache.path().join("onnxruntime/selected.json").exists());
    Ok(())
}

/// Every command with the arguments that lead to it, hidden ones left out.
fn commands(of: &clap::Command, way: &[String], found: &mut Vec<Vec<String>>) {
    found.push(way.to_vec());
    for command in of.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help") {
        commands(command, &[way, &[command.get_name().to_owned()]].concat(), found);
    }
}

#[test]
fn help_fits_a_terminal_and_its_examples_can_be_typed() -> Outcome {
    let cache = tempfile::tempdir()?;
    let mut found = Vec::new();
    commands(&Cli::command(), &[], &mut found);
    assert!(found.len() > 20, "{found:?}");
    for way in found {
        let arguments: Vec<&str> = way.iter().map(String::as_str).chain(["--help"]).collect();
        let help = text(&phasebench(cache.path(), None, &arguments)?.stdout);
        let wide = help.lines().find(|line| line.chars().count() > HELP_WIDTH);
        assert_eq!(wide, None, "phasebench {}", arguments.join(" "));
        let (_, example) = help.rsplit_once("Example: ").ok_or(format!("no example: {way:?}\n{help}"))?;
        // Broken over two lines it would be two commands to whoever copies it.
        assert_eq!(example.trim_end().lines().count(), 1, "{way:?}: {example}");
        let typed = example.split('>').next().unwrap_or_default().split_whitespace();
        assert!(Cli::try_parse_from(typed).is_ok(), "{way:?}: {example}");
    }
    Ok(())
}

#[test]
fn a_scenario_from_standard_input_and_every_model_that_is_none() -> Outcome {
    let place = tempfile::tempdir()?;
    fs::create_dir_all(place.path().join("hub/snapshots/abc"))?;
    let scenario = "version: 1
name: s
scenarios: [ { name: a, prompt: { tokens: 8 } } ]
models:
  - { name: one, huggingface: ./nowhere }
  - { name: two, huggingface: hub }
backends: [ { name: b, simulated: {} } ]
";
    let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
    command.args(["plan", "-"]).current_dir(place.path()).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.stdout(Stdio::null()).spawn()?;
    running.stdin.take().ok_or("no input")?.write_all(scenario.as_bytes())?;
    let output = running.wait_with_output()?;
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        "error: -:5:5: model `one`: ./nowhere: there is no such folder
error: -:6:5: model `two`: hub: is a folder of the hub's cache, the model itself is one of: snapshots/abc
"
    );
    Ok(())
}

#[test]
fn a_table_from_standard_input_is_fitted() -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
    command.args(["fit", "-", "--x", "n", "--y", "ms", "--json"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = command.stderr(Stdio::piped()).spawn()?;
    running.stdin.take().ok_or("no input")?.write_all(b"n,ms\n1e-300,2\n2e-300,4\n3e-300,6\n4e-300,8\n")?;
    let output = running.wait_with_output()?;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let fits: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!((&fits[2]["form"], &fits[2]["rho"]), (&"rank".into(), &1.0.into()), "{fits:#}");
    Ok(())
}

#[test]
fn runs_that_begin_in_one_second_have_folders_of_their_own() -> Outcome {
    let place = tempfile::tempdir()?;
    let noon = std::time::UNIX_EPOCH + std::time::Duration::from_secs(12 * 3600);
    let results = place.path().join("results");
    let named = || phasebench::store::default_folder(&results, "mine", "0123456789", noon);
    for name in
        ["19700101T120000Z-mine-01234567", "19700101T120000Z-mine-01234567-2", "19700101T120000Z-mine-01234567-3"]
    {
        assert_eq!(named(), results.join(name));
        fs::create_dir_all(named())?;
    }
    Ok(())
}

#[test]
fn completions_know_the_commands() -> Outcome {
    let cache = tempfile::tempdir()?;
    let output = phasebench(cache.path(), None, &["completions", "bash"])?;
    let script = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    for command in ["doctor", "setup", "run", "report"] {
        assert!(script.contains(command), "{command}");
    }
    Ok(())
}

#[test]
fn a_synthetic_model_is_made_looked_at_and_exported() -> Outcome {
    let cache = tempfile::tempdir()?;
    let folder = cache.path().join("a/model");
    let at = folder.display().to_string();
    let shape = ["--n-layer", "2", "--n-embd", "8", "--n-head", "2", "--vocab", "300", "--n-positions", "16"];
    let synth = |family| {
        let made = ["models", "synth", "--family", family, "--out", &at];
        phasebench(cache.path(), None, &[&made[..], &shape].concat())
    };
    let output = synth("gtp2")?;
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert_eq!(said, "error: synthetic model: `family` is `gtp2`, allowed: gpt2, llama, qwen2, phi\n");

    assert_eq!(synth("gpt2")?.status.code(), Some(0));
    let again = synth("gpt2")?;
    assert_eq!(again.status.code(), Some(2), "what is there is not overwritten");

    let output = phasebench(cache.path(), None, &["models", "inspect", "--json", &at])?;
    let found: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    // Embedding, positions, two blocks of 12 n² + 13 n, the last norm.
    assert_eq!(found["params"], 300 * 8 + 16 * 8 + 2 * (12 * 64 + 13 * 8) + 16);
    assert_eq!(found["kv_bytes_per_token_f32"], 2 * 2 * 8 * 4);

    let into = cache.path().join("exported").display().to_string();
    let output = phasebench(cache.path(), None, &["models", "export", "--onnx", "--out", &into, &at])?;
    assert_eq!(text(&output.stdout), format!("{into}/model.onnx\n"));
    assert!(Path::new(&into).join("model.onnx").is_file());
    Ok(())
}

#[test]
fn a_gguf_file_has_the_name_that_was_asked_for() -> Outcome {
    let cache = tempfile::tempdir()?;
    let folder = cache.path().join("model").display().to_string();
    let shape = ["--n-layer", "2", "--n-embd", "8", "--n-head", "2", "--vocab", "300", "--n-positions", "16"];
    let synth = [&["models", "synth", "--family", "gpt2", "--out", &folder][..], &shape].concat();
    assert_eq!(phasebench(cache.path(), None, &synth)?.status.code(), Some(0));
    let file = cache.path().join("new/x.gguf");
    let name = file.display().to_string();
    let export = || phasebench(cache.path(), None, &["models", "export", "--gguf", "--out", &name, &folder]);
    let output = export()?;
    assert_eq!(text(&output.stdout), format!("{name}\n"), "{}", text(&output.stderr));
    assert!(std::fs::read(&file)?.starts_with(b"GGUF"));
    let hash = std::fs::read_to_string(cache.path().join("new/x.gguf.sha256"))?;
    let sum = phasebench::hash::sha256_hex(&std::fs::read(&file)?);
    assert_eq!(hash, format!("{sum}  x.gguf\n"));
    let mut left: Vec<_> =
        std::fs::read_dir(cache.path().join("new"))?.flatten().map(|entry| entry.file_name()).collect();
    left.sort();
    assert_eq!(left, ["x.gguf", "x.gguf.sha256"]);
    assert_eq!(export()?.status.code(), Some(2), "what is there is not overwritten");

    let graph = cache.path().join("x.onnx");
    let refused = ["models", "export", "--onnx", "--out", &graph.display().to_string(), &folder];
    let output = phasebench(cache.path(), None, &refused)?;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("supported: a folder"), "{}", text(&output.stderr));
    assert!(!graph.exists());
    Ok(())
}

#[test]
fn models_are_verified_against_their_reference() -> Outcome {
    let verify = |folder: &Path, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
        command.args(["models", "verify"]).args(arguments).arg(folder).output()
    };
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/same-weights/tiny-llama");
    let output = verify(&fixture, &["--json"])?;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!((found["agrees"].as_bool(), found["prompts"].as_array().map(Vec::len)), (Some(true), Some(6)));

    // Other weights under the same reference: found out, and told by the exit code.
    let folder = tempfile::tempdir()?;
    for name in ["config.json", "tokenizer.json", "reference.json", "model.safetensors"] {
        fs::copy(fixture.join(name), folder.path().join(name))?;
    }
    let weights = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&weights)?;
    let at = bytes.len() - 4096;
    bytes[at..].fill(0);
    fs::write(&weights, bytes)?;
    let output = verify(folder.path(), &[])?;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("DISAGREES"), "{}", text(&output.stdout));

    fs::remove_file(folder.path().join("reference.json"))?;
    let output = verify(folder.path(), &[])?;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("reference.json: is not there"), "{}", text(&output.stderr));
    let output = verify(folder.path(), &["--json"])?;
    assert_eq!(output.status.code(), Some(2));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert!(
        found["agrees"].is_null() && found["error"].to_string().contains("reference.json: is not there"),
        "{found}"
    );
    assert!(!found["error"].to_string().contains("error: "), "{found}");
    for (folder, said) in [("~/m", "`~` is not expanded here"), ("no/such/folder", "there is no such folder")] {
        let output = verify(Path::new(folder), &[])?;
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(&format!("{folder}: {said}")), "{}", text(&output.stderr));
    }
    Ok(())
}
