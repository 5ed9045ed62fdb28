//! What `docs/upgrade-check.md` ships, each tried by what reads it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::not_run::not_run;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/upgrade-check");
const UNITS: [&str; 3] =
    ["phasebench-upgrade-check.service", "phasebench-upgrade-check.timer", "phasebench-upgrade-check.path"];

fn example(name: &str) -> PathBuf {
    Path::new(EXAMPLES).join(name)
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

const SCENARIO: &str = "version: 1
name: upgrade
repetitions: { fixed: 5 }
gen_tokens: [8]
scenarios: [{ name: short, prompt: { tokens: 9 } }]
models: [{ name: small, synthetic: { family: gpt2, n_layer: 2, n_embd: 32, n_head: 2 } }]
backends: [{ name: scripted, simulated: { prefill_per_token: { base: 40us, exponent: 0.8 }, decode_per_step: { base: 300us, exponent: 0.7 } } }]
";

/// The script measures, and the second time compares with the first run and sets both side by side.
#[test]
fn the_script_keeps_runs_compares_and_writes_their_history() {
    let folder = tempfile::tempdir().unwrap();
    let (scenario, kept) = (folder.path().join("mine.yaml"), folder.path().join("kept"));
    let summary = folder.path().join("summary.md");
    fs::write(&scenario, SCENARIO).unwrap();
    for time in 1..=2 {
        let mut command = Command::new("sh");
        command.arg(example("upgrade-check")).arg(&scenario).arg(&kept);
        command.env("PHASEBENCH", env!("CARGO_BIN_EXE_phasebench")).env("GITHUB_STEP_SUMMARY", &summary);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", words(&output));
        assert_eq!(fs::read_dir(kept.join("runs")).unwrap().count(), time, "{}", words(&output));
        assert_eq!(kept.join("compare/report.html").exists(), time == 2, "{}", words(&output));
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
    let output = command.arg("history").arg(kept.join("runs")).output().unwrap();
    assert!(words(&output).starts_with("2 runs, 2 cells"), "{}", words(&output));
    let summary = fs::read_to_string(summary).unwrap();
    assert!(summary.contains("# History") && summary.contains("Did anything change?"), "{summary}");
    assert!(kept.join("history/report.html").exists());
    let usage = Command::new("sh").arg(example("upgrade-check")).output().unwrap();
    assert_eq!(usage.status.code(), Some(2), "{}", words(&usage));
    assert!(words(&usage).contains("upgrade-check SCENARIO FOLDER"));
}

/// Calls that begin to fail end the run with 3, the check with 5; the run is no baseline, and the next that goes well is compared
/// with the one before it.
#[test]
fn calls_that_begin_to_fail_are_an_alarm_and_no_baseline() {
    let folder = tempfile::tempdir().unwrap();
    let (scenario, kept) = (folder.path().join("mine.yaml"), folder.path().join("kept"));
    let well = SCENARIO.replace("fixed: 5", "fixed: 20");
    let failing = well.replace("simulated: {", "simulated: { faults: [{ kind: error, every: 2 }],");
    assert_ne!(well, failing);
    let runs = |of: &str| fs::read_dir(kept.join(of)).map_or(0, Iterator::count);
    for (text, code, good, bad) in [(&failing, 3, 0, 1), (&well, 0, 1, 1), (&failing, 5, 1, 2), (&well, 0, 2, 2)] {
        fs::write(&scenario, text).unwrap();
        let mut command = Command::new("sh");
        command.arg(example("upgrade-check")).arg(&scenario).arg(&kept);
        let output = command.env("PHASEBENCH", env!("CARGO_BIN_EXE_phasebench")).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", words(&output));
        assert_eq!((runs("runs"), runs("failed"), runs("begun")), (good, bad, 0), "{}", words(&output));
        assert_eq!(words(&output).contains("newly failing"), code == 5, "{}", words(&output));
    }
}

#[test]
fn systemd_takes_the_units() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return not_run("systemd units of the upgrade check", "there is no systemd-analyze");
    }
    let folder = tempfile::tempdir().unwrap();
    for unit in UNITS {
        let text = fs::read_to_string(example(unit)).unwrap();
        // Where they will be installed nothing is yet.
        let text =
            text.replace("/usr/local/lib/phasebench/upgrade-check", &example("upgrade-check").display().to_string());
        fs::write(folder.path().join(unit), text).unwrap();
    }
    let mut command = Command::new("systemd-analyze");
    let output = command.arg("verify").args(UNITS.map(|unit| folder.path().join(unit))).output().unwrap();
    let told = words(&output);
    let own: Vec<&str> = told.lines().filter(|line| line.contains("phasebench")).collect();
    assert!(output.status.success() && own.is_empty(), "{told}");
    // A unit that says nothing it knows is told: the check can fail.
    fs::write(folder.path().join(UNITS[0]), "[Service]\nExecStart=/no/such/program\n").unwrap();
    let output = Command::new("systemd-analyze").arg("verify").arg(folder.path().join(UNITS[0])).output().unwrap();
    assert!(words(&output).contains("/no/such/program"), "{}", words(&output));
}

#[test]
fn apt_reads_the_hook_and_its_script_never_fails() {
    let hook = Command::new("apt-config").arg("-c").arg(example("99phasebench")).arg("dump").output();
    match hook {
        Ok(output) => {
            let told = words(&output);
            assert!(told.contains("DPkg::Post-Invoke:: \"/usr/local/lib/phasebench/after-upgrade\""), "{told}");
        }
        Err(_) => not_run("apt hook of the upgrade check", "there is no apt-config"),
    }
    let folder = tempfile::tempdir().unwrap();
    let (told, fake) = (folder.path().join("told"), folder.path().join("systemctl"));
    fs::write(&fake, format!("#!/bin/sh\necho \"$@\" >{}\nexit 1\n", told.display())).unwrap();
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let run = |runtime: &Path| {
        let mut command = Command::new("sh");
        command.arg(example("after-upgrade")).env("PATH", &path).env("SYSTEMD_RUNTIME", runtime);
        command.output().unwrap()
    };
    let output = run(folder.path());
    assert!(output.status.success() && words(&output).contains("could not be started"), "{}", words(&output));
    let asked = fs::read_to_string(&told).unwrap();
    assert_eq!(asked, "start --no-block phasebench-upgrade-check.service\n");
    let output = run(Path::new("/no/such/folder"));
    assert!(output.status.success() && words(&output).contains("no systemd runs here"), "{}", words(&output));
}

/// A workflow as its server reads it: every step has what it runs, and the script that it calls is there.
#[test]
fn the_workflow_is_yaml_with_steps_that_exist() {
    let text = fs::read_to_string(example("github-actions.yml")).unwrap();
    let workflow: serde_json::Value = serde_yaml::from_str(&text).unwrap();
    assert!(workflow["on"]["schedule"][0]["cron"].is_string(), "{workflow}");
    let steps = workflow["jobs"]["measure"]["steps"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["uses"].is_string() != step["run"].is_string()), "{steps:?}");
    let run = steps.iter().find_map(|step| step["run"].as_str()).unwrap();
    let script = run.split_whitespace().next().unwrap();
    let scenario = run.split_whitespace().nth(1).unwrap();
    for path in [script, scenario] {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(path).is_file(), "{path}");
    }
}
