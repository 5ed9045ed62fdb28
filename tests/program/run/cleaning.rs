//! What this program removes is its own: nothing of others goes, and nothing of ours stays.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use super::before::{made, with_runtime};
use crate::run::fixture::{Fixture, Scenario, assert_exit, stderr, stdout};

/// A model that takes many seconds to make.
pub const LARGE: &str = "n_layer: 12, n_embd: 768, n_head: 12, vocab: 300";

/// Names in a folder and below that begin as unfinished things do.
fn unfinished(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.flat_map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        let below = if entry.path().is_dir() { unfinished(&entry.path()) } else { Vec::new() };
        below.into_iter().chain(name.starts_with(".unfinished-").then_some(name)).collect::<Vec<_>>()
    });
    names.collect()
}

/// Kills a program at work as soon as there is something unfinished in a folder. Where it was too late for that, since the
/// machine is busy, the folder is removed and it is tried again.
fn killed_in_the_middle(mut command: Command, folder: &Path) {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    for _ in 0..6 {
        let mut child = command.spawn().unwrap();
        while unfinished(folder).is_empty() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if !unfinished(folder).is_empty() {
            return;
        }
        fs::remove_dir_all(folder).unwrap();
    }
    panic!("killed too late each time");
}

#[test]
fn what_a_killed_run_left_in_the_cache_goes_with_the_next_one_and_with_doctor() {
    let fixture = made("{ tokens: 8 }", &[LARGE]);
    let cache = fixture.path().join("cache");
    killed_in_the_middle(with_runtime(fixture.start()), &cache);
    let small = fixture.path().join("small.yaml");
    fs::write(&small, Scenario { models: 1, ..Scenario::default() }.text()).unwrap();
    assert_exit(&fixture.command(&["run", "small.yaml", "--out", "small"]).output().unwrap(), 0);
    assert_eq!(unfinished(&cache), [""; 0], "a run that makes no model cleans too");
    killed_in_the_middle(with_runtime(fixture.start()), &cache);
    let output = fixture.command(&["doctor", "--clean"]).env("DOCKER_HOST", "unix:///nowhere").output().unwrap();
    assert_exit(&output, 0);
    assert!(stdout(&output).contains("whoever made it is gone"), "{}", stdout(&output));
    assert_eq!(unfinished(&cache), [""; 0]);
}

#[test]
fn an_export_that_is_killed_leaves_nothing_under_its_final_name() {
    let fixture = made("{ tokens: 8 }", &[LARGE]);
    let shape = ["--family", "gpt2", "--n-layer", "6", "--n-embd", "384", "--n-head", "6"];
    // Converting takes longer than copying.
    let model = [&["models", "synth", "--out", "model", "--dtype", "f16"], &shape[..]].concat();
    assert_exit(&fixture.command(&model).output().unwrap(), 0);
    for (format, file) in [("--onnx", "model.onnx"), ("--gguf", "model.gguf")] {
        let out = fixture.path().join(format!("{file}.folder"));
        let arguments = ["models", "export", "model", format, "--out", out.to_str().unwrap()];
        killed_in_the_middle(fixture.command(&arguments), &out);
        assert!(!out.join(file).exists(), "{format}");
        assert_exit(&fixture.command(&arguments).output().unwrap(), 0);
        assert!(out.join(file).exists() && unfinished(&out).is_empty(), "{format}");
    }
}

#[test]
fn the_cache_is_trimmed_only_as_asked() {
    let fixture = Fixture::new(&Scenario::default());
    let cache = fixture.path().join("cache");
    for (name, bytes) in [("models/old", 3000), ("models/new", 2000), ("torch/selected.json", 10)] {
        let file = cache.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, vec![0; bytes]).unwrap();
    }
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let times = fs::FileTimes::new().set_accessed(long_ago).set_modified(long_ago);
    fs::File::options().append(true).open(cache.join("models/old")).unwrap().set_times(times).unwrap();
    let clean = |more: &[&str]| {
        let mut command = fixture.command(&[&["doctor", "--clean"], more].concat());
        let output = command.env("DOCKER_HOST", "unix:///nowhere").output().unwrap();
        assert_exit(&output, 0);
        stdout(&output)
    };
    let shown = clean(&[]);
    assert!(shown.contains("models/old") && shown.contains("used today        models/new"), "{shown}");
    for keep in ["2kB", "30d"] {
        let would = clean(&["--keep", keep]);
        assert!(would.contains("would be removed:") && would.contains("add --yes"), "{would}");
        assert!(would.matches("would be removed:").count() == 1, "{would}");
    }
    assert!(cache.join("models/old").exists());
    let done = clean(&["--keep", "30d", "--yes"]);
    assert!(done.contains("removed") && !cache.join("models/old").exists(), "{done}");
    assert!(cache.join("models/new").exists() && cache.join("torch/selected.json").exists());
    let output = fixture.command(&["doctor", "--clean", "--keep", "many"]).output().unwrap();
    assert_exit(&output, 2);
    assert!(stderr(&output).contains("a size such as 20GiB, or an age such as 30d or 12h"), "{}", stderr(&output));
}

