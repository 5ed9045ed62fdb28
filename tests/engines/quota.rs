//! A control group that grants less than the threads that an engine computes with: said before anything is measured, and
//! of every call that it held back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use phasebench::backend::onnx::library;
use phasebench::record::CallRecord;
use phasebench::store;
use phasebench::terms::{Flag, Role};

use crate::not_run::not_run;
use crate::worker::fixture::{DISTURBED, Fixture, assert_exit};

/// A group of version 1 that grants a tenth of a processor: little enough to be used up beside whatever else runs here.
struct Group(PathBuf);

impl Group {
    /// Why there is none, where there is none.
    fn new() -> Result<Self, String> {
        let folder = Path::new("/sys/fs/cgroup/cpu").join(format!("phasebench-test-{}", std::process::id()));
        fs::create_dir(&folder).map_err(|error| format!("no control group of version 1 can be made: {error}"))?;
        let group = Self(folder);
        let set = fs::write(group.0.join("cpu.cfs_quota_us"), "10000\n");
        set.map_err(|error| format!("the control group takes no limit: {error}"))?;
        Ok(group)
    }

    /// The same command inside the group.
    fn inside(&self, command: &Command) -> Command {
        let mut shell = Command::new("sh");
        let enter = format!("echo $$ > {}/tasks && exec \"$@\"", self.0.display());
        shell.args(["-c", &enter, "sh"]).arg(command.get_program()).args(command.get_args());
        shell.current_dir(command.get_current_dir().unwrap());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                shell.env(name, value);
            }
        }
        shell
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Whatever was in it has ended.
        drop(fs::remove_dir(&self.0));
    }
}

#[test]
fn a_group_that_grants_too_little() {
    let group = match Group::new() {
        Ok(group) => group,
        Err(why) => return not_run("calls that a control group holds back", &why),
    };
    let fixture = Fixture::new("onnx: { provider: cpu, threads: 2 }", "good")
        .with(DISTURBED, "disturbed: { retry: 1, foreign_cpu: 1, wait_quiet: 0s }\n")
        .with("timeout: 5s", "timeout: 120s")
        .with("gen_tokens: [4]", "gen_tokens: [60]")
        .with("n_layer: 2, n_embd: 4, n_head: 2", "n_layer: 4, n_embd: 256, n_head: 4")
        .with("\n  - { name: other, simulated: { pace: real } }", "");
    let library = library::locate(&phasebench::cache::root()).unwrap().path;
    let inside = |arguments: &[&str]| {
        let mut command = fixture.command(arguments);
        command.env(library::VARIABLE, &library);
        group.inside(&command).output().unwrap()
    };
    let said = "backend `worker` asks for 2 threads, and this process may use 0.1 of";
    for arguments in
        [&["doctor", "scenario.yaml"][..], &["plan", "scenario.yaml"], &["run", "scenario.yaml", "--out", "run"]]
    {
        let output = inside(arguments);
        assert_exit(&output, 0);
        assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{arguments:?}: {output:?}");
    }
    let calls: Vec<CallRecord> = store::read(&fixture.run).unwrap().calls().cloned().collect();
    let timed: Vec<&CallRecord> = calls.iter().filter(|call| call.role == Role::Timed).collect();
    let told = || timed.iter().map(|call| (&call.call_id, &call.flags, call.beside.held_back_ns)).collect::<Vec<_>>();
    assert!(timed.iter().all(|call| call.flags.contains(&Flag::CpuQuota)), "{:?}", told());
    assert_eq!(timed.iter().filter(|call| call.attempt == 1).count(), 4, "each was made again: {:?}", told());

    assert_exit(&fixture.command(&["report", "run"]).output().unwrap(), 0);
    let report = fs::read_to_string(fixture.run.join("report.md")).unwrap();
    assert!(report.contains("fewer than engines compute with: worker with 2 threads."), "{report}");
    assert!(report.contains("a control group's limit"), "{report}");
}