#[test]
fn a_report_removes_its_own_charts_and_no_others() {
    let fixture = Fixture::new(&Scenario { models: 4, ..Scenario::default() });
    assert_exit(&fixture.run(), 0);
    assert_exit(&fixture.command(&["report", "run"]).output().unwrap(), 0);
    let plots = fixture.run.join("plots");
    fs::write(plots.join("mine.svg"), "<svg/>").unwrap();
    fs::write(plots.join("earlier.svg"), "<svg/>").unwrap();
    let text = fs::read_to_string(fixture.run.join("report.md")).unwrap();
    fs::write(fixture.run.join("report.md"), format!("{text}\n![once](plots/earlier.svg)\n")).unwrap();
    assert_exit(&fixture.command(&["report", "run"]).output().unwrap(), 0);
    assert!(plots.join("mine.svg").exists() && !plots.join("earlier.svg").exists());
}

#[test]
fn a_link_in_a_run_folder_leads_nowhere() {
    for (name, arguments) in [
        ("plots", &["report", "run"][..]),
        ("analysis", &["analyze", "run"]),
        ("analysis", &["report", "run"]),
        ("report.md", &["report", "run"]),
        ("metrics.csv", &["analyze", "run"]),
        ("lock", &["run", "--resume", "run"]),
        ("power_trace.csv", &["run", "--resume", "run"]),
    ] {
        let fixture = Fixture::new(&Scenario::default());
        assert_exit(&fixture.run(), 0);
        let theirs = fixture.path().join("theirs");
        if name.contains('.') || name == "lock" {
            fs::write(&theirs, "precious").unwrap();
        } else {
            fs::create_dir(&theirs).unwrap();
            fs::write(theirs.join("precious.svg"), "precious").unwrap();
        }
        let link = fixture.run.join(name);
        let _ = fs::remove_file(&link);
        symlink(&theirs, &link).unwrap();
        let output = fixture.command(arguments).output().unwrap();
        assert_exit(&output, 4);
        let expected = format!("error: run/{name}: is a link, which would lead out of the run's folder");
        assert!(stderr(&output).starts_with(&expected), "{arguments:?}: {}", stderr(&output));
        let precious = if theirs.is_dir() { theirs.join("precious.svg") } else { theirs.clone() };
        assert_eq!(fs::read(precious).unwrap(), b"precious", "{name}");
        assert!(!theirs.is_dir() || fs::read_dir(&theirs).unwrap().count() == 1, "{name}");
    }
}

/// Files below a folder with their modes.
fn modes(folder: &Path, found: &mut Vec<(String, u32)>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        found.push((entry.path().display().to_string(), mode));
        if entry.path().is_dir() {
            modes(&entry.path(), found);
        }
    }
}

#[test]
fn who_may_read_is_as_the_umask_says() {
    for (umask, file, folder) in [("077", 0o600, 0o700), ("022", 0o644, 0o755), ("002", 0o664, 0o775)] {
        let fixture = Fixture::new(&Scenario::default());
        let program = env!("CARGO_BIN_EXE_phasebench");
        let all = format!(
            "umask {umask}; mkdir new; {program} run scenario.yaml --out new/run && {program} report new/run && \
             {program} models synth --family gpt2 --n-layer 2 --n-embd 64 --n-head 2 --out new/model && \
             {program} models export new/model --onnx --out new/onnx && {program} models export new/model --gguf --out new/gguf && \
             {program} models export new/model --onnx && {program} models export new/model --gguf"
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &all]).current_dir(fixture.path()).env("PHASEBENCH_CACHE", "new/cache");
        assert_exit(&shell.output().unwrap(), 0);
        let mut found = Vec::new();
        modes(&fixture.path().join("new"), &mut found);
        assert!(found.len() > 40, "{}", found.len());
        let expected = |path: &str| if Path::new(path).is_dir() { folder } else { file };
        let wrong: Vec<_> = found.iter().filter(|(path, mode)| *mode != expected(path)).collect();
        assert!(wrong.is_empty(), "umask {umask}: {wrong:?}");
    }
}

#[test]
fn a_user_without_a_home_is_told_where_the_cache_is() {
    let fixture = Fixture::new(&Scenario::default());
    // SAFETY: reads the caller's own id.
    if unsafe { libc::geteuid() } != 0 {
        return crate::not_run::not_run("a user without a home", "only root can become another user");
    }
    let open = tempfile::Builder::new().prefix("open").tempdir_in("/tmp").unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = open.path().join("phasebench");
    fs::copy(env!("CARGO_BIN_EXE_phasebench"), &program).unwrap();
    fs::copy(&fixture.scenario, open.path().join("scenario.yaml")).unwrap();
    fs::set_permissions(open.path().join("scenario.yaml"), fs::Permissions::from_mode(0o644)).unwrap();
    let mut command = Command::new(&program);
    command.args(["run", "scenario.yaml", "--out", "run"]).current_dir(open.path());
    command.env_remove("HOME").env_remove("XDG_CACHE_HOME").env_remove("PHASEBENCH_CACHE").env("TMPDIR", open.path());
    std::os::unix::process::CommandExt::uid(&mut command, 54_321);
    let output = command.output().unwrap();
    assert_exit(&output, 0);
    let expected =
        format!("phasebench: this user has no home folder, so the cache is {}/phasebench", open.path().display());
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
}
